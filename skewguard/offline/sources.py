"""Reads a view's source with DuckDB: one normalized relation, whatever the file's own types are.

Everything is UTC: connections have their session time zone set, so that a naive timestamp or text means UTC. DuckDB's
TIMESTAMPTZ counts microseconds: nanoseconds of a file are cut, so two rows within one microsecond of each other tie
(and are told apart by the created timestamp), and a row counts as at or before every moment of its microsecond.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from skewguard import dtypes
from skewguard.definitions import ViewDef
from skewguard.errors import BadInputError, ConfigurationError, UnsupportedSourceError, nearest

EVENT_TS, CREATED_TS = "__event_ts", "__created_ts"


def connect(memory_limit: str | None = None, threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB in UTC that fetches nothing from the network.

    ``memory_limit`` as DuckDB takes it ("2GB"); what does not fit goes to a temporary file. Raises ConfigurationError.
    """
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET autoinstall_known_extensions = false")
    con.execute("SET enable_progress_bar = false")
    # DuckDB cannot guess how many rows an Arrow table has, takes it for a few, and would compare all with all
    con.execute("SET asof_loop_join_threshold = 0")
    try:
        if memory_limit is not None:
            con.execute("SET memory_limit = $1", [memory_limit])
        if threads is not None:
            con.execute("SET threads = $1", [threads])
    except duckdb.Error as error:
        con.close()
        raise ConfigurationError(
            f"offline store: memory_limit {memory_limit!r}, threads {threads!r}: {error}"
        ) from error
    return con


@contextmanager
def reading(source: str) -> Iterator[None]:
    """Turn DuckDB's errors while ``source`` is read into a ConfigurationError that names it."""
    try:
        yield
    except duckdb.Error as error:
        raise ConfigurationError(f"Cannot read {source}: {error}") from error


def refuse_same_but_for_case(where: str, names: Sequence[str]) -> None:
    """DuckDB takes ``a`` and ``A`` for one column and would give one's values for both; raises BadInputError."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise BadInputError(where, f"the columns {other!r} and {name!r}", "names that differ in more than case")


def quote(name: str) -> str:
    """A SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A SQL string."""
    return "'" + text.replace("'", "''") + "'"


def scan_sql(view: ViewDef) -> str:
    """``read_parquet`` over a view's source: a file, a glob, or a folder of Parquet files (Hive partitions allowed)."""
    source = view.source
    if source.kind != "parquet":
        raise UnsupportedSourceError(
            f"Feature view {view.name!r} reads from {source.kind} {source.path!r}; the ASOF store reads Parquet files."
        )
    path = source.path
    if "://" not in path:
        local = Path(path)
        if local.is_dir():
            path = f"{path.rstrip('/')}/**/*.parquet"
        elif not any(mark in path for mark in "*?[") and not local.is_file():
            raise ConfigurationError(
                f"Feature view {view.name!r}: no such file {path}; build it, or correct the path of its source."
            )
    return f"read_parquet({literal(path)}, union_by_name = true)"


def source_columns(view: ViewDef) -> dict[str, str]:
    """The source's columns and their DuckDB types; raises ConfigurationError where it cannot be read."""
    with connect() as con:
        try:
            rows = con.execute(f"DESCRIBE SELECT * FROM {scan_sql(view)}").fetchall()
        except duckdb.Error as error:
            raise ConfigurationError(f"Feature view {view.name!r}: cannot read {view.source.path}: {error}") from error
    return {str(row[0]): str(row[1]) for row in rows}


def timestamp_sql(expression: str, duck_type: str) -> str:
    """Any column of moments as TIMESTAMPTZ: naive and text mean UTC, numbers are seconds since 1970."""
    kind = duck_type.upper()
    if kind.startswith("TIMESTAMP WITH TIME ZONE"):
        return expression
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return f"({expression})::TIMESTAMP::TIMESTAMPTZ"
    if kind == "VARCHAR":
        return f"({expression})::TIMESTAMPTZ"
    seconds = f"({expression})::DOUBLE"
    return f"CASE WHEN isfinite({seconds}) THEN to_timestamp({seconds}) END"


def declared_sql(expression: str, duck_type: str, dtype: str) -> str:
    """A source column in its declared dtype, as Feast's online path would hold it.

    Whole numbers from a float column: NaN is null, fractions are cut toward zero. Floats keep NaN.
    """
    kind = duck_type.upper()
    if dtype == "UNIX_TIMESTAMP":
        return timestamp_sql(expression, kind)
    inner = dtypes.element(dtype)
    if inner is not None and kind.endswith("[]") and kind != dtypes.duckdb_type(dtype):
        return f"list_transform({expression}, lambda x: {declared_sql('x', kind[:-2], inner)})"
    if dtype in (*dtypes.INTEGERS, "BOOL") and kind in ("DOUBLE", "FLOAT"):
        return f"CASE WHEN isfinite({expression}) THEN trunc({expression}) END::{dtypes.duckdb_type(dtype)}"
    if dtype in dtypes.INTEGERS and kind.startswith("DECIMAL"):
        return f"trunc({expression})::{dtypes.duckdb_type(dtype)}"
    if dtype == "BYTES" and kind == "VARCHAR":
        return f"encode({expression})"
    if dtypes.is_json(dtype):
        return f"json({expression})::VARCHAR" if kind == "VARCHAR" else f"to_json({expression})::VARCHAR"
    return f"({expression})::{dtypes.duckdb_type(dtype)}"


def source_sql(view: ViewDef, features: Sequence[str] | None = None) -> str:
    """The normalized relation of a view: join keys and features by Feast name, ``__event_ts``, ``__created_ts``.

    Only these columns are read. ``features`` None means all of the view's. Raises ConfigurationError for a missing
    column (with the nearest one), UnsupportedSourceError for a source that is no Parquet.
    """
    columns = source_columns(view)
    source = view.source

    def column(name: str) -> tuple[str, str]:
        found = source.column(name)
        if found not in columns:
            near = nearest(found, columns)
            hint = f" Did you mean {near!r}?" if near else ""
            raise ConfigurationError(
                f"Feature view {view.name!r}: no column {found!r} in {source.path}.{hint} "
                f"Columns: {', '.join(columns)}."
            )
        return quote(found), columns[found]

    wanted = view.features if features is None else tuple(view.feature(name) for name in features)
    refuse_same_but_for_case(f"Feature view {view.name!r}", [f.name for f in (*view.join_keys, *wanted)])
    selected = [f"{declared_sql(*column(f.name), f.dtype)} AS {quote(f.name)}" for f in (*view.join_keys, *wanted)]
    selected.append(f"{timestamp_sql(*column(source.timestamp_field))} AS {EVENT_TS}")
    created = "NULL::TIMESTAMPTZ"
    if source.created_timestamp_column:
        created = timestamp_sql(*column(source.created_timestamp_column))
    selected.append(f"{created} AS {CREATED_TS}")
    return f"SELECT {', '.join(selected)} FROM {scan_sql(view)}"
