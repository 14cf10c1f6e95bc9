"""Rules on the values of one column, row by row."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from datetime import datetime, timedelta
from typing import Any

from skewguard.expectations.frames import EXACT_FLOAT
from skewguard.expectations.sql.asks import (
    About,
    Answers,
    Ask,
    Counts,
    Ends,
    Few,
    First,
    Groups,
    Held,
    Judging,
    LeftToGx,
    Within,
    both,
    count,
)
from skewguard.expectations.sql.columns import EPOCH, NUMBERS, Column, Kind
from skewguard.expectations.sql.conditions import condition
from skewguard.expectations.sql.context import (
    Compile,
    Context,
    NotCompiled,
    bounds,
    members,
    mostly,
    not_null,
    present,
    require,
)
from skewguard.expectations.sql.outcomes import Counted, Limits, map_outcome
from skewguard.expectations.sql.predicates import PREDICATES
from skewguard.expectations.suites import Rule

_LARGEST_SINGLE = 3.4028234663852886e38


def _judging(
    rule: Rule, context: Context, column: Column, expected: str, limits: Limits | None = None
) -> Callable[[], Judging]:
    """A rule on values: ``expected`` is SQL that is true for those that are as expected, and never for missing ones.

    ``limits``: those of a column of floats, which say the same as ``expected``.
    """
    where, share = condition(rule, context), mostly(rule)
    rows, there, good = count(both(where)), not_null(column, where), count(both(where, expected))
    first = First((column.value_or_null,), both(where, column.present, f"({expected}) IS NOT TRUE"))

    def judging() -> Judging:
        held = Held(column)
        inside: Ask = good
        if limits is not None and where is None and (yield [held])[held]:
            inside = Within(column, limits)
        got = yield [rows, there, inside]
        judged = got[there]
        if column.nan and got[inside] < judged:  # how many of these are NaN is worth asking only now
            exactly = present(column, where)
            judged = (yield [exactly])[exactly]
        bad = judged - got[inside]
        shown = yield from first_told(column, first, bad)
        return map_outcome(Counted(got[rows], judged, bad), share, shown)

    return judging


def first_told(column: Column, first: First, bad: int) -> Generator[Sequence[Ask], Answers, list[tuple[int, Any]]]:
    """(Row number, value) of the first unexpected rows, of which there are ``bad``."""
    if not bad:
        return []
    about = About(column)
    got = yield [about, first]
    known = got[about]
    return [(row, known.told(value)) for row, value in got[first]]


def _nullness(*, wanted: bool) -> Compile:
    """A rule on nulls, which judges all rows; ``wanted``: that there are values."""

    def compile_rule(rule: Rule, context: Context) -> Callable[[], Judging]:
        column = context.column(rule)
        if not wanted and column.kind is Kind.OTHER:
            require(column, *(kind for kind in Kind if kind is not Kind.OTHER))
        where, share = condition(rule, context), mostly(rule)
        rows, there = count(both(where)), present(column, where)
        first = First((column.value_or_null,), both(where, column.missing if wanted else column.present))

        def judging() -> Judging:
            got = yield [rows, there]
            bad = got[rows] - got[there] if wanted else got[there]
            shown = yield from first_told(column, first, bad)
            return map_outcome(Counted(got[rows], None, bad), share, shown)

        return judging

    return compile_rule


def _between(rule: Rule, context: Context) -> Callable[[], Judging]:
    column = context.of_kind(rule, Kind.WHOLE, Kind.REAL, Kind.TIME, Kind.BOOL)
    low, high = bounds(rule, column)
    if column.kind is Kind.TIME:
        low, high = (None if bound is None else as_count(bound, column) for bound in (low, high))
    require_number(low, high)
    strict = (bool(rule.resolved.get("strict_min")), bool(rule.resolved.get("strict_max")))
    if column.kind is Kind.REAL:
        low, high = (None if bound is None else float(bound) for bound in (low, high))
        limits = Limits(low, high, *strict)
        return _judging(rule, context, column, _within_floats(context, column, (low, high), strict), limits)
    value = f"{column.sql}::INTEGER" if column.kind is Kind.BOOL else column.value
    in_sql = _judging(rule, context, column, _within(context, value, (low, high), strict))
    return _by_ends(rule, context, column, Limits(low, high, *strict), in_sql)


def _by_ends(
    rule: Rule, context: Context, column: Column, limits: Limits, in_sql: Callable[[], Judging]
) -> Callable[[], Judging]:
    """The same judging without a scan, where the least and the largest value are known and within the limits."""
    if condition(rule, context) is not None:
        return in_sql
    share, ends, rows, there = mostly(rule), Ends(column), count(), not_null(column, None)

    def judging() -> Judging:
        known = (yield [ends])[ends]
        if known is None or (known[0] is not None and not (limits.hold(known[0]) and limits.hold(known[1]))):
            return (yield from in_sql())
        got = yield [rows, there]
        return map_outcome(Counted(got[rows], got[there], 0), share, [])

    return judging


def _within_floats(context: Context, column: Column, limits: tuple[Any, Any], strict: tuple[bool, bool]) -> str:
    low, high = limits
    parts = [] if low is None else [_beside(context, column, ">" if strict[0] else ">=", low)]
    # DuckDB sorts NaN above everything
    parts.append(column.present if high is None else _beside(context, column, "<" if strict[1] else "<=", high))
    return both(*parts)


def _beside(context: Context, column: Column, operator: str, limit: float) -> str:
    """SQL: a float against a limit, which for float32 is one as well unless it is beyond all of them."""
    if column.is_single and abs(limit) <= _LARGEST_SINGLE:
        return f"{column.sql} {operator} {context.bind(float(limit))}::FLOAT"
    return f"{column.value} {operator} {context.bind(float(limit))}"


def _within(context: Context, value: str, limits: tuple[Any, Any], strict: tuple[bool, bool]) -> str:
    """SQL: whether a whole number is within bounds, which are made whole first: exact, however large it is."""
    low, high = limits
    parts = []
    if low is not None:
        least = low if math.isinf(low) else math.floor(low) + 1 if strict[0] else math.ceil(low)
        parts.append(_compare(context, value, ">=", least))
    if high is not None:
        most = high if math.isinf(high) else math.ceil(high) - 1 if strict[1] else math.floor(high)
        parts.append(_compare(context, value, "<=", most))
    return both(*parts, f"{value} IS NOT NULL" if not parts else None)


def _compare(context: Context, value: str, operator: str, bound: float) -> str:
    if -(2**63) <= bound < 2**64:
        return f"{value} {operator} {context.bind(int(bound))}"
    every = (operator == "<=") == (bound > 0)  # a bound beyond all that a column can hold
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
        values = members(rule, column)
        member = in_set(column, values, context)
        in_sql = _judging(rule, context, column, member if inside else both(column.present, f"NOT ({member})"))
        if column.kind is not Kind.TEXT:
            return in_sql
        wanted = {value for value in values if isinstance(value, str)}
        in_python = _by_value(rule, context, column, lambda value: (value in wanted) is inside)

        def judging() -> Judging:
            few = Few(column)  # strings are quicker grouped than compared, where they are few
            return (yield from in_python() if (yield [few])[few] else in_sql())

        return judging

    return compile_rule


def _lengths(rule: Rule, context: Context) -> Callable[[], Judging]:
    column = context.of_kind(rule, Kind.TEXT)
    strict = (bool(rule.resolved.get("strict_min")), bool(rule.resolved.get("strict_max")))
    require_number(*bounds(rule))
    return _judging(rule, context, column, _within(context, f"length({column.sql})", bounds(rule), strict))


def _length(rule: Rule, context: Context) -> Callable[[], Judging]:
    column, value = context.of_kind(rule, Kind.TEXT), rule.resolved.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotCompiled(f"the length is {value!r}")
    can_be = math.isfinite(value) and value == int(value) and 0 <= value < 2**63
    return _judging(rule, context, column, f"length({column.sql}) = {context.bind(int(value))}" if can_be else "false")


def _in_python(rule: Rule, context: Context) -> Callable[[], Judging]:
    """What regular expressions and dates mean is Python's to say, not DuckDB's."""
    return _by_value(rule, context, context.of_kind(rule, Kind.TEXT), PREDICATES[rule.type](rule))


def _by_value(rule: Rule, context: Context, column: Column, holds: Callable[[str], bool]) -> Callable[[], Judging]:
    """A rule on strings whose distinct values Python judges."""
    where, share = condition(rule, context), mostly(rule)
    rows, values = count(both(where)), Counts(column.sql, both(where, column.present), whole(column, where))

    def judging() -> Judging:
        got = yield [rows, values]
        wrong = _wrong(got[values], holds)
        counted = Counted(got[rows], sum(number for _, number in got[values]), sum(number for _, number in wrong))
        shown = []
        if wrong:
            among = context.bind([value for value, _ in wrong])
            first = First((column.sql,), both(where, f"{column.sql} IN (SELECT unnest({among}))"), joined=True)
            shown = (yield [first])[first]
        return map_outcome(counted, share, shown)

    return judging


def _wrong(found: Sequence[tuple[str, int]], holds: Callable[[str], bool]) -> list[tuple[str, int]]:
    try:
        return [(value, number) for value, number in found if not holds(value)]
    except Exception as error:  # what a library raises on a value is the rule's outcome, in GX's words
        raise LeftToGx(f"it raises {type(error).__name__}: {error}") from error


def whole(column: Column, where: str | None) -> Column | None:
    """The column, where all its values are meant."""
    return column if where is None else None


def grouped(column: Column, where: str | None) -> Generator[Sequence[Ask], Answers, Groups]:
    """How to ask for the groups of a column."""
    domain = both(where, column.present)
    if column.kind is not Kind.WHOLE or where is not None:
        return Groups((column.value,), domain)
    about = About(column)
    known = (yield [about])[about]
    return Groups((column.value,), domain, known.low if known.is_dense else None, column)


def _unique(rule: Rule, context: Context) -> Callable[[], Judging]:
    column = context.of_kind(rule, *NUMBERS, Kind.TEXT, Kind.BOOL, Kind.TIME)
    where, share = condition(rule, context), mostly(rule)
    rows, judged, domain = count(both(where)), present(column, where), both(where, column.present)
    first = First((column.value,), domain, repeated=(column.value,))

    def judging() -> Judging:
        groups = yield from grouped(column, where)
        got = yield [rows, judged, groups]
        repeated = got[groups][1]
        shown = yield from first_told(column, first, repeated)
        return map_outcome(Counted(got[rows], got[judged], repeated), share, shown)

    return judging


RULES: dict[str, Compile] = {
    "expect_column_values_to_be_null": _nullness(wanted=False),
    "expect_column_values_to_not_be_null": _nullness(wanted=True),
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": _membership(inside=True),
    "expect_column_values_to_not_be_in_set": _membership(inside=False),
    "expect_column_value_lengths_to_be_between": _lengths,
    "expect_column_value_lengths_to_equal": _length,
    "expect_column_values_to_be_unique": _unique,
    **dict.fromkeys(PREDICATES, _in_python),
}
