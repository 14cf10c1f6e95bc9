"""The statements of a point-in-time join: DuckDB's ASOF join on keys and times, the TTL, ties, then the values.

They are written in the order in which it is to be done, each hash table on the right, the source streaming past it on
the left; ``as_written`` keeps DuckDB to that. Its own order would rest on guesses: it takes an Arrow table for one row,
would build the table of the source instead, and would keep a copy of the source between two scans.
Several statements, because what a statement's ASOF join holds is not given back before its end: hash joins in the same
one take memory for scarce, and put the whole source aside, in parts, before they look at it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import duckdb

from skewguard.definitions import FieldDef, Projection, ViewDef
from skewguard.offline.sources import source_columns, source_sql
from skewguard.offline.untied import best_sql, ranked_fields
from skewguard.sql import CREATED_TS, EVENT_TS, ROW_ID, moment, quote
from skewguard.ttl import inside_sql, oldest_inside

ROW, AT, ENTITY, FOUND = "__row", "__at", "__entity_rows", "__found"
_AVAILABLE = "__available"


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
    with_created_timestamps: bool = False
    between: tuple[datetime, datetime] | None = None


@contextmanager
def as_written(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Joins are done in the order, and with the hash tables on the side, that statements have them."""
    con.execute("SET disabled_optimizers = 'join_order,build_side_probe_side,common_subplan'")
    try:
        yield
    finally:
        con.execute("RESET disabled_optimizers")


def read_columns(projections: Sequence[Projection], timestamp_column: str) -> list[str]:
    """The entity-row columns that a join reads, each once."""
    return list(dict.fromkeys([*(c for p in projections for _, c in p.keys), timestamp_column]))


def event_column(projection: Projection) -> str:
    """The output column of a projection's event timestamps, where they are asked for."""
    return f"__event_ts__{projection.name}"


def created_column(projection: Projection) -> str:
    """The output column of the created timestamps of a projection's rows, where they are asked for."""
    return f"__created_ts__{projection.name}"


@dataclass(frozen=True)
class Statements:
    """A point-in-time join: ``tables`` (name, query) are made first, in order; ``query`` gives the rows.

    The query has one row of features per row of the relation ``__entity_rows`` (numbered by ``__row``), in order.
    """

    tables: tuple[tuple[str, str], ...]
    query: str

    def script(self) -> str:
        """All of it as one text."""
        return "".join(f"{created(name, query)};\n" for name, query in self.tables) + self.query


def created(name: str, query: str) -> str:
    """The statement that makes a table of a query, for as long as the connection lives."""
    return f"CREATE TEMP TABLE {name} AS {query}"


def training_sql(entity_columns: Sequence[str], projections: Sequence[Projection], options: JoinOptions) -> Statements:
    """The join of ``entity_columns``, of which it reads the join keys and the time only, and the projections.

    One ASOF join after another finds the rows of all projections, by number. Then, for each, the ties among these rows
    are settled. Then the features of the rows that count are read, for all projections in one go.
    """
    read = [c for c in entity_columns if c in read_columns(projections, options.timestamp_column)]
    names = {column: f"k{index}" for index, column in enumerate(read)}
    parts = [_Part.of(f"v{index}", projection, names, options) for index, projection in enumerate(projections)]
    ctes = [
        f"e AS NOT MATERIALIZED (SELECT {ROW}, {', '.join(f'{quote(c)} AS {name}' for c, name in names.items())}, "
        f"({quote(options.timestamp_column)})::TIMESTAMPTZ AS {AT} FROM {ENTITY})",
    ]
    found, fetched = "e", FOUND
    for part in parts:
        ctes += part.source_ctes()
        found = f"(SELECT {part.found()} FROM {part.join(found)})"
        fetched = part.fetch(fetched, options)
    outputs = [column for part in parts for column in part.outputs(options)]
    return Statements(
        tables=((FOUND, f"WITH {', '.join(ctes)} SELECT * FROM {found}"), *(part.best() for part in parts)),
        query=f"SELECT {', '.join([ROW, *outputs])} FROM {fetched} ORDER BY {ROW}",
    )


@dataclass(frozen=True)
class _Part:
    """One projection's share of the statement; its relations and columns have names that begin with ``prefix``."""

    prefix: str
    projection: Projection
    keys: tuple[tuple[str, str], ...]  # (quoted key of the view, column of e)
    thin: str
    wide: str
    as_known: bool
    winners: str

    @classmethod
    def of(cls, prefix: str, projection: Projection, names: dict[str, str], options: JoinOptions) -> _Part:
        view = projection.view
        columns = source_columns(view)
        as_known = options.filter_by_created_timestamp and view.source.created_timestamp_column is not None
        keys = tuple((quote(key.name), names[column]) for key, column in projection.keys)
        known = [*(key for key, _ in keys), EVENT_TS, *([CREATED_TS] if as_known else [])]
        visible = _visible(view, options.between)
        conditions = " AND ".join([*(f"{column} IS NOT NULL" for column in known), *visible])
        ranked = ranked_fields(view, columns)

        def source(features: Sequence[FieldDef]) -> str:
            return source_sql(view, [f.name for f in features], row_ids=True, columns=columns)

        thin = f"SELECT * FROM ({source([])}) WHERE {conditions}"
        by = [*keys, (EVENT_TS, f"{prefix}event"), *([(CREATED_TS, f"{prefix}created")] if as_known else [])]
        return cls(
            prefix=prefix,
            projection=projection,
            keys=keys,
            thin=thin,
            wide=f"SELECT * FROM ({source(projection.features)}) WHERE {' AND '.join(visible) or 'true'}",
            as_known=as_known,
            winners=best_sql((thin, source(ranked)), by, (FOUND, f"{prefix}id"), ranked),
        )

    def source_ctes(self) -> list[str]:
        """What the ASOF join looks into: rows that any entity row could see.

        Rows of an unknown key or time match nothing, and DuckDB's ASOF join is not to be asked; rows of keys that no
        entity row has would be sorted for nothing.
        """
        columns = ", ".join(k for k, _ in self.keys)
        thin = f"{self.prefix}_s AS NOT MATERIALIZED ({self.thin})"
        asked = ""
        if self.keys:
            on = " AND ".join(f"s.{key} = k.{column}" for key, column in self.keys)
            asked = f" SEMI JOIN (SELECT DISTINCT {', '.join(column for _, column in self.keys)} FROM e) k ON {on}"
        seen = f"FROM {self.prefix}_s s{asked}"
        if not self.as_known:
            return [thin, f"{self.prefix} AS NOT MATERIALIZED (SELECT s.* {seen})"]
        return [thin, f"{self.prefix} AS NOT MATERIALIZED ({_as_known_sql(columns, seen)})"]

    def join(self, found: str) -> str:
        """The entity rows ``e`` beside the source rows ``s`` that their times see, the TTL apart."""
        on = "".join(f"e.{column} = s.{key} AND " for key, column in self.keys)
        if not self.as_known:
            return f"{found} e ASOF LEFT JOIN {self.prefix} s ON {on}e.{AT} >= s.{EVENT_TS}"
        asked = f"SELECT e.*, s.{ROW_ID} AS {self.prefix}known FROM {found} e ASOF LEFT JOIN {self.prefix} s"
        return (
            f"{self.prefix}_s s RIGHT JOIN ({asked} ON {on}e.{AT} >= s.{_AVAILABLE}) e "
            f"ON s.{ROW_ID} = e.{self.prefix}known"
        )

    def found(self) -> str:
        """The columns so far, the number and the times of the row that was found; null where it is past its TTL."""
        # DuckDB's ASOF operator pairs a null time with the newest row
        live = f"e.{AT} IS NOT NULL AND {inside_sql(f's.{EVENT_TS}', f'e.{AT}', self.projection.view.ttl)}"
        columns = {ROW_ID: "id", EVENT_TS: "event", **({CREATED_TS: "created"} if self.as_known else {})}
        return ", ".join(
            ["e.*", *(f"CASE WHEN {live} THEN s.{c} END AS {self.prefix}{name}" for c, name in columns.items())]
        )

    def best(self) -> tuple[str, str]:
        """Where a row that was found ties with others, the one that counts: a table and its query."""
        return f"__best_{self.prefix}", self.winners

    def fetch(self, found: str, options: JoinOptions) -> str:
        """The columns so far and the features of the row that counts."""
        columns = [f"w.{quote(f.name)} AS {self.prefix}f{index}" for index, f in enumerate(self.projection.features)]
        if options.with_created_timestamps:
            columns.append(f"w.{CREATED_TS} AS {self.prefix}made")
        names = ", ".join(columns)
        number = f"coalesce(r.best, e.{self.prefix}id) AS {self.prefix}best"
        counts = f"SELECT e.*, {number} FROM {found} e LEFT JOIN __best_{self.prefix} r ON e.{self.prefix}id = r.tied"
        return f"(SELECT e.*, {names} FROM ({self.wide}) w RIGHT JOIN ({counts}) e ON w.{ROW_ID} = e.{self.prefix}best)"

    def outputs(self, options: JoinOptions) -> list[str]:
        """The features under the names that they come out with."""
        columns = [
            f"{self.prefix}f{index} AS {quote(self.projection.output_name(f.name, options.full_feature_names))}"
            for index, f in enumerate(self.projection.features)
        ]
        if options.with_event_timestamps:
            columns.append(f"{self.prefix}event AS {quote(event_column(self.projection))}")
        if options.with_created_timestamps:
            columns.append(f"{self.prefix}made AS {quote(created_column(self.projection))}")
        return columns


def _visible(view: ViewDef, between: tuple[datetime, datetime] | None) -> list[str]:
    """Conditions on event timestamps outside of which no entity row sees a source row, or sees it as live."""
    if between is None:
        return []
    first, last = between
    oldest = oldest_inside(first, view.ttl)
    lower = [] if oldest is None else [f"{EVENT_TS} >= {moment(oldest)}"]
    return [*lower, f"{EVENT_TS} <= {moment(last)}"]


def _as_known_sql(keys: str, seen: str) -> str:
    """Only rows created by the as-of time count: ``event <= at AND created <= at``, two inequalities.

    Both hold from ``greatest(event, created)`` on, when the row becomes available. So the rows of an entity in the
    order of their availability, each with the number of the best (event, created) that was available by then, are what
    an ASOF join can be asked; no pair of an entity row and a source row is ever formed. Rows without a created
    timestamp do not count, as in Feast (``created <= as-of`` is null).
    """
    order = f"(epoch_us({EVENT_TS})::HUGEINT * 18446744073709551616 + epoch_us({CREATED_TS}))"
    available = f"greatest({EVENT_TS}, {CREATED_TS})"
    over = f"{f'PARTITION BY {keys} ' if keys else ''}ORDER BY {available}"
    return (
        f"SELECT {f'{keys}, ' if keys else ''}{available} AS {_AVAILABLE}, "
        f"arg_max({ROW_ID}, {order}) OVER ({over}) AS {ROW_ID} {seen}"
    )
