"""TTL (cases B): offline heeds it, Feast's online reads do not."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from skewguard import Verdict
from skewguard.feast_repo import quiet_feast
from skewguard.online.embedded import EmbeddedRedis
from tests.known_skews.repo import HEALTHY, NOW, Case, Repo, hours

SIX = timedelta(hours=6)
MICROSECOND = 1 / 3_600_000_000
TODAY = datetime.now(UTC).replace(microsecond=0)  # where Feast's first incremental window begins depends on it
TO_TODAY = (NOW - TODAY) / timedelta(hours=1)
CASES = {
    "b1": Case([(1, 10.0, 9.9, 1.0), *HEALTHY], ttl=SIX),
    "b2": Case([(1, 6.0, 5.9, 1.0), (2, 6.0 + MICROSECOND, 5.9, 2.0), *HEALTHY], ttl=SIX),
    "b3": Case([(1, TO_TODAY + 24 * 800, None, 1.0), (2, TO_TODAY + 1, None, 2.0)], ttl=timedelta(0), created=False),
    "gap": Case([(1, 12.0, 11.9, 1.0), (1, 6.0, 5.9, 2.0), *HEALTHY]),
}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory, redis_server: EmbeddedRedis) -> Repo:
    made = Repo(tmp_path_factory.mktemp("ttl"), redis_server, dict(CASES), "ttl").build()
    made.materialize("b1", "b2")
    return made


def test_a_row_past_its_ttl_is_served_by_feast(repo: Repo) -> None:
    """B1: Feast's normal behaviour, of a cause of its own."""
    assert (repo.feast_online("b1", 1)["f"], repo.feast_offline("b1", 1)[1]["f"]) == ([1.0], None)
    assert repo.found("b1") == {("expired_but_served", None): 1}
    assert repo.run("b1").verdict is Verdict.WARN
    assert repo.run("b1", ignore=["expired_but_served"]).verdict is Verdict.PASS


def test_an_age_of_exactly_the_ttl_is_inside(repo: Repo) -> None:
    """B2: offline and the guard draw the line at the same microsecond."""
    offline = repo.feast_offline("b2", 1, 2)
    assert (offline[1]["f"], offline[2]["f"]) == (1.0, None)
    run = repo.run("b2")
    (finding,) = [f for f in run.findings if f.cause.value == "expired_but_served"]
    assert [sample["entity"] for sample in finding.samples] == [{"k": 2}]
    assert repo.guard().online("b2", [{"k": 1}, {"k": 2}], as_of=NOW).column("f").to_pylist() == [1.0, None]


def test_a_row_older_than_the_first_incremental_window(repo: Repo) -> None:
    """B3: no TTL is no limit offline, and a year for the first incremental materialization."""
    with quiet_feast():
        repo.store.materialize_incremental(TODAY, feature_views=["b3"])
    assert repo.feast_online("b3", 1, 2)["f"] == [None, 2.0]
    assert repo.feast_offline("b3", 1, at=TODAY)[1]["f"] == 1.0
    assert repo.found("b3", TODAY) == {("not_materialized", None): 1, ("ttl", None): 1}


def test_a_row_between_two_windows(repo: Repo) -> None:
    """B3's neighbour: what no window held is not late, and was not lost."""
    repo.materialize("gap", start=hours(20), end=hours(10))
    repo.materialize("gap", start=hours(5), end=NOW)
    assert repo.feast_online("gap", 1)["f"] == [1.0]
    assert repo.found("gap") == {("not_materialized", None): 1}


@pytest.mark.parametrize("unchanged", [False, True])
def test_a_key_that_redis_dropped(repo: Repo, redis_server: EmbeddedRedis, unchanged: bool) -> None:
    """B5: a row written again under its timestamp is refused, so its key is not renewed though the job ran."""
    case = Case(HEALTHY)
    folder = repo.folder / f"keys_{unchanged}"
    made = Repo(folder, redis_server, {"b5": case}, folder.name, {"key_ttl_seconds": 1}).build()
    made.materialize()
    assert made.feast_online("b5", 11)["f"] == [11.25]
    if unchanged:
        time.sleep(0.6)
        made.materialize(end=hours(-1))
        time.sleep(0.7)
    else:
        time.sleep(1.2)
    assert made.feast_online("b5", 11)["f"] == [None]
    run = made.run("b5", hours(-1))
    assert {(f.cause.value, f.count) for f in run.findings if f.view == "b5" and f.check == "parity"} == {
        ("missing_online", 3)
    }
    (lost,) = [f for f in run.findings if f.cause.value == "missing_online"]
    assert lost.evidence["row_states"] == {"key_absent": 3}
