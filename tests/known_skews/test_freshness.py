"""Freshness and the order of writes (cases A): what Feast's writer refuses, drops and never hears of."""

from __future__ import annotations

from datetime import timedelta

import pytest
from feast.types import Float64

from skewguard import Verdict
from skewguard.feast_repo import quiet_feast
from skewguard.online.embedded import EmbeddedRedis
from tests.known_skews.repo import HEALTHY, NOW, Case, Repo, Row, hours

ONE = [(1, 1.0, 0.9, 1.0), *HEALTHY]
LATER, LAST = hours(-2), hours(-4)
CASES = {
    "a0": Case(ONE),
    "a1": Case(ONE),
    "a1_plain": Case(ONE, created=False),
    "a1_late": Case([(k, 20.0 + k, 2.0, k * 1.25) for k in range(1, 12)]),
    "a1_many": Case([(k, 4.0, 3.9, k * k / 7) for k in range(1, 12)]),
    "a2": Case(ONE),
    "a3": Case(ONE),
    "a4": Case([(1, 5.0, 4.9, 1.0), *HEALTHY]),
    "a4_plain": Case([(1, 5.0, 4.9, 1.0), *HEALTHY], created=False),
    "a7": Case([(1, 5.0, 4.9, 1.0), *HEALTHY]),
    "a8": Case(ONE),
    "a9": Case(HEALTHY),
    "a11": Case([(1, 5.0, 4.9, 1.0), *HEALTHY]),
}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory, redis_server: EmbeddedRedis) -> Repo:
    made = Repo(tmp_path_factory.mktemp("freshness"), redis_server, dict(CASES), "freshness").build()
    made.materialize("a0", "a1", "a1_plain", "a2", "a3", "a8", "a11")
    made.materialize("a4", "a4_plain", "a7", "a9", end=hours(2))
    return made


def test_all_is_well_before(repo: Repo) -> None:
    assert repo.found("a0") == {}


def test_a_row_corrected_in_place_is_refused_by_feast_night_after_night(repo: Repo) -> None:
    """A1: both sides hold the same event timestamp, whichever materialization was the last."""
    repo.write("a1", [(1, 1.0, -1.0, 2.0), *HEALTHY])
    assert repo.found("a1", LATER) == {("blocked_correction", "f"): 1}
    repo.materialize("a1", end=LATER)
    repo.materialize("a1", end=LAST)
    assert (repo.feast_online("a1", 1)["f"], repo.feast_offline("a1", 1)[1]["f"]) == ([1.0], 2.0)
    assert repo.found("a1", LAST) == {("blocked_correction", "f"): 1}
    assert repo.run("a1", LAST).verdict is Verdict.WARN
    assert repo.run("a1", LAST, ["blocked_correction"]).verdict is Verdict.PASS


def test_a_row_corrected_in_place_where_loads_are_late(repo: Repo) -> None:
    """A1: rows that come after their window as a rule, and are written by the next night's, do not hide it."""
    for end in (hours(10), NOW):
        repo.materialize("a1_late", end=end)
    assert repo.found("a1_late") == {}
    repo.write("a1_late", [(k, t, 2.0 if k > 1 else -1.0, f if k > 1 else 9.0) for k, t, _, f in CASES["a1_late"].rows])
    repo.materialize("a1_late", end=LATER)
    assert repo.found("a1_late", LATER) == {("blocked_correction", "f"): 1}


def test_many_rows_corrected_in_place_by_one_factor(repo: Repo) -> None:
    """A1: it looks like a writer in another unit, and may be one; the evidence says that it may be a correction."""
    repo.materialize("a1_many")
    repo.write("a1_many", [(k, t, -1.0, f * 100) for k, t, _, f in CASES["a1_many"].rows])
    assert repo.found("a1_many", LATER, of=set(range(1, 12))) == {("blocked_correction", "f"): 11}
    repo.materialize("a1_many", end=LATER)
    (found,) = [f for f in repo.run("a1_many", LATER).findings if f.check == "parity"]
    assert (found.cause.value, found.feature, found.count) == ("unit_scale", "f", 11)
    assert found.evidence["created_after_they_were_materialized"] == 11


def test_a_row_corrected_in_place_without_a_created_timestamp(repo: Repo) -> None:
    """A1: nothing tells a correction from a wrong value then."""
    repo.write("a1_plain", [(1, 1.0, None, 2.0), *HEALTHY])
    repo.materialize("a1_plain", end=LATER)
    assert repo.found("a1_plain", LATER) == {("unexplained", "f"): 1}


def test_a_second_row_under_the_same_event_timestamp(repo: Repo) -> None:
    """A2: offline takes the row created last, Redis keeps the one written first."""
    repo.write("a2", [*ONE, (1, 1.0, -1.0, 2.0)])
    repo.materialize("a2", end=LATER)
    assert (repo.feast_online("a2", 1)["f"], repo.feast_offline("a2", 1)[1]["f"]) == ([1.0], 2.0)
    assert repo.found("a2", LATER) == {("blocked_correction", "f"): 1}
    assert repo.run("a2", LATER, ["blocked_correction"]).verdict is Verdict.PASS


def test_a_feature_added_to_a_view_that_is_materialized(repo: Repo) -> None:
    """A3: rows keep their timestamp, so the new field is never written, whatever is materialized."""
    repo.cases["a3"] = Case([(*row, 5.0) for row in ONE], {"f": Float64, "g": Float64})
    repo.write("a3", repo.cases["a3"].rows)
    repo.apply()
    repo.materialize("a3", end=LATER)
    assert (repo.feast_online("a3", 1)["g"], repo.feast_offline("a3", 1)[1]["g"]) == ([None], 5.0)
    assert repo.found("a3", LATER, of={1, 11, 12, 13}) == {("field_never_written", "g"): 4}


@pytest.mark.parametrize(("case", "cause"), [("a4", "late_arrival"), ("a4_plain", "out_of_order_write")])
def test_a_row_that_arrives_after_its_window(repo: Repo, case: str, cause: str) -> None:
    """A4: without a created timestamp a late row is one that was there, and was not written."""
    repo.write(case, [*CASES[case].rows, (1, 3.0, 1.0, 2.0)])
    with quiet_feast():
        repo.store.materialize_incremental(NOW, feature_views=[case])
    assert (repo.feast_online(case, 1)["f"], repo.feast_offline(case, 1)[1]["f"]) == ([1.0], 2.0)
    assert repo.found(case) == {(cause, None): 1}


def test_an_older_write_over_a_newer_row(repo: Repo, redis_server: EmbeddedRedis) -> None:
    """A5, and what A10 leaves behind: no timestamp is compared where a writer skips that."""
    case = Case([(1, 3.0, 2.9, 5.0), (1, 1.0, 0.9, 1.0), *HEALTHY])
    made = Repo(repo.folder / "skip", redis_server, {"a5": case}, "skip", {"skip_dedup": True}).build()
    made.materialize()
    with quiet_feast():
        made.store.write_to_online_store("a5", made.frame("a5", [case.rows[0]]))
    assert (made.feast_online("a5", 1)["f"], made.feast_offline("a5", 1)[1]["f"]) == ([5.0], 1.0)
    assert made.found("a5") == {("out_of_order_write", None): 1}


def test_a_push_of_nulls_alone_is_dropped(repo: Repo) -> None:
    """A7: Feast warns and answers as if it had written it."""
    repo.push("a7", [(1, 1.0, 0.9, float("nan"))])
    repo.write("a7", [*CASES["a7"].rows, (1, 1.0, 0.9, float("nan"))])
    assert repo.feast_online("a7", 1)["f"] == [1.0]
    assert repo.found("a7") == {("not_materialized", None): 1}


def test_a_row_deleted_offline_stays_online(repo: Repo) -> None:
    """A8: no materialization removes anything."""
    repo.write("a8", HEALTHY)
    repo.materialize("a8", end=LATER)
    assert repo.feast_online("a8", 1)["f"] == [1.0]
    assert repo.found("a8", LATER) == {("orphan_online", None): 1}


def test_several_rows_of_one_entity_in_one_batch(repo: Repo) -> None:
    """A9: mended in Feast 0.66; whichever comes last in the batch, the newest stays."""
    rows: list[Row] = [(1, age, age, age) for age in (3.5, 4.0, 5.0)]
    repo.write("a9", [*rows, *HEALTHY])
    with quiet_feast():
        repo.store.write_to_online_store("a9", repo.frame("a9", rows))
    assert repo.feast_online("a9", 1)["f"] == [3.5]
    assert repo.found("a9") == {}


def test_a_row_pushed_online_alone(repo: Repo) -> None:
    """A11, and what A12 leaves behind: training never sees it."""
    repo.push("a11", [(1, 1.0, 0.9, 9.0)])
    assert (repo.feast_online("a11", 1)["f"], repo.feast_offline("a11", 1)[1]["f"]) == ([9.0], 1.0)
    assert repo.found("a11") == {("ahead_of_offline", None): 1}


def test_precomputed_vectors_are_no_rows_of_a_view(repo: Repo, redis_server: EmbeddedRedis) -> None:
    """A13: Feast answers a service from vectors that not every write renews; the guard and its server never do.

    B6: the same path gives values past their TTL, with a status of their own.
    """
    case = Case([(1, 5.0, 4.9, 1.0), (2, 2.0, 1.9, 2.0), *HEALTHY], ttl=timedelta(hours=4, minutes=30))
    made = Repo(repo.folder / "vectors", redis_server, {"a13": case}, "vectors", service={"precompute_online": True})
    made.build().materialize()
    made.write("a13", [*case.rows, (2, 1.0, 0.9, 3.0)])
    service = made.store.get_feature_service("a13")
    with quiet_feast():
        made.store.write_to_online_store("a13", made.frame("a13", [(2, 1.0, 0.9, 3.0)]))
        theirs = made.store.get_online_features(service, [{"k": 1}, {"k": 2}], full_feature_names=True)
    assert theirs.to_dict()["a13__f"] == [1.0, 2.0]
    guard = made.guard()
    ours = guard.online("a13", [{"k": 1}, {"k": 2}], as_of=NOW)
    assert ours.column("f").to_pylist() == [None, 3.0]
    assert ours.column("__status__f").to_pylist() == ["OUTSIDE_MAX_AGE", "PRESENT"]
    assert made.found("a13") == {("expired_but_served", None): 1}
