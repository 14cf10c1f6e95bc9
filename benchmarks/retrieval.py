"""Point-in-time retrieval: our offline store, Feast's DuckDB store and the bare ASOF query; time, peak memory, growth.

Each run is a process of its own, so that its peak memory is its own: ``python -m benchmarks.retrieval SIDE REPO ROWS``
(sides "ours", "feast", "bare"; "file" and "bare-limited" under a memory limit of 2 GB, the first into a file).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.cases import Case
from benchmarks.data import DEFINITIONS, NOW, Sizes, feast_store, write_repo
from benchmarks.processes import result, tell
from skewguard import SkewGuard
from skewguard.feast_repo import FeastRepo, quiet_feast

ROWS = 1_000_000
CONFIGS = {"ours": "feature_store.yaml", "feast": "feature_store.duckdb.yaml"}
MEMORY_LIMIT = "2GB"


def cases(folder: Path, connection_string: str, *, large: bool) -> Iterator[Case]:
    """The first row of the table, its memory, and how the time grows with entity rows and with source rows."""
    repo = write_repo(folder / "retrieval", connection_string, Sizes(10_000, 365, 20))
    peaks: dict[str, Any] = {}
    yield Case(
        "point in time, 1 M x 3.65 M rows x 20",
        "s",
        _run("ours", repo, ROWS, peaks),
        _run("feast", repo, ROWS, peaks),
        _run("bare", repo, ROWS, peaks),
        "15 x Feast, a quarter of its memory, 1.5 x floor",
        peaks,
    )
    if not large:
        return
    yield Case(
        "point in time, 10 M entity rows (floor: 10 x the time of 1 M)",
        "s",
        _run("ours", repo, 10_000_000, peaks := {}),
        None,
        _times(10, _run("ours", repo, ROWS, {})),
        "1.3 x floor",
        peaks,
    )
    wide = write_repo(folder / "more", connection_string, Sizes(100_000, 365, 20))
    yield Case(
        "point in time, 36.5 M source rows (floor: 10 x the time of 3.65 M)",
        "s",
        _run("ours", wide, ROWS, peaks := {}),
        None,
        _times(10, _run("ours", repo, ROWS, {})),
        "1.3 x floor",
        peaks,
    )
    yield Case(
        "point in time, each row corrected once (floor: no ties)",
        "s",
        _run("ours", _corrected(repo, folder / "corrected"), ROWS, peaks := {}),
        None,
        _run("ours", repo, ROWS, {}),
        "",
        peaks,
    )
    yield Case(
        f"point in time, 100 M source rows, {MEMORY_LIMIT}, into a file",
        "s",
        _run("file", _write_large(folder / "large", connection_string), ROWS, peaks := {}),
        None,
        _run("bare-limited", folder / "large", ROWS, peaks),
        "completes",
        peaks,
    )


def _corrected(repo: Path, folder: Path) -> Path:
    """The repository with each row twice, the second created later, with other values."""
    folder.mkdir()
    before, after = repo / "data.parquet", folder / "data.parquet"
    rows = f"FROM read_parquet('{before}')"
    later = "REPLACE (created + INTERVAL 5 MINUTE AS created, f0 + 1 AS f0)"
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT * {rows} UNION ALL SELECT * {later} {rows}) TO '{after}'")
    (folder / "definitions.py").write_text((repo / "definitions.py").read_text().replace(str(before), str(after)))
    (folder / CONFIGS["ours"]).write_text((repo / CONFIGS["ours"]).read_text())
    FeastRepo(folder).apply()
    return folder


def _write_large(folder: Path, connection_string: str) -> Path:
    """100 million rows, one file for ten days: a million entities, a hundred days, five features."""
    source = folder / "data.parquet"
    source.mkdir(parents=True)
    values = ", ".join(f"hash(user_id * 1000003 + day * 101 + {i}) / 18446744073709551616.0 AS f{i}" for i in range(5))
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        for first in range(0, 100, 10):
            con.execute(f"""
                COPY (
                    SELECT user_id, TIMESTAMPTZ '{NOW.isoformat()}' - INTERVAL 1 DAY * day AS event_timestamp,
                        event_timestamp + INTERVAL 1 HOUR AS created, {values}
                    FROM range({first}, {first + 10}) d(day), range(1000000) u(user_id)
                ) TO '{source / f"{first}.parquet"}'
            """)
    (folder / "definitions.py").write_text(DEFINITIONS.format(features=5, path=source))
    (folder / CONFIGS["ours"]).write_text(
        f"project: large\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        f"online_store: {{type: redis, connection_string: '{connection_string}'}}\n"
        "offline_store: {type: skewguard.offline.store.SkewguardOfflineStore}\n"
    )
    FeastRepo(folder).apply()
    return folder


def _times(factor: float, run: Callable[[], float]) -> Callable[[], float]:
    return lambda: factor * run()


def _run(side: str, repo: Path, rows: int, peaks: dict[str, Any]) -> Callable[[], float]:
    def once() -> float:
        told = result("benchmarks.retrieval", side, repo, rows)
        peaks.setdefault("peak_gb", {})[side] = told["peak_gb"]
        if told["checksum"] != peaks.setdefault("checksum", told["checksum"]):
            raise AssertionError(f"{side} gave other values: {result['checksum']} against {peaks['checksum']}")
        return float(told["seconds"])

    return once


def entity_rows(rows: int, entities: int, days: int) -> pd.DataFrame:
    """Entity rows at random minutes inside the data."""
    random = np.random.default_rng(1)
    minutes = random.integers(0, days * 24 * 60, rows)
    at = np.datetime64(NOW.replace(tzinfo=None), "us") - minutes.astype("timedelta64[m]")
    return pd.DataFrame(
        {"user_id": random.integers(0, entities, rows), "event_timestamp": pd.to_datetime(at, utc=True)}
    )


def _files(repo: Path) -> Path:
    source = repo / "data.parquet"
    return source / "*.parquet" if source.is_dir() else source


def _entities(repo: Path) -> tuple[int, int]:
    sql = f"SELECT max(user_id) + 1, count(*) FROM read_parquet('{_files(repo)}')"
    found = duckdb.sql(sql).fetchone()
    assert found is not None
    return found[0], found[1] // found[0]


def _through_feast(repo: Path, config: str, frame: pd.DataFrame) -> tuple[float, pa.Table]:
    store = feast_store(repo, config)
    service = store.get_feature_service("service")
    started = time.perf_counter()
    with quiet_feast():
        table = store.get_historical_features(frame, service).to_arrow()
    return time.perf_counter() - started, table


def _into_file(repo: Path, frame: pd.DataFrame) -> tuple[float, pa.Table]:
    guard, output = SkewGuard(repo), repo / "features.parquet"
    started = time.perf_counter()
    guard.historical_features(frame, "service", output=output, memory_limit=MEMORY_LIMIT)
    return time.perf_counter() - started, pq.read_table(output, columns=["f0"])


def _bare(repo: Path, frame: pd.DataFrame, memory_limit: str | None = None) -> tuple[float, pa.Table]:
    """The ASOF join that anybody would write: no ties decided, no order kept."""
    rows = pa.Table.from_pandas(frame, preserve_index=False)
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'; SET asof_loop_join_threshold = 0")
    if memory_limit is not None:
        con.execute("SET memory_limit = $1", [memory_limit])
        con.execute("SET temp_directory = $1", [str(repo / "spill")])
    con.register("rows", rows)
    started = time.perf_counter()
    sql = f"""
        SELECT e.*, COLUMNS(s.* EXCLUDE (user_id, event_timestamp, created))
        FROM rows e ASOF LEFT JOIN read_parquet('{_files(repo)}') s
        ON e.user_id = s.user_id AND e.event_timestamp >= s.event_timestamp
    """
    table = con.execute(sql).to_arrow_table()
    return time.perf_counter() - started, table


def main(side: str, repo: Path, rows: int) -> None:
    """One run: seconds, peak memory in GB, and a sum that must be the same on every side."""
    frame = entity_rows(rows, *_entities(repo))
    if side in CONFIGS:
        seconds, table = _through_feast(repo, CONFIGS[side], frame)
    elif side == "file":
        seconds, table = _into_file(repo, frame)
    else:
        seconds, table = _bare(repo, frame, MEMORY_LIMIT if side == "bare-limited" else None)
    if table.num_rows != rows:
        raise AssertionError(f"{table.num_rows} rows for {rows}")
    checksum = round(float(np.nansum(table.column("f0").to_numpy())), 3)
    tell(seconds=seconds, checksum=checksum)


if __name__ == "__main__":
    os.environ.setdefault("TZ", "UTC")
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
