"""A training table of every kind of column, whose label follows from its features."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

START = datetime(2026, 1, 5, tzinfo=UTC)
FEATURES = ("whole", "real", "flag", "kind", "seen_at", "numbers", "words")


def training_table(rows: int = 600, seed: int = 0) -> pa.Table:
    """Weekly as-of times; ``y`` is 1 more often where ``real`` is large or ``kind`` is "a"."""
    random = np.random.default_rng(seed)
    moments = [START + timedelta(weeks=int(i * 10 // rows)) for i in range(rows)]
    real = random.normal(size=rows)
    kind = random.choice(["a", "b", "c"], rows)
    label = (real + (kind == "a") + random.normal(scale=0.5, size=rows) > 0.3).astype(np.int64)
    hole = random.random((4, rows)) < 0.1

    def holed(values: list[object], index: int) -> list[object]:
        return [None if hole[index, i] else value for i, value in enumerate(values)]

    return pa.table(
        {
            "key": pa.array(range(rows), pa.int64()),
            "event_timestamp": pa.array(moments, pa.timestamp("us", "UTC")),
            "y": pa.array(label),
            "whole": pa.array(holed(random.integers(0, 9, rows).tolist(), 0), pa.int64()),
            "real": pa.array(real, pa.float32()),
            "flag": pa.array(holed((random.random(rows) < 0.5).tolist(), 1), pa.bool_()),
            "kind": pa.array(holed(kind.tolist(), 2), pa.string()),
            "seen_at": pa.array(holed([m - timedelta(days=3) for m in moments], 3), pa.timestamp("ns", "UTC")),
            "numbers": pa.array([None if i % 7 == 0 else [float(i), 1.0][: i % 3] for i in range(rows)],
                                pa.list_(pa.float64())),
            "words": pa.array([["x"] * (i % 4) for i in range(rows)], pa.list_(pa.string())),
        }
    )  # fmt: skip
