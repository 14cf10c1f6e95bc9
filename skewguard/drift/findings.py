"""What is told of columns that drifted: a finding a feature, and one of a view whose rows lack all their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skewguard.causes.catalogue import CATALOGUE
from skewguard.drift.column import Part
from skewguard.drift.judging import Comparison, Judged, Limits, floor_of
from skewguard.findings import Cause, DriftStats, Finding

CHECK = "distribution"


def drift_findings(judged: Sequence[Judged], limits: Limits) -> tuple[list[Finding], dict[int, Part]]:
    """One finding a feature that drifted anywhere, told by its furthest comparison; of all rows before slices.

    Where several features of a view lack as many values for the same reasons, whole rows are missing or expired: that
    is one finding of the view, and of these features what else moved. With the part that each finding of a feature
    tells, by the place of its comparison in ``judged``.
    """
    by_feature: dict[tuple[str, str], list[Judged]] = {}
    for one in judged:
        by_feature.setdefault((one.comparison.view, one.comparison.feature), []).append(one)
    told = []
    for group in by_feature.values():
        drifted = [one for one in group if one.stats.status == "drifted"]
        if drifted:
            told.append((max(drifted, key=lambda one: (not one.comparison.slice, one.stats.effect)), group))
    rows: dict[Any, list[Judged]] = {}
    for one, _ in told:
        if not one.comparison.slice and any(part.name == "nulls" for part in one.far):
            rows.setdefault(_lacking(one.comparison), []).append(one)
    shared = [group for group in rows.values() if len(group) > 1]
    gone = {id(one) for group in shared for one in group}
    places = {id(one): place for place, one in enumerate(judged)}
    found = [_rows_finding(group) for group in shared]
    moved: dict[int, Part] = {}
    for one, group in told:
        parts = [part for part in one.far if id(one) not in gone or part.name not in ("nulls", "statuses")]
        if parts:
            found.append(_finding(one, parts[0], group, limits))
            moved[places[id(one)]] = parts[0]
    return found, moved


def _lacking(comparison: Comparison) -> tuple[Any, ...]:
    """What the features of a view have in common whose rows are missing as wholes."""
    sides = (comparison.reference, comparison.current)
    return (comparison.view, comparison.against, *((p.rows, *sorted(p.missing.items())) for p in sides))


_WORDS = {
    "values": "moved to other values",
    "unseen": "hold values that the reference does not have",
    "statuses": "have no value for another reason",
}
_AGAINST = {"contract": "the contract's training set", "nights": "the nights before"}


def _moved(part: Part, stats: DriftStats) -> str:
    """What happened to the rows of an effect."""
    if part.name != "nulls":
        return _WORDS[part.name]
    before, now = (_share(n, of) for n, of in ((stats.reference_nulls, stats.reference_rows),
                                               (stats.current_nulls, stats.current_rows)))  # fmt: skip
    return "lost their value" if now > before else "gained a value"


def _reasons(part: Part, stats: DriftStats) -> str:
    """``; without one now: 180 OUTSIDE_MAX_AGE; before: 3 NULL_VALUE``, where that is what moved."""
    if part.name not in ("nulls", "statuses"):
        return ""
    now, before = (
        ", ".join(f"{rows:,} {name}" for name, rows in sorted(missing.items())) or "none"
        for missing in (stats.current_missing, stats.reference_missing)
    )
    return f"; without a value now: {now}; before: {before}"


def _sentence(part: Part, stats: DriftStats) -> str:
    where = f" where {stats.slice}" if stats.slice else ""
    rows = f"{stats.current_rows:,} rows against {stats.reference_rows:,}{_reasons(part, stats)}"
    moved = f"{part.effect:.1%} of rows{where} {_moved(part, stats)}"
    return f"against {_AGAINST[stats.against]}, {moved} (q = {stats.q_value:.2g}; {rows})"


def _evidence(stats: DriftStats, part: Part, min_effect: float) -> dict[str, Any]:
    return {
        "against": stats.against,
        "part": part.name,
        "effect": part.effect,
        "min_effect": min_effect,
        "p_value": stats.p_value,
        "q_value": stats.q_value,
        "level": stats.level,
        "null_rate": {"reference": _share(stats.reference_nulls, stats.reference_rows),
                      "current": _share(stats.current_nulls, stats.current_rows)},
        "without_value": {"reference": dict(stats.reference_missing), "current": dict(stats.current_missing)},
    }  # fmt: skip


def _rows_finding(group: Sequence[Judged]) -> Finding:
    """Of a view: rows that are missing or expired as wholes."""
    stats = group[0].stats
    part = next(part for part in group[0].far if part.name == "nulls")
    names = [one.stats.feature for one in group]
    message = f"{stats.view} ({len(names)} features alike): {_sentence(part, stats)}"
    evidence = {**_evidence(stats, part, stats.min_effect), "features": names}
    return _as_finding(stats, part, message, evidence, None)


def _finding(told: Judged, part: Part, group: Sequence[Judged], limits: Limits) -> Finding:
    stats = told.stats
    evidence = {
        **_evidence(stats, part, floor_of(part.name, limits)),
        "effective_rows": {"reference": stats.reference_effective, "current": stats.current_effective},
        "tests": {name: chance for name, chance in told.compared.tests.items() if name != "all"},
        "measures": dict(stats.measures),
        "comparisons": {one.comparison.against: one.stats.status for one in group if not one.comparison.slice},
    }
    slices = {one.stats.slice: one.stats.effect for one in group if one.stats.status == "drifted" and one.stats.slice}
    if slices:
        evidence["slices"] = slices
    message = f"{stats.view}.{stats.feature}: {_sentence(part, stats)}"
    return _as_finding(stats, part, message, evidence, stats.feature)


def _as_finding(
    stats: DriftStats, part: Part, message: str, evidence: Mapping[str, Any], feature: str | None
) -> Finding:
    rows = stats.current_rows
    return Finding(
        check=CHECK,
        cause=Cause.DISTRIBUTION_DRIFT,
        view=stats.view,
        feature=feature,
        count=round(part.effect * rows),
        compared=rows,
        ci_low=part.low,
        ci_high=part.high,
        message=message,
        evidence=evidence,
        advice=CATALOGUE[Cause.DISTRIBUTION_DRIFT].advice,
    )


def _share(count: int, rows: int) -> float:
    return count / rows if rows else 0.0
