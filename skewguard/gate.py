"""The gate: turns check results into a verdict under the policy, and refuses where policy says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from skewguard.config import Action, ServicePolicy
from skewguard.errors import GateBlocked
from skewguard.findings import DRIFTS, Cause, CheckResult, Finding, Verdict

_ORDER = {"block": 0, "warn": 1, "ignore": 2}
BY_SEVERITY = frozenset({Cause.EXPECTATION_FAILED, Cause.SOURCE_DEFECT, Cause.DEFINITION_RISK})
"""Causes that are judged by their findings' severity (policy key ``severities``)."""


@dataclass(frozen=True)
class Decision:
    """A verdict, the reasons for it (worst first), and the findings with what policy makes of each, worst first."""

    verdict: Verdict
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]


def decide(checks: Sequence[CheckResult], policy: ServicePolicy) -> Decision:
    """The verdict over all checks of a run.

    A finding that blocks makes it "block"; otherwise a check that crashed, could not decide or covered too little
    makes it "inconclusive"; otherwise a finding that warns makes it "warn"; otherwise it is "pass".
    """
    judged = sorted(
        (replace(finding, action=_action(finding, policy)) for check in checks for finding in check.findings),
        # values that are wrong, row by row, go before values that are other than they were; what features alone show
        # before what a classifier sees in all of them
        key=lambda f: (_ORDER[f.action], (f.cause in DRIFTS) + (f.cause is Cause.JOINT_DRIFT), -f.rate, f.key),
    )
    blocking = [f.message for f in judged if f.action == "block"]
    undecided = [reason for check in checks if not _too_little(check, policy) and (reason := _undecided(check, policy))]
    if not checks:
        undecided.append("no check ran")
    warning = [f.message for f in judged if f.action == "warn"]
    warning += [f"{check.check}: {check.reason}" for check in checks if _too_little(check, policy)]
    if blocking:
        verdict = Verdict.BLOCK
    elif undecided:
        verdict = Verdict.INCONCLUSIVE
    else:
        verdict = Verdict.WARN if warning else Verdict.PASS
    return Decision(verdict, (*blocking, *undecided, *warning), tuple(judged))


def _action(finding: Finding, policy: ServicePolicy) -> Action:
    if finding.cause in BY_SEVERITY or "severity" in finding.evidence:
        severity = str(finding.evidence.get("severity", "critical"))
        # policy's action for the cause is the most that a severity can do
        action = max(policy.severities.get(severity, "block"), policy.action(finding.cause), key=_ORDER.__getitem__)
    else:
        action = policy.action(finding.cause)
    if finding.check == "replay" and action == "block" and policy.replay != "block":
        action = "warn"  # what was served cannot be undone: a gate would stay closed after the cause is gone
    allowed = policy.max_rate.get(finding.cause.value, 0.0)
    if action == "block" and finding.compared and finding.rate <= allowed:
        return "warn"
    return action


def _too_little(check: CheckResult, policy: ServicePolicy) -> bool:
    """Does a check warn, and no more, because too little was served to tell drift?"""
    return (
        check.status == "inconclusive" and bool(check.details.get("too_little")) and policy.drift.too_little == "warn"
    )


def _undecided(check: CheckResult, policy: ServicePolicy) -> str | None:
    if check.status != "ok":
        return f"{check.check}: {check.status}: {check.reason}"
    if check.population and check.coverage < policy.min_coverage:
        return (
            f"{check.check}: only {check.compared:,} of {check.population:,} rows could be compared "
            f"({check.coverage:.1%}; policy asks for {policy.min_coverage:.0%})"
        )
    if check.check == "parity" and check.compared < policy.min_rows:
        return f"{check.check}: {check.compared:,} rows compared; policy asks for {policy.min_rows:,}"
    return None


def is_closed(verdict: Verdict, gate: str, inconclusive: str) -> bool:
    """Does a gate ("block"/"reject" closes, everything else does not) refuse this verdict?"""
    if gate not in ("block", "reject"):
        return False
    if verdict is Verdict.BLOCK:
        return True
    return verdict is Verdict.INCONCLUSIVE and inconclusive in ("block", "reject")


def enforce_training(service: str, decision: Decision, policy: ServicePolicy) -> None:
    """Raise GateBlocked where the training gate is closed for this decision."""
    if is_closed(decision.verdict, policy.training, policy.inconclusive):
        shown: Iterable[str] = decision.reasons or (f"verdict {decision.verdict.value}",)
        raise GateBlocked("training", service, decision.verdict.value, tuple(shown), decision.findings)
