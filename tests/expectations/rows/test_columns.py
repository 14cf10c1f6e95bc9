"""Whole columns against rows one by one: where the quick answer is yes, no row says otherwise."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from skewguard.expectations.rows.checks import Between, Compare, InSet, Length, Missing, Node
from skewguard.expectations.rows.columns import ColumnTests
from skewguard.expectations.rows.suite import RowRule, RowSuite
from skewguard.expectations.rows.validator import RowValidator


def suite(*nodes: Node, dtype: str = "DOUBLE", mostly: float = 1.0, condition: Node | None = None) -> RowSuite:
    rules = [
        RowRule(place, "t", ("x",), "critical", mostly, "row", "", "", "r", node, condition)
        for place, node in enumerate(nodes)
    ]
    return RowSuite("s", "", "", ("x",), (dtype,), tuple(rules))


UP_TO_TWO = Between("x", 0, 2.0, strict_low=False, strict_high=True)


@pytest.mark.parametrize(
    ("node", "column", "holds"),
    [
        (UP_TO_TWO, [0.0, 1.0], True),
        (UP_TO_TWO, [0.0, 2.0], False),
        (UP_TO_TWO, [-0.1], False),
        (UP_TO_TWO, [math.nan], False),  # it does hold; the rows say so
        (UP_TO_TWO, [1.0, math.nan], True),
        (UP_TO_TWO, [1.0, None], False),
        (UP_TO_TWO, [math.inf], False),
        (Missing("x", missing=False), [1.0, 2.0], True),
        (Missing("x", missing=False), [1.0, None], False),
        (Missing("x", missing=False), [1.0, math.nan], False),
        (InSet("x", (1, 2), inside=True), [1.0, 2.0], True),
        (InSet("x", (1, 2), inside=True), [1.0, None], False),
    ],
)
def test_whole_columns(node: Node, column: list[Any], holds: bool) -> None:
    tests = ColumnTests(suite(node))
    assert tests.rest == ()
    assert tests.hold([column]) is holds


@pytest.mark.parametrize(
    "asked",
    [
        suite(Missing("x", missing=True)),
        suite(InSet("x", (1,), inside=False)),
        suite(Length("x", 1, 2, strict_low=False, strict_high=False), dtype="STRING"),
        suite(UP_TO_TWO, condition=Compare("x", ">", (1,))),
    ],
)
def test_what_is_left_to_the_rows(asked: RowSuite) -> None:
    assert ColumnTests(asked).rest == asked.rules


def test_a_rule_that_nothing_violates_is_not_asked() -> None:
    tests = ColumnTests(suite(UP_TO_TWO, mostly=0.0))
    assert (tests.rest, tests.hold([[9.0]])) == ((), True)


VALUES = st.one_of(st.none(), st.floats(width=32), st.sampled_from([0.0, 1.0, 2.0, math.nan]))
BOUNDS = st.one_of(st.none(), st.integers(-2, 3), st.floats(-3, 3))


@given(st.lists(VALUES, min_size=1, max_size=6), BOUNDS, BOUNDS, st.booleans(), st.booleans())
def test_a_quick_yes_is_what_the_rows_say(column: list[Any], low: Any, high: Any, strict: bool, filled: bool) -> None:
    assume(low is not None or high is not None)
    nodes: list[Node] = [Between("x", low, high, strict_low=strict, strict_high=not strict)]
    nodes += [Missing("x", missing=False)] if filled else []
    asked = suite(*nodes)
    if ColumnTests(asked).hold([column]):
        assert RowValidator(asked).check_columns([column], len(column)) == {}
