"""Point-in-time retrieval and materialization."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from benchmarks.data import NOW, Sizes, entity_rows
from skewguard import SkewGuard
from skewguard.feast_repo import quiet_feast
from skewguard.online.embedded import EmbeddedRedis

Pair = tuple[Callable[[], float], Callable[[], float]]


def _store(repo: Path, config: str) -> object:
    with quiet_feast():
        from feast import FeatureStore

        return FeatureStore(repo_path=str(repo), fs_yaml_file=repo / config)


def point_in_time(repo: Path, sizes: Sizes) -> Pair:
    """``get_historical_features(...).to_arrow()`` through our plug-in and through Feast's DuckDB store; equal sums."""
    frame = entity_rows(sizes)
    sums: dict[str, float] = {}

    def run(config: str) -> Callable[[], float]:
        store = _store(repo, config)
        service = store.get_feature_service("service")  # type: ignore[attr-defined]

        def once() -> float:
            started = time.perf_counter()
            with quiet_feast():
                table = store.get_historical_features(frame.copy(), service).to_arrow()  # type: ignore[attr-defined]
            took = time.perf_counter() - started
            sums[config] = round(sum(v for v in table.column("f0").to_pylist() if v is not None), 6)
            if table.num_rows != len(frame) or len(set(sums.values())) > 1:
                raise AssertionError(f"answers differ: {sums}, {table.num_rows} rows")
            return took

        return once

    return run("feature_store.yaml"), run("feature_store.duckdb.yaml")


def materialize(repo: Path, redis: EmbeddedRedis) -> Pair:
    """The whole view into an empty Redis; the stored bytes must be equal."""
    guard = SkewGuard(repo)
    store = _store(repo, "feature_store.duckdb.yaml")
    stored: dict[str, object] = {}

    def timed(side: str, work: Callable[[], object]) -> float:
        with redis.client() as client:
            client.flushall()
            started = time.perf_counter()
            work()
            took = time.perf_counter() - started
            keys = sorted(client.scan_iter())
            stored[side] = (len(keys), [sorted(client.hgetall(key).items()) for key in keys[:200]])
        if len(stored) == 2 and stored["ours"] != stored["feast"]:
            raise AssertionError("the stored bytes differ")
        return took

    def ours() -> float:
        return timed("ours", lambda: guard.materialize(as_of=NOW))

    def feast() -> float:
        def work() -> None:
            with quiet_feast():
                store.materialize(NOW - timedelta(days=30), NOW)  # type: ignore[attr-defined]

        return timed("feast", work)

    return ours, feast
