"""``make bench``: point-in-time retrieval, materialization and look-ups, ours and Feast's in turn, medians and ratios.

Prints a table and writes benchmarks/results/latest.json. benchmarks/README.md says what each figure means.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import lookups, retrieval
from benchmarks.data import Sizes, write_repo
from skewguard.online.embedded import EmbeddedRedis

RESULTS = Path(__file__).parent / "results" / "latest.json"
Case = tuple[str, str, Callable[[], float], Callable[[], float]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side (default 3); the median counts")
    parser.add_argument("--entities", type=int, default=5_000)
    parser.add_argument("--days", type=int, default=100, help="rows an entity")
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--entity-rows", type=int, default=100_000)
    parser.add_argument("--only", choices=("retrieval", "materialize", "lookups"))
    arguments = parser.parse_args()
    sizes = Sizes(arguments.entities, arguments.days, arguments.features, arguments.entity_rows)
    rows = []
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis() as redis:
        repo = write_repo(Path(folder) / "repo", redis.connection_string, sizes)
        for name, unit, ours, feast in _cases(repo, sizes, redis, arguments.only):
            rows.append(_measure(name, unit, ours, feast, arguments.repeat))
            print(_line(rows[-1]), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": _machine(), "sizes": vars(sizes), "rows": rows}, indent=2) + "\n")
    print(f"\n{json.dumps(_machine())}\nWritten: {RESULTS}")


def _cases(repo: Path, sizes: Sizes, redis: EmbeddedRedis, only: str | None) -> Iterator[Case]:
    if only in (None, "retrieval"):
        yield ("point-in-time retrieval", "s", *retrieval.point_in_time(repo, sizes))
    if only in (None, "materialize"):
        yield ("materialize", "s", *retrieval.materialize(repo, redis))
    if only in (None, "lookups"):
        with lookups.servers(repo, redis) as (ours, feast):
            for entities in (1, 100):
                yield (
                    f"look-up of {entities} x {sizes.features}, p50",
                    "ms",
                    *lookups.pair(ours, feast, entities, sizes),
                )


def _measure(
    name: str, unit: str, ours: Callable[[], float], feast: Callable[[], float], repeat: int
) -> dict[str, Any]:
    times: dict[str, list[float]] = {"ours": [], "feast": []}
    for _ in range(repeat):
        times["ours"].append(ours())
        times["feast"].append(feast())
    median = {side: statistics.median(values) for side, values in times.items()}
    return {"name": name, "unit": unit, **median, "ratio": median["feast"] / median["ours"], "runs": times}


def _line(row: dict[str, Any]) -> str:
    unit = row["unit"]
    return (
        f"{row['name']:<34} ours {row['ours']:9.3f} {unit}   Feast {row['feast']:9.3f} {unit}   {row['ratio']:6.1f} x"
    )


def _machine() -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in ("feast", "duckdb", "redis", "pyarrow")}
    return {"cores": os.cpu_count(), "python": platform.python_version(), "time": time.strftime("%Y-%m-%d"), **versions}


if __name__ == "__main__":
    main()
