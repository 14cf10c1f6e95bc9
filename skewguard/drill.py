"""Drills: faults put into the online store on purpose, past every protection, to prove that the guard sees them.

A fault picks its view and feature from the service's definitions, and its entities by hash, each fault from its own
band, so that several faults in one store hit different entities and every run hits the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes, running
from skewguard.causes.rows import live_sql
from skewguard.checks.comparison import ViewSides
from skewguard.digest import row_hashes
from skewguard.errors import BadInputError, UnknownNameError
from skewguard.findings import Cause
from skewguard.offline.sources import source_sql
from skewguard.online.codec import encode_column
from skewguard.online.key_columns import entity_keys
from skewguard.online.keys import feature_field, timestamp_field
from skewguard.online.timestamps import encode_timestamp
from skewguard.sql import CREATED_TS, EVENT_TS, ROW_STATE, quote
from skewguard.workspace import utc

if TYPE_CHECKING:
    import duckdb

    from skewguard.workspace import Workspace

SCALE = 100


@dataclass(frozen=True)
class Injection:
    """A fault that was put in: where, into how many rows, and the cause that the guard must name."""

    fault: str
    view: str
    feature: str | None
    rows: int
    expected: Cause

    def line(self) -> str:
        """The injection in words."""
        where = self.view if self.feature is None else f"{self.view}.{self.feature}"
        return f"{self.fault}: {self.rows:,} rows of {where}; must be seen as {self.expected.value}"

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "expected": self.expected.value}


@dataclass(frozen=True)
class _Ground:
    """What a fault works on."""

    con: duckdb.DuckDBPyConnection
    client: Any
    project: str
    as_of: datetime
    share: float
    slot: int

    def chosen(self, table: pa.Table, keys: Sequence[str]) -> pa.Table:
        """The rows whose entity falls into this fault's band; at least three of them where there are as many."""
        if not keys or table.num_rows == 0:
            return table
        width = 2**64 // len(FAULTS)
        offset: npt.NDArray[np.uint64] = row_hashes(table, keys) - np.uint64(self.slot * width)
        inside = offset < np.uint64(min(width - 1, int(width * min(1.0, self.share * len(FAULTS)))))
        inside[np.argsort(offset, kind="stable")[:3]] = True
        return table.filter(pa.array(inside))


def inject(
    workspace: Workspace, service: str, fault: str, *, share: float = 0.01, as_of: datetime | str | None = None
) -> Injection:
    """Put one fault into the online store. Raises UnknownNameError, BadInputError where nothing fits the fault."""
    return inject_all(workspace, service, {fault: share}, as_of=as_of)[0]


def inject_all(
    workspace: Workspace, service: str, shares: Mapping[str, float], *, as_of: datetime | str | None = None
) -> list[Injection]:
    """Put several faults (name -> share of entities) into the online store as it is now, each into other entities."""
    for fault in shares:
        if fault not in FAULTS:
            raise UnknownNameError("fault", fault, FAULTS)
    definition = workspace.feast.service(service)
    moment = utc(as_of, workspace.clock)
    with running.stores(workspace) as (con, client):
        sides = running.collect(workspace, definition, moment, con, client, sample=1.0).sides
        return [
            _inject(
                fault,
                sides,
                _Ground(con, client, workspace.feast.project, moment, share, list(FAULTS).index(fault)),
                service,
            )
            for fault, share in shares.items()
        ]


def _inject(fault: str, sides: Sequence[ViewSides], ground: _Ground, service: str) -> Injection:
    for candidate in _ranked(fault, sides, ground):
        injection = FAULTS[fault](candidate, ground)
        if injection is not None:
            return injection
    raise BadInputError("fault", fault, f"a view of {service!r} whose rows allow it (is it materialized?)")


def _ranked(fault: str, sides: Sequence[ViewSides], ground: _Ground) -> list[ViewSides]:
    """The views by how many rows the fault can hit, most first."""
    count = {"stale_view": _previous, "expired_row": _expired}.get(fault, lambda side, _: _live(side, ground))
    return sorted(sides, key=lambda side: -count(side, ground).num_rows)


def _keys(side: ViewSides) -> list[str]:
    return [key.name for key in side.view.join_keys]


def _present(side: ViewSides) -> pa.Array:
    return pc.equal(side.online.column(ROW_STATE), "present").combine_chunks()


def _live(side: ViewSides, ground: _Ground) -> pa.Table:
    """Offline rows inside their TTL whose online row is present."""
    ground.con.register("__truth", side.truth.append_column("__present", _present(side)))
    live = live_sql(EVENT_TS, side.view.ttl, side.as_of)
    return ground.con.execute(
        f"SELECT * EXCLUDE (__present) FROM __truth WHERE __present AND {live} ORDER BY ALL"
    ).to_arrow_table()


def _expired(side: ViewSides, ground: _Ground) -> pa.Table:
    """Latest offline rows past their TTL that are not online."""
    ground.con.register("__truth", side.truth.append_column("__present", _present(side)))
    live = live_sql(EVENT_TS, side.view.ttl, side.as_of)
    return ground.con.execute(
        f"SELECT * EXCLUDE (__present) FROM __truth WHERE NOT __present AND NOT {live} ORDER BY ALL"
    ).to_arrow_table()


def _previous(side: ViewSides, ground: _Ground) -> pa.Table:
    """For live entities: the latest offline row before the one that is due, where its values differ."""
    ground.con.register("__live", _live(side, ground))
    on = " AND ".join(f"s.{quote(k)} = l.{quote(k)}" for k in _keys(side)) or "true"
    differs = " OR ".join(f"s.{quote(f.name)} IS DISTINCT FROM l.{quote(f.name)}" for f in side.features) or "false"
    partition = ", ".join(f"s.{quote(k)}" for k in _keys(side)) or "1"
    source = source_sql(side.view, [f.name for f in side.features])
    known = f"coalesce(l.{CREATED_TS} <= TIMESTAMPTZ '{side.watermark.isoformat()}', true)"
    return ground.con.execute(
        f"SELECT * EXCLUDE (__differs) FROM (SELECT s.*, ({differs}) AS __differs FROM ({source}) s JOIN __live l "
        f"ON {on} AND s.{EVENT_TS} < l.{EVENT_TS} AND {known} "
        f"QUALIFY row_number() OVER (PARTITION BY {partition} ORDER BY s.{EVENT_TS} DESC, s.{CREATED_TS} DESC) = 1) "
        "WHERE __differs ORDER BY ALL"
    ).to_arrow_table()


def _write_raw(side: ViewSides, ground: _Ground, rows: pa.Table, features: Sequence[str]) -> None:
    """HSET without any check: what a careless writer does."""
    view = side.view
    keys = entity_keys(ground.project, view.join_keys, rows).to_pylist()
    columns = {
        feature_field(view.name, name): encode_column(view.feature(name).dtype, rows.column(name)).to_pylist()
        for name in features
    }
    stamps = pc.cast(rows.column(EVENT_TS), pa.int64()).to_pylist()
    with ground.client.pipeline(transaction=False) as pipe:
        for index, key in enumerate(keys):
            values = {field: cells[index] for field, cells in columns.items()}
            pipe.hset(key, mapping={**values, timestamp_field(view.name): encode_timestamp(stamps[index] * 1000)})
        pipe.execute()


def _all_features(side: ViewSides) -> list[str]:
    return [f.name for f in side.features]


def _stale_view(side: ViewSides, ground: _Ground) -> Injection | None:
    rows = ground.chosen(_previous(side, ground), _keys(side))
    if not rows.num_rows:
        return None
    _write_raw(side, ground, rows, _all_features(side))
    return Injection("stale_view", side.view.name, None, rows.num_rows, Cause.OUT_OF_ORDER_WRITE)


def _unit_change(side: ViewSides, ground: _Ground) -> Injection | None:
    """Another unit in the float feature that it changes most."""
    live = ground.chosen(_live(side, ground), _keys(side))
    candidates = {f.name: _nonzero(live, f.name) for f in side.features if f.dtype in dtypes.FLOATS}
    name = max(candidates, key=lambda n: candidates[n].num_rows, default=None)
    if name is None or pc.count_distinct(candidates[name].column(name)).as_py() < 3:
        return None
    rows = candidates[name]
    index = rows.column_names.index(name)
    scaled = pc.multiply(rows.column(name), pa.scalar(SCALE, rows.column(name).type))
    _write_raw(side, ground, rows.set_column(index, name, scaled), [name])
    return Injection("unit_change", side.view.name, name, rows.num_rows, Cause.UNIT_SCALE)


def _nonzero(rows: pa.Table, name: str) -> pa.Table:
    column = rows.column(name)
    return rows.filter(pc.and_(pc.is_finite(column), pc.not_equal(column, 0)).fill_null(False))


def _lost_key(side: ViewSides, ground: _Ground) -> Injection | None:
    rows = ground.chosen(_live(side, ground), _keys(side))
    if not rows.num_rows:
        return None
    with ground.client.pipeline(transaction=False) as pipe:
        for key in entity_keys(ground.project, side.view.join_keys, rows).to_pylist():
            pipe.unlink(key)
        pipe.execute()
    return Injection("lost_key", side.view.name, None, rows.num_rows, Cause.MISSING_ONLINE)


def _expired_row(side: ViewSides, ground: _Ground) -> Injection | None:
    rows = ground.chosen(_expired(side, ground), _keys(side))
    if side.view.ttl is None or not rows.num_rows:
        return None
    _write_raw(side, ground, rows, _all_features(side))
    return Injection("expired_row", side.view.name, None, rows.num_rows, Cause.EXPIRED_BUT_SERVED)


FAULTS: dict[str, Callable[[ViewSides, _Ground], Injection | None]] = {
    "stale_view": _stale_view,
    "unit_change": _unit_change,
    "lost_key": _lost_key,
    "expired_row": _expired_row,
}
