"""Rules on one statistic of a column: extremes, sums, means, quantiles, shares, distinct values.

Sums of floats depend on the order of adding, which is DuckDB's here and NumPy's in GX: they agree to a bound on the
rounding errors of either. Where a limit of the rule lies within that bound of the statistic, GX decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from skewguard.expectations.frames import EXACT_FLOAT
from skewguard.expectations.outcome import PARTIAL, Outcome
from skewguard.expectations.sql.asks import (
    About,
    Answers,
    Apart,
    Ask,
    Centre,
    Counts,
    Ends,
    Held,
    Judging,
    LeftToGx,
    Ranked,
    Total,
    both,
    count,
    total,
)
from skewguard.expectations.sql.columns import NUMBERS, Column, Facts, Kind
from skewguard.expectations.sql.conditions import condition
from skewguard.expectations.sql.context import Compile, Context, NotCompiled, bounds, members, present
from skewguard.expectations.sql.outcomes import Limits, between_outcome
from skewguard.expectations.sql.values import as_count, grouped, require_number, whole
from skewguard.expectations.suites import Rule

_EPSILON = 2.0**-52


def limits_of(rule: Rule, column: Column | None = None) -> Limits:
    """The numeric limits of a rule. Raises NotCompiled where they are no numbers."""
    low, high = bounds(rule, column)
    require_number(low, high)
    return Limits(low, high, bool(rule.resolved.get("strict_min")), bool(rule.resolved.get("strict_max")))


def _extreme(function: str) -> Compile:
    def compile_rule(rule: Rule, context: Context) -> Callable[[], Judging]:
        column = context.of_kind(rule, *NUMBERS, Kind.TIME)
        if column.kind is Kind.TIME:
            low, high = (None if bound is None else as_count(bound, column) for bound in bounds(rule))
            limits = Limits(low, high, bool(rule.resolved.get("strict_min")), bool(rule.resolved.get("strict_max")))
        else:
            limits = limits_of(rule, column)
        real = column.present if column.nan else None
        where = condition(rule, context)
        about, ends, ask = About(column), Ends(column), total(f"{function}({column.value})", both(where, real))

        def judging() -> Judging:
            got = yield [about, ends]
            known = got[about]
            if known.is_wide and known.nulls:
                raise LeftToGx(f"{column.name} holds nulls beside whole numbers that no double holds")
            if where is None and got[ends] is not None:
                value = got[ends][0 if function == "min" else 1]
            else:
                value = (yield [ask])[ask]
            return between_outcome(value, limits, known.told(value))

        return judging

    return compile_rule


@dataclass(frozen=True)
class _Sums:
    """Sums over a numeric column: rows with a value, their sum, and the sum of what they are without their sign."""

    known: Facts
    rows: int
    sum: Any
    size: float

    @property
    def slack(self) -> float:
        """How far two ways to add these floats can be apart."""
        return 2 * (self.rows + 4) * _EPSILON * self.size


def _summed(column: Column, where: str | None) -> Generator[Sequence[Ask], Answers, _Sums]:
    """Asks for the sums; once more, without NaN, where there was any. Raises LeftToGx for what is no finite float."""
    about, asks = About(column), _sum_asks(column, both(where))
    got = yield [about, *asks]
    if got[asks[2]] is not None and math.isnan(got[asks[2]]):
        asks = _sum_asks(column, both(where, column.present))
        got = got | (yield asks)
    known = got[about]
    _refuse_wide(known)
    rows, added, size = (got[ask] for ask in asks)
    if rows and not math.isfinite(size):
        raise LeftToGx("infinities, or a sum beyond every double")
    return _Sums(known, rows, added, float(size or 0))


def _sum_asks(column: Column, where: str) -> list[Total]:
    if column.kind is Kind.REAL:
        value = column.value
        return [total(f"count({value})", where), total(f"sum({value})", where), total(f"sum(abs({value}))", where)]
    # abs() of the least int64 is an error
    size = f"sum(abs({column.sql}::DOUBLE))"
    return [total(f"count({column.sql})", where), total(f"sum({column.sql})", where), total(size, where)]


def _refuse_wide(known: Facts) -> None:
    if known.is_wide:
        raise LeftToGx(f"{known.column.name} holds whole numbers that no double holds")


def _sure(value: float, limits: Limits, slack: float) -> Outcome:
    if limits.near(value, slack):
        raise LeftToGx(f"a limit is within rounding errors of {value:g}")
    return between_outcome(value, limits)


def _mean(rule: Rule, context: Context) -> Callable[[], Judging]:
    column, where = context.of_kind(rule, *NUMBERS), condition(rule, context)
    limits = limits_of(rule, column)

    def judging() -> Judging:
        found = yield from _summed(column, where)
        if not found.rows:
            return between_outcome(None, limits)
        return _sure(float(found.sum) / found.rows, limits, found.slack / found.rows)

    return judging


def _sum(rule: Rule, context: Context) -> Callable[[], Judging]:
    column, where = context.of_kind(rule, *NUMBERS), condition(rule, context)
    limits = limits_of(rule, column)

    def judging() -> Judging:
        found = yield from _summed(column, where)
        added = found.sum or 0
        if column.kind is Kind.WHOLE and not found.known.as_float:
            if abs(added) >= 2**63:
                raise LeftToGx("the sum is beyond int64")
            return between_outcome(int(added), limits)
        exact = not found.rows or (column.kind is Kind.WHOLE and found.size < EXACT_FLOAT)
        return between_outcome(float(added), limits) if exact else _sure(float(added), limits, found.slack)

    return judging


def _stdev(rule: Rule, context: Context) -> Callable[[], Judging]:
    column, where = context.of_kind(rule, *NUMBERS), condition(rule, context)
    limits = limits_of(rule, column)

    def judging() -> Judging:
        about, near = About(column), Centre(column)
        first = yield [about, near]
        _refuse_wide(first[about])
        centre = first[near]
        rows, shift, squares = yield from _apart(context, column, where, centre)
        if rows < 2:
            return between_outcome(None, limits)
        if not math.isfinite(squares):
            raise LeftToGx("infinities, or squares beyond every double")
        around = squares - shift * shift / rows
        if around < squares / 100:  # the first rows told little of the rest; once more from their true mean
            _, _, around = yield from _apart(context, column, where, centre + shift / rows)
        deviation = math.sqrt(around / (rows - 1))
        size = abs(centre) + math.sqrt(squares / rows)  # at least the mean of the values without their sign
        return _sure(deviation, limits, 2 * (rows + 4) * _EPSILON * (100 * deviation + size))

    return judging


def _apart(
    context: Context, column: Column, where: str | None, centre: float
) -> Generator[Sequence[Ask], Answers, tuple[int, float, float]]:
    """(Rows with a value, the sum of what lies between each and the centre, the sum of its squares)."""
    held, by_value = Held(column), Apart(column, centre)
    if where is None and column.kind is Kind.REAL and (yield [held])[held]:
        rows, shift, squares = (yield [by_value])[by_value]
        return rows, shift, squares
    apart = f"({column.value} - {context.bind(centre)})"
    for domain in (where, both(where, column.present)):  # NaN is left out only where there is any
        asks = [
            total(part, both(domain)) for part in (f"count({column.sql})", f"sum({apart})", f"sum({apart} * {apart})")
        ]
        got = yield asks
        rows, shift, squares = (got[ask] or 0 for ask in asks)
        if not (column.nan and math.isnan(squares)):
            break
    return rows, float(shift), float(squares)


def _median(rule: Rule, context: Context) -> Callable[[], Judging]:
    column, where = context.of_kind(rule, *NUMBERS), condition(rule, context)
    limits = limits_of(rule, column)
    about, ask = About(column), Ranked(column.value, both(where, column.present), _middle, whole(column, where))

    def judging() -> Judging:
        got = yield [about, ask]
        _refuse_wide(got[about])
        if not got[ask]:
            return between_outcome(None, limits)
        low, high = map(float, got[ask])
        if math.isinf(low + high) and math.isfinite(low) and math.isfinite(high):
            raise LeftToGx("the sum of the two values in the middle is beyond every double")
        return between_outcome((low + high) / 2, limits)

    return judging


def _middle(rows: int) -> list[int]:
    return [(rows - 1) // 2, rows // 2]


def _quantiles(rule: Rule, context: Context) -> Callable[[], Judging]:
    column, where = context.of_kind(rule, *NUMBERS), condition(rule, context)
    ranges = rule.kwargs.get("quantile_ranges") or {}
    if rule.kwargs.get("allow_relative_error"):
        raise NotCompiled("only the nearest value is exact; allow_relative_error is another")
    quantiles, allowed = list(ranges.get("quantiles") or ()), list(ranges.get("value_ranges") or ())
    if not quantiles or not all(isinstance(q, int | float) and 0 <= q <= 1 for q in quantiles):
        raise NotCompiled("the quantiles are not between 0 and 1")
    require_number(*(bound for pair in allowed for bound in pair))

    def nearest(rows: int) -> list[int]:
        # pandas makes percentages of quantiles, and NumPy quantiles of these
        return [round((rows - 1) * (q * 100.0 / 100.0)) for q in quantiles]

    about, ask = About(column), Ranked(column.value, both(where, column.present), nearest, whole(column, where))

    def judging() -> Judging:
        got = yield [about, ask]
        known = got[about]
        _refuse_wide(known)
        if not got[ask]:
            raise LeftToGx("there are no values, of which pandas makes more or fewer missing ones")
        values = [known.told(value) for value in got[ask]]
        details = [_in_range(value, *pair) for value, pair in zip(values, allowed, strict=True)]
        observed = {"quantiles": quantiles, "values": values}
        return Outcome(all(details), {"observed_value": observed, "details": {"success_details": details}})

    return judging


def _in_range(value: float, low: float | None, high: float | None) -> bool:
    """GX's rule: within the range, or close to an end of it (numpy.isclose with rtol 1e-4)."""
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    return _close(value, low) or _close(value, high) or low <= value <= high


def _close(value: float, other: float) -> bool:
    if math.isfinite(value) and math.isfinite(other):
        return abs(value - other) <= 1e-8 + 1e-4 * abs(other)
    return value == other


def _distinct_count(rule: Rule, context: Context) -> Callable[[], Judging]:
    return _of_groups(rule, context, lambda groups, _: groups)


def _distinct_share(rule: Rule, context: Context) -> Callable[[], Judging]:
    return _of_groups(rule, context, lambda groups, rows: groups / rows if rows else 0)


def _of_groups(rule: Rule, context: Context, statistic: Callable[[int, int], float]) -> Callable[[], Judging]:
    column, limits = context.of_kind(rule, *(kind for kind in Kind if kind is not Kind.OTHER)), limits_of(rule)
    where = condition(rule, context)
    there = present(column, where)

    def judging() -> Judging:
        groups = yield from grouped(column, where)
        got = yield [groups, there]
        return between_outcome(statistic(got[groups][0], got[there]), limits)

    return judging


def _filled_share(rule: Rule, context: Context) -> Callable[[], Judging]:
    column, limits, where = context.column(rule), limits_of(rule), condition(rule, context)
    rows, there = count(both(where)), present(column, where)

    def judging() -> Judging:
        got = yield [rows, there]
        return between_outcome(got[there] / got[rows] if got[rows] else 0, limits)

    return judging


Verdict = Callable[[list[tuple[Any, int]], list[Any]], Outcome]


def _of_values(verdict: Verdict) -> Compile:
    """A rule on the distinct values of a column and a set."""

    def compile_rule(rule: Rule, context: Context) -> Callable[[], Judging]:
        column = context.of_kind(rule, *NUMBERS, Kind.TEXT, Kind.BOOL)
        wanted, ties = members(rule, column), bool(rule.kwargs.get("ties_okay"))
        where = condition(rule, context)

        def judging() -> Judging:
            found = yield from _counted(column, where)
            return verdict(found, wanted) if rule.type != _MOST_COMMON else _most_common(found, wanted, ties)

        return judging

    return compile_rule


def _counted(column: Column, where: str | None) -> Generator[Sequence[Ask], Answers, list[tuple[Any, int]]]:
    """The distinct values of a column, each with its rows."""
    domain = both(where, column.present)
    if column.kind is Kind.BOOL:
        sides = {value: count(both(domain, sql)) for value, sql in ((True, column.sql), (False, f"NOT {column.sql}"))}
        got = yield list(sides.values())
        return [(value, got[ask]) for value, ask in sides.items() if got[ask]]
    about, counts = About(column), Counts(column.value, domain, whole(column, where))
    got = yield [about, counts]
    return [(got[about].told(value), number) for value, number in got[counts]]


_MOST_COMMON = "expect_column_most_common_value_to_be_in_set"


def _most_common(found: list[tuple[Any, int]], wanted: list[Any], ties: bool) -> Outcome:
    most = max((number for _, number in found), default=0)
    values = sorted(value for value, number in found if number == most)
    common = len(set(wanted).intersection(values))
    success = common > 0 if ties else len(values) == 1 and common == 1
    return Outcome(success, {"observed_value": values})


def _distinct(*, inside: bool, all_there: bool) -> Verdict:
    def verdict(found: list[tuple[Any, int]], wanted: list[Any]) -> Outcome:
        there, expected = {value for value, _ in found}, set(wanted)
        unexpected = sorted(there - expected)
        missing = [value for value in dict.fromkeys(wanted) if value not in there]  # in the order of the suite
        result: dict[str, Any] = {"observed_value": None}
        if inside:
            result |= {"unexpected_count": len(unexpected), "partial_unexpected_list": unexpected[:PARTIAL]}
        if all_there:
            result |= {"missing_count": len(missing), "partial_missing_list": missing[:PARTIAL]}
        return Outcome(not (inside and unexpected) and not (all_there and missing), result)

    return verdict


RULES: dict[str, Compile] = {
    "expect_column_max_to_be_between": _extreme("max"),
    "expect_column_min_to_be_between": _extreme("min"),
    "expect_column_mean_to_be_between": _mean,
    "expect_column_sum_to_be_between": _sum,
    "expect_column_stdev_to_be_between": _stdev,
    "expect_column_median_to_be_between": _median,
    "expect_column_quantile_values_to_be_between": _quantiles,
    "expect_column_unique_value_count_to_be_between": _distinct_count,
    "expect_column_proportion_of_unique_values_to_be_between": _distinct_share,
    "expect_column_proportion_of_non_null_values_to_be_between": _filled_share,
    _MOST_COMMON: _of_values(_distinct(inside=False, all_there=False)),
    "expect_column_distinct_values_to_be_in_set": _of_values(_distinct(inside=True, all_there=False)),
    "expect_column_distinct_values_to_contain_set": _of_values(_distinct(inside=False, all_there=True)),
    "expect_column_distinct_values_to_equal_set": _of_values(_distinct(inside=True, all_there=True)),
}
