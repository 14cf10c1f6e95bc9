"""The distribution check on what a real server answered, night after night."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skewguard.drifting import distribution
from skewguard.findings import Cause, CheckResult
from skewguard.online.embedded import EmbeddedRedis
from tests.drift.members import DAY, SERVICE, START, Change, day_of, guard_at, serve_night, training_rows, write_days

MEMBERS = 1500


def spend_up(frame: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    return frame.assign(spend=frame["spend"] * 1.5)


def more_nulls(frame: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    return frame.assign(score=frame["score"].mask(random.random(len(frame)) < 0.08))


def new_plan(frame: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    return frame.assign(plan=frame["plan"].mask(random.random(len(frame)) < 0.06, "free"))


def uncorrelated(frame: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    return frame.assign(right=random.permutation(frame["right"].to_numpy()))


def all_at_once(frame: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    for change in (spend_up, more_nulls, new_plan):
        frame = change(frame, random)
    return frame


def checked(repo: Path, night: int, save: bool = True) -> CheckResult:
    guard = guard_at(repo, night)
    return distribution(guard, guard.service(SERVICE), START + night * DAY, save=save)


def alarms(result: CheckResult) -> set[tuple[str, str | None]]:
    return {(f.cause.value, f.feature) for f in result.findings}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> object:
    """A contract over days 1 to 3; clean nights 4 to 7, night 8 with three changes, 9 with a broken relation, 10 also
    asked for 150 members that nobody knows, and 150 that came last on day 6, longer ago than the TTL.
    """
    with EmbeddedRedis() as redis:
        changes: dict[int, Change] = {8: all_at_once, 9: uncorrelated}
        days = [day_of(n, MEMBERS, changes.get(n, lambda frame, _: frame)) for n in range(1, 11)]
        days.append(day_of(6, 2150).iloc[2000:])
        folder = write_days(tmp_path_factory.mktemp("members") / "repo", redis.connection_string, days)
        guard = guard_at(folder, 4)
        guard.feast.apply()
        guard.training_set(training_rows([1, 2, 3], MEMBERS), SERVICE)
        for night in range(4, 10):
            serve_night(folder, night, list(range(MEMBERS)))
        serve_night(folder, 10, [*range(MEMBERS), *range(2000, 2150), *range(9000, 9150)])
        yield folder


@pytest.mark.slow
def test_clean_nights_are_quiet_and_changes_are_named(repo: Path) -> None:
    for night in range(4, 8):
        result = checked(repo, night)
        assert (result.status, alarms(result)) == ("ok", set()), (night, result.reason, result.findings)
        assert result.population == result.compared == MEMBERS
        assert result.details["nights"] == night - 4
    broken = checked(repo, 8)
    drift = Cause.DISTRIBUTION_DRIFT.value
    assert {(drift, "spend"), (drift, "score"), (drift, "plan"), (drift, "per_visit")} <= alarms(broken)
    assert alarms(broken) <= {(drift, f) for f in ("spend", "score", "plan", "per_visit")} | {("joint_drift", None)}
    found = {f.feature: f for f in broken.findings}
    assert (found["score"].evidence["part"], found["plan"].evidence["part"]) == ("nulls", "unseen")
    assert found["plan"].rate == pytest.approx(0.06, abs=0.02)
    assert found["spend"].evidence["comparisons"] == {"contract": "drifted", "nights": "drifted"}


@pytest.mark.slow
def test_a_relation_that_broke_is_seen_though_each_feature_is_as_before(repo: Path) -> None:
    result = checked(repo, 9, save=False)
    assert ("joint_drift", None) in alarms(result)
    joint = next(f for f in result.findings if f.cause is Cause.JOINT_DRIFT)
    assert {"usage.left", "usage.right"} == set(joint.evidence["features"][:2])
    assert not {"left", "right"} & {f.feature for f in result.findings}


@pytest.mark.slow
def test_rows_without_values_are_told_by_status_as_one_finding_of_their_view(repo: Path) -> None:
    result = checked(repo, 10, save=False)
    rows = next(f for f in result.findings if (f.view, f.feature) == ("usage", None))
    assert "150 NOT_FOUND, 150 OUTSIDE_MAX_AGE; before: none" in rows.message
    assert {"spend", "visits", "plan", "active", "seen", "basket", "left", "right"} == set(rows.evidence["features"])
    own = next(f for f in result.findings if f.feature == "score")  # has nulls of its own
    assert own.evidence["without_value"]["current"].keys() == {"NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"}
    assert alarms(result) - {("joint_drift", None)} == {("distribution_drift", f) for f in (None, "score", "per_visit")}


@pytest.mark.slow
def test_nothing_served_is_too_little_where_nights_before_had_something(repo: Path, tmp_path: Path) -> None:
    guard = guard_at(repo, 30)
    silent = distribution(guard, guard.service(SERVICE), START + 30 * DAY, save=True)
    assert (silent.status, silent.details) == ("inconclusive", {"too_little": True})
    assert "nothing was served in the 7 days before" in silent.reason
    never = write_days(tmp_path / "never", "localhost:1", [day_of(1, 20)])
    other = guard_at(never, 2)
    other.feast.apply()
    unserved = distribution(other, other.service(SERVICE), START + 2 * DAY, save=True)
    assert (unserved.status, unserved.reason) == ("ok", "nothing was logged")


@pytest.mark.slow
def test_a_run_that_is_not_stored_keeps_nothing_and_a_stored_one_its_profile(repo: Path, tmp_path: Path) -> None:
    folder = guard_at(repo, 9).state.profiles(SERVICE)
    before = sorted(folder.glob("*"))
    checked(repo, 9, save=False)
    assert sorted(folder.glob("*")) == before
    checked(repo, 7)
    assert (folder / f"{START + 7 * DAY:%Y%m%dT%H%M%S}.json").is_file()


@pytest.mark.slow
def test_the_window_reaches_back_when_little_was_served_and_says_so_when_that_is_not_enough(
    tmp_path: Path, clean_redis: EmbeddedRedis
) -> None:
    repo = write_days(tmp_path / "repo", clean_redis.connection_string, [day_of(n, 400) for n in range(1, 7)])
    guard = guard_at(repo, 4)
    guard.feast.apply()
    guard.training_set(training_rows([1, 2, 3], 400), SERVICE)
    for night in (4, 5, 6):
        serve_night(repo, night, list(range(40)))
    result = checked(repo, 6)
    assert result.population == 120
    assert result.details["since"] == (START + 4 * DAY - 4 * DAY + timedelta(days=-1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (result.status, result.details["too_little"], alarms(result)) == ("inconclusive", True, set())
    assert "would show a change of 10%" in result.reason
    assert all(s.rows_needed > 120 for s in result.drift if s.status == "inconclusive")
