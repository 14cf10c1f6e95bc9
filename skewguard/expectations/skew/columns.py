"""The metric that the aggregate expectations share: some columns of the batch, row condition applied."""

from __future__ import annotations

from typing import Any

from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider
from great_expectations.expectations.registry import get_metric_kwargs
from great_expectations.validator.metric_configuration import MetricConfiguration

from skewguard.errors import UnknownNameError

NAME = "skewguard.columns"


class FrameColumns(TableMetricProvider):  # type: ignore[misc]
    """Columns of a pandas batch as a frame, in the order asked for."""

    metric_name = NAME
    domain_keys = ("batch_id", "table", "row_condition", "condition_parser")
    value_keys = ("columns",)

    @metric_value(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(
        cls,  # noqa: N805  (GX calls metric functions with the class)
        execution_engine: Any,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        metrics: dict[str, Any],  # noqa: ARG002
        runtime_configuration: dict[str, Any],  # noqa: ARG002
    ) -> Any:
        frame = execution_engine.get_domain_records(domain_kwargs=metric_domain_kwargs)
        names = metric_value_kwargs["columns"]
        require_columns(frame, names)
        return frame[list(names)]


def require_columns(frame: Any, names: list[str]) -> None:
    """Raises UnknownNameError for a column that a frame does not have."""
    for name in names:
        if name not in frame.columns:
            raise UnknownNameError("column of the batch", name, [str(column) for column in frame.columns])


def add_columns(dependencies: Any, expectation: Any, names: list[str], runtime_configuration: Any) -> Any:
    """An expectation's dependencies with the metric among them."""
    kwargs = get_metric_kwargs(NAME, expectation.configuration, runtime_configuration)
    metric = MetricConfiguration(NAME, kwargs["metric_domain_kwargs"], {"columns": list(dict.fromkeys(names))})
    dependencies.set_metric_configuration(metric_name=NAME, metric_configuration=metric)
    return dependencies
