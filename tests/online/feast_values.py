"""Feast's own value classes, imported once (it takes seconds), and how Feast turns values into bytes."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from skewguard.feast_repo import quiet_feast

__all__ = ["Value", "ValueType", "feast_bytes", "feast_column_bytes", "parsed"]

with quiet_feast():
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.type_map import python_values_to_proto_values
    from feast.value_type import ValueType


def feast_bytes(dtype: str, values: Any) -> list[bytes]:
    """What Feast stores for a sequence of Python values."""
    return [value.SerializeToString() for value in python_values_to_proto_values(values, ValueType[dtype])]


def feast_column_bytes(dtype: str, column: pa.Array) -> list[bytes]:
    """What Feast's materialization stores for an Arrow column."""
    return feast_bytes(dtype, column.to_numpy(zero_copy_only=False))


def parsed(raw: bytes) -> Any:
    """Feast's Value message of stored bytes."""
    return Value.FromString(raw)
