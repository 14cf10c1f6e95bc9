"""Prometheus metrics of the server. Names and labels are documented in docs/metrics.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from skewguard.findings import Verdict
from skewguard.run_metrics import RunCollector

if TYPE_CHECKING:
    from online_api.row_checks import Outcome
    from skewguard.expectations.rows.suite import RowRule

BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Upper bounds of the latency histogram, in seconds."""


LABELLED = 200
"""Rules of a suite, by their place in it, that have series of their own; the others share one."""


def rule_labels(rule: RowRule) -> tuple[str, str]:
    """The labels of a rule: its number in the file and type, and its columns."""
    if rule.position >= LABELLED:
        return "other", "other"
    return f"{rule.position + 1} {rule.type}", ", ".join(rule.subjects)


class Metrics:
    """The counters of one server process, or of all workers where they share ``folder``; beside them what the latest
    runs of the guard left in ``runs``.

    prometheus_client shares counts through a folder only when PROMETHEUS_MULTIPROC_DIR names it at the time of its
    import; the folder is told here as well, because Feast sets that variable for ends of its own when it is imported.
    """

    def __init__(self, folder: Path | None = None, runs: Path | None = None) -> None:
        self._folder = folder
        self._runs = runs
        self.registry = CollectorRegistry()
        # finding a child by its labels takes longer than counting in it
        self._status_children: dict[tuple[str, str], Counter] = {}
        self._judged_children: dict[str, Counter] = {}
        self._request_children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self.requests = Counter(
            "skewguard_http_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "skewguard_http_request_seconds",
            "Time from the request's head to the end of its answer.",
            ["route"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.statuses = Counter(
            "skewguard_feature_statuses",
            "Feature values by view and status.",
            ["view", "status"],
            registry=self.registry,
        )
        self.redis_errors = Counter(
            "skewguard_redis_errors", "Look-ups that Redis failed, by error class.", ["error"], registry=self.registry
        )
        self.refusals = Counter(
            "skewguard_gate_refusals", "Requests that the serving gate refused.", ["service"], registry=self.registry
        )
        self.fallbacks = Counter(
            "skewguard_fallbacks",
            "Values that were sent instead of stored ones, by where they come from.",
            ["service", "kind"],
            registry=self.registry,
        )
        self.judged = Counter(
            "skewguard_expectation_rows",
            "Rows of answers that were held against the service's row rules.",
            ["service"],
            registry=self.registry,
        )
        self.failures = Counter(
            "skewguard_expectation_failures",
            "Rows in which an expectation failed, by what was done.",
            ["service", "rule", "feature", "done"],
            registry=self.registry,
        )
        self.broken = Counter(
            "skewguard_expectation_broken",
            "Rows on which an expectation could not be judged, because it raised.",
            ["service", "rule", "feature"],
            registry=self.registry,
        )
        self.alarm = Gauge(
            "skewguard_expectation_alarm",
            "1 while the share of values as expected is below the expectation's mostly (row_policy: rate).",
            ["service", "rule", "feature"],
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self.suite_problem = Gauge(
            "skewguard_suite_problem",
            "1 while a suite is refused, so that the one before it (or none) is in force.",
            ["service"],
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.override = Gauge(
            "skewguard_override",
            "1 while a gate of the service is overridden.",
            ["service", "gate"],
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.logged = Counter(
            "skewguard_serving_log_rows",
            "Rows of answers by what became of them: sent = stored + dropped + those that wait.",
            ["service", "result"],
            registry=self.registry,
        )
        self.verdict = Gauge(
            "skewguard_verdict",
            "1 for the service's verdict now, 0 for the others.",
            ["service", "verdict"],
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )

    def count_statuses(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Add feature values, by (view, status)."""
        for labels, count in counts.items():
            child = self._status_children.get(labels)
            if child is None:
                child = self._status_children[labels] = self.statuses.labels(*labels)
            child.inc(count)

    def count_fallbacks(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Add values that were sent instead, by (service, kind)."""
        for labels, count in counts.items():
            self.fallbacks.labels(*labels).inc(count)

    def count_judged(self, service: str, rows: int) -> None:
        """Add rows that were held against a service's rules."""
        child = self._judged_children.get(service)
        if child is None:
            child = self._judged_children[service] = self.judged.labels(service)
        child.inc(rows)

    def count_outcome(self, outcome: Outcome) -> None:
        """Add what failed and what broke, and show what alarms."""
        for one in outcome.failed:
            self.failures.labels(one.use.service, *rule_labels(one.use.rule), one.done).inc(len(one.rows))
        for one in outcome.broken:
            self.broken.labels(one.use.service, *rule_labels(one.use.rule)).inc(len(one.rows))

    def show_alarm(self, service: str, rule: RowRule, on: bool) -> None:
        """Set the gauge of one rule."""
        self.alarm.labels(service, *rule_labels(rule)).set(int(on))

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Add one request."""
        children = self._request_children.get((route, status))
        if children is None:
            children = self.requests.labels(route, str(status)), self.seconds.labels(route)
            self._request_children[route, status] = children
        children[0].inc()
        children[1].observe(seconds)

    def show_verdict(self, service: str, verdict: Verdict) -> None:
        """Set the gauge of one service."""
        for known in Verdict:
            self.verdict.labels(service, known.value).set(1 if known is verdict else 0)

    def render(self) -> bytes:
        """The text exposition format."""
        told = self.registry
        if self._folder is not None:
            told = CollectorRegistry()
            MultiProcessCollector(told, path=str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(told) + self._of_runs()

    def _of_runs(self) -> bytes:
        """The metrics of the latest run of each service; their names are others than the server's own."""
        if self._runs is None:
            return b""
        runs = CollectorRegistry()
        runs.register(RunCollector(self._runs))
        return generate_latest(runs)
