"""ExpectMismatchRateToBeBelow: how many cells differ, with an interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from great_expectations.compatibility.pydantic import Field

from skewguard.expectations.skew import arguments
from skewguard.expectations.skew.base import Pair, SkewBatchExpectation, causes_of, judge
from skewguard.expectations.skew.matching import pair_columns
from skewguard.stats import wilson_interval

_JUDGED = {
    "rate": "as observed",
    "lower_bound": "unless it is surely above: the lower end of its 95 % interval counts",
    "upper_bound": "surely: the upper end of its 95 % interval counts",
}


class ExpectMismatchRateToBeBelow(SkewBatchExpectation):
    """Expect at most a share of rows in which the online value (column_B) does not match the offline one (column_A).

    What matches is told under ExpectOnlineToMatchOffline, and so are the arguments that the two share. The rate is
    unexpected / rows, its 95 % interval Wilson's (``skewguard.stats.wilson_interval``). ``judged_by``: "rate" compares
    the rate with ``max_rate``, "lower_bound" the lower end (an alarm only where the rate is surely above),
    "upper_bound" the upper end (success only where it is surely below). Limits are inclusive. With fewer than
    ``min_rows`` rows it does not hold, and says so in ``inconclusive``.
    """

    column_A: str = Field(min_length=1)  # noqa: N815  (as GX's pairs have it)
    column_B: str = Field(min_length=1)  # noqa: N815  (as GX's pairs have it)
    max_rate: arguments.Number
    judged_by: Literal["rate", "lower_bound", "upper_bound"] = "rate"
    min_rows: int = 1
    dtype: str | None = None
    relative: arguments.Number | None = None
    absolute: arguments.Number | None = None
    state_column: str | None = None
    cause_column: str | None = None
    entity_columns: list[str] = Field(default_factory=list)

    _shares = arguments.checked("max_rate", "relative", by=arguments.share)
    _absolute = arguments.checked("absolute", by=arguments.at_least_zero)
    _min_rows = arguments.checked("min_rows", by=arguments.count)
    _dtype = arguments.checked("dtype", by=arguments.dtype)

    success_keys: ClassVar[tuple[str, ...]] = (
        "column_A", "column_B", "max_rate", "judged_by", "min_rows", "dtype", "relative", "absolute", "state_column",
        "cause_column", "entity_columns",
    )  # fmt: skip
    args_keys: ClassVar[tuple[str, ...]] = ("column_A", "column_B", "max_rate")

    class Config:  # noqa: D106
        title = "Expect mismatch rate to be below"

    def columns_needed(self) -> list[str]:
        """Both sides, and what tells of them."""
        return pair_columns(self)

    def judged(self, frame: Any) -> tuple[bool, dict[str, Any]]:
        """The rate, its interval, and samples."""
        pair = Pair(frame, (self.column_A, self.column_B), self.state_column, self.dtype)
        wrong = ~pair.equal(arguments.tolerance(self.relative, self.absolute))
        rows, count = len(frame), int(wrong.sum())
        low, high = wilson_interval(count, rows)
        result: dict[str, Any] = {
            "observed_value": count / rows if rows else None,
            "element_count": rows,
            "unexpected_count": count,
            "unexpected_percent": 100 * count / rows if rows else None,
            "interval": [low, high],
        }
        if rows < self.min_rows:
            return False, {**result, "inconclusive": f"{rows:,} rows, of {self.min_rows:,} that it takes"}
        causes, counted = causes_of(frame, self.cause_column, wrong)
        result["samples"] = pair.samples(wrong, self.entity_columns, causes)
        if self.cause_column is not None:
            result["causes"] = counted
        figure = {"rate": count / rows, "lower_bound": low, "upper_bound": high}[self.judged_by]
        return figure <= arguments.number(self.max_rate), result

    def _validate(self, metrics: Any, runtime_configuration: Any = None, execution_engine: Any = None) -> Any:
        del runtime_configuration, execution_engine
        return judge(self, metrics)

    @classmethod
    def sentence(cls, arguments: Mapping[str, Any]) -> str:
        """What is expected."""
        how = _JUDGED[arguments["judged_by"]]
        return f"$column_B may differ from $column_A in at most $max_rate_percent % of the rows, {how}."

    @classmethod
    def observed(cls, result: Mapping[str, Any]) -> str:
        """What was seen."""
        low, high = (100 * end for end in result["interval"])
        told = f"{result['unexpected_percent']:.4g} % ({low:.4g} to {high:.4g} %) of {result['element_count']:,} rows"
        causes = ", ".join(f"{number:,} {cause}" for cause, number in result.get("causes", {}).items())
        return told + (f": {causes}" if causes else "")
