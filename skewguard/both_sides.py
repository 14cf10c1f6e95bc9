"""The rules of a suite that are about both sides (skew): judged over comparison frames, in every check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb

from skewguard.checks.expectations import to_findings
from skewguard.compare.frame import (
    AS_OF,
    CAUSE,
    OFFLINE,
    ONLINE,
    STATE,
    FrameInfo,
    columns_of_feature,
    frame_columns,
    frame_info,
)
from skewguard.comparing import frames_of
from skewguard.contract import FeatureContract
from skewguard.definitions import ServiceDef, ViewDef
from skewguard.errors import SuiteError, nearest
from skewguard.expectations.rules import SKEW_RULES
from skewguard.expectations.suites import Rule, Suite
from skewguard.findings import CheckResult, Finding
from skewguard.serving_log.columns import value_column

if TYPE_CHECKING:
    from skewguard.expectations.engine import ExpectationResult
    from skewguard.suite_checks import Judged
    from skewguard.workspace import Workspace

Outcome = tuple["ExpectationResult", list[dict[str, Any]]]
"""What became of a rule, and the rows that it names."""
_DRIFT, _DEFINITIONS = "expect_drift_not_to_be_significant", "expect_definitions_unchanged"
NIGHTLY = "about both sides: judged in every check, on the comparison frame"


def apart(suite: Suite) -> tuple[Suite, tuple[Rule, ...]]:
    """The suite of the rules on values, and the rules on both sides."""
    values = tuple(rule for rule in suite.rules if rule.type not in SKEW_RULES)
    return replace(suite, rules=values), tuple(rule for rule in suite.rules if rule.type in SKEW_RULES)


@dataclass(frozen=True)
class BothSides:
    """What became of a suite's rules on both sides.

    ``judged`` of ``rules`` could be; ``skipped``: view -> why it has no frame; ``frames``: what the frames were of;
    ``not_checked``: rules that wait for a contract. ``suite_digest`` is of the whole suite.
    """

    suite_digest: str
    rules: int
    judged: int = 0
    findings: tuple[Finding, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    frames: tuple[FrameInfo, ...] = ()
    not_checked: Sequence[str] = ()

    def with_frame(self, info: FrameInfo, rules: Sequence[Rule], outcomes: Sequence[Outcome]) -> BothSides:
        """With what became of these rules on a frame."""
        findings = [
            _about(finding, rule, info, samples)
            for rule, (result, samples) in zip(rules, outcomes, strict=True)
            for finding in to_findings([result])
        ]
        return replace(
            self,
            judged=self.judged + sum(not result.broke for result, _ in outcomes),
            findings=(*self.findings, *findings),
            frames=(*self.frames, info),
        )

    def added_to(self, check: CheckResult) -> CheckResult:
        """The check of the rules on values with these; inconclusive where a view has no frame."""
        told = [{"view": f.view, "watermark": f.watermark, "sample": f.sample, "orphans": f.orphans,
                 "after_the_as_of_time": f.after_the_as_of_time} for f in self.frames]  # fmt: skip
        reasons = [check.reason] if check.reason else []
        reasons += [f"no comparison frame of {view}: {why}" for view, why in self.skipped.items()]
        status = "inconclusive" if self.skipped and check.status == "ok" else check.status
        return replace(
            check,
            status=status,
            findings=(*check.findings, *self.findings),
            population=check.population + self.rules,
            compared=check.compared + self.judged,
            reason="; ".join(reasons),
            details={
                **check.details,
                "suite": self.suite_digest,
                "comparison_frames": told,
                "not_checked": [*check.details.get("not_checked", ()), *self.not_checked],
            },
        )


def judge_both_sides(
    workspace: Workspace, readable: ServiceDef, suite: Suite, as_of: datetime, con: duckdb.DuckDBPyConnection,
    judged: Judged | None = None,
) -> BothSides:  # fmt: skip
    """Judge a suite's rules on both sides over frames of the views that they name, in policy's sample.

    ``readable``: the service with sources that DuckDB can read. A rule that names no feature (freshness) is judged in
    every view. What a rule leaves out is filled in, see ``filled``. Raises SuiteError for a column that no frame has;
    StoreUnavailableError.
    """
    from skewguard.expectations.skew.running import run_rules  # imports GX

    service = workspace.feast.service(readable.name)
    contract = workspace.state.contract(service.name)
    open_rules = [rule for rule in apart(suite)[1] if contract is None and _needs_contract(rule)]
    ready = [rule for rule in apart(suite)[1] if rule not in open_rules]
    placed = _placed(service, ready, suite.origin)
    wanted = {view: _features(service, view, rules) for view, rules in placed.items()}
    found = BothSides(
        suite_digest=suite.digest,
        rules=sum(len(rules) for rules in placed.values()),
        not_checked=[f"{rule.label}: no training set was built yet, so there is no contract" for rule in open_rules],
    )
    if not placed:
        return found
    tests = sum(rule.type == _DRIFT for rules in placed.values() for rule in rules)
    with frames_of(workspace, readable, wanted, as_of, con) as (frames, skipped):
        found = replace(found, skipped=skipped)
        for view, table in frames:
            info = frame_info(table)
            rules = tuple(filled(rule, info, contract, tests) for rule in placed[view])
            if judged is not None:
                judged(f"{service.name}, both sides of {view}", table, replace(suite, rules=rules))
            found = found.with_frame(info, rules, run_rules(table, rules))
    return found


def _needs_contract(rule: Rule) -> bool:
    """Is the rule one by the contract in force?"""
    left_out = {_DRIFT: "profile", _DEFINITIONS: "promise"}.get(rule.type)
    return left_out is not None and rule.kwargs.get(left_out) is None


def filled(rule: Rule, info: FrameInfo, contract: FeatureContract | None, tests: int) -> Rule:
    """The rule with what it leaves out: entity columns are the view's join keys; on a feature's own columns, dtype,
    tolerance (policy's), states and causes are the frame's; a profile or promise is the contract's in force, and as
    many ``tests`` share a drift rule's budget as the suite has.
    """
    kwargs = dict(rule.kwargs)
    feature = next((f for f in info.features if _of_feature(kwargs, f.name)), None)
    if rule.type == _DRIFT:
        kwargs.setdefault("tests", tests)
        kwargs.setdefault("as_of_column", AS_OF)
        name = next((f.name for f in info.features if kwargs["column"] in (f.name + ONLINE, f.name + OFFLINE)), None)
        profile = None if contract is None or name is None else contract.view_profiles.get(name)
        kwargs.setdefault("profile", profile)
    elif rule.type == _DEFINITIONS:
        if "promise" not in kwargs and contract is not None:
            kwargs["promise"] = contract.promise
    else:
        kwargs.setdefault("entity_columns", [name for name, _ in info.join_keys])
    if feature is not None and rule.type in ("expect_online_to_match_offline", "expect_mismatch_rate_to_be_below"):
        kwargs.setdefault("dtype", feature.dtype)
        kwargs.setdefault("state_column", feature.name + STATE)
        kwargs.setdefault("cause_column", feature.name + CAUSE)
        if "relative" not in kwargs and "absolute" not in kwargs:
            kwargs |= {"relative": feature.relative, "absolute": feature.absolute}
    return replace(rule, kwargs={key: value for key, value in kwargs.items() if value is not None})


def _of_feature(kwargs: Mapping[str, Any], name: str) -> bool:
    return bool(kwargs.get("column_A") == name + OFFLINE and kwargs.get("column_B") == name + ONLINE)


def _placed(service: ServiceDef, rules: Sequence[Rule], origin: str) -> dict[str, list[Rule]]:
    """The rules by the views in whose frames they have all their columns; definitions are judged in one of them.

    Raises SuiteError for a rule that has them in none.
    """
    columns = {view.name: _frame_columns(service, view) for view in service.views}
    placed: dict[str, list[Rule]] = {}
    lines = []
    for rule in rules:
        views = [name for name, known in columns.items() if known.issuperset(rule.columns)]
        if not views:
            lines.append(f"{rule.label}: {_lacking(rule, columns)}")
        for name in views[:1] if rule.type == _DEFINITIONS else views:
            placed.setdefault(name, []).append(rule)
    if lines:
        raise SuiteError(f"{origin}:\n" + "\n".join(f"  - {line}" for line in lines))
    return placed


def _frame_columns(service: ServiceDef, view: ViewDef) -> set[str]:
    keys, features = [key.name for key in view.join_keys], [f.name for f in service.features_read(view)]
    return set(frame_columns(view.name, keys, features))


def _lacking(rule: Rule, columns: Mapping[str, set[str]]) -> str:
    known = set().union(*columns.values())
    for column in rule.columns:
        if column not in known:
            near = nearest(column, known)
            return f"no column {column!r} in a comparison frame." + (f" Did you mean {near!r}?" if near else "")
    return f"its columns are of several views' frames: {', '.join(map(repr, rule.columns))}."


def _features(service: ServiceDef, view: str, rules: Sequence[Rule]) -> frozenset[str]:
    """The features of a view that rules name."""
    named = {column for rule in rules for column in rule.columns}
    definition = next(v for v in service.views if v.name == view)
    features = service.features_read(definition)
    return frozenset(f.name for f in features if named.intersection(columns_of_feature(value_column(view, f.name))))


def _about(finding: Finding, rule: Rule, info: FrameInfo, samples: Sequence[Mapping[str, Any]]) -> Finding:
    """A finding with its view and feature, and with samples as the parity check has them."""
    known = {column: f.name for f in info.features for column in (f.name + OFFLINE, f.name + ONLINE)}
    name = next((known[column] for column in rule.columns if column in known), None)
    feature = None if name is None else name.removeprefix(value_column(info.view, ""))
    moments = {"offline_event_timestamp": None, "online_event_timestamp": None}
    told = [
        {
            "entity": sample["entity"],
            "feature": feature,
            "offline": sample["offline"],
            "online": sample["online"],
            **moments,
        }
        for sample in samples[:10]
        if "online" in sample
    ]
    view = None if rule.type == _DEFINITIONS else info.view
    return replace(finding, view=view, feature=feature, samples=tuple(told))
