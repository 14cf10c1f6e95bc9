"""ExpectNullRateSkewToBeBelow: does one side lack values where the other has them?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from great_expectations.compatibility.pydantic import Field

from skewguard.expectations.skew import arguments
from skewguard.expectations.skew.base import Pair, SkewBatchExpectation, judge
from skewguard.stats import Z95


class ExpectNullRateSkewToBeBelow(SkewBatchExpectation):
    """Expect the share of rows without a value online (column_B) to be close to the offline one (column_A).

    Without a value are null and NaN. The skew is (b - c) / rows, with b rows that lack it online alone and c that lack
    it offline alone; it holds where |skew| <= max_skew. The 95 % interval is that of paired proportions, half a row
    added to each of the four cells (Agresti and Min, "Simple improved confidence intervals for comparing matched
    proportions", Statistics in Medicine 24, 2005). With fewer than ``min_rows`` rows it does not hold, and says so in
    ``inconclusive``.
    """

    column_A: str = Field(min_length=1)  # noqa: N815  (as GX's pairs have it)
    column_B: str = Field(min_length=1)  # noqa: N815  (as GX's pairs have it)
    max_skew: arguments.Number
    min_rows: int = 1
    entity_columns: list[str] = Field(default_factory=list)

    _max_skew = arguments.checked("max_skew", by=arguments.share)
    _min_rows = arguments.checked("min_rows", by=arguments.count)

    success_keys: ClassVar[tuple[str, ...]] = ("column_A", "column_B", "max_skew", "min_rows", "entity_columns")
    args_keys: ClassVar[tuple[str, ...]] = ("column_A", "column_B", "max_skew")

    class Config:  # noqa: D106
        title = "Expect null rate skew to be below"

    def columns_needed(self) -> list[str]:
        """Both sides and the entity."""
        return [self.column_A, self.column_B, *self.entity_columns]

    def judged(self, frame: Any) -> tuple[bool, dict[str, Any]]:
        """The skew, its interval, both rates, and samples of the rows where one side alone lacks a value."""
        pair = Pair(frame, (self.column_A, self.column_B), None, None)
        offline, online = pair.missing()
        rows = len(frame)
        only_online, only_offline = int((online & ~offline).sum()), int((offline & ~online).sum())
        result: dict[str, Any] = {
            "observed_value": (only_online - only_offline) / rows if rows else None,
            "element_count": rows,
            "offline_nulls": int(offline.sum()),
            "online_nulls": int(online.sum()),
            "only_online": only_online,
            "only_offline": only_offline,
            "interval": list(paired_interval(only_online, only_offline, rows)),
        }
        if rows < self.min_rows:
            return False, {**result, "inconclusive": f"{rows:,} rows, of {self.min_rows:,} that it takes"}
        result["samples"] = pair.samples(online != offline, self.entity_columns)
        return abs(result["observed_value"]) <= arguments.number(self.max_skew), result

    def _validate(self, metrics: Any, runtime_configuration: Any = None, execution_engine: Any = None) -> Any:
        del runtime_configuration, execution_engine
        return judge(self, metrics)

    @classmethod
    def sentence(cls, arguments: Mapping[str, Any]) -> str:
        """What is expected."""
        del arguments
        return "$column_A and $column_B may lack a value in shares of the rows at most $max_skew_percent % apart."

    @classmethod
    def observed(cls, result: Mapping[str, Any]) -> str:
        """What was seen."""
        rows = result["element_count"]
        rates = (100 * result[f"{side}_nulls"] / rows for side in ("offline", "online"))
        low, high = (100 * end for end in result["interval"])
        skew = 100 * result["observed_value"]
        told = "{:.4g} % offline, {:.4g} % online".format(*rates)
        return f"{told}: {skew:+.4g} ({low:+.4g} to {high:+.4g}) points, of {rows:,} rows"


def paired_interval(only_online: int, only_offline: int, rows: int) -> tuple[float, float]:
    """The 95 % interval of (only_online - only_offline) / rows; (-1, 1) for no rows."""
    if not rows:
        return -1.0, 1.0
    b, c, n = only_online + 0.5, only_offline + 0.5, rows + 2
    centre = (b - c) / n
    half = Z95 * math.sqrt(max((b + c) - (b - c) ** 2 / n, 0.0)) / n
    return max(-1.0, centre - half), min(1.0, centre + half)
