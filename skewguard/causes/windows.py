"""Materialized windows: when a row at an event timestamp was first written online."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from skewguard.causes.relation import Integers, Mask

NEVER = np.iinfo(np.int64).max
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEGINNING = datetime(1, 1, 2, tzinfo=UTC)


class Windows:
    """The windows (start, end; UTC, both ends in) of a view; none known means one that ended at the watermark."""

    def __init__(self, windows: Sequence[tuple[datetime, datetime]], watermark: datetime) -> None:
        spans = sorted((_micros(a), _micros(b)) for a, b in windows or ((_BEGINNING, watermark),))
        edges = sorted({edge for a, b in spans for edge in (a, b + 1)})
        self._ends = np.array(sorted(b for _, b in spans), dtype=np.int64)
        self._edges = np.array(edges, dtype=np.int64)
        self._first = np.array([NEVER, *_first_ends(spans, edges)], dtype=np.int64)

    def first_end(self, stamps: Integers) -> Integers:
        """Microseconds since 1970: the earliest end of the windows that hold each stamp (same unit), or ``NEVER``."""
        found: npt.NDArray[np.int64] = self._first[np.searchsorted(self._edges, stamps, side="right")]
        return found

    def hold(self, stamps: Integers) -> Mask:
        """Does a window hold each stamp?"""
        inside: Mask = self.first_end(stamps) != NEVER
        return inside

    def runs(self, stamps: Integers, created: Integers) -> Integers:
        """How many runs had ended, from the first that held a row's event timestamp on, before the row was created."""
        before = np.searchsorted(self._ends, created, side="left")
        passed = before - np.searchsorted(self._ends, self.first_end(stamps), side="left")
        late: Integers = np.maximum(passed, 0)
        return late


def _first_ends(spans: Sequence[tuple[int, int]], edges: Sequence[int]) -> list[int]:
    """From each edge to the next: the earliest end of the windows open there."""
    found, opened, waiting = [], list[int](), 0
    for edge in edges:
        while waiting < len(spans) and spans[waiting][0] <= edge:
            heapq.heappush(opened, spans[waiting][1])
            waiting += 1
        while opened and opened[0] < edge:
            heapq.heappop(opened)
        found.append(opened[0] if opened else int(NEVER))
    return found


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)
