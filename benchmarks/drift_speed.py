"""Profile and test 1,000,000 rows x 50 columns against 1,000,000: ours beside Evidently's drift preset, same frames.

Each run is a process of its own: ``python -m benchmarks.drift_speed SIDE FOLDER``; without arguments both are run.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.processes import result, tell

RESULTS = Path(__file__).parent / "results" / "drift_speed.json"
ROWS, NUMBERS, TEXTS = 1_000_000, 40, 10
_NAME = "benchmarks.drift_speed"


def write(folder: Path, rows: int = ROWS) -> None:
    """Two frames: forty numeric columns and ten of twelve categories; a twentieth of the numbers is null."""
    for number, name in enumerate(("reference", "current")):
        random = np.random.default_rng(number)
        columns: dict[str, pa.Array] = {
            f"n{i}": pa.array(random.normal(size=rows), mask=random.random(rows) < 0.05) for i in range(NUMBERS)
        }
        names = pa.array([f"category {i}" for i in range(12)])
        for i in range(TEXTS):
            columns[f"t{i}"] = names.take(pa.array(random.integers(0, 12, rows)))
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")


@dataclass(frozen=True)
class _File:
    """Vectors in a Parquet file, read a column at a time, as those of the serving log are."""

    path: Path

    @property
    def rows(self) -> int:
        return int(pq.read_metadata(self.path).num_rows)

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(f"v__{name}" for name in pq.read_schema(self.path).names)

    def read(self, names: Sequence[str]) -> pa.Table:
        table = pq.read_table(self.path, columns=[name[3:] for name in names])
        return table.rename_columns(list(names))


def ours(folder: Path) -> float:
    """Profiles of both frames, all tests and measures, judged; reading is part of the time."""
    from skewguard.checks.distribution import Night, check_distribution
    from skewguard.config import Drift
    from skewguard.drift.judging import Comparison
    from skewguard.drift.vectors import DriftColumn, profile_vectors

    started = time.perf_counter()
    vectors = [_File(folder / f"{name}.parquet") for name in ("reference", "current")]
    columns = [DriftColumn("v", name[3:], "", None) for name in sorted(vectors[0].columns)]
    reference = profile_vectors(vectors[0], columns)
    current = profile_vectors(vectors[1], columns, {name: profile.bins for name, profile in reference.items()})
    comparisons = [
        Comparison(c.view, c.feature, c.dtype, "contract", reference[c.name], current[c.name]) for c in columns
    ]
    found = check_distribution(Night(comparisons), Drift())
    assert len(found.drift) == NUMBERS + TEXTS
    return time.perf_counter() - started


def evidently(folder: Path) -> float:
    """Evidently's DataDriftPreset on the same frames in pandas."""
    os.environ["DO_NOT_TRACK"] = "1"
    warnings.simplefilter("ignore")
    from evidently import Report
    from evidently.presets import DataDriftPreset

    reference, current = (pq.read_table(folder / f"{name}.parquet").to_pandas() for name in ("reference", "current"))
    started = time.perf_counter()
    report = Report([DataDriftPreset()]).run(current, reference)
    assert report.dict()["metrics"]
    return time.perf_counter() - started


SIDES: dict[str, Callable[[Path], float]] = {"ours": ours, "evidently": evidently}


def main() -> None:
    if len(sys.argv) == 3:
        tell(seconds=SIDES[sys.argv[1]](Path(sys.argv[2])))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        runs = {
            side: [result(_NAME, side, folder) for _ in range(times)] for side, times in (("ours", 3), ("evidently", 1))
        }
    best = {side: sorted(found, key=lambda one: one["seconds"])[len(found) // 2] for side, found in runs.items()}
    ratio = best["evidently"]["seconds"] / best["ours"]["seconds"]
    memory = best["evidently"]["peak_gb"] / best["ours"]["peak_gb"]
    print(json.dumps({**best, "times faster": round(ratio, 1), "times less memory": round(memory, 1)}))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(best, indent=2) + "\n")


if __name__ == "__main__":
    main()
