"""The gate: turns check results into a verdict under the policy, and refuses where policy says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from skewguard.blocked import Blocked, named
from skewguard.config import Action, ServicePolicy
from skewguard.definitions import ServiceDef
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


Limit = Callable[[Finding], Action]
"""The most that a finding may do."""


def decide(checks: Sequence[CheckResult], policy: ServicePolicy, limit: Limit | None = None) -> Decision:
    """The verdict over all checks of a run.

    A finding that blocks makes it "block"; otherwise a check that crashed, could not decide or covered too little
    makes it "inconclusive"; otherwise a finding that warns makes it "warn"; otherwise it is "pass".
    """
    judged = sorted(
        (replace(finding, action=_action(finding, policy, limit)) for check in checks for finding in check.findings),
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


def decide_training(checks: Sequence[CheckResult], policy: ServicePolicy, service: ServiceDef) -> Decision:
    """The verdict for the training gate, where a finding on a feature does no more than the feature's ``training``.

    One on several features does what the strictest of them allows; one on a view or the service has no such limit.
    """

    def limit(finding: Finding) -> Action:
        found = named(Blocked(finding.view, finding.feature), service)
        gates = ["block"] if found is None else [policy.training_of(place.reference) or "block" for place in found]
        return min((_AS_ACTION[gate] for gate in gates), key=_ORDER.__getitem__)

    return decide(checks, policy, limit)


_AS_ACTION: dict[str, Action] = {"block": "block", "warn": "warn", "off": "ignore"}


def severity_action(severity: str, cause: Cause, policy: ServicePolicy) -> Action:
    """What a severity does: policy's action for the cause is the most that it can do."""
    return max(policy.severities.get(severity, "block"), policy.action(cause), key=_ORDER.__getitem__)


def _action(finding: Finding, policy: ServicePolicy, limit: Limit | None) -> Action:
    action = _policy_action(finding, policy)
    return action if limit is None else max(action, limit(finding), key=_ORDER.__getitem__)


def _policy_action(finding: Finding, policy: ServicePolicy) -> Action:
    if finding.cause in BY_SEVERITY or "severity" in finding.evidence:
        action = severity_action(str(finding.evidence.get("severity", "critical")), finding.cause, policy)
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


def closes(verdict: Verdict, inconclusive: str) -> bool:
    """Does a verdict close gates? ``inconclusive`` ("block" and "reject" do) says what one without an answer does."""
    return verdict is Verdict.BLOCK or (verdict is Verdict.INCONCLUSIVE and inconclusive in ("block", "reject"))


def enforce_training(service: str, decision: Decision, policy: ServicePolicy) -> None:
    """Raise GateBlocked where the training gate is closed for this decision."""
    if policy.training == "block" and closes(decision.verdict, policy.inconclusive):
        shown: Iterable[str] = decision.reasons or (f"verdict {decision.verdict.value}",)
        raise GateBlocked("training", service, decision.verdict.value, tuple(shown), decision.findings)
