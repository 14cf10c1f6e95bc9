"""Gathers what preflight judges (schemas and counts of sources, files not applied), and tells what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skewguard.checks.preflight import PreflightInputs, check_preflight
from skewguard.definitions import ServiceDef
from skewguard.errors import ConfigurationError
from skewguard.findings import CheckResult, Run
from skewguard.offline.sources import connect
from skewguard.risks.definitions import plan_risks
from skewguard.risks.risk import Stores
from skewguard.risks.source import SourceFacts, read_source

if TYPE_CHECKING:
    from datetime import datetime

    from skewguard.workspace import Workspace


def preflight(workspace: Workspace, service: ServiceDef, as_of: datetime) -> CheckResult:
    """Look at everything but values: nothing of the online store is read, and nothing is written.

    ``as_of`` counts as now for rows in the future where it lies ahead of the clock. Source rows are scanned once for
    counts, and twice for rows of one entity and time (their hashes, then the rows that share one).
    """
    feast = workspace.feast
    now = max(as_of, workspace.clock())
    sources: list[SourceFacts] = []
    problems: list[str] = []
    with connect() as con:
        for view in service.views:
            try:
                sources.append(read_source(con, view, service.features_read(view), now))
            except ConfigurationError as error:
                problems.append(str(error))
    return check_preflight(
        PreflightInputs(
            service=service,
            sources=sources,
            stores=Stores(*feast.stores),
            now=now,
            project=feast.project,
            projects=feast.projects(),
            unapplied=feast.unapplied(),
            others=plan_risks(workspace),
            problems=problems,
        )
    )


def told(run: Run) -> list[str]:
    """A preflight run in lines: the verdict, then what was found, worst first, each with its advice."""
    lines = [f"{run.verdict.value.upper()}  {run.service}"]
    lines += [f"  could not be read: {check.reason}" for check in run.checks if check.status != "ok"]
    for finding in run.findings:
        lines.append(f"  {finding.action:<6}  {finding.evidence.get('rule', finding.cause.value)}: {finding.message}")
        if finding.action != "ignore":
            lines.append(f"          {finding.advice}")
    return lines if run.findings or len(lines) > 1 else [f"{lines[0]}: nothing found"]
