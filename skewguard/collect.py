"""Gathers both sides of a check from the stores: the one place where offline rows and online rows meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from skewguard.causes.keys import match_twins
from skewguard.causes.rows import live_sql
from skewguard.checks.comparison import ViewSides
from skewguard.definitions import FieldDef, ServiceDef, ViewDef
from skewguard.digest import sample_mask
from skewguard.offline.asof import latest_rows
from skewguard.offline.sources import source_sql
from skewguard.sql import CREATED_TS, EVENT_TS, ROW_STATE, quote

Progress = Callable[[str, int], None]
"""Called with a step's name and how many rows it has done since the last call."""

BEGINNING, FAR_FUTURE = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class SourceEvidence:
    """What the offline store knows about the differing entities of one view (see ``OfflineEvidence``)."""

    con: duckdb.DuckDBPyConnection
    view: ViewDef
    features: tuple[FieldDef, ...]
    watermark: datetime
    windows: tuple[tuple[datetime, datetime], ...] = ()
    """The materialized windows (start, end), both ends in; none known means one that ended at the watermark."""

    def known(self, keys: pa.Table) -> pa.Table:
        """Latest row that lies in a materialized window and was created by its end (a null created counts as then)."""
        windows = self.windows or ((BEGINNING, self.watermark),)
        spans = ", ".join(f"(TIMESTAMPTZ '{a.isoformat()}', TIMESTAMPTZ '{b.isoformat()}')" for a, b in windows)
        seen = (
            f"EXISTS (SELECT 1 FROM (VALUES {spans}) w(a, b) WHERE s.{EVENT_TS} BETWEEN w.a AND w.b "
            f"AND coalesce(s.{CREATED_TS} <= w.b, true))"
        )
        names = ", ".join(f"s.{quote(k.name)}" for k in self.view.join_keys)
        columns, group = (f"{names}, ", f" GROUP BY {names}") if names else ("", " HAVING count(*) > 0")
        before = f"s.{EVENT_TS} <= TIMESTAMPTZ '{self.watermark.isoformat()}'"
        sql = f"SELECT {columns}max(s.{EVENT_TS}) AS {EVENT_TS} FROM {{source}} WHERE {before} AND {seen}{group}"
        return self._query(keys, sql, [])

    def exists(self, rows: pa.Table) -> pa.Table:
        """The rows whose entity has an offline row at that event timestamp."""
        on = [f"s.{quote(k.name)} = r.{quote(k.name)}" for k in self.view.join_keys] + [f"s.{EVENT_TS} = r.{EVENT_TS}"]
        self.con.register("__observed", rows)
        try:
            return self.con.execute(
                f"SELECT r.* FROM __observed r SEMI JOIN ({source_sql(self.view, [])}) s ON {' AND '.join(on)}"
            ).to_arrow_table()
        finally:
            self.con.unregister("__observed")

    def superseded(self, keys: pa.Table) -> pa.Table:
        """Rows that are not the latest created ones of their entity and event timestamp."""
        partition = ", ".join([*(f"s.{quote(k.name)}" for k in self.view.join_keys), f"s.{EVENT_TS}"])
        return self._query(
            keys,
            f"SELECT s.* FROM {{source}} QUALIFY count(*) OVER (PARTITION BY {partition}) > 1 "
            f"AND coalesce(s.{CREATED_TS} < max(s.{CREATED_TS}) OVER (PARTITION BY {partition}), "
            f"max(s.{CREATED_TS}) OVER (PARTITION BY {partition}) IS NOT NULL)",
            [f.name for f in self.features],
        )

    def _query(self, keys: pa.Table, sql: str, features: list[str]) -> pa.Table:
        names = [k.name for k in self.view.join_keys]
        source = f"({source_sql(self.view, features)}) s"
        if names:
            self.con.register("__evidence_keys", keys)
            source += f" SEMI JOIN __evidence_keys k ON {' AND '.join(f's.{quote(n)} = k.{quote(n)}' for n in names)}"
        try:
            return self.con.execute(sql.format(source=source)).to_arrow_table()
        finally:
            if names:
                self.con.unregister("__evidence_keys")


def newest_event(con: duckdb.DuckDBPyConnection, view: ViewDef, as_of: datetime) -> datetime | None:
    """Event timestamp (UTC) of the view's newest offline row at or before ``as_of``, None where it has none."""
    sql = f"SELECT max({EVENT_TS}) FROM ({source_sql(view, [])}) WHERE {EVENT_TS} <= TIMESTAMPTZ '{as_of.isoformat()}'"
    column = con.execute(sql).to_arrow_table().column(0)
    value: datetime | None = column[0].as_py()
    return None if value is None else value.astimezone(UTC)


@dataclass(frozen=True)
class Collected:
    """Both sides of every view that could be read, and why the others could not."""

    sides: tuple[ViewSides, ...]
    skipped: dict[str, str] = field(default_factory=dict)


def features_read(service: ServiceDef, view: ViewDef) -> tuple[FieldDef, ...]:
    """The features of a view that a service reads, as outputs or as inputs of on-demand views."""
    names = {f.name for p in (*service.projections, *service.hidden) if p.view.name == view.name for f in p.features}
    return tuple(f for f in view.features if f.name in names)


@dataclass(frozen=True)
class Collector:
    """Reads one service's views from both stores as of a moment."""

    con: duckdb.DuckDBPyConnection
    client: Any
    project: str
    as_of: datetime
    sample: float = 1.0
    progress: Progress | None = None
    windows: Mapping[str, tuple[tuple[datetime, datetime], ...]] = field(default_factory=dict)
    keys_per_second: float | None = None

    def collect(self, service: ServiceDef, watermarks: dict[str, datetime | None]) -> Collected:
        """Every view of the service. Raises StoreUnavailableError where Redis is down."""
        sides: list[ViewSides] = []
        skipped: dict[str, str] = {}
        for view in service.views:
            watermark = watermarks.get(view.name)
            if watermark is None:
                skipped[view.name] = "never materialized, so there is no expected online value"
            elif watermark > self.as_of:
                skipped[view.name] = (
                    f"the as-of time {self.as_of.isoformat()} lies before the watermark {watermark.isoformat()}; "
                    "the online store holds only the present"
                )
            else:
                sides.append(self.view_sides(view, features_read(service, view), watermark))
        return Collected(tuple(sides), skipped)

    def view_sides(self, view: ViewDef, features: tuple[FieldDef, ...], watermark: datetime) -> ViewSides:
        """Both sides of one view, sampled by entity hash."""
        from skewguard.online.reader import read_view, scan_entities

        names = [f.name for f in features]
        keys = [k.name for k in view.join_keys]
        truth = self._sampled(latest_rows(self.con, view, self.as_of, features=names), keys)
        expected = truth
        if watermark < self.as_of:
            expected = self._sampled(latest_rows(self.con, view, watermark, features=names), keys)
        self._report(view.name, truth.num_rows)
        online = read_view(
            self.client,
            self.project,
            view,
            truth,
            features=names,
            keys_per_second=self.keys_per_second,
            progress=lambda rows: self._report(view.name, rows),
        )
        found = scan_entities(self.client, self.project, view, keys_per_second=self.keys_per_second)
        unknown = self._unknown(view, keys, found)
        twins, unknown = self._twins(view, self._due(view, truth, online), unknown)
        orphans = read_view(
            self.client,
            self.project,
            view,
            self._sampled(unknown, keys),
            features=names,
            keys_per_second=self.keys_per_second,
        )
        return ViewSides(
            view=view,
            features=features,
            as_of=self.as_of,
            watermark=watermark,
            truth=truth,
            expected=expected,
            online=online,
            orphans=orphans,
            evidence=SourceEvidence(self.con, view, features, watermark, self.windows.get(view.name, ())),
            twins=twins,
        )

    def _due(self, view: ViewDef, truth: pa.Table, online: pa.Table) -> pa.Table:
        """The join keys of the entities that have a value as of now and no row online."""
        names = "".join(f"{quote(key.name)}, " for key in view.join_keys)
        self.con.register("__truth", truth.append_column("__state", online.column(ROW_STATE)))
        try:
            return self.con.execute(
                f"SELECT {names}1 AS __one FROM __truth WHERE __state <> 'present' "
                f"AND {live_sql(EVENT_TS, view.ttl, self.as_of)}"
            ).to_arrow_table()
        finally:
            self.con.unregister("__truth")

    def _twins(self, view: ViewDef, due: pa.Table, unknown: pa.Table) -> tuple[pa.Table | None, pa.Table]:
        """The rows that are stored under another key that means the same, and what is unknown without them."""
        from skewguard.online.twins import scan_strays

        if not due.num_rows or not view.join_keys:
            return None, unknown
        missing = due.select([key.name for key in view.join_keys])
        strays = scan_strays(self.client, self.project, view, keys_per_second=self.keys_per_second)
        twins = match_twins(view.join_keys, missing, strays, unknown)
        others = np.setdiff1d(np.arange(unknown.num_rows), np.asarray(twins.orphans))
        return twins.rows, unknown.take(pa.array(others, pa.int64()))

    def _sampled(self, table: pa.Table, keys: list[str]) -> pa.Table:
        for key in keys:
            if table.column(key).null_count:
                table = table.filter(table.column(key).is_valid())
        if self.sample >= 1 or not keys:
            return table
        return table.filter(pa.array(sample_mask(table, keys, self.sample)))

    def _unknown(self, view: ViewDef, keys: list[str], scanned: pa.Table) -> pa.Table:
        """The scanned entities that offline has no row of, at any time."""
        if not keys:
            has_rows = latest_rows(self.con, view, FAR_FUTURE, features=[]).num_rows > 0
            return scanned.slice(0, 0) if has_rows else scanned
        on = " AND ".join(f"o.{quote(k)} = s.{quote(k)}" for k in keys)
        self.con.register("__scanned", scanned)
        try:
            return self.con.execute(
                f"SELECT o.* FROM __scanned o ANTI JOIN ({source_sql(view, [])}) s ON {on} ORDER BY ALL"
            ).to_arrow_table()
        finally:
            self.con.unregister("__scanned")

    def _report(self, step: str, rows: int) -> None:
        if self.progress is not None:
            self.progress(step, rows)
