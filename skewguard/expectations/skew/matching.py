"""ExpectOnlineToMatchOffline: cell by cell, under the library's own equality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from great_expectations.compatibility.pydantic import Field
from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.core.metric_function_types import MetricPartialFunctionTypes
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnPairMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import ColumnPairMapMetricProvider
from great_expectations.expectations.metrics.metric_provider import metric_partial

from skewguard.expectations.skew import arguments
from skewguard.expectations.skew.base import Pair, causes_of, plain_lists
from skewguard.expectations.skew.columns import NAME, add_columns, require_columns
from skewguard.expectations.skew.rendering import RendersSkew

_METRIC = "column_pair_values.online_matches_offline"


class OnlineMatchesOffline(ColumnPairMapMetricProvider):  # type: ignore[misc]
    """True where the online value (column_B) holds what the offline one (column_A) asks for."""

    condition_metric_name = _METRIC
    condition_domain_keys = (
        "batch_id", "table", "column_A", "column_B", "row_condition", "condition_parser", "ignore_row_if",
    )  # fmt: skip
    condition_value_keys = ("dtype", "relative", "absolute", "state_column")

    @metric_partial(
        engine=PandasExecutionEngine,
        partial_fn_type=MetricPartialFunctionTypes.MAP_CONDITION_SERIES,
        domain_type=MetricDomainTypes.COLUMN_PAIR,
    )  # type: ignore[untyped-decorator]
    def _pandas(
        cls,  # noqa: N805  (GX calls metric functions with the class)
        execution_engine: Any,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        metrics: dict[str, Any],  # noqa: ARG002
        runtime_configuration: dict[str, Any],  # noqa: ARG002
    ) -> Any:
        # not GX's own decorator for pairs: it hands over the two columns alone, and the state is a third
        import pandas as pd

        frame, compute, accessor = execution_engine.get_compute_domain(
            domain_kwargs=metric_domain_kwargs, domain_type=MetricDomainTypes.COLUMN_PAIR
        )
        names = (accessor["column_A"], accessor["column_B"])
        state = metric_value_kwargs.get("state_column")
        require_columns(frame, [*names, *([state] if state else [])])
        pair = Pair(frame, names, state, metric_value_kwargs.get("dtype"))
        relative, absolute = metric_value_kwargs.get("relative"), metric_value_kwargs.get("absolute")
        equal = pair.equal(arguments.tolerance(relative, absolute))
        return pd.Series(~equal, index=frame.index), compute, accessor


class ExpectOnlineToMatchOffline(RendersSkew, ColumnPairMapExpectation):  # type: ignore[misc]
    """Expect the online value of a feature (column_B) to hold what its offline value (column_A) asks for.

    Equality is that of the parity check (docs/checks.md): exact but for floats, which may be apart by
    max(absolute, relative x max(|offline|, |online|)), with 1e-9 relative for DOUBLE and 1e-6 for FLOAT unless said
    otherwise; both null are equal; NaN offline and null online are equal, because Feast stores NaN as null; null
    offline and NaN online are not, where the frame can tell them apart (``exact_frame``). Success:
    (rows - unexpected) / rows >= mostly, GX's formula; of no rows it does not hold, and says so in ``inconclusive``.

    ``dtype``: Feast's name of the declared type; from the columns where it is left out. ``state_column``: where it says
    "corrupt", nothing is equal. ``cause_column``: causes are counted in ``result["causes"]``. ``entity_columns``: the
    keys with which ``result["samples"]`` names up to 20 rows.
    """

    dtype: str | None = None
    relative: arguments.Number | None = None
    absolute: arguments.Number | None = None
    state_column: str | None = None
    cause_column: str | None = None
    entity_columns: list[str] = Field(default_factory=list)
    ignore_row_if: Literal["both_values_are_missing", "either_value_is_missing", "neither"] = "neither"

    _dtype = arguments.checked("dtype", by=arguments.dtype)
    _relative = arguments.checked("relative", by=arguments.share)
    _absolute = arguments.checked("absolute", by=arguments.at_least_zero)

    map_metric: ClassVar[str] = _METRIC
    success_keys: ClassVar[tuple[str, ...]] = (
        "column_A", "column_B", "ignore_row_if", "mostly", "dtype", "relative", "absolute", "state_column",
    )  # fmt: skip
    args_keys: ClassVar[tuple[str, ...]] = ("column_A", "column_B")

    class Config:  # noqa: D106
        title = "Expect online to match offline"

    def get_validation_dependencies(self, execution_engine: Any = None, runtime_configuration: Any = None) -> Any:
        """GX's, with the columns that samples and causes need."""
        found = super().get_validation_dependencies(execution_engine, runtime_configuration)
        return add_columns(found, self, pair_columns(self), runtime_configuration)

    def _validate(self, metrics: Any, runtime_configuration: Any = None, execution_engine: Any = None) -> Any:
        found = super()._validate(metrics, runtime_configuration, execution_engine)
        result = found["result"] = plain_lists(found.get("result", {}))
        if not metrics[f"{_METRIC}.filtered_row_count"]:
            return {"success": False, "result": {**result, "inconclusive": "no rows to compare"}}
        frame = metrics[NAME]
        pair = Pair(frame, (self.column_A, self.column_B), self.state_column, self.dtype)
        wrong = ~pair.equal(arguments.tolerance(self.relative, self.absolute))
        causes, counted = causes_of(frame, self.cause_column, wrong)
        result["samples"] = pair.samples(wrong, self.entity_columns, causes)
        if self.cause_column is not None:
            result["causes"] = counted
        return {**found, "success": bool(found["success"])}

    @classmethod
    def sentence(cls, arguments: Mapping[str, Any]) -> str:
        """What is expected."""
        mostly = arguments["mostly"]
        often = "in every row" if mostly in (None, 1) else "in at least $mostly_percent % of the rows"
        return f"$column_B must match $column_A, {often}."

    @classmethod
    def observed(cls, result: Mapping[str, Any]) -> str:
        """What was seen."""
        if "unexpected_count" not in result:
            return "--"
        causes = ", ".join(f"{number:,} {cause}" for cause, number in result.get("causes", {}).items())
        share = result["unexpected_percent"] or 0.0
        told = f"{result['unexpected_count']:,} of {result['element_count']:,} rows differ ({share:.4g} %)"
        return told + (f": {causes}" if causes else "")


def pair_columns(expectation: Any) -> list[str]:
    """Every column of the batch that an expectation on both sides of a feature names."""
    optional = (expectation.state_column, expectation.cause_column)
    named = [expectation.column_A, expectation.column_B, *(name for name in optional if name is not None)]
    return [*named, *expectation.entity_columns]
