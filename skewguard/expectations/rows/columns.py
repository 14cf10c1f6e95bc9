"""A quick answer for many rows: do the simple rules hold in every one of them? Asked of whole columns, in C.

What cannot be told for sure is not: then the rows are judged one by one, which says the same and says which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import eq
from typing import Any

from skewguard import dtypes
from skewguard.expectations.rows import checks, helpers
from skewguard.expectations.rows.suite import RowRule, RowSuite

_ORDERED = dtypes.NUMBERS | {"UNIX_TIMESTAMP"}
Holds = Callable[[Sequence[Any]], bool]


class ColumnTests:
    """The rules of a suite that can be asked of a whole column: bounds, sets, filled values, each without a condition.

    ``rest`` are the row rules that cannot. By the policy ``strict``, as ``RowValidator.check``.
    """

    def __init__(self, suite: RowSuite) -> None:
        places = {column: place for place, column in enumerate(suite.columns)}
        kinds = dict(zip(suite.columns, suite.dtypes, strict=True))
        self._tests: list[tuple[int, Holds]] = []
        rest: list[RowRule] = []
        for rule in suite.row_rules:
            if rule.mostly == 0:  # nothing violates it
                continue
            test = None if rule.condition is not None else _test(rule.check, kinds)
            if test is None:
                rest.append(rule)
            else:
                self._tests.append((places[rule.subjects[0]], test))
        self.rest = tuple(rest)

    @property
    def are_none(self) -> bool:
        """Whether no rule can be asked of a whole column."""
        return not self._tests

    def hold(self, columns: Sequence[Sequence[Any]]) -> bool:
        """True where every tested rule holds in every row; False where one may not. Columns have a value at least."""
        try:
            return all(test(columns[place]) for place, test in self._tests)
        except TypeError:  # a null among the values, or what cannot be compared
            return False


def _test(check: Any, kinds: dict[str, str]) -> Holds | None:
    if isinstance(check, checks.Missing) and not check.missing:
        return _all_numbers if kinds[check.column] in dtypes.FLOATS else _no_null
    if isinstance(check, checks.Between) and kinds[check.column] in _ORDERED:
        return _within(check)
    if isinstance(check, checks.OfType) and check.declared:
        return _of_types(helpers.python_types(kinds[check.column]))
    if isinstance(check, checks.InSet) and check.inside:
        return frozenset(check.values).issuperset
    return None


def _of_types(types: Iterable[type]) -> Holds:
    allowed = frozenset(types)
    return lambda column: allowed.issuperset(map(type, column))


def _no_null(column: Sequence[Any]) -> bool:
    return None not in column


def _all_numbers(column: Sequence[Any]) -> bool:
    return None not in column and all(map(eq, column, column))


def _within(check: checks.Between) -> Holds:
    """By the smallest and the largest value. A NaN that comes first is both of them, and within nothing; another one is
    neither, and hides nothing; a null cannot be compared."""
    low: Any = check.low
    high: Any = check.high
    strict_low, strict_high = check.strict_low, check.strict_high

    def holds(column: Sequence[Any]) -> bool:
        if low is not None:
            least = min(column)
            if not (low < least if strict_low else low <= least):
                return False
        if high is None:
            return True
        most = max(column)
        return bool(most < high if strict_high else most <= high)

    return holds
