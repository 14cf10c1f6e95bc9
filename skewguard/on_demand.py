"""On-demand features, computed with Feast's own transformation on a table of their inputs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.definitions import OnDemandDef, ServiceDef
from skewguard.errors import BadInputError
from skewguard.online.on_demand import run_singleton

if TYPE_CHECKING:
    from skewguard.feast_repo import FeastRepo


def not_at_request(repo: FeastRepo, names: Iterable[str]) -> dict[str, str]:
    """Of some on-demand views, those that cannot be computed from a request's inputs, with the reason."""
    reasons = {}
    for name in names:
        view: Any = repo.feast_on_demand(name)
        if view.write_to_online_store:
            reasons[name] = "it is computed on write (write_to_online_store) and read back from the online store"
        elif view.aggregations:
            reasons[name] = "it has aggregations"
    return reasons


def add_on_demand(table: pa.Table, service: ServiceDef, repo: FeastRepo, full_feature_names: bool) -> pa.Table:
    """Append the on-demand features that ``service`` asks for, in their declared dtypes.

    ``table`` holds the inputs under their result names and the request data. Raises BadInputError for request data
    that is missing.
    """
    for on_demand in service.on_demand:
        for field in on_demand.request_fields:
            if field.name not in table.column_names:
                raise BadInputError(
                    f"entity rows, column {field.name!r}",
                    "no such column",
                    f"request data of on-demand view {on_demand.name!r} ({field.dtype})",
                )
        table = add_outputs(table, on_demand, repo.feast_on_demand(on_demand.name), full_feature_names)
    return table


def add_outputs(table: pa.Table, on_demand: OnDemandDef, feast_view: Any, full_feature_names: bool) -> pa.Table:
    """``add_on_demand`` for one view, whose Feast object (slow to read from a registry) is at hand."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # user code in pandas warns about itself; it is not ours to fail on
        result = _transformed(feast_view, table, full_feature_names)
    for feature in on_demand.features:
        output = on_demand.output_name(feature.name, full_feature_names)
        produced = output if output in result.column_names else f"{on_demand.name}__{feature.name}"
        column = result.column(produced if produced in result.column_names else feature.name)
        table = table.append_column(output, _declared(column, feature.dtype))
    return table


def _transformed(feast_view: Any, table: pa.Table, full_feature_names: bool) -> pa.Table:
    """The outputs; a view that takes one row is called for each, as in serving (Feast hands it whole columns here)."""
    mode = str(getattr(feast_view.mode, "value", feast_view.mode))
    if not (mode == "python" and feast_view.singleton and table.num_rows):
        return feast_view.transform_arrow(table, full_feature_names)
    return pa.table(dict(run_singleton(feast_view, table.to_pydict())))


def _declared(column: pa.ChunkedArray, dtype: str) -> pa.ChunkedArray:
    """A transformation's output in the declared dtype; NaN in a whole-number column is null, as Feast writes it."""
    target = dtypes.arrow_type(dtype)
    if column.type == target:
        return column
    if pa.types.is_floating(column.type) and not pa.types.is_floating(target):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    if pa.types.is_timestamp(target) and pa.types.is_timestamp(column.type) and column.type.tz is None:
        column = pc.assume_timezone(column.cast(pa.timestamp("us")), "UTC")
    return column.cast(target, safe=False)
