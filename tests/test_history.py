"""History: runs kept, streaks and trends told, one writer at a time, nothing lost or half there after kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from skewguard.errors import BadInputError, ConfigurationError, StoreUnavailableError, UnknownNameError
from skewguard.findings import Cause, CheckResult, Finding, Run, Verdict
from skewguard.history import History, dump_nights, load_night, night_of
from skewguard.override import Override
from tests.report import samples
from tests.test_run_json import same

DAY = timedelta(days=1)
START = datetime(1998, 2, 1, tzinfo=UTC)
ROOT = Path(__file__).parents[1]


def found(feature: str, check: str = "parity") -> Finding:
    return samples.finding(Cause.UNIT_SCALE, "spend", feature, 5, 10, check=check)


def run(day: int, *findings: Finding, service: str = "churn_v1", status: str = "ok", checks: str = "parity") -> Run:
    results = tuple(CheckResult(name, status, findings, 10, 10) for name in checks.split())
    as_of = START + day * DAY
    verdict = Verdict.BLOCK if findings else Verdict.PASS
    return Run(f"{service}-{day}", service, as_of, as_of, as_of, verdict, (), results, findings)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "state" / "history.duckdb", lock_timeout=0.5)


def test_nothing_there_yet(history: History) -> None:
    assert history.runs() == []
    assert history.last_run("churn_v1") is None
    assert history.first_seen("churn_v1", ["a"]) == {}
    assert history.trend("churn_v1") == []
    assert history.services() == []
    assert not history.path.exists()
    with pytest.raises(UnknownNameError, match="Unknown run 'x'"):
        history.run("x")


@pytest.mark.parametrize("name", samples.everything())
def test_a_run_comes_back_as_it_went_in(history: History, name: str) -> None:
    kept = samples.everything()[name]
    history.append(kept)
    assert same(history.run(kept.run_id), kept)
    assert same(history.last_run(kept.service), kept)
    assert [night.verdict for night in history.trend(kept.service)] == [kept.verdict]
    assert load_night(dump_nights([night_of(kept)])[1:-1]).features == night_of(kept).features


def test_runs_newest_first_by_service_and_limit(history: History) -> None:
    for day in range(4):
        history.append(run(day))
        history.append(run(day, service="other"))
    assert [item.run_id for item in history.runs("churn_v1", limit=2)] == ["churn_v1-3", "churn_v1-2"]
    assert [item.run_id for item in history.runs(limit=3)] == ["other-3", "churn_v1-3", "other-2"]
    assert len(history.runs(limit=None)) == 8
    assert history.runs("unknown") == []
    assert history.services() == ["churn_v1", "other"]
    latest = history.last_run("churn_v1")
    assert latest is not None
    assert latest == run(3)
    with pytest.raises(UnknownNameError, match="Did you mean 'churn_v1-3'"):
        history.run("churn_v1-33")


def test_a_run_id_is_there_once(history: History) -> None:
    history.append(run(0))
    with pytest.raises(BadInputError, match="run_id: got 'churn_v1-0'"):
        history.append(run(0))
    assert len(history.runs()) == 1


def test_a_run_that_json_cannot_carry_is_refused_whole(history: History) -> None:
    with pytest.raises(BadInputError, match="provenance"):
        history.append(replace(run(0), provenance={"a": object()}))
    assert history.runs() == []


A, B = found("a"), found("b")


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([run(0)], {}),
        ([run(0, A)], {A.key: 0}),
        ([run(0, A), run(1, A), run(2, A, B)], {A.key: 0, B.key: 2}),
        ([run(0, A), run(1), run(2, A)], {A.key: 2}),  # broken, begins again
        ([run(0, A), run(1)], {}),  # gone
        ([run(0, A), run(1, status="inconclusive"), run(2, A)], {A.key: 0}),  # nobody looked: not broken
        ([run(0, A), run(1, status="crashed")], {A.key: 0}),  # nobody looked: still open
        ([run(0, A), run(1, checks="freshness")], {A.key: 0}),  # the check was not asked for
        ([run(0, A), run(1, service="other"), run(2, A)], {A.key: 0}),  # another service says nothing
        ([run(0, A), run(1, found("a", check="replay"), checks="parity replay")], {found("a", check="replay").key: 1}),
        ([run(5, A), run(3, A)], {A.key: 5}),  # the order of appending counts, not the as-of time
    ],
)
def test_first_seen_is_the_start_of_the_unbroken_streak(
    history: History, runs: list[Run], expected: dict[str, int]
) -> None:
    for item in runs:
        history.append(item)
    keys = [A.key, B.key, found("a", check="replay").key, "never/seen"]
    assert history.first_seen("churn_v1", keys) == {key: START + day * DAY for key, day in expected.items()}
    assert history.first_seen("churn_v1", []) == {}
    assert history.first_seen("unknown", keys) == {}


def test_trend_has_the_last_nights_oldest_first(history: History) -> None:
    for day in range(16):
        history.append(run(day, A) if day % 2 else run(day))
    trend = history.trend("churn_v1")
    assert [night.as_of for night in trend] == [START + day * DAY for day in range(2, 16)]
    assert [night.verdict for night in trend[-2:]] == [Verdict.PASS, Verdict.BLOCK]
    assert [night.rates.get(A.key) for night in trend[-3:]] == [0.5, None, 0.5]
    assert len(history.trend("churn_v1", n=3)) == 3
    history.append(samples.blocking())
    (night,) = history.trend("churn_v1", n=1)
    assert night.features["customer_spend.spend_30d"] == pytest.approx(20276 / 21480)
    assert night.features["customer_activity.orders_90d"] == 0.0
    assert night.undecided == ("replay",)


def test_overrides(history: History) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert history.override("churn_v1", now) is None
    first = Override("churn_v1", "backfill is running", now + DAY, "ana", now)
    second = Override("churn_v1", "still running", now + 2 * DAY, "bo", now)
    history.add_override(first)
    history.add_override(second)
    assert history.override("churn_v1", now) == second
    assert history.override("other", now) is None
    assert history.override("churn_v1", now - DAY) is None
    assert history.override("churn_v1", now + 2 * DAY) is None
    with pytest.raises(BadInputError, match="reason: got an empty text"):
        history.add_override(replace(first, reason=" "))
    with pytest.raises(BadInputError, match="until"):
        history.add_override(replace(first, until=now))


def test_overrides_end_early_and_stay_on_record(history: History) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert history.end_overrides("churn_v1", now, "bo") == []
    first = Override("churn_v1", "backfill is running", now + DAY, "ana", now, "serving")
    history.add_override(first)
    history.add_override(replace(first, service="other"))
    assert history.overrides("churn_v1", now) == [first]
    ended = replace(first, until=now + DAY / 2, ended_by="bo")
    assert history.end_overrides("churn_v1", now + DAY / 2, "bo") == [ended]
    assert history.override("churn_v1", now + DAY / 2) is None
    assert history.overrides("churn_v1", now) == [ended]
    assert history.overrides("churn_v1", now + DAY) == []
    assert history.override("other", now + DAY / 2) is not None


# -- one writer, many readers -----------------------------------------------------------------------------------------


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


@pytest.fixture
def holder(history: History) -> Iterator[subprocess.Popen[str]]:
    """Another process in the middle of writing."""
    history.append(run(0))
    process = python(
        """
        import sys, time
        from skewguard.history import History
        with History(sys.argv[1]).file.writer():
            print("writing", flush=True)
            time.sleep(60)
        """,
        str(history.path),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_writer_waits_and_then_says_who_writes(history: History, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(StoreUnavailableError, match=rf"written by another process \(pid {holder.pid}\)") as caught:
        history.append(run(1))
    assert caught.value.exit_code == 3
    with pytest.raises(StoreUnavailableError, match="written by another process"):
        history.runs()


def test_a_writer_that_was_killed_blocks_nobody(history: History, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    history.append(run(1))
    assert len(history.runs()) == 2


def test_writers_and_readers_in_threads(tmp_path: Path) -> None:
    path = tmp_path / "history.duckdb"
    failures: list[BaseException] = []

    def write(name: str) -> None:
        try:
            for day in range(4):
                History(path).append(run(day, A, service=name))
                assert History(path).last_run(name) is not None
        except BaseException as error:  # noqa: BLE001  (told by the main thread)
            failures.append(error)

    threads = [threading.Thread(target=write, args=(f"s{index}",)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(History(path).runs(limit=None)) == 12
    assert History(path).services() == ["s0", "s1", "s2"]


def test_readers_do_not_write(history: History) -> None:
    history.append(run(0))
    before = history.path.read_bytes()
    history.path.chmod(0o444)
    assert len(history.runs()) == 1
    assert history.path.read_bytes() == before
    history.path.with_name("history.duckdb.lock").unlink()  # a copy in another folder has none
    assert len(history.runs()) == 1


# -- kill -9 and damage -----------------------------------------------------------------------------------------------

APPEND_FOR_EVER = """
import itertools, sys
from dataclasses import replace
from skewguard.history import History
from tests.report import samples
from tests.test_run_json import same
history, big = History(sys.argv[1]), samples.wide(20, 20)
for number in itertools.count():
    history.append(replace(big, run_id=f"{sys.argv[2]}-{number}"))
    print(number, flush=True)
"""


def test_kill_minus_nine_leaves_whole_runs_and_loses_none_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "history.duckdb"
    acknowledged: list[str] = []
    for attempt, delay in enumerate((0.0, 0.013, 0.05, 0.121)):
        process = python(APPEND_FOR_EVER, str(path), str(attempt))
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().split()
        process.wait()
        process.stdout.close()
        acknowledged += [f"{attempt}-{number}" for number in ["0", *rest]]
        kept = History(path).runs(limit=None)
        ids = [item.run_id for item in reversed(kept)]
        assert [name for name in ids if name in set(acknowledged)] == acknowledged
        assert len(ids) - len(acknowledged) <= attempt + 1  # at most the one that was committed and not yet told
        connection = duckdb.connect(str(path), read_only=True)
        counts = connection.execute("SELECT seq, count(*) FROM findings GROUP BY seq ORDER BY seq").fetchall()
        connection.close()
        assert [number for _, number in counts] == [20] * len(ids)
    History(path).append(run(0))


def test_kill_minus_nine_inside_a_transaction_leaves_nothing_of_it(history: History) -> None:
    history.append(run(0))
    process = python(
        """
        import sys, time
        from skewguard.history import History
        with History(sys.argv[1]).file.writer() as connection:
            row = "99, 'k', 'c', 'x', NULL, NULL, 1, 1, 0, 1, ''"
            connection.execute(f"INSERT INTO findings SELECT {row} FROM range(200000)")
            connection.execute("INSERT INTO checks VALUES (99, 'c', 'ok', 1, 1, '')")
            print("half", flush=True)
            time.sleep(60)
        """,
        str(history.path),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert [item.run_id for item in history.runs()] == ["churn_v1-0"]
    history.append(run(1))
    connection = duckdb.connect(str(history.path), read_only=True)
    assert connection.execute("SELECT max(seq) FROM checks").fetchone() == (2,)
    assert connection.execute("SELECT count(*) FROM findings").fetchone() == (0,)
    connection.close()


def test_a_half_made_file_is_made_anew(history: History) -> None:
    history.path.parent.mkdir()
    history.path.with_name("history.duckdb.new").write_bytes(b"half")
    history.append(run(0))
    assert len(history.runs()) == 1
    assert not history.path.with_name("history.duckdb.new").exists()


@pytest.mark.parametrize("damage", [b"", b"not a database at all", b"\x00" * 8192])
def test_a_damaged_file_is_told_with_the_way_out(history: History, damage: bytes) -> None:
    history.append(run(0))
    history.path.write_bytes(damage)
    for use in (history.runs, lambda: history.append(run(1))):
        with pytest.raises(StoreUnavailableError, match=r"history .*history\.duckdb.*mv ") as caught:
            use()
        assert caught.value.exit_code == 3
    assert history.path.read_bytes() == damage
    history.path.rename(history.path.with_name("history.duckdb.damaged"))
    history.append(run(1))
    assert [item.run_id for item in history.runs()] == ["churn_v1-1"]


def test_a_cut_file_is_told(history: History) -> None:
    for day in range(3):
        history.append(replace(samples.wide(20, 20), run_id=str(day)))
    data = history.path.read_bytes()
    history.path.write_bytes(data[: len(data) // 2])
    with pytest.raises(StoreUnavailableError, match="cannot be used as a history"):
        history.runs()


def test_another_database_and_another_version_are_refused(history: History) -> None:
    history.path.parent.mkdir()
    connection = duckdb.connect(str(history.path))
    connection.execute("CREATE TABLE other (i INTEGER)")
    connection.close()
    with pytest.raises(StoreUnavailableError, match="cannot be used as a history"):
        history.runs()
    connection = duckdb.connect(str(history.path))
    connection.execute("CREATE TABLE meta AS SELECT 99 AS schema_version")
    connection.close()
    with pytest.raises(ConfigurationError, match="schema version 99; expected 1"):
        history.runs()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreUnavailableError, match="cannot be written"):
        History(tmp_path / "file" / "history.duckdb").append(run(0))
