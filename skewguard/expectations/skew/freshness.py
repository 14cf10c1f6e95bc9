"""ExpectFreshnessToBeBelow: how old what is online is at the as-of time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from great_expectations.compatibility.pydantic import Field
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnPairMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnPairMapMetricProvider,
    column_pair_condition_partial,
)

from skewguard import dtypes
from skewguard.errors import BadInputError
from skewguard.expectations.skew import arguments
from skewguard.expectations.skew.base import SAMPLES, json_scalar, plain_lists
from skewguard.expectations.skew.columns import NAME, add_columns
from skewguard.expectations.skew.rendering import RendersSkew
from skewguard.expectations.skew.series import to_arrow

_METRIC = "column_pair_values.lag_below"


class LagBelow(ColumnPairMapMetricProvider):  # type: ignore[misc]
    """True where the moment in column_A lies at most so many seconds before the one in column_B; null is not."""

    condition_metric_name = _METRIC
    condition_domain_keys = (
        "batch_id", "table", "column_A", "column_B", "row_condition", "condition_parser", "ignore_row_if",
    )  # fmt: skip
    condition_value_keys = ("max_lag_seconds",)

    @column_pair_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_A: Any, column_B: Any, max_lag_seconds: float, **_: Any) -> Any:  # noqa: N803, N805
        import pandas as pd

        lags = lags_of(column_A, column_B)
        fresh = pc.fill_null(pc.less_equal(lags, max_lag_seconds), False)
        return pd.Series(np.asarray(fresh.to_numpy(zero_copy_only=False), dtype=bool), index=column_A.index)


class ExpectFreshnessToBeBelow(RendersSkew, ColumnPairMapExpectation):  # type: ignore[misc]
    """Expect moments (column_A, such as __event_ts_online or __watermark) to be recent at the as-of time (column_B).

    The lag of a row is column_B - column_A in seconds; a row is fresh where it is at most ``max_lag_seconds``, the edge
    included, and so where its moment lies after the as-of time. Rows without a moment are left out
    (``ignore_row_if="either_value_is_missing"``); with "neither" they count as not fresh. Success:
    (rows - unexpected) / rows >= mostly, GX's formula; of no rows it does not hold, and says so in ``inconclusive``.
    ``observed_value`` is the longest lag. Moments without a zone are UTC.
    """

    max_lag_seconds: arguments.Number
    entity_columns: list[str] = Field(default_factory=list)
    ignore_row_if: Literal["both_values_are_missing", "either_value_is_missing", "neither"] = "either_value_is_missing"

    _max_lag_seconds = arguments.checked("max_lag_seconds", by=arguments.at_least_zero)

    map_metric: ClassVar[str] = _METRIC
    success_keys: ClassVar[tuple[str, ...]] = ("column_A", "column_B", "ignore_row_if", "mostly", "max_lag_seconds")
    args_keys: ClassVar[tuple[str, ...]] = ("column_A", "column_B", "max_lag_seconds")

    class Config:  # noqa: D106
        title = "Expect freshness to be below"

    def get_validation_dependencies(self, execution_engine: Any = None, runtime_configuration: Any = None) -> Any:
        """GX's, with the columns of the lags and the entity."""
        found = super().get_validation_dependencies(execution_engine, runtime_configuration)
        names = [self.column_A, self.column_B, *self.entity_columns]
        return add_columns(found, self, names, runtime_configuration)

    def _validate(self, metrics: Any, runtime_configuration: Any = None, execution_engine: Any = None) -> Any:
        found = super()._validate(metrics, runtime_configuration, execution_engine)
        result = found["result"] = plain_lists(found.get("result", {}))
        if not metrics[f"{_METRIC}.filtered_row_count"]:
            return {"success": False, "result": {**result, "inconclusive": "no row has a moment"}}
        frame = metrics[NAME]
        lags = lags_of(frame[self.column_A], frame[self.column_B])
        result["observed_value"] = pc.max(lags).as_py()
        result["median_lag_seconds"] = pc.approximate_median(lags).as_py()
        result["samples"] = self._samples(frame, lags)
        return {**found, "success": bool(found["success"])}

    def _samples(self, frame: Any, lags: pa.Array) -> list[dict[str, Any]]:
        """The rows that lag most, of those that lag too much."""
        order = pc.sort_indices(lags, sort_keys=[("", "descending")]).to_pylist()
        worst = [row for row in order[:SAMPLES] if (lags[row].as_py() or 0) > arguments.number(self.max_lag_seconds)]
        return [
            {
                "entity": {name: json_scalar(frame[name].iloc[row]) for name in self.entity_columns},
                "moment": json_scalar(frame[self.column_A].iloc[row]),
                "lag_seconds": lags[row].as_py(),
            }
            for row in worst
        ]

    @classmethod
    def sentence(cls, arguments: Mapping[str, Any]) -> str:
        """What is expected."""
        mostly = arguments["mostly"]
        often = "in every row" if mostly in (None, 1) else "in at least $mostly_percent % of the rows"
        return f"$column_A must lie at most $max_lag_seconds seconds before $column_B, {often}."

    @classmethod
    def observed(cls, result: Mapping[str, Any]) -> str:
        """What was seen."""
        if result.get("observed_value") is None:
            return "--"
        longest, median = result["observed_value"], result["median_lag_seconds"]
        late = f", {result['unexpected_count']:,} rows too old" if result.get("unexpected_count") else ""
        return f"longest lag {longest:,.0f} s, median {median:,.0f} s{late}"


def lags_of(moments: Any, as_of: Any) -> pa.Array:
    """Seconds from each moment to its as-of time (float64, null where one is missing). Raises BadInputError."""
    micros = []
    for series in (moments, as_of):
        array = to_arrow(series, str(series.name))
        if not (pa.types.is_timestamp(array.type) or pa.types.is_date(array.type) or pa.types.is_null(array.type)):
            raise BadInputError(f"column {str(series.name)!r}", str(array.type), "moments")
        micros.append(array.cast(dtypes.TIMESTAMP, safe=False).cast(pa.int64()))
    return pc.divide(pc.subtract(micros[1], micros[0]).cast(pa.float64()), 1e6)
