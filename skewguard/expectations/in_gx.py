"""Runs rules with Great Expectations, on its pandas engine, over only the columns that they need.

Each call has an execution engine of its own and no Data Context. A shared data source gives wrong verdicts when two
threads validate at once (GX keeps the frame under one batch id for each asset), and ``get_context`` replaces the
context of whoever else uses GX in the process and makes a temporary folder each time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from skewguard.expectations import great_expectations_import
from skewguard.expectations.frames import exact_frame, holds_objects, type_frame, value_frame
from skewguard.expectations.outcome import PARTIAL, Outcome
from skewguard.expectations.rules import SKEW_RULES, TABLE_COLUMN_RULES, TYPE_RULES
from skewguard.expectations.single import as_single

if TYPE_CHECKING:
    import pandas as pd

    from skewguard.expectations.suites import Rule

_BY_SCHEMA = frozenset({"expect_column_type_to_be"})


class Readable(Protocol):
    """What rules are run on: its schema, and the rows of some of its columns."""

    schema: pa.Schema

    def read(self, names: Iterable[str]) -> pa.Table:
        """The columns of these names."""


def run_in_gx(source: Readable, rules: Sequence[Rule]) -> dict[int, Outcome]:
    """What GX says of each rule, by position."""
    outcomes: dict[int, Outcome] = {}
    by_schema = [rule for rule in rules if rule.type in _BY_SCHEMA]
    about_types = [rule for rule in rules if _is_about_dtype(source.schema, rule)]
    about_sides = [rule for rule in rules if rule.type in SKEW_RULES]
    about_values = [rule for rule in rules if rule not in [*by_schema, *about_types, *about_sides]]
    singles = frozenset(f.name for f in source.schema if f.type in (pa.float32(), pa.float16()))
    if by_schema:
        empty = source.schema.empty_table()
        outcomes |= _run(type_frame(empty, _needed(source, by_schema)), by_schema, singles)
    for some, make_frame in ((about_values, value_frame), (about_types, type_frame), (about_sides, exact_frame)):
        for company in _apart(source, some):
            names = _needed(source, company)
            outcomes |= _run(make_frame(source.read(names), names), company, singles)
    return outcomes | {rule.position: Outcome(False, trouble=_CONFUSED) for rule in rules if _is_confused(rule.columns)}


def _is_about_dtype(schema: pa.Schema, rule: Rule) -> bool:
    """Whether GX looks at the dtype alone. Of objects it looks at each, and at the values of the row condition."""
    return rule.type in TYPE_RULES - _BY_SCHEMA and not holds_objects(schema.field(rule.kwargs["column"]).type)


_CONFUSED = "GX takes columns whose names differ in case only for one column"


def _is_confused(names: Sequence[str]) -> bool:
    return len({name.casefold() for name in names}) < len(names)


def _apart(source: Readable, rules: Sequence[Rule]) -> list[list[Rule]]:
    """The rules together, or each alone where GX would take the column of one for that of another."""
    sound = [rule for rule in rules if not _is_confused(rule.columns)]
    by_name = any(rule.type in TABLE_COLUMN_RULES for rule in sound)
    if not by_name and _is_confused(_needed(source, sound)):
        return [[rule] for rule in sound]
    return [sound] if sound else []


def _needed(source: Readable, rules: Sequence[Rule]) -> list[str]:
    if any(rule.type in TABLE_COLUMN_RULES for rule in rules):
        return list(source.schema.names)
    return list(dict.fromkeys(column for rule in rules for column in rule.columns))


def _run(frame: pd.DataFrame, rules: Sequence[Rule], singles: frozenset[str]) -> dict[int, Outcome]:
    """Outcomes by position. What breaks in company is run again alone: in GX one metric breaks its neighbours."""
    judged: dict[int, Outcome] = {}
    for company in _companies(rules):
        judged |= _attempt(frame, company, singles)
        if len(company) > 1:
            for rule in company:
                if judged[rule.position].trouble is not None:
                    judged |= _attempt(frame, [rule], singles)
    return judged


def _companies(rules: Sequence[Rule]) -> list[list[Rule]]:
    """The rules in groups with no two of one type on the same columns.

    In company GX 1.24 computes the quantiles of one rule for another on the same column.
    """
    companies: list[list[Rule]] = []
    met: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for rule in rules:
        place = met[rule.type, rule.columns]
        met[rule.type, rule.columns] += 1
        if place == len(companies):
            companies.append([])
        companies[place].append(rule)
    return companies


def _attempt(frame: pd.DataFrame, rules: Sequence[Rule], singles: frozenset[str]) -> dict[int, Outcome]:
    gx = great_expectations_import.load()
    engine = gx.Engine()
    engine.load_batch_data("table", frame)
    configurations = [
        gx.Configuration(type=rule.type, kwargs=arguments(rule, singles), meta={"position": rule.position})
        for rule in rules
    ]
    wanted = {"result_format": "SUMMARY", "partial_unexpected_count": PARTIAL}
    try:
        raw = gx.Validator(execution_engine=engine).graph_validate(
            configurations=configurations,
            runtime_configuration={"result_format": wanted, "catch_exceptions": True},
        )
    except Exception as error:  # noqa: BLE001
        # GX catches most of what a rule can raise, not all; either way it is the rule's own outcome, kept as a result
        return {rule.position: Outcome(False, trouble=f"{type(error).__name__}: {error}") for rule in rules}
    return {item.expectation_config.meta["position"]: outcome_of(item) for item in raw}


def arguments(rule: Rule, singles: frozenset[str]) -> dict[str, Any]:
    """The rule's arguments for GX: numbers that bound a column of float32 as such."""
    given = dict(rule.kwargs)
    if given.get("column") in singles:
        for key in ("min_value", "max_value"):
            given[key] = as_single(given.get(key))
        if isinstance(given.get("value_set"), list):
            given["value_set"] = [as_single(value) for value in given["value_set"]]
        given = {key: value for key, value in given.items() if value is not None}
    return given


def outcome_of(raw: Any) -> Outcome:
    """What one of GX's results says."""
    trouble = _exception(raw.exception_info)
    if trouble is not None:
        return Outcome(False, trouble=trouble)
    return Outcome(bool(raw.success), dict(raw.result))  # the quantile expectation gives a numpy.bool


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
