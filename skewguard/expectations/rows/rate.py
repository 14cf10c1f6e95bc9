"""The policy ``rate``: what share of the values served lately is as a rule expects, against its ``mostly``."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from skewguard.errors import BadInputError
from skewguard.expectations.rows.suite import RowRule


@dataclass(frozen=True)
class RateState:
    """Where a rule stands: ``judged`` values in the window, ``unexpected`` of them wrong.

    ``share`` is that of the values as expected, None where none was judged. ``alarm``: it is below ``mostly``, and at
    least as many were judged as the window asks for.
    """

    rule: RowRule
    judged: int
    unexpected: int
    share: float | None
    alarm: bool


@dataclass
class _Bucket:
    start: float
    rows: int
    unexpected: list[int]
    skipped: list[int]


class RateWindow:
    """Counts of the last ``seconds``, in ``buckets`` of equal length; the oldest leaves as a whole.

    One window counts what one process serves. A rule alarms while the share of values as expected is below its
    ``mostly`` ((n - u) / n < mostly, as GX has it) among at least ``min_rows`` judged ones. Thread-safe. ``clock``
    gives seconds that never go back.
    Raises BadInputError for arguments out of range.
    """

    def __init__(
        self,
        rules: Iterable[RowRule],
        seconds: float = 300.0,
        min_rows: int = 100,
        *,
        buckets: int = 10,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, value, least in (("seconds", seconds, 1), ("min_rows", min_rows, 1), ("buckets", buckets, 1)):
            if value < least:
                raise BadInputError(name, repr(value), f"at least {least}")
        self.rules = tuple(rules)
        self.seconds, self.min_rows = seconds, min_rows
        self.alarms = 0
        """Mask of the rules that alarm, as of the last count."""
        self._all = (1 << len(self.rules)) - 1
        self._length = seconds / buckets
        self._clock = clock
        self._lock = threading.Lock()
        self._rows = 0
        self._unexpected = [0] * len(self.rules)
        self._skipped = [0] * len(self.rules)
        self._past: deque[_Bucket] = deque()
        self._now = self._fresh(clock())
        self._turn = self._now.start + self._length

    def add(self, rows: int, bad: Iterable[int], skipped: Iterable[int]) -> int:
        """Count so many rows, with the masks that ``RowValidator.tally`` gave (zeros may be left out).

        Returns ``alarms``. Bits of broken rules count as nothing judged.
        """
        with self._lock:
            now = self._clock()
            if now >= self._turn:
                self._roll(now)
            self._rows += rows
            self._now.rows += rows
            touched = self.alarms
            for mask in bad:
                if mask:
                    self._count(mask & self._all, self._unexpected, self._now.unexpected)
                    touched |= mask
            for mask in skipped:
                if mask:
                    self._count(mask & self._all, self._skipped, self._now.skipped)
            # without a wrong value no share falls, so that only rules with one, and those that alarm, can change
            if touched:
                self._judge(touched & self._all)
            return self.alarms

    def state(self) -> tuple[RateState, ...]:
        """Where every rule stands now, in order."""
        with self._lock:
            now = self._clock()
            if now >= self._turn:
                self._roll(now)
            return tuple(self._state(bit) for bit in range(len(self.rules)))

    def _fresh(self, start: float) -> _Bucket:
        return _Bucket(start, 0, [0] * len(self.rules), [0] * len(self.rules))

    @staticmethod
    def _count(mask: int, total: list[int], bucket: list[int]) -> None:
        while mask:
            low = mask & -mask
            bit = low.bit_length() - 1
            total[bit] += 1
            bucket[bit] += 1
            mask ^= low

    def _roll(self, now: float) -> None:
        """A new bucket; those that began before the window leave it."""
        self._past.append(self._now)
        self._now = self._fresh(now)
        self._turn = now + self._length
        while self._past and self._past[0].start <= now - self.seconds:
            gone = self._past.popleft()
            self._rows -= gone.rows
            for bit in range(len(self.rules)):
                self._unexpected[bit] -= gone.unexpected[bit]
                self._skipped[bit] -= gone.skipped[bit]
        self._judge(self._all)

    def _judge(self, mask: int) -> None:
        while mask:
            low = mask & -mask
            alarm = self._state(low.bit_length() - 1).alarm
            self.alarms = self.alarms | low if alarm else self.alarms & ~low
            mask ^= low

    def _state(self, bit: int) -> RateState:
        rule, unexpected = self.rules[bit], self._unexpected[bit]
        judged = self._rows - self._skipped[bit]
        share = (float(judged) - float(unexpected)) / float(judged) if judged else None
        alarm = share is not None and judged >= self.min_rows and share < rule.mostly
        return RateState(rule, judged, unexpected, share, alarm)
