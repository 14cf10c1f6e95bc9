"""SkewGuard.drift, ``skewguard drift``, slices, and training sets against the last one; without a server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from skewguard import SkewGuard
from skewguard.config import Policy
from skewguard.errors import BadInputError, ConfigurationError, GateBlocked
from skewguard.findings import CheckResult
from tests.drift.members import SERVICE, START, day_of, guard_at, training_rows, write_days

MEMBERS = 1200


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Days 1 to 5, of which day 5 has spend doubled for the plan "plus" alone; a contract over days 1 and 2."""

    def doubled(frame: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
        return frame.assign(spend=frame["spend"].where(frame["plan"] != "plus", frame["spend"] * 2))

    days = [day_of(n, MEMBERS) for n in range(1, 5)] + [day_of(5, MEMBERS, doubled)]
    folder = write_days(tmp_path_factory.mktemp("rows") / "repo", "localhost:1", days)
    guard = guard_at(folder, 3)
    guard.feast.apply()
    guard.training_set(training_rows([1, 2], MEMBERS), SERVICE)
    return folder


def vectors(guard: SkewGuard, day: int) -> pd.DataFrame:
    table = guard.historical_features(training_rows([day], MEMBERS), SERVICE)
    assert not isinstance(table, int)
    frame: pd.DataFrame = table.to_pandas()
    return frame


def drifted(result: CheckResult) -> set[tuple[str, str]]:
    return {(s.feature, s.slice) for s in result.drift if s.status == "drifted"}


def test_another_day_is_the_same_and_a_changed_column_is_not(repo: Path) -> None:
    guard = guard_at(repo, 4)
    fresh = vectors(guard, 3)
    result = guard.drift(fresh, SERVICE)
    assert (drifted(result), result.compared, len(result.drift)) == (set(), MEMBERS, 10)
    changed = guard.drift(fresh.assign(visits=fresh["visits"] + 1), SERVICE)
    assert drifted(changed) == {("visits", "")}
    assert changed.findings[0].evidence["part"] == "values"


def test_against_other_vectors_and_only_some_columns(repo: Path, tmp_path: Path) -> None:
    guard = guard_at(repo, 4)
    fresh = vectors(guard, 3)
    fresh[["visits", "plan"]].to_csv(tmp_path / "rows.csv", index=False)
    result = guard.drift(tmp_path / "rows.csv", SERVICE, reference=fresh.assign(plan="pro"))
    assert drifted(result) == {("plan", "")}
    assert [s.feature for s in result.drift] == ["visits", "plan"]


def test_rows_that_are_in_both_are_compared_value_by_value_first(repo: Path, tmp_path: Path) -> None:
    """One row in a hundred is wrong: no distribution tells, the rows themselves do."""
    guard = guard_at(repo, 4)
    fresh = vectors(guard, 3)
    wrong = fresh.assign(spend=fresh["spend"].where(fresh.index % 100 != 7, fresh["spend"] + 1))
    result = guard.drift(wrong.sample(frac=1, random_state=1), SERVICE, reference=fresh)
    assert drifted(result) == set()
    assert {f.feature: f.differing for f in result.features if f.differing} == {"spend": 12}
    assert {f.compared for f in result.features} == {MEMBERS}
    assert "per_visit" in {f.feature for f in result.features}
    known = guard.drift(vectors(guard, 2), SERVICE)  # of the contract's rows, those that are in both
    assert {(f.compared, f.differing) for f in known.features} == {(MEMBERS, 0)}
    for other in (wrong.assign(event_timestamp=START), wrong.drop(columns=["event_timestamp"]),
                  wrong.drop(columns=["member_id"])):  # fmt: skip
        assert guard.drift(other, SERVICE, reference=fresh).features == ()
    without_hour = guard.drift(wrong.drop(columns=["hour"]), SERVICE, reference=fresh)
    assert "per_visit" not in {f.feature for f in without_hour.features} != set()
    twice = guard.drift(pd.concat([wrong, wrong.head(5)]), SERVICE, reference=fresh)
    assert {f.compared for f in twice.features} == {MEMBERS - 5}
    wrong.to_parquet(tmp_path / "rows.parquet")
    fresh.to_parquet(tmp_path / "fresh.parquet")
    told = command(repo, str(tmp_path / "rows.parquet"), "--reference", str(tmp_path / "fresh.parquet")).stdout
    assert told.startswith(f"{MEMBERS:,} rows are in both: values differ\nOTHER  usage.spend ")
    assert "12 rows (1.00%)" in told


def test_rows_that_repeat_an_entity_count_as_what_they_are_worth(repo: Path) -> None:
    guard = guard_at(repo, 4)
    few = vectors(guard, 3).head(25)
    many = pd.concat([few] * 60)
    result = guard.drift(many, SERVICE)
    assert drifted(result) == set()
    assert max(s.current_effective for s in result.drift) < 30
    without_keys = guard.drift(many.drop(columns=["member_id"]), SERVICE)
    assert drifted(without_keys) != set()  # nothing says that they are the same rows over and over


def test_slices_are_compared_for_themselves(repo: Path) -> None:
    guard = SkewGuard(repo, policy=Policy({"drift": {"slices": ["usage:plan"], "joint": False}}))
    result = guard.drift(vectors(guard, 5), SERVICE)
    assert ("spend", "usage:plan = plus") in drifted(result)
    assert not {("spend", "usage:plan = basic"), ("spend", "usage:plan = pro")} & drifted(result)
    assert result.details["tests"] > 30
    wrong = SkewGuard(repo, policy=Policy({"drift": {"slices": ["usage:plam"]}}))
    with pytest.raises(ConfigurationError, match="Did you mean 'usage:plan'"):
        wrong.drift(vectors(guard, 5), SERVICE)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.head(0), "no rows"),
        (lambda f: f[["label"]], "features of 'member_v1', such as spend"),
        (lambda f: f[["spend"]].add_prefix("usage__"), "those are its features with full_feature_names"),
        (lambda f: f.assign(visits="many"), "visits"),
        (lambda f: 7, "a pandas DataFrame, an Arrow table or a file's path"),
    ],
    ids=["empty", "no feature", "full names", "wrong type", "no frame"],
)
def test_bad_rows(repo: Path, spoil: Callable[[pd.DataFrame], Any], message: str) -> None:
    guard = guard_at(repo, 4)
    with pytest.raises(BadInputError, match=message):
        guard.drift(spoil(vectors(guard, 3)), SERVICE)


def test_without_a_contract_it_says_what_to_do(repo: Path, tmp_path: Path) -> None:
    folder = write_days(tmp_path / "new", "localhost:1", [day_of(1, 50)])
    guard = guard_at(folder, 2)
    guard.feast.apply()
    with pytest.raises(BadInputError, match="no training set was built yet"):
        guard.drift(vectors(guard_at(repo, 4), 3), SERVICE)


def test_a_new_training_set_is_compared_with_the_last_one(repo: Path) -> None:
    guard = SkewGuard(repo, clock=lambda: START, policy=Policy({"causes": {"distribution_drift": "block"}}))
    before = guard.state.contract(SERVICE)
    rows = training_rows([3], MEMBERS)
    frame = pd.read_parquet(repo / "data" / "members.parquet")
    frame.assign(left=frame["left"] * 3).to_parquet(repo / "data" / "members.parquet")
    try:
        with pytest.raises(GateBlocked) as blocked:
            guard.training_set(rows, SERVICE)
    finally:
        frame.to_parquet(repo / "data" / "members.parquet")
    assert {f.feature for f in blocked.value.findings} >= {"left"}
    assert guard.state.contract(SERVICE) == before  # nothing of what was refused is kept
    guard.training_set(training_rows([1, 2], MEMBERS), SERVICE)


def command(repo: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "skewguard.cli", "drift", *arguments, "--service", SERVICE, "--repo", str(repo)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command(repo: Path, tmp_path: Path) -> None:
    guard = guard_at(repo, 4)
    vectors(guard, 3).assign(active=False).to_parquet(tmp_path / "rows.parquet")
    done = command(repo, str(tmp_path / "rows.parquet"))
    assert done.returncode == 0, done.stderr
    assert "DRIFT  usage.active: against the contract's training set" in done.stdout
    assert "no sure difference" in done.stdout
    data = json.loads(command(repo, str(tmp_path / "rows.parquet"), "--json").stdout)
    assert (data["verdict"], data["findings"][0]["feature"]) == ("warn", "active")
    missing = command(repo, str(tmp_path / "none.parquet"))
    assert (missing.returncode, "no such file" in missing.stderr) == (2, True)
