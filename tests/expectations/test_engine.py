"""Real GX on Arrow tables: degenerate tables first, then verdicts worked by hand, traps, and threads."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from skewguard.errors import BadInputError, SuiteError
from skewguard.expectations.engine import ExpectationResult, validate
from skewguard.expectations.suites import parse_suite
from tests.expectations.builders import between, document, entry

NOT_NULL = entry("expect_column_values_to_not_be_null", column="x")
MEAN = entry("expect_column_mean_to_be_between", column="x", min_value=0)
TODAY = datetime(2026, 1, 1, tzinfo=UTC)


def one(values: Any, rule: dict[str, Any], kind: pa.DataType | None = None) -> ExpectationResult:
    (result,) = validate(pa.table({"x": pa.array(values, kind)}), parse_suite(document(rule))).results
    return result


def typed(name: str) -> dict[str, Any]:
    return entry("expect_column_values_to_be_of_type", column="x", type_=name)


def in_set(*values: Any) -> dict[str, Any]:
    return entry("expect_column_values_to_be_in_set", column="x", value_set=list(values))


F32, F64, I64 = pa.float32(), pa.float64(), pa.int64()
TABLE: list[tuple[Any, pa.DataType, dict[str, Any], bool]] = [
    # degenerate: GX's rules on values hold of nothing, its aggregates do not
    ([], F64, between(min_value=0), True),
    ([None], F64, between(min_value=0), True),
    ([], F64, NOT_NULL, True),
    ([None], F64, NOT_NULL, False),
    ([None], I64, NOT_NULL, False),
    ([float("nan")], F64, NOT_NULL, False),  # NaN is missing
    ([float("nan"), 1.0], F64, between(max_value=2), True),
    ([float("inf")], F64, between(max_value=2), False),
    ([None], F64, MEAN, False),
    # values by hand
    ([1, 2, 3], I64, between(min_value=1, max_value=3), True),
    ([1, 2, 4], I64, between(min_value=1, max_value=3), False),
    ([1, 1, 1, 1, 9], I64, between(max_value=3, mostly=0.8), True),
    ([1, 1, 1, 9], I64, between(max_value=3, mostly=0.8), False),
    ([1, None, 9], I64, between(max_value=3, mostly=0.5), True),  # of two values, one
    ([0.1, None], F32, between(max_value=0.1), True),  # as float32, 0.1 is 0.1
    ([0.1], F32, between(max_value=0.0999), False),
    ([0.1, 0.2], F32, in_set(0.1, 0.2), True),
    ([1.0], F32, between(max_value=1e300), True),  # a bound beyond every float32
    ([2**53 + 1, None], I64, in_set(2**53), False),  # a whole number beside a null keeps its last digit
    ([2**53 + 1, None], I64, in_set(2**53 + 1), True),
    ([True, None, False], pa.bool_(), in_set(True, False), True),
    ([True, None], pa.bool_(), in_set(False), False),
    (["a", None], pa.string(), in_set("a"), True),
    (["a", "b"], pa.dictionary(pa.int8(), pa.string()), in_set("a"), False),
    ([TODAY, None], pa.timestamp("ns", "UTC"), between(min_value="2026-01-01"), True),  # a date is its midnight
    ([TODAY], pa.timestamp("us", "UTC"), between(min_value="2026-01-01T00:00:01"), False),  # naive is UTC
    ([TODAY], pa.timestamp("us"), between(min_value="2026-01-01T01:00:00+01:00"), True),
    # types: what Arrow declares, whatever nulls make of it in pandas
    ([1, None], I64, typed("int64"), True),
    ([None], I64, typed("int64"), True),
    ([1, None], pa.int32(), typed("int64"), False),
    ([1.0, None], F32, typed("float32"), True),
    ([1.0], F64, typed("float32"), False),
    ([True, None], pa.bool_(), typed("bool"), True),
    (["a", None], pa.string(), typed("str"), True),
    ([1], I64, typed("str"), False),
    ([[1.0], None, []], pa.list_(F64), typed("list"), True),
    ([TODAY, None], pa.timestamp("us", "UTC"), typed("Timestamp"), True),
]


@pytest.mark.parametrize(("values", "kind", "rule", "expected"), TABLE)
def test_verdicts(values: Any, kind: pa.DataType, rule: dict[str, Any], expected: bool) -> None:
    result = one(values, rule, kind)
    assert result.success is expected
    assert not result.broke, result.message


def test_counts_sample_and_message() -> None:
    result = one([1, None, 7, 8, 2], between(max_value=3, mostly=0.9), I64)
    assert (result.element_count, result.unexpected_count, result.sample) == (5, 2, (7.0, 8.0))
    assert result.observed == 0.5
    assert "2 of 4 values (50.00%) are not as expected, such as 7.0, 8.0" in result.message
    assert "expected mostly=0.9, max_value=3," in result.message


def test_aggregates_count_no_rows() -> None:
    result = one([1.0, 3.0], {**MEAN, "severity": "warning"}, F64)
    assert (result.observed, result.element_count, result.unexpected_count) == (2.0, None, None)
    assert result.severity == "warning"


def test_the_quantile_expectation_gives_a_plain_bool() -> None:
    ranges = {"quantiles": [0.5], "value_ranges": [[1, 3]]}
    result = one([1.0, 2.0, 9.0], entry("expect_column_quantile_values_to_be_between", column="x",
                                        quantile_ranges=ranges), F64)  # fmt: skip
    assert result.success is True
    assert json.loads(json.dumps(result.observed)) == {"quantiles": [0.5], "values": [2.0]}


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (["a"], between(min_value=0)),
        (["a"], MEAN),
    ],
)
def test_a_rule_that_breaks_is_no_verdict_on_the_data(values: Any, rule: dict[str, Any]) -> None:
    result = one(values, rule)
    assert result.broke
    assert not result.success
    assert "the rule itself broke" in result.message


def test_a_broken_rule_leaves_its_neighbours_alone_and_in_order() -> None:
    table = pa.table({"x": [1, 2], "s": ["a", "b"]})
    suite = parse_suite(document(between(min_value=0), between("s", min_value=0), between(min_value=2), typed("int64")))
    result = validate(table, suite)
    assert [(r.success, r.broke) for r in result.results] == [(True, False), (False, True), (False, False),
                                                              (True, False)]  # fmt: skip
    assert not result.success
    assert [r.broke for r in result.failed] == [True, False]


def test_pairs_conditions_and_the_table() -> None:
    table = pa.table({"x": [3, 1, None], "y": [1, 2, 5], "s": ["a", "b", "a"]})
    condition = {"type": "comparison", "column": {"name": "s"}, "operator": "==", "parameter": "a"}
    pair = {"column_A": "x", "column_B": "y", "ignore_row_if": "either_value_is_missing"}
    suite = parse_suite(
        document(
            between("x", min_value=2, row_condition=condition),
            entry("expect_column_pair_values_a_to_be_greater_than_b", **pair),
            entry("expect_table_row_count_to_equal", value=3),
            entry("expect_table_columns_to_match_set", column_set=["s", "x", "y"]),
            entry("expect_column_to_exist", column="z"),
        )
    )
    result = validate(table, suite)
    assert [r.success for r in result.results] == [True, False, True, True, False]
    assert [r.broke for r in result.results] == [False] * 5
    assert result.rows == 3
    assert result.suite_digest == suite.digest


def test_severity_does_not_change_success() -> None:
    suite = parse_suite(document({**between(min_value=9), "severity": "info"}, {**NOT_NULL, "severity": "warning"}))
    result = validate(pa.table({"x": [1, None]}), suite)
    assert not result.success
    assert [r.severity for r in result.failed] == ["warning", "info"]
    assert result.worst_severity == "warning"


def test_a_missing_column_names_file_expectation_and_the_nearest_column() -> None:
    suite = parse_suite(document(between("amout", min_value=0), between("q", min_value=0)), "suite.json")
    with pytest.raises(SuiteError) as caught:
        validate(pa.table({"amount": [1]}), suite)
    text = str(caught.value)
    assert "suite.json" in text
    assert "expectation 1 (expect_column_values_to_be_between on 'amout')" in text
    assert "Did you mean 'amount'?" in text
    assert "expectation 2" in text


def test_two_columns_of_one_name_are_refused() -> None:
    table = pa.table([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(BadInputError, match="two columns named 'x'"):
        validate(table, parse_suite(document(between(min_value=0))))


def test_threads_with_opposite_tables_get_their_own_verdicts() -> None:
    suite = parse_suite(document(between(min_value=0, max_value=10), NOT_NULL, typed("int64")))
    good = pa.table({"x": pa.array(range(10), I64)})
    bad = pa.table({"x": pa.array([99] * 10, I64)})
    tables = [good, bad] * 20
    with ThreadPoolExecutor(4) as pool:
        verdicts = [r.success for r in pool.map(lambda table: validate(table, suite), tables)]
    assert verdicts == [True, False] * 20


def test_gx_is_silent_leaves_no_files_and_no_context(tmp_path: Path) -> None:
    script = """
import pyarrow as pa
from skewguard.expectations.suites import parse_suite
import sys
assert "great_expectations" not in sys.modules
from skewguard.expectations.engine import validate
kl = {"type": "expect_column_kl_divergence_to_be_less_than", "kwargs": {"column": "x", "threshold": 1.0,
      "partition_object": {"values": ["a", "b"], "weights": [0.5, 0.5]}}}
rule = {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "x", "value_set": ["b"]}}
suite = parse_suite({"name": "s", "expectations": [kl, rule]})
result = validate(pa.table({"x": ["a", "b"] * 5000}), suite)
assert [r.success for r in result.results] == [True, False], result
import os, great_expectations.data_context.data_context.context_factory as factory
assert os.environ["GX_ANALYTICS_ENABLED"] == "false"
try:
    factory.project_manager.get_current_project()
except Exception as error:
    assert type(error).__name__ == "DataContextRequiredError"
else:
    raise SystemExit("a Data Context was set for the whole process")
"""
    work, temporary = tmp_path / "work", tmp_path / "tmp"
    work.mkdir()
    temporary.mkdir()
    root = str(Path(__file__).parents[2])
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(temporary), "HOME": str(temporary), "PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-c", script], cwd=work, env=environment, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(work.iterdir()) == []
    assert list(temporary.iterdir()) == []
