"""Whole columns outside of SQL against the obvious way; and what is known without a scan against a scan."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skewguard.expectations.judge import judge_suite
from skewguard.expectations.sql.outcomes import Limits
from skewguard.expectations.sql.whole import SAMPLE, apart, ranked, within
from skewguard.expectations.suites import parse_suite
from tests.expectations.builders import document, entry
from tests.expectations.sql.cases import agreed, alike, judged, plain

ROWS = 12 * SAMPLE + 7
RANDOM = np.random.default_rng(11)


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.gamma(2.0, 50.0, ROWS),
        np.sort(RANDOM.normal(size=ROWS)),
        np.repeat([0.0, 1.0], [ROWS - 5, 5]),
        RANDOM.permutation(np.repeat([0.0, math.inf, -math.inf, 3.0], [ROWS // 2, 9, 9, ROWS - ROWS // 2 - 18])),
        RANDOM.integers(-(2**60), 2**60, ROWS),
        np.where(np.arange(ROWS) % 12 == 0, 5.0, RANDOM.normal(size=ROWS)),  # the sample sees one value only
        np.where(np.arange(ROWS) % 12 == 0, 100.0 + np.arange(ROWS), np.arange(ROWS) / ROWS),  # it sees the wrong ones
    ],
    ids=["gamma", "sorted", "two values", "infinities", "wide", "one in the sample", "misled"],
)
def test_values_at_places_are_those_of_the_sorted_column(values: Any) -> None:
    places = [0, 1, 77, ROWS // 20, (ROWS - 1) // 2, ROWS // 2, ROWS // 2, ROWS - ROWS // 20, ROWS - 2, ROWS - 1]
    assert ranked(values, lambda _: places) == np.sort(values)[places].tolist()


def test_no_values_have_no_places() -> None:
    assert ranked(np.array([]), lambda _: [0]) == []


REALS = pa.chunked_array([[1.0, None, math.nan], [], [2.0, math.inf, -math.inf], [None]], pa.float64())


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        (Limits(1.0, 2.0, False, False), 2),
        (Limits(1.0, 2.0, True, False), 1),
        (Limits(1.0, 2.0, False, True), 1),
        (Limits(None, None, False, False), 4),
        (Limits(None, 1.5, False, False), 2),
        (Limits(1.5, None, False, False), 2),
        (Limits(math.inf, None, True, False), 0),
    ],
)
def test_floats_within_limits(limits: Limits, count: int) -> None:
    assert within(REALS, limits) == count


def test_singles_are_compared_as_doubles() -> None:
    tenth = pa.chunked_array([pa.array([0.1], pa.float32())])
    assert within(tenth, Limits(0.1, None, False, False)) == 1  # float32 has 0.1 a little above the double
    assert within(tenth, Limits(None, 0.1, False, False)) == 0


def test_what_lies_between_floats_and_a_centre() -> None:
    assert apart(np.array([1.0, 2.0, 4.0]), 2.0) == (3, 1.0, 5.0)
    assert apart(np.array([]), 2.0) == (0, 0.0, 0.0)
    assert math.isnan(apart(np.array([math.inf, -math.inf]), 0.0)[1])


START = datetime(2026, 1, 1, tzinfo=UTC)
MOMENTS = [START, None, START + timedelta(seconds=10)]
COLUMNS: dict[str, pa.Array] = {
    **{unit: pa.array(MOMENTS, pa.timestamp(unit, "UTC")) for unit in ("s", "ms", "us", "ns")},
    "naive": pa.array([None if m is None else m.replace(tzinfo=None) for m in MOMENTS], pa.timestamp("us")),
    "days": pa.array([START.date(), None, START.date()], pa.date32()),
    "whole": pa.array([3, None, 7], pa.int64()),
    "unsigned": pa.array([3, None, 7], pa.uint64()),
    "small": pa.array([3, None, 7], pa.int8()),
    "none": pa.array([None, None, None], pa.int32()),
    "real": pa.array([3.0, None, 7.0], pa.float64()),
    "single": pa.array([3.0, math.nan, 7.0], pa.float32()),
}
TIMES = ("s", "ms", "us", "ns", "naive", "days")


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("kind", ["values", "min", "max"])
@pytest.mark.parametrize("strict", [False, True])
def test_ends_that_are_known_say_what_a_scan_says(name: str, kind: str, strict: bool, tmp_path: Path) -> None:
    """Bounds at the least and the largest value, just within, just beyond: from memory, from files, and in GX."""
    table = pa.table({"x": COLUMNS[name]})
    values = [value for value in COLUMNS[name].to_pylist() if value is not None and value == value]
    low, high = (min(values), max(values)) if values else (0, 1)
    if name in TIMES:
        step, low, high = timedelta(seconds=1), START, START + timedelta(seconds=0 if name == "days" else 10)
        bounds = [(low + a * step, high + b * step) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        pairs: list[tuple[Any, Any]] = [(a.isoformat(), b.isoformat()) for a, b in bounds if a < b]
    else:
        pairs = [(low + a, high + b) for a in (-1, 0, 1) for b in (-1, 0, 1) if low + a + strict <= high + b]
    rules = [
        entry(f"expect_column_{kind}_to_be_between", column="x", min_value=a, max_value=b, strict_min=strict)
        for a, b in pairs
    ]
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=1)
    found, _ = judge_suite(tmp_path / "x.parquet", parse_suite(document(*rules)))
    if name != "ns":  # DuckDB would cut those of a file
        assert {one.judged_by for one in found} == {"sql"}
    for rule, from_file in zip(rules, found, strict=True):
        from_memory = agreed(table, rule)
        if from_file.judged_by == "sql":
            assert (from_file.outcome.success, from_file.outcome.result) == (
                from_memory.outcome.success,
                from_memory.outcome.result,
            )


@pytest.mark.parametrize(
    ("values", "kind"), [([2**53, 2**53 + 1, None], pa.int64()), ([-(2**53) - 1, 0, None], pa.int64()),
                         ([2**63 + 1, 2**53, None], pa.uint64())]
)  # fmt: skip
@pytest.mark.parametrize("strict", [False, True])
def test_ends_beyond_doubles_are_exact(values: list[Any], kind: pa.DataType, strict: bool, tmp_path: Path) -> None:
    table = pa.table({"x": pa.array(values, kind)})
    pq.write_table(table, tmp_path / "x.parquet")
    edge = 2**53
    rule = entry(
        "expect_column_values_to_be_between", column="x", min_value=-edge, max_value=edge, strict_max=strict, mostly=0.5
    )
    there = [value for value in values if value is not None]
    wrong = [v for v in there if v < -edge or (v >= edge if strict else v > edge)]
    for source in (table, tmp_path / "x.parquet"):
        (one,) = judged(source, rule)
        assert one.judged_by == "sql"
        assert one.outcome.result["unexpected_count"] == len(wrong)
        assert one.outcome.result["missing_count"] == 1


NAN = math.nan
PAIR = "expect_column_pair_values_a_to_be_greater_than_b"


@pytest.mark.parametrize(
    "rule",
    [
        entry("expect_column_values_to_be_between", column="x", min_value=0, max_value=10),
        entry("expect_column_values_to_be_between", column="x", max_value=10),
        entry("expect_column_values_to_be_between", column="x", min_value=-3),
        entry("expect_column_values_to_be_between", column="x", min_value=-3, max_value=5, strict_max=True),
        entry("expect_column_values_to_be_in_set", column="x", value_set=[5, -1, -2]),
        entry(PAIR, column_A="x", column_B="low", ignore_row_if="both_values_are_missing"),
        entry(PAIR, column_A="x", column_B="low", ignore_row_if="either_value_is_missing"),
        entry(PAIR, column_A="x", column_B="low", ignore_row_if="neither"),
        entry("expect_column_max_to_be_between", column="x", max_value=5),
        entry("expect_column_values_to_be_between", column="whole", min_value=6,
              row_condition={"type": "comparison", "column": {"name": "x"}, "operator": ">=", "parameter": -9}),
        entry("expect_column_values_to_be_between", column="whole", min_value=6,
              row_condition={"type": "comparison", "column": {"name": "x"}, "operator": "!=", "parameter": 9}),
    ],
)  # fmt: skip
def test_nan_in_files_is_in_no_range_whatever_statistics_say(rule: dict[str, Any], tmp_path: Path) -> None:
    """Writers leave NaN out of the ends of a column, by which DuckDB spares itself comparisons."""
    table = pa.table(
        {
            "x": pa.array([5.0] * 8 + [NAN, NAN, NAN, -1.0, -2.0]),
            "low": pa.array([NAN, None] + [-9.0] * 11),
            "whole": pa.array(range(13)),
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    from_memory = agreed(table, rule)
    (from_file,) = judged(tmp_path / "x.parquet", rule)
    assert from_file.judged_by == "sql"
    assert from_file.outcome.success == from_memory.outcome.success
    assert alike(plain(from_file.outcome.result), plain(from_memory.outcome.result))


def test_a_file_with_times_beyond_pythons_calendar_is_judged(tmp_path: Path) -> None:
    table = pa.table({"x": pa.array([-(10**15), 0]).cast(pa.timestamp("ms")), "y": [1, 2]})
    pq.write_table(table, tmp_path / "x.parquet")
    rules = [
        entry("expect_column_values_to_be_between", column="x", max_value="1970-01-01"),
        entry("expect_column_values_to_be_between", column="y", min_value=1),
    ]
    assert [one.outcome.success for one in judged(tmp_path / "x.parquet", *rules)] == [True, True]


def test_an_empty_list_in_a_file_is_no_null(tmp_path: Path) -> None:
    table = pa.table({"x": pa.array([[1.0], [], None, [None]], pa.list_(pa.float64()))})
    pq.write_table(table, tmp_path / "x.parquet")
    rule = entry("expect_column_values_to_not_be_null", column="x")
    (from_file,) = judged(tmp_path / "x.parquet", rule)
    assert from_file.outcome.result["unexpected_count"] == 1 == agreed(table, rule).outcome.result["unexpected_count"]


SMALL = pa.array(list(range(-128, 128)) * 2, pa.int8()).dictionary_encode()
HOLED = pa.DictionaryArray.from_arrays([0, 1, 2, None, 0], pa.array([1, 5, None]))
TWICE = pa.DictionaryArray.from_arrays([0, 2, 1, 1, 0], ["a", "b", "a"])


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (SMALL, entry("expect_column_values_to_be_unique", column="x")),
        (SMALL, entry("expect_column_median_to_be_between", column="x", min_value=-1, max_value=0)),
        (HOLED, entry("expect_column_values_to_be_unique", column="x")),
        (HOLED, entry("expect_column_median_to_be_between", column="x", min_value=1, max_value=1)),
        (TWICE, entry("expect_column_most_common_value_to_be_in_set", column="x", value_set=["a"])),
        (TWICE, entry("expect_column_values_to_match_regex", column="x", regex="a")),
    ],
)
def test_dictionaries_are_what_they_stand_for(values: pa.DictionaryArray, rule: dict[str, Any]) -> None:
    plainly = pa.table({"x": values.cast(values.type.value_type)})
    (one,) = judged(pa.table({"x": values}), rule)
    (other,) = judged(plainly, rule)
    assert one.outcome.trouble is None
    assert one.outcome.success == other.outcome.success
    assert alike(plain(one.outcome.result), plain(other.outcome.result))


def test_the_middle_of_numbers_at_the_end_of_doubles() -> None:
    rule = entry("expect_column_median_to_be_between", column="x", min_value=0)
    for values in ([1e308, 1e308, -1e308], [1e308, 1e308]):
        (one,) = judged(pa.table({"x": values}), rule)
        assert one.judged_by == "gx"
