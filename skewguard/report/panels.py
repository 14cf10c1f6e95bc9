"""What a page shows of each feature: charts, cause split and worst rows where it differs, one line where it agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from skewguard.findings import Cause, FeatureStats, Run
from skewguard.history import Night
from skewguard.report import svg, words
from skewguard.report.figures import clean, count, name_of, percent
from skewguard.report.rows import FindingRow, Subject, Told

STRIP = 14
"""Runs in the strip."""

_CAUSE_ORDER = {cause.value: index for index, cause in enumerate(Cause)}


@dataclass(frozen=True)
class Split:
    """One segment of the cause-split bar, for its legend."""

    colour: int
    cause: str
    rows: str
    share: str


@dataclass(frozen=True)
class Panel:
    """One feature or view (or the service) with findings, told in full: charts and worst rows."""

    anchor: str
    name: str
    dtype: str
    action: str
    facts: tuple[tuple[str, str], ...]
    histogram: Markup
    split: Markup
    legend: tuple[Split, ...]
    trend: Markup
    findings: tuple[FindingRow, ...]


@dataclass(frozen=True)
class FeatureRow:
    """A feature that has no panel: one line of a table."""

    name: str
    dtype: str
    compared: str
    differing: str
    nulls: str
    spark: Markup


def _all_stats(run: Run) -> dict[Subject, FeatureStats]:
    """The statistics of each feature; the first check that has them wins."""
    found: dict[Subject, FeatureStats] = {}
    for check in run.checks:
        for stats in check.features:
            found.setdefault((stats.view, stats.feature), stats)
    return found


def build_panels(told: Told, rows: Sequence[FindingRow], nights: Sequence[Night]) -> tuple[Panel, ...]:
    """The panels of the subjects that are told in full, worst first."""
    stats = _all_stats(told.run)
    panels = []
    for (view, feature), anchor in told.anchors.items():
        found = tuple(row for row in rows if row.anchor == anchor)
        worst = next((row.action for row in found if row.action in ("block", "warn")), "")
        bare = Panel(anchor, name_of(view, feature), "", worst, (), Markup(""), Markup(""), (), Markup(""), found)
        known = stats.get((view, feature))
        rates = [night.features.get(f"{view}.{feature}") for night in nights]
        panels.append(bare if known is None else _panel(bare, known, rates))
    return tuple(panels)


def _panel(bare: Panel, stats: FeatureStats, rates: Sequence[float | None]) -> Panel:
    """The panel with what the statistics tell."""
    name = bare.name
    parts = sorted(stats.causes.items(), key=lambda pair: (-pair[1], _CAUSE_ORDER.get(pair[0], 99), pair[0]))
    shown = [(words.words_for(cause).short, rows) for cause, rows in parts if rows > 0]
    total = max(stats.compared, 1)
    legend = tuple(
        Split(min(index, svg.SPLIT_COLOURS - 1), clean(cause), count(rows), percent(rows / total))
        for index, (cause, rows) in enumerate(shown)
    )
    facts = (
        ("rows compared", count(stats.compared)),
        ("differ", f"{count(stats.differing)} ({percent(stats.differing / total)})"),
        ("null offline", f"{count(stats.offline_nulls)} ({percent(stats.offline_nulls / total)})"),
        ("null online", f"{count(stats.online_nulls)} ({percent(stats.online_nulls / total)})"),
    )
    return replace(
        bare,
        dtype=clean(stats.dtype),
        facts=facts,
        histogram=svg.histogram(name, stats.labels, stats.offline, stats.online),
        split=svg.cause_split(name, shown, stats.compared) if shown else Markup(""),
        legend=legend,
        trend=svg.rate_strip(name, rates, STRIP) if len(rates) > 1 else Markup(""),
    )


def others_told(told: Told) -> list[tuple[Subject, FeatureStats]]:
    """The features without a panel that have a line: those that differ first, most rows first, then as checks come."""
    others = [(subject, stats) for subject, stats in _all_stats(told.run).items() if subject not in told.anchors]
    others.sort(key=lambda pair: -pair[1].differing / max(pair[1].compared, 1))
    return others[: told.detail.lines]


def count_others(told: Told) -> int:
    """Features without a panel."""
    return len(_all_stats(told.run).keys() - told.anchors.keys())


def has_sparks(told: Told) -> bool:
    """Do features without a panel have a small chart each?"""
    return count_others(told) <= told.detail.sparks


def build_others(told: Told) -> tuple[FeatureRow, ...]:
    """The features that have no panel, as lines."""
    sparks = has_sparks(told)
    return tuple(
        FeatureRow(
            name=name_of(*subject),
            dtype=clean(stats.dtype),
            compared=count(stats.compared),
            differing=f"{count(stats.differing)} ({percent(stats.differing / max(stats.compared, 1))})",
            nulls=f"{count(stats.offline_nulls)} / {count(stats.online_nulls)}",
            spark=svg.histogram("", stats.labels, stats.offline, stats.online, small=True) if sparks else Markup(""),
        )
        for subject, stats in others_told(told)
    )
