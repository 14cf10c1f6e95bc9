"""Rules on the values of one column, row by row."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from skewguard.expectations.frames import EXACT_FLOAT
from skewguard.expectations.sql.asks import Counts, First, Groups, Judging, both, count
from skewguard.expectations.sql.columns import EPOCH, NUMBERS, Column, Kind
from skewguard.expectations.sql.conditions import condition
from skewguard.expectations.sql.context import (
    Compile,
    Context,
    NotCompiled,
    bounds,
    fact_asks,
    facts,
    members,
    mostly,
)
from skewguard.expectations.sql.outcomes import Counted, map_outcome
from skewguard.expectations.sql.predicates import PREDICATES
from skewguard.expectations.suites import Rule


def _judging(
    rule: Rule, context: Context, column: Column, bad: str, *, of_nulls: bool = False
) -> Callable[[], Judging]:
    """A rule whose unexpected rows are those where ``bad`` is true; ``of_nulls``: it judges all rows."""
    where, share = condition(rule, context), mostly(rule)
    rows, judged, unexpected = count(both(where)), count(both(where, column.present)), both(where, bad)

    def judging() -> Judging:
        got = yield [*fact_asks(column), rows, judged, count(unexpected)]
        known, found = facts(column, got), got[count(unexpected)]
        first = First((column.value_or_null,), unexpected)
        shown = (yield [first])[first] if found else []
        counted = Counted(got[rows], None if of_nulls else got[judged], found)
        return map_outcome(counted, share, [(row, known.told(value)) for row, value in shown])

    return judging


def _is_null(rule: Rule, context: Context) -> Callable[[], Judging]:
    column = context.of_kind(rule, *(kind for kind in Kind if kind is not Kind.OTHER))
    return _judging(rule, context, column, column.present, of_nulls=True)


def _is_not_null(rule: Rule, context: Context) -> Callable[[], Judging]:
    column = context.column(rule)
    return _judging(rule, context, column, column.missing, of_nulls=True)


def _between(rule: Rule, context: Context) -> Callable[[], Judging]:
    column = context.of_kind(rule, Kind.WHOLE, Kind.REAL, Kind.TIME, Kind.BOOL)
    low, high = bounds(rule, column)
    strict = [bool(rule.resolved.get(key)) for key in ("strict_min", "strict_max")]
    if column.kind is Kind.BOOL:
        require_number(low, high)
        return _judging(rule, context, column, _outside(context, f"{column.sql}::INTEGER", (low, high), strict))
    if column.kind is Kind.TIME:
        low, high = (None if bound is None else as_count(bound, column) for bound in (low, high))
    require_number(low, high)
    if column.kind is Kind.REAL:
        # DuckDB sorts NaN above everything
        beyond = [
            both(
                f"{column.value} {operator} {context.bind(float(bound))}",
                None if operator[0] == "<" else column.present,
            )
            for operator, bound in (("<=" if strict[0] else "<", low), (">=" if strict[1] else ">", high))
            if bound is not None
        ]
        return _judging(rule, context, column, " OR ".join(beyond))
    return _judging(rule, context, column, _outside(context, column.value, (low, high), strict))


def _outside(context: Context, value: str, limits: tuple[Any, Any], strict: list[bool]) -> str:
    """SQL: whether a whole number is outside of bounds, which are made whole first: exact, however large it is."""
    low, high = limits
    parts = []
    if low is not None:
        least = low if math.isinf(low) else math.floor(low) + 1 if strict[0] else math.ceil(low)
        parts.append(_compare(context, value, "<", least))
    if high is not None:
        most = high if math.isinf(high) else math.ceil(high) - 1 if strict[1] else math.floor(high)
        parts.append(_compare(context, value, ">", most))
    return " OR ".join(parts)


def _compare(context: Context, value: str, operator: str, bound: float) -> str:
    if -(2**63) <= bound < 2**64:
        return f"{value} {operator} {context.bind(int(bound))}"
    every = (operator == "<") == (bound > 0)  # a bound beyond all that a column can hold
    return f"{value} IS NOT NULL" if every else "false"


def require_number(*values: Any) -> None:
    """Raises NotCompiled where a bound is there and is no number."""
    for value in values:
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value != value):
            raise NotCompiled(f"the bound {value!r} is not a number")


def as_count(bound: Any, column: Column) -> int:
    """A bound of a timestamp column as the column counts. Raises NotCompiled for anything but ISO 8601 with a zone."""
    try:
        moment = datetime.fromisoformat(bound)
    except (TypeError, ValueError):
        raise NotCompiled(f"the bound {bound!r} is not a time") from None
    if moment.tzinfo is None:
        raise NotCompiled(f"the bound {bound!r} has no zone")
    micros = (moment - EPOCH) // timedelta(microseconds=1)
    return micros * 1000 if column.in_nanoseconds else micros


def in_set(column: Column, values: list[Any], context: Context) -> str:
    """SQL: whether a value that is not null is in a set, where numbers and booleans are equal to numbers only."""
    alike = [value for value in values if _may_equal(column, value)]
    if column.kind is Kind.BOOL:
        alike = [bool(value) for value in alike if value in (0, 1)]
    elif column.kind is Kind.WHOLE:
        alike = [int(value) for value in alike if value == int(value) and -(2**63) <= value < 2**64]
    elif column.kind is Kind.REAL:
        alike = [float(value) for value in alike]
    names = ", ".join(context.bind(value) for value in dict.fromkeys(alike))
    return f"{column.value} IN ({names})" if names else "false"


def _may_equal(column: Column, value: Any) -> bool:
    if column.kind is Kind.TEXT:
        return isinstance(value, str)
    if not isinstance(value, bool | int | float) or value != value:
        return False
    if column.kind is Kind.REAL and isinstance(value, int) and not -EXACT_FLOAT <= value <= EXACT_FLOAT:
        raise NotCompiled(f"{value} of the set is no double")
    if column.kind is Kind.WHOLE and isinstance(value, float) and not -EXACT_FLOAT < value < EXACT_FLOAT:
        raise NotCompiled(f"{value} of the set is a float that stands for several whole numbers")
    return True


def _membership(*, inside: bool) -> Compile:
    def compile_rule(rule: Rule, context: Context) -> Callable[[], Judging]:
        column = context.of_kind(rule, Kind.WHOLE, Kind.REAL, Kind.TEXT, Kind.BOOL)
        member = in_set(column, members(rule, column), context)
        bad = both(column.present, f"NOT ({member})" if inside else member)
        return _judging(rule, context, column, bad)

    return compile_rule


def _lengths(rule: Rule, context: Context) -> Callable[[], Judging]:
    column = context.of_kind(rule, Kind.TEXT)
    strict = [bool(rule.resolved.get(key)) for key in ("strict_min", "strict_max")]
    require_number(*bounds(rule))
    return _judging(rule, context, column, _outside(context, f"length({column.sql})", bounds(rule), strict))


def _length(rule: Rule, context: Context) -> Callable[[], Judging]:
    column, value = context.of_kind(rule, Kind.TEXT), rule.resolved.get("value")
    require_number(value)
    return _judging(rule, context, column, f"length({column.sql}) <> {context.bind(float(value))}")  # type: ignore[arg-type]


def _in_python(rule: Rule, context: Context) -> Callable[[], Judging]:
    """Python judges the distinct values: what regular expressions and dates mean is Python's to say, not DuckDB's."""
    column, holds = context.of_kind(rule, Kind.TEXT), PREDICATES[rule.type](rule)
    where, share = condition(rule, context), mostly(rule)
    rows, values = count(both(where)), Counts(column.sql, both(where, column.present))

    def judging() -> Judging:
        got = yield [rows, values]
        wrong = [(value, number) for value, number in got[values] if not holds(value)]
        counted = Counted(got[rows], sum(number for _, number in got[values]), sum(number for _, number in wrong))
        shown = []
        if wrong:
            among = context.bind([value for value, _ in wrong])
            first = First((column.sql,), both(where, f"{column.sql} IN (SELECT unnest({among}))"))
            shown = (yield [first])[first]
        return map_outcome(counted, share, shown)

    return judging


def _unique(rule: Rule, context: Context) -> Callable[[], Judging]:
    column = context.of_kind(rule, *NUMBERS, Kind.TEXT, Kind.BOOL, Kind.TIME)
    where, share = condition(rule, context), mostly(rule)
    rows, domain = count(both(where)), both(where, column.present)
    judged = count(domain)
    groups = Groups((column.value,), domain)
    first = First((column.value,), domain, repeated=(column.value,))

    def judging() -> Judging:
        got = yield [*fact_asks(column), rows, judged, groups]
        known, repeated = facts(column, got), got[groups][1]
        shown = (yield [first])[first] if repeated else []
        counted = Counted(got[rows], got[judged], repeated)
        return map_outcome(counted, share, [(row, known.told(value)) for row, value in shown])

    return judging


RULES: dict[str, Compile] = {
    "expect_column_values_to_be_null": _is_null,
    "expect_column_values_to_not_be_null": _is_not_null,
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": _membership(inside=True),
    "expect_column_values_to_not_be_in_set": _membership(inside=False),
    "expect_column_value_lengths_to_be_between": _lengths,
    "expect_column_value_lengths_to_equal": _length,
    "expect_column_values_to_be_unique": _unique,
    **dict.fromkeys(PREDICATES, _in_python),
}
