"""Known skews in one view at once, night after night: each keeps its own cause and count."""

from __future__ import annotations

from datetime import timedelta

import pytest
from feast.types import Float64, Int64

from skewguard import Verdict
from skewguard.feast_repo import quiet_feast
from skewguard.online.embedded import EmbeddedRedis
from tests.known_skews.repo import HEALTHY, Case, Found, Repo, Row, counts, hours

BIG = 2**53 + 1
KEPT: list[Row] = [
    (1, 4.0, 3.9, 1.5, 1), (1, 4.0, -1.0, 1.75, 1),  # a second row under its event timestamp
    (3, 4.0, 3.9, 3.5, 3), (3, 3.0, -1.0, 3.75, 3),  # a late one
    (6, 40.0, 39.9, 6.5, 6),  # past its TTL
    (7, 4.0, 3.9, 7.5, BIG), (7, 4.0, 3.9, 7.5, BIG), (8, 4.0, 3.9, 8.5, None),  # through float64, beside a null
    *[(*row, 0) for row in HEALTHY],
]  # fmt: skip
BEFORE: list[Row] = [
    *[row for row in KEPT if row[2] > 0],
    (2, 4.0, 3.9, 2.5, 2),  # corrected in place later
    (4, 4.0, 3.9, 4.5, 4),  # deleted later
    (5, 4.0, 3.9, 5.5, 5),  # pushed to later
]
AFTER: list[Row] = [*KEPT, (2, 4.0, -1.0, 2.75, 2), (5, 4.0, 3.9, 5.5, 5)]
EXPECTED: Found = {
    ("blocked_correction", "f"): 2,
    ("late_arrival", None): 1,
    ("orphan_online", None): 1,
    ("ahead_of_offline", None): 1,
    ("expired_but_served", None): 1,
    ("type_cast", "n"): 1,
    ("repeated_rows", None): 1,
}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory, redis_server: EmbeddedRedis) -> Repo:
    case = Case(BEFORE, {"f": Float64, "n": Int64}, ttl=timedelta(days=1))
    made = Repo(tmp_path_factory.mktemp("together"), redis_server, {"all": case}, "together").build()
    made.materialize()
    made.write("all", AFTER)
    made.push("all", [(5, 1.0, 0.9, 5.75, 5)])
    return made


@pytest.mark.parametrize("night", [2, 4])
def test_each_keeps_its_cause(repo: Repo, night: int) -> None:
    with quiet_feast():
        repo.store.materialize_incremental(hours(-night))
    run = repo.run("all", hours(-night))
    assert counts(run) == EXPECTED
    assert run.verdict is Verdict.BLOCK
    told = ["orphan_online", "ahead_of_offline"]
    assert repo.run("all", hours(-night), told).verdict is Verdict.WARN


def test_a_repair_mends_what_offline_knows_and_nothing_else(repo: Repo) -> None:
    guard = repo.guard()
    guard.repair(guard.plan_repair("all", as_of=hours(-6)))
    left = repo.found("all", hours(-6), of={4, 5})
    assert left == {
        ("orphan_online", None): 1,
        ("ahead_of_offline", None): 1,
        ("repeated_rows", None): 1,
    }
