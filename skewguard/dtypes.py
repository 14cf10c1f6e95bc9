"""Feast value types by name, and what each is in Arrow and in DuckDB.

A dtype is the name of Feast's ``ValueType`` enum ("INT64", "FLOAT_LIST"). Scalars have one Arrow type that both
stores use; ``X_LIST`` and ``X_SET`` are Arrow lists of X; every nested or open type (maps, structs, lists of lists)
is carried as canonical JSON text (sorted keys, no blanks), so that both sides can be compared.

Source: feast/types.py and feast/protos/feast/types/Value.proto of Feast 0.67.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    TIMESTAMP: pa.DataType

_SCALARS: dict[str, tuple[str, str]] = {
    "BYTES": ("binary", "BLOB"),
    "STRING": ("string", "VARCHAR"),
    "INT32": ("int32", "INTEGER"),
    "INT64": ("int64", "BIGINT"),
    "DOUBLE": ("float64", "DOUBLE"),
    "FLOAT": ("float32", "FLOAT"),
    "BOOL": ("bool_", "BOOLEAN"),
    "UNIX_TIMESTAMP": ("timestamp", "TIMESTAMPTZ"),
    "UUID": ("string", "VARCHAR"),
    "TIME_UUID": ("string", "VARCHAR"),
    "DECIMAL": ("string", "VARCHAR"),
    "ZONED_TIMESTAMP": ("string", "VARCHAR"),
}
FLOATS = frozenset({"DOUBLE", "FLOAT"})
INTEGERS = frozenset({"INT32", "INT64"})
NUMBERS = FLOATS | INTEGERS
ENTITY_DTYPES = frozenset({"STRING", "BYTES", "INT32", "INT64", "UNIX_TIMESTAMP", "UUID", "TIME_UUID"})
"""What Feast can serialize as an entity key (UUIDs as their text)."""


def scalars() -> tuple[str, ...]:
    """The scalar dtypes."""
    return tuple(_SCALARS)


def element(dtype: str) -> str | None:
    """The scalar dtype inside a list or set dtype, None for every other dtype."""
    for suffix in ("_LIST", "_SET"):
        if dtype.endswith(suffix) and dtype[: -len(suffix)] in _SCALARS:
            return dtype[: -len(suffix)]
    return None


def is_list(dtype: str) -> bool:
    """True for lists and sets of a scalar dtype."""
    return element(dtype) is not None


def is_json(dtype: str) -> bool:
    """True for the dtypes that travel as canonical JSON text (maps, structs, JSON, nested collections)."""
    return dtype not in _SCALARS and element(dtype) is None


@functools.cache
def arrow_type(dtype: str) -> pa.DataType:
    """The Arrow type that holds ``dtype`` in every table of skewguard (timestamps: microseconds, UTC)."""
    import pyarrow as pa  # the server looks dtypes up without ever needing Arrow

    inner = element(dtype)
    if inner is not None:
        return pa.list_(arrow_type(inner))
    name = _SCALARS[dtype][0] if dtype in _SCALARS else "string"
    return pa.timestamp("us", tz="UTC") if name == "timestamp" else getattr(pa, name)()


def __getattr__(name: str) -> pa.DataType:
    if name == "TIMESTAMP":
        return arrow_type("UNIX_TIMESTAMP")
    raise AttributeError(name)


def duckdb_type(dtype: str) -> str:
    """The DuckDB type that holds ``dtype``; JSON-carried dtypes are VARCHAR."""
    inner = element(dtype)
    if inner is not None:
        return _SCALARS[inner][1] + "[]"
    return _SCALARS[dtype][1] if dtype in _SCALARS else "VARCHAR"
