"""Entity rows in one shape: an Arrow table with checked join keys, whatever the caller brought.

The number and the order of rows never change; duplicates and nulls stay (a null key or time gets null features).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.definitions import FieldDef, ServiceDef
from skewguard.errors import BadInputError, nearest

DEFAULT_TIMESTAMP = "event_timestamp"
"""Feast's name for the as-of time of an entity row (feast/infra/offline_stores/offline_utils.py)."""


_TEXTS = frozenset({"STRING", "UUID", "TIME_UUID"})


@dataclass(frozen=True)
class EntityRows:
    """Entity rows and which of their columns holds the as-of time (timestamp[us, UTC])."""

    table: pa.Table
    timestamp_column: str


def normalise_entity_rows(entity_df: Any, service: ServiceDef, *, full_feature_names: bool = False) -> EntityRows:
    """Read, check and type entity rows for a service.

    ``entity_df``: pandas DataFrame, Arrow table, or the path of a Parquet or CSV file. Raises BadInputError naming the
    column: a missing join key or time, a value that does not fit, a column that a feature would overwrite.
    """
    table = read_rows(entity_df, [f for f in (*service.join_keys, *service.request_fields) if f.dtype in _TEXTS])
    name = timestamp_column(table)
    outputs = {f.name for f in service.outputs(full_feature_names)}
    for clash in sorted(outputs & set(table.column_names)):
        raise BadInputError(
            f"entity_df, column {clash!r}",
            "the name of a feature",
            "another name; rename the column, or ask for full_feature_names",
        )
    for key in service.join_keys:
        if key.name not in table.column_names:
            near = nearest(key.name, table.column_names)
            found = f"no such column among {table.column_names}" + (f" (did you mean {near!r}?)" if near else "")
            raise BadInputError(f"entity_df, join key {key.name!r}", found, f"a column of {key.dtype}")
        table = _replace(table, key.name, typed_column(table.column(key.name), key))
    for field in service.request_fields:
        if field.name in table.column_names:
            table = _replace(table, field.name, typed_column(table.column(field.name), field))
    table = _replace(table, name, moments(table.column(name), name))
    return EntityRows(table, name)


def read_rows(given: Any, texts: Sequence[FieldDef], argument: str = "entity_df") -> pa.Table:
    """A pandas DataFrame, Arrow table, Parquet or CSV file as a table; ``texts`` are columns that a CSV must not take
    for numbers. Raises BadInputError that names the ``argument``.
    """
    if isinstance(given, pa.Table):
        table = given
    elif isinstance(given, str | os.PathLike):
        table = _read_file(Path(given), texts, argument)
    elif hasattr(given, "columns") and hasattr(given, "iloc"):
        table = _from_pandas(given, argument)
    else:
        raise BadInputError(argument, type(given).__name__, "a pandas DataFrame, an Arrow table or a file's path")
    duplicates = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if duplicates:
        raise BadInputError(argument, f"the column names {duplicates} more than once", "each column name once")
    return table.replace_schema_metadata(None)


def _from_pandas(frame: Any, argument: str) -> pa.Table:
    names = [str(name) for name in frame.columns]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise BadInputError(argument, f"the column names {duplicates} more than once", "each column name once")
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except pa.ArrowException as error:
        raise BadInputError(argument, f"a column of mixed types ({error})", "one type of value per column") from error


def _read_file(path: Path, texts: Sequence[FieldDef], argument: str) -> pa.Table:
    import pyarrow.csv
    import pyarrow.parquet

    if not path.is_file():
        raise BadInputError(argument, f"{path} (no such file)", "a Parquet or CSV file")
    try:
        if path.suffix.lower() == ".csv":
            # left to itself, the reader takes the text 007 for the number 7
            kept = pyarrow.csv.ConvertOptions(column_types={f.name: pa.string() for f in texts})
            return pyarrow.csv.read_csv(path, convert_options=kept)
        return pyarrow.parquet.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInputError(argument, f"{path} ({error})", "a Parquet or CSV file") from error


def timestamp_column(table: pa.Table) -> str:
    """Which column holds the as-of times: ``event_timestamp``, or the only one of timestamps; raises BadInputError."""
    if DEFAULT_TIMESTAMP in table.column_names:
        return DEFAULT_TIMESTAMP
    candidates = [f.name for f in table.schema if pa.types.is_timestamp(f.type)]
    if len(candidates) != 1:
        found = (
            f"{len(candidates)} timestamp columns ({', '.join(candidates)})" if candidates else "no timestamp column"
        )
        raise BadInputError("entity_df", found, f"a column {DEFAULT_TIMESTAMP!r}, or exactly one timestamp column")
    return str(candidates[0])


def _replace(table: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def typed_column(column: pa.ChunkedArray, field: FieldDef) -> pa.ChunkedArray:
    """A column in the declared dtype; timestamps may be seconds since 1970. Raises BadInputError.

    Whole floats count as whole numbers: pandas makes them of ints with nulls.
    """
    target = dtypes.arrow_type(field.dtype)
    if column.type == target:
        return column
    if field.dtype == "UNIX_TIMESTAMP":
        return pa.chunked_array([moments(column, field.name)])
    try:
        if pa.types.is_floating(column.type) and field.dtype in _TEXTS and column.null_count < len(column):
            # 7.0 may have been 7 or 007 before pandas made floats of it
            first = next(i for i, value in enumerate(column) if value.is_valid)
            raise BadInputError(f"entity_df, column {field.name!r}, row {first}", repr(column[first].as_py()), "a text")
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        return column.cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        row, value = _first_bad(column, target)
        where = f"entity_df, column {field.name!r}" + ("" if row is None else f", row {row}")
        raise BadInputError(where, repr(value) if row is not None else str(column.type), field.dtype) from error


def _first_bad(column: pa.ChunkedArray, target: pa.DataType) -> tuple[int | None, Any]:
    for row, value in enumerate(column):
        try:
            value.cast(target)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return row, value.as_py()
    return None, None


def moments(column: pa.ChunkedArray, name: str) -> pa.Array:
    """Timestamps, dates or ISO 8601 texts as timestamp[us, UTC]; naive means UTC, nanoseconds are cut."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return pa.array([_parse(text, name, row) for row, text in enumerate(column.to_pylist())], dtypes.TIMESTAMP)
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("us"))
    elif pa.types.is_integer(kind):
        column = column.cast(pa.int64()).cast(pa.timestamp("s"))
    elif not pa.types.is_timestamp(kind):
        raise BadInputError(f"entity_df, column {name!r}", str(kind), "timestamps, dates or ISO 8601 texts")
    zone = column.type.tz if pa.types.is_timestamp(column.type) else None
    array = column.combine_chunks().cast(pa.timestamp("us", tz=zone), safe=False)
    return array.cast(dtypes.TIMESTAMP) if zone else pc.assume_timezone(array, "UTC").cast(dtypes.TIMESTAMP)


def _parse(text: str | None, name: str, row: int) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise BadInputError(
            f"entity_df, column {name!r}, row {row}", repr(text), "an ISO 8601 time such as 2026-01-31T06:00:00Z"
        ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
