"""What ``skewguard drift`` says of vectors in a file: a line a column, the alarms first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from skewguard.checks.distribution import DRIFT_STATUSES
from skewguard.config import ServicePolicy
from skewguard.findings import CheckResult, DriftStats, FeatureStats
from skewguard.gate import decide
from skewguard.run_json import encode


def told(result: CheckResult) -> Iterator[str]:
    """The result as text."""
    details = result.details
    yield from _joined(result.features)
    yield (
        f"{result.compared:,} rows, {details['tests']} tests; an alarm is a q-value up to {details['level']:.3g} (on "
        f"at most {details['budget']:.0%} of nights without drift), and an effect that matters"
    )
    for finding in result.findings:
        yield f"DRIFT  {finding.message}"
    for stats in result.drift:
        if not stats.slice and stats.status != "drifted":
            yield _line(stats)
    if result.reason:
        yield f"inconclusive: {result.reason}"


def _joined(features: Sequence[FeatureStats]) -> Iterator[str]:
    """Rows that are in both, which no test of distributions is needed for."""
    if not features:
        return
    wrong = sorted((f for f in features if f.differing), key=lambda f: -f.differing)
    yield f"{features[0].compared:,} rows are in both: " + ("values differ" if wrong else "no value differs")
    for stats in wrong:
        name = f"{stats.view}.{stats.feature}"
        yield f"OTHER  {name:40} {stats.differing:,} rows ({stats.differing / stats.compared:.2%})"


def _line(stats: DriftStats) -> str:
    needed = f" ({stats.rows_needed:,} rows needed)" if stats.status == "inconclusive" else ""
    name = f"{stats.view}.{stats.feature}"
    return (
        f"       {name:40} {DRIFT_STATUSES[stats.status]}{needed}; {stats.part} {stats.effect:.1%}, "
        f"q = {stats.q_value:.2g}"
    )


def outcome(result: CheckResult, policy: ServicePolicy) -> tuple[dict[str, Any], str]:
    """The result as JSON values, and the verdict that policy makes of it."""
    decision = decide([result], policy)
    data: dict[str, Any] = encode(result, CheckResult, "check")
    verdict = decision.verdict.value
    return {**data, "verdict": verdict, "reasons": list(decision.reasons)}, verdict
