"""Faults of timestamps, online: rows that are too old, too new or past their TTL, and local time as UTC."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.faults.ground import Fit, Ground, ViewGround
from skewguard.faults.values import MINUTES
from skewguard.faults.writing import altered_sql, changed, write_view
from skewguard.offline.sources import source_sql
from skewguard.sql import CREATED_TS, EVENT_TS, moment, quote


def out_of_order_write(side: ViewGround, ground: Ground) -> Iterator[Fit]:
    """The row before the one that is due."""
    yield _whole(side, _previous(side, ground))


def expired_but_served(side: ViewGround, _ground: Ground) -> Iterator[Fit]:
    """Rows past their TTL, as Feast leaves them in the store."""
    if side.view.ttl is not None:
        yield _whole(side, side.silent)


def ahead_of_offline(side: ViewGround, ground: Ground) -> Iterator[Fit]:
    """Other values as of now, as a stream pushes them that is never written to the source."""
    features = {f.name: altered_sql(quote(f.name), dtypes.duckdb_type(f.dtype), f.dtype) for f in side.features}
    others = {name: found for name, found in features.items() if found is not None}
    if not others:
        return
    replaced = ", ".join(f"{other} AS {quote(name)}" for name, (other, _) in others.items())
    there = " OR ".join(there for _, there in others.values())
    at = moment(side.as_of)
    ground.con.register("__live", side.live)
    try:
        rows = ground.con.execute(
            f"SELECT * REPLACE ({replaced}, {at} AS {EVENT_TS}) FROM __live "
            f"WHERE ({there}) AND {EVENT_TS} < {at} ORDER BY ALL"
        ).to_arrow_table()
    finally:
        ground.con.unregister("__live")
    yield _whole(side, rows.cast(side.live.schema))


def timezone_shift(side: ViewGround, ground: Ground) -> Iterator[Fit]:
    """Nine hours more in a feature that is a moment: the local time of Tokyo written as UTC."""
    for feature in side.features:
        if feature.dtype == "UNIX_TIMESTAMP":
            column = side.column(feature)
            later = pc.add(column, pa.scalar(MINUTES * 60_000_000, pa.duration("us")))
            yield from changed(side, ground, feature, later, where=column.is_valid())


def _whole(side: ViewGround, rows: pa.Table) -> Fit:
    return Fit(side, None, rows, lambda ground, chosen: write_view(side, ground, chosen), (rows.num_rows,))


def _previous(side: ViewGround, ground: Ground) -> pa.Table:
    """For live entities: the latest offline row before the one that is due, where its values differ."""
    on = " AND ".join(f"s.{quote(k)} = l.{quote(k)}" for k in side.keys) or "true"
    differs = " OR ".join(f"s.{quote(f.name)} IS DISTINCT FROM l.{quote(f.name)}" for f in side.features) or "false"
    partition = ", ".join(f"s.{quote(k)}" for k in side.keys) or "1"
    newest = f"s.{EVENT_TS} DESC, s.{CREATED_TS} DESC"
    source = source_sql(side.view, [f.name for f in side.features])
    known = f"coalesce(l.{CREATED_TS} <= {moment(side.watermark)}, true)"
    ground.con.register("__live", side.live)
    try:
        return ground.con.execute(
            f"SELECT * EXCLUDE (__differs) FROM (SELECT s.*, ({differs}) AS __differs FROM ({source}) s JOIN __live l "
            f"ON {on} AND s.{EVENT_TS} < l.{EVENT_TS} AND {known} "
            f"QUALIFY row_number() OVER (PARTITION BY {partition} ORDER BY {newest}) = 1) "
            "WHERE __differs ORDER BY ALL"
        ).to_arrow_table()
    finally:
        ground.con.unregister("__live")
