"""On-demand feature views as serving runs them: the server's engine, and what the transform check holds training to.

Inputs and outputs take the types that Feast's own server gives them (``feast/utils.py``,
``_augment_response_with_on_demand_transforms``): stored bytes become Python values as ``OnlineResponse.to_dict`` makes
them, pandas views get ``OnlineResponse.to_arrow``'s table, and outputs go through Feast's converter to the declared
dtype. Unlike there, a view sees no more than its declared inputs, request data and join keys; a singleton view is
called once for each row; outputs keep their declared order; and request data declared FLOAT are rounded to it, as they
are where training reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skewguard.definitions import OnDemandDef
    from skewguard.feast_repo import FeastRepo


@dataclass(frozen=True)
class _View:
    feast_view: Any
    run: Callable[[Any, dict[str, list[Any]]], Mapping[str, Any]]
    value_types: Mapping[str, Any]


class OnDemandEngine:
    """Feast's on-demand views, ready to run. Raises UnknownNameError when the registry does not have one of them."""

    def __init__(self, feast: FeastRepo, definitions: Iterable[OnDemandDef]) -> None:
        from feast.value_type import ValueType

        self._views: dict[str, _View] = {}
        for definition in definitions:
            feast_view = feast.feast_on_demand(definition.name)
            fields = definition.all_features or definition.features
            types = {f.name: ValueType[f.dtype] for f in fields}
            self._views[definition.name] = _View(feast_view, _runner(feast_view), types)

    def run(
        self,
        definition: OnDemandDef,
        inputs: Mapping[tuple[str, str], Sequence[bytes]],
        others: Mapping[str, list[Any]],
        rows: int,
    ) -> dict[str, list[bytes]]:
        """The outputs of a view that were asked for, by name: stored bytes of each row, empty for null.

        Args:
            definition: the view as used.
            inputs: stored bytes of its input features, by (projection, feature) and row; empty for no value.
            others: join keys and request data by name, as Python values.
            rows: number of rows.

        Raises whatever the view's function raises, and what its output does that does not fit the declared dtype.
        """
        from feast.type_map import python_values_to_proto_values

        view = self._views[definition.name]
        outputs = view.run(view.feast_view, _arguments(definition, inputs, others))
        results = {}
        for feature in definition.features:
            values = _column(outputs[feature.name], rows)
            protos = python_values_to_proto_values(values, view.value_types[feature.name])
            results[feature.name] = [proto.SerializeToString() for proto in protos]
        return results


def _arguments(
    definition: OnDemandDef, inputs: Mapping[tuple[str, str], Sequence[bytes]], others: Mapping[str, list[Any]]
) -> dict[str, list[Any]]:
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.type_map import feast_value_type_to_python_type
    from feast.value_type import ValueType

    single = {f.name for f in definition.request_fields if f.dtype == "FLOAT"}
    arguments = {name: _single(values) if name in single else values for name, values in others.items()}
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


def _single(values: list[Any]) -> list[Any]:
    """Numbers rounded to single precision, too large ones infinite, as Arrow casts them."""
    import numpy as np

    with np.errstate(over="ignore"):
        return [None if v is None else float(np.float32(v)) for v in values]


def _runner(feast_view: Any) -> Callable[[Any, dict[str, list[Any]]], Mapping[str, Any]]:
    mode = str(getattr(feast_view.mode, "value", feast_view.mode))
    if mode != "python":
        return _run_arrow
    return run_singleton if feast_view.singleton else _run_python


def _run_python(feast_view: Any, arguments: dict[str, list[Any]]) -> Mapping[str, Any]:
    outputs: Mapping[str, Any] = feast_view.transform_dict(arguments)
    return outputs


def run_singleton(feast_view: Any, arguments: Mapping[str, list[Any]]) -> Mapping[str, Any]:
    """Call the function of a view that takes one row for each row, and give its outputs as columns."""
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
