"""One night at a time: the lock of the nightly run."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from skewguard.errors import StoreUnavailableError


@contextlib.contextmanager
def only_one(state: Path) -> Iterator[None]:
    """Hold the nightly lock (freed on death); raises StoreUnavailableError where another night holds it."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "nightly.lock").open("w", encoding="ascii") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreUnavailableError(
                str(state / "nightly.lock"), "another nightly run holds the lock", "Wait for it to end, or stop it."
            ) from error
        yield
