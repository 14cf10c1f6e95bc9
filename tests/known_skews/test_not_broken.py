"""Time zones (G) and what else works in Feast 0.67: no finding."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta, timezone

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skewguard import Verdict
from skewguard.feast_repo import quiet_feast
from skewguard.online.embedded import EmbeddedRedis
from tests.known_skews.repo import HEALTHY, NOW, Case, Found, Repo, counts, hours

TOKYO = timezone(timedelta(hours=9))
NAIVE = pa.timestamp("us")
CASES = {name: Case([(1, 3.0, 2.5, 1.0), *HEALTHY]) for name in ("naive", "zoned", "pushed", "wall_clock")}


@pytest.fixture(scope="module", params=["UTC", "America/New_York"])
def repo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_server: EmbeddedRedis
) -> Iterator[Repo]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    made = Repo(tmp_path_factory.mktemp("zones"), redis_server, dict(CASES), f"zones_{request.param[:3]}").build()
    for name, kind, shift in (
        ("naive", NAIVE, 0),
        ("wall_clock", NAIVE, 9),
        ("zoned", pa.timestamp("us", "Asia/Tokyo"), 0),
    ):
        table = pq.read_table(made.folder / f"{name}.parquet")
        for column in ("t", "c"):
            moved = pa.compute.add(table.column(column), pa.scalar(timedelta(hours=shift)))
            table = table.set_column(table.schema.get_field_index(column), column, moved.cast(kind))
        pq.write_table(table, made.folder / f"{name}.parquet")
    made.materialize()
    yield made
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize(("case", "expected"), [("naive", {("naive_timestamp", None): 2}), ("zoned", {})])
def test_naive_is_utc_and_any_zone_is_converted(repo: Repo, case: str, expected: Found) -> None:
    """Naive timestamps are worth knowing, and no more."""
    assert repo.feast_online(case, 1)["f"] == [repo.feast_offline(case, 1)[1]["f"]] == [1.0]
    run = repo.run(case)
    assert counts(run) == expected
    assert run.verdict is Verdict.PASS


def test_a_push_in_another_zone(repo: Repo) -> None:
    at = hours(1).astimezone(TOKYO)
    frame = pd.DataFrame({"k": [1], "t": [at], "c": [at], "f": [9.0]})
    with quiet_feast():
        repo.store.push("pushed_push", frame)
    repo.write("pushed", [*CASES["pushed"].rows, (1, 1.0, 1.0, 9.0)])
    assert repo.feast_online("pushed", 1)["f"] == [9.0]
    repo.materialize("pushed")
    assert repo.found("pushed") == {}


def test_entity_rows_in_any_zone_and_twice(repo: Repo) -> None:
    zoned = pd.DataFrame({"k": [1, 1, 11], "event_timestamp": [NOW.astimezone(TOKYO)] * 3})
    naive = pd.DataFrame({"k": [1, 1, 11], "event_timestamp": [NOW.replace(tzinfo=None)] * 3})
    for rows in (zoned, naive):
        ours = repo.guard().historical_features(rows, "naive")
        assert ours.column("f").to_pylist() == [1.0, 1.0, 11.25]  # type: ignore[union-attr]


def test_local_time_written_as_utc_is_a_row_of_the_future(repo: Repo) -> None:
    """Both sides agree on nothing, so only preflight can see it."""
    assert (repo.feast_online("wall_clock", 1)["f"], repo.feast_offline("wall_clock", 1)[1]["f"]) == ([None], None)
    assert {rule for rule, _ in repo.found("wall_clock")} == {"future_rows", "naive_timestamp"}
