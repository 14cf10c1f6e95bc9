from dataclasses import replace

import pytest

from skewguard.blocked import Blocked, blocked_places
from skewguard.config import ServicePolicy
from skewguard.definitions import FieldDef, OnDemandDef, Projection, ServiceDef, SourceDef, ViewDef
from skewguard.errors import GateBlocked
from skewguard.findings import Cause, CheckResult, Finding, Verdict
from skewguard.gate import closes, decide, decide_training, enforce_training


def finding(cause: Cause, count: int = 1, compared: int = 10, **evidence: object) -> Finding:
    return Finding("parity", cause, "v", "f", count, compared, 0, 1, f"{cause.value}!", evidence=evidence)


def check(*findings: Finding, status: str = "ok", population: int = 10, compared: int = 10) -> CheckResult:
    return CheckResult("parity", status, findings, population, compared, reason="why")


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        ([], Verdict.INCONCLUSIVE),
        ([check()], Verdict.PASS),
        ([check(finding(Cause.EXPIRED_BUT_SERVED))], Verdict.WARN),
        ([check(finding(Cause.UNIT_SCALE))], Verdict.BLOCK),
        ([check(status="crashed")], Verdict.INCONCLUSIVE),
        ([check(finding(Cause.EXPIRED_BUT_SERVED), status="inconclusive")], Verdict.INCONCLUSIVE),
        ([check(finding(Cause.UNIT_SCALE), status="crashed")], Verdict.BLOCK),
        ([check(population=100, compared=90)], Verdict.INCONCLUSIVE),
        ([check(population=0, compared=0)], Verdict.INCONCLUSIVE),
    ],
)
def test_verdicts(checks: list[CheckResult], verdict: Verdict) -> None:
    decision = decide(checks, ServicePolicy())
    assert decision.verdict is verdict
    assert bool(decision.reasons) is (verdict is not Verdict.PASS)


def test_worst_findings_come_first_and_carry_their_action() -> None:
    found = [finding(Cause.EXPIRED_BUT_SERVED, 9), finding(Cause.UNIT_SCALE, 1), finding(Cause.MISSING_ONLINE, 5)]
    decision = decide([check(*found)], ServicePolicy())
    assert [(f.cause, f.action) for f in decision.findings] == [
        (Cause.MISSING_ONLINE, "block"),
        (Cause.UNIT_SCALE, "block"),
        (Cause.EXPIRED_BUT_SERVED, "warn"),
    ]


def test_a_rate_within_its_limit_only_warns() -> None:
    policy = ServicePolicy(max_rate={"missing_online": 0.1})
    assert decide([check(finding(Cause.MISSING_ONLINE, 1, 10))], policy).verdict is Verdict.WARN
    assert decide([check(finding(Cause.MISSING_ONLINE, 2, 10))], policy).verdict is Verdict.BLOCK


def test_expectations_are_judged_by_their_severity() -> None:
    failed = finding(Cause.EXPECTATION_FAILED, severity="warning")
    assert decide([check(failed)], ServicePolicy()).verdict is Verdict.WARN
    assert decide([check(finding(Cause.EXPECTATION_FAILED, severity="odd"))], ServicePolicy()).verdict is Verdict.BLOCK


def test_inconclusive_is_never_treated_as_pass_by_default() -> None:
    decision = decide([check(status="crashed")], ServicePolicy())
    with pytest.raises(GateBlocked, match="crashed") as caught:
        enforce_training("s", decision, ServicePolicy())
    assert (caught.value.verdict, caught.value.exit_code) == ("inconclusive", 1)
    enforce_training("s", decision, ServicePolicy(inconclusive="warn"))
    enforce_training("s", decide([check(finding(Cause.UNIT_SCALE))], ServicePolicy()), ServicePolicy(training="warn"))


@pytest.mark.parametrize(
    ("verdict", "inconclusive", "closed"),
    [
        (Verdict.BLOCK, "annotate", True),
        (Verdict.BLOCK, "ignore", True),
        (Verdict.INCONCLUSIVE, "reject", True),
        (Verdict.INCONCLUSIVE, "block", True),
        (Verdict.INCONCLUSIVE, "annotate", False),
        (Verdict.WARN, "block", False),
        (Verdict.PASS, "block", False),
    ],
)
def test_what_closes_gates(verdict: Verdict, inconclusive: str, closed: bool) -> None:
    assert closes(verdict, inconclusive) is closed


def test_what_was_served_closes_no_gate_unless_policy_says_so() -> None:
    served = CheckResult("replay", "ok", (replace(finding(Cause.UNIT_SCALE), check="replay"),), 10, 10)
    assert decide([served], ServicePolicy()).verdict is Verdict.WARN
    assert decide([served], ServicePolicy(replay="block")).verdict is Verdict.BLOCK
    assert decide([served, check(finding(Cause.UNIT_SCALE))], ServicePolicy()).verdict is Verdict.BLOCK


F, G, X = (FieldDef(name, "INT64") for name in ("f", "g", "x"))
VIEW, HIDDEN = (
    ViewDef(name, ("e",), (FieldDef("customer_id", "INT64"),), features, None, SourceDef("", "", ""))
    for name, features in (("v", (F, G)), ("hidden", (X,)))
)
COMPUTED = OnDemandDef(
    "od", (FieldDef("sum", "INT64"),), (Projection(VIEW, (F,)), Projection(HIDDEN, (X,))), (), "", ""
)
SERVICE = ServiceDef("s", (Projection(VIEW, VIEW.features),), (COMPUTED,))


@pytest.mark.parametrize(
    ("view", "feature", "blocked"),
    [
        (None, None, {"v:f", "v:g", "od:sum"}),  # a finding about the service
        ("v", None, {"v:f", "v:g", "od:sum"}),
        ("v", "f", {"v:f", "od:sum"}),  # what is computed from it is as wrong
        ("v", "g", {"v:g"}),
        ("od", "sum", {"od:sum"}),
        (None, "g", {"v:g"}),  # an expectation names a column
        (None, "v__g", {"v:g"}),
        (None, "g, sum", {"v:g", "od:sum"}),  # or several
        ("hidden", "x", {"od:sum"}),  # read as an input only
        ("hidden", "not read", {"v:f", "v:g", "od:sum"}),
        (None, "customer_id", {"v:f", "v:g", "od:sum"}),  # no feature: it is about the service
        (None, "g, unknown", {"v:f", "v:g", "od:sum"}),
    ],
)
def test_what_findings_block(view: str | None, feature: str | None, blocked: set[str]) -> None:
    assert {place.reference for place in blocked_places([Blocked(view, feature)], SERVICE)} == blocked


def test_an_alias_is_blocked_by_its_own_name_and_by_its_views() -> None:
    aliased = ServiceDef("s", (Projection(VIEW, VIEW.features, "a"), Projection(VIEW, VIEW.features[:1], "b")))
    assert {place.column for place in blocked_places([Blocked("b", "f")], aliased)} == {"b__f"}
    assert {place.column for place in blocked_places([Blocked("v", "f")], aliased)} == {"a__f", "b__f"}
    assert blocked_places([], aliased) == frozenset()


@pytest.mark.parametrize(
    ("found", "features", "verdict"),
    [
        (finding(Cause.UNIT_SCALE), {"v:f": "warn"}, Verdict.WARN),
        (finding(Cause.UNIT_SCALE), {"v:f": "off"}, Verdict.PASS),
        (finding(Cause.UNIT_SCALE), {"v:g": "off"}, Verdict.BLOCK),
        (finding(Cause.UNIT_SCALE), {}, Verdict.BLOCK),
        (finding(Cause.EXPIRED_BUT_SERVED), {"v:f": "block"}, Verdict.WARN),  # a limit, never more
        (replace(finding(Cause.UNIT_SCALE), feature=None), {"v:f": "off", "v:g": "off"}, Verdict.BLOCK),
        (replace(finding(Cause.EXPECTATION_FAILED), view=None, feature="f, g"), {"v:f": "off"}, Verdict.BLOCK),
        (replace(finding(Cause.EXPECTATION_FAILED), view=None, feature="f, g"), {"v:f": "off", "v:g": "warn"},
         Verdict.WARN),
    ],
)  # fmt: skip
def test_a_feature_limits_what_its_findings_do_to_training(
    found: Finding, features: dict[str, str], verdict: Verdict
) -> None:
    policy = ServicePolicy.model_validate({"features": {name: {"training": gate} for name, gate in features.items()}})
    assert decide_training([check(found)], policy, SERVICE).verdict is verdict
    assert decide([check(found)], policy).verdict is decide([check(found)], ServicePolicy()).verdict
