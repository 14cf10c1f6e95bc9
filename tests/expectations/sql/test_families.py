"""Every family of rules: degenerate columns first, then values worked by hand; each agrees with GX itself."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from tests.expectations.builders import entry
from tests.expectations.sql.cases import agreed, in_sql

F32, F64, I64, I32, TEXT, BOOL = pa.float32(), pa.float64(), pa.int64(), pa.int32(), pa.string(), pa.bool_()
TIME, NANO = pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC")
NAN, INF = float("nan"), float("inf")
DAY = datetime(2026, 1, 1, tzinfo=UTC)


def on_x(kind: str, **kwargs: Any) -> dict[str, Any]:
    return entry(f"expect_column_{kind}", column="x", **kwargs)


def limits(kind: str, low: Any = None, high: Any = None, **more: Any) -> dict[str, Any]:
    given = {key: value for key, value in (("min_value", low), ("max_value", high)) if value is not None}
    return on_x(f"{kind}_to_be_between", **given, **more)


NULL, NOT_NULL = on_x("values_to_be_null"), on_x("values_to_not_be_null")
UNIQUE = on_x("values_to_be_unique")
DEGENERATE: list[tuple[Any, pa.DataType]] = [
    ([], F64),
    ([None], F64),
    ([None, None], I64),
    ([None], TEXT),
    ([], TEXT),
    ([2.0], F64),
    ([2.0, 2.0, 2.0], F64),
    ([NAN], F64),
    ([NAN, None, 1.0], F64),
    ([INF, 1.0], F64),
    ([-INF, INF], F64),
    ([3], I64),
    ([None, 3], I64),
]
ON_ANY = [NULL, NOT_NULL, UNIQUE, limits("unique_value_count", 1, 2), limits("proportion_of_unique_values", 0.5),
          limits("proportion_of_non_null_values", 0.5), on_x("values_to_be_in_set", value_set=[2, 3, "a"]),
          on_x("values_to_not_be_in_set", value_set=[2, 3, "a"]),
          on_x("most_common_value_to_be_in_set", value_set=[2, "a"]),
          on_x("distinct_values_to_be_in_set", value_set=[2, 3]),
          on_x("distinct_values_to_contain_set", value_set=[2]),
          on_x("distinct_values_to_equal_set", value_set=[2, None])]  # fmt: skip


@pytest.mark.parametrize(("values", "kind"), DEGENERATE)
def test_degenerate_columns(values: Any, kind: pa.DataType) -> None:
    for rule in ON_ANY:
        in_sql(values, rule, kind)
    if kind != TEXT:
        for rule in (limits("values", 1, 2), limits("max", 1, 2), limits("min", 1, 2), limits("median", 1, 2.5)):
            in_sql(values, rule, kind)


@pytest.mark.parametrize(
    ("values", "kind", "rule", "success"),
    [
        ([], F64, limits("mean", 0), False),
        ([], F64, limits("sum", 0, 0), True),  # the sum of nothing is 0
        ([], I64, limits("sum", 0, 0), True),
        ([None], F64, limits("stdev", 0), False),
        ([2.0], F64, limits("stdev", 0), False),  # n - 1 is 0
        ([2.0, 2.0], F64, limits("stdev", -1, 1), True),
        ([1.0, 3.0], F64, limits("stdev", 1.41, 1.42), True),
        ([1, 2, 3, 4], I64, limits("mean", 2.4, 2.6), True),
        ([1, None, 3], I64, limits("mean", 2.1), False),
        ([1, 2, 4], I64, limits("sum", 8), False),
        ([1.5, None, NAN], F64, limits("sum", 1, 2), True),
        ([1, 2, 3, 4], I64, limits("median", 2.5, 2.5), True),
        ([3.0, 1.0, None], F64, limits("median", 1, 2, strict_max=True), False),
        ([1.0, 5.0], F64, limits("max", high=5), True),
        ([1.0, 5.0], F64, limits("max", high=5, strict_max=True), False),
        ([0.1], F32, limits("max", high=0.1), True),
        ([DAY], TIME, limits("max", high="2026-01-01"), True),
        ([DAY, None], NANO, limits("min", "2026-01-01T00:00:01"), False),
    ],
)
def test_statistics(values: Any, kind: pa.DataType, rule: dict[str, Any], success: bool) -> None:
    assert in_sql(values, rule, kind).outcome.success is success


@pytest.mark.parametrize(
    ("values", "kind", "rule", "unexpected"),
    [
        ([1, 2, 3, None], I64, limits("values", 2, 3), 1),
        ([1, 2, 3], I64, limits("values", 1, 3, strict_min=True, strict_max=True), 2),
        ([1, 2, 3], I64, limits("values", 1.5, 2.5), 2),
        ([1, 2, 3], I64, limits("values", 1.5, 2.5, strict_min=True, strict_max=True), 2),
        ([1, -5], I64, limits("values", -1e300, 1e300), 0),
        ([1, -5], I64, limits("values", low=1e300), 2),
        ([1, 2, 2**64 - 1], pa.uint64(), limits("values", high=1e10), 1),
        ([1.0, NAN, INF, -INF, None], F64, limits("values", 0), 1),
        ([1.0, NAN, INF, -INF, None], F64, limits("values", high=0), 2),
        ([0.1, 0.2], F32, limits("values", 0.1, 0.2), 0),
        ([0.1, 0.2], F32, limits("values", 0.1, 0.2, strict_min=True, strict_max=True), 2),
        ([0.1, INF], F32, limits("values", high=1e300), 1),
        ([0.1, 1.0], pa.float16(), limits("values", high=0.1), 1),
        ([True, False, None], BOOL, limits("values", 1), 1),
        ([DAY, None, datetime(2025, 1, 1, tzinfo=UTC)], TIME, limits("values", "2026-01-01"), 1),
        ([date(2026, 1, 1), date(2026, 1, 2)], pa.date32(), limits("values", high="2026-01-01"), 1),
        ([DAY.replace(tzinfo=None)], pa.timestamp("s"), limits("values", "2026-01-01T00:00:00.000001"), 1),
        ([1, 2, None], I64, on_x("values_to_be_in_set", value_set=[1.0, True, "2"]), 1),
        ([1.5, 2.0, NAN], F64, on_x("values_to_be_in_set", value_set=[2]), 1),
        ([1.5, 2.0, NAN], F64, on_x("values_to_not_be_in_set", value_set=[2]), 1),
        (["a", "b", None], TEXT, on_x("values_to_not_be_in_set", value_set=["b", 1]), 1),
        ([True, None, False], BOOL, on_x("values_to_be_in_set", value_set=[1]), 1),
        ([1, 1, 2, None, None], I64, UNIQUE, 2),
        ([0.0, -0.0, NAN, NAN], F64, UNIQUE, 2),
        (["a", "a", "b"], TEXT, UNIQUE, 2),
        ([DAY, DAY, None], TIME, UNIQUE, 2),
        (["", "ab", "🙂", "e\u0301", None], TEXT, on_x("value_lengths_to_be_between", min_value=1, max_value=1), 3),
        (["ab", "abc"], TEXT, on_x("value_lengths_to_equal", value=2), 1),
        (["ab", "abc"], TEXT, on_x("value_lengths_to_equal", value=2.5), 2),
        (["ab", "a\nb", None], TEXT, on_x("values_to_match_regex", regex="^ab$"), 1),
        (["ab", "b"], TEXT, on_x("values_to_not_match_regex", regex="a"), 1),
        (["ab", "b", "c"], TEXT, on_x("values_to_match_regex_list", regex_list=["a", "b"], match_on="all"), 2),
        (["ab", "b", "c"], TEXT, on_x("values_to_match_regex_list", regex_list=["a", "b"], match_on="any"), 1),
        (["ab", "b", "c"], TEXT, on_x("values_to_not_match_regex_list", regex_list=["a", "c"]), 2),
        (["2026-01-01", "x"], TEXT, on_x("values_to_match_strftime_format", strftime_format="%Y-%m-%d"), 1),
        (["1 Jan 2026", "x"], TEXT, on_x("values_to_be_dateutil_parseable"), 1),
        (['{"a": 1}', "{"], TEXT, on_x("values_to_be_json_parseable"), 1),
        (["a", None], TEXT, on_x("values_to_be_of_type", type_="str"), 0),
        (["a", None], TEXT, on_x("values_to_be_of_type", type_="int"), 1),
        (["a"], TEXT, on_x("values_to_be_in_type_list", type_list=["int", "str"]), 0),
    ],
)
def test_rows(values: Any, kind: pa.DataType, rule: dict[str, Any], unexpected: int) -> None:
    assert in_sql(values, rule, kind).outcome.result["unexpected_count"] == unexpected


PAIRS = pa.table(
    {
        "a": pa.array([1, 2, None, None, 3], I64),
        "b": pa.array([1.0, 1.0, NAN, 4.0, None], F64),
        "c": pa.array([1, 5, None, 4, 3], I32),
        "s": ["x", "y", None, "x", "z"],
        "u": ["x", "x", None, None, "z"],
        "t": pa.array([DAY, DAY, None, DAY, None], TIME),
        "v": pa.array([DAY, None, None, DAY, DAY], TIME),
    }
)
PAIR_IGNORES = ("both_values_are_missing", "either_value_is_missing", "neither")
MANY_IGNORES = ("all_values_are_missing", "any_value_is_missing", "never")


@pytest.mark.parametrize("ignore", PAIR_IGNORES)
@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("a", "c"), ("t", "v"), ("s", "u")])
def test_pairs(first: str, second: str, ignore: str) -> None:
    pair = {"column_A": first, "column_B": second, "ignore_row_if": ignore}
    agreed(PAIRS, entry("expect_column_pair_values_to_be_equal", **pair))
    if first != "s":
        for or_equal in (True, False):
            agreed(PAIRS, entry("expect_column_pair_values_a_to_be_greater_than_b", or_equal=or_equal, **pair))
    if first != "t":
        pairs = [[1, 1], [None, 4], [None, None], ["x", "x"], [True, 1]]
        agreed(PAIRS, entry("expect_column_pair_values_to_be_in_set", value_pairs_set=pairs, **pair))


@pytest.mark.parametrize("ignore", MANY_IGNORES)
def test_several_columns(ignore: str) -> None:
    for columns in (["a", "b"], ["a", "b", "c"], ["s", "u"]):
        several = {"column_list": columns, "ignore_row_if": ignore}
        agreed(PAIRS, entry("expect_multicolumn_values_to_be_equal", **several))
        agreed(PAIRS, entry("expect_select_column_values_to_be_unique_within_record", **several))
        agreed(PAIRS, entry("expect_compound_columns_to_be_unique", **several))
    sums = {"column_list": ["a", "b", "c"], "sum_total": 3, "ignore_row_if": ignore}
    agreed(PAIRS, entry("expect_multicolumn_sum_to_equal", **sums))


@pytest.mark.parametrize("quantiles", [[0.0, 0.5, 1.0], [0.25, 0.75], [0.1, 0.9]])
@pytest.mark.parametrize(
    ("values", "kind"),
    [([1, 2, 3, 4], I64), ([5.0], F64), ([1.0, None, NAN, 3.0, 2.0], F64), ([2, None, 1], I64), ([INF, 1.0], F64)],
)
def test_quantiles_are_the_nearest_values(quantiles: list[float], values: Any, kind: pa.DataType) -> None:
    ranges = {"quantiles": quantiles, "value_ranges": [[None, 2]] * len(quantiles)}
    in_sql(values, on_x("quantile_values_to_be_between", quantile_ranges=ranges), kind)


CONDITIONS: list[dict[str, Any]] = [
    {"type": "comparison", "column": {"name": "k"}, "operator": "!=", "parameter": "a"},
    {"type": "comparison", "column": {"name": "k"}, "operator": "==", "parameter": "it's"},
    {"type": "comparison", "column": {"name": "n"}, "operator": "<=", "parameter": 2},
    {"type": "comparison", "column": {"name": "n"}, "operator": "!=", "parameter": 2.5},
    {"type": "comparison", "column": {"name": "n"}, "operator": "NOT_IN", "parameter": [1, 2]},
    {"type": "comparison", "column": {"name": "k"}, "operator": "IN", "parameter": ["a", "it's"]},
    {"type": "nullity", "column": {"name": "n"}, "is_null": True},
]
CONDITIONS += [{"type": "and", "conditions": CONDITIONS[:2]}, {"type": "or", "conditions": CONDITIONS[1:4]}]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_row_conditions(condition: dict[str, Any]) -> None:
    table = pa.table(
        {
            "x": pa.array([1, 2, 3, None, 2], I64),
            "n": pa.array([1.0, NAN, 2.5, None, 2.0], F64),
            "k": ["a", "b", None, "it's", "a"],
            "s": ["p", "q", "p", None, "r"],
        }
    )
    for rule in (
        limits("values", 2, 2), NULL, NOT_NULL, UNIQUE, limits("mean", 1.1), limits("sum", 1), limits("max", high=2),
        limits("median", 1), limits("unique_value_count", 2), limits("proportion_of_non_null_values", 0.9),
        on_x("distinct_values_to_be_in_set", value_set=[1]),
        entry("expect_column_values_to_match_regex", column="s", regex="p"),
        entry("expect_column_values_to_be_in_set", column="s", value_set=["p"]),
        entry("expect_column_pair_values_to_be_equal", column_A="x", column_B="n"),
        entry("expect_compound_columns_to_be_unique", column_list=["x", "s"]),
        entry("expect_table_row_count_to_be_between", min_value=3),
        entry("expect_table_row_count_to_equal", value=2),
    ):  # fmt: skip
        agreed(table, {**rule, "kwargs": {**rule["kwargs"], "row_condition": condition}})


@pytest.mark.parametrize(
    ("rule", "success"),
    [
        (entry("expect_table_column_count_to_equal", value=2), True),
        (entry("expect_table_column_count_to_be_between", min_value=3), False),
        (entry("expect_column_to_exist", column="s"), True),
        (entry("expect_column_to_exist", column="s", column_index=1), True),
        (entry("expect_column_to_exist", column="s", column_index=7), False),
        (entry("expect_table_columns_to_match_ordered_list", column_list=["s", "x"]), False),
        (entry("expect_table_columns_to_match_set", column_set=["s"], exact_match=False), True),
        (entry("expect_table_columns_to_match_set", column_set=["s"]), False),
        (entry("expect_column_values_to_be_of_type", column="x", type_="int64"), True),
        (entry("expect_column_values_to_be_in_type_list", column="x", type_list=["float32", "int32"]), False),
    ],
)
def test_the_table_as_a_whole(rule: dict[str, Any], success: bool) -> None:
    table = pa.table({"x": pa.array([1, None], I64), "s": ["a", "b"]})
    assert agreed(table, rule).outcome.success is success
