"""Preflight: what can be seen of a service before any two values are compared, without the online store, in seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from skewguard.definitions import ServiceDef
from skewguard.findings import CheckResult, Finding
from skewguard.risks.columns import column_risks
from skewguard.risks.definitions import ttl_risks, unapplied_risks
from skewguard.risks.names import project_risks, service_name_risks, view_name_risks
from skewguard.risks.risk import Risk, Stores
from skewguard.risks.source import SourceFacts
from skewguard.stats import wilson_interval

if TYPE_CHECKING:
    from skewguard.feast_repo import Unapplied

CHECK = "preflight"


@dataclass(frozen=True)
class PreflightInputs:
    """What preflight judges of one feature service.

    Attributes:
        service: its definitions.
        sources: what was seen of the source of each of its views.
        stores: the stores that feature_store.yaml names.
        now: what counts as now for rows in the future (UTC).
        project, projects: the Feast project, and all that the registry holds.
        unapplied: what `feast apply` would change.
        others: risks that were seen elsewhere (the serving plan).
        problems: views whose source could not be read, and why.
    """

    service: ServiceDef
    sources: Sequence[SourceFacts]
    stores: Stores
    now: datetime
    project: str = ""
    projects: Sequence[str] = ()
    unapplied: Sequence[Unapplied] = ()
    others: Sequence[Risk] = ()
    problems: Sequence[str] = ()


def check_preflight(inputs: PreflightInputs) -> CheckResult:
    """One finding a risk, ``source_defect`` or ``definition_risk``; its evidence has ``rule`` and ``severity``.

    Inconclusive, with the findings that there are, where a source could not be read. Population: views.
    """
    risks: list[Risk] = []
    for facts in inputs.sources:
        features = inputs.service.features_read(facts.view)
        risks += column_risks(facts, features, inputs.stores)
        risks += view_name_risks(facts, [f.name for f in features], inputs.stores)
        risks += ttl_risks(facts, inputs.stores, inputs.now)
    risks += service_name_risks(inputs.service)
    risks += project_risks(inputs.project, inputs.projects, inputs.stores)
    risks += unapplied_risks(inputs.unapplied, inputs.service)
    risks += inputs.others
    return CheckResult(
        check=CHECK,
        status="inconclusive" if inputs.problems else "ok",
        findings=tuple(_finding(risk) for risk in risks),
        population=len(inputs.service.views),
        compared=len(inputs.service.views) - len(inputs.problems),
        reason="; ".join(inputs.problems),
        details={
            "views": {facts.view.name: _details(facts) for facts in inputs.sources},
            "rules": dict(Counter(risk.rule for risk in risks)),
        },
    )


def _details(facts: SourceFacts) -> dict[str, Any]:
    if facts.not_read:
        return {"not_read": facts.not_read}
    ties = facts.ties
    return {
        "rows": facts.counts.get("rows"),
        "ties": {
            "rows": ties.rows,
            "groups": ties.groups,
            "decided_by_created_timestamp": ties.resolved,
            "equal_values": ties.equal,
            "ambiguous": ties.ambiguous,
        },
    }


def _finding(risk: Risk) -> Finding:
    low, high = wilson_interval(risk.count, risk.compared)
    return Finding(
        check=CHECK,
        cause=risk.cause,
        view=risk.view,
        feature=risk.feature,
        count=risk.count,
        compared=risk.compared,
        ci_low=low,
        ci_high=high,
        message=risk.message,
        evidence={"rule": risk.rule, "severity": risk.severity, **risk.evidence},
        samples=risk.samples,
        advice=risk.advice,
    )
