"""The validator as the server uses it: masks, rows and columns, broken rules, and names that would like to be code."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from skewguard.errors import BadInputError
from skewguard.expectations.rows.compile import compile_rows
from skewguard.expectations.rows.generate import row_function
from skewguard.expectations.rows.suite import RowSuite
from skewguard.expectations.rows.validator import RowValidator
from skewguard.expectations.suites import parse_suite
from tests.expectations.builders import between, document, entry
from tests.expectations.generated import HOSTILE


def validator(*entries: dict[str, Any], **dtypes: str) -> RowValidator:
    return RowValidator(compile_rows(parse_suite(document(*entries)), dtypes))


NOT_NULL = entry("expect_column_values_to_not_be_null", column="x")
TEXT = entry("expect_column_values_to_match_regex", column="s", regex="^a")


def test_no_rules_no_columns() -> None:
    empty = validator(entry("expect_table_row_count_to_equal", value=1), x="DOUBLE")
    assert (empty.columns, empty.rules) == ((), ())
    assert empty.check([]) == 0
    assert empty.check_columns([], 3) == {}
    assert empty.tally_columns([], 0) == ({}, {})


def test_a_mask_has_a_bit_for_each_rule_in_order() -> None:
    judge = validator(between(min_value=0), NOT_NULL, between(max_value=5), TEXT, x="DOUBLE", s="STRING")
    assert judge.columns == ("x", "s")
    assert judge.check((1.0, "a")) == 0
    assert judge.check([-1.0, "a"]) == 0b0001
    assert judge.check((None, "b")) == 0b1010
    assert judge.tally((float("nan"), None)) == (0b0010, 0b1101)
    assert [rule.position for rule in judge.violated(0b1001)] == [0, 3]
    assert judge.violated(0b1000)[0].subjects == ("s",)


def test_columns_give_the_bad_rows_only() -> None:
    judge = validator(between(min_value=0), NOT_NULL, x="DOUBLE")
    assert judge.check_columns([[1.0, -1.0, None, 2.0]], 4) == {1: 1, 2: 2}
    assert judge.tally_columns([[1.0, -1.0, None, 2.0]], 4) == ({1: 1, 2: 2}, {2: 1})
    assert judge.check_columns([[]], 0) == {}


def test_more_rules_than_bits_of_a_machine_word() -> None:
    names = [f"f{i}" for i in range(200)]
    judge = validator(*(between(name, min_value=0) for name in names), **dict.fromkeys(names, "DOUBLE"))
    assert judge.check([-1.0] * 200) == 2**200 - 1
    assert judge.check([1.0] * 199 + [-1.0]) == 2**199


def test_mostly_nothing_never_fails_but_is_counted() -> None:
    judge = validator(between(min_value=0, mostly=0), between(min_value=0, mostly=0.01), x="DOUBLE")
    assert judge.check([-1.0]) == 0b10
    assert judge.tally([-1.0]) == (0b11, 0)


@pytest.mark.parametrize("values", [(), (1.0,), (1.0, "a", 2.0)])
def test_another_number_of_values_is_an_error(values: Any) -> None:
    judge = validator(between(min_value=0), TEXT, x="DOUBLE", s="STRING")
    with pytest.raises(BadInputError, match=f"values: got {len(values)} values; expected 2"):
        judge.check(values)


@pytest.mark.parametrize("columns", [[], [[1.0]], [[1.0], ["a", "b"]], [[1.0, 2.0], ["a", "b"]]])
def test_columns_of_other_lengths_are_an_error(columns: Any) -> None:
    judge = validator(between(min_value=0), TEXT, x="DOUBLE", s="STRING")
    with pytest.raises(BadInputError, match="columns: got"):
        judge.check_columns(columns, 1)


def test_a_rule_that_breaks_is_told_and_leaves_its_neighbours_judged() -> None:
    judge = validator(between(min_value=0), TEXT, between("y", max_value=1), x="DOUBLE", s="STRING", y="DOUBLE")
    mask = judge.check(("not a number", "b", 2.0))
    assert [rule.position for rule in judge.violated(mask)] == [1, 2]
    assert [rule.position for rule in judge.broke(mask)] == [0]
    assert mask & judge.broken_mask
    assert judge.tally((1.0, 5, 2.0)) == (0b10100, 0b010)  # a number has no text to search: broken, nothing judged
    assert judge.check((1.0, "a", 1.0)) == 0
    assert set(judge.broken) == {0, 1}
    assert judge.broken[0].startswith("1 times, last TypeError: ")
    assert judge.check_columns([["?", -1.0], ["a", "a"], [1.0, 1.0]], 2) == {0: 0b1000, 1: 0b1}


def test_no_name_and_no_value_of_a_suite_is_in_the_text_that_runs() -> None:
    hostile = (*HOSTILE, "values", "bad", "v0", "c0", "slow", "float", "'] = 1; import os; [v0", "\\", "x\x00y")
    entries: list[dict[str, Any]] = []
    for name in hostile:
        entries += [
            between(name, max_value=10),
            entry("expect_column_values_to_be_in_set", column=name, value_set=[1, *hostile]),
            entry("expect_column_values_to_match_regex", column=name, regex=f"^1$|__import__|{'x' * 5}"),
        ]
    compiled = compile_rows(parse_suite(document(*entries)), dict.fromkeys(hostile, "INT64"))
    assert {rule.status for rule in compiled.rules} == {"row"}
    text, constants = row_function(compiled, list(enumerate(compiled.row_rules)), tally=True, guarded=True)
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyzNE0123456789_()[]:,.|=<> \n")
    assert "import" not in text
    assert len(constants) == 3 * len(hostile)
    judge = RowValidator(RowSuite.from_document(json.loads(json.dumps(compiled.to_document()))))
    assert judge.check([1] * len(hostile)) == 0
    assert judge.check([11] * len(hostile)) == (1 << 3 * len(hostile)) - 1


def test_hostile_values_are_values() -> None:
    judge = validator(entry("expect_column_values_to_not_be_in_set", column="s", value_set=list(HOSTILE)), s="STRING")
    assert [judge.check([value]) for value in HOSTILE] == [1] * len(HOSTILE)


def test_threads_share_a_validator() -> None:
    judge = validator(between(min_value=0), NOT_NULL, x="DOUBLE")
    rows = [((1.0,), 0), ((-1.0,), 1), ((None,), 2), (("?",), 4)] * 500
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(judge.check, [row for row, _ in rows])) == [mask for _, mask in rows]
    assert judge.broken[0].startswith("500 times")


def test_loading_and_judging_imports_neither_gx_nor_pandas(tmp_path: Any) -> None:
    suite = parse_suite(
        document(
            between(min_value=0),
            entry("expect_column_values_to_be_of_type", column="x", type_="float64"),
            entry("expect_column_values_to_be_dateutil_parseable", column="s"),
        )
    )
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(compile_rows(suite, {"x": "DOUBLE", "s": "STRING"}).to_document()))
    code = f"""
import json, sys
from skewguard.expectations.rows.rate import RateWindow
from skewguard.expectations.rows.suite import RowSuite
from skewguard.expectations.rows.validator import RowValidator
judge = RowValidator(RowSuite.from_document(json.load(open({str(path)!r}))))
assert judge.check((1.0, "2026-01-01")) == 0
assert judge.check((-1.0, "x")) == 0b101
RateWindow(judge.rules).add(1, [0], [0])
print(*sorted({{name.split(".")[0] for name in sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"great_expectations", "pandas", "numpy", "pyarrow", "duckdb", "feast", "redis", "fastapi", "pydantic"}
    assert set(done.stdout.split()) & heavy == set()
