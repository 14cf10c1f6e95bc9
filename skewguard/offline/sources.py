"""Reads a view's source with DuckDB: one normalized relation, whatever the file's own types are.

Everything is UTC: connections have their session time zone set, so that a naive timestamp or text means UTC. DuckDB's
TIMESTAMPTZ counts microseconds: nanoseconds of a file are cut, so two rows within one microsecond of each other tie
(and are told apart by the created timestamp), and a row counts as at or before every moment of its microsecond.
"""

from __future__ import annotations

import glob
import json
import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from skewguard import dtypes
from skewguard.definitions import ViewDef
from skewguard.errors import BadInputError, ConfigurationError, UnsupportedSourceError, nearest
from skewguard.sql import CREATED_TS, EVENT_TS, ROW_ID, literal, quote

_JSON = "__canonical_json"
_MAX_SECONDS = 253_402_300_799
"""9999-12-31T23:59:59Z; a larger number of seconds is one of milliseconds or less."""


def connect(memory_limit: str | None = None, threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB in UTC that fetches nothing from the network.

    ``memory_limit`` as DuckDB takes it ("2GB"); what does not fit goes to a temporary file. Raises ConfigurationError.
    """
    con = duckdb.connect()
    con.execute("SET enable_progress_bar = false")  # first: on a busy machine the next one takes long enough for a bar
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET autoinstall_known_extensions = false")
    # an in-memory DuckDB spills into ".tmp" of the working directory, wherever that is; it makes the folder when it
    # must, and removes it in the end with all that is in it, so that each connection has its own
    con.execute("SET temp_directory = $1", [os.path.join(tempfile.gettempdir(), f"skewguard-{uuid.uuid4().hex}")])
    con.create_function(_JSON, _canonical, ["VARCHAR"], "VARCHAR")
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


def _canonical(text: str) -> str:
    """JSON text as the online side tells it: sorted keys, no blanks, NaN and infinities as texts."""
    from skewguard.online.values import json_text

    return json_text(json.loads(text))


@contextmanager
def reading(source: str) -> Iterator[None]:
    """Turn DuckDB's errors while ``source`` is read into a ConfigurationError that names it."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise ConfigurationError(
            f"memory_limit: too little to join {source}; give more, or fewer threads. DuckDB says: {error}"
        ) from error
    except duckdb.Error as error:
        raise ConfigurationError(f"Cannot read {source}: {error}") from error


def refuse_same_but_for_case(where: str, names: Sequence[str]) -> None:
    """DuckDB takes ``a`` and ``A`` for one column and would give one's values for both; raises BadInputError."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise BadInputError(where, f"the columns {other!r} and {name!r}", "names that differ in more than case")


def scan_sql(view: ViewDef, *, numbered: bool = False) -> str:
    """``read_parquet`` over a view's source: a file, a glob, or a folder of Parquet files (Hive partitions allowed).

    ``numbered`` adds the column ``file_row_number``, which a source must not have then.
    """
    source = view.source
    if source.kind != "parquet":
        raise UnsupportedSourceError(
            f"Feature view {view.name!r} reads from {source.kind} {source.path!r}; the ASOF store reads Parquet files."
        )
    path, hive = source.path, "false"
    if "://" not in path:
        local = Path(path)
        if local.is_dir():
            hive = "true" if _partitioned(local) else "false"
            path = f"{path.rstrip('/')}/**/*.parquet"
        elif not any(mark in path for mark in "*?[") and not local.is_file():
            raise ConfigurationError(
                f"Feature view {view.name!r}: no such file {path}; build it, or correct the path of its source."
            )
    if hive == "false" and any(mark in path for mark in "*?[") and "=" in path:
        hive = "true"
    # said outright: DuckDB takes a=b anywhere in a path for a partition that hides the file's own column a, and
    # would read the partition 007 as the number 7
    partitions = f"hive_partitioning = {hive}" + (", hive_types_autocast = false" if hive == "true" else "")
    numbers = ", file_row_number = true" if numbered else ""
    return f"read_parquet({literal(path)}, union_by_name = true, {partitions}{numbers})"


def source_state(view: ViewDef) -> tuple[tuple[str, int, int, int], ...]:
    """Path, inode, size and time of change (ns) of each local file of a source; nothing for one that is elsewhere."""
    path = view.source.path
    if "://" in path:
        return ()
    local = Path(path)
    if local.is_dir():
        files = [str(file) for file in local.rglob("*.parquet")]
    else:
        files = [path] if local.is_file() else glob.glob(path, recursive=True)
    states = ((file, os.stat(file)) for file in sorted(files))
    return tuple((file, state.st_ino, state.st_size, state.st_mtime_ns) for file, state in states)


def _partitioned(folder: Path) -> bool:
    """Does every Parquet file lie in the same Hive partitions below the folder?"""
    keys = {
        tuple(part.split("=", 1)[0] for part in file.relative_to(folder).parts[:-1] if "=" in part)
        for file in folder.rglob("*.parquet")
    }
    return len(keys) == 1 and keys != {()}


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
    return (
        f"CASE WHEN abs({seconds}) BETWEEN {_MAX_SECONDS + 1} AND 1e308 "
        f"THEN error(concat({expression}, ' is no number of seconds since 1970')) "
        f"WHEN isfinite({seconds}) THEN to_timestamp({seconds}) END"
    )


def declared_sql(expression: str, duck_type: str, dtype: str) -> str:
    """A source column in its declared dtype, as Feast's online path would hold it.

    Whole numbers from a float column: NaN is null, fractions are cut toward zero. Floats keep NaN. What Feast refuses
    (a text with a fraction as a whole number) is an error here too. Sets are sorted, each value once.
    """
    kind = duck_type.upper()
    if dtype == "UNIX_TIMESTAMP":
        return timestamp_sql(expression, kind)
    inner = dtypes.element(dtype)
    if inner is not None and kind.endswith("[]"):
        items = expression
        if kind != dtypes.duckdb_type(dtype):
            items = f"list_transform({expression}, lambda x: {declared_sql('x', kind[:-2], inner)})"
        return f"list_sort(list_distinct({items}))" if dtype.endswith("_SET") else items
    if kind in ("DOUBLE", "FLOAT"):
        if dtype in dtypes.INTEGERS:
            return f"CASE WHEN isfinite({expression}) THEN trunc({expression}) END::{dtypes.duckdb_type(dtype)}"
        if dtype == "BOOL":
            return f"CASE WHEN NOT isnan({expression}) THEN {expression} <> 0 END"
    if dtype == "FLOAT" and kind == "DOUBLE":  # beyond float32 protobuf holds infinity, DuckDB refuses
        return (
            f"CASE WHEN abs({expression}) > 3.4028235677973366e38 THEN sign({expression}) * 'inf'::FLOAT "
            f"ELSE {expression} END::FLOAT"
        )
    if dtype in dtypes.INTEGERS and kind == "VARCHAR":  # DuckDB would round '12.5'
        return (
            f"CASE WHEN regexp_full_match(trim({expression}), '[+-]?[0-9]+') THEN {expression}::"
            f"{dtypes.duckdb_type(dtype)} WHEN {expression} IS NOT NULL "
            f"THEN error(concat({expression}, ' is no whole number')) END"
        )
    if dtype == "STRING" and kind == "BOOLEAN":  # Feast writes str(value)
        return f"CASE WHEN {expression} THEN 'True' WHEN NOT {expression} THEN 'False' END"
    if dtype == "STRING" and kind == "BLOB":
        return f"decode({expression})"
    if dtype == "ZONED_TIMESTAMP" and kind != "VARCHAR":
        moment = timestamp_sql(expression, kind)
        return f"strftime({moment} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S+00:00')"
    if dtype in dtypes.INTEGERS and kind.startswith("DECIMAL"):
        return f"trunc({expression})::{dtypes.duckdb_type(dtype)}"
    if dtype == "BYTES" and kind == "VARCHAR":
        return f"encode({expression})"
    if dtypes.is_json(dtype):
        text = expression if kind == "VARCHAR" else f"to_json({expression})::VARCHAR"
        if kind == "BLOB":
            text = f"to_json(base64({expression}))::VARCHAR"
        return f"{_JSON}({text})"
    return f"({expression})::{dtypes.duckdb_type(dtype)}"


def source_sql(
    view: ViewDef,
    features: Sequence[str] | None = None,
    *,
    row_ids: bool = False,
    columns: Mapping[str, str] | None = None,
) -> str:
    """The normalized relation of a view: join keys and features by Feast name, ``__event_ts``, ``__created_ts``.

    ``row_ids`` adds ``__id``, a number that a row has in every scan of unchanged files. Only these columns are read.
    ``features`` None means all of the view's; ``columns`` is what ``source_columns`` says, if that is known already.
    Raises ConfigurationError for a missing column (with the nearest one), UnsupportedSourceError for a source that is
    no Parquet.
    """
    columns = source_columns(view) if columns is None else columns
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
    if not row_ids:
        return f"SELECT {', '.join(selected)} FROM {scan_sql(view)}"
    if {"file_row_number", "file_index"} & {name.lower() for name in columns}:  # DuckDB's own names are taken
        return f"SELECT {', '.join(selected)}, row_number() OVER () AS {ROW_ID} FROM {scan_sql(view)}"
    # of a single file, the bare number: DuckDB knows the row groups where it lies, and reads no others
    number = "file_row_number" if Path(source.path).is_file() else "(file_index::BIGINT << 40) | file_row_number"
    selected.append(f"{number} AS {ROW_ID}")
    return f"SELECT {', '.join(selected)} FROM {scan_sql(view, numbered=True)}"
