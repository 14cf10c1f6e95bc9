"""Incremental materialization: what it reads, what it catches, and that it ends where a whole run ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from skewguard import SkewGuard
from skewguard.errors import BadInputError
from skewguard.online.connection import connect
from skewguard.online.embedded import EmbeddedRedis
from skewguard.online.reader import read_view

DAY = timedelta(days=1)
NOW = datetime(2026, 6, 10, tzinfo=UTC)
DEFINITIONS = """
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Int64

shop = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.INT64)
fields = [Field(name="shop_id", dtype=Int64), Field(name="sales", dtype=Int64)]
known = FileSource(path="known.parquet", timestamp_field="event", created_timestamp_column="created")
plain = FileSource(path="plain.parquet", timestamp_field="event")
known_view = FeatureView(name="known", entities=[shop], schema=fields, source=known)
plain_view = FeatureView(name="plain", entities=[shop], schema=fields, source=plain)
"""


class Shop:
    """A repository whose two sources, one without a created timestamp, hold the same rows."""

    def __init__(self, folder: Path, redis: EmbeddedRedis) -> None:
        folder.mkdir()
        self.folder, self.redis = folder, redis
        self.rows: list[dict[str, Any]] = []
        (folder / "definitions.py").write_text(DEFINITIONS)
        (folder / "feature_store.yaml").write_text(
            "project: shops\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
            f"online_store: {{type: redis, connection_string: '{redis.connection_string}'}}\n"
            "offline_store: {type: skewguard.offline.store.SkewguardOfflineStore}\n"
        )

    def arrive(self, shop: int, sales: int, event: datetime, created: datetime) -> None:
        self.rows.append({"shop_id": shop, "sales": sales, "event": event, "created": created})
        frame = pd.DataFrame(self.rows)
        frame.to_parquet(self.folder / "known.parquet")
        frame.drop(columns="created").to_parquet(self.folder / "plain.parquet")

    def online(self, guard: SkewGuard, view: str) -> dict[int, int]:
        client = connect(self.redis.settings)
        import pyarrow as pa

        table = read_view(client, "shops", guard.feast.view(view), pa.table({"shop_id": [1, 2, 3]}))
        client.close()
        return {row["shop_id"]: row["sales"] for row in table.to_pylist() if row["sales"] is not None}


@pytest.fixture
def shop(tmp_path: Path, clean_redis: EmbeddedRedis) -> Shop:
    made = Shop(tmp_path / "repo", clean_redis)
    made.arrive(1, 10, NOW - 5 * DAY, NOW - 5 * DAY)
    made.arrive(2, 20, NOW - 5 * DAY, NOW - 5 * DAY)
    return made


@pytest.fixture
def guard(shop: Shop) -> SkewGuard:
    opened = SkewGuard(shop.folder, clock=lambda: NOW)
    opened.feast.apply()
    return opened


def rows_read(guard: SkewGuard, at: datetime, **options: Any) -> dict[str, int]:
    return {done.view: done.rows for done in guard.materialize(as_of=at, **options)}


def test_the_first_run_reads_everything_and_later_ones_what_is_new(shop: Shop, guard: SkewGuard) -> None:
    assert rows_read(guard, NOW, incremental=True) == {"known": 2, "plain": 2}
    assert rows_read(guard, NOW + DAY, incremental=True) == {"known": 0, "plain": 0}
    shop.arrive(1, 11, NOW + 2 * DAY, NOW + 2 * DAY)
    assert rows_read(guard, NOW + 3 * DAY, incremental=True) == {"known": 1, "plain": 1}
    assert shop.online(guard, "known") == shop.online(guard, "plain") == {1: 11, 2: 20}
    assert guard.feast.watermarks() == {"known": NOW + 3 * DAY, "plain": NOW + 3 * DAY}


def test_late_rows_and_corrections(shop: Shop, guard: SkewGuard) -> None:
    guard.materialize(as_of=NOW)
    shop.arrive(3, 30, NOW - 4 * DAY, NOW + DAY)  # four days late
    shop.arrive(2, 21, NOW - 5 * DAY, NOW + DAY)  # a correction: the same event timestamp
    shop.arrive(1, 9, NOW - 6 * DAY, NOW + DAY)  # late, and older than what is online
    read = rows_read(guard, NOW + 2 * DAY, incremental=True)
    assert read == {"known": 3, "plain": 0}
    assert shop.online(guard, "known") == {1: 10, 2: 21, 3: 30}
    assert shop.online(guard, "plain") == {1: 10, 2: 20}  # nothing tells when these rows came
    assert rows_read(guard, NOW + 2 * DAY, incremental=True, look_back="8d")["plain"] == 3
    assert shop.online(guard, "plain")[3] == 30
    guard.materialize(as_of=NOW + 2 * DAY)
    assert shop.online(guard, "known") == {1: 10, 2: 21, 3: 30}


@pytest.mark.parametrize(("late", "caught"), [(timedelta(0), True), (timedelta(microseconds=1), False)])
def test_the_edge_of_the_look_back(shop: Shop, guard: SkewGuard, late: timedelta, caught: bool) -> None:
    """What happened after the watermark less the look-back is read; at that very moment it was read before."""
    guard.materialize(as_of=NOW)
    shop.arrive(3, 30, NOW - DAY + timedelta(microseconds=1) - late, NOW - 30 * DAY)
    assert (rows_read(guard, NOW + DAY, incremental=True)["plain"] == 1) is caught


def test_the_windows_join(shop: Shop, guard: SkewGuard) -> None:
    guard.materialize(as_of=NOW)
    guard.materialize(as_of=NOW + DAY, incremental=True, look_back="6h")
    last = guard.feast.windows()["known"][-1]
    assert last == (NOW - timedelta(hours=6), NOW + DAY)


@pytest.mark.parametrize("wrong", ["soon", "-1d", "3 parsecs", timedelta(seconds=-1)])
def test_a_wrong_look_back(guard: SkewGuard, wrong: Any) -> None:
    with pytest.raises(BadInputError, match="look_back"):
        guard.materialize(as_of=NOW, incremental=True, look_back=wrong)


def test_a_look_back_without_incremental(guard: SkewGuard) -> None:
    with pytest.raises(BadInputError, match="incremental"):
        guard.materialize(as_of=NOW, look_back="1d")
