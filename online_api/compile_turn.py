"""Whose turn it is to compile: one process at a time, whatever number of workers and servers watch one repository.

A lock file beside the plan is held while a compilation runs (``flock``: it is free again when its holder dies). It also
keeps the last failure, so that all watchers wait together, longer after each failure, and all can say the reason.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from online_api.plan_files import SourceStamps

if sys.platform != "win32":
    import fcntl

FIRST_WAIT, LONGEST_WAIT = 5.0, 300.0
"""Seconds to wait after a first failure, doubled with each further one, and the most."""


@dataclass(frozen=True)
class Failure:
    """A compilation that failed: of which sources, how many times in a row, until when to wait (Unix time), and why."""

    newest: int
    times: int
    until: float
    reason: str

    def waits_at(self, now: float) -> bool:
        """Is it too soon to try again? Not when the clock was set back by more than any wait."""
        return now < self.until <= now + LONGEST_WAIT


def next_wait(times: int) -> float:
    """Seconds to wait after ``times`` failures in a row."""
    return min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(times - 1, 16))


class CompileTurn:
    """The turn while it is held."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def failure(self, sources: SourceStamps) -> Failure | None:
        """The last failure where it was one of the same sources; None where they changed since or it went well."""
        try:
            found = Failure(**json.loads(os.pread(self._handle, 65536, 0)))
        except (ValueError, TypeError):  # empty: the last one went well
            return None
        return found if found.newest == sources.newest else None

    def failed(self, sources: SourceStamps, reason: str, now: float) -> Failure:
        """Keep a failure."""
        before = self.failure(sources)
        times = 1 if before is None else before.times + 1
        failure = Failure(sources.newest, times, now + next_wait(times), reason[:4000])
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, json.dumps(asdict(failure)).encode(), 0)
        return failure

    def succeeded(self) -> None:
        """Forget the last failure."""
        os.ftruncate(self._handle, 0)


@contextlib.contextmanager
def take_turn(plan: Path) -> Iterator[CompileTurn | None]:
    """Take the turn to compile ``plan``, without waiting; None where another process has it.

    Raises OSError where the lock file cannot be opened.
    """
    plan.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(plan.with_name(f".{plan.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not _lock(handle):
            yield None
            return
        yield CompileTurn(handle)
    finally:
        os.close(handle)  # and gives the lock back


def _lock(handle: int) -> bool:
    if sys.platform != "win32":
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
