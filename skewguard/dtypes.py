"""Feast value types by name, and what each is in Arrow and in DuckDB.

A dtype is the name of Feast's ``ValueType`` enum ("INT64", "FLOAT_LIST"). Scalars have one Arrow type that both
stores use; ``X_LIST`` and ``X_SET`` are Arrow lists of X; every nested or open type (maps, structs, lists of lists)
is carried as canonical JSON text (sorted keys, no blanks), so that both sides can be compared.

Source: feast/types.py and feast/protos/feast/types/Value.proto of Feast 0.67.
"""

from __future__ import annotations

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")

_SCALARS: dict[str, tuple[pa.DataType, str]] = {
    "BYTES": (pa.binary(), "BLOB"),
    "STRING": (pa.string(), "VARCHAR"),
    "INT32": (pa.int32(), "INTEGER"),
    "INT64": (pa.int64(), "BIGINT"),
    "DOUBLE": (pa.float64(), "DOUBLE"),
    "FLOAT": (pa.float32(), "FLOAT"),
    "BOOL": (pa.bool_(), "BOOLEAN"),
    "UNIX_TIMESTAMP": (TIMESTAMP, "TIMESTAMPTZ"),
    "UUID": (pa.string(), "VARCHAR"),
    "TIME_UUID": (pa.string(), "VARCHAR"),
    "DECIMAL": (pa.string(), "VARCHAR"),
    "ZONED_TIMESTAMP": (pa.string(), "VARCHAR"),
}
FLOATS = frozenset({"DOUBLE", "FLOAT"})
INTEGERS = frozenset({"INT32", "INT64"})
NUMBERS = FLOATS | INTEGERS
ENTITY_DTYPES = frozenset({"STRING", "BYTES", "INT32", "INT64", "UNIX_TIMESTAMP", "UUID", "TIME_UUID"})
"""What Feast can serialize as an entity key (UUIDs as their text)."""


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


def arrow_type(dtype: str) -> pa.DataType:
    """The Arrow type that holds ``dtype`` in every table of skewguard (timestamps: microseconds, UTC)."""
    inner = element(dtype)
    if inner is not None:
        return pa.list_(_SCALARS[inner][0])
    return _SCALARS[dtype][0] if dtype in _SCALARS else pa.string()


def duckdb_type(dtype: str) -> str:
    """The DuckDB type that holds ``dtype``; JSON-carried dtypes are VARCHAR."""
    inner = element(dtype)
    if inner is not None:
        return _SCALARS[inner][1] + "[]"
    return _SCALARS[dtype][1] if dtype in _SCALARS else "VARCHAR"
