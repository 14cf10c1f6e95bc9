"""What a suite is run on: an Arrow table, Parquet files, or a DuckDB relation; the schema, SQL to read it, columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from skewguard.errors import BadInputError, StoreUnavailableError
from skewguard.expectations.sql.columns import Column, Kind, kind_of

Source: TypeAlias = pa.Table | str | Path | Sequence[str | Path] | duckdb.DuckDBPyRelation
Span: TypeAlias = tuple[Any, Any]
_VIEW = "rows_of_the_suite"
_COUNTS = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 1}


@dataclass(frozen=True)
class Attached:
    """Rows that a connection knows: ``sql`` selects them as ``c<position>``.

    Known without a scan, or None: ``nulls`` of a column, its ``span`` (least and largest value as ``Column.value`` has
    them, None and None where all are missing). ``values`` reads a whole column; ``in_memory``: that costs nothing.
    """

    sql: str
    rows: int
    nulls: Callable[[Column], int | None]
    span: Callable[[Column], Span | None]
    values: Callable[[Column], pa.ChunkedArray]
    in_memory: bool = False


class TableSource:
    """An Arrow table."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.schema: pa.Schema = table.schema

    def attach(self, con: duckdb.DuckDBPyConnection, columns: Sequence[Column]) -> Attached:
        """Make the columns known to a connection."""
        known = (self.rows(), self._nulls, self._span, self.values, True)
        if not columns:  # rules on the table as a whole
            return Attached(f"SELECT NULL FROM range({self.rows()})", *known)
        arrays = [_readable(self._table.column(column.position)) for column in columns]
        con.register(_VIEW, pa.table(arrays, names=[column.sql for column in columns]))
        return Attached(f"SELECT * FROM {_VIEW}", *known)

    def values(self, column: Column) -> pa.ChunkedArray:
        """A whole column."""
        return _readable(self._table.column(column.position))

    def may_hold_nan(self, column: str) -> bool:
        """Whether there may be NaN in a column of floats."""
        values = _readable(self._table.column(column))
        if pa.types.is_dictionary(values.type) or values.null_count:
            return pa.types.is_dictionary(values.type) or bool(pc.any(pc.is_nan(values)).as_py())
        return any(np.isnan(chunk.to_numpy()).any() for chunk in values.chunks)

    def _nulls(self, column: Column) -> int | None:
        by_dictionary = pa.types.is_dictionary(column.type)  # which may hold a null itself
        return None if by_dictionary else int(self._table.column(column.position).null_count)

    def _span(self, column: Column) -> Span | None:
        values, kind = self._table.column(column.position), column.type
        by_count = pa.types.is_timestamp(kind)
        if not by_count and not pa.types.is_integer(kind):
            return None
        ends = pc.min_max(values.cast(pa.int64()) if by_count else values).as_py()
        low, high = ends["min"], ends["max"]
        return (low, high) if low is None or not by_count else (low * _COUNTS[kind.unit], high * _COUNTS[kind.unit])

    def rows(self) -> int:
        """The number of rows."""
        return int(self._table.num_rows)

    def read(self, names: Iterable[str]) -> pa.Table:
        """The columns of these names; of no names, the rows all the same."""
        return self._table.select(list(names))


class ParquetSource:
    """Parquet files of one schema, in their order."""

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self._paths = [str(path) for path in paths]
        if not self._paths:
            raise BadInputError("source", "no Parquet file", "at least one")
        opened = [_opened(path) for path in self._paths]
        self._metadata = [metadata for metadata, _ in opened]
        schemas = [schema for _, schema in opened]
        self.schema = schemas[0]
        for path, schema in zip(self._paths, schemas, strict=True):
            if not schema.equals(self.schema):
                raise BadInputError(path, f"another schema than {self._paths[0]}", "files of one schema")

    def attach(self, con: duckdb.DuckDBPyConnection, columns: Sequence[Column]) -> Attached:
        """Make the columns known to a connection."""
        con.execute("SET VARIABLE paths_of_the_suite = $paths", {"paths": self._paths})
        every = ", ".join(f"c{position}" for position in range(len(self.schema)))
        names = ", ".join(column.sql for column in columns) or "NULL"
        files = "read_parquet(getvariable('paths_of_the_suite'), hive_partitioning = false)"
        return Attached(
            f"SELECT {names} FROM {files} AS files({every})", self.rows(), self._nulls, self._span, self.values
        )

    def values(self, column: Column) -> pa.ChunkedArray:
        """A whole column; strings by their dictionary."""
        texts = [column.name] if column.kind is Kind.TEXT else []
        parts = []
        for path in self._paths:
            with _reading(path), pq.ParquetFile(path, read_dictionary=texts) as file:
                parts.append(file.read(columns=[column.name]).column(column.name))
        return pa.chunked_array([chunk for part in parts for chunk in part.chunks], type=parts[0].type)

    def may_hold_nan(self, _: str) -> bool:
        """Whether there may be NaN in a column of floats: files do not tell."""
        return True

    def _nulls(self, column: Column) -> int | None:
        if pa.types.is_nested(column.type):  # those of its items, where an empty list counts as one
            return None
        parts = self._statistics(column)
        return None if None in parts else sum(part.nulls for part in parts if part)

    def _span(self, column: Column) -> Span | None:
        if not pa.types.is_signed_integer(column.type):
            return None
        parts = [part for part in self._statistics(column) if part is None or part.nulls < part.rows]
        spans = [part.span for part in parts if part and part.span]
        if len(spans) < len(parts):
            return None
        return min((low for low, _ in spans), default=None), max((high for _, high in spans), default=None)

    def _statistics(self, column: Column) -> list[_Statistics | None]:
        """Those of each row group; None where it does not count nulls, or positions are not those of the schema."""
        return [
            _statistics(metadata, number, column) if metadata.num_columns == len(self.schema) else None
            for metadata in self._metadata
            for number in range(metadata.num_row_groups)
        ]

    def rows(self) -> int:
        """The number of rows."""
        return sum(int(metadata.num_rows) for metadata in self._metadata)

    def read(self, names: Iterable[str]) -> pa.Table:
        """The columns of these names; of no names, the rows all the same."""
        wanted = list(names)
        tables = []
        for path in self._paths:
            with _reading(path), pq.ParquetFile(path) as file:
                tables.append(file.read(columns=wanted))
        return pa.concat_tables(tables).select(wanted)


def open_source(source: Source) -> TableSource | ParquetSource:
    """The source that is given. Raises BadInputError, StoreUnavailableError for a file that cannot be read."""
    if isinstance(source, pa.Table):
        opened: TableSource | ParquetSource = TableSource(source)
    elif isinstance(source, duckdb.DuckDBPyRelation):
        opened = TableSource(_arrow(source))
    elif isinstance(source, str | Path):
        opened = ParquetSource([source])
    elif isinstance(source, Sequence) and all(isinstance(path, str | Path) for path in source):
        opened = ParquetSource(source)
    else:
        raise BadInputError(
            "source", type(source).__name__, "an Arrow table, the path of a Parquet file, a list of such, or a relation"
        )
    names = opened.schema.names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInputError("table", f"two columns named {twice[0]!r}", "column names that differ")
    return opened


def columns_of(source: TableSource | ParquetSource, used: Iterable[str] | None = None) -> dict[str, Column]:
    """The source's columns by name, in its order; of floats among the ``used`` ones (None: all) NaN are looked for."""
    cut = isinstance(source, ParquetSource)
    wanted = set(source.schema.names if used is None else used)
    return {
        field.name: Column(
            field.name,
            position,
            field.type,
            opaque=_is_opaque(field.type, from_file=cut),
            nan=kind_of(field.type) is Kind.REAL and (field.name not in wanted or source.may_hold_nan(field.name)),
        )
        for position, field in enumerate(source.schema)
    }


def _is_opaque(kind: pa.DataType, *, from_file: bool) -> bool:
    """Whether DuckDB cannot read the type, or reads it and cuts its values."""
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return from_file and kind.tz is not None
    if kind_of(kind) is Kind.OTHER:
        tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_decimal128, pa.types.is_boolean)
        return not any(test(kind) for test in tests) and not _is_plain_list(kind)
    return False


def _is_plain_list(kind: pa.DataType) -> bool:
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return listed and kind_of(kind.value_type) is not Kind.OTHER and not pa.types.is_float16(kind.value_type)


def _readable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    if pa.types.is_timestamp(kind) and kind.unit == "ns" and kind.tz is not None:
        return column.cast(pa.timestamp("ns"))  # with a zone DuckDB would cut to microseconds; the instant is the same
    return column


class _Statistics(NamedTuple):
    rows: int
    nulls: int
    span: Span | None


def _statistics(metadata: Any, number: int, column: Column) -> _Statistics | None:
    # each of these objects is alive while the next one is read: pyarrow crashes where they are not
    group = metadata.row_group(number)
    chunk = group.column(column.position)
    found = chunk.statistics
    if found is None or not found.has_null_count:
        return None
    # read of whole numbers only: Python has no place for every time
    span = (found.min, found.max) if pa.types.is_signed_integer(column.type) and found.has_min_max else None
    return _Statistics(group.num_rows, found.null_count, span)


def _opened(path: str) -> tuple[Any, pa.Schema]:
    with _reading(path), pq.ParquetFile(path) as file:
        return file.metadata, file.schema_arrow


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BadInputError("source", f"{path!r}, which is not there", "a Parquet file") from error
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreUnavailableError(path, str(error)) from error


def _arrow(relation: duckdb.DuckDBPyRelation) -> Any:
    found = relation.arrow()
    return found if isinstance(found, pa.Table) else found.read_all()
