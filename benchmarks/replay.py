"""The replay check over a log of a million served rows, beside one ``get_historical_features`` of Feast for them.

Feast only retrieves; ours retrieves, reads the log, compares, and classifies. Each run is a process of its own:
``python -m benchmarks.replay SIDE REPO``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.cases import Case
from benchmarks.data import NOW, Sizes, feast_store, write_repo
from benchmarks.processes import run, tell
from skewguard import SkewGuard
from skewguard.feast_repo import quiet_feast
from skewguard.replaying import replay
from skewguard.serving_log.folder import LogFolder

ROWS = 1_000_000
SIZES = Sizes(10_000, 30, 50)
_WRONG = 0.01


def cases(folder: Path, connection_string: str) -> Iterator[Case]:
    """Time and peak memory; a hundredth of one feature's values was served in another unit."""
    repo = write_repo(folder / "replay", connection_string, SIZES)
    (repo / "skewguard.yaml").write_text("serving_log: {keep: 36500d}\n")  # the generated data is of a day gone by
    _write_log(repo)
    peaks: dict[str, Any] = {}
    yield Case(
        f"replay, {ROWS:,} served rows x {SIZES.features}",
        "s",
        run("benchmarks.replay", "ours", repo, peaks),
        run("benchmarks.replay", "feast", repo, peaks),
        None,
        "reported; Feast only retrieves",
        peaks,
    )


def _entity_rows() -> pd.DataFrame:
    random = np.random.default_rng(5)
    seconds = random.integers(0, 86_399, size=ROWS)
    return pd.DataFrame(
        {
            "user_id": random.integers(0, SIZES.entities, size=ROWS),
            "event_timestamp": pd.Timestamp(NOW) - pd.to_timedelta(np.sort(seconds)[::-1], unit="s"),
        }
    )


def _write_log(repo: Path) -> None:
    """A day's segments, as the server writes them, of what offline says; some values a hundredfold."""
    guard = SkewGuard(repo)
    rows = _entity_rows()
    served = guard.historical_features(rows, "service")
    assert isinstance(served, pa.Table)
    moments = served.column("event_timestamp")
    columns: dict[str, Any] = {"user_id": served.column("user_id")}
    days = pd.DatetimeIndex(rows["event_timestamp"]).floor("D").as_unit("us")
    stamps = pa.array(days, pa.timestamp("us", tz="UTC"))
    statuses = pa.array(np.ones(ROWS, dtype=np.int32))
    for number in range(SIZES.features):
        values = served.column(f"f{number}").to_numpy().copy()
        if number == 0:
            values[np.random.default_rng(6).random(ROWS) < _WRONG] *= 100
        name = f"stats__f{number}"
        columns |= {name: values, f"{name}__timestamp": stamps, f"{name}__status": statuses}
    columns |= {
        "__log_timestamp": moments,
        "__log_date": moments.cast(pa.date32()),
        "__request_id": pa.array([f"r-{number}" for number in range(ROWS)]),
        "__row": np.zeros(ROWS, dtype=np.int32),
        "__as_of": moments,
    }
    table = pa.table(columns)
    folder = LogFolder.of(repo)
    hours = pd.DatetimeIndex(rows["event_timestamp"]).floor("h")
    for hour in hours.unique():
        place = folder.hour("service", hour.to_pydatetime())
        place.mkdir(parents=True)
        pq.write_table(table.filter(pa.array(hours == hour)), place / "1-benchmark.parquet", compression="zstd")


def _main(side: str, repo: Path) -> None:
    if side == "ours":
        guard = SkewGuard(repo)
        service = guard.service("service")
        started = time.perf_counter()
        result = replay(guard, service, NOW + timedelta(seconds=1))
        told: dict[str, Any] = {"compared": result.compared, "findings": [f.message for f in result.findings]}
    else:
        rows = _entity_rows()
        store = feast_store(repo, "feature_store.duckdb.yaml")
        started = time.perf_counter()
        with quiet_feast():
            table = store.get_historical_features(rows, store.get_feature_service("service")).to_arrow()
        told = {"rows": table.num_rows}
    seconds = time.perf_counter() - started
    tell(seconds=seconds, **told)


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
