"""The parity check of a million entities: from both stores, and of two frames in memory beside datacompy.

A hundredth of one feature's values is online in another unit. Each run is a process of its own:
``python -m benchmarks.parity SIDE REPO``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.cases import Case
from benchmarks.data import NOW, Sizes, write_repo
from benchmarks.processes import run, tell
from skewguard import SkewGuard, running
from skewguard.causes.keys import DIFFERENCE, STORED
from skewguard.checks.parity import check_parity
from skewguard.compare.sides import Chunk, Outside, ViewSides
from skewguard.offline.asof import latest_rows
from skewguard.offline.evidence import SourceEvidence
from skewguard.offline.sources import connect as connect_offline
from skewguard.online.materializer import write_rows
from skewguard.online.reader import read_view
from skewguard.sql import CREATED_TS, EVENT_TS
from skewguard.view_rows import CHUNK_ROWS

SMALL, LARGE = 100_000, 1_000_000
FEATURES = 50
WRONG = 0.01
_NAME = "benchmarks.parity"


def cases(folder: Path, connection_string: str) -> Iterator[Case]:
    """Time and peak memory, growth, and the comparison alone."""
    for entities in (SMALL, LARGE):
        repo = write_repo(folder / f"parity{entities}", connection_string, Sizes(entities, 2, FEATURES), f"p{entities}")
        _fill(repo, entities)
        also: dict[str, Any] = {}
        yield Case(
            f"parity, {entities:,} x {FEATURES}, from the stores",
            "s",
            run(_NAME, "stores", repo, also),
            floor=run(_NAME, "redis", repo, also),
            also=also,
            named={"floor": "reading Redis alone"},
        )
    also = {}
    yield Case(
        f"parity, {LARGE:,} x {FEATURES}, two frames",
        "s",
        run(_NAME, "frames", repo, also),
        run(_NAME, "datacompy-pandas", repo, also),
        run(_NAME, "datacompy-polars", repo, also),
        also=also,
        named={"feast": "datacompy on pandas", "floor": "datacompy on Polars"},
    )


def _fill(repo: Path, entities: int) -> None:
    """Materialize, spoil a hundredth of one feature, and keep both sides as frames."""
    guard = SkewGuard(repo)
    guard.materialize(as_of=NOW)
    view = guard.feast.view("stats")
    with running.stores(guard) as (con, client):
        rows = latest_rows(con, view, NOW)
        wrong = rows.filter(pa.array(np.random.default_rng(1).random(entities) < WRONG))
        at = wrong.column_names.index("f0")
        wrong = wrong.set_column(at, "f0", pc.multiply(wrong.column("f0"), 100.0))
        write_rows(client, guard.feast.project, view, wrong.drop_columns([CREATED_TS]))
        pq.write_table(rows, repo / "offline.parquet")
        pq.write_table(read_view(client, guard.feast.project, view, rows), repo / "online.parquet")


@dataclass(frozen=True)
class _Frames:
    """Both sides from frames, in the chunks in which they would come from the stores."""

    offline: pa.Table
    online: pa.Table

    def chunks(self) -> Iterator[Chunk]:
        for start in range(0, self.offline.num_rows, CHUNK_ROWS):
            truth, online = (side.slice(start, CHUNK_ROWS) for side in (self.offline, self.online))
            yield Chunk(truth, online, truth.slice(0, 0))

    def values(self, column: str, at_most: int) -> pa.Array:
        step = max(1, self.offline.num_rows // at_most)
        return self.offline.column(column).combine_chunks()[::step]

    def close(self) -> None:
        """The frames are the caller's."""


class _NothingElse:
    """Frames hold no other entities."""

    def outside(self, missing: pa.Table) -> Outside:
        texts = pa.array([], pa.string())
        twins = missing.slice(0, 0).append_column(STORED, texts).append_column(DIFFERENCE, texts)
        return Outside(twins, missing.slice(0, 0).append_column(EVENT_TS, pa.array([], pa.timestamp("us", "UTC"))))


def _stores(repo: Path) -> dict[str, Any]:
    guard = SkewGuard(repo)
    service, policy = guard.service("service"), guard.policy_for("service")
    started = time.perf_counter()
    with running.stores(guard, policy.memory_limit) as (con, client):
        collected = running.collect(guard, service, NOW, con, client)
        result = check_parity(collected.sides, policy, collected.skipped)
    return {"seconds": time.perf_counter() - started, "findings": [f.message for f in result.findings]}


def _redis(repo: Path) -> dict[str, Any]:
    guard = SkewGuard(repo)
    view = guard.feast.view("stats")
    keys = pq.read_table(repo / "offline.parquet", columns=["user_id"])
    started = time.perf_counter()
    with running.stores(guard) as (_, client):
        for start in range(0, keys.num_rows, CHUNK_ROWS):
            read_view(client, guard.feast.project, view, keys.slice(start, CHUNK_ROWS))
    return {"seconds": time.perf_counter() - started}


def _frames(repo: Path) -> dict[str, Any]:
    guard = SkewGuard(repo)
    view = guard.feast.view("stats")
    rows = _Frames(pq.read_table(repo / "offline.parquet"), pq.read_table(repo / "online.parquet"))
    started = time.perf_counter()
    with connect_offline() as con:
        evidence = SourceEvidence(con, view, view.features, NOW)
        sides = ViewSides(view, view.features, NOW, NOW, rows, evidence, _NothingElse())
        result = check_parity([sides], guard.policy_for("service"))
    return {"seconds": time.perf_counter() - started, "findings": [f.message for f in result.findings]}


def _datacompy(repo: Path, engine: str) -> dict[str, Any]:
    import datacompy

    names = ["user_id", *(f"f{i}" for i in range(FEATURES))]
    tables = [pq.read_table(repo / f"{side}.parquet", columns=names) for side in ("offline", "online")]
    if engine == "pandas":
        frames: list[Any] = [table.to_pandas() for table in tables]
        compare = datacompy.PandasCompare
    else:
        import polars

        frames = [polars.from_arrow(table) for table in tables]
        compare = datacompy.PolarsCompare
    started = time.perf_counter()
    found = compare(*frames, join_columns="user_id", rel_tol=1e-9)
    seconds = time.perf_counter() - started
    unequal = {stats["column"]: stats["unequal_cnt"] for stats in found.column_stats if stats["unequal_cnt"]}
    return {"seconds": seconds, "unequal": unequal}


def _main(side: str, repo: Path) -> None:
    sides: dict[str, Callable[[Path], dict[str, Any]]] = {
        "stores": _stores,
        "redis": _redis,
        "frames": _frames,
        "datacompy-pandas": lambda repo: _datacompy(repo, "pandas"),
        "datacompy-polars": lambda repo: _datacompy(repo, "polars"),
    }
    tell(**sides[side](repo))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
