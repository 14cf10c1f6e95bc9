"""What a page shows of distributions: the budget in a sentence, drifted columns with charts, a line for the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from skewguard.findings import CheckResult, DriftStats, Run
from skewguard.history import Night
from skewguard.report import svg
from skewguard.report.detail import Detail
from skewguard.report.figures import clean, count, name_of, percent, plural
from skewguard.report.panels import STRIP
from skewguard.report.rows import Told

LINES = 24
"""Most lines of the table; run.json has every comparison."""
ALIKE = 12
"""From so many features without a sure difference on, only their number is told."""

STATUS_WORDS = {
    "drifted": "drifted",
    "small": "surely moved, but by less than matters",
    "same": "no sure difference",
    "inconclusive": "too little data",
}
_STATUS_CLASS = {"drifted": "warn", "small": "none", "same": "none", "inconclusive": "inconclusive"}
_AGAINST = {"contract": "the contract's training set", "nights": "the nights before"}
_PARTS = {
    "values": "moved to other values",
    "unseen": "hold unseen values",
    "statuses": "have no value for another reason",
}


@dataclass(frozen=True)
class DriftPanel:
    """A drifted comparison with its chart: what moved, how surely, and both samples."""

    anchor: str
    name: str
    dtype: str
    against: str
    told: str
    facts: tuple[tuple[str, str], ...]
    histogram: Markup
    trend: Markup
    measures: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class DriftLine:
    """A feature (or a slice of one) as a line: its worst comparison; ``also`` says how the others came out."""

    name: str
    against: str
    also: str
    status: str
    status_class: str
    effect: str
    sort: float
    q_value: str
    rows: str
    nulls: str
    needed: str


@dataclass(frozen=True)
class DriftSection:
    """The section: a sentence on the budget, panels, lines, and how many features have no line."""

    budget: str
    panels: tuple[DriftPanel, ...]
    lines: tuple[DriftLine, ...]
    more: str


def build_drift(told: Told, nights: Sequence[Night]) -> DriftSection | None:
    """The section of a run; None where no distributions were compared. ``nights``: with the run, oldest first."""
    check = next((check for check in told.run.checks if check.drift), None)
    if check is None:
        return None
    return DriftSection(
        budget=_budget(check),
        panels=tuple(
            _panel(f"d{number}", stats, told.run, nights)
            for number, stats in enumerate(told_with_charts(check, told.detail), start=1)
        ),
        lines=tuple(_line(stats, group) for stats, group in _told(check.drift, told.detail)),
        more=_more(check.drift, told.detail),
    )


def _ordered(drift: Sequence[DriftStats]) -> list[DriftStats]:
    order = {status: place for place, status in enumerate(STATUS_WORDS)}
    return sorted(drift, key=lambda s: (order.get(s.status, 9), bool(s.slice), -s.effect, s.view, s.feature))


def _by_feature(drift: Sequence[DriftStats]) -> list[tuple[DriftStats, list[DriftStats]]]:
    """The worst comparison of each feature, and of each slice of one, with all of them."""
    groups: dict[tuple[str, str, str], list[DriftStats]] = {}
    for stats in _ordered(drift):
        groups.setdefault((stats.view, stats.feature, stats.slice), []).append(stats)
    return [(group[0], group) for group in groups.values()]


def _alike(drift: Sequence[DriftStats]) -> list[DriftStats]:
    """The features without a sure difference, where there are many."""
    same = [stats for stats, _ in _by_feature(drift) if stats.status == "same"]
    return same if len(same) >= ALIKE else []


def _more(drift: Sequence[DriftStats], detail: Detail) -> str:
    alike = len(_alike(drift))
    left = len(_by_feature(drift)) - alike - len(_told(drift, detail))
    told = f"{plural(left, 'feature')} more in run.json." if left else ""
    return told + (f" {plural(alike, 'feature')} without a sure difference in run.json." if alike else "")


def _told(drift: Sequence[DriftStats], detail: Detail) -> list[tuple[DriftStats, list[DriftStats]]]:
    alike = _alike(drift)
    lines = [(stats, group) for stats, group in _by_feature(drift) if stats not in alike]
    return lines[: min(LINES, detail.lines)]


def told_with_charts(check: CheckResult, detail: Detail) -> list[DriftStats]:
    """The drifted comparisons that have a chart on the page: the worst of each feature."""
    drifted = [stats for stats, _ in _by_feature(check.drift) if stats.status == "drifted"]
    drifted.sort(key=lambda stats: stats.part in ("nulls", "statuses"))  # of which a chart of values tells nothing
    features = {(stats.view, stats.feature) for stats in drifted if not stats.slice}
    return [s for s in drifted if not s.slice or (s.view, s.feature) not in features][: detail.charts]


_NOT_CHARTED: dict[str, Any] = {
    "labels": (), "reference": (), "current": (), "measures": {}, "reference_missing": {}, "current_missing": {}
}  # fmt: skip


def embedded_drift(check: CheckResult, detail: Detail) -> CheckResult:
    """A check as the page embeds it: the comparisons that it tells, and bins and measures of those that it charts."""
    charted = told_with_charts(check, detail)
    slim = tuple(
        stats if stats in charted else replace(stats, **_NOT_CHARTED)
        for _, group in _told(check.drift, detail)
        for stats in group
    )
    return replace(check, drift=slim)


def _budget(check: CheckResult) -> str:
    details = check.details
    budget, level, tests = (details.get(name) for name in ("budget", "level", "tests"))
    if not isinstance(budget, float) or not isinstance(level, float) or not isinstance(tests, int):
        return ""
    services = details.get("services")
    shared = f", of which this service has 1 part in {services}" if isinstance(services, int) and services > 1 else ""
    return (
        f"{plural(tests, 'test')} of this service, corrected together: without any drift at most {percent(budget)} of "
        f"nights bring a false alarm{shared}. An alarm is a q-value of at most {level:.2g} and an effect that matters."
    )


def _where(stats: DriftStats) -> str:
    return f" where {clean(stats.slice)}" if stats.slice else ""


def _panel(anchor: str, stats: DriftStats, run: Run, nights: Sequence[Night]) -> DriftPanel:
    name = name_of(stats.view, stats.feature)
    rates = [night.drift.get(f"{stats.view}.{stats.feature}") for night in nights]
    facts = (
        *_joined(stats, run),
        ("effect", f"{percent(stats.effect)} of rows (counts from {percent(stats.min_effect)})"),
        ("q-value", f"{stats.q_value:.2g} (sure up to {stats.level:.2g})"),
        ("rows now", _sizes(stats.current_rows, stats.current_effective)),
        ("rows of the reference", _sizes(stats.reference_rows, stats.reference_effective)),
        ("null now / reference", _nulls(stats)),
        *((f"without a value {when}", _reasons(rows)) for when, rows in _missing(stats) if rows),
    )
    return DriftPanel(
        anchor=anchor,
        name=name,
        dtype=clean(stats.dtype),
        against=_AGAINST.get(stats.against, clean(stats.against)),
        told=f"{percent(stats.effect)} of rows{_where(stats)} {_what(stats)}.",
        facts=facts,
        histogram=svg.histogram(name, stats.labels, stats.reference, stats.current, sides=("reference", "now")),
        trend=svg.rate_strip(name, rates, STRIP, what="effect")
        if sum(r is not None for r in rates) > 1
        else Markup(""),
        measures=tuple((clean(measure), f"{value:.4g}") for measure, value in sorted(stats.measures.items())),
    )


def _what(stats: DriftStats) -> str:
    """What happened to the rows of an effect."""
    if stats.part != "nulls":
        return _PARTS.get(stats.part, clean(stats.part))
    fewer = stats.current_nulls * stats.reference_rows > stats.reference_nulls * stats.current_rows
    return "lost their value" if fewer else "gained a value"


def _joined(stats: DriftStats, run: Run) -> tuple[tuple[str, str], ...]:
    """Rows that were compared one by one go first: of them it is known how many are wrong."""
    return tuple(
        (f"rows that differ ({clean(check.check)})", f"{count(one.differing)} of {count(one.compared)}")
        for check in run.checks
        for one in check.features
        if (one.view, one.feature) == (stats.view, stats.feature) and one.compared
    )


def _missing(stats: DriftStats) -> tuple[tuple[str, Mapping[str, int]], ...]:
    return ("now", stats.current_missing), ("in the reference", stats.reference_missing)


def _reasons(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{clean(why)} {count(number)}" for why, number in sorted(rows.items()))


def _sizes(rows: int, effective: float) -> str:
    alike = "" if effective >= 0.99 * rows else f", worth {count(round(effective))} independent ones"
    return f"{count(rows)}{alike}"


def _nulls(stats: DriftStats) -> str:
    now, before = (
        percent(nulls / rows) if rows else "n/a"
        for nulls, rows in ((stats.current_nulls, stats.current_rows), (stats.reference_nulls, stats.reference_rows))
    )
    return f"{now} / {before}"


def _line(stats: DriftStats, group: Sequence[DriftStats]) -> DriftLine:
    others = [f"{clean(s.against)}: {STATUS_WORDS.get(s.status, clean(s.status))}" for s in group[1:]]
    return DriftLine(
        name=name_of(stats.view, stats.feature) + _where(stats),
        against=clean(stats.against),
        also="; ".join(others),
        status=STATUS_WORDS.get(stats.status, clean(stats.status)),
        status_class=_STATUS_CLASS.get(stats.status, "none"),
        effect=percent(stats.effect),
        sort=stats.effect,
        q_value=f"{stats.q_value:.2g}",
        rows=f"{count(stats.current_rows)} / {count(stats.reference_rows)}",
        nulls=_nulls(stats),
        needed=f"{plural(stats.rows_needed, 'row')} would do" if stats.status == "inconclusive" else "",
    )
