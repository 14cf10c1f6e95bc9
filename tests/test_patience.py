"""Calls of others' functions: told what came of them, whatever it is."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from skewguard.patience import Tried, tried


def test_a_value_is_given_back() -> None:
    assert tried(lambda: 3, 5) == Tried(3)
    assert tried(lambda: None, 5) == Tried(None)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no"), "ValueError: no"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt: "),
    ],
)
def test_everything_that_is_raised_is_told(error: BaseException, text: str) -> None:
    def call() -> Any:
        raise error

    assert tried(call, 5) == Tried(raised=text)


def test_an_endless_call_is_interrupted_though_it_catches_exceptions() -> None:
    steps = []

    def call() -> None:
        while True:
            try:
                steps.append(1)
                time.sleep(0.001)
            except Exception:  # noqa: BLE001  (as careless as what is called may be)
                steps.append(2)

    started = time.monotonic()
    assert tried(call, 0.1) == Tried(too_slow=True)
    assert time.monotonic() - started < 5
    after = len(steps)
    time.sleep(0.05)
    assert len(steps) == after


def test_a_call_that_waits_is_left_behind() -> None:
    started = time.monotonic()
    assert tried(lambda: time.sleep(3), 0.05).too_slow
    assert time.monotonic() - started < 2.5
    assert sys.exc_info() == (None, None, None)
