"""Every rule is judged in one way and says so; nothing of a suite or a table becomes SQL; any source will do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skewguard.checks.expectations import check_suite
from skewguard.errors import BadInputError, StoreUnavailableError
from skewguard.expectations.engine import validate
from skewguard.expectations.judge import judge_suite
from skewguard.expectations.sql.plan import plan_suite
from skewguard.expectations.sql.source import columns_of, open_source
from skewguard.expectations.suites import Rule, Suite, parse_suite
from tests.expectations.builders import between, document, entry
from tests.expectations.generated import HOSTILE
from tests.expectations.sql.cases import agreed, alike, judged, plain

MANY = pa.table({"x": [1, 2, None], "s": ["a", "b", "c"], "l": [[1], [], None]})
SUITE = document(
    between(min_value=2),
    entry("expect_column_values_to_be_increasing", column="x"),
    between("s", min_value=0),
    entry("expect_column_values_to_be_unique", column="l"),
    entry("expect_column_values_to_not_be_null", column="l"),
)


def test_the_plan_has_every_rule_in_order_with_a_reason_for_what_is_left_to_gx() -> None:
    plan = plan_suite(parse_suite(SUITE), columns_of(open_source(MANY)))
    assert [one.how for one in plan.rules] == ["sql", "gx", "gx", "gx", "sql"]
    assert [one.rule.position for one in plan.rules] == [0, 1, 2, 3, 4]
    assert [one.reason for one in plan.rules] == [
        "",
        "it depends on the order of rows; pandas is quick at it",
        "s (string) holds strings",
        "l (list<item: int64>) holds values of another kind",
        "",
    ]


def test_what_gx_cannot_run_either_is_refused_and_never_left_out() -> None:
    like = Rule("expect_column_values_to_match_like_pattern", {"column": "s", "like_pattern": "a%"})
    result = validate(MANY, Suite("s", (like,)))
    (one,) = result.results
    assert (one.success, one.broke, one.judged_by) == (False, True, "refused")
    assert "no pandas implementation" in one.message


def test_results_and_the_check_say_who_judged() -> None:
    result = validate(MANY, parse_suite(SUITE))
    assert [one.judged_by for one in result.results] == ["sql", "gx", "gx", "gx", "sql"]
    details = check_suite(result, (), 0.0, {}).details
    assert details["judged"]["sql"] == 2
    assert details["judged"]["gx"] == 3
    assert details["judged"]["not_in_sql"][1] == "expect_column_values_to_be_between on s: s (string) holds strings"
    only = check_suite(validate(MANY, parse_suite(document(between(min_value=2)))), (), 0.0, {}).details
    assert only["judged"] == {"sql": 1}


@pytest.mark.parametrize("name", [*HOSTILE, "c0", "rows_of_the_suite", " ", "$v0", "row_number"])
def test_any_name_of_a_column_will_do(name: str) -> None:
    table = pa.table({name: [1, 2, 2], "x": ["a", "b", None], "c1": [1.0, None, 3.0]})
    for rule in (
        between(name, max_value=1),
        entry("expect_column_values_to_be_unique", column=name),
        entry("expect_column_median_to_be_between", column=name, min_value=2),
        entry("expect_column_pair_values_to_be_equal", column_A=name, column_B="c1"),
        entry("expect_compound_columns_to_be_unique", column_list=[name, "x"]),
    ):
        agreed(table, rule)


EVIL = ["'; DROP TABLE t; --", '"', "$v0", "$$", "\\", "%s", "{}", "a\x00b", "unnest", "')", "/*", "\u2028", "ü", ""]


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_of_a_suite_becomes_sql(evil: str) -> None:
    values = [evil, "plain", None, "plain"]
    table = pa.table({"x": values, "y": ["plain", evil, evil, None]})
    condition = {"type": "comparison", "column": {"name": "y"}, "operator": "==", "parameter": evil}
    for rule in (
        entry("expect_column_values_to_be_in_set", column="x", value_set=[evil]),
        entry("expect_column_values_to_not_be_in_set", column="x", value_set=[evil]),
        entry("expect_column_values_to_match_regex", column="x", regex=f"^{'p' if evil else evil}"),
        entry("expect_column_distinct_values_to_equal_set", column="x", value_set=[evil, "q"]),
        entry("expect_column_most_common_value_to_be_in_set", column="x", value_set=[evil]),
        entry("expect_column_pair_values_to_be_in_set", column_A="x", column_B="y", value_pairs_set=[[evil, evil]]),
        entry("expect_column_values_to_not_be_null", column="x", row_condition=condition),
    ):
        agreed(table, rule)


def test_names_that_differ_in_case_only_are_two_columns(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2], "A": [3, 4]})
    pq.write_table(table, tmp_path / "t.parquet")
    for source in (table, tmp_path / "t.parquet"):
        low, high = judged(source, between("a", max_value=2), between("A", min_value=3))
        assert (low.judged_by, low.outcome.success, high.outcome.success) == ("sql", True, True)


def big(rows: int = 300_000) -> pa.Table:
    rng = np.random.default_rng(1)
    return pa.table(
        {
            "id": rng.permutation(rows),
            "x": pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.1),
            "s": pa.array([f"v{i}" for i in rng.integers(0, 3000, rows)]),
            "twice": rng.integers(0, rows * 3, rows),
        }
    )


RULES = [
    entry("expect_column_values_to_be_unique", column="id"),
    entry("expect_column_values_to_be_unique", column="twice"),
    entry("expect_compound_columns_to_be_unique", column_list=["twice", "s"]),
    between("x", min_value=-3, max_value=3.5),
    entry("expect_column_values_to_not_be_null", column="x"),
    entry("expect_column_values_to_match_regex", column="s", regex="^v[0-9]+[05]$"),
    entry("expect_column_values_to_be_in_set", column="s", value_set=[f"v{i}" for i in range(2900)]),
    entry("expect_column_median_to_be_between", column="x", min_value=-1, max_value=1),
    entry("expect_column_quantile_values_to_be_between", column="x",
          quantile_ranges={"quantiles": [0.01, 0.5, 0.99], "value_ranges": [[-3, 0], [0, 1], [2, 3]]}),
    entry("expect_column_stdev_to_be_between", column="x", min_value=0.9, max_value=1.1),
    entry("expect_column_unique_value_count_to_be_between", column="twice", min_value=1),
]  # fmt: skip


def test_many_rows_in_their_order_from_every_source(tmp_path: Path) -> None:
    table = big()
    outcomes = [agreed(table, rule).outcome for rule in RULES]
    pq.write_table(table, tmp_path / "whole.parquet", row_group_size=40_000)
    pq.write_table(table.slice(0, 100_001), tmp_path / "a.parquet")
    pq.write_table(table.slice(100_001), tmp_path / "b.parquet", row_group_size=9_999)
    con = duckdb.connect()
    sources: list[Any] = [
        tmp_path / "whole.parquet",
        [tmp_path / "a.parquet", str(tmp_path / "b.parquet")],
        con.from_arrow(table),
    ]
    suite = parse_suite(document(*RULES))
    for source in sources:
        found, rows = judge_suite(source, suite)
        assert rows == table.num_rows
        assert [one.judged_by for one in found] == ["sql"] * len(RULES)
        for one, outcome in zip(found, outcomes, strict=True):
            assert one.outcome.success == outcome.success
            assert alike(plain(one.outcome.result), plain(outcome.result)), one.rule.type


def test_columns_that_duckdb_cannot_read_are_gx_s_and_leave_the_rest_alone() -> None:
    table = pa.table({"x": [1], "h": pa.array([[1.0]], pa.list_(pa.float16())), "d": pa.array([None], pa.null())})
    x, h, d = judged(
        table,
        between(min_value=0),
        entry("expect_column_values_to_not_be_null", column="h"),
        entry("expect_column_values_to_not_be_null", column="d"),
    )
    assert (x.judged_by, h.judged_by, d.judged_by) == ("sql", "gx", "gx")
    assert (h.outcome.success, d.outcome.success) == (True, False)
    assert "as it is" in h.reason


def test_sources_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    suite = parse_suite(document(between(min_value=0)))
    with pytest.raises(BadInputError, match="not there"):
        validate(tmp_path / "no.parquet", suite)
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(StoreUnavailableError, match=r"bad\.parquet"):
        validate(tmp_path / "bad.parquet", suite)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": ["1"]}), tmp_path / "b.parquet")
    with pytest.raises(BadInputError, match="another schema"):
        validate([tmp_path / "a.parquet", tmp_path / "b.parquet"], suite)
    with pytest.raises(BadInputError, match="no Parquet file"):
        validate([], suite)
    with pytest.raises(BadInputError, match="an Arrow table"):
        validate(5, suite)  # type: ignore[arg-type]


def test_gx_is_not_imported_where_every_rule_is_compiled() -> None:
    script = """
import sys
import pyarrow as pa
from skewguard.expectations.engine import validate
from skewguard.expectations.suites import Rule, Suite
kwargs = {"column": "x", "min_value": 0}
rule = Rule("expect_column_values_to_be_between", kwargs, resolved={**kwargs, "mostly": 1})
result = validate(pa.table({"x": [1, -1]}), Suite("s", (rule,)))
assert [r.judged_by for r in result.results] == ["sql"], result
assert result.results[0].sample == (-1,)
assert "great_expectations" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
