"""Faults of the offline source, in a scratch copy: new, late, corrected, deleted and unreadable rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from skewguard.definitions import ViewDef
from skewguard.faults.ground import Fit, Ground, ViewGround
from skewguard.faults.writing import altered_sql
from skewguard.offline.sources import scan_sql, source_columns, source_sql, timestamp_sql
from skewguard.sql import CREATED_TS, EVENT_TS, ROW_ID, moment, quote

_NUMBER = "file_row_number"


def not_materialized(side: ViewGround, ground: Ground) -> Iterator[Fit]:
    """A newer row with other values, past the watermark."""
    yield from _newer(side, ground, side.as_of, "")


def late_arrival(side: ViewGround, ground: Ground) -> Iterator[Fit]:
    """A newer row with other values, before the watermark, but created after it."""
    if created_tells(side):
        yield from _newer(side, ground, side.watermark, f"{EVENT_TS} < {moment(side.watermark)} AND ")


def blocked_correction(side: ViewGround, ground: Ground) -> Iterator[Fit]:
    """Another value of one feature, under the event timestamp that the row has, created later."""
    columns = _columns(side)
    if side.view.source.created_timestamp_column is None:
        return
    for name, (_, there) in _other_values(side, columns).items():
        rows = _live_where(side, ground, there)

        def write(ground: Ground, chosen: pa.Table, name: str = name) -> tuple[str, ...]:
            other = {name: _other_values(side, columns)[name][0]}
            _add_rows(side, ground, chosen, {**other, **_created(side, columns)})
            return ()

        yield Fit(side, name, rows, write, (rows.num_rows,))


def leakage(side: ViewGround, ground: Ground) -> Iterator[Fit]:
    """The same, seen from training: rows as of before the correction would get the corrected value."""
    if created_tells(side):
        yield from blocked_correction(side, ground)


def orphan_online(side: ViewGround, _ground: Ground) -> Iterator[Fit]:
    """Every row of an entity is deleted offline."""

    def write(ground: Ground, chosen: pa.Table) -> tuple[str, ...]:
        left = f"{_all_rows(side, ground)} ANTI JOIN ({_picked(side, ground, chosen, '')}) p ON {_SAME}"
        ground.copy_of().rewrite(side.view.name, ground.con, left)
        return ()

    if side.keys and _columns(side):
        yield Fit(side, None, side.live, write, (side.live.num_rows,))


def source_defect(side: ViewGround, _ground: Ground) -> Iterator[Fit]:
    """Copies of rows without an event timestamp."""

    def write(ground: Ground, chosen: pa.Table) -> tuple[str, ...]:
        _add_rows(side, ground, chosen, {side.view.source.column(side.view.source.timestamp_field): "NULL"})
        return ()

    if _columns(side):
        yield Fit(side, None, side.live, write, (side.live.num_rows,))


def created_tells(side: ViewGround) -> bool:
    """Do created timestamps tell what was known at the watermark? Not where rows that are rightly online are later."""
    created = side.live.column(CREATED_TS)
    after = pc.any(pc.greater(created, pa.scalar(side.watermark, created.type))).as_py()
    return side.view.source.created_timestamp_column is not None and not after


def _newer(side: ViewGround, ground: Ground, at: datetime, condition: str) -> Iterator[Fit]:
    columns = _columns(side)
    others = _other_values(side, columns)
    stamp = side.view.source.column(side.view.source.timestamp_field)
    when = _moment_sql(moment(at), columns.get(stamp, ""))
    if not others or when is None:
        return

    def write(ground: Ground, chosen: pa.Table) -> tuple[str, ...]:
        values = {name: other for name, (other, _) in _other_values(side, columns).items()}
        _add_rows(side, ground, chosen, {**values, stamp: when, **_created(side, columns)})
        return ()

    rows = _live_where(side, ground, condition + "(" + " OR ".join(there for _, there in others.values()) + ")")
    yield Fit(side, None, rows, write, (rows.num_rows,))


def _columns(side: ViewGround) -> dict[str, str]:
    """The source's columns; none where one of them has the name that DuckDB gives the number of a row."""
    columns = source_columns(side.view)
    return {} if _NUMBER in {name.lower() for name in columns} else columns


def _other_values(side: ViewGround, columns: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """By feature, its other value over the source's columns, and whether there is one over the live rows."""
    source = side.view.source
    fixed = {
        source.column(name) for name in (source.timestamp_field, source.created_timestamp_column, *side.keys) if name
    }
    others = {}
    for feature in side.features:
        column = source.column(feature.name)
        if column in fixed or column not in columns:
            continue
        found = altered_sql(quote(column), columns[column], feature.dtype)
        there = altered_sql(quote(feature.name), columns[column], feature.dtype)
        if found is not None and there is not None:
            others[feature.name] = (found[0], there[1])
    return others


def _created(side: ViewGround, columns: Mapping[str, str]) -> dict[str, str]:
    """The created timestamp of a row that is added: after the watermark, and after the row that it was made of."""
    if side.view.source.created_timestamp_column is None:
        return {}
    column = side.view.source.column(side.view.source.created_timestamp_column)
    before = timestamp_sql(quote(column), columns[column])
    later = f"greatest(coalesce({before} + INTERVAL 1 DAY, {moment(side.as_of)}), {moment(side.as_of)})"
    written = _moment_sql(later, columns[column])
    return {} if written is None else {column: written}


def _moment_sql(at: str, duck_type: str) -> str | None:
    """A TIMESTAMPTZ in the type of a column; None where it holds days only."""
    kind = duck_type.upper()
    if kind.startswith("TIMESTAMP WITH TIME ZONE"):
        return at
    if kind.startswith("TIMESTAMP"):
        return f"({at})::TIMESTAMP::{duck_type}"
    if kind == "VARCHAR":
        return f"strftime({at}, '%Y-%m-%dT%H:%M:%S.%f+00:00')"
    return None if kind in ("DATE", "") else f"epoch({at})::{duck_type}"


def _live_where(side: ViewGround, ground: Ground, condition: str) -> pa.Table:
    ground.con.register("__live", side.live)
    try:
        return ground.con.execute(f"SELECT * FROM __live WHERE {condition} ORDER BY ALL").to_arrow_table()
    finally:
        ground.con.unregister("__live")


_SAME = f"r.{_NUMBER} = p.{ROW_ID}"


def _now(side: ViewGround, ground: Ground) -> ViewDef:
    """The view over the file as it is now, which another fault may have written."""
    path = str(ground.copy_of().source(side.view.name))
    return replace(side.view, source=replace(side.view.source, path=path))


def _all_rows(side: ViewGround, ground: Ground, replaced: str = "") -> str:
    return f"SELECT r.* EXCLUDE ({_NUMBER}){replaced} FROM {scan_sql(_now(side, ground), numbered=True)} r"


def _picked(side: ViewGround, ground: Ground, chosen: pa.Table, same_row: str) -> str:
    """The numbers of the source rows of the chosen entities, as SQL."""
    ground.con.register("__chosen", chosen)
    on = " AND ".join(f"s.{quote(k)} = c.{quote(k)}" for k in side.keys) or "true"
    numbered = source_sql(_now(side, ground), [], row_ids=True)
    return f"SELECT s.{ROW_ID} FROM ({numbered}) s JOIN __chosen c ON {on}{same_row}"


def _add_rows(side: ViewGround, ground: Ground, chosen: pa.Table, values: Mapping[str, str]) -> None:
    """Copies of the chosen rows, with other values: SQL by column (or feature) over the source's columns."""
    same = f" AND s.{EVENT_TS} = c.{EVENT_TS} AND s.{CREATED_TS} IS NOT DISTINCT FROM c.{CREATED_TS}"
    one = ", ".join(f"s.{quote(k)}" for k in side.keys) or "1"
    ids = _picked(side, ground, chosen, same)
    ids += f" QUALIFY row_number() OVER (PARTITION BY {one} ORDER BY s.{ROW_ID}) = 1"
    source = side.view.source
    columns = {source.column(name): sql for name, sql in values.items()}
    replaced = ", ".join(f"{sql} AS {quote(name)}" for name, sql in columns.items())
    added = f"{_all_rows(side, ground, f' REPLACE ({replaced})')} SEMI JOIN ({ids}) p ON {_SAME}"
    ground.copy_of().rewrite(side.view.name, ground.con, f"{_all_rows(side, ground)} UNION ALL BY NAME {added}")
