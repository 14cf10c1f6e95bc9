"""Builds both sides of a view from plain rows, with evidence computed the slow and obvious way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.causes.keys import DIFFERENCE, STORED
from skewguard.compare.sides import Chunk, Outside, ViewSides
from skewguard.definitions import FieldDef, SourceDef, ViewDef
from skewguard.sql import CREATED_TS, EVENT_TS, ROW_STATE

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)


def hours(count: float) -> datetime:
    """The moment ``count`` hours before NOW."""
    return NOW - timedelta(hours=count)


@dataclass(frozen=True)
class Row:
    """An offline row: key, event timestamp, values by feature, created timestamp."""

    key: int
    event: datetime
    values: tuple[Any, ...]
    created: datetime | None = None


@dataclass(frozen=True)
class Online:
    """An online row; ``values`` may hold ABSENT or CORRUPT. Leave an entity out for an absent key."""

    key: int
    event: datetime
    values: tuple[Any, ...]


Windows = Sequence[tuple[datetime, datetime]]
ABSENT, CORRUPT = object(), object()
STAMP = dtypes.TIMESTAMP


def view(*features: FieldDef, ttl: timedelta | None = None) -> ViewDef:
    source = SourceDef("parquet", "/data/v.parquet", "event_timestamp", "created")
    return ViewDef("v", ("e",), (FieldDef("key", "INT64"),), features, ttl, source)


class RowEvidence:
    """OfflineEvidence by loops over plain rows."""

    def __init__(self, rows: Sequence[Row], definition: ViewDef, watermark: datetime, windows: Windows = ()) -> None:
        self.rows, self.definition = rows, definition
        self.windows = windows or ((datetime.min.replace(tzinfo=UTC), watermark),)

    def known(self, keys: pa.Table) -> pa.Table:
        return self._latest(keys, [row for row in self.rows if self._seen(row)])

    def _seen(self, row: Row) -> bool:
        return any(a <= row.event <= b and (row.created is None or row.created <= b) for a, b in self.windows)

    def exists(self, rows: pa.Table) -> pa.Table:
        known = {(r.key, r.event) for r in self.rows}
        return rows.filter(pa.array([(row["key"], row[EVENT_TS]) in known for row in rows.to_pylist()], pa.bool_()))

    def superseded(self, keys: pa.Table) -> pa.Table:
        wanted = set(keys.column("key").to_pylist())
        lost = [
            r
            for r in self.rows
            if r.key in wanted and sum(o.key == r.key and o.event == r.event for o in self.rows) > 1
        ]
        columns = {
            "key": pa.array([r.key for r in lost], pa.int64()),
            EVENT_TS: pa.array([r.event for r in lost], STAMP),
        }
        for index, feature in enumerate(self.definition.features):
            columns[feature.name] = pa.array([r.values[index] for r in lost], dtypes.arrow_type(feature.dtype))
        return pa.table(columns)

    def _latest(self, keys: pa.Table, rows: list[Row]) -> pa.Table:
        wanted = set(keys.column("key").to_pylist())
        best: dict[int, datetime] = {}
        for row in rows:
            if row.key in wanted and (row.key not in best or row.event > best[row.key]):
                best[row.key] = row.event
        return pa.table({"key": pa.array(list(best), pa.int64()), EVENT_TS: pa.array(list(best.values()), STAMP)})


def latest(rows: Sequence[Row], at: datetime, definition: ViewDef) -> pa.Table:
    """The latest row per key at or before ``at``, by event then created timestamp."""
    best: dict[int, Row] = {}
    for row in sorted(rows, key=lambda r: (r.event, r.created or datetime.min.replace(tzinfo=UTC))):
        if row.event <= at:
            best[row.key] = row
    chosen = [best[key] for key in sorted(best)]
    columns = {"key": pa.array([r.key for r in chosen], pa.int64())}
    for index, feature in enumerate(definition.features):
        columns[feature.name] = pa.array([r.values[index] for r in chosen], dtypes.arrow_type(feature.dtype))
    columns[EVENT_TS] = pa.array([r.event for r in chosen], STAMP)
    columns[CREATED_TS] = pa.array([r.created for r in chosen], STAMP)
    return pa.table(columns)


def online_table(keys: Sequence[int], rows: Sequence[Online], definition: ViewDef) -> pa.Table:
    """What the reader gives for ``keys``."""
    found = {row.key: row for row in rows}
    columns: dict[str, Any] = {"key": pa.array(list(keys), pa.int64())}
    for index, feature in enumerate(definition.features):
        cells = [found[k].values[index] if k in found else ABSENT for k in keys]
        values = [None if c is ABSENT or c is CORRUPT else c for c in cells]
        columns[feature.name] = pa.array(values, dtypes.arrow_type(feature.dtype))
        columns[f"__state__{feature.name}"] = pa.array([_state(c) for c in cells], pa.string())
    columns[EVENT_TS] = pa.array([found[k].event if k in found else None for k in keys], STAMP)
    columns[ROW_STATE] = pa.array(["present" if k in found else "key_absent" for k in keys], pa.string())
    return pa.table(columns)


def _state(cell: Any) -> str:
    if cell is ABSENT:
        return "absent"
    if cell is CORRUPT:
        return "corrupt"
    return "null" if cell is None else "value"


@dataclass(frozen=True)
class Rows:
    """A view's rows in memory, in two chunks."""

    whole: Chunk
    definition: ViewDef

    def chunks(self) -> Iterator[Chunk]:
        half = self.whole.truth.num_rows // 2
        for part in (slice(0, half), slice(half, None)):
            rows = pa.array(range(self.whole.truth.num_rows)[part], pa.int64())
            truth, online = (table.take(rows) for table in (self.whole.truth, self.whole.online))
            yield Chunk(truth, online, self.whole.expected)

    def values(self, column: str, at_most: int) -> pa.Array:
        del at_most
        ages = pc.subtract(pa.scalar(NOW, STAMP), self.whole.truth.column(EVENT_TS))
        ttl = self.definition.ttl
        live = self.whole.truth if ttl is None else self.whole.truth.filter(pc.less_equal(ages, pa.scalar(ttl)))
        return live.column(column).combine_chunks()

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class Listing:
    """What is online of entities that offline does not know."""

    orphans: pa.Table
    twins: pa.Table | None = None

    def outside(self, missing: pa.Table) -> Outside:
        if self.twins is not None:
            return Outside(self.twins, self.orphans)
        texts = pa.array([], pa.string())
        twins = missing.slice(0, 0).append_column(STORED, texts).append_column(DIFFERENCE, texts)
        return Outside(twins, self.orphans)


def sides(
    definition: ViewDef,
    offline: Sequence[Row],
    online: Sequence[Online],
    *,
    watermark: datetime = NOW,
    windows: Windows = (),
) -> ViewSides:
    """Both sides of a view at NOW; ``windows`` are the materialized ones."""
    truth = latest(offline, NOW, definition)
    known = {row.key for row in offline}
    extra = [row for row in online if row.key not in known]
    whole = Chunk(
        truth,
        online_table(truth.column("key").to_pylist(), online, definition),
        latest(offline, watermark, definition),
    )
    return ViewSides(
        view=definition,
        features=definition.features,
        as_of=NOW,
        watermark=watermark,
        rows=Rows(whole, definition),
        evidence=RowEvidence(offline, definition, watermark, windows),
        windows=tuple(windows),
        listing=Listing(online_table([row.key for row in extra], extra, definition)),
    )
