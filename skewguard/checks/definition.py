"""Definition: have the views, their sources, TTLs, dtypes or on-demand code moved since the contract was written?"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from skewguard.causes.catalogue import CATALOGUE
from skewguard.checks.states import state_finding
from skewguard.contract import FeatureContract, changed_parts, definition_parts
from skewguard.definitions import ServiceDef, canonical_json
from skewguard.findings import Cause, CheckResult, Finding

CHECK = "definition"


def check_definition(service: ServiceDef, contract: FeatureContract | None) -> CheckResult:
    """One ``definition_changed`` finding a changed view; its evidence names each field, before and after.

    Without a contract there is one ``contract_missing`` finding.
    """
    started = time.perf_counter()
    if contract is None:
        says = f"{service.name}: {CATALOGUE[Cause.CONTRACT_MISSING].says}"
        missing = state_finding(CHECK, Cause.CONTRACT_MISSING, None, says)
        return CheckResult(CHECK, "ok", (missing,), seconds=time.perf_counter() - started)
    now = definition_parts(service)
    findings = []
    for name in sorted({*now, *contract.definitions}):
        before, after = contract.definitions.get(name), now.get(name)
        if before is None or after is None:
            what = "was added to the service" if before is None else "was removed from the service"
            findings.append(_changed(name, f"{name} {what} since the contract", {"view": what}))
            continue
        changes = changed_parts(before, after)
        if changes:
            fields = ", ".join(path for path, _, _ in changes)
            evidence = {path: {"contract": old, "now": new} for path, old, new in changes}
            findings.append(_changed(name, f"{name} changed since the contract: {fields}", evidence))
    reads = json.loads(canonical_json(service.read_parts()))
    features = tuple((f.name, f.dtype) for f in service.outputs())
    if reads != contract.projections or features != contract.features:
        changes = changed_parts(contract.projections, reads)
        changes = changes or changed_parts(dict(contract.features), dict(features))
        evidence = {path: {"contract": old, "now": new} for path, old, new in changes}
        names = ", ".join(path for path, _, _ in changes) or "the order of its features"
        message = f"{service.name} reads its views differently since the contract: {names}"
        findings.append(_changed(None, message, evidence))
    total = len({*now, *contract.definitions})
    return CheckResult(
        check=CHECK,
        status="ok",
        findings=tuple(findings),
        population=total,
        compared=total,
        seconds=time.perf_counter() - started,
        details={"contract": contract.digest},
    )


def _changed(view: str | None, message: str, evidence: Mapping[str, Any]) -> Finding:
    return state_finding(CHECK, Cause.DEFINITION_CHANGED, view, message, evidence)
