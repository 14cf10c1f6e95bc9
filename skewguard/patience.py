"""Calls functions that others wrote, for so long and no longer: whatever they raise or do not finish is told."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
_FAREWELL = 1.0
"""Seconds that a call which was told to end has for it."""


@dataclass(frozen=True)
class Tried(Generic[T]):
    """What came of a call: its ``value``, or what it ``raised`` (class and text), or that it was ``too_slow``."""

    value: T | None = None
    raised: str | None = None
    too_slow: bool = False


class _TimeIsUpError(BaseException):
    """Raised inside a call that took too long; no ``except Exception`` there keeps it."""


def tried(function: Callable[[], T], seconds: float) -> Tried[T]:
    """Call a function in a thread of its own and wait for it at most so long.

    Everything that it raises is told, SystemExit too. One that takes too long is interrupted between two steps of
    Python; one that never gets there (it waits, or is inside C) is left behind in a daemon thread.
    """
    found: list[Tried[T]] = []

    def work() -> None:
        try:
            found.append(Tried(function()))
        except _TimeIsUpError:
            return
        except BaseException as error:  # noqa: BLE001  (another's code may raise anything, and must not end a run)
            found.append(Tried(raised=f"{type(error).__name__}: {str(error)[:200]}"))

    thread = threading.Thread(target=work, daemon=True, name="skewguard-tried")
    thread.start()
    thread.join(seconds)
    if thread.is_alive() and thread.ident is not None:
        interrupt = ctypes.pythonapi.PyThreadState_SetAsyncExc
        interrupt(ctypes.c_ulong(thread.ident), ctypes.py_object(_TimeIsUpError))
        thread.join(_FAREWELL)
    return found[0] if found else Tried(too_slow=True)
