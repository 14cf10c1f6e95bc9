"""The rows of one view on both sides: offline ones kept in DuckDB, online ones read from Redis a chunk at a time."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa

from skewguard.causes.keys import DIFFERENCE, STORED, match_twins
from skewguard.causes.rows import live_sql
from skewguard.compare.sides import Chunk, Outside
from skewguard.definitions import FieldDef, ViewDef
from skewguard.digest import sample_mask
from skewguard.offline.asof import declared, store_latest_rows
from skewguard.offline.sources import source_sql
from skewguard.online.side import OnlineSide, Told
from skewguard.sql import EVENT_TS, moment, quote

CHUNK_ROWS, CHUNK_CELLS = 61_440, 4_000_000
"""So many entities are compared at once: half a row group of DuckDB's, fewer of a view with many features."""


@dataclass(frozen=True)
class Reading:
    """What to read of a view, and how: the sample of entities by hash, and the pace."""

    con: duckdb.DuckDBPyConnection
    side: OnlineSide
    project: str
    view: ViewDef
    features: tuple[FieldDef, ...]
    as_of: datetime
    watermark: datetime
    sample: float = 1.0
    progress: Told | None = None
    chunk_rows: int = CHUNK_ROWS

    @property
    def keys(self) -> list[str]:
        """The names of the join keys."""
        return [key.name for key in self.view.join_keys]

    @property
    def names(self) -> list[str]:
        """The names of the features."""
        return [f.name for f in self.features]

    def online(self, entities: pa.Table, progress: Told | None = None) -> pa.Table:
        """The online rows of some entities, in their order."""
        return self.side.read(self.view, entities, self.names, progress=progress)

    def sampled(self, table: pa.Table) -> pa.Table:
        """The rows whose entity falls into the sample; those without a join key are none of an entity."""
        for key in self.keys:
            if table.column(key).null_count:
                table = table.filter(table.column(key).is_valid())
        if self.sample >= 1 or not self.keys:
            return table
        return table.filter(pa.array(sample_mask(table, self.keys, self.sample)))


@dataclass
class StoredRows:
    """The compared entities of a view (``ViewRows``): read from the source once, when they are first asked for."""

    reading: Reading
    _name: str = field(default_factory=lambda: f"__rows_{uuid.uuid4().hex}", init=False)
    _open: bool = field(default=False, init=False)
    _moved: bool = field(default=False, init=False)
    """Has any of them a row past the watermark?"""

    def chunks(self) -> Iterator[Chunk]:
        """One at least, be it empty."""
        self._load()
        width = min(self.reading.chunk_rows, max(1000, CHUNK_CELLS // max(1, len(self.reading.features))))
        total = self._count(self._table)
        for start in range(0, max(total, 1), width):
            truth = self._part(start, width)
            online = self.reading.online(truth, self.reading.progress)
            yield Chunk(truth, online, self._expected(start, width))

    def values(self, column: str, at_most: int) -> pa.Array:
        """Every n-th row's, so that there are about ``at_most``."""
        self._load()
        step = max(1, self._count(self._table) // at_most)
        live = live_sql(EVENT_TS, self.reading.view.ttl, self.reading.as_of)
        table = self.reading.con.execute(
            f"SELECT {quote(column)} FROM {self._table} WHERE rowid % {step} = 0 AND {live} ORDER BY rowid"
        ).to_arrow_table()
        return declared(self.reading.view, table).column(0).combine_chunks()

    def close(self) -> None:
        """Drop the tables."""
        for table in (self._table, self._due):
            self.reading.con.execute(f"DROP TABLE IF EXISTS {table}")
        self._open = False

    @property
    def _table(self) -> str:
        return quote(self._name)

    @property
    def _due(self) -> str:
        return quote(f"{self._name}_due")

    def _load(self) -> None:
        """The latest rows as of now; of those that are newer than the watermark, the latest rows there as well."""
        if self._open:
            return
        reading = self.reading
        store_latest_rows(reading.con, self._name, reading.view, reading.as_of, reading.names)
        self._keep_sample()
        moved = f"{EVENT_TS} > {moment(reading.watermark)}"
        self._moved = self._count(f"{self._table} WHERE {moved}") > 0
        if self._moved:
            self._load_due(moved)
        self._open = True
        if reading.progress is not None:
            reading.progress(self._count(self._table))

    def _load_due(self, moved: str) -> None:
        reading = self.reading
        whole = f"{self._name}_whole"
        store_latest_rows(reading.con, whole, reading.view, reading.watermark, reading.names)
        on = " AND ".join(f"e.{quote(k)} = t.{quote(k)}" for k in reading.keys) or "true"
        reading.con.execute(
            f"CREATE TABLE {self._due} AS SELECT t.rowid AS __place, e.* FROM {quote(whole)} e "
            f"JOIN {self._table} t ON {on} WHERE t.{moved} ORDER BY t.rowid"
        )
        reading.con.execute(f"DROP TABLE {quote(whole)}")

    def _keep_sample(self) -> None:
        """Leave out entities beside the sample, and rows without a join key, and number the rest anew."""
        reading = self.reading
        if not reading.keys:
            return
        names = ", ".join(map(quote, reading.keys))
        keys = reading.con.execute(
            f"SELECT {names}, rowid AS __place FROM {self._table} ORDER BY rowid"
        ).to_arrow_table()
        kept = reading.sampled(declared(reading.view, keys))
        if kept.num_rows == keys.num_rows:
            return
        reading.con.register("__kept", kept.select(["__place"]))
        try:
            reading.con.execute(
                f"CREATE OR REPLACE TABLE {self._table} AS "
                f"SELECT t.* FROM {self._table} t SEMI JOIN __kept k ON t.rowid = k.__place ORDER BY t.rowid"
            )
        finally:
            reading.con.unregister("__kept")

    def _part(self, start: int, width: int) -> pa.Table:
        rows = self.reading.con.execute(
            f"SELECT * FROM {self._table} WHERE rowid >= {start} AND rowid < {start + width} ORDER BY rowid"
        ).to_arrow_table()
        return declared(self.reading.view, rows)

    def _expected(self, start: int, width: int) -> pa.Table:
        if not self._moved:
            return self._part(0, 0)
        rows = self.reading.con.execute(
            f"SELECT * EXCLUDE (__place) FROM {self._due} WHERE __place >= {start} AND __place < {start + width}"
        ).to_arrow_table()
        return declared(self.reading.view, rows)

    def _count(self, relation: str) -> int:
        row = self.reading.con.execute(f"SELECT count(*) FROM {relation}").fetchone()
        return int(row[0]) if row else 0


@dataclass(frozen=True)
class StoredOutside:
    """Lists what is online of a view and not offline (``OnlineListing``)."""

    reading: Reading

    def outside(self, missing: pa.Table) -> Outside:
        """Every key of the view's entities is looked at; those that offline knows are sorted out at once.

        Where the store lists nothing, there is nothing outside.
        """
        reading = self.reading
        reading.con.execute("CREATE OR REPLACE TABLE __known (raw BLOB)")
        try:
            self._store_known()
            stored = reading.side.scan(reading.view, self._unknown)
        finally:
            reading.con.execute("DROP TABLE __known")
        if stored is None:
            none = missing.slice(0, 0)
            return Outside(_no_twins(none), reading.online(none))
        twins, others = self._twins(missing, stored.strays, stored.entities)
        orphans = reading.sampled(others)
        if reading.keys:  # a scan gives them in no order
            orphans = orphans.sort_by([(name, "ascending") for name in reading.keys])
        return Outside(twins, reading.online(orphans))

    def _store_known(self) -> None:
        """The Redis keys of all entities of the source, of any time."""
        from skewguard.online.key_columns import entity_keys

        reading = self.reading
        names = ", ".join(map(quote, reading.keys))
        source = f"({source_sql(reading.view, [])})"
        sql = f"SELECT DISTINCT {names} FROM {source}" if names else f"SELECT 1 FROM {source} LIMIT 1"
        with reading.con.cursor() as cursor:
            cursor.execute("SET TimeZone = 'UTC'")
            batches = cursor.execute(sql).to_arrow_reader(100_000)
            for batch in batches:
                entities = declared(reading.view, pa.Table.from_batches([batch]))
                self._add(entity_keys(reading.project, reading.view.join_keys, entities))

    def _add(self, keys: pa.Array) -> None:
        self.reading.con.register("__keys", pa.table({"raw": keys}))
        self.reading.con.execute("INSERT INTO __known SELECT raw FROM __keys WHERE raw IS NOT NULL")
        self.reading.con.unregister("__keys")

    def _unknown(self, keys: pa.Array) -> pa.Array:
        con = self.reading.con
        con.register("__keys", pa.table({"raw": keys}))
        try:
            table = con.execute("SELECT raw FROM __keys ANTI JOIN __known USING (raw)").to_arrow_table()
        finally:
            con.unregister("__keys")
        return table.column(0).combine_chunks()

    def _twins(self, missing: pa.Table, strays: pa.Table, unknown: pa.Table) -> tuple[pa.Table, pa.Table]:
        """The rows that are stored under another key that means the same, and what is unknown without them."""
        join_keys = self.reading.view.join_keys
        if not missing.num_rows or not join_keys:
            return _no_twins(missing.slice(0, 0)), unknown
        found = match_twins(join_keys, missing, strays, unknown)
        others = np.setdiff1d(np.arange(unknown.num_rows), np.asarray(found.orphans))
        return found.rows, unknown.take(pa.array(others, pa.int64()))


def _no_twins(nobody: pa.Table) -> pa.Table:
    """An empty table of twins; ``nobody`` has the join keys and no rows."""
    nothing = pa.array([], pa.string())
    return nobody.append_column(STORED, nothing).append_column(DIFFERENCE, nothing)
