"""Materialized windows: when a moment was first materialized, the edges to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skewguard.causes.windows import NEVER, Windows

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


def first_ends(windows: list[tuple[int, int]], stamps: list[int], watermark: int = 100) -> list[int]:
    made = Windows([(at(a), at(b)) for a, b in windows], at(watermark))
    found: list[int] = made.first_end(np.array(stamps, dtype=np.int64)).tolist()
    return found


@pytest.mark.parametrize(
    ("windows", "stamps", "expected"),
    [
        ([], [-(10**9), 0, 100, 101], [100, 100, 100, NEVER]),  # none known: one that ended at the watermark
        ([(5, 5)], [4, 5, 6], [NEVER, 5, NEVER]),
        ([(0, 10), (10, 20)], [-1, 0, 10, 11, 20, 21], [NEVER, 10, 10, 20, 20, NEVER]),  # incremental: both hold 10
        ([(0, 10), (0, 20), (0, 30)], [5, 15, 25, 31], [10, 20, 30, NEVER]),  # everything every night
        ([(0, 10), (20, 30)], [15, 20], [NEVER, 30]),  # a gap
        ([(0, 30), (5, 10)], [3, 7, 11], [30, 10, 30]),  # a window inside another
        ([(0, 30), (0, 30)], [30], [30]),
    ],
)
def test_by_hand(windows: list[tuple[int, int]], stamps: list[int], expected: list[int]) -> None:
    assert first_ends(windows, stamps) == expected


SPANS = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda span: (min(span), max(span)))


@settings(max_examples=60, deadline=None)
@given(st.lists(SPANS, min_size=1, max_size=8))
def test_it_is_the_earliest_end_of_those_that_hold_it(windows: list[tuple[int, int]]) -> None:
    stamps = list(range(-1, 23))
    expected = [min((b for a, b in windows if a <= stamp <= b), default=int(NEVER)) for stamp in stamps]
    assert first_ends(windows, stamps) == expected


def test_what_was_created_after_its_window() -> None:
    windows = Windows([(at(0), at(10)), (at(20), at(30))], at(30))
    stamps = np.array([5, 5, 15, 25, 25], dtype=np.int64)
    created = np.array([10, 11, 99, 30, 31], dtype=np.int64)
    assert windows.runs(stamps, created).tolist() == [0, 1, 0, 0, 1]
    nights = Windows([(at(0), at(10)), (at(0), at(20)), (at(0), at(30))], at(30))
    assert nights.runs(stamps[[0, 0, 0, 3]], np.array([10, 20, 31, -(2**63)], dtype=np.int64)).tolist() == [0, 1, 3, 0]
    assert windows.hold(stamps).tolist() == [True, True, False, True, True]
