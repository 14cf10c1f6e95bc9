"""The last known good rows of entities, in the memory of a worker: what fallbacks look at first.

Kept are the replies of Redis themselves, which exist anyway: a row of a view, by entity key, is good when every rule
held for it and no verdict named a feature of the view.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Any

CELLS = 500_000
"""Stored values that are kept at most (about 30 MB); the rows that were served longest ago go first."""

ANEW_AFTER = 1.0
"""Seconds for which a row that was kept stands for the same row: the cost of keeping is that of memory long unused."""

Reply = Any


@dataclass(slots=True)
class _Good:
    reply: Reply
    kept: float
    served: float


class LastGood:
    """Good rows by place (a number for each view of each prepared look-up) and entity key."""

    def __init__(self, cells: int = CELLS, clock: Callable[[], float] = monotonic) -> None:
        self._limit = cells
        self._clock = clock
        self._kept: dict[tuple[int, bytes], _Good] = {}
        self._cells = 0
        self._places = 0
        self._lock = threading.Lock()

    def new_places(self, count: int) -> range:
        """Numbers that nobody else has."""
        with self._lock:
            self._places += count
            return range(self._places - count, self._places)

    def keep(self, place: int, rows: Iterable[tuple[bytes, Reply]]) -> None:
        """Keep good rows: entity key and reply of each. One that was kept a moment ago stays as it was then."""
        now = self._clock()
        kept = self._kept
        with self._lock:
            for key, reply in rows:
                before = kept.get((place, key))
                if before is not None:
                    before.served = now
                    if now - before.kept < ANEW_AFTER:
                        continue
                    del kept[place, key]  # so that it comes last
                kept[place, key] = _Good(reply, now, now)
                self._cells += len(reply) if before is None else len(reply) - len(before.reply)
            while self._cells > self._limit:
                oldest = next(iter(kept))
                self._cells -= len(kept.pop(oldest).reply)

    def find(self, place: int, key: bytes, max_age: float) -> Reply | None:
        """The row, unless it was served longer ago than so many seconds."""
        found = self._kept.get((place, key))
        return found.reply if found is not None and self._clock() - found.served <= max_age else None

    @property
    def cells(self) -> int:
        """Stored values that are kept now."""
        return self._cells
