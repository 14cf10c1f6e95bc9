"""What a rule says of one row: nothing there first, then by hand. GX must say the same of a table of that row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from skewguard.expectations.rows.compile import compile_rows
from skewguard.expectations.rows.validator import RowValidator
from skewguard.expectations.suites import parse_suite
from tests.expectations import feast_like
from tests.expectations.builders import document, entry
from tests.expectations.oracle import judge

NAN, INF = float("nan"), float("inf")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
I64, I32, F64, F32 = pa.int64(), pa.int32(), pa.float64(), pa.float32()
BOOL, TEXT, RAW, TIME = pa.bool_(), pa.string(), pa.binary(), pa.timestamp("us", "UTC")
FLOATS, TEXTS = pa.list_(F64), pa.list_(TEXT)


def rule(kind: str, **kwargs: Any) -> dict[str, Any]:
    return entry(f"expect_column_{kind}", column="x", **kwargs)


def between(**kwargs: Any) -> dict[str, Any]:
    return rule("values_to_be_between", **kwargs)


def in_set(*values: Any) -> dict[str, Any]:
    return rule("values_to_be_in_set", value_set=list(values))


def outside(*values: Any) -> dict[str, Any]:
    return rule("values_to_not_be_in_set", value_set=list(values))


def regex(pattern: str) -> dict[str, Any]:
    return rule("values_to_match_regex", regex=pattern)


def lengths(**kwargs: Any) -> dict[str, Any]:
    return rule("value_lengths_to_be_between", **kwargs)


NULL, NOT_NULL = rule("values_to_be_null"), rule("values_to_not_be_null")
JSON, DATE = rule("values_to_be_json_parseable"), rule("values_to_be_dateutil_parseable")
YEAR = rule("values_to_match_strftime_format", strftime_format="%Y")


def typed(name: str) -> dict[str, Any]:
    return rule("values_to_be_of_type", type_=name)


ONE: list[tuple[Any, pa.DataType, dict[str, Any], str]] = [
    # nothing there: rules on values pass over it, the ones on nulls do not
    (None, F64, between(min_value=0), "skips"),
    (NAN, F64, between(min_value=0), "skips"),
    (None, I64, between(max_value=0), "skips"),
    (None, TEXT, in_set("a"), "skips"),
    (None, TEXT, outside("a"), "skips"),
    (None, TEXT, regex("None"), "skips"),
    (NAN, F64, regex("nan"), "skips"),
    (None, TEXT, lengths(min_value=4), "skips"),
    (None, TEXT, JSON, "skips"),
    (None, TIME, between(min_value="2026-01-01"), "skips"),
    (None, FLOATS, NOT_NULL, "violates"),
    (None, F64, NOT_NULL, "violates"),
    (NAN, F64, NOT_NULL, "violates"),
    (NAN, F32, NULL, "holds"),
    (None, BOOL, NULL, "holds"),
    ([], FLOATS, NOT_NULL, "holds"),
    ("", TEXT, NULL, "violates"),
    (0, I64, NULL, "violates"),
    # ranges
    (INF, F64, between(max_value=1e300), "violates"),
    (-INF, F64, between(max_value=0), "holds"),
    (1.0, F64, between(min_value=1, max_value=1), "holds"),
    (1.0, F64, between(min_value=1, strict_min=True), "violates"),
    (1.0, F64, between(max_value=1, strict_max=True), "violates"),
    (0.5, F64, between(min_value=0, max_value=1, strict_min=True, strict_max=True), "holds"),
    (-0.0, F64, between(min_value=0), "holds"),
    (0.1, F32, between(max_value=0.1), "holds"),  # 0.1 as float32 lies above 0.1
    (0.1, F32, between(max_value=0.1, strict_max=True), "violates"),
    (0.1, F32, between(max_value=0.0999), "violates"),
    (1.0, F32, between(max_value=1e300), "holds"),
    (2**53 + 1, I64, between(max_value=2**53), "violates"),  # no double comes in between
    (2**53, I64, between(max_value=2**53), "holds"),
    (3, I32, between(max_value=2.5), "violates"),
    (True, BOOL, between(min_value=1), "holds"),
    (False, BOOL, between(min_value=1), "violates"),
    (NOON, TIME, between(min_value="2026-01-01T13:00:00+01:00"), "holds"),
    (NOON, TIME, between(min_value="2026-01-01T12:00:00", strict_min=True), "violates"),  # naive is UTC
    (NOON, TIME, between(max_value="2026-01-01"), "violates"),
    (NOON + timedelta(microseconds=1), TIME, between(max_value="2026-01-01T12:00:00"), "violates"),
    ("a", TEXT, between(min_value=0), "unsupported"),
    (b"a", RAW, between(min_value=0), "unsupported"),
    (NOON, TIME, between(min_value=0), "unsupported"),
    (1, I64, between(min_value="2026-01-01"), "unsupported"),
    # sets
    (1, I64, in_set(1.0, "a"), "holds"),
    (1, I64, in_set("1"), "violates"),
    (1, I64, in_set(True), "holds"),
    (1, I64, outside(), "holds"),
    (2**53 + 1, I64, in_set(2**53), "violates"),
    (2**53 + 1, I64, in_set(2**53 + 1), "holds"),
    (2**53 + 1, I64, in_set(2**53, 0.5), "violates"),
    (2**53 + 1, I64, in_set(2**53, "a"), "violates"),
    (True, BOOL, in_set(1, 2), "holds"),
    (False, BOOL, in_set("False"), "violates"),
    (0.1, F32, in_set(0.1), "holds"),
    (0.1, F32, outside(0.1), "violates"),
    (-0.0, F64, in_set(0), "holds"),
    ("1", TEXT, in_set(1), "violates"),
    ("é", TEXT, in_set("e\u0301"), "violates"),  # composed and decomposed are two texts
    ("a", TEXT, in_set("a", None), "holds"),
    (b"a", RAW, in_set("a"), "violates"),
    (NOON, TIME, in_set("2026-01-01T13:00:00+01:00"), "holds"),
    (NOON, TIME, outside("2026-01-01T12:00:00+00:00"), "violates"),
    (NOON, TIME, in_set("2026-01-01T12:00:00"), "unsupported"),  # pandas finds no time without a zone
    (NOON, TIME, in_set("2026-01-01T12:00:00Z", "2026-01-01T13:00:00+01:00"), "unsupported"),
    ([1.0], FLOATS, in_set(1), "unsupported"),
    # text
    ("a\n", TEXT, regex("^a$"), "holds"),  # Python's re, where $ comes before a last newline
    ("xay", TEXT, regex("a"), "holds"),
    ("A", TEXT, regex("a"), "violates"),
    ("A", TEXT, rule("values_to_not_match_regex", regex="(?i)a"), "violates"),
    ("١", TEXT, regex(r"^\d$"), "holds"),  # a digit in Unicode
    ("ab", TEXT, rule("values_to_match_regex_list", regex_list=["a", "x"]), "holds"),
    ("ab", TEXT, rule("values_to_match_regex_list", regex_list=["a", "x"], match_on="all"), "violates"),
    ("ab", TEXT, rule("values_to_not_match_regex_list", regex_list=["x", "b"]), "violates"),
    (1, I64, regex("^1$"), "holds"),
    (1.0, F64, regex(r"^1\.0$"), "holds"),
    (0.1, F32, regex("^0.10000000149"), "holds"),
    (True, BOOL, regex("^True$"), "holds"),
    (NOON, TIME, regex(r"^2026-01-01 12:00:00\+00:00$"), "holds"),
    (b"ab", RAW, regex("^ab$"), "holds"),
    (b"\xff", RAW, regex("a"), "breaks"),
    ([1.0, NAN], FLOATS, regex(r"^\[1.0, nan\]$"), "holds"),
    (["a", None], TEXTS, regex("None"), "holds"),
    ("🙂é", TEXT, lengths(min_value=2, max_value=2), "holds"),
    ("e\u0301", TEXT, lengths(max_value=1), "violates"),  # code points, not what is drawn
    ("", TEXT, lengths(min_value=0, strict_min=True), "violates"),
    (10, I64, rule("value_lengths_to_equal", value=2), "holds"),
    (10.0, F64, rule("value_lengths_to_equal", value=2), "violates"),
    ('{"a": 1}', TEXT, JSON, "holds"),
    ("{", TEXT, JSON, "violates"),
    (1, I64, JSON, "violates"),
    (b"1", RAW, JSON, "holds"),
    ("2026-01-01", TEXT, DATE, "holds"),
    ("2026-13-01", TEXT, DATE, "violates"),
    (1, I64, DATE, "unsupported"),
    ("2026", TEXT, YEAR, "holds"),
    ("26", TEXT, YEAR, "violates"),
    (NOON, TIME, YEAR, "unsupported"),
    ("{}", TEXT, rule("values_to_match_json_schema", json_schema={"type": "object"}), "unsupported"),
    # types: the declared one
    (1, I64, typed("int64"), "holds"),
    (1, I64, typed("float64"), "violates"),
    (None, I64, typed("float64"), "violates"),
    (None, TEXT, typed("int64"), "skips"),
    ("a", TEXT, typed("str"), "holds"),
    ("a", TEXT, typed("int64"), "violates"),
    (0.5, F32, typed("float32"), "holds"),
    (NOON, TIME, typed("Timestamp"), "holds"),
    (True, BOOL, typed("bool"), "holds"),
    ([], FLOATS, typed("list"), "holds"),
    (1, I64, rule("values_to_be_in_type_list", type_list=["int32", "int64"]), "holds"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "kind", "asked", "expected"), ONE)
def test_one_column(value: Any, kind: pa.DataType, asked: dict[str, Any], expected: str) -> None:
    agree(pa.table({"x": pa.array([value], kind)}), asked, expected)


def pair(kind: str, ignore: str = "neither", **kwargs: Any) -> dict[str, Any]:
    return entry(f"expect_column_pair_values_{kind}", column_A="x", column_B="y", ignore_row_if=ignore, **kwargs)


def many(kind: str, ignore: str = "never", **kwargs: Any) -> dict[str, Any]:
    return entry(kind, column_list=["x", "y"], ignore_row_if=ignore, **kwargs)


EQUAL, ABOVE = pair("to_be_equal"), pair("a_to_be_greater_than_b")
SUM = many("expect_multicolumn_sum_to_equal", sum_total=3)
SAME = many("expect_multicolumn_values_to_be_equal")
UNIQUE = many("expect_select_column_values_to_be_unique_within_record")


def pairs(*allowed: Any, ignore: str = "neither") -> dict[str, Any]:
    return pair("to_be_in_set", ignore, value_pairs_set=[list(one) for one in allowed])


TWO: list[tuple[Any, pa.DataType, Any, pa.DataType, dict[str, Any], str]] = [
    # nothing there
    (None, I64, None, I64, pair("to_be_equal", "both_values_are_missing"), "skips"),
    (None, I64, 1, I64, pair("to_be_equal", "both_values_are_missing"), "violates"),
    (None, I64, 1, I64, pair("to_be_equal", "either_value_is_missing"), "skips"),
    (None, I64, None, I64, EQUAL, "violates"),  # nothing is not equal to nothing
    (NAN, F64, NAN, F64, EQUAL, "violates"),
    (None, TEXT, None, TEXT, EQUAL, "violates"),
    (None, TEXT, None, TEXT, SAME, "holds"),  # here it is
    (None, TEXT, "a", TEXT, SAME, "violates"),
    (None, I64, None, F64, UNIQUE, "violates"),
    (None, I64, None, TEXT, UNIQUE, "holds"),  # NaN and None are two values to pandas
    (None, TIME, None, TEXT, UNIQUE, "holds"),
    (None, F64, 1.0, F64, ABOVE, "violates"),
    (None, I64, 3, I64, SUM, "violates"),
    (None, I64, None, I64, many("expect_multicolumn_sum_to_equal", "all_values_are_missing", sum_total=0), "skips"),
    (None, I64, 3, I64, many("expect_multicolumn_sum_to_equal", "any_value_is_missing", sum_total=0), "skips"),
    (None, I64, 1, I64, pairs((None, 1)), "holds"),
    (NAN, F64, 1, I64, pairs((None, 1)), "holds"),
    # values
    (1, I64, 1.0, F64, EQUAL, "holds"),
    (2**53 + 1, I64, 2.0**53, F64, EQUAL, "violates"),
    (2**53 + 1, I64, 2**53, I64, EQUAL, "violates"),
    (1, I64, True, BOOL, EQUAL, "holds"),
    ("1", TEXT, 1, I64, EQUAL, "violates"),
    (b"a", RAW, "a", TEXT, EQUAL, "violates"),
    (NOON, TIME, NOON, pa.timestamp("ns", "UTC"), EQUAL, "holds"),
    (0.1, F32, 0.1, F64, EQUAL, "violates"),
    ([1.0], FLOATS, [1.0], FLOATS, EQUAL, "unsupported"),
    (2, I64, 1.5, F64, ABOVE, "holds"),
    (1, I64, 1, I64, ABOVE, "violates"),
    (1, I64, 1, I64, pair("a_to_be_greater_than_b", or_equal=True), "holds"),
    ("b", TEXT, "a", TEXT, ABOVE, "holds"),
    (NOON, TIME, NOON - timedelta(1), TIME, ABOVE, "holds"),
    ("b", TEXT, 1, I64, ABOVE, "unsupported"),
    (1, I64, 2, I64, pairs((1, 2), (3, 4)), "holds"),
    (1, I64, 4, I64, pairs((1, 2), (3, 4)), "violates"),
    (True, BOOL, "a", TEXT, pairs((1, "a")), "holds"),
    (1, I64, 2, I64, SUM, "holds"),
    (1, I64, 2.5, F64, SUM, "violates"),
    (INF, F64, -INF, F64, SUM, "violates"),
    (0.1, F64, 0.2, F64, many("expect_multicolumn_sum_to_equal", sum_total=0.3), "violates"),
    (2**53, I64, 1, I64, many("expect_multicolumn_sum_to_equal", sum_total=2**53), "violates"),
    ("a", TEXT, "b", TEXT, SUM, "unsupported"),
    (1, I64, 1.0, F64, SAME, "holds"),
    (1, I64, "1", TEXT, SAME, "violates"),
    (1, I64, 1.0, F64, UNIQUE, "violates"),
    (1, I64, "1", TEXT, UNIQUE, "holds"),
    (0.0, F64, -0.0, F64, UNIQUE, "violates"),
    (True, BOOL, 1, I64, UNIQUE, "violates"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "a_kind", "b", "b_kind", "asked", "expected"), TWO)
def test_two_columns(
    a: Any, a_kind: pa.DataType, b: Any, b_kind: pa.DataType, asked: dict[str, Any], expected: str
) -> None:
    agree(pa.table({"x": pa.array([a], a_kind), "y": pa.array([b], b_kind)}), asked, expected)


def compared(operator: str, parameter: Any) -> dict[str, Any]:
    return {"type": "comparison", "column": {"name": "y"}, "operator": operator, "parameter": parameter}


def null(wanted: bool) -> dict[str, Any]:
    return {"type": "nullity", "column": {"name": "y"}, "is_null": wanted}


CONDITIONS: list[tuple[Any, pa.DataType, dict[str, Any], bool | None]] = [
    (None, I64, compared("==", 1), False),
    (None, I64, compared("!=", 1), True),  # a null is kept
    (NAN, F64, compared("!=", 1), True),
    (None, I64, compared("<", 1), False),
    (None, TEXT, compared("IN", ["a"]), False),
    (None, TEXT, compared("NOT_IN", ["a"]), True),
    (None, F64, null(True), True),
    (NAN, F64, null(False), False),
    (1, I64, compared("==", 1), True),
    (1, I64, compared(">=", 1.5), False),
    (2**53 + 1, I64, compared("<=", 2.0**53), False),
    (2**53 + 1, I64, compared("==", 2**53), False),
    (0.1, F32, compared("==", 0.1), False),  # a condition does not make its number a float32
    ("b", TEXT, compared(">", "a"), True),
    ("a", TEXT, compared("NOT_IN", ["b", "c"]), True),
    (True, BOOL, compared("==", True), True),
    (NOON, TIME, compared(">", "2026-01-01T12:30:00+01:00"), True),
    (NOON, TIME, compared("==", "2026-01-01T12:00:00+00:00"), True),
    (NOON, TIME, compared("IN", ["2026-01-01T12:00:00+00:00"]), True),
    (1, I64, {"type": "and", "conditions": [null(False), compared("<", 2)]}, True),
    (3, I64, {"type": "or", "conditions": [null(True), compared("<", 2)]}, False),
    (1, I64, compared("==", "1"), None),
    ("a", TEXT, compared("<", 1), None),
    (b"a", RAW, compared("==", "a"), None),
    (NOON, TIME, compared("<", "2026-01-01T12:30:00"), None),
]


@pytest.mark.parametrize(("value", "kind", "condition", "applies"), CONDITIONS)
def test_row_conditions(value: Any, kind: pa.DataType, condition: dict[str, Any], applies: bool | None) -> None:
    table = pa.table({"x": pa.array([9], I64), "y": pa.array([value], kind)})
    expected = {True: "violates", False: "skips", None: "unsupported"}[applies]
    agree(table, between(max_value=1, row_condition=condition), expected)


def agree(table: pa.Table, asked: dict[str, Any], expected: str) -> None:
    """The row rule says what is expected, and so does GX of a table of that row."""
    suite = parse_suite(document(asked))
    compiled = compile_rows(suite, feast_like.dtypes(table))
    (row_rule,) = compiled.rules
    assert (row_rule.status == "unsupported") == (expected == "unsupported"), row_rule.reason
    if expected == "unsupported":
        assert row_rule.reason
        return
    validator = RowValidator(compiled)
    values = [column[0] for column in feast_like.values(table, compiled.columns)]
    assert SAID[validator.tally(values)] == expected
    assert validator.check(values) == validator.tally(values)[0]
    outcome = judge(table, suite)[0]
    assert (outcome.broke is not None) == (expected == "breaks"), outcome.broke
    if outcome.broke is None:
        assert outcome.success == (expected in ("holds", "skips"))
        assert outcome.judged in (None, 0 if expected == "skips" else 1)


SAID = {(0, 0): "holds", (1, 0): "violates", (0, 1): "skips", (2, 1): "breaks"}
