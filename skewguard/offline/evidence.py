"""What the offline store knows about the differing entities of one view."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb
import pyarrow as pa

from skewguard.definitions import FieldDef, ViewDef
from skewguard.offline.sources import source_sql
from skewguard.sql import CREATED_TS, EVENT_TS, moment, quote

_BEGINNING = datetime(1, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class SourceEvidence:
    """Answers from the view's source; see ``compare.sides.OfflineEvidence``."""

    con: duckdb.DuckDBPyConnection
    view: ViewDef
    features: tuple[FieldDef, ...]
    watermark: datetime
    windows: tuple[tuple[datetime, datetime], ...] = ()
    """The materialized windows (start, end), both ends in; none known means one that ended at the watermark."""

    def known(self, keys: pa.Table) -> pa.Table:
        """Latest row that lies in a materialized window and was created by its end (a null created counts as then)."""
        windows = self.windows or ((_BEGINNING, self.watermark),)
        spans = ", ".join(f"({moment(start)}, {moment(end)})" for start, end in windows)
        seen = (
            f"EXISTS (SELECT 1 FROM (VALUES {spans}) w(a, b) WHERE s.{EVENT_TS} BETWEEN w.a AND w.b "
            f"AND coalesce(s.{CREATED_TS} <= w.b, true))"
        )
        names = ", ".join(f"s.{quote(k.name)}" for k in self.view.join_keys)
        columns, group = (f"{names}, ", f" GROUP BY {names}") if names else ("", " HAVING count(*) > 0")
        before = f"s.{EVENT_TS} <= {moment(self.watermark)}"
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
        """Every row that shares its entity and event timestamp with others."""
        partition = ", ".join([*(f"s.{quote(k.name)}" for k in self.view.join_keys), f"s.{EVENT_TS}"])
        return self._query(
            keys,
            f"SELECT s.* FROM {{source}} QUALIFY count(*) OVER (PARTITION BY {partition}) > 1",
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
    sql = f"SELECT max({EVENT_TS}) FROM ({source_sql(view, [])}) WHERE {EVENT_TS} <= {moment(as_of)}"
    column = con.execute(sql).to_arrow_table().column(0)
    value: datetime | None = column[0].as_py()
    return None if value is None else value.astimezone(UTC)
