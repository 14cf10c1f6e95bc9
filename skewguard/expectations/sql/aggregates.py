"""Rules on one statistic of a column: extremes, sums, means, quantiles, shares, distinct values.

Sums of floats depend on the order of adding, which is DuckDB's here and NumPy's in GX: they agree to a bound on the
rounding errors of either. Where a limit of the rule lies within that bound of the statistic, GX decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from skewguard.expectations.frames import EXACT_FLOAT
from skewguard.expectations.outcome import PARTIAL, Outcome
from skewguard.expectations.sql.asks import (
    Answers,
    Counts,
    Groups,
    Judging,
    LeftToGx,
    Ranked,
    both,
    count,
    total,
)
from skewguard.expectations.sql.columns import NUMBERS, Column, Facts, Kind
from skewguard.expectations.sql.conditions import condition
from skewguard.expectations.sql.context import Compile, Context, NotCompiled, bounds, fact_asks, facts, members
from skewguard.expectations.sql.outcomes import Limits, between_outcome
from skewguard.expectations.sql.values import as_count, require_number
from skewguard.expectations.suites import Rule

HUGE = 1e150
"""Squares of what is below are doubles."""
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
        ask = total(f"{function}({column.value})", both(condition(rule, context), column.present))

        def judging() -> Judging:
            got = yield [*fact_asks(column), ask]
            known = facts(column, got)
            if known.is_wide and known.nulls:
                raise LeftToGx(f"{column.name} holds nulls beside whole numbers that no double holds")
            return between_outcome(got[ask], limits, known.told(got[ask]))

        return judging

    return compile_rule


@dataclass(frozen=True)
class _Numbers:
    """What sums are asked with: the present rows of a numeric column and their extremes."""

    column: Column
    domain: str

    @property
    def asks(self) -> list[Any]:
        low, high = (total(f"{name}({self.column.value})", self.domain) for name in ("min", "max"))
        return [*fact_asks(self.column), count(self.domain), low, high]

    def read(self, got: Answers) -> tuple[Facts, int, float, float]:
        """(facts, rows, min, max). Raises LeftToGx for whole numbers that no double holds."""
        _, rows, low, high = (got[ask] for ask in [self.asks[0], *self.asks[-3:]])
        known = facts(self.column, got)
        if known.is_wide:
            raise LeftToGx(f"{self.column.name} holds whole numbers that no double holds")
        return known, rows, low, high


def _numbers(rule: Rule, context: Context) -> _Numbers:
    column = context.of_kind(rule, *NUMBERS)
    return _Numbers(column, both(condition(rule, context), column.present))


def _infinite(low: float, high: float) -> float | None:
    """The sum of values with infinities among them; None where there are none."""
    if math.isinf(low) or math.isinf(high):
        return math.nan if math.isinf(low) and math.isinf(high) and low != high else low if math.isinf(low) else high
    return None


def _sure(value: float, limits: Limits, slack: float) -> Outcome:
    if limits.near(value, slack):
        raise LeftToGx(f"a limit is within rounding errors of {value:g}")
    return between_outcome(value, limits)


def _mean(rule: Rule, context: Context) -> Callable[[], Judging]:
    numbers = _numbers(rule, context)
    limits, ask = limits_of(rule, numbers.column), total(f"avg({numbers.column.value})", numbers.domain)

    def judging() -> Judging:
        got = yield [*numbers.asks, ask]
        _, rows, low, high = numbers.read(got)
        if not rows:
            return between_outcome(None, limits)
        beyond = _infinite(low, high)
        if beyond is not None:
            return between_outcome(beyond, limits)
        largest = _finite_sum(rows, low, high)
        return _sure(got[ask], limits, 2 * (rows + 4) * _EPSILON * largest)

    return judging


def _finite_sum(rows: int, low: float, high: float) -> float:
    """The largest absolute value. Raises LeftToGx where a sum of so many may be beyond every double."""
    largest = max(abs(low), abs(high))
    if largest > HUGE / rows:
        raise LeftToGx("the sum may be beyond every double")
    return float(largest)


def _sum(rule: Rule, context: Context) -> Callable[[], Judging]:
    numbers = _numbers(rule, context)
    limits, ask = limits_of(rule, numbers.column), total(f"sum({numbers.column.value})", numbers.domain)

    def judging() -> Judging:
        got = yield [*numbers.asks, ask]
        known, rows, low, high = numbers.read(got)
        whole = numbers.column.kind is Kind.WHOLE and not known.as_float
        if not rows:
            return between_outcome(0 if whole else 0.0, limits)
        beyond = _infinite(low, high)
        if beyond is not None:
            return between_outcome(beyond, limits)
        largest = _finite_sum(rows, low, high)
        if whole:
            if abs(got[ask]) >= 2**63:
                raise LeftToGx("the sum is beyond int64")
            return between_outcome(int(got[ask]), limits)
        exact = numbers.column.kind is Kind.WHOLE and rows * largest < EXACT_FLOAT
        slack = 0.0 if exact else 2 * rows * (rows + 4) * _EPSILON * largest
        return between_outcome(float(got[ask]), limits) if exact else _sure(float(got[ask]), limits, slack)

    return judging


def _stdev(rule: Rule, context: Context) -> Callable[[], Judging]:
    numbers = _numbers(rule, context)
    limits = limits_of(rule, numbers.column)
    # what is infinite or too large to be squared would be an error of the whole statement
    tame = both(numbers.domain, f"abs({numbers.column.value}::DOUBLE) < {HUGE}")
    ask = total(f"stddev_samp({numbers.column.value})", tame)

    def judging() -> Judging:
        got = yield [*numbers.asks, ask]
        _, rows, low, high = numbers.read(got)
        if rows < 2:
            return between_outcome(None, limits)
        if _infinite(low, high) is not None:
            return between_outcome(None, limits)
        largest = _finite_sum(rows, low, high)
        return _sure(got[ask], limits, 1e-9 * got[ask] + 2 * (rows + 4) * _EPSILON * largest)

    return judging


def _median(rule: Rule, context: Context) -> Callable[[], Judging]:
    numbers = _numbers(rule, context)
    limits = limits_of(rule, numbers.column)

    def judging() -> Judging:
        _, rows, *_ = numbers.read((yield numbers.asks))
        if not rows:
            return between_outcome(None, limits)
        ask = Ranked(numbers.column.value, numbers.domain, ((rows - 1) // 2, rows // 2), rows)
        low, high = (yield [ask])[ask]
        return between_outcome((float(low) + float(high)) / 2, limits)

    return judging


def _quantiles(rule: Rule, context: Context) -> Callable[[], Judging]:
    numbers, ranges = _numbers(rule, context), rule.kwargs.get("quantile_ranges") or {}
    if rule.kwargs.get("allow_relative_error"):
        raise NotCompiled("only the nearest value is exact; allow_relative_error is another")
    quantiles, allowed = list(ranges.get("quantiles") or ()), list(ranges.get("value_ranges") or ())
    if not quantiles or not all(isinstance(q, int | float) and 0 <= q <= 1 for q in quantiles):
        raise NotCompiled("the quantiles are not between 0 and 1")
    require_number(*(bound for pair in allowed for bound in pair))

    def judging() -> Judging:
        known, rows, *_ = numbers.read((yield numbers.asks))
        values: list[Any] = [math.nan] * len(quantiles)
        if rows:
            # pandas makes percentages of them, NumPy quantiles again
            ranks = tuple(round((rows - 1) * (q * 100.0 / 100.0)) for q in quantiles)
            ask = Ranked(numbers.column.value, numbers.domain, ranks, rows)
            values = [known.told(value) for value in (yield [ask])[ask]]
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
    return _of_groups(rule, context, lambda groups, present: groups / present if present else 0)


def _of_groups(rule: Rule, context: Context, statistic: Callable[[int, int], float]) -> Callable[[], Judging]:
    column, limits = context.of_kind(rule, *(kind for kind in Kind if kind is not Kind.OTHER)), limits_of(rule)
    domain = both(condition(rule, context), column.present)
    groups, present = Groups((column.value,), domain), count(domain)

    def judging() -> Judging:
        got = yield [groups, present]
        return between_outcome(statistic(got[groups][0], got[present]), limits)

    return judging


def _filled_share(rule: Rule, context: Context) -> Callable[[], Judging]:
    column, limits, where = context.column(rule), limits_of(rule), condition(rule, context)
    rows, present = count(both(where)), count(both(where, column.present))

    def judging() -> Judging:
        got = yield [rows, present]
        return between_outcome(got[present] / got[rows] if got[rows] else 0, limits)

    return judging


Verdict = Callable[[list[tuple[Any, int]], list[Any]], Outcome]


def _of_values(verdict: Verdict) -> Compile:
    """A rule on the distinct values of a column and a set."""

    def compile_rule(rule: Rule, context: Context) -> Callable[[], Judging]:
        column = context.of_kind(rule, *NUMBERS, Kind.TEXT, Kind.BOOL)
        wanted, ties = members(rule, column), bool(rule.kwargs.get("ties_okay"))
        ask = Counts(column.value, both(condition(rule, context), column.present))

        def judging() -> Judging:
            got = yield [*fact_asks(column), ask]
            known = facts(column, got)
            found = [(known.told(value), number) for value, number in got[ask]]
            return verdict(found, wanted) if rule.type != _MOST_COMMON else _most_common(found, wanted, ties)

        return judging

    return compile_rule


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
        unexpected, missing = _sorted(there - expected), _in_order(wanted, expected - there)
        result: dict[str, Any] = {"observed_value": None}
        if inside:
            result |= {"unexpected_count": len(unexpected), "partial_unexpected_list": unexpected[:PARTIAL]}
        if all_there:
            result |= {"missing_count": len(missing), "partial_missing_list": missing[:PARTIAL]}
        return Outcome(not (inside and unexpected) and not (all_there and missing), result)

    return verdict


def _sorted(values: set[Any]) -> list[Any]:
    return sorted(values)


def _in_order(wanted: Sequence[Any], missing: set[Any]) -> list[Any]:
    """What is missing, in the order of the suite."""
    return [value for value in dict.fromkeys(wanted) if value in missing]


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
