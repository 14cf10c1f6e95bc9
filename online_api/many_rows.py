"""A quick answer for answers of many rows: is all well in each of them?

Where that is not sure, the rows are judged one by one, which says the same and says which.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from online_api.lookup import ViewColumns, ViewRead
from online_api.row_values import Source
from skewguard import dtypes
from skewguard.expectations.rows.checks import Between, Missing, OfType
from skewguard.expectations.rows.columns import ColumnTests
from skewguard.expectations.rows.suite import RowRule, RowSuite
from skewguard.expectations.rows.validator import RowValidator

if TYPE_CHECKING:
    from online_api.float_ranges import FloatRanges

Columns = Sequence[Sequence[Any]]


class ManyRows:
    """The rules of a suite on one look-up, by the policy ``strict``; ``sources`` are those of the suite's columns."""

    def __init__(self, suite: RowSuite, sources: Sequence[Source], reads: Sequence[ViewRead]) -> None:
        by_column = {source.column: source for source in sources}
        ranges: dict[tuple[int, str], tuple[float, float]] = {}
        others: list[RowRule] = []
        for rule in suite.row_rules:
            source = by_column[rule.subjects[0]]
            allowed = _range(rule, source)
            if allowed is None:
                others.append(rule)
                continue
            low, high = ranges.get((source.read, source.name), allowed)
            ranges[source.read, source.name] = max(low, allowed[0]), min(high, allowed[1])
        self._ranges: FloatRanges | None = None
        if ranges:
            from online_api.float_ranges import FloatRanges

            self._ranges = FloatRanges(ranges, reads)
        self._all = _Lists(suite, suite.row_rules)
        self._others = _Lists(suite, others)

    def all_well(self, views: Sequence[ViewColumns], columns: Callable[[], Columns], rows: int) -> bool:
        """True where no rule fails, or breaks, in any of the rows; ``columns`` gives those of the suite."""
        within = self._ranges is not None and self._ranges.hold(views, rows)
        return (self._others if within else self._all).all_well(columns, rows)


def _range(rule: RowRule, source: Source) -> tuple[float, float] | None:
    """The least and the largest double that a rule allows; None where it asks more of a stored float than a range.

    A float that is there and finite has a value, and the type that was declared.
    """
    if rule.condition is not None or rule.mostly == 0 or source.kind != "stored" or source.dtype not in dtypes.FLOATS:
        return None
    match rule.check:
        case Between(low=low, high=high, strict_low=strict_low, strict_high=strict_high):
            least, most = _double(low, -math.inf), _double(high, math.inf)
            if least is None or most is None:
                return None
            return (
                math.nextafter(least, math.inf) if strict_low else least,
                math.nextafter(most, -math.inf) if strict_high else most,
            )
        case Missing(missing=False) | OfType(declared=True):
            return -math.inf, math.inf
    return None


def _double(bound: Any, otherwise: float) -> float | None:
    """A bound as a double; None where there is none that is equal to it."""
    if bound is None:
        return otherwise
    try:
        return float(bound) if float(bound) == bound else None
    except (OverflowError, TypeError):
        return None


class _Lists:
    """Some rules of a suite, asked of lists of values: of whole columns where they can be, row by row the rest."""

    def __init__(self, suite: RowSuite, rules: Sequence[RowRule]) -> None:
        self._tests = ColumnTests(replace(suite, rules=tuple(rules)))
        rest = self._tests.rest
        needed = {name for rule in rest for node in (rule.check, rule.condition) if node for name in node.columns}
        self._places = tuple(place for place, name in enumerate(suite.columns) if name in needed)
        names, kinds = (tuple(some[place] for place in self._places) for some in (suite.columns, suite.dtypes))
        self._rest = RowValidator(replace(suite, rules=rest, columns=names, dtypes=kinds)) if rest else None
        self._is_empty = not rest and self._tests.are_none

    def all_well(self, columns: Callable[[], Columns], rows: int) -> bool:
        if self._is_empty:
            return True
        found = columns()
        if not self._tests.hold(found):
            return False
        return self._rest is None or not self._rest.check_columns([found[place] for place in self._places], rows)
