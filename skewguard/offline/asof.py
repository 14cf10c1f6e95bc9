"""Point-in-time retrieval: one SQL builder, DuckDB's ASOF join, the TTL as a filter after it.

The latest row at or before the as-of time decides alone: if it is past the TTL, so is every older one, and the
features are null. Ties of (entity, event timestamp) go to the latest created timestamp, then to the larger values, so
that the answer never depends on the order of a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
import pyarrow as pa

from skewguard import dtypes
from skewguard.definitions import FieldDef, Projection, ViewDef
from skewguard.dtypes import FLOATS
from skewguard.errors import BadInputError
from skewguard.offline.sources import connect, reading, refuse_same_but_for_case, source_columns, source_sql
from skewguard.sql import CREATED_TS, EVENT_TS, quote
from skewguard.ttl import inside_sql

ROW, AT = "__row", "__at"
_ENTITY = "__entity_rows"
_ORDER, _BEST, _AVAILABLE = "__order", "__best", "__available"


@dataclass(frozen=True)
class JoinOptions:
    """How a point-in-time join is done; see ``point_in_time``."""

    timestamp_column: str = "event_timestamp"
    full_feature_names: bool = False
    filter_by_created_timestamp: bool = False
    with_event_timestamps: bool = False


def _partition(view: ViewDef) -> str:
    return ", ".join([*(quote(key.name) for key in view.join_keys), EVENT_TS])


def _ranking(fields: Sequence[FieldDef]) -> str:
    """The order within ties: latest created first, unknown created last, then by value, nulls and NaN last."""
    return ", ".join([f"{CREATED_TS} DESC NULLS LAST", *(largest_first(f.name, f.dtype in FLOATS) for f in fields)])


def largest_first(name: str, floating: bool) -> str:
    """An ORDER BY term: larger values first, nulls last, NaN (which DuckDB holds for the largest) just before them."""
    column = quote(name)
    if not floating:
        return f"{column} DESC NULLS LAST"
    return f"CASE WHEN NOT isnan({column}) THEN {column} END DESC NULLS LAST, isnan({column}) DESC NULLS LAST"


def _ranked_fields(view: ViewDef) -> list[FieldDef]:
    """What ties are ranked by: all the view's features that its file has, whichever of them are asked for.

    So a tie is decided alike for every selection of features, and as materialization decides it.
    """
    columns = source_columns(view)
    return [f for f in view.features if view.source.column(f.name) in columns]


def untied_sql(view: ViewDef, names: Sequence[str], prefix: str) -> list[str]:
    """CTEs that end in ``<prefix>``: the source with one row per entity and event timestamp.

    Rows of an unknown key or time are left out: they match nothing, and DuckDB's ASOF join is not to be asked.
    Only tied rows are sorted; where there are none, the sort sees nothing.
    """
    partition = _partition(view)
    same = " AND ".join(f"s.{c} = d.{c}" for c in partition.split(", "))
    known = " AND ".join(f"{c} IS NOT NULL" for c in partition.split(", "))
    ranked = _ranked_fields(view)
    columns = ", ".join(f"s.{c}" for c in [*(quote(n) for n in _relation(view, names)), EVENT_TS, CREATED_TS])
    return [
        f"{prefix}_s AS MATERIALIZED (SELECT * FROM ({source_sql(view, names)}) WHERE {known})",
        f"{prefix}_d AS MATERIALIZED (SELECT {partition} FROM {prefix}_s GROUP BY {partition} HAVING count(*) > 1)",
        f"{prefix} AS (SELECT {columns} FROM {prefix}_s s ANTI JOIN {prefix}_d d ON {same} UNION ALL "
        f"SELECT {columns} FROM ({source_sql(view, [f.name for f in ranked])}) s SEMI JOIN {prefix}_d d ON {same} "
        f"QUALIFY row_number() OVER (PARTITION BY {partition} ORDER BY {_ranking(ranked)}) = 1)",
    ]


def _relation(view: ViewDef, names: Sequence[str]) -> list[str]:
    return [*(key.name for key in view.join_keys), *names]


def training_sql(entity_columns: Sequence[str], projections: Sequence[Projection], options: JoinOptions) -> str:
    """The statement: one row of features per row of the relation ``__entity_rows`` (numbered by ``__row``), in order.

    Of ``entity_columns`` it reads the join keys and the time only.
    """
    read = [c for c in entity_columns if c in _read_columns(projections, options.timestamp_column)]
    ctes = [
        f"e AS (SELECT {', '.join(quote(c) for c in (ROW, *read))}, "
        f"({quote(options.timestamp_column)})::TIMESTAMPTZ AS {AT} FROM {_ENTITY})",
    ]
    joins, outputs = [], [f"e.{ROW}"]
    for index, projection in enumerate(projections):
        names = [f.name for f in projection.features]
        prefix = f"v{index}"
        keys = " AND ".join(f"e.{quote(column)} = {prefix}.{quote(key.name)}" for key, column in projection.keys)
        if options.filter_by_created_timestamp and projection.view.source.created_timestamp_column:
            ctes += _as_known_sql(projection, names, prefix)
            joins.append(_as_known_join(projection, prefix))
        else:
            ctes += untied_sql(projection.view, names, prefix)
            on = f"{keys} AND " if keys else ""
            joins.append(f"ASOF LEFT JOIN {prefix} ON {on}e.{AT} >= {prefix}.{EVENT_TS}")
        # DuckDB's ASOF operator pairs a null time with the newest row
        live = f"e.{AT} IS NOT NULL AND {inside_sql(f'{prefix}.{EVENT_TS}', f'e.{AT}', projection.view.ttl)}"
        outputs += [
            f"CASE WHEN {live} THEN {prefix}.{quote(name)} END "
            f"AS {quote(projection.output_name(name, options.full_feature_names))}"
            for name in names
        ]
        if options.with_event_timestamps:
            outputs.append(f"CASE WHEN {live} THEN {prefix}.{EVENT_TS} END AS {quote(_event_column(projection))}")
    return f"WITH {', '.join(ctes)} SELECT {', '.join(outputs)} FROM e {' '.join(joins)} ORDER BY e.{ROW}"


def _event_column(projection: Projection) -> str:
    return f"__event_ts__{projection.name}"


def _read_columns(projections: Sequence[Projection], timestamp_column: str) -> list[str]:
    """The entity-row columns that a join reads, each once."""
    return list(dict.fromkeys([*(c for p in projections for _, c in p.keys), timestamp_column]))


def _as_known_sql(projection: Projection, names: Sequence[str], prefix: str) -> list[str]:
    """Only rows created by the as-of time count: ``event <= at AND created <= at``, two inequalities.

    Both hold from ``greatest(event, created)`` on, when the row becomes available. So the rows of an entity in the
    order of their availability, each with the best (event, created) that was available by then, are what an ASOF join
    can be asked; no pair of an entity row and a source row is ever formed. Rows without a created timestamp do not
    count, as in Feast (``created <= as-of`` is null).
    """
    view = projection.view
    key_names = [quote(key.name) for key in view.join_keys]
    partition = ", ".join([*key_names, EVENT_TS, CREATED_TS])
    same = " AND ".join(f"s.{c} = d.{c}" for c in partition.split(", "))
    known = " AND ".join(f"{c} IS NOT NULL" for c in partition.split(", "))
    ranked = _ranked_fields(view)
    columns = ", ".join(f"s.{c}" for c in [*key_names, *(quote(n) for n in names), EVENT_TS, CREATED_TS])
    order = f"(epoch_us({EVENT_TS})::HUGEINT * 18446744073709551616 + epoch_us({CREATED_TS}))"
    over = f"PARTITION BY {', '.join(key_names)} " if key_names else ""
    available = f"greatest({EVENT_TS}, {CREATED_TS})"
    return [
        f"{prefix}_s AS MATERIALIZED (SELECT * FROM ({source_sql(view, names)}) WHERE {known})",
        f"{prefix}_d AS MATERIALIZED (SELECT {partition} FROM {prefix}_s GROUP BY {partition} HAVING count(*) > 1)",
        f"{prefix}_u AS (SELECT {columns} FROM {prefix}_s s ANTI JOIN {prefix}_d d ON {same} UNION ALL "
        f"SELECT {columns} FROM ({source_sql(view, [f.name for f in ranked])}) s SEMI JOIN {prefix}_d d ON {same} "
        f"QUALIFY row_number() OVER (PARTITION BY {partition} ORDER BY {_ranking(ranked)}) = 1)",
        f"{prefix} AS (SELECT *, {order} AS {_ORDER} FROM {prefix}_u)",
        f"{prefix}_a AS (SELECT {', '.join([*key_names, f'{available} AS {_AVAILABLE}'])}, "
        f"max({order}) OVER ({over}ORDER BY {available}) AS {_BEST} FROM {prefix}_s)",
    ]


def _as_known_join(projection: Projection, prefix: str) -> str:
    """The best row that was available, then that row's values. Rows available at one moment share their best."""
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
) -> pa.Table:
    """Every entity row, in its order, followed by the features of each projection as of the row's time.

    ``entity_rows`` as ``normalise_entity_rows`` makes them. Features come in their declared Arrow types, under
    ``Projection.output_name``. ``filter_by_created_timestamp``: only rows created by the as-of time count.
    ``with_event_timestamps`` adds ``__event_ts__<projection>`` (timestamp[us, UTC]).
    Raises BadInputError for columns of one name, ConfigurationError for a source that cannot be read.
    """
    options = JoinOptions(timestamp_column, full_feature_names, filter_by_created_timestamp, with_event_timestamps)
    _check_names(entity_rows.column_names, projections, options)
    numbered = _numbered(entity_rows, projections, timestamp_column)
    sources = ", ".join(dict.fromkeys(p.view.source.path for p in projections))
    con.register(_ENTITY, numbered)
    try:
        with reading(sources):
            result = con.execute(training_sql(numbered.column_names, projections, options)).to_arrow_table()
    finally:
        con.unregister(_ENTITY)
    return _joined(entity_rows, result, projections, full_feature_names)


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
    return needed.append_column(ROW, pa.array(range(entity_rows.num_rows), pa.int64()))


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
) -> pa.Table:
    """The latest row of each entity by (event, created) timestamp, at or before ``as_of`` and at or after ``start``.

    Columns: join keys, features, ``__event_ts``, ``__created_ts``; ordered by join key. The TTL plays no part.
    Raises ConfigurationError for a source that cannot be read, UnknownNameError for a feature that is none.
    """
    names = [f.name for f in view.features] if features is None else list(features)
    ranked = _ranked_fields(view) if names else []
    wanted = list(dict.fromkeys([*names, *(f.name for f in ranked)]))
    columns = ", ".join([*(quote(n) for n in _relation(view, names)), EVENT_TS, CREATED_TS])
    keys = [quote(key.name) for key in view.join_keys]
    where = [f"{EVENT_TS} <= TIMESTAMPTZ '{as_of.isoformat()}'"]
    if start is not None:
        where.append(f"{EVENT_TS} >= TIMESTAMPTZ '{start.isoformat()}'")
    if created_before is not None and view.source.created_timestamp_column:  # without the column, as in Feast, no cut
        where.append(f"{CREATED_TS} <= TIMESTAMPTZ '{created_before.isoformat()}'")
    partition = f"PARTITION BY {', '.join(keys)} " if keys else ""
    newest = f"max({EVENT_TS}) OVER ({partition.strip()})"
    sql = (
        f"SELECT {columns} FROM (SELECT * FROM ({source_sql(view, wanted)}) WHERE {' AND '.join(where)} "
        f"QUALIFY {EVENT_TS} = {newest}) "
        f"QUALIFY row_number() OVER ({partition}ORDER BY {_ranking(ranked)}) = 1 ORDER BY {', '.join(keys) or '1'}"
    )
    with reading(view.source.path):
        table = con.execute(sql).to_arrow_table()
    for field in (*view.join_keys, *(view.feature(name) for name in names)):
        index = table.column_names.index(field.name)
        target = dtypes.arrow_type(field.dtype)
        if table.column(index).type != target:
            table = table.set_column(index, field.name, table.column(index).cast(target))
    return table
