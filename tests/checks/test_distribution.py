from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest

from skewguard.checks.distribution import Night, check_distribution
from skewguard.config import Drift, Policy
from skewguard.drift.judging import Comparison
from skewguard.findings import Cause, CheckResult, Verdict
from skewguard.gate import decide
from skewguard.profile import TESTED_CATEGORIES, make_bins, profile_column
from skewguard.run_json import decode, encode

RANDOM = np.random.default_rng(0)
REFERENCE = RANDOM.normal(size=20_000)


def against(current: pa.Array, reference: pa.Array | None = None, name: str = "f", **also: object) -> Comparison:
    known = pa.array(REFERENCE) if reference is None else reference
    bins = make_bins(known, None, TESTED_CATEGORIES)
    return Comparison("v", name, "DOUBLE", "contract", profile_column(known, bins), profile_column(current, bins),
                      **also)  # type: ignore[arg-type]  # fmt: skip


def judged(*comparisons: Comparison, limits: Drift | None = None, services: int = 1) -> CheckResult:
    return check_distribution(Night(comparisons, services=services, rows=100), limits or Drift())


def normal(rows: int, shift: float = 0.0) -> pa.Array:
    return pa.array(np.random.default_rng(rows).normal(size=rows) + shift)


def statuses(result: CheckResult) -> list[str]:
    return [stats.status for stats in result.drift]


@pytest.mark.parametrize(
    ("current", "status", "part"),
    [
        (normal(5_000), "same", "values"),
        (normal(5_000, 0.3), "drifted", "values"),
        (normal(200_000, 0.03), "small", "values"),  # sure at this size, and no matter
        (normal(30), "inconclusive", "values"),
        (normal(60, 3.0), "drifted", "values"),  # little data, and no doubt
        (pa.array(REFERENCE[:5_000], mask=np.arange(5_000) % 20 == 0), "drifted", "nulls"),
        (pa.concat_arrays([normal(5_000), pa.array([99.0] * 100)]), "drifted", "unseen"),
        (pa.nulls(2_000, pa.float64()), "drifted", "nulls"),
        (pa.array([np.nan] * 2_000), "drifted", "nulls"),
    ],
    ids=["same", "shifted", "irrelevant", "little", "little but clear", "nulls", "beyond", "all null", "all NaN"],
)
def test_a_column(current: pa.Array, status: str, part: str) -> None:
    result = judged(against(current))
    (stats,) = result.drift
    assert stats.status == status, stats
    if status == "drifted":
        assert stats.part == part
        assert stats.effect >= stats.min_effect
        assert stats.q_value <= stats.level == pytest.approx(0.008)  # four fifths of the budget
    assert [f.feature for f in result.findings] == (["f"] if status == "drifted" else [])
    assert decode(encode(result, CheckResult, "check"), CheckResult, "check").drift == result.drift


def test_too_little_data_says_how_much_would_do() -> None:
    result = judged(against(normal(30)))
    (stats,) = result.drift
    assert (result.status, result.details["too_little"]) == ("inconclusive", True)
    assert 100 < stats.rows_needed < 400
    assert f"about {stats.rows_needed:,} rows would show a change of 10%" in result.reason
    enough = judged(against(normal(stats.rows_needed + 1)))
    assert statuses(enough) == ["same"]
    seen = sum(
        judged(against(pa.array(np.random.default_rng(i).normal(size=stats.rows_needed) + 0.2513))).findings != ()
        for i in range(40)
    )
    assert 22 <= seen <= 40  # a shift that moves a tenth of the rows is seen four times in five


def test_too_little_data_warns_or_keeps_from_a_verdict_as_policy_says() -> None:
    result = judged(against(normal(30)))
    warned = decide([result], Policy().for_service("s"))
    assert warned.verdict is Verdict.WARN
    assert warned.reasons[0].startswith("distribution: too little data")
    strict = Policy({"drift": {"too_little": "block"}}).for_service("s")
    assert decide([result], strict).verdict is Verdict.INCONCLUSIVE
    crashed = CheckResult("distribution", "crashed", reason="x", details={"too_little": True})
    assert decide([crashed], Policy().for_service("s")).verdict is Verdict.INCONCLUSIVE


def test_the_budget_is_shared_by_tests_and_services() -> None:
    doubtful = against(normal(3_000, 0.088))
    alone = judged(doubtful).drift[0]
    assert alone.status in ("drifted", "small")
    among = judged(doubtful, *[against(normal(5_000 + i), name=str(i)) for i in range(200)])
    assert among.drift[0].status == "same"
    assert among.drift[0].q_value > alone.q_value == pytest.approx(alone.p_value)
    shared = judged(doubtful, services=1000)
    assert (shared.drift[0].status, shared.drift[0].level) == ("same", pytest.approx(0.000008))
    assert shared.details | {"tests": 1, "services": 1000, "budget": 0.01} == shared.details


def test_a_feature_is_told_once_however_many_comparisons_drift() -> None:
    moved = normal(3_000, 1.0)
    result = judged(
        against(moved),
        Comparison(**{**against(moved).__dict__, "against": "nights"}),
        against(moved, slice="region = N"),
    )
    (finding,) = result.findings
    assert finding.cause is Cause.DISTRIBUTION_DRIFT
    assert finding.evidence["comparisons"] == {"contract": "drifted", "nights": "drifted"}
    assert finding.evidence["slices"].keys() == {"region = N"}
    assert finding.ci_low <= finding.rate <= finding.ci_high
    assert len(result.drift) == 3


def test_a_slice_alone_may_drift_and_slices_that_did_not_are_not_told() -> None:
    result = judged(against(normal(5_000)), against(normal(500, 0.8), slice="region = N"),
                    against(normal(501), slice="region = S"))  # fmt: skip
    assert [(stats.slice, stats.status) for stats in result.drift] == [("", "same"), ("region = N", "drifted")]
    assert "of rows where region = N moved" in result.findings[0].message
    assert result.details["tests"] == 3


def test_nights_that_vary_are_no_alarm_until_one_lies_further_out() -> None:
    moved = normal(3_000, 0.2)
    assert statuses(judged(against(moved))) == ["drifted"]
    assert statuses(judged(against(moved, usual=True))) == ["same"]
    assert statuses(judged(against(moved, spread=30.0))) != ["drifted"]


def lacking(name: str, expired: int, nulls: int, shift: float = 0.0, nans: int = 0) -> Comparison:
    """2,000 rows against 2,000 of the nights before, of which 20 are null; rows without a value by why."""
    values = np.random.default_rng(len(name)).normal(size=2000) + shift
    values[:nans] = np.nan
    gone = np.arange(2000) >= 2000 - expired - nulls
    before = pa.array(np.random.default_rng(1).normal(size=2000), mask=np.arange(2000) < 20)
    bins = make_bins(before, None, TESTED_CATEGORIES)
    statuses = {status: rows for status, rows in (("NULL_VALUE", nulls), ("OUTSIDE_MAX_AGE", expired)) if rows}
    now = replace(profile_column(pa.array(values, mask=gone), bins), statuses=statuses)
    return Comparison("v", name, "DOUBLE", "nights", replace(profile_column(before, bins),
                      statuses={"NULL_VALUE": 20}), now)  # fmt: skip


def test_rows_that_expired_as_wholes_are_one_finding_of_their_view() -> None:
    result = judged(
        lacking("a", 200, 20), lacking("bb", 200, 20), lacking("ccc", 200, 20, 1.0), lacking("dddd", 0, 200)
    )
    rows, moved, other = result.findings
    assert (rows.view, rows.feature, rows.evidence["features"]) == ("v", None, ["a", "bb", "ccc"])
    assert rows.rate == pytest.approx(0.1)
    assert "v (3 features alike): against the nights before, 10.0% of rows lost their value" in rows.message
    assert "without a value now: 20 NULL_VALUE, 200 OUTSIDE_MAX_AGE; before: 20 NULL_VALUE" in rows.message
    assert (moved.feature, moved.evidence["part"]) == ("ccc", "values")  # and of it alone, what else moved
    assert (other.feature, other.evidence["part"]) == ("dddd", "nulls")  # as many rows too few, of its own
    assert [(s.feature, s.part) for s in result.drift][1:3] == [("bb", "nulls"), ("ccc", "values")]
    assert result.drift[2].effect == pytest.approx(moved.rate, abs=0.001)
    assert result.decides("v", "a")
    assert result.decides("v", None)
    assert len(result.drift) == 4


@pytest.mark.parametrize(
    ("now", "part", "told"),
    [
        (lacking("a", 0, 25), "same", ""),
        (lacking("a", 20, 0), "statuses", "without a value now: 20 OUTSIDE_MAX_AGE; before: 20 NULL_VALUE"),
        (
            lacking("a", 60, 20),
            "nulls",
            "without a value now: 20 NULL_VALUE, 60 OUTSIDE_MAX_AGE; before: 20 NULL_VALUE",
        ),
    ],
    ids=["few", "for another reason", "more"],
)
def test_each_status_is_told(now: Comparison, part: str, told: str) -> None:
    result = judged(now)
    assert [f.evidence["part"] for f in result.findings] == ([] if part == "same" else [part])
    assert all(told in finding.message for finding in result.findings)
    assert result.drift[0].current_missing == dict(now.current.statuses)


def test_other_reasons_at_the_same_null_rate_are_drift() -> None:
    many = lacking("a", 0, 400).current
    now = lacking("a", 200, 200).current
    (finding,) = judged(Comparison("v", "a", "DOUBLE", "nights", many, now)).findings
    assert finding.evidence["part"] == "statuses"
    assert finding.rate == pytest.approx(0.1)
    assert "have no value for another reason" in finding.message
    without = replace(many, statuses={})  # a training set knows no statuses
    assert judged(Comparison("v", "a", "DOUBLE", "contract", without, now)).findings == ()
    nan = lacking("a", 0, 0, nans=400).current
    (finding,) = judged(Comparison("v", "a", "DOUBLE", "contract", without, nan)).findings
    assert (finding.evidence["part"], finding.rate) == ("statuses", pytest.approx(0.2))
    assert nan.missing == {"NaN": 400}


@dataclass(frozen=True)
class Seen:
    chance: float
    auc: float
    reference_rows: int = 1000
    current_rows: int = 1000
    features: tuple[tuple[str, float], ...] = (("v__a", 0.03), ("v__b", 0.02))


@pytest.mark.parametrize(
    ("joint", "alarms"), [(Seen(1e-6, 0.58), 1), (Seen(1e-6, 0.51), 0), (Seen(0.2, 0.58), 0)], ids=str
)
def test_the_joint_test_needs_both_too(joint: Seen, alarms: int) -> None:
    night = Night([against(normal(5_000))], joint)
    result = check_distribution(night, Drift())
    assert [f.cause for f in result.findings] == [Cause.JOINT_DRIFT] * alarms
    assert result.details["tests"] == 2
    if alarms:
        assert result.findings[0].evidence["features"] == ["v.a", "v.b"]
        assert "most by v.a, v.b" in result.findings[0].message


def test_wrong_rows_go_before_drift() -> None:
    from skewguard.findings import Finding

    drift = judged(against(normal(3_000, 2.0)))
    wrong = Finding("parity", Cause.TYPE_CAST, "v", "f", 1, 100, 0, 0.1, "a wrong row")
    decision = decide([drift, CheckResult("parity", "ok", (wrong,), 100, 100)], Policy().for_service("s"))
    assert [f.cause for f in decision.findings] == [Cause.TYPE_CAST, Cause.DISTRIBUTION_DRIFT]
    both = check_distribution(Night([against(normal(3_000, 0.3))], Seen(1e-30, 0.99)), Drift())
    told = decide([both], Policy().for_service("s")).findings
    assert [f.cause for f in told] == [Cause.DISTRIBUTION_DRIFT, Cause.JOINT_DRIFT]
    assert told[0].rate < told[1].rate
