"""On-demand feature views: the one part of serving that needs Feast, imported only when the plan has such a view.

Inputs and outputs take the types that Feast's own server gives them (``feast/utils.py``,
``_augment_response_with_on_demand_transforms``): stored bytes become Python values as ``OnlineResponse.to_dict`` makes
them, pandas views get ``OnlineResponse.to_arrow``'s table, and outputs go through Feast's converter to the declared
dtype. Unlike there, a view sees no more than its declared inputs, request data and join keys; a singleton view is
called once for each row; and outputs keep their declared order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from online_api.lookup import NULL_VALUE, PRESENT, Column
from online_api.problems import TransformFailedError
from online_api.values import json_value
from skewguard.definitions import OnDemandDef
from skewguard.online.values import decode_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from skewguard.plan import ServingPlan


@dataclass(frozen=True)
class _View:
    feast_view: Any
    run: Callable[[Any, dict[str, list[Any]]], Mapping[str, Any]]
    value_types: Mapping[str, Any]


class OnDemandViews:
    """Feast's on-demand views of a plan, ready to run. Opening them imports Feast (seconds).

    Raises UnknownNameError when the registry no longer has a view of the plan.
    """

    def __init__(self, repo: Path, plan: ServingPlan) -> None:
        from feast.value_type import ValueType

        from skewguard.feast_repo import FeastRepo

        opened = FeastRepo(repo)
        self._views: dict[str, _View] = {}
        for definition in plan.on_demand:
            if definition.name not in plan.unsupported:
                feast_view = opened.feast_on_demand(definition.name)
                types = {f.name: ValueType[f.dtype] for f in definition.all_features}
                self._views[definition.name] = _View(feast_view, _runner(feast_view), types)

    def run(
        self,
        definition: OnDemandDef,
        inputs: Mapping[tuple[str, str], Sequence[bytes]],
        others: Mapping[str, list[Any]],
        rows: int,
    ) -> dict[str, Column]:
        """The outputs of a view that were asked for, by name; statuses are PRESENT or NULL_VALUE.

        Args:
            definition: The view as used.
            inputs: Stored bytes of its input features, by (projection, feature) and row; empty for no value.
            others: Join keys and request data by name, as Python values.
            rows: Number of rows.

        Raises:
            TransformFailedError: the view's function raised, or its output does not fit the declared dtype.
        """
        from feast.type_map import python_values_to_proto_values

        view = self._views[definition.name]
        try:
            outputs = view.run(view.feast_view, _arguments(definition, inputs, others))
            results = {}
            for feature in definition.features:
                protos = python_values_to_proto_values(
                    _column(outputs[feature.name], rows), view.value_types[feature.name]
                )
                results[feature.name] = _answers([proto.SerializeToString() for proto in protos])
        except Exception as error:  # the function is the repository's own code: it may raise anything
            raise TransformFailedError(
                f"On-demand feature view {definition.name!r} failed: {type(error).__name__}: {str(error)[:300]}"
            ) from error
        return results


def _arguments(
    definition: OnDemandDef, inputs: Mapping[tuple[str, str], Sequence[bytes]], others: Mapping[str, list[Any]]
) -> dict[str, list[Any]]:
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.type_map import feast_value_type_to_python_type
    from feast.value_type import ValueType

    arguments = dict(others)
    names = [f.name for p in definition.inputs for f in p.features]
    for projection in definition.inputs:
        for feature in projection.features:
            hint = ValueType[feature.dtype]
            values = [
                feast_value_type_to_python_type(Value.FromString(raw), hint) if raw else None
                for raw in inputs[projection.name, feature.name]
            ]
            # Feast adds the other form of each name; the short one alone would be ambiguous here
            ambiguous = names.count(feature.name) > 1 or feature.name in others
            arguments[f"{projection.view.name}__{feature.name}" if ambiguous else feature.name] = values
    return arguments


def _runner(feast_view: Any) -> Callable[[Any, dict[str, list[Any]]], Mapping[str, Any]]:
    mode = str(getattr(feast_view.mode, "value", feast_view.mode))
    if mode != "python":
        return _run_arrow
    return _run_singleton if feast_view.singleton else _run_python


def _run_python(feast_view: Any, arguments: dict[str, list[Any]]) -> Mapping[str, Any]:
    outputs: Mapping[str, Any] = feast_view.transform_dict(arguments)
    return outputs


def _run_singleton(feast_view: Any, arguments: dict[str, list[Any]]) -> Mapping[str, Any]:
    rows = range(len(next(iter(arguments.values()))))
    by_row = [feast_view.transform_dict({name: [v[row]] for name, v in arguments.items()}) for row in rows]
    return {name: [outputs[name] for outputs in by_row] for name in by_row[0]}


def _run_arrow(feast_view: Any, arguments: dict[str, list[Any]]) -> Mapping[str, Any]:
    import pyarrow as pa
    from feast.online_response import _convert_uuids_for_arrow

    table = pa.Table.from_pydict(_convert_uuids_for_arrow(arguments))
    outputs: Mapping[str, Any] = feast_view.transform_arrow(table, False)
    return outputs


def _column(values: Any, rows: int) -> Any:
    if hasattr(values, "to_pylist"):  # Feast goes through NumPy here, which takes integers beside nulls for doubles
        values = values.to_pylist()
    elif isinstance(values, str | bytes | dict) or not hasattr(values, "__len__"):
        values = [values]
    if len(values) != rows:
        raise ValueError(f"it gave {len(values)} values for {rows} rows")
    return values


def _answers(stored: list[bytes]) -> Column:
    values = [json_value(decode_value(raw)) if raw else None for raw in stored]
    return Column(values, [PRESENT if raw else NULL_VALUE for raw in stored], stored)
