"""Definition: have the views, their sources, TTLs, dtypes or on-demand code moved since a contract was written?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skewguard.causes.catalogue import CATALOGUE
from skewguard.checks.states import state_finding
from skewguard.contract import FeatureContract, changed_parts, definition_parts, service_promise
from skewguard.definitions import ServiceDef
from skewguard.findings import Cause, CheckResult, Finding

CHECK = "definition"


def check_definition(service: ServiceDef, contracts: Mapping[str, FeatureContract]) -> CheckResult:
    """One ``definition_changed`` finding a changed view, whatever the number of contracts that it breaks.

    ``contracts`` in use, by the name under which they are told. The evidence names each field, in the first contract
    and now; of several contracts, ``contracts`` names those that are broken, each with its fields. Without a contract
    there is one ``contract_missing`` finding.
    """
    started = time.perf_counter()
    if not contracts:
        says = f"{service.name}: {CATALOGUE[Cause.CONTRACT_MISSING].says}"
        missing = state_finding(CHECK, Cause.CONTRACT_MISSING, None, says)
        return CheckResult(CHECK, "ok", (missing,), seconds=time.perf_counter() - started)
    broken: dict[str | None, dict[str, _Change]] = {}
    for name, contract in contracts.items():
        for view, change in _changes(service, contract).items():
            broken.setdefault(view, {})[name] = change
    total = len({*definition_parts(service), *(view for c in contracts.values() for view in c.definitions)})
    return CheckResult(
        check=CHECK,
        status="ok",
        findings=tuple(_finding(view, changes, len(contracts)) for view, changes in broken.items()),
        population=total,
        compared=total,
        seconds=time.perf_counter() - started,
        details={"contracts": {name: contract.digest for name, contract in contracts.items()}},
    )


@dataclass(frozen=True)
class _Change:
    """What changed of a view since a contract: in words, and field by field."""

    message: str
    evidence: Mapping[str, Any]


def _changes(service: ServiceDef, contract: FeatureContract) -> dict[str | None, _Change]:
    """By view; None stands for what the service reads of its views."""
    promised, promises = contract.promise, service_promise(service)
    now = promises["definitions"]
    found: dict[str | None, _Change] = {}
    for name in sorted({*now, *contract.definitions}):
        before, after = contract.definitions.get(name), now.get(name)
        if before is None or after is None:
            what = "was added to the service" if before is None else "was removed from the service"
            found[name] = _Change(f"{name} {what} since the contract", {"view": what})
            continue
        changes = changed_parts(before, after)
        if changes:
            found[name] = _change(f"{name} changed since the contract", changes)
    if any(promised[part] != promises[part] for part in ("projections", "features")):
        changes = changed_parts(promised["projections"], promises["projections"])
        changes = changes or changed_parts(dict(promised["features"]), dict(promises["features"]))
        found[None] = _change(f"{service.name} reads its views differently since the contract", changes)
    return found


def _change(says: str, changes: Sequence[tuple[str, Any, Any]]) -> _Change:
    names = ", ".join(path for path, _, _ in changes) or "the order of its features"
    return _Change(f"{says}: {names}", {path: {"contract": old, "now": new} for path, old, new in changes})


def _finding(view: str | None, changes: Mapping[str, _Change], contracts: int) -> Finding:
    first = next(iter(changes.values()))
    message, evidence = first.message, dict(first.evidence)
    if contracts > 1:
        message += f" ({len(changes)} of {contracts} contracts in use: {', '.join(changes)})"
        evidence["contracts"] = {name: sorted(change.evidence) for name, change in changes.items()}
    return state_finding(CHECK, Cause.DEFINITION_CHANGED, view, message, evidence)
