"""Runs a suite on an Arrow table with Great Expectations, on its pandas engine.

Each call has an execution engine of its own and no Data Context. A shared data source gives wrong verdicts when two
threads validate at once (GX keeps the frame under one batch id for each asset), and ``get_context`` replaces the
context of whoever else uses GX in the process and makes a temporary folder each time.

Deviations from GX's own run, on purpose: a rule about types sees the declared dtype, whatever nulls make of it in
pandas; numeric arguments on a float32 column count as float32, so that 0.1 is 0.1; "the rule broke" is told from "the
data broke".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from skewguard.errors import BadInputError, SuiteError, nearest
from skewguard.expectations import great_expectations_import
from skewguard.expectations.frames import type_frame, value_frame
from skewguard.expectations.rules import TABLE_COLUMN_RULES, TYPE_RULES

if TYPE_CHECKING:
    import pandas as pd

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


def validate(table: pa.Table, suite: Suite) -> SuiteResult:
    """Run every expectation of a suite on a table. Thread-safe; writes and prints nothing.

    Raises SuiteError naming file and expectation where a column of the suite is not in the table (``suite.restrict``
    leaves such rules out), BadInputError where the table has two columns of one name.
    """
    _require_columns(table, suite)
    by_position: dict[int, ExpectationResult] = {}
    about_types = [rule for rule in suite.rules if rule.type in TYPE_RULES]
    about_values = [rule for rule in suite.rules if rule.type not in TYPE_RULES]
    for rules, make_frame in ((about_values, value_frame), (about_types, type_frame)):
        if rules:
            frame = make_frame(table, _needed(table, rules))
            by_position |= _run(frame, rules, _float32_columns(table))
    results = tuple(by_position[rule.position] for rule in suite.rules)
    return SuiteResult(all(r.success for r in results), results, suite.name, suite.digest, table.num_rows)


def _require_columns(table: pa.Table, suite: Suite) -> None:
    names = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInputError("table", f"two columns named {twice[0]!r}", "column names that differ")
    lines = []
    for rule in suite.rules:
        for column in rule.columns:
            if column not in names:
                near = nearest(column, names)
                hint = f" Did you mean {near!r}?" if near else " Remove the expectation, or add the column."
                lines.append(f"{rule.label}: no column {column!r} in the table.{hint}")
    if lines:
        raise SuiteError(f"{suite.origin}:\n" + "\n".join(f"  - {line}" for line in lines))


def _needed(table: pa.Table, rules: Sequence[Rule]) -> list[str]:
    if any(rule.type in TABLE_COLUMN_RULES for rule in rules):
        return list(table.column_names)
    return list(dict.fromkeys(column for rule in rules for column in rule.columns))


def _float32_columns(table: pa.Table) -> frozenset[str]:
    return frozenset(f.name for f in table.schema if f.type in (pa.float32(), pa.float16()))


def _run(frame: pd.DataFrame, rules: Sequence[Rule], float32: frozenset[str]) -> dict[int, ExpectationResult]:
    """Results by position. What breaks in company is run again alone: in GX one broken metric breaks its neighbours."""
    judged = _attempt(frame, rules, float32)
    broken = [rule for rule in rules if judged[rule.position].broke]
    if len(rules) > 1:
        for rule in broken:
            judged |= _attempt(frame, [rule], float32)
    return judged


def _attempt(frame: pd.DataFrame, rules: Sequence[Rule], float32: frozenset[str]) -> dict[int, ExpectationResult]:
    gx = great_expectations_import.load()
    engine = gx.Engine()
    engine.load_batch_data("table", frame)
    configurations = [
        gx.Configuration(type=rule.type, kwargs=_arguments(rule, float32), meta={"position": rule.position})
        for rule in rules
    ]
    wanted = {"result_format": {"result_format": "BASIC", "partial_unexpected_count": SAMPLE}, "catch_exceptions": True}
    try:
        raw = gx.Validator(execution_engine=engine).graph_validate(
            configurations=configurations, runtime_configuration=wanted
        )
    except Exception as error:  # noqa: BLE001
        # GX catches most of what a rule can raise, not all; either way it is the rule's own outcome, kept as a result
        return {rule.position: _broken(rule, f"{type(error).__name__}: {error}") for rule in rules}
    by_position = {item.expectation_config.meta["position"]: item for item in raw}
    return {rule.position: _result(rule, by_position[rule.position]) for rule in rules}


def _arguments(rule: Rule, float32: frozenset[str]) -> dict[str, Any]:
    arguments = dict(rule.kwargs)
    if arguments.get("column") in float32:
        for key in ("min_value", "max_value"):
            arguments[key] = _as_float32(arguments.get(key))
        if isinstance(arguments.get("value_set"), list):
            arguments["value_set"] = [_as_float32(value) for value in arguments["value_set"]]
        arguments = {key: value for key, value in arguments.items() if value is not None}
    return arguments


def _as_float32(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return value  # beyond every float32, so that it bounds as it stands


def _result(rule: Rule, raw: Any) -> ExpectationResult:
    trouble = _exception(raw.exception_info)
    if trouble is not None:
        return _broken(rule, trouble)
    found = raw.result
    total, unexpected = found.get("element_count"), found.get("unexpected_count")
    success = bool(raw.success)  # the quantile expectation gives a numpy.bool
    percent = found.get("unexpected_percent")
    observed = _json(found.get("observed_value", None if percent is None else percent / 100))
    sample = tuple(_json(value) for value in found.get("partial_unexpected_list") or ())
    counted = total is not None and unexpected is not None
    result = ExpectationResult(
        expectation=rule.type,
        column=", ".join(rule.columns) or None,
        success=success,
        broke=False,
        severity=rule.severity,
        observed=observed,
        element_count=int(total) if counted else None,
        unexpected_count=int(unexpected) if counted else None,
        sample=sample,
        message="",
        notes=rule.notes,
    )
    missing = int(found.get("missing_count") or 0)
    return _with_message(result, _demand(rule), missing)


def _with_message(result: ExpectationResult, demand: str, missing: int) -> ExpectationResult:
    from dataclasses import replace

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


def _broken(rule: Rule, trouble: str) -> ExpectationResult:
    column = ", ".join(rule.columns) or None
    message = f"{rule.type}" + (f" on {column}" if column else "") + f": the rule itself broke: {trouble}"
    return ExpectationResult(
        rule.type, column, False, True, rule.severity, None, None, None, (), message, rule.notes
    )  # fmt: skip


def _exception(info: Any) -> str | None:
    """What a rule raised, from either shape GX gives it in: one exception, or one for each metric. None for nothing."""
    if not info:
        return None
    if "raised_exception" in info:
        return (
            str(info.get("exception_message") or "an exception without a message") if info["raised_exception"] else None
        )
    messages = [str(item.get("exception_message")) for item in info.values() if item.get("raised_exception")]
    return "; ".join(dict.fromkeys(messages)) or None


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
