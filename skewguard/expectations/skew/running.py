"""Runs skew expectations of a suite over a comparison frame with GX, each alone, so that none breaks another."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from skewguard.expectations import great_expectations_import
from skewguard.expectations.engine import ExpectationResult
from skewguard.expectations.frames import exact_frame
from skewguard.expectations.in_gx import outcome_of
from skewguard.expectations.outcome import Outcome

if TYPE_CHECKING:
    from skewguard.expectations.suites import Rule

_SAMPLE = 5


def run_rules(table: pa.Table, rules: Sequence[Rule]) -> list[tuple[ExpectationResult, list[dict[str, Any]]]]:
    """What became of each rule on a comparison frame, with the rows that it names (``samples`` of its result)."""
    needed = dict.fromkeys(column for rule in rules for column in rule.columns)
    frame = exact_frame(table, needed)
    return [_run(frame, rule) for rule in rules]


def _run(frame: Any, rule: Rule) -> tuple[ExpectationResult, list[dict[str, Any]]]:
    gx = great_expectations_import.load()
    engine = gx.Engine()
    engine.load_batch_data("frame", frame)
    configuration = gx.Configuration(type=rule.type, kwargs=dict(rule.kwargs))
    wanted = {
        "result_format": {"result_format": "BASIC", "partial_unexpected_count": _SAMPLE},
        "catch_exceptions": True,
    }
    try:
        (raw,) = gx.Validator(execution_engine=engine).graph_validate([configuration], wanted)
        outcome = outcome_of(raw)
    except Exception as error:  # noqa: BLE001
        # GX catches most of what a rule can raise, not all; either way it is the rule's own outcome, kept as a result
        outcome = Outcome(False, trouble=f"{type(error).__name__}: {error}")
    if outcome.trouble is not None:
        return _broken(rule, f"the rule itself broke: {outcome.trouble}"), []
    found = outcome.result
    if found.get("inconclusive"):
        return _broken(rule, f"could not be judged: {found['inconclusive']}"), []
    kind, samples = type(configuration.to_domain_obj()), found.get("samples", [])
    template, params = kind.told(rule.kwargs)
    expected = Template(template).safe_substitute(params)
    total, unexpected = found.get("element_count"), found.get("unexpected_count")
    result = ExpectationResult(
        expectation=rule.type,
        column=_subject(rule),
        success=outcome.success,
        broke=False,
        severity=rule.severity,
        observed=found.get("observed_value", _share(total, unexpected)),
        element_count=total,
        unexpected_count=unexpected,
        sample=tuple(str(sample) for sample in samples[:_SAMPLE]),
        message=f"{rule.type} on {_subject(rule)}: {kind.observed(found)}; expected: {expected}",
        notes=rule.notes,
    )
    return result, samples


def _subject(rule: Rule) -> str:
    return str(rule.kwargs.get("column_B") or rule.kwargs["column"])


def _share(total: int | None, unexpected: int | None) -> float | None:
    return unexpected / total if total and unexpected is not None else None


def _broken(rule: Rule, why: str) -> ExpectationResult:
    message = f"{rule.type} on {_subject(rule)}: {why}"
    return ExpectationResult(
        rule.type, _subject(rule), False, True, rule.severity, None, None, None, (), message, rule.notes
    )
