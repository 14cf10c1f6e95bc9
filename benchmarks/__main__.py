"""``make bench``: ours and Feast's in turn, medians and ratios, and the floor: the bare query, the bare Redis.

Prints a table and writes benchmarks/results/latest.json. benchmarks/README.md says what each figure means.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import drills, online, parity, replay, retrieval, serving
from benchmarks.cases import Case, Row, measure
from benchmarks.data import Sizes, write_repo
from skewguard.online.embedded import EmbeddedRedis

RESULTS = Path(__file__).parent / "results" / "latest.json"
PARTS = ("retrieval", "materialize", "bulk-read", "serving", "parity", "replay")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side (default 3); the median counts")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part; repeat for several")
    parser.add_argument("--large", action="store_true", help="also how retrieval grows (10 M rows; 12 GB of disk)")
    parser.add_argument("what", nargs="?", choices=["drills"], help="instead of figures: are drills seen?")
    arguments = parser.parse_args()
    if arguments.what == "drills":
        raise SystemExit(0 if drills.run(RESULTS.with_name("drills.json"), machine()) else 1)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis() as redis:
        for part in arguments.only or PARTS:
            for case in _cases(part, Path(folder), redis, arguments.large):
                rows.append(measure(case, arguments.repeat))
                print(rows[-1].line(), flush=True)
                if case.also:
                    print(f"    {json.dumps(case.also)}", flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    results = {"machine": machine(), "rows": [row.data() for row in rows]}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\n{json.dumps(results['machine'])}\nWritten: {RESULTS}")


def _cases(part: str, folder: Path, redis: EmbeddedRedis, large: bool) -> Iterator[Case]:
    address = redis.connection_string
    with redis.client() as client:
        client.flushall()
    if part == "retrieval":
        yield from retrieval.cases(folder, address, large=large)
    elif part == "parity":
        yield from parity.cases(folder, address)
    elif part == "replay":
        yield from replay.cases(folder, address)
    elif part == "materialize":
        sizes = Sizes(50_000, 3, 50)
        yield online.materialize(write_repo(folder / part, address, sizes), sizes, redis)
    elif part == "bulk-read":
        sizes = Sizes(200_000, 1, 50)
        yield online.bulk_read(write_repo(folder / part, address, sizes), sizes, redis)
    else:
        sizes = Sizes(5_000, 1, 50)
        narrow = write_repo(folder / "narrow", address, Sizes(5_000, 1, 10), project="narrow")
        wide = write_repo(folder / "wide", address, sizes)
        yield from serving.cases(wide, narrow, sizes, os.cpu_count() or 1)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    names = ("feast", "duckdb", "redis", "hiredis", "pyarrow", "numpy", "uvicorn", "fastapi")
    versions = {name: importlib.metadata.version(name) for name in names}
    return {"cores": os.cpu_count(), "python": platform.python_version(), "date": time.strftime("%Y-%m-%d"), **versions}


if __name__ == "__main__":
    main()
