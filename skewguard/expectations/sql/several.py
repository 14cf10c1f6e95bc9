"""Rules on several columns of one row: pairs, sums, equality, uniqueness within a record and of records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

from skewguard.expectations.frames import EXACT_FLOAT
from skewguard.expectations.sql.asks import About, First, Groups, Judging, LeftToGx, both, count
from skewguard.expectations.sql.columns import NUMBERS, Column, Facts, Kind
from skewguard.expectations.sql.conditions import condition
from skewguard.expectations.sql.context import Compile, Context, NotCompiled, mostly, require
from skewguard.expectations.sql.outcomes import Counted, map_outcome
from skewguard.expectations.sql.values import in_set
from skewguard.expectations.suites import Rule

Shown = Callable[[Sequence[Any]], Any]
Careful = Callable[[Sequence[Facts]], None]
MOST_COLUMNS = 12
"""Uniqueness within a record compares every column with every other."""


def _pair(rule: Rule, context: Context) -> tuple[Column, Column]:
    first, second = context.column(rule, "column_A"), context.column(rule, "column_B")
    if first == second:
        raise NotCompiled("the two columns are one, of which GX makes frames with two columns of one name")
    return first, second


def _listed(rule: Rule, context: Context) -> list[Column]:
    names = rule.kwargs.get("column_list")
    if not isinstance(names, list | tuple) or len(set(names)) != len(names):
        raise NotCompiled("the columns are not a list of different names")
    return [context.named(name) for name in names]


def _domain(rule: Rule, columns: Sequence[Column]) -> str:
    """SQL: the rows that ``ignore_row_if`` leaves."""
    ignore = rule.resolved.get("ignore_row_if")
    if ignore in ("both_values_are_missing", "all_values_are_missing"):
        return f"({' OR '.join(column.present for column in columns)})"
    if ignore in ("either_value_is_missing", "any_value_is_missing"):
        return both(*(column.present for column in columns))
    if ignore in ("neither", "never"):
        return "true"
    raise NotCompiled(f"ignore_row_if is {ignore!r}")


def _judging(
    rule: Rule, context: Context, columns: Sequence[Column], expected: str, careful: Careful
) -> Callable[[], Judging]:
    """Rows where ``expected`` is not true are unexpected; ``careful`` raises LeftToGx where facts make that unsure."""
    domain = both(condition(rule, context), _domain(rule, columns))
    return _counting(rule, context, columns, (domain, expected, both(domain, expected)), careful)


def _comparing(
    rule: Rule, context: Context, columns: Sequence[Column], operator: str, careful: Careful
) -> Callable[[], Judging]:
    """Rows where one column stands so to the other: of these, no value is missing."""
    where, expected = condition(rule, context), _compared(columns, operator)
    domain = both(where, _domain(rule, columns))
    return _counting(rule, context, columns, (domain, expected, both(where, expected)), careful)


def _counting(
    rule: Rule, context: Context, columns: Sequence[Column], sides: tuple[str, str, str], careful: Careful
) -> Callable[[], Judging]:
    (domain, expected, wanted), share = sides, mostly(rule)
    abouts = [About(column) for column in columns]
    rows, judged, good = count(both(condition(rule, context))), count(domain), count(wanted)
    first = First(tuple(column.value_or_null for column in columns), both(domain, f"({expected}) IS NOT TRUE"))

    def judging() -> Judging:
        got = yield [*abouts, rows, good]
        known = [got[about] for about in abouts]
        careful(known)
        # where every row is as expected there is none to leave out
        many = got[rows] if got[good] == got[rows] else (yield [judged])[judged]
        bad = many - got[good]
        shown = (yield [first])[first] if bad else []
        return map_outcome(Counted(got[rows], many, bad), share, _rows(rule, known, shown))

    return judging


def _rows(rule: Rule, known: Sequence[Facts], shown: Sequence[tuple[Any, ...]]) -> list[tuple[int, Any]]:
    """Pairs as tuples, more columns as mappings, as GX shows them."""
    told = [(row, tuple(one.told(value) for one, value in zip(known, values, strict=True))) for row, *values in shown]
    if "column_A" in rule.kwargs:
        return told
    names = [one.column.name for one in known]
    return [(row, dict(zip(names, values, strict=True))) for row, values in told]


def _alike(columns: Sequence[Column]) -> list[str]:
    """SQL of values that compare with each other, NULL where missing. Raises NotCompiled where they would not."""
    kinds = {column.kind for column in columns}
    if not (kinds <= NUMBERS or (len(kinds) == 1 and Kind.OTHER not in kinds)):
        raise NotCompiled(f"{' and '.join(f'{c.name} ({c.type})' for c in columns)} do not compare as one kind")
    if len({column.in_nanoseconds for column in columns}) > 1:
        raise NotCompiled("the columns count time in different units")
    return [_number(column, columns) if column.kind is Kind.WHOLE else column.value_or_null for column in columns]


def _number(column: Column, among: Sequence[Column]) -> str:
    """SQL: a value, as a double where it is to be compared with such."""
    mixed = any(other.kind is Kind.REAL for other in among)
    return f"{column.sql}::DOUBLE" if mixed and column.kind is Kind.WHOLE else column.value


def _compared(columns: Sequence[Column], operator: str) -> str:
    """SQL: whether the first value stands so to the second; not true where one is missing."""
    _alike(columns)
    first, second = (_number(column, columns) for column in columns)
    # DuckDB sorts NaN above everything, and as equal to itself: if the second is NaN, so is the first
    return both(f"{first} {operator} {second}", columns[0].present if columns[0].nan else None)


def _not_wide_if_mixed(known: Sequence[Facts]) -> None:
    """Whole numbers beside floats must be doubles exactly."""
    if any(one.column.kind is Kind.REAL for one in known):
        _not_wide(known)


def _not_wide(known: Sequence[Facts]) -> None:
    for one in known:
        if one.is_wide:
            raise LeftToGx(f"{one.column.name} holds whole numbers that no double holds")


def _not_wide_with_nulls(known: Sequence[Facts]) -> None:
    _not_wide_if_mixed(known)
    for one in known:
        if one.is_wide and one.nulls:
            raise LeftToGx(f"{one.column.name} holds nulls beside whole numbers that no double holds")


def _pair_equal(rule: Rule, context: Context) -> Callable[[], Judging]:
    columns = _pair(rule, context)
    return _comparing(rule, context, columns, "=", _not_wide_if_mixed)


def _pair_greater(rule: Rule, context: Context) -> Callable[[], Judging]:
    columns = _pair(rule, context)
    for column in columns:
        require(column, *NUMBERS, Kind.TIME)  # pandas cannot order null and a string
    return _comparing(rule, context, columns, ">=" if rule.resolved.get("or_equal") else ">", _not_wide_with_nulls)


def _pair_in_set(rule: Rule, context: Context) -> Callable[[], Judging]:
    columns, pairs = _pair(rule, context), rule.kwargs.get("value_pairs_set")
    if rule.kwargs.get("row_condition") is not None:
        raise NotCompiled("GX passes over the row condition of pairs in a set, and then contradicts itself")
    for column in columns:
        require(column, *NUMBERS, Kind.TEXT, Kind.BOOL)
    if not isinstance(pairs, list | tuple):
        raise NotCompiled("the set of pairs is not a list")
    found = [
        both(*(_is(column, value, context) for column, value in zip(columns, pair, strict=True))) for pair in pairs
    ]
    return _judging(rule, context, columns, " OR ".join(f"({one})" for one in found) or "false", _not_wide_if_mixed)


def _is(column: Column, value: Any, context: Context) -> str:
    """SQL, never NULL: whether a column has a member of a set, in which None stands for missing."""
    if value is None:
        return column.missing
    if not isinstance(value, bool | int | float | str):
        raise NotCompiled(f"the set has the member {value!r}")
    return both(column.present, in_set(column, [value], context))


def _sum(rule: Rule, context: Context) -> Callable[[], Judging]:
    columns = _listed(rule, context)
    for column in columns:
        require(column, *NUMBERS)
    wanted = rule.resolved.get("sum_total")
    if isinstance(wanted, bool) or not isinstance(wanted, int | float):
        raise NotCompiled(f"sum_total is {wanted!r}")
    parts = [f"{column.sql}::DOUBLE" if column.kind is Kind.WHOLE else column.value_or_null for column in columns]
    added = parts[0]
    for part in parts[1:]:
        added = f"({added} + {part})"  # from left to right, as NumPy adds columns
    expected = f"{added} = {context.bind(float(wanted))}"

    def careful(known: Sequence[Facts]) -> None:
        # adding whole numbers one by one must stay exact in doubles, as it is in integers
        _not_wide(known)
        spans = [max(abs(one.low), abs(one.high)) for one in known if one.low is not None and one.high is not None]
        if sum(spans) >= EXACT_FLOAT:
            raise LeftToGx("the sums may pass 2^53")

    return _judging(rule, context, columns, expected, careful)


def _all_equal(rule: Rule, context: Context) -> Callable[[], Judging]:
    columns = _listed(rule, context)
    first, *rest = _alike(columns)
    expected = both(*(f"{first} IS NOT DISTINCT FROM {other}" for other in rest))
    return _judging(rule, context, columns, expected, _not_wide_if_mixed)


def _unique_within(rule: Rule, context: Context) -> Callable[[], Judging]:
    columns = _listed(rule, context)
    if len(columns) > MOST_COLUMNS:
        raise NotCompiled(f"{len(columns)} columns; up to {MOST_COLUMNS} are compared with each other")
    values = _alike(columns)
    expected = both(*(f"{first} IS DISTINCT FROM {second}" for first, second in combinations(values, 2)))
    return _judging(rule, context, columns, expected, _not_wide)


def _unique_records(rule: Rule, context: Context) -> Callable[[], Judging]:
    columns, where, share = _listed(rule, context), condition(rule, context), mostly(rule)
    for column in columns:
        require(column, *(kind for kind in Kind if kind is not Kind.OTHER))
    abouts, keys = [About(column) for column in columns], tuple(column.value_or_null for column in columns)
    rows, domain = count(both(where)), both(where, _domain(rule, columns))
    judged, groups, first = count(domain), Groups(keys, domain), First(keys, domain, repeated=keys)

    def judging() -> Judging:
        got = yield [*abouts, rows, judged, groups]
        known, repeated = [got[about] for about in abouts], got[groups][1]
        shown = (yield [first])[first] if repeated else []
        return map_outcome(Counted(got[rows], got[judged], repeated), share, _rows(rule, known, shown))

    return judging


RULES: dict[str, Compile] = {
    "expect_column_pair_values_to_be_equal": _pair_equal,
    "expect_column_pair_values_a_to_be_greater_than_b": _pair_greater,
    "expect_column_pair_values_to_be_in_set": _pair_in_set,
    "expect_multicolumn_sum_to_equal": _sum,
    "expect_multicolumn_values_to_be_equal": _all_equal,
    "expect_select_column_values_to_be_unique_within_record": _unique_within,
    "expect_compound_columns_to_be_unique": _unique_records,
}
