"""Runs the checks of one feature service, judges them, and stores what came out."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from skewguard.checks.definition import check_definition
from skewguard.checks.freshness import ViewFreshness, check_freshness
from skewguard.checks.parity import check_parity
from skewguard.collect import Collected, Collector, Progress
from skewguard.contracts_in_use import contracts_in_use
from skewguard.definitions import ServiceDef
from skewguard.drifting import distribution
from skewguard.errors import ConfigurationError, StoreUnavailableError
from skewguard.files import write_atomically
from skewguard.findings import CheckResult, Run, Verdict
from skewguard.gate import decide
from skewguard.history import History
from skewguard.incidents import RUN
from skewguard.offline.evidence import newest_event
from skewguard.offline.sources import connect as connect_offline
from skewguard.offline.through_feast import through_feast
from skewguard.online.connection import connect, settings_from_repo
from skewguard.online.side import OnlineSide, RedisSide, names_redis, online_side
from skewguard.preflighting import preflight
from skewguard.replaying import replay
from skewguard.run_metrics import write_run_metrics
from skewguard.training_set import library_versions
from skewguard.transforming import transform

if TYPE_CHECKING:
    from skewguard.suite_checks import Judged
    from skewguard.workspace import Workspace

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunContext:
    """What identifies one run: its id, as-of time and start (UTC), and where progress goes."""

    run_id: str
    as_of: datetime
    started_at: datetime
    progress: Progress | None = None
    save: bool = False
    """Is the run to be stored, and what it saw be kept for later ones?"""
    judged: Judged | None = None


class CheckedRun(Run):
    """A run as ``check`` gives it: a Run that can write its own report."""

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the HTML report of this run alone (no history) to ``path``, whole or not at all; returns the path."""
        from skewguard.report.html import render_html

        write_atomically(Path(path), render_html(self))
        return Path(path)


@contextlib.contextmanager
def stores(workspace: Workspace, memory_limit: str | None = None) -> Iterator[tuple[duckdb.DuckDBPyConnection, Any]]:
    """An offline connection and a Redis client, both closed at the end."""
    con = connect_offline(memory_limit)
    try:
        client = connect(settings_from_repo(workspace.path))
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
    workspace: Workspace, service: ServiceDef, as_of: datetime, con: duckdb.DuckDBPyConnection, client: Any,
    progress: Progress | None = None, sample: float | None = None,
) -> Collected:  # fmt: skip
    """Both sides of every view of the service, of the policy's sample of entities unless ``sample`` says otherwise.

    ``client`` is of the Redis that the repository names.
    """
    side = RedisSide(client, workspace.feast.project, workspace.policy_for(service.name).keys_per_second)
    return collect_from(workspace, service, as_of, con, side, progress, sample)


def collect_from(
    workspace: Workspace, service: ServiceDef, as_of: datetime, con: duckdb.DuckDBPyConnection, side: OnlineSide,
    progress: Progress | None = None, sample: float | None = None,
) -> Collected:  # fmt: skip
    """``collect`` from any online store."""
    share = workspace.policy_for(service.name).sample if sample is None else sample
    feast = workspace.feast
    collector = Collector(con, side, feast.project, as_of, share, progress, feast.windows())
    return collector.collect(service, feast.watermarks())


def check_service(
    workspace: Workspace, name: str, as_of: datetime, *, save: bool = True, progress: Progress | None = None,
    judged: Judged | None = None,
) -> CheckedRun:  # fmt: skip
    """One run of one feature service; see SkewGuard.check. ``judged`` as in ``check_online``."""
    if names_redis(workspace.feast):
        settings_from_repo(workspace.path)  # a configuration that is none of a Redis is refused, not judged
    workspace.feast.refresh()
    workspace.check_policy()
    service = workspace.feast.service(name)
    context = replace(_context(workspace, as_of, progress, save), judged=judged)
    run = run_checks(workspace, service, context)
    return store_run(workspace, run) if save else run


def run_checks(workspace: Workspace, service: ServiceDef, context: RunContext) -> CheckedRun:
    """Every check, judged. Nothing is stored."""
    from skewguard.suite_checks import check_online

    policy = workspace.policy_for(service.name)
    checks: list[CheckResult] = []

    def attempt(name: str, check: Callable[[], CheckResult]) -> None:
        checks.append(guarded(name, check))

    attempt("preflight", lambda: preflight(workspace, service, context.as_of))
    attempt("definition", lambda: check_definition(service, contracts_in_use(workspace, service.name)))
    with connect_offline(policy.memory_limit) as con, tempfile.TemporaryDirectory(prefix="skewguard-") as folder:

        @functools.cache
        def readable() -> ServiceDef:
            """The service with sources that DuckDB can read."""
            return through_feast(workspace.feast, service, context.as_of, Path(folder), policy.offline == "feast")

        def parity() -> CheckResult:
            with online_side(workspace.feast, policy.keys_per_second) as side:
                found = collect_from(workspace, readable(), context.as_of, con, side, context.progress)
                return check_parity(found.sides, policy, found.skipped, found.limits)

        attempt("freshness", lambda: freshness(workspace, readable(), context.as_of, con))
        attempt("parity", parity)
        if service.on_demand:
            attempt("transform", lambda: transform(workspace, readable(), context.as_of, con))
        if policy.replay != "off":
            attempt("replay", lambda: replay(workspace, readable(), context.as_of, context.progress))
        if policy.drift.enabled:
            attempt(
                "distribution",
                lambda: distribution(workspace, service, context.as_of, save=context.save, progress=context.progress),
            )
        attempt("expectations", lambda: check_online(workspace, readable(), context.as_of, con, context.judged))
    return _judged(workspace, service, context, checks)


def run_preflight(workspace: Workspace, service: ServiceDef, as_of: datetime) -> CheckedRun:
    """Preflight alone, judged. Nothing is stored; the registry is read again, the online store never."""
    context = _context(workspace, as_of)
    return _judged(workspace, service, context, [guarded("preflight", lambda: preflight(workspace, service, as_of))])


def crashed_run(workspace: Workspace, name: str, as_of: datetime, reason: str) -> CheckedRun:
    """A stored run of a service that could not be checked at all: its one check, RUN, crashed.

    Raises as storing does.
    """
    context = _context(workspace, as_of)
    decision = decide([CheckResult(RUN, "crashed", reason=reason)], workspace.policy_for(name))
    run = CheckedRun(
        run_id=context.run_id,
        service=name,
        as_of=as_of,
        started_at=context.started_at,
        finished_at=workspace.clock(),
        verdict=decision.verdict,
        reasons=decision.reasons,
        checks=(CheckResult(RUN, "crashed", reason=reason),),
        findings=(),
        provenance={"repository": str(workspace.path), "policy": workspace.policy.origin},
    )
    return _stored(workspace, run, publish=True)


def _context(workspace: Workspace, as_of: datetime, progress: Progress | None = None, save: bool = False) -> RunContext:
    started = workspace.clock()
    return RunContext(f"{started:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}", as_of, started, progress, save)


def _judged(workspace: Workspace, service: ServiceDef, context: RunContext, checks: list[CheckResult]) -> CheckedRun:
    policy = workspace.policy_for(service.name)
    decision = decide(checks, policy)
    return CheckedRun(
        run_id=context.run_id,
        service=service.name,
        as_of=context.as_of,
        started_at=context.started_at,
        finished_at=workspace.clock(),
        verdict=decision.verdict,
        reasons=decision.reasons,
        checks=tuple(checks),
        findings=decision.findings,
        provenance={
            "repository": str(workspace.path),
            "project": workspace.feast.project,
            "policy": workspace.policy.origin,
            "fingerprints": service.fingerprints(),
            "versions": library_versions(),
            "sample": policy.sample,
            **(_overrides(workspace, service.name) if context.save else {}),
        },
    )


def _overrides(workspace: Workspace, service: str) -> dict[str, Any]:
    """The overrides that were in force since the service's run before this one, where there are any."""
    history = History(workspace.state.history)
    last = history.trend(service, n=1)
    since = last[0].finished_at if last else datetime.min.replace(tzinfo=UTC)
    found = history.overrides(service, since)
    return {"overrides": [override.told() for override in found]} if found else {}


def is_interrupt(error: BaseException) -> bool:
    """DuckDB turns Ctrl-C during a query into an error of its own."""
    return isinstance(error, RuntimeError | duckdb.Error) and "interrupted" in str(error).lower()


def guarded(name: str, check: Callable[[], CheckResult]) -> CheckResult:
    """A check's result; what it raises becomes "inconclusive" (a store or a setting) or "crashed" (a bug)."""
    started = time.perf_counter()
    try:
        return replace(check(), seconds=time.perf_counter() - started)
    except (StoreUnavailableError, ConfigurationError) as error:
        return CheckResult(name, "inconclusive", reason=str(error), seconds=time.perf_counter() - started)
    except Exception as error:
        if is_interrupt(error):
            raise KeyboardInterrupt from error
        # The other checks must still be heard: the crash is kept as a result that never passes, and logged whole.
        _LOG.exception("check %s crashed", name)
        reason = f"{type(error).__name__}: {error}"
        return CheckResult(name, "crashed", reason=reason, seconds=time.perf_counter() - started)


def freshness(
    workspace: Workspace, service: ServiceDef, as_of: datetime, con: duckdb.DuckDBPyConnection
) -> CheckResult:
    """The freshness check of the service's views."""
    watermarks = workspace.feast.watermarks()
    views = [ViewFreshness(v.name, watermarks.get(v.name), newest_event(con, v, as_of)) for v in service.views]
    return check_freshness(views, as_of, workspace.policy_for(service.name))


def store_run(workspace: Workspace, run: CheckedRun) -> CheckedRun:
    """Put a run into history, write its report, publish its verdict (if it is about the present).

    Returns it with the moments when its findings were first seen.
    """
    return _stored(workspace, run, publish=_about_the_present(workspace, run))


def _stored(workspace: Workspace, run: CheckedRun, *, publish: bool) -> CheckedRun:
    from skewguard.report.html import write_report

    history = History(workspace.state.history)
    seen = history.first_seen(run.service, [f.key for f in run.findings])
    findings = tuple(replace(f, first_seen=seen.get(f.key) or run.as_of) for f in run.findings)
    run = replace(run, findings=findings)
    nights = history.trend(run.service)
    history.append(run)
    write_report(run, workspace.state.run_directory(run.run_id), history=nights)
    write_run_metrics(workspace.state.metrics, run, history.incidents(run.service))
    if publish and not _would_open_undecided(workspace, run):
        workspace.state.write_gate(run)
    return run


def _would_open_undecided(workspace: Workspace, run: Run) -> bool:
    """A blocked verdict holds until a run can say otherwise: one that could not decide opens nothing."""
    before = workspace.state.gate(run.service)
    return run.verdict is Verdict.INCONCLUSIVE and before is not None and before.verdict is Verdict.BLOCK


def _about_the_present(workspace: Workspace, run: Run) -> bool:
    """Does a run judge the store as it is? Not where its as-of time lies before a watermark: it must open no gate."""
    watermarks = workspace.feast.watermarks()
    ends = [watermarks.get(view.name) for view in workspace.feast.service(run.service).views]
    return all(end is None or end <= run.as_of for end in ends)
