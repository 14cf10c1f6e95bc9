"""The quick answer for many rows against the rows one by one, on values as they are stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from online_api.lookup import Lookup, ViewColumns, ViewRead, read_views
from online_api.many_rows import ManyRows
from online_api.row_values import RowValues, Source
from skewguard.definitions import FieldDef, ServiceDef
from skewguard.dtypes import arrow_type
from skewguard.expectations.rows.checks import Between, InSet, Missing, Node, OfType
from skewguard.expectations.rows.suite import RowRule, RowSuite
from skewguard.expectations.rows.validator import RowValidator
from skewguard.online.codec import encode_column
from skewguard.online.timestamps import encode_timestamp

DTYPES = {"a": "DOUBLE", "b": "FLOAT", "c": "INT64", "d": "DOUBLE"}
READ = ViewRead("v", "v", 0, None, 0, tuple((FieldDef(n, d), i + 1) for i, (n, d) in enumerate(DTYPES.items())))
SOURCES = [Source(name, dtype, "stored", name, 0, place) for place, (name, dtype) in enumerate(DTYPES.items())]
Table = dict[str, list[Any]]


def suite(*nodes: Node, mostly: float = 1.0) -> RowSuite:
    rules = [
        RowRule(place, "t", node.columns, "critical", mostly, "row", "", "", "r", node)
        for place, node in enumerate(nodes)
    ]
    return RowSuite("s", "", "", tuple(DTYPES), tuple(DTYPES.values()), tuple(rules))


def stored(table: Table) -> tuple[Sequence[ViewColumns], list[Sequence[Any]]]:
    """The view of a table whose values went through the store's bytes, and the columns as rules take them."""
    encoded = [
        encode_column(dtype, pa.array(table[name], arrow_type(dtype))).to_pylist() for name, dtype in DTYPES.items()
    ]
    stamp = encode_timestamp(1_700_000_000_000_000_000)
    replies = [[stamp, *row] for row in zip(*encoded, strict=True)]
    views = read_views(Lookup(ServiceDef("s", ()), (), (), (READ,), ()), [replies], 1_800_000_000_000_000_000, False)
    return views, RowValues(SOURCES).columns(views, [], {}, {})


def asked(rules: RowSuite, table: Table, *, lists: bool = True) -> bool:
    views, columns = stored(table)

    def given_columns() -> list[Sequence[Any]]:
        assert lists, "the values were made into lists"
        return columns

    return ManyRows(rules, SOURCES, [READ]).all_well(views, given_columns, len(table["a"]))


def table(**columns: list[Any]) -> Table:
    rows = len(next(iter(columns.values())))
    return {name: columns.get(name, [1] * rows) for name in DTYPES}


def between(column: str, low: Any, high: Any, *, strict: bool = False) -> Between:
    return Between(column, low, high, strict_low=strict, strict_high=strict)


FLOAT_RULES = suite(
    between("a", 0, 1),
    between("a", -5, 0.5),
    between("b", None, 2.5),
    Missing("d", missing=False),
    OfType("d", True, False),
)


def test_ranges_of_floats_are_asked_of_the_bytes() -> None:
    assert asked(FLOAT_RULES, table(a=[0.0, 0.5], b=[2.5, -1e30], d=[1e300, -0.0]), lists=False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"a": [0.0, 0.75]},
        {"a": [math.nextafter(0, -1), 0.0]},
        {"b": [2.5, 2.5000002]},
        {"d": [1.0, None]},
        {"a": [0.0, None]},
    ],
)
def test_what_is_outside_of_a_range_or_missing_is_not_well(wrong: dict[str, list[Any]]) -> None:
    fine: dict[str, list[Any]] = {"a": [0.0, 0.5], "b": [2.5, 0.0], "d": [1.0, 1.0]}
    views, columns = stored(table(**fine | wrong))
    well = ManyRows(FLOAT_RULES, SOURCES, [READ]).all_well(views, lambda: columns, 2)
    bad = RowValidator(FLOAT_RULES).check_columns(columns, 2)
    assert not well
    assert bool(bad) is (wrong != {"a": [0.0, None]})  # a missing value is in no range, and violates none


def test_values_beside_a_null_of_another_column_are_judged_as_lists() -> None:
    assert asked(suite(between("a", 0, 1)), table(a=[0.0, 0.5], c=[1, None], d=[math.nan, 1.0]))


@pytest.mark.parametrize("bound", [2**53 + 1, 10**400])
def test_a_bound_that_is_no_double_is_compared_as_what_it_is(bound: int) -> None:
    with pytest.raises(AssertionError, match="made into lists"):
        asked(suite(between("a", None, bound)), table(a=[0.0, float(2**53)]), lists=False)
    assert asked(suite(between("a", None, bound)), table(a=[0.0, float(2**53)]))
    assert not asked(suite(between("a", 2**53 + 1, None)), table(a=[float(2**53)] * 2))


def test_a_rule_that_nothing_violates_is_asked_of_nothing() -> None:
    assert asked(suite(between("a", 5, 6), mostly=0.0), table(a=[0.0, 9.0]), lists=False)


REALS = st.one_of(
    st.floats(width=32, allow_nan=False), st.sampled_from([0.0, 1.0, 2.0, -0.0, math.nan, math.inf, None])
)
ENDS = st.one_of(st.none(), st.integers(-2, 3), st.floats(-3, 3), st.sampled_from([math.inf, -math.inf, 2**53 + 1]))


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    column = draw(st.sampled_from(list(DTYPES)))
    match draw(st.integers(0, 4)):
        case 0:
            return Missing(column, missing=draw(st.booleans()))
        case 1:
            return OfType(column, draw(st.booleans()), draw(st.booleans()))
        case 2:
            return InSet(column, (0, 1.0, 2), inside=draw(st.booleans()))
        case _:
            low, high = draw(ENDS), draw(ENDS)
            assume(low is not None or high is not None)
            return Between(column, low, high, strict_low=draw(st.booleans()), strict_high=draw(st.booleans()))


@st.composite
def tables(draw: st.DrawFn) -> Table:
    rows = draw(st.integers(2, 4))
    values = {"INT64": st.one_of(st.none(), st.integers(-3, 3), st.integers(2**53, 2**53 + 2))}
    return {n: draw(st.lists(values.get(d, REALS), min_size=rows, max_size=rows)) for n, d in DTYPES.items()}


@given(st.lists(nodes(), min_size=1, max_size=4), tables())
@settings(max_examples=300, deadline=None)
def test_a_quick_yes_is_what_the_rows_say(found: list[Node], given_table: Table) -> None:
    rules = suite(*found)
    views, columns = stored(given_table)
    rows = len(given_table["a"])
    if ManyRows(rules, SOURCES, [READ]).all_well(views, lambda: columns, rows):
        assert RowValidator(rules).check_columns(columns, rows) == {}
