"""Metrics of the latest runs for Prometheus: written beside the history after each run, told by ``/metrics`` and by
``skewguard metrics``.

One small JSON file a service, ``.skewguard/metrics/<service>.json``: families by name, each a list of (labels, value).
So that no service floods a Prometheus, features are told where they have a finding or drift, at most ``MOST`` of each.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from skewguard.files import file_name, write_atomically
from skewguard.findings import DRIFTS, CheckResult, Run
from skewguard.incidents import Incident

_LOG = logging.getLogger(__name__)

MOST = 100
"""Most series of a family that a service's features make."""

FAMILIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "skewguard_run_timestamp_seconds": ("When the latest run ended, in seconds since 1970.", ()),
    "skewguard_run_duration_seconds": ("How long the latest run took.", ()),
    "skewguard_run_verdict": ("1 for the verdict of the latest run, 0 for the others.", ("verdict",)),
    "skewguard_check_status": ("1 for the status of a check in the latest run, 0 for the others.", ("check", "status")),
    "skewguard_check_coverage_ratio": ("Compared rows by those that there are.", ("check",)),
    "skewguard_findings": ("Findings of the latest run by what policy makes of them.", ("action",)),
    "skewguard_mismatch_ratio": (
        "Rows that a finding is about, by compared rows; without drift.", ("check", "view", "feature", "cause")
    ),
    "skewguard_drift_effect_ratio": ("Share of rows by which a feature drifted.", ("view", "feature", "against")),
    "skewguard_drift_q_value": ("How surely, after the correction for all tests.", ("view", "feature", "against")),
    "skewguard_drift_features": ("Comparisons of distributions by how they came out.", ("against", "status")),
    "skewguard_false_alarm_budget_ratio": ("Nights without drift that may bring a false alarm.", ()),
    "skewguard_false_alarm_level_ratio": ("This service's part of the budget.", ()),
    "skewguard_watermark_lag_seconds": ("As-of time of the latest run less the watermark.", ("view",)),
    "skewguard_source_lag_seconds": ("As-of time of the latest run less the newest offline row.", ("view",)),
    "skewguard_open_incidents": ("Open incidents by what policy makes of them.", ("action",)),
}  # fmt: skip
"""Every family: what it says, and its labels beside ``service``. docs/metrics.md."""

_STATUSES = ("ok", "inconclusive", "crashed")
_VERDICTS = ("pass", "warn", "block", "inconclusive")
_ACTIONS = ("block", "warn", "ignore")

Sample = tuple[str, tuple[str, ...], float]
"""A family's name, the values of its labels without the service, and the value."""


def samples_of(run: Run, incidents: Sequence[Incident]) -> Iterator[Sample]:
    """The samples of a service's latest run and open incidents."""
    yield "skewguard_run_timestamp_seconds", (), run.finished_at.timestamp()
    yield "skewguard_run_duration_seconds", (), (run.finished_at - run.started_at).total_seconds()
    for verdict in _VERDICTS:
        yield "skewguard_run_verdict", (verdict,), float(run.verdict.value == verdict)
    actions = Counter(finding.action for finding in run.findings)
    for action in _ACTIONS:
        yield "skewguard_findings", (action,), float(actions[action])
    yield from _mismatches(run)
    for check in run.checks:
        for status in _STATUSES:
            yield "skewguard_check_status", (check.check, status), float(check.status == status)
        yield "skewguard_check_coverage_ratio", (check.check,), check.coverage
        yield from _drift(check)
        if check.check == "freshness":
            yield from _lags(check, run.as_of)
    opened = Counter(incident.action for incident in incidents)
    for action in ("block", "warn", "undecided"):
        yield "skewguard_open_incidents", (action,), float(opened[action])


def _mismatches(run: Run) -> Iterator[Sample]:
    wrong = [finding for finding in run.findings if finding.cause not in DRIFTS and finding.action != "ignore"]
    for finding in sorted(wrong, key=lambda f: -f.rate)[:MOST]:
        labels = (finding.check, finding.view or "", finding.feature or "", finding.cause.value)
        yield "skewguard_mismatch_ratio", labels, finding.rate


def _drift(check: CheckResult) -> Iterator[Sample]:
    budget, level = check.details.get("budget"), check.details.get("level")
    if check.check == "distribution" and isinstance(budget, float) and isinstance(level, float):
        yield "skewguard_false_alarm_budget_ratio", (), budget
        yield "skewguard_false_alarm_level_ratio", (), level
    whole = [stats for stats in check.drift if not stats.slice]
    for (against, status), count in sorted(Counter((s.against, s.status) for s in whole).items()):
        yield "skewguard_drift_features", (against, status), float(count)
    for stats in sorted(whole, key=lambda s: (s.q_value, -s.effect))[:MOST]:
        labels = (stats.view, stats.feature, stats.against)
        yield "skewguard_drift_effect_ratio", labels, stats.effect
        yield "skewguard_drift_q_value", labels, stats.q_value


def _lags(check: CheckResult, as_of: datetime) -> Iterator[Sample]:
    names = {"watermark": "skewguard_watermark_lag_seconds", "newest_offline_row": "skewguard_source_lag_seconds"}
    for view, moments in check.details.get("views", {}).items():
        for moment, family in names.items():
            if moments.get(moment) is not None:
                lag = as_of - datetime.fromisoformat(moments[moment])
                yield family, (view,), lag.total_seconds()


def write_run_metrics(folder: Path, run: Run, incidents: Sequence[Incident]) -> None:
    """Keep the samples of a service's latest run, whole or not at all."""
    document = {"service": run.service, "samples": [list(sample) for sample in samples_of(run, incidents)]}
    write_atomically(folder / f"{file_name(run.service)}.json", json.dumps(document, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class RunCollector:
    """A collector for ``prometheus_client``: the families of all services that have been checked."""

    folder: Path

    def collect(self) -> Iterator[Any]:
        """Every family that has samples."""
        from prometheus_client.core import GaugeMetricFamily

        found: dict[str, Any] = {}
        for path in sorted(self.folder.glob("*.json")):
            service, samples = _read(path)
            for name, labels, value in samples:
                if name not in FAMILIES:  # of another version
                    continue
                help_text, names = FAMILIES[name]
                family = found.setdefault(name, GaugeMetricFamily(name, help_text, labels=("service", *names)))
                family.add_metric([service, *labels], value)
        yield from found.values()

    def describe(self) -> Sequence[Any]:
        """Nothing: families depend on what was checked."""
        return ()


def _read(path: Path) -> tuple[str, list[Any]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return str(data["service"]), list(data["samples"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        _LOG.warning("%s cannot be read as metrics: %s", path, error)  # the other services' are told all the same
        return "", []


def render_run_metrics(folder: Path) -> str:
    """The text exposition format, for node_exporter's textfile collector."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(RunCollector(folder))
    return generate_latest(registry).decode()
