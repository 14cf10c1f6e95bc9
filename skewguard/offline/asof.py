"""Point-in-time retrieval: one SQL builder, DuckDB's ASOF join, the TTL as a filter after it.

The latest row at or before the as-of time decides alone: if it is past the TTL, so is every older one, and the
features are null. The join itself sees keys, times and row numbers only; the feature values of the rows that it found
are fetched afterwards, so that nothing wide is sorted and nothing is read that no entity row needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.definitions import Projection, ViewDef
from skewguard.errors import BadInputError, ConfigurationError
from skewguard.offline.sources import (
    reading,
    refuse_same_but_for_case,
    source_columns,
    source_sql,
    source_state,
)
from skewguard.offline.statement import (
    AT,
    ENTITY,
    ROW,
    JoinOptions,
    Statements,
    as_written,
    created,
    created_column,
    event_column,
    read_columns,
    training_sql,
)
from skewguard.offline.untied import key_names, ranked_fields, ranking
from skewguard.offline.watched import Report, watched
from skewguard.sql import CREATED_TS, EVENT_TS, moment, quote


def point_in_time(
    con: duckdb.DuckDBPyConnection,
    entity_rows: pa.Table,
    projections: Sequence[Projection],
    *,
    timestamp_column: str = "event_timestamp",
    full_feature_names: bool = False,
    filter_by_created_timestamp: bool = False,
    with_event_timestamps: bool = False,
    with_created_timestamps: bool = False,
    progress: Report | None = None,
) -> pa.Table:
    """Every entity row, in its order, followed by the features of each projection as of the row's time.

    ``entity_rows`` as ``normalise_entity_rows`` makes them. Features come in their declared Arrow types, under
    ``Projection.output_name``. ``filter_by_created_timestamp``: only rows created by the as-of time count.
    ``with_event_timestamps`` adds ``__event_ts__<projection>`` (timestamp[us, UTC]), ``with_created_timestamps``
    ``__created_ts__<projection>``. ``progress(step, rows)`` is called with the rows done since the last call.
    Raises BadInputError for columns of one name, ConfigurationError for a source that cannot be read.
    """
    options = JoinOptions(
        timestamp_column,
        full_feature_names,
        filter_by_created_timestamp,
        with_event_timestamps,
        with_created_timestamps,
    )
    with _join(con, entity_rows, projections, options, progress) as join:
        result = join.to_arrow_table()
    return _joined(entity_rows, result, projections, full_feature_names)


def point_in_time_batches(
    con: duckdb.DuckDBPyConnection,
    entity_rows: pa.Table,
    projections: Sequence[Projection],
    options: JoinOptions,
    *,
    rows: int,
    progress: Report | None = None,
) -> Iterator[pa.Table]:
    """``point_in_time``, so many rows at a time."""
    done = 0
    with _join(con, entity_rows, projections, options, progress) as join:
        for batch in join.to_arrow_reader(rows):
            part = entity_rows.slice(done, batch.num_rows)
            done += batch.num_rows
            yield _joined(part, pa.Table.from_batches([batch]), projections, options.full_feature_names)


@contextmanager
def _join(
    con: duckdb.DuckDBPyConnection,
    entity_rows: pa.Table,
    projections: Sequence[Projection],
    options: JoinOptions,
    progress: Report | None,
) -> Iterator[duckdb.DuckDBPyRelation]:
    """The join, ready to be run; at its end, the sources must still be what they were."""
    views = {p.view.source.path: p.view for p in projections}
    before = {path: source_state(view) for path, view in views.items()}
    with (
        reading(", ".join(views)),
        _prepared(con, entity_rows, projections, options) as statements,
        watched(con, entity_rows.num_rows, len(statements.tables) + 1, progress) as next_step,
    ):
        for name, query in statements.tables:
            con.execute(created(name, query))
            next_step()
        yield con.sql(statements.query)
    for path, view in views.items():
        if source_state(view) != before[path]:  # the numbers of rows that were found are those of other rows now
            raise ConfigurationError(f"{path} changed while it was read; nothing came of this join, run it again.")


@contextmanager
def _prepared(
    con: duckdb.DuckDBPyConnection, entity_rows: pa.Table, projections: Sequence[Projection], options: JoinOptions
) -> Iterator[Statements]:
    """The statements, with the entity rows in place; their tables are gone afterwards."""
    _check_names(entity_rows.column_names, projections, options)
    numbered = _numbered(entity_rows, projections, options.timestamp_column)
    seen = replace(options, between=time_range(entity_rows.column(options.timestamp_column)))
    statements = training_sql(numbered.column_names, projections, seen)
    con.register(ENTITY, numbered)
    try:
        with as_written(con):
            yield statements
    finally:
        con.unregister(ENTITY)
        for name, _ in statements.tables:
            con.execute(f"DROP TABLE IF EXISTS {name}")


def _check_names(columns: Sequence[str], projections: Sequence[Projection], options: JoinOptions) -> None:
    """Refuse what would come out as two columns of one name, or as one column in DuckDB, which ignores case."""
    outputs = list(columns)
    for projection in projections:
        outputs += [projection.output_name(f.name, options.full_feature_names) for f in projection.features]
        if options.with_event_timestamps:
            outputs.append(event_column(projection))
        if options.with_created_timestamps:
            outputs.append(created_column(projection))
    for name in outputs:
        if outputs.count(name) > 1:
            raise BadInputError(f"column {name!r}", "it more than once", "each name once; ask for full_feature_names")
    refuse_same_but_for_case("entity_df", [ROW, AT, *read_columns(projections, options.timestamp_column)])


def _numbered(entity_rows: pa.Table, projections: Sequence[Projection], timestamp_column: str) -> pa.Table:
    """The columns that the join reads, and the row numbers; nothing else of the caller's goes through DuckDB."""
    needed = entity_rows.select(read_columns(projections, timestamp_column))
    return needed.append_column(ROW, pa.array(np.arange(entity_rows.num_rows)))


def time_range(moments: pa.ChunkedArray) -> tuple[datetime, datetime] | None:
    """The first and the last of a column of times; None where there are none."""
    ends = pc.min_max(moments).as_py()
    return None if ends["min"] is None else (ends["min"], ends["max"])


def _joined(
    entity_rows: pa.Table, result: pa.Table, projections: Sequence[Projection], full_feature_names: bool
) -> pa.Table:
    """The caller's own columns untouched, then the features in their declared Arrow types."""
    types = {
        p.output_name(f.name, full_feature_names): dtypes.arrow_type(f.dtype) for p in projections for f in p.features
    }
    for name in result.column_names[1:]:
        column = result.column(name)
        entity_rows = entity_rows.append_column(name, column.cast(types.get(name, column.type)))
    return entity_rows


def explain(
    con: duckdb.DuckDBPyConnection, entity_rows: pa.Table, projections: Sequence[Projection], options: JoinOptions
) -> str:
    """DuckDB's plans of what ``point_in_time`` would do, as text, step by step; no rows are read."""
    sources = ", ".join(dict.fromkeys(p.view.source.path for p in projections))
    plans = []
    with reading(sources), _prepared(con, entity_rows, projections, options) as statements:
        for name, query in statements.tables:
            plans.append(f"-- table {name}\n{_plan(con, query)}")
            con.execute(f"{created(name, query)} WITH NO DATA")
        plans.append(f"-- result\n{_plan(con, statements.query)}")
    return "\n".join(plans)


def _plan(con: duckdb.DuckDBPyConnection, query: str) -> str:
    return "\n".join(str(row[1]) for row in con.execute(f"EXPLAIN {query}").fetchall())


def latest_rows(
    con: duckdb.DuckDBPyConnection,
    view: ViewDef,
    as_of: datetime,
    *,
    start: datetime | None = None,
    features: Sequence[str] | None = None,
    created_before: datetime | None = None,
    changed_since: datetime | None = None,
) -> pa.Table:
    """The latest row of each entity by (event, created) timestamp, at or before ``as_of`` and at or after ``start``.

    ``changed_since``: among rows that happened or (where there is a created timestamp) were created after that.

    Columns: join keys, features, ``__event_ts``, ``__created_ts``; ordered by join key. The TTL plays no part.
    Raises ConfigurationError for a source that cannot be read, UnknownNameError for a feature that is none.
    """
    conditions = _conditions(view, as_of, start, created_before, changed_since)
    with reading(view.source.path):
        table = con.execute(_latest_sql(view, conditions, features)).to_arrow_table()
    return declared(view, table)


def store_latest_rows(
    con: duckdb.DuckDBPyConnection, name: str, view: ViewDef, as_of: datetime, features: Sequence[str]
) -> None:
    """Make the result of ``latest_rows`` a table of ``con``, whose ``rowid`` follows its order; ``declared`` gives its
    parts the declared types. What does not fit into memory goes to DuckDB's temporary files.
    """
    with reading(view.source.path):
        con.execute(f"CREATE TABLE {quote(name)} AS {_latest_sql(view, _conditions(view, as_of), features)}")


def declared(view: ViewDef, table: pa.Table) -> pa.Table:
    """Rows of a source as DuckDB gives them, join keys and features in their declared Arrow types."""
    for field in (*view.join_keys, *view.features):
        if field.name in table.column_names:
            index = table.column_names.index(field.name)
            target = dtypes.arrow_type(field.dtype)
            if table.column(index).type != target:
                table = table.set_column(index, field.name, table.column(index).cast(target))
    return table


def _conditions(
    view: ViewDef,
    as_of: datetime,
    start: datetime | None = None,
    created_before: datetime | None = None,
    changed_since: datetime | None = None,
) -> str:
    where = [f"{EVENT_TS} <= {moment(as_of)}"]
    if start is not None:
        where.append(f"{EVENT_TS} >= {moment(start)}")
    if changed_since is not None:
        late = f" OR {CREATED_TS} > {moment(changed_since)}" if view.source.created_timestamp_column else ""
        where.append(f"({EVENT_TS} > {moment(changed_since)}{late})")
    if created_before is not None and view.source.created_timestamp_column:  # without the column, as in Feast, no cut
        where.append(f"{CREATED_TS} <= {moment(created_before)}")
    return " AND ".join(where)


def _latest_sql(view: ViewDef, conditions: str, features: Sequence[str] | None) -> str:
    names = [f.name for f in view.features] if features is None else [view.feature(name).name for name in features]
    found = source_columns(view)
    ranked = ranked_fields(view, found) if names else []
    wanted = list(dict.fromkeys([*names, *(f.name for f in ranked)]))
    keys = key_names(view)
    columns = ", ".join([*keys, *(quote(n) for n in names), EVENT_TS, CREATED_TS])
    by = ", ".join(keys)
    newest = (
        f"SELECT {', '.join([*keys, f'max({EVENT_TS}) AS {EVENT_TS}'])} FROM ({source_sql(view, [], columns=found)})"
    )
    same = " AND ".join([*(f"s.{k} IS NOT DISTINCT FROM n.{k}" for k in keys), f"s.{EVENT_TS} = n.{EVENT_TS}"])
    return (
        f"WITH n AS MATERIALIZED ({newest} WHERE {conditions}{f' GROUP BY {by}' if keys else ''}) "
        f"SELECT {columns} FROM (SELECT * FROM ({source_sql(view, wanted, columns=found)}) WHERE {conditions}) s "
        f"SEMI JOIN n ON {same} "
        f"QUALIFY row_number() OVER ({f'PARTITION BY {by} ' if keys else ''}ORDER BY {ranking(ranked)}) = 1 "
        f"ORDER BY {by or '1'}"
    )
