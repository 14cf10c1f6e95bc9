"""Where the specification is not GX alone (docs/expectations-engine.md), and the traps between SQL and pandas."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from skewguard.expectations.outcome import Outcome
from skewguard.expectations.suites import parse_suite
from tests.expectations import oracle
from tests.expectations.builders import between, document, entry
from tests.expectations.sql.cases import agreed, in_sql, judged
from tests.expectations.sql.test_families import BOOL, DAY, F32, F64, I64, NAN, TEXT, limits, on_x


def test_nan_and_null_are_missing_whatever_holds_them() -> None:
    rule = on_x("values_to_not_be_null", mostly=0.5)
    assert in_sql([NAN, None, 1.0], rule, F64).outcome.result["unexpected_count"] == 2
    assert in_sql([NAN, 3.0], limits("mean", 2, 4), F64).outcome.result == {"observed_value": 3.0}
    assert in_sql([NAN, 3.0], limits("max", high=3), F64).outcome.success


def test_infinities_are_values() -> None:
    assert in_sql([float("inf")], between(max_value=10), F64).outcome.result["unexpected_count"] == 1
    (one,) = judged(pa.table({"x": [float("inf"), float("-inf")]}), limits("mean", 0))
    assert (one.judged_by, one.outcome.success) == ("gx", False)
    assert "infinities" in one.reason


def test_mostly_is_gx_s_formula_to_the_bit() -> None:
    # u <= (1 - mostly) * n would fail this one
    assert in_sql([1, 1, 1, 1, 9], between(max_value=3, mostly=0.8), I64).outcome.success
    rng = random.Random(1)
    for _ in range(15):
        rows = rng.randint(1, 30)
        bad = rng.randint(0, rows)
        share = rng.choice([bad / rows, 1 - bad / rows, (rows - bad) / rows, 0.1 * rng.randint(0, 10)])
        in_sql([1] * (rows - bad) + [9] * bad, between(max_value=3, mostly=share), I64)


def test_a_whole_number_beyond_2_53_is_itself() -> None:
    ids = [2**53, 2**53 + 1, None]
    assert in_sql(ids, on_x("values_to_be_in_set", value_set=[2**53]), I64).outcome.result["unexpected_count"] == 1
    assert in_sql(ids[:2], between(max_value=2**53), I64).outcome.result["partial_unexpected_list"] == [2**53 + 1]
    assert in_sql(ids, on_x("values_to_be_unique"), I64).outcome.success
    (mean,) = judged(pa.table({"x": pa.array(ids, I64)}), limits("mean", 0))
    assert (mean.judged_by, mean.reason) == ("gx", "x holds whole numbers that no double holds")


def test_whole_numbers_beside_nulls_are_shown_as_floats() -> None:
    shown = in_sql([7, None], between(max_value=3), I64).outcome.result["partial_unexpected_list"]
    assert [type(value) for value in shown] == [float]
    shown = in_sql([7, 8], between(max_value=3), I64).outcome.result["partial_unexpected_list"]
    assert [type(value) for value in shown] == [int, int]


def test_float32_at_its_bound() -> None:
    assert in_sql([0.1, 0.2], between(min_value=0.1, max_value=0.2), F32).outcome.success
    assert in_sql([0.1], on_x("values_to_be_in_set", value_set=[0.1]), F32).outcome.success
    assert in_sql([0.1], limits("max", high=0.1), F32).outcome.success


def test_dates_as_bounds_are_midnights_in_utc() -> None:
    rule = between(min_value="2026-01-01", max_value="2026-01-01T01:00:00+01:00")
    assert in_sql([DAY], rule, pa.timestamp("us", "UTC")).outcome.success
    assert in_sql([DAY.replace(tzinfo=None)], rule, pa.timestamp("ns")).outcome.success
    shown = in_sql([datetime(2027, 1, 1, tzinfo=UTC)], rule, pa.timestamp("us", "Europe/Berlin"))
    assert shown.outcome.result["partial_unexpected_list"][0].isoformat() == "2027-01-01T00:00:00+00:00"


def test_nanoseconds_are_not_cut() -> None:
    value = pa.array([1_767_225_600_000_000_001], pa.timestamp("ns", "UTC"))
    for rule in (between(max_value="2026-01-01"), limits("max", high="2026-01-01")):
        one = agreed(pa.table({"x": value}), rule)
        assert not one.outcome.success


@pytest.mark.parametrize("text", ["a", "a\n", "é", "١", "1", "", "A", "x\ny", "a\x00b"])
@pytest.mark.parametrize("pattern", ["^a$", r"^\d$", r"\w", r"(?!b)a", "a.b", r"(.)\1|^$", "[[:alpha:]]"])
@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
def test_regular_expressions_are_python_s(pattern: str, text: str) -> None:
    in_sql([text, None], on_x("values_to_match_regex", regex=pattern), TEXT)


def test_a_number_is_no_string_in_a_set() -> None:
    assert (
        in_sql([1, 2], on_x("values_to_be_in_set", value_set=["1", "2"]), I64).outcome.result["unexpected_count"] == 2
    )
    assert in_sql([True, False], on_x("values_to_be_in_set", value_set=[1, 0]), BOOL).outcome.success
    assert in_sql([1], on_x("values_to_be_in_set", value_set=[None, 1]), I64).outcome.success


def test_a_pair_with_a_null_is_not_in_order() -> None:
    table = pa.table({"a": pa.array([3, None, 1], I64), "b": pa.array([1, 2, None], I64)})
    one = agreed(table, entry("expect_column_pair_values_a_to_be_greater_than_b", column_A="a", column_B="b"))
    assert one.outcome.result["unexpected_count"] == 2


def test_lengths_are_code_points() -> None:
    one = in_sql(["e\u0301", "🙂", "🏳️‍🌈"], on_x("value_lengths_to_equal", value=1), TEXT)
    assert one.outcome.result["partial_unexpected_list"] == ["e\u0301", "🏳️‍🌈"]


def test_every_member_of_a_group_is_not_unique() -> None:
    one = in_sql(["b", "a", None, "b", None, "b"], on_x("values_to_be_unique"), TEXT)
    assert one.outcome.result["partial_unexpected_index_list"] == [0, 3, 5]


def test_rows_shown_are_the_first_twenty_in_order() -> None:
    values = [i % 7 for i in range(300)]
    one = in_sql(values, between(min_value=1), I64)
    assert one.outcome.result["partial_unexpected_index_list"] == list(range(0, 140, 7))


def test_sums_in_another_order_are_close_and_never_decide() -> None:
    values = [0.1] * 10 + [1e9, -1e9]
    table = pa.table({"x": pa.array(values, F64)})
    suite = parse_suite(document(limits("sum", 0), limits("sum", 1.0), limits("sum", high=1.0)))
    theirs = oracle.judge(table, suite)
    far, *near = judged(table, limits("sum", 0), limits("sum", 1.0), limits("sum", high=1.0))
    assert far.judged_by == "sql"
    assert far.outcome.result["observed_value"] == pytest.approx(theirs[0].observed, abs=1e-6)
    for position, one in enumerate(near, 1):
        assert (one.judged_by, one.outcome.success) == ("gx", theirs[position].success)
        assert "rounding errors" in one.reason


@pytest.mark.parametrize("shift", [0.0, 1e6, -1e9])
def test_a_deviation_far_from_zero_keeps_its_digits(shift: float) -> None:
    rng = random.Random(3)
    values = sorted(shift + rng.gauss(0, 1) for _ in range(12_000))  # the first rows tell little of the rest
    in_sql(values, limits("stdev", 0.5, 1.5), F64)


def test_two_quantile_rules_on_one_column_each_have_their_own() -> None:
    def rule(*quantiles: float) -> dict[str, Any]:
        ranges = {"quantiles": list(quantiles), "value_ranges": [[0, 1]] * len(quantiles)}
        return on_x("quantile_values_to_be_between", quantile_ranges=ranges)

    in_another_way = {**rule(1.0), "kwargs": {**rule(1.0)["kwargs"], "allow_relative_error": "linear"}}
    table = pa.table({"x": [0.1, 0.3]})
    found = judged(table, rule(0.0), rule(0.0, 1.0), in_another_way, {**in_another_way, "severity": "info"})
    values = [one.outcome.result["observed_value"]["values"] for one in found]
    assert values == [[0.1], [0.1, 0.3], [0.3], [0.3]]
    assert [one.judged_by for one in found] == ["sql", "sql", "gx", "gx"]


def test_a_rule_that_breaks_is_told_from_one_that_fails() -> None:
    table = pa.table({"s": ["a"], "x": [1]})
    broken, failed = judged(table, between("s", min_value=0), between(min_value=2))
    assert broken.outcome == Outcome(False, trouble=broken.outcome.trouble)
    assert "same type" in str(broken.outcome.trouble)
    assert (failed.outcome.success, failed.outcome.trouble) == (False, None)


def test_missing_members_come_in_the_suite_s_order() -> None:
    one = in_sql(["b"], on_x("distinct_values_to_contain_set", value_set=["z", "b", "a", "m"]), TEXT)
    assert one.outcome.result["partial_missing_list"] == ["z", "a", "m"]


def test_a_wide_column_with_nulls_in_an_ordered_condition_is_gx_s() -> None:
    condition = {"type": "comparison", "column": {"name": "id"}, "operator": ">", "parameter": 5}
    table = pa.table({"x": [1, 2], "id": pa.array([2**60, None], I64)})
    (one,) = judged(table, between(min_value=0, row_condition=condition))
    theirs = oracle.judge(table, parse_suite(document(between(min_value=0, row_condition=condition))))[0]
    assert one.judged_by == "gx"
    assert (one.outcome.trouble is None) is (theirs.broke is None)
    table = table.set_column(1, "id", pa.array([2**60, 1], I64))
    agreed(table, between(min_value=2, row_condition=condition))
    agreed(table, on_x("values_to_be_of_type", type_="bool", row_condition=condition))  # asks nothing of the data


def test_what_a_library_raises_on_a_value_is_told_in_gx_s_words() -> None:
    table = pa.table({"x": ["1", "2" * 400 + "e9999999999"]})
    rule = on_x("values_to_be_dateutil_parseable")
    (one,) = judged(table, rule)
    theirs = oracle.judge(table, parse_suite(document(rule)))[0]
    assert (one.outcome.trouble is None) is (theirs.broke is None)
    assert one.outcome.success == theirs.success


def test_small_whole_numbers_do_not_overflow_by_their_place() -> None:
    in_sql([-128, 127, 127, None], on_x("values_to_be_unique"), pa.int8())
    in_sql([0, 255, 255], limits("unique_value_count", 1, 2), pa.uint8())


def test_names_that_differ_in_case_only_are_not_taken_for_each_other() -> None:
    table = pa.table({"X": [1, 2, 2], "x": ["a", "b", None]})
    increasing = entry("expect_column_values_to_be_increasing", column="X", strictly=True)
    pattern = entry("expect_column_values_to_match_json_schema", column="x", json_schema={})
    found = judged(
        table,
        entry("expect_column_values_to_be_in_set", column="x", value_set=["a", "b"]),
        entry("expect_compound_columns_to_be_unique", column_list=["X", "x"]),
        increasing,
        pattern,
        entry("expect_column_pair_values_to_be_equal", column_A="X", column_B="x"),
    )
    assert [one.judged_by for one in found] == ["sql", "sql", "gx", "gx", "gx"]
    assert [one.outcome.success for one in found[:3]] == [True, True, False]
    assert found[2].outcome.result["partial_unexpected_list"] == [2]
    assert "json" in str(found[3].outcome.trouble).lower() or "expecting value" in str(found[3].outcome.trouble).lower()
    assert "differ in case only" in str(found[4].outcome.trouble)
