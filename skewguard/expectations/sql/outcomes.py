"""GX's own formulas: from counts and values to success and to the keys of a result in summary format.

Source: ``_format_map_output``, ``_mostly_success`` and ``_validate_metric_value_between`` of great_expectations 1.24
(expectations/expectation.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skewguard.expectations.outcome import PARTIAL, Outcome


@dataclass(frozen=True)
class Counted:
    """Rows of a map rule: in its row condition, judged of those (None: all, by rules on nulls), unexpected."""

    elements: int
    judged: int | None
    bad: int


def map_outcome(counted: Counted, mostly: float, rows: Sequence[tuple[int, Any]]) -> Outcome:
    """The outcome of a rule on rows; ``rows``: the first unexpected ones, (row number, value)."""
    judged = counted.elements if counted.judged is None else counted.judged
    success = judged == 0 or (float(judged) - float(counted.bad)) / float(judged) >= mostly
    result: dict[str, Any] = {
        "element_count": counted.elements,
        "unexpected_count": counted.bad,
        "unexpected_percent": _percent(counted.bad, judged),
        "partial_unexpected_list": [value for _, value in rows],
    }
    if counted.judged is not None:
        missing = counted.elements - counted.judged
        result |= {
            "missing_count": missing,
            "missing_percent": _percent(missing, counted.elements),
            "unexpected_percent_total": _percent(counted.bad, counted.elements),
            "unexpected_percent_nonmissing": _percent(counted.bad, judged),
        }
    counts = _counts([value for _, value in rows])
    if counts is not None:
        result["partial_unexpected_counts"] = counts
    return Outcome(success, result | {"partial_unexpected_index_list": [row for row, _ in rows]})


def _percent(part: int, whole: int) -> float | None:
    return part / whole * 100 if whole else None


def _counts(values: Sequence[Any]) -> list[dict[str, Any]] | None:
    """How often each of these values is there; None where they cannot be hashed or sorted, as in GX."""
    flat = [tuple(value.values()) if isinstance(value, dict) else value for value in values]
    try:
        common = sorted(Counter(flat).most_common(PARTIAL), key=lambda pair: (-pair[1], pair[0]))
    except TypeError:
        return None
    return [{"value": value, "count": count} for value, count in common]


@dataclass(frozen=True)
class Limits:
    """The bounds of an aggregate rule; None for no bound."""

    low: Any
    high: Any
    strict_low: bool
    strict_high: bool

    def hold(self, value: Any) -> bool:
        """Whether a value lies between them."""
        above = self.low is None or (value > self.low if self.strict_low else value >= self.low)
        below = self.high is None or (value < self.high if self.strict_high else value <= self.high)
        return bool(above and below)

    def near(self, value: float, slack: float) -> bool:
        """Whether a bound lies within ``slack`` of the value."""
        return any(bound is not None and abs(value - bound) <= slack for bound in (self.low, self.high))


def between_outcome(value: Any, limits: Limits, shown: Any = None) -> Outcome:
    """The outcome of a rule on one value; ``shown``: the value in the result, where another is compared."""
    if value is None or value != value:
        return Outcome(False, {"observed_value": None})
    return Outcome(limits.hold(value), {"observed_value": value if shown is None else shown})
