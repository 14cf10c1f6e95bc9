"""The distribution check: columns against their references, as alarms within a budget.

An alarm is a difference that is sure (over all tests of the night) and far enough (policy ``drift``); docs/drift.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Protocol

from skewguard.causes.catalogue import CATALOGUE
from skewguard.drift.alarms import Correction, level_of, q_values, rows_to_see
from skewguard.drift.column import PARTS, Compared, Part, compare_column
from skewguard.drift.measures import measured
from skewguard.findings import Cause, CheckResult, DriftStats, Finding
from skewguard.profile import OTHER, SHOWN_CATEGORIES, ColumnProfile

CHECK = "distribution"
DRIFT_STATUSES = {
    "drifted": "drifted",
    "small": "surely moved, but by less than matters",
    "same": "no sure difference",
    "inconclusive": "too little data",
}
"""What ``DriftStats.status`` says, in words."""
_LEAST = 1e-300


class Limits(Protocol):
    """What the check takes from policy (``drift``)."""

    @property
    def budget(self) -> float: ...  # noqa: D102
    @property
    def correction(self) -> Correction: ...  # noqa: D102
    @property
    def min_effect(self) -> float: ...  # noqa: D102
    @property
    def min_rate_change(self) -> float: ...  # noqa: D102
    @property
    def min_auc(self) -> float: ...  # noqa: D102
    @property
    def detect(self) -> float: ...  # noqa: D102


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
class Comparison:
    """One column of one population against one reference, as profiles over the same bins.

    ``spread``: how much more than by chance such references vary. ``usual``: tonight lies no further out than earlier
    nights did, so that nothing is an alarm. ``slice`` is ``""`` or ``<attribute> = <value>``.
    """

    view: str
    feature: str
    dtype: str
    against: str
    reference: ColumnProfile
    current: ColumnProfile
    slice: str = ""
    spread: float = 1.0
    usual: bool = False


@dataclass(frozen=True)
class Judged:
    """A comparison and what came of it."""

    comparison: Comparison
    compared: Compared
    stats: DriftStats


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
        Judged(c, found, _stats(c, found, (chance, q, level / max(tests, 1), level), limits))
        for c, found, chance, q in zip(night.comparisons, compared, chances, adjusted, strict=False)
    ]
    findings = _findings(judged)
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


def _floor(part: str, limits: Limits) -> float:
    return limits.min_effect if part == "values" else limits.min_rate_change


def _part(compared: Compared, surely: float, limits: Limits) -> Part:
    """The part that is told: of those that are sure by themselves, the one furthest beyond what matters; else the
    least likely one.
    """
    total = sum(PARTS[part.name] for part in compared.parts)
    shares = {part.name: part.chance * total / PARTS[part.name] for part in compared.parts}
    sure = [part for part in compared.parts if shares[part.name] <= surely]
    if sure:
        return max(sure, key=lambda part: part.effect / max(_floor(part.name, limits), 1e-9))
    return min(compared.parts, key=lambda part: shares[part.name])


def _stats(
    comparison: Comparison, compared: Compared, chances: tuple[float, float, float, float], limits: Limits
) -> DriftStats:
    """What is told of a comparison; ``chances``: its own, the adjusted one, what one test alone may have, the level."""
    chance, q, alone, level = chances
    reference, current = comparison.reference, comparison.current
    surely = q <= level
    part = _part(compared, alone if surely else 0.0, limits)
    floor = _floor(part.name, limits)
    needed, lacking = _needed(comparison, compared, alone, limits)
    status = _status(surely, part.effect >= floor, lacking)
    labels, ours, theirs = _bars(reference, current)
    return DriftStats(
        view=comparison.view,
        feature=comparison.feature,
        dtype=comparison.dtype,
        against=comparison.against,
        slice=comparison.slice,
        status=status,
        part=part.name,
        p_value=max(chance, _LEAST),
        q_value=max(q, _LEAST),
        level=level,
        effect=part.effect,
        min_effect=floor,
        reference_rows=reference.rows,
        current_rows=current.rows,
        reference_effective=round(compared.reference_effective, 1),
        current_effective=round(compared.current_effective, 1),
        rows_needed=needed,
        reference_nulls=reference.nulls + reference.nans,
        current_nulls=current.nulls + current.nans,
        labels=labels,
        reference=ours,
        current=theirs,
        measures=measured(reference, current),
    )


def _status(surely: bool, far: bool, lacking: bool) -> str:
    if surely:
        return "drifted" if far else "small"
    return "inconclusive" if lacking else "same"


def _needed(comparison: Comparison, compared: Compared, alone: float, limits: Limits) -> tuple[int, bool]:
    """Rows of the current side that would show a change of ``limits.detect``, and whether there are too few.

    For numbers a shift of all values that moves so large a share past the median; for categories a move of the
    commonest one. As many more as repeated entities make necessary; where the reference is small, rows of both sides.
    """
    if comparison.reference.bins.ordered:
        spread = limits.detect**2 / (2 * NormalDist().inv_cdf((1 + limits.detect) / 2)) ** 2
    else:
        spread = max((share * (1 - share) for share in compared.shares), default=0.25)
    wanted = rows_to_see(limits.detect, spread, alone) * max(comparison.spread, 1.0)
    known, held = compared.reference_effective, compared.current_effective
    there = known * held / (known + held) if known and held else 0.0
    independent = wanted * known / (known - wanted) if known > 2 * wanted else 2 * wanted
    repeated = comparison.current.rows / held if held else 1.0
    return math.ceil(independent * max(repeated, 1.0)), there < wanted


def _bars(reference: ColumnProfile, current: ColumnProfile) -> tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]:
    """Labels and counts of both sides for a chart: as many categories as fit one, the others together."""
    labels = reference.bins.labels()
    if reference.bins.ordered or len(labels) <= SHOWN_CATEGORIES + 1:
        return labels, reference.counts, current.counts
    shown = SHOWN_CATEGORIES
    return (
        (*labels[:shown], OTHER),
        (*reference.counts[:shown], sum(reference.counts[shown:])),
        (*current.counts[:shown], sum(current.counts[shown:])),
    )


def _too_little(lacking: Sequence[DriftStats], columns: int, limits: Limits) -> str:
    worst = max(lacking, key=lambda stats: stats.rows_needed)
    return (
        f"too little data for {len(lacking)} of {columns} comparisons: {worst.current_rows:,} rows "
        f"({worst.current_effective:,.0f} independent ones) against {worst.reference_rows:,} "
        f"({worst.reference_effective:,.0f}); about {worst.rows_needed:,} rows would show a change of "
        f"{limits.detect:.0%}"
    )


def _findings(judged: Sequence[Judged]) -> list[Finding]:
    """One finding a feature that drifted anywhere, told by its furthest comparison; of all rows before slices."""
    by_feature: dict[tuple[str, str], list[Judged]] = {}
    for one in judged:
        by_feature.setdefault((one.comparison.view, one.comparison.feature), []).append(one)
    found = []
    for group in by_feature.values():
        drifted = [one for one in group if one.stats.status == "drifted"]
        if drifted:
            told = max(drifted, key=lambda one: (not one.comparison.slice, one.stats.effect))
            found.append(_finding(told, drifted, [one for one in group if not one.comparison.slice]))
    return found


_WORDS = {
    "values": "moved to other values",
    "nulls": "gained or lost their value",
    "unseen": "hold values that the reference does not have",
}
_AGAINST = {"contract": "the contract's training set", "nights": "the nights before"}


def _finding(told: Judged, drifted: Sequence[Judged], whole: Sequence[Judged]) -> Finding:
    stats, comparison = told.stats, told.comparison
    info = CATALOGUE[Cause.DISTRIBUTION_DRIFT]
    part = next(part for part in told.compared.parts if part.name == stats.part)
    where = f" where {stats.slice}" if stats.slice else ""
    message = (
        f"{stats.view}.{stats.feature}: against {_AGAINST[stats.against]}, {stats.effect:.1%} of rows{where} "
        f"{_WORDS[stats.part]} (q = {stats.q_value:.2g}; {stats.current_rows:,} rows against {stats.reference_rows:,})"
    )
    evidence: dict[str, Any] = {
        "against": stats.against,
        "part": stats.part,
        "effect": stats.effect,
        "min_effect": stats.min_effect,
        "p_value": stats.p_value,
        "q_value": stats.q_value,
        "level": stats.level,
        "null_rate": {"reference": _share(stats.reference_nulls, stats.reference_rows),
                      "current": _share(stats.current_nulls, stats.current_rows)},
        "effective_rows": {"reference": stats.reference_effective, "current": stats.current_effective},
        "tests": {name: chance for name, chance in told.compared.tests.items() if name != "all"},
        "measures": dict(stats.measures),
        "comparisons": {one.comparison.against: one.stats.status for one in whole},
    }  # fmt: skip
    if comparison.current.statuses:
        evidence["statuses"] = dict(comparison.current.statuses)
    slices = {one.stats.slice: one.stats.effect for one in drifted if one.stats.slice}
    if slices:
        evidence["slices"] = slices
    rows = stats.current_rows
    return Finding(
        check=CHECK,
        cause=Cause.DISTRIBUTION_DRIFT,
        view=stats.view,
        feature=stats.feature,
        count=round(stats.effect * rows),
        compared=rows,
        ci_low=part.low,
        ci_high=part.high,
        message=message,
        evidence=evidence,
        advice=info.advice,
    )


def _share(count: int, rows: int) -> float:
    return count / rows if rows else 0.0


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
