"""The distribution check: columns against their references, as alarms within a budget.

An alarm is a difference that is sure (over all tests of the night) and far enough (policy ``drift``); docs/drift.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from skewguard.causes.catalogue import CATALOGUE
from skewguard.drift.alarms import level_of, q_values
from skewguard.drift.column import compare_column
from skewguard.drift.findings import CHECK, drift_findings
from skewguard.drift.judging import Comparison, Limits, floor_of, judge
from skewguard.findings import Cause, CheckResult, DriftStats, Finding

DRIFT_STATUSES = {
    "drifted": "drifted",
    "small": "surely moved, but by less than matters",
    "same": "no sure difference",
    "inconclusive": "too little data",
}
"""What ``DriftStats.status`` says, in words."""


class Joint(Protocol):
    """What a classifier two-sample test found (``skewguard.drift.joint.JointTest``)."""

    @property
    def chance(self) -> float: ...  # noqa: D102
    @property
    def auc(self) -> float: ...  # noqa: D102
    @property
    def reference_rows(self) -> int: ...  # noqa: D102
    @property
    def current_rows(self) -> int: ...  # noqa: D102
    @property
    def features(self) -> tuple[tuple[str, float], ...]: ...  # noqa: D102


@dataclass(frozen=True)
class Night:
    """What is judged together: comparisons, the joint test (None: not made), and how many services share the budget."""

    comparisons: Sequence[Comparison]
    joint: Joint | None = None
    services: int = 1
    rows: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)


def check_distribution(night: Night, limits: Limits) -> CheckResult:
    """Judge a night's comparisons under the budget.

    The result is "inconclusive" (``details["too_little"]``) where any column has too little data for a change of
    ``limits.detect`` to be seen, and no alarm. Its ``drift`` has every comparison of all rows, and of slices those that
    drifted.
    """
    compared = [compare_column(c.reference, c.current, c.spread) for c in night.comparisons]
    chances = [1.0 if c.usual else found.chance for c, found in zip(night.comparisons, compared, strict=True)]
    tests = len(chances) + (night.joint is not None)
    level = level_of(limits.budget, night.services)
    adjusted = q_values([*chances, *([night.joint.chance] if night.joint else [])], limits.correction)
    judged = [
        judge(c, found, (chance, q, level / max(tests, 1), level), limits)
        for c, found, chance, q in zip(night.comparisons, compared, chances, adjusted, strict=False)
    ]
    findings, moved = drift_findings(judged, limits)
    for place, part in moved.items():  # what its finding tells of a feature
        one = judged[place]
        told = replace(one.stats, part=part.name, effect=part.effect, min_effect=floor_of(part.name, limits))
        judged[place] = replace(one, stats=told)
    if night.joint is not None and adjusted[-1] <= level and night.joint.auc >= limits.min_auc:
        findings.append(_joint_finding(night.joint, adjusted[-1], level, limits))
    whole = [one for one in judged if not one.comparison.slice]
    lacking = [one.stats for one in whole if one.stats.status == "inconclusive"]
    details = {
        **night.details,
        "budget": limits.budget,
        "services": night.services,
        "level": level,
        "tests": tests,
        "correction": limits.correction,
        "too_little": bool(lacking),
    }
    if night.joint is not None:
        details["joint"] = {"auc": night.joint.auc, "p_value": night.joint.chance, "q_value": adjusted[-1]}
    return CheckResult(
        check=CHECK,
        status="inconclusive" if lacking else "ok",
        findings=tuple(findings),
        population=night.rows,
        compared=night.rows,
        reason=_too_little(lacking, len(whole), limits) if lacking else "",
        details=details,
        drift=tuple(one.stats for one in judged if not one.comparison.slice or one.stats.status == "drifted"),
    )


def _too_little(lacking: Sequence[DriftStats], columns: int, limits: Limits) -> str:
    worst = max(lacking, key=lambda stats: stats.rows_needed)
    return (
        f"too little data for {len(lacking)} of {columns} comparisons: {worst.current_rows:,} rows "
        f"({worst.current_effective:,.0f} independent ones) against {worst.reference_rows:,} "
        f"({worst.reference_effective:,.0f}); about {worst.rows_needed:,} rows would show a change of "
        f"{limits.detect:.0%}"
    )


def _joint_finding(joint: Joint, q: float, level: float, limits: Limits) -> Finding:
    """The rate is twice the area beyond one half (Somers' D): 0 where the sides are alike, 1 at the most."""
    info = CATALOGUE[Cause.JOINT_DRIFT]
    apart = max(0.0, 2 * joint.auc - 1)
    names = [name.replace("__", ".", 1) for name, _ in joint.features]
    message = (
        f"a classifier tells served rows from the contract's training set (AUC {joint.auc:.3f}, q = {q:.2g}), "
        f"most by {', '.join(names) or 'no single feature'}"
    )
    error = 1.959963984540054 / (3 * joint.current_rows) ** 0.5
    return Finding(
        check=CHECK,
        cause=Cause.JOINT_DRIFT,
        view=None,
        feature=None,
        count=round(apart * joint.current_rows),
        compared=joint.current_rows,
        ci_low=max(0.0, apart - error),
        ci_high=min(1.0, apart + error),
        message=message,
        evidence={
            "auc": joint.auc,
            "min_auc": limits.min_auc,
            "p_value": joint.chance,
            "q_value": q,
            "level": level,
            "features": names,
            "auc_lost_without": dict(joint.features),
            "rows": {"reference": joint.reference_rows, "current": joint.current_rows},
        },
        advice=info.advice,
    )
