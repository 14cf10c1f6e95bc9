"""Ranges of floats in answers of many rows, asked of the stored bytes of a whole view at once.

NumPy needs a tenth of the time that ``min`` and ``max`` of each column take. It adds 12 MB to a worker, and is imported
by those alone that have such rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from online_api.lookup import ViewColumns, ViewRead

_STORED = {"DOUBLE": np.dtype([("tag", "u1"), ("value", "<f8")]), "FLOAT": np.dtype([("tag", "u1"), ("value", "<f4")])}
"""A value as ``ViewColumns.joined`` has it."""


class FloatRanges:
    """The ranges of one look-up: by read (its number among ``reads``) and feature, the least and the largest value."""

    def __init__(self, ranges: Mapping[tuple[int, str], tuple[float, float]], reads: Sequence[ViewRead]) -> None:
        self._blocks: list[tuple[int, str, Any, Any]] = []
        for number, read in enumerate(reads):
            for dtype, places in read.floats.items():
                if any((number, name) in ranges for name, _ in places):
                    ends = np.array([ranges.get((number, name), (-np.inf, np.inf)) for name, _ in places])
                    self._blocks.append((number, dtype, ends[:, :1], ends[:, 1:]))

    def hold(self, views: Sequence[ViewColumns], rows: int) -> bool:
        """True where every value is there and in its range; False where one may not be."""
        for read, dtype, low, high in self._blocks:
            joined = views[read].joined.get(dtype)
            if joined is None:
                return False
            values = np.frombuffer(joined, _STORED[dtype])["value"].reshape(-1, rows)
            if not ((values >= low) & (values <= high)).all():
                return False
        return True
