"""Materialization and the bulk read of the online store."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import hiredis
import numpy as np
import pyarrow as pa

from benchmarks.cases import Case
from benchmarks.data import NOW, Sizes, feast_store
from skewguard import SkewGuard
from skewguard.feast_repo import quiet_feast
from skewguard.online.connection import connect
from skewguard.online.embedded import EmbeddedRedis
from skewguard.online.encoded import Encoder
from skewguard.online.keys import feature_field, timestamp_field
from skewguard.online.reader import read_view
from skewguard.online.wire import resp_command

ENTITIES_ASKED_OF_FEAST = 10_000


def materialize(repo: Path, sizes: Sizes, redis: EmbeddedRedis) -> Case:
    """A whole view into an empty Redis; the stored bytes must be equal."""
    guard = SkewGuard(repo)
    store = feast_store(repo, "feature_store.duckdb.yaml")
    stored: dict[str, object] = {}

    def timed(side: str, work: Callable[[], object]) -> float:
        with redis.client() as client:
            client.flushall()
            started = time.perf_counter()
            work()
            took = time.perf_counter() - started
            keys = sorted(client.scan_iter(count=1000))
            stored[side] = (len(keys), [sorted(client.hgetall(key).items()) for key in keys[:: len(keys) // 200]])
        if len(stored) > 1 and stored[side] != stored["ours"]:
            raise AssertionError(f"the stored bytes of {side} differ")
        return took

    def feast() -> None:
        with quiet_feast():
            store.materialize(NOW - timedelta(days=30), NOW)

    prepared = _prepared(guard, sizes)
    return Case(
        f"materialize {sizes.entities:,} x {sizes.features}",
        "s",
        lambda: timed("ours", lambda: guard.materialize(as_of=NOW)),
        lambda: timed("feast", feast),
        lambda: timed("floor", lambda: _pour(redis, prepared, sizes.entities)),
        "15 x Feast, 2 x floor",
    )


def _prepared(guard: SkewGuard, sizes: Sizes) -> bytes:
    """The HSET commands of the whole view, as one stream."""
    from skewguard.offline.asof import latest_rows
    from skewguard.offline.sources import connect as connect_offline

    view = guard.feast.view("stats")
    with connect_offline() as con:
        rows = latest_rows(con, view, NOW)
    encoder = Encoder(guard.feast.project, view, rows)
    return b"".join(
        b"".join(encoder.encode((start, min(start + 5000, sizes.entities))).sets().to_pylist())
        for start in range(0, sizes.entities, 5000)
    )


def _pour(redis: EmbeddedRedis, stream: bytes, replies: int) -> None:
    """Send a prepared stream and count the answers: what Redis itself takes."""
    with socket.create_connection((redis.host, redis.port)) as connection:
        sender = threading.Thread(target=connection.sendall, args=(stream,))
        sender.start()
        reader = hiredis.Reader()
        while replies:
            reader.feed(connection.recv(1 << 20))
            while reader.gets() is not False:
                replies -= 1
        sender.join()


def bulk_read(repo: Path, sizes: Sizes, redis: EmbeddedRedis) -> Case:
    """A whole view out of Redis into Arrow."""
    guard = SkewGuard(repo)
    guard.materialize(as_of=NOW)
    view = guard.feast.view("stats")
    entities = pa.table({"user_id": np.arange(sizes.entities)})
    store = feast_store(repo, "feature_store.yaml")
    service = store.get_feature_service("service")

    def ours() -> float:
        client = connect(redis.settings)
        started = time.perf_counter()
        table = read_view(client, guard.feast.project, view, entities)
        took = time.perf_counter() - started
        client.close()
        if table.column("f0").null_count or table.num_rows != sizes.entities:
            raise AssertionError("rows are missing online")
        return took

    def feast() -> float:
        asked = min(ENTITIES_ASKED_OF_FEAST, sizes.entities)
        started = time.perf_counter()
        for start in range(0, asked, 1000):
            with quiet_feast():
                rows = [{"user_id": key} for key in range(start, start + 1000)]
                store.get_online_features(service, rows).to_arrow()
        return (time.perf_counter() - started) * sizes.entities / asked

    fields = [*(feature_field("stats", f.name) for f in view.features), timestamp_field("stats")]
    encoder_keys = _keys(guard, entities)
    commands = [resp_command(b"HMGET", key, *fields) for key in encoder_keys]
    return Case(
        f"bulk read {sizes.entities:,} x {sizes.features} into Arrow",
        "s",
        ours,
        feast,
        lambda: _ask(redis, commands),
        "20 x Feast, 3 x floor",
        {"feast": f"get_online_features of {ENTITIES_ASKED_OF_FEAST:,} entities, a thousand at a time, scaled up"},
    )


def _keys(guard: SkewGuard, entities: pa.Table) -> Sequence[bytes]:
    from skewguard.online.key_columns import entity_keys

    keys: list[bytes] = entity_keys(guard.feast.project, guard.feast.view("stats").join_keys, entities).to_pylist()
    return keys


def _ask(redis: EmbeddedRedis, commands: Sequence[bytes], batch: int = 500) -> float:
    """HMGET of every entity, pipelined, with the answers thrown away; all answers are equally long."""
    with socket.create_connection((redis.host, redis.port)) as connection:
        connection.sendall(commands[0])
        time.sleep(0.05)
        size = len(connection.recv(1 << 20))
        streams = [b"".join(commands[start : start + batch]) for start in range(0, len(commands), batch)]
        buffer = bytearray(1 << 20)
        started = time.perf_counter()
        connection.sendall(streams[0])
        for number in range(len(streams)):
            if number + 1 < len(streams):
                connection.sendall(streams[number + 1])
            left = size * min(batch, len(commands) - number * batch)
            while left:
                left -= connection.recv_into(buffer, min(left, len(buffer)))
        return time.perf_counter() - started
