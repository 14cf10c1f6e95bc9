"""Segments: by service and hour, the same however often and however far it ran before; upkeep; reading back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skewguard.config import Policy
from skewguard.offline.sources import connect
from skewguard.serving_log.folder import LogFolder
from skewguard.serving_log.journal import JournalWriter
from skewguard.serving_log.keeping import remove_old
from skewguard.serving_log.read import log_span
from skewguard.serving_log.record import pack_shape
from skewguard.serving_log.segments import make_segments
from skewguard.serving_log.sent_instead import replaced_cells
from tests.serving_log.samples import HOUR_US, NOON_US, SHAPE, record

NOON = datetime.fromtimestamp(NOON_US / 1e6, UTC)
HOUR = timedelta(hours=1)
ODD_NAME = "../orders v1.2 / ä"


def journal(folder: LogFolder, records: list[bytes], name: str = "1-j") -> None:
    folder.spool.mkdir(parents=True, exist_ok=True)
    writer = JournalWriter(folder.spool, name)
    writer.append([pack_shape(SHAPE), *records])
    writer.close()


def read(folder: LogFolder, start: datetime, end: datetime, service: str = "orders") -> pa.Table:
    with connect() as con:
        return log_span(folder, service, start, end).table(con)


def test_what_was_sent_instead_is_in_its_column_and_named(tmp_path: Path) -> None:
    folder = LogFolder(tmp_path)
    sent = {0: [(1, "contract_default", 7.5), (2, "null", None)], 1: [(2, "last_known_good", 3.5)]}
    journal(folder, [record([1, 2], request="r1"), record([3, 4, 5], request="r2", sent=sent)])
    make_segments(folder)
    found = read(folder, NOON, NOON + HOUR)
    assert found.column("stats__a").to_pylist() == [1.0, 2.0, 3.0, 7.5, None]
    assert found.column("stats__b").to_pylist() == [0.5, 1.0, 1.5, 2.0, 3.5]
    assert found.column("stats__a__status").to_pylist() == [1, 1, 1, 1, 2]
    assert [None if text is None else json.loads(text) for text in found.column("__fallback").to_pylist()] == [
        None, None, None, {"stats__a": "contract_default"}, {"stats__a": "null", "stats__b": "last_known_good"},
    ]  # fmt: skip
    cells = replaced_cells(found)
    assert {name: rows.tolist() for name, rows in cells.items()} == {
        "stats__a": [False, False, False, True, True], "stats__b": [False, False, False, False, True],
    }  # fmt: skip


def test_rows_lie_in_their_hours_and_come_back_in_order(tmp_path: Path) -> None:
    folder = LogFolder(tmp_path)
    times = [NOON_US - 1, NOON_US, NOON_US + HOUR_US - 1, NOON_US + HOUR_US]
    journal(folder, [record([index, index + 10], time_us=at, request=f"r{index}") for index, at in enumerate(times)])
    make_segments(folder)

    assert [begins for begins, _ in folder.hours("orders")] == [NOON - HOUR, NOON, NOON + HOUR]
    found = read(folder, NOON, NOON + HOUR)
    assert found.column("user").to_pylist() == [1, 11, 2, 12]
    assert found.column("stats__b").to_pylist() == [0.5, 5.5, 1.0, 6.0]
    assert found.column("__request_id").to_pylist() == ["r1", "r1", "r2", "r2"]
    assert found.column("__row").to_pylist() == [0, 1, 0, 1]
    assert found.column("stats__a__status").to_pylist() == [1] * 4
    assert found.column("stats__a__timestamp").to_pylist()[0] == NOON - timedelta(microseconds=5)
    assert found.column("__as_of").to_pylist()[0] == NOON - timedelta(microseconds=1)
    assert read(folder, NOON - 9 * HOUR, NOON + 9 * HOUR).num_rows == 8


def test_a_service_of_any_name_stays_in_its_folder(tmp_path: Path) -> None:
    folder = LogFolder(tmp_path / "log")
    shape = replace(SHAPE, service=ODD_NAME)
    folder.spool.mkdir(parents=True)
    writer = JournalWriter(folder.spool, "1-j")
    writer.append([pack_shape(shape), record([1], shape=shape)])
    writer.close()
    make_segments(folder)
    assert folder.services() == [ODD_NAME]
    assert read(folder, NOON - HOUR, NOON + HOUR, ODD_NAME).num_rows == 1
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


@pytest.mark.slow
def test_killed_at_any_point_and_run_again_it_makes_the_same(tmp_path: Path) -> None:
    folder = LogFolder.of(tmp_path)
    (tmp_path / "skewguard.yaml").write_text("serving_log: {keep: 9999d}\n")
    times = [NOON_US + (index // 1000) * HOUR_US for index in range(3000)]
    records = [record(list(range(10)), time_us=at, request=str(index)) for index, at in enumerate(times)]
    for name in ("1-a", "2-b", "3-c"):
        journal(folder, records, name)
    for attempt in range(6):
        process = subprocess.Popen([sys.executable, "-m", "skewguard.serving_log", str(tmp_path)])
        time.sleep(0.55 + 0.12 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait()
    make_segments(folder)
    span = log_span(folder, "orders", NOON - HOUR, NOON + 9 * HOUR)
    assert (span.stored, span.dropped, span.whole) == (90_000, 0, True)
    with connect() as con:
        assert con.sql(f"SELECT count(*) FROM ({span.sql()})").fetchone() == (90_000,)
    assert not list(folder.spool.glob("*.journal"))


def test_a_journal_that_nobody_understands_is_put_aside_and_the_others_are_done(tmp_path: Path) -> None:
    folder = LogFolder(tmp_path)
    folder.spool.mkdir()
    writer = JournalWriter(folder.spool, "1-alien")
    writer.append([b"not marshal"])
    writer.close()
    journal(folder, [record([1])], "2-good")
    made = make_segments(folder)
    assert (made.journals, made.broken) == (1, 1)
    assert [path.name for path in folder.spool.glob("*.broken")] == ["1-alien.broken"]


def test_a_torn_journal_is_told(tmp_path: Path) -> None:
    folder = LogFolder(tmp_path)
    journal(folder, [record([1])])
    (path,) = folder.spool.glob("*.journal")
    path.write_bytes(path.read_bytes() + b"sgj1 and no more")
    make_segments(folder)
    span = log_span(folder, "orders", NOON - HOUR, NOON + HOUR)
    assert (span.stored, span.whole) == (1, False)


def test_what_policy_no_longer_keeps_is_removed(tmp_path: Path) -> None:
    folder = LogFolder(tmp_path)
    journal(folder, [record([1]), record([2], time_us=NOON_US + HOUR_US)])
    make_segments(folder)
    policy = Policy({"serving_log": {"keep": "7d"}})
    week_later = NOON + timedelta(days=7)
    assert remove_old(folder, policy, week_later) == 0
    assert remove_old(folder, policy, week_later + HOUR) == 1
    assert read(folder, NOON, NOON + 2 * HOUR).column("user").to_pylist() == [2]
    assert remove_old(folder, policy, week_later + 2 * HOUR) == 1
    assert not list(folder.counts.iterdir())


def test_the_process_ends_with_3_when_the_log_cannot_be_written(tmp_path: Path) -> None:
    folder = LogFolder.of(tmp_path)
    journal(folder, [record([1])])
    (folder.root / "services").write_text("a file")
    done = subprocess.run(
        [sys.executable, "-m", "skewguard.serving_log", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "segments cannot be written" in done.stderr
    os.remove(folder.root / "services")
    assert make_segments(folder).stored == {"orders": 1}


def test_segments_hold_plain_parquet_types(tmp_path: Path) -> None:
    folder = LogFolder(tmp_path)
    journal(folder, [record([1])])
    make_segments(folder)
    (path,) = log_span(folder, "orders", NOON, NOON + HOUR).segments
    schema = pq.read_schema(path)
    assert schema.names == [
        "user", "stats__a", "stats__a__timestamp", "stats__a__status", "stats__b", "stats__b__timestamp",
        "stats__b__status", "__log_timestamp", "__log_date", "__request_id", "__row", "__as_of", "__plan",
        "__contract", "__fallback", "__unfit",
    ]  # fmt: skip
    assert schema.field("__log_timestamp").type == pa.timestamp("us", tz="UTC")
    (counts,) = folder.counts.iterdir()
    assert json.loads(counts.read_text())["whole"] is True
