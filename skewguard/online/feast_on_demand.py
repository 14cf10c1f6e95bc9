"""On-demand views as Feast's own ``get_online_features`` runs them, for those who serve with Feast.

The function that does so there is called itself (``feast/utils.py``, ``_augment_response_with_on_demand_transforms``,
Feast 0.67), on a response as it stands before: join keys and request data, typed as ``_prepare_entities_to_read_from_
online_store`` types them, and the stored inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skewguard.definitions import OnDemandDef


def run_as_feast(
    feast_view: Any, definition: OnDemandDef, inputs: Mapping[tuple[str, str], Sequence[bytes]],
    others: Mapping[str, list[Any]], rows: int,
) -> dict[str, list[bytes]]:  # fmt: skip
    """The outputs by name, as stored bytes of each row, empty for null; arguments as ``OnDemandEngine.run`` has them.

    Raises whatever the view's function raises, or Feast about outputs that do not fit; ValueError for outputs
    of another number of rows, which Feast itself sends as they are.
    """
    from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.type_map import python_values_to_proto_values
    from feast.utils import _augment_response_with_on_demand_transforms
    from feast.value_type import ValueType

    short = [f.name for p in definition.inputs for f in p.features]
    full = len(set(short)) < len(short) or not set(short).isdisjoint(others)
    response = GetOnlineFeaturesResponse(results=[])
    types: dict[str, Any] = {}
    for name, values in others.items():
        _add(response, name, python_values_to_proto_values(values, ValueType.UNKNOWN))
    for projection in definition.inputs:
        for feature in projection.features:
            name = projection.output_name(feature.name, full)
            types[name] = ValueType[feature.dtype]
            _add(response, name, [Value.FromString(raw) for raw in inputs[projection.name, feature.name]])
    name = feast_view.projection.name_to_use()
    wanted = [f"{name}:{f.name}" for f in definition.features]
    given = [f"{p.name}:{f.name}" for p in definition.inputs for f in p.features]
    _augment_response_with_on_demand_transforms(response, given + wanted, [feast_view], full, types)
    answers = dict(zip(response.metadata.feature_names.val, response.results, strict=True))
    stored = {
        f.name: [value.SerializeToString() for value in answers[f"{name}__{f.name}" if full else f.name].values]
        for f in definition.features
    }
    for values in stored.values():
        if len(values) != rows:
            raise ValueError(f"it gave {len(values)} values for {rows} rows")
    return stored


def _add(response: Any, name: str, values: Sequence[Any]) -> None:
    response.metadata.feature_names.val.append(name)
    response.results.add().values.extend(values)
