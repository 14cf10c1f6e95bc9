"""Runs a suite and says what became of each expectation, in data that findings, reports and gates are made of.

docs/expectations-engine.md says what each expectation means, who judges it, and where that is not what GX alone says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from skewguard.expectations.judge import Judged, judge_suite
from skewguard.expectations.sql.plan import How
from skewguard.expectations.sql.source import Source
from skewguard.expectations.suites import Rule, Suite

SAMPLE = 5
_RANKS = {"info": 0, "warning": 1, "critical": 2}


@dataclass(frozen=True)
class ExpectationResult:
    """What became of one expectation.

    ``broke`` is True where the rule could not be judged (``success`` is then False and ``message`` says why).
    ``column`` is None for a rule on the table, "a, b" for one on several columns. ``observed`` is the statistic of an
    aggregate rule, or the share of unexpected values of a row rule. ``element_count`` (rows, nulls included) and
    ``unexpected_count`` are None where no rows are counted. ``sample``: up to five unexpected values as JSON scalars.
    ``judged_by`` is "sql", "gx" or "refused"; ``reason`` says why not in SQL.
    """

    expectation: str
    column: str | None
    success: bool
    broke: bool
    severity: str
    observed: Any
    element_count: int | None
    unexpected_count: int | None
    sample: tuple[Any, ...]
    message: str
    notes: str = ""
    judged_by: How = "gx"
    reason: str = ""


@dataclass(frozen=True)
class SuiteResult:
    """What became of a suite on a table of ``rows`` rows: ``results`` in the order of the file.

    ``success`` is True where every expectation holds, whatever its severity.
    """

    success: bool
    results: tuple[ExpectationResult, ...]
    suite: str
    suite_digest: str
    rows: int

    @property
    def failed(self) -> tuple[ExpectationResult, ...]:
        """The expectations that do not hold or broke, worst severity first."""
        bad = [r for r in self.results if not r.success]
        return tuple(sorted(bad, key=lambda r: -_RANKS[r.severity]))

    @property
    def worst_severity(self) -> str | None:
        """The highest severity among what failed; None when all hold."""
        return self.failed[0].severity if self.failed else None


def validate(source: Source, suite: Suite) -> SuiteResult:
    """Run every expectation of a suite on a table. Thread-safe; writes and prints nothing.

    ``source``: an Arrow table, the path of a Parquet file or a list of such, or a DuckDB relation.
    Raises SuiteError naming file and expectation where a column of the suite is not in the table (``suite.restrict``
    leaves such rules out), BadInputError where the table has two columns of one name.
    """
    judged, rows = judge_suite(source, suite)
    results = tuple(_result(one) for one in judged)
    return SuiteResult(all(r.success for r in results), results, suite.name, suite.digest, rows)


def _result(judged: Judged) -> ExpectationResult:
    rule, outcome = judged.rule, judged.outcome
    if outcome.trouble is not None:
        return _broken(judged, outcome.trouble)
    found = outcome.result
    total, unexpected = found.get("element_count"), found.get("unexpected_count")
    percent = found.get("unexpected_percent")
    counted = total is not None and unexpected is not None
    result = ExpectationResult(
        expectation=rule.type,
        column=", ".join(rule.columns) or None,
        success=outcome.success,
        broke=False,
        severity=rule.severity,
        observed=_json(found.get("observed_value", None if percent is None else percent / 100)),
        element_count=int(total) if total is not None and counted else None,
        unexpected_count=int(unexpected) if unexpected is not None and counted else None,
        sample=tuple(_json(value) for value in (found.get("partial_unexpected_list") or ())[:SAMPLE]),
        message="",
        notes=rule.notes,
        judged_by=judged.judged_by,
        reason=judged.reason,
    )
    return _with_message(result, _demand(rule), int(found.get("missing_count") or 0))


def _with_message(result: ExpectationResult, demand: str, missing: int) -> ExpectationResult:
    subject = f"{result.expectation}" + (f" on {result.column}" if result.column else "")
    if result.element_count is None or result.unexpected_count is None:
        told = f"observed {result.observed!r}"
    else:
        judged = result.element_count - missing
        share = result.unexpected_count / judged if judged else 0.0
        told = f"{result.unexpected_count:,} of {judged:,} values ({share:.2%}) are not as expected"
        if result.sample and not result.success:
            told += f", such as {', '.join(repr(value) for value in result.sample[:3])}"
    return replace(result, message=f"{subject}: {told}; {'holds' if result.success else 'expected'} {demand}")


def _demand(rule: Rule) -> str:
    subject = {"column", "column_A", "column_B", "column_list", "condition_parser"}
    parts = [f"{key}={value}" for key, value in rule.resolved.items() if key not in subject and value is not None]
    return ", ".join(parts) or "it"


def _broken(judged: Judged, trouble: str) -> ExpectationResult:
    rule, column = judged.rule, ", ".join(judged.rule.columns) or None
    told = f"{rule.type}" + (f" on {column}" if column else "") + f": the rule itself broke: {trouble}"
    return ExpectationResult(
        rule.type, column, False, True, rule.severity, None, None, None, (), told, rule.notes, judged.judged_by,
        judged.reason,
    )  # fmt: skip


def _json(value: Any) -> Any:
    """A value as JSON data: NumPy scalars as Python's, times as ISO 8601, bytes as hex, non-finite numbers as text."""
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_json(item) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return float(value) if value == value and abs(value) != float("inf") else str(float(value))
    if hasattr(value, "tolist"):
        return _json(value.tolist())
    return str(value)
