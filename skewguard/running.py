"""Runs the checks of one feature service, judges them, and stores what came out."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from skewguard.checks.definition import check_definition
from skewguard.checks.freshness import ViewFreshness, check_freshness
from skewguard.checks.parity import check_parity
from skewguard.collect import Collected, Collector, Progress, newest_event
from skewguard.definitions import ServiceDef
from skewguard.errors import ConfigurationError, StoreUnavailableError
from skewguard.findings import CheckResult, Run
from skewguard.gate import decide
from skewguard.history import History
from skewguard.offline.sources import connect as connect_offline
from skewguard.online.connection import connect, settings_from_repo
from skewguard.training_set import library_versions

if TYPE_CHECKING:
    from skewguard.guard import SkewGuard

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunContext:
    """What identifies one run: its id, as-of time and start (UTC), and where progress goes."""

    run_id: str
    as_of: datetime
    started_at: datetime
    progress: Progress | None = None


@contextlib.contextmanager
def stores(guard: SkewGuard) -> Iterator[tuple[duckdb.DuckDBPyConnection, Any]]:
    """An offline connection and a Redis client, both closed at the end."""
    con = connect_offline()
    try:
        client = connect(settings_from_repo(guard.path))
        try:
            yield con, client
        finally:
            client.close()
    finally:
        con.close()


def key_ttl(repo: Path) -> int | None:
    """Feast's ``key_ttl_seconds`` of the online store, None where keys do not expire."""
    return settings_from_repo(repo).key_ttl_seconds


def collect(
    guard: SkewGuard, service: ServiceDef, as_of: datetime, con: duckdb.DuckDBPyConnection, client: Any,
    progress: Progress | None = None,
) -> Collected:  # fmt: skip
    """Both sides of every view of the service."""
    sample = guard.policy_for(service.name).sample
    collector = Collector(con, client, guard.feast.project, as_of, sample, progress)
    return collector.collect(service, guard.feast.watermarks())


def run_checks(guard: SkewGuard, service: ServiceDef, context: RunContext) -> Run:
    """Every check, judged. Nothing is stored."""
    from skewguard.checks.expectations import check_online

    policy = guard.policy_for(service.name)
    checks: list[CheckResult] = []

    def attempt(name: str, check: Callable[[], CheckResult]) -> None:
        checks.append(guarded(name, check))

    attempt("definition", lambda: check_definition(service, guard.state.contract(service.name)))
    with connect_offline() as con:
        attempt("freshness", lambda: _freshness(guard, service, context.as_of, con))

        def parity() -> CheckResult:
            with contextlib.closing(connect(settings_from_repo(guard.path))) as client:
                collected = collect(guard, service, context.as_of, con, client, context.progress)
            return check_parity(collected.sides, policy, collected.skipped)

        attempt("parity", parity)
        attempt("expectations", lambda: check_online(guard, service, context.as_of, con, policy))
    decision = decide(checks, policy)
    return Run(
        run_id=context.run_id,
        service=service.name,
        as_of=context.as_of,
        started_at=context.started_at,
        finished_at=guard.clock(),
        verdict=decision.verdict,
        reasons=decision.reasons,
        checks=tuple(checks),
        findings=decision.findings,
        provenance={
            "repository": str(guard.path),
            "project": guard.feast.project,
            "policy": guard.policy.origin,
            "fingerprints": service.fingerprints(),
            "versions": library_versions(),
            "on_demand_features_not_compared": [f.name for od in service.on_demand for f in od.features],
            "sample": policy.sample,
        },
    )


def guarded(name: str, check: Callable[[], CheckResult]) -> CheckResult:
    """A check's result; what it raises becomes "inconclusive" (a store or a setting) or "crashed" (a bug)."""
    started = time.perf_counter()
    try:
        return replace(check(), seconds=time.perf_counter() - started)
    except (StoreUnavailableError, ConfigurationError) as error:
        return CheckResult(name, "inconclusive", reason=str(error), seconds=time.perf_counter() - started)
    except Exception as error:  # noqa: BLE001
        # The other checks must still be heard: the crash is kept as a result that never passes, and logged whole.
        _LOG.exception("check %s crashed", name)
        reason = f"{type(error).__name__}: {error}"
        return CheckResult(name, "crashed", reason=reason, seconds=time.perf_counter() - started)


def _freshness(guard: SkewGuard, service: ServiceDef, as_of: datetime, con: duckdb.DuckDBPyConnection) -> CheckResult:
    watermarks = guard.feast.watermarks()
    views = [ViewFreshness(v.name, watermarks.get(v.name), newest_event(con, v, as_of)) for v in service.views]
    return check_freshness(views, as_of, guard.policy_for(service.name))


def store_run(guard: SkewGuard, run: Run) -> Run:
    """Put a run into history, write its report, publish its verdict; returns it with first-seen moments."""
    from skewguard.report.html import write_report

    history = History(guard.state.history)
    seen = history.first_seen(run.service, [f.key for f in run.findings])
    findings = tuple(replace(f, first_seen=seen.get(f.key) or run.as_of) for f in run.findings)
    run = replace(run, findings=findings)
    nights = history.trend(run.service)
    history.append(run)
    write_report(run, guard.state.run_directory(run.run_id), history=nights)
    guard.state.write_gate(run)
    return run
