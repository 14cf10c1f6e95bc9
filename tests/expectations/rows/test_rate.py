"""The windowed share: nothing yet, then at the threshold as GX has it, then time passing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from skewguard.errors import BadInputError
from skewguard.expectations.rows.rate import RateWindow
from skewguard.expectations.rows.suite import RowRule


def rule(position: int = 0, mostly: float = 0.8) -> RowRule:
    return RowRule(position, "expect_column_values_to_be_between", ("x",), "critical", mostly, "row", "", "", "x")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def window(clock: Clock, *rules: RowRule, seconds: float = 100, min_rows: int = 5) -> RateWindow:
    return RateWindow(rules or (rule(),), seconds, min_rows, buckets=10, clock=clock)


def test_nothing_counted_is_no_alarm() -> None:
    found = window(Clock())
    (state,) = found.state()
    assert (state.judged, state.unexpected, state.share, state.alarm) == (0, 0, None, False)
    assert found.add(0, [], []) == 0


def test_no_rules() -> None:
    empty = RateWindow((), clock=Clock())
    assert empty.add(3, [0, 0], []) == 0
    assert empty.state() == ()


def test_only_missing_values_is_no_alarm() -> None:
    found = window(Clock())
    assert found.add(10, [], [1] * 10) == 0
    assert found.state()[0].share is None


@pytest.mark.parametrize(
    ("rows", "unexpected", "mostly", "alarm"),
    [
        (5, 1, 0.8, False),  # (5 - 1) / 5 is 0.8; 1 - 1/5 would be a little less
        (5, 2, 0.8, True),
        (4, 4, 0.8, False),  # too few rows
        (5, 5, 0.0, False),
        (5, 1, 1.0, True),
        (10, 1, 0.9, False),
        (100, 71, 0.29, False),
        (100, 72, 0.29, True),
    ],
)
def test_the_threshold_is_that_of_gx(rows: int, unexpected: int, mostly: float, alarm: bool) -> None:
    found = window(Clock(), rule(mostly=mostly))
    assert bool(found.add(rows, [1] * unexpected, [])) is alarm
    assert found.state()[0].alarm is alarm


def test_only_judged_rows_count() -> None:
    found = window(Clock())
    found.add(20, [1], [1] * 15)
    (state,) = found.state()
    assert (state.judged, state.share, state.alarm) == (5, 0.8, False)
    assert found.add(1, [1], []) == 1


def test_it_recovers_with_good_rows() -> None:
    found = window(Clock())
    assert found.add(5, [1, 1], []) == 1
    assert found.add(4, [], []) == 1
    assert found.add(1, [], []) == 0  # 8 of 10


def test_it_recovers_as_bad_rows_leave_the_window() -> None:
    clock = Clock()
    found = window(clock)
    found.add(5, [1] * 5, [])
    clock.now += 60
    assert found.add(5, [], []) == 1
    clock.now += 45
    assert found.add(5, [], []) == 0
    (state,) = found.state()
    assert (state.judged, state.unexpected) == (10, 0)


def test_a_silence_longer_than_the_window_empties_it() -> None:
    clock = Clock()
    found = window(clock)
    found.add(5, [1] * 5, [])
    assert found.alarms == 1
    clock.now += 1000
    assert found.state()[0].judged == 0
    assert found.alarms == 0


def test_each_rule_has_its_own_counts() -> None:
    found = window(Clock(), rule(0, 0.8), rule(1, 0.5), rule(2, 1.0))
    alarms = found.add(10, [0b011, 0b011, 0b011, 0b010], [0b100])
    assert alarms == 0b001
    assert [(s.judged, s.unexpected) for s in found.state()] == [(10, 3), (10, 4), (9, 0)]


def test_a_broken_rule_is_nothing_judged_and_nothing_wrong() -> None:
    found = window(Clock(), rule(0), rule(1))
    assert found.add(5, [0b0100] * 5, [0b01] * 5) == 0  # as tally marks a rule that raised
    assert [s.judged for s in found.state()] == [0, 5]


def test_threads_lose_no_count() -> None:
    found = window(Clock(), min_rows=1)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: found.add(2, [1], []), range(2000)))
    (state,) = found.state()
    assert (state.judged, state.unexpected) == (4000, 2000)


@pytest.mark.parametrize("arguments", [{"seconds": 0}, {"min_rows": 0}, {"buckets": 0}])
def test_arguments_out_of_range_are_named(arguments: dict[str, int]) -> None:
    with pytest.raises(BadInputError, match=next(iter(arguments))):
        RateWindow((rule(),), **arguments)  # type: ignore[arg-type]
