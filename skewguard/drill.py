"""Drills: faults put into the online store on purpose, past every protection, to prove that the guard sees them.

A fault picks its view and feature from the service's definitions, and its entities by hash, from a place of its own on:
the same ones in every run. It takes entities that nothing is wrong with as long as there are such, so that several
faults in one store hit different entities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from skewguard import running
from skewguard.checks.parity import check_parity
from skewguard.compare.sides import ViewSides
from skewguard.errors import BadInputError, UnknownNameError
from skewguard.faults import FAULTS, Ground, Injection, ranked, wrong
from skewguard.findings import Finding
from skewguard.workspace import utc

if TYPE_CHECKING:
    from skewguard.workspace import Workspace

__all__ = ["FAULTS", "Injection", "Proof", "inject", "inject_all", "prove"]


@dataclass(frozen=True)
class Proof:
    """What the parity check made of a fault: ``found`` is its finding, ``others`` are new findings beside it."""

    injection: Injection
    found: Finding | None
    others: tuple[Finding, ...]

    @property
    def holds(self) -> bool:
        """The fault was seen, named, counted to the row, and nothing else was."""
        return self.found is not None and not self.others


def inject(
    workspace: Workspace, service: str, fault: str, *, share: float = 0.01, as_of: datetime | str | None = None
) -> Injection:
    """Put one fault into the online store. Raises UnknownNameError, BadInputError where nothing fits the fault."""
    return inject_all(workspace, service, {fault: share}, as_of=as_of)[0]


def inject_all(
    workspace: Workspace, service: str, shares: Mapping[str, float], *, as_of: datetime | str | None = None
) -> list[Injection]:
    """Put several faults (name -> share of entities) into the online store as it is now, each into other entities."""
    for fault in shares:
        if fault not in FAULTS:
            raise UnknownNameError("fault", fault, FAULTS)
    definition = workspace.feast.service(service)
    moment = utc(as_of, workspace.clock)
    with running.stores(workspace) as (con, client):
        sides = running.collect(workspace, definition, moment, con, client, sample=1.0).sides
        hit = {side.view.name: wrong(side) for side in sides}
        project = workspace.feast.project
        return [
            _inject(fault, sides, Ground(con, client, project, share, list(FAULTS).index(fault), sides, hit), service)
            for fault, share in shares.items()
        ]


def prove(
    workspace: Workspace, service: str, fault: str, *, share: float = 0.01, as_of: datetime | str | None = None
) -> Proof:
    """Put one fault in and look whether the parity check sees it: under its cause, with its rows, and nothing else.

    Findings that were there before do not count. Nothing is stored in the history.
    """
    moment = utc(as_of, workspace.clock)
    before = _parity_findings(workspace, service, moment)
    injection = inject(workspace, service, fault, share=share, as_of=moment)
    after = _parity_findings(workspace, service, moment)
    new = {key: f for key, f in after.items() if key not in before or f.count != before[key].count}
    found = next((f for f in new.values() if _is_of(f, injection, before)), None)
    alike = {(injection.expected, view, None) for view in injection.also}
    others = (f for f in new.values() if f is not found and (f.cause, f.view, f.feature) not in alike)
    return Proof(injection, found, tuple(others))


def _is_of(finding: Finding, injection: Injection, before: Mapping[str, Finding]) -> bool:
    seen = (finding.cause, finding.view, finding.feature) == (injection.expected, injection.view, injection.feature)
    known = before[finding.key].count if finding.key in before else 0
    return seen and finding.count - known == injection.rows


def _parity_findings(workspace: Workspace, service: str, moment: datetime) -> dict[str, Finding]:
    definition, policy = workspace.feast.service(service), workspace.policy_for(service)
    with running.stores(workspace) as (con, client):
        collected = running.collect(workspace, definition, moment, con, client, sample=1.0)
        return {f.key: f for f in check_parity(collected.sides, policy, collected.skipped).findings}


def _inject(fault: str, sides: Sequence[ViewSides], ground: Ground, service: str) -> Injection:
    for candidate in ranked(fault, sides, ground):
        injection = FAULTS[fault](candidate, ground)
        if injection is not None:
            return injection
    raise BadInputError("fault", fault, f"a view of {service!r} whose rows allow it (is it materialized?)")
