"""Point-in-time retrieval: one SQL builder, DuckDB's ASOF join, the TTL as a filter after it.

The latest row at or before the as-of time decides alone: if it is past the TTL, so is every older one, and the
features are null. The join itself sees keys, times and row numbers only; the feature values of the rows that it found
are fetched afterwards, so that nothing wide is sorted and nothing is read that no entity row needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.definitions import Projection, ViewDef
from skewguard.errors import BadInputError
from skewguard.offline.sources import connect, reading, refuse_same_but_for_case, source_sql
from skewguard.offline.untied import key_names, moment, ranked_fields, ranking, untied_sql
from skewguard.offline.watched import Report, watched
from skewguard.sql import CREATED_TS, EVENT_TS, ROW_ID, quote
from skewguard.ttl import inside_sql, oldest_inside

ROW, AT = "__row", "__at"
_ENTITY = "__entity_rows"
_ORDER, _BEST, _AVAILABLE = "__order", "__best", "__available"


@dataclass(frozen=True)
class JoinOptions:
    """How a point-in-time join is done; see ``point_in_time``.

    ``between``: the first and the last as-of time of the entity rows. Source rows that no time in between can see are
    not read.
    """

    timestamp_column: str = "event_timestamp"
    full_feature_names: bool = False
    filter_by_created_timestamp: bool = False
    with_event_timestamps: bool = False
    between: tuple[datetime, datetime] | None = None


def training_sql(entity_columns: Sequence[str], projections: Sequence[Projection], options: JoinOptions) -> str:
    """The statement: one row of features per row of the relation ``__entity_rows`` (numbered by ``__row``), in order.

    Of ``entity_columns`` it reads the join keys and the time only.
    """
    read = [c for c in entity_columns if c in _read_columns(projections, options.timestamp_column)]
    ctes = [
        f"e AS (SELECT {', '.join(quote(c) for c in (ROW, *read))}, "
        f"({quote(options.timestamp_column)})::TIMESTAMPTZ AS {AT} FROM {_ENTITY})",
    ]
    joins, found = [], [f"e.{ROW}"]
    fetches, outputs = [], [f"m.{ROW}"]
    for index, projection in enumerate(projections):
        names = [f.name for f in projection.features]
        prefix = f"v{index}"
        where = _visible(projection.view, options.between)
        if options.filter_by_created_timestamp and projection.view.source.created_timestamp_column:
            ctes += _as_known_sql(projection, prefix, where)
            joins.append(_as_known_join(projection, prefix))
        else:
            ctes += untied_sql(projection.view, prefix, where)
            keys = " AND ".join(f"e.{quote(column)} = {prefix}.{quote(key.name)}" for key, column in projection.keys)
            on = f"{keys} AND " if keys else ""
            joins.append(f"ASOF LEFT JOIN {prefix} ON {on}e.{AT} >= {prefix}.{EVENT_TS}")
        # DuckDB's ASOF operator pairs a null time with the newest row
        live = f"e.{AT} IS NOT NULL AND {inside_sql(f'{prefix}.{EVENT_TS}', f'e.{AT}', projection.view.ttl)}"
        found += [f"CASE WHEN {live} THEN {prefix}.{c} END AS {prefix}{c}" for c in (ROW_ID, EVENT_TS)]
        wide = source_sql(projection.view, names, row_ids=True)
        fetches.append(f"LEFT JOIN ({wide}) {prefix}w ON m.{prefix}{ROW_ID} = {prefix}w.{ROW_ID}")
        outputs += [
            f"{prefix}w.{quote(name)} AS {quote(projection.output_name(name, options.full_feature_names))}"
            for name in names
        ]
        if options.with_event_timestamps:
            outputs.append(f"m.{prefix}{EVENT_TS} AS {quote(_event_column(projection))}")
    ctes.append(f"m AS MATERIALIZED (SELECT {', '.join(found)} FROM e {' '.join(joins)})")
    return f"WITH {', '.join(ctes)} SELECT {', '.join(outputs)} FROM m {' '.join(fetches)} ORDER BY m.{ROW}"


def _visible(view: ViewDef, between: tuple[datetime, datetime] | None) -> list[str]:
    """Conditions on event timestamps outside of which no entity row sees a source row, or sees it as live."""
    if between is None:
        return []
    first, last = between
    oldest = oldest_inside(first, view.ttl)
    lower = [] if oldest is None else [f"{EVENT_TS} >= {moment(oldest)}"]
    return [*lower, f"{EVENT_TS} <= {moment(last)}"]


def _event_column(projection: Projection) -> str:
    return f"__event_ts__{projection.name}"


def _read_columns(projections: Sequence[Projection], timestamp_column: str) -> list[str]:
    """The entity-row columns that a join reads, each once."""
    return list(dict.fromkeys([*(c for p in projections for _, c in p.keys), timestamp_column]))


def _as_known_sql(projection: Projection, prefix: str, where: Sequence[str]) -> list[str]:
    """Only rows created by the as-of time count: ``event <= at AND created <= at``, two inequalities.

    Both hold from ``greatest(event, created)`` on, when the row becomes available. So the rows of an entity in the
    order of their availability, each with the best (event, created) that was available by then, are what an ASOF join
    can be asked; no pair of an entity row and a source row is ever formed. Rows without a created timestamp do not
    count, as in Feast (``created <= as-of`` is null).
    """
    keys = key_names(projection.view)
    order = f"(epoch_us({EVENT_TS})::HUGEINT * 18446744073709551616 + epoch_us({CREATED_TS}))"
    over = f"PARTITION BY {', '.join(keys)} " if keys else ""
    available = f"greatest({EVENT_TS}, {CREATED_TS})"
    return [
        *untied_sql(projection.view, f"{prefix}_u", where, created=True),
        f"{prefix} AS (SELECT *, {order} AS {_ORDER} FROM {prefix}_u)",
        f"{prefix}_a AS (SELECT {', '.join([*keys, f'{available} AS {_AVAILABLE}'])}, "
        f"max({order}) OVER ({over}ORDER BY {available}) AS {_BEST} FROM {prefix}_u_s)",
    ]


def _as_known_join(projection: Projection, prefix: str) -> str:
    """The best row that was available, then that row itself. Rows available at one moment share their best."""
    pairs = [(quote(column), quote(key.name)) for key, column in projection.keys]
    at = "".join(f"e.{column} = {prefix}_a.{key} AND " for column, key in pairs)
    row = "".join(f"{prefix}_a.{key} = {prefix}.{key} AND " for _, key in pairs)
    return (
        f"ASOF LEFT JOIN {prefix}_a ON {at}e.{AT} >= {prefix}_a.{_AVAILABLE} "
        f"LEFT JOIN {prefix} ON {row}{prefix}_a.{_BEST} = {prefix}.{_ORDER}"
    )


def point_in_time(
    con: duckdb.DuckDBPyConnection,
    entity_rows: pa.Table,
    projections: Sequence[Projection],
    *,
    timestamp_column: str = "event_timestamp",
    full_feature_names: bool = False,
    filter_by_created_timestamp: bool = False,
    with_event_timestamps: bool = False,
    progress: Report | None = None,
) -> pa.Table:
    """Every entity row, in its order, followed by the features of each projection as of the row's time.

    ``entity_rows`` as ``normalise_entity_rows`` makes them. Features come in their declared Arrow types, under
    ``Projection.output_name``. ``filter_by_created_timestamp``: only rows created by the as-of time count.
    ``with_event_timestamps`` adds ``__event_ts__<projection>`` (timestamp[us, UTC]). ``progress(step, rows)`` is called
    with the rows done since the last call.
    Raises BadInputError for columns of one name, ConfigurationError for a source that cannot be read.
    """
    options = JoinOptions(timestamp_column, full_feature_names, filter_by_created_timestamp, with_event_timestamps)
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
    """The join, ready to be run."""
    _check_names(entity_rows.column_names, projections, options)
    numbered = _numbered(entity_rows, projections, options.timestamp_column)
    seen = replace(options, between=time_range(entity_rows.column(options.timestamp_column)))
    sources = ", ".join(dict.fromkeys(p.view.source.path for p in projections))
    con.register(_ENTITY, numbered)
    try:
        with reading(sources), watched(con, entity_rows.num_rows, progress):
            yield con.sql(training_sql(numbered.column_names, projections, seen))
    finally:
        con.unregister(_ENTITY)


def _check_names(columns: Sequence[str], projections: Sequence[Projection], options: JoinOptions) -> None:
    """Refuse what would come out as two columns of one name, or as one column in DuckDB, which ignores case."""
    outputs = list(columns)
    for projection in projections:
        outputs += [projection.output_name(f.name, options.full_feature_names) for f in projection.features]
        if options.with_event_timestamps:
            outputs.append(_event_column(projection))
    for name in outputs:
        if outputs.count(name) > 1:
            raise BadInputError(f"column {name!r}", "it more than once", "each name once; ask for full_feature_names")
    refuse_same_but_for_case("entity_df", [ROW, AT, *_read_columns(projections, options.timestamp_column)])


def _numbered(entity_rows: pa.Table, projections: Sequence[Projection], timestamp_column: str) -> pa.Table:
    """The columns that the join reads, and the row numbers; nothing else of the caller's goes through DuckDB."""
    needed = entity_rows.select(_read_columns(projections, timestamp_column))
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


def explain(entity_rows: pa.Table, projections: Sequence[Projection], options: JoinOptions) -> str:
    """DuckDB's plan of the join, as text."""
    numbered = _numbered(entity_rows, projections, options.timestamp_column)
    with connect() as con:
        con.register(_ENTITY, numbered)
        rows = con.execute(f"EXPLAIN {training_sql(numbered.column_names, projections, options)}").fetchall()
    return "\n".join(str(row[1]) for row in rows)


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
    names = [f.name for f in view.features] if features is None else list(features)
    ranked = ranked_fields(view) if names else []
    wanted = list(dict.fromkeys([*names, *(f.name for f in ranked)]))
    keys = key_names(view)
    columns = ", ".join([*keys, *(quote(n) for n in names), EVENT_TS, CREATED_TS])
    where = [f"{EVENT_TS} <= {moment(as_of)}"]
    if start is not None:
        where.append(f"{EVENT_TS} >= {moment(start)}")
    if changed_since is not None:
        late = f" OR {CREATED_TS} > {moment(changed_since)}" if view.source.created_timestamp_column else ""
        where.append(f"({EVENT_TS} > {moment(changed_since)}{late})")
    if created_before is not None and view.source.created_timestamp_column:  # without the column, as in Feast, no cut
        where.append(f"{CREATED_TS} <= {moment(created_before)}")
    partition = f"PARTITION BY {', '.join(keys)} " if keys else ""
    newest = f"max({EVENT_TS}) OVER ({partition.strip()})"
    sql = (
        f"WITH n AS MATERIALIZED (SELECT {ROW_ID} FROM (SELECT * FROM ({source_sql(view, [], row_ids=True)}) "
        f"WHERE {' AND '.join(where)} QUALIFY {EVENT_TS} = {newest})) "
        f"SELECT {columns} FROM ({source_sql(view, wanted, row_ids=True)}) SEMI JOIN n USING ({ROW_ID}) "
        f"QUALIFY row_number() OVER ({partition}ORDER BY {ranking(ranked)}) = 1 ORDER BY {', '.join(keys) or '1'}"
    )
    with reading(view.source.path):
        table = con.execute(sql).to_arrow_table()
    for field in (*view.join_keys, *(view.feature(name) for name in names)):
        index = table.column_names.index(field.name)
        target = dtypes.arrow_type(field.dtype)
        if table.column(index).type != target:
            table = table.set_column(index, field.name, table.column(index).cast(target))
    return table
