"""The run and the nights as a page holds them: what it shows of them, so that it stays small. run.json is whole.

Worst rows that the page shows; findings once, under ``findings`` and not under the checks again; bins of the features
that it charts, and of each feature the comparisons of distributions that it tells; of the nights the features that it
charts, and the findings of the last one.
"""

from __future__ import annotations

from dataclasses import replace

from skewguard.findings import CheckResult, Finding, Run
from skewguard.history import Night
from skewguard.report.drift import embedded_drift, told_with_charts
from skewguard.report.panels import has_sparks, others_told
from skewguard.report.rows import Told


def embedded_run(told: Told) -> Run:
    """The run as the page holds it."""
    run, lines = told.run, told.detail.lines
    listed = {id(item) for item in run.findings[:lines]}
    findings = (f for f in run.findings if id(f) in listed or (f.view, f.feature) in told.anchors)
    return replace(
        run,
        reasons=run.reasons[:lines],
        findings=tuple(_finding(item, told) for item in findings),
        checks=tuple(_check(check, told) for check in run.checks),
    )


def _finding(item: Finding, told: Told) -> Finding:
    if (item.view, item.feature) in told.anchors:
        return replace(item, samples=item.samples[: told.detail.samples])
    return replace(item, samples=(), evidence=item.evidence if told.detail.evidence else {})


def _check(check: CheckResult, told: Told) -> CheckResult:
    shown = {subject for subject, _ in others_told(told)} | told.anchors.keys()
    sparks = has_sparks(told)
    features = tuple(
        stats
        if sparks or (stats.view, stats.feature) in told.anchors
        else replace(stats, labels=(), offline=(), online=())
        for stats in check.features
        if (stats.view, stats.feature) in shown
    )
    return replace(embedded_drift(check, told.detail), findings=(), features=features)


def embedded_nights(told: Told) -> list[Night]:
    """The nights before the run as the page holds them."""
    charted = {f"{view}.{feature}" for view, feature in told.anchors}
    drifted = {f"{s.view}.{s.feature}" for check in told.run.checks for s in told_with_charts(check, told.detail)}
    return [
        replace(
            night,
            rates=dict(list(night.rates.items())[: told.detail.lines]) if night is told.earlier[-1] else {},
            features={name: rate for name, rate in night.features.items() if name in charted},
            drift={name: effect for name, effect in night.drift.items() if name in drifted},
        )
        for night in told.earlier
    ]
