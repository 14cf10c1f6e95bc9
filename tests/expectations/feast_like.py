"""Generated Arrow tables as what Feast serves: dtypes by column, and rows of Python values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_DTYPES = {
    pa.int64(): "INT64", pa.int32(): "INT32", pa.float64(): "DOUBLE", pa.float32(): "FLOAT", pa.bool_(): "BOOL",
    pa.string(): "STRING", pa.binary(): "BYTES", pa.list_(pa.float64()): "DOUBLE_LIST",
    pa.list_(pa.string()): "STRING_LIST",
}  # fmt: skip


def dtype(kind: pa.DataType) -> str:
    """The Feast dtype that serves a column of this Arrow type."""
    if pa.types.is_dictionary(kind):
        return dtype(kind.value_type)
    return "UNIX_TIMESTAMP" if pa.types.is_timestamp(kind) or pa.types.is_date(kind) else _DTYPES[kind]


def dtypes(table: pa.Table) -> dict[str, str]:
    """Feast dtypes by column."""
    return {field.name: dtype(field.type) for field in table.schema}


def values(table: pa.Table, columns: Sequence[str]) -> list[list[Any]]:
    """Columns as lists of the values that a server has: times in UTC, with their zone."""
    return [[_served(value) for value in _column(table, name).to_pylist()] for name in columns]


def _column(table: pa.Table, name: str) -> Any:
    column = table.column(name)
    if pa.types.is_timestamp(column.type):  # to microseconds, which Python's datetime holds
        column = column if column.type.tz else pc.assume_timezone(column, "UTC")
        return column.cast(pa.timestamp("us", "UTC"))
    return column


def _served(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return datetime(value.year, value.month, value.day, tzinfo=UTC) if isinstance(value, date) else value
