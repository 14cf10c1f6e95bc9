"""A proposed suite holds of the table that it was proposed from, and writes out every argument with the reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from skewguard.errors import BadInputError, SuiteError
from skewguard.expectations.author import explicit, propose_suite
from skewguard.expectations.engine import validate
from skewguard.expectations.suites import parse_suite
from tests.expectations.builders import between, document, entry
from tests.expectations.generated import case


@pytest.fixture
def table() -> pa.Table:
    random = np.random.default_rng(0)
    n = 500
    return pa.table(
        {
            "whole": pa.array([None if i % 4 == 0 else i for i in range(n)], pa.int64()),
            "real": pa.array(random.normal(0, 1e-3, n), pa.float64()),
            "small": pa.array(random.random(n), pa.float32()),
            "wild": pa.array([float("nan"), float("inf"), -1e300] + [0.0] * (n - 3)),
            "flag": pa.array([True, None] * (n // 2), pa.bool_()),
            "kind": pa.array(["a", "b"] * (n // 2)),
            "text": pa.array([f"t{i}" for i in range(n)]),
            "at": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * n, pa.timestamp("ns", "UTC")),
            "list": pa.array([[1.0], None] * (n // 2), pa.list_(pa.float64())),
            "empty": pa.array([None] * n, pa.float64()),
            "raw": pa.array([b"x"] * n),
        }
    )


def kinds_for(proposed: dict[str, Any], column: str) -> dict[str, dict[str, Any]]:
    return {e["type"]: e for e in proposed["expectations"] if e["kwargs"].get("column") == column}


def test_it_holds_of_its_own_table_and_says_why(table: pa.Table) -> None:
    proposed = propose_suite(table, "service")
    result = validate(table, parse_suite(proposed))
    assert result.success, [r.message for r in result.failed]
    assert all(item["notes"] for item in proposed["expectations"])
    # GX keeps no default in a file: here there is none left to change
    assert explicit(proposed) == proposed
    assert all("mostly" in e["kwargs"] for e in proposed["expectations"] if "column" in e["kwargs"])


def test_what_it_proposes(table: pa.Table) -> None:
    proposed = propose_suite(table, "service")
    whole = kinds_for(proposed, "whole")
    assert whole["expect_column_values_to_be_of_type"]["kwargs"]["type_"] == "int64"
    assert whole["expect_column_values_to_not_be_null"]["kwargs"]["mostly"] == 0.64  # 0.75 - 0.05 - 3 x 0.0194
    assert whole["expect_column_values_to_be_between"]["kwargs"]["max_value"] == 549.0  # 499 + a tenth of 498
    assert whole["expect_column_values_to_be_between"]["kwargs"]["min_value"] == 0.0
    assert kinds_for(proposed, "kind")["expect_column_values_to_be_in_set"]["kwargs"]["value_set"] == ["a", "b"]
    assert "expect_column_values_to_be_in_set" not in kinds_for(proposed, "text")
    assert set(kinds_for(proposed, "empty")) == {"expect_column_values_to_be_of_type"}
    assert set(kinds_for(proposed, "raw")) == {"expect_column_values_to_not_be_null"}
    assert kinds_for(proposed, "real")["expect_column_values_to_be_between"]["kwargs"]["min_value"] < 0
    lengths = kinds_for(proposed, "text")["expect_column_value_lengths_to_be_between"]["kwargs"]
    assert (lengths["min_value"], lengths["max_value"]) == (1, 6)  # t0 to t499, and half of four
    days = kinds_for(proposed, "at")["expect_column_values_to_be_between"]["kwargs"]
    assert (days["min_value"], days["max_value"]) == ("2025-12-31T00:00:00+00:00", None)
    (rows,) = [e["kwargs"] for e in proposed["expectations"] if "row_count" in e["type"]]
    assert (rows["min_value"], rows["max_value"]) == (250, None)


def with_keys(table: pa.Table, shift: timedelta, twice: bool = False) -> pa.Table:
    moment = datetime(2026, 1, 1, tzinfo=UTC) + shift
    keys = pa.array([0, *range(1 if not twice else 0, table.num_rows - (twice is True))], pa.int64())
    times = pa.array([moment] * table.num_rows, pa.timestamp("us", "UTC"))
    return table.append_column("id", keys).append_column("event_timestamp", times)


def test_keys_and_as_of_time_name_each_row_once(table: pa.Table) -> None:
    rows = with_keys(table, timedelta(0))
    proposed = propose_suite(rows, "service", keys=["id"], as_of="event_timestamp")
    by_type = {e["type"]: e["kwargs"] for e in proposed["expectations"]}
    assert by_type["expect_compound_columns_to_be_unique"]["column_list"] == ["id", "event_timestamp"]
    pair = by_type["expect_column_pair_values_a_to_be_greater_than_b"]
    assert (pair["column_A"], pair["column_B"], pair["or_equal"]) == ("event_timestamp", "at", True)
    assert set(kinds_for(proposed, "id")) == {"expect_column_values_to_not_be_null"}  # no feature, so nothing else
    assert validate(rows, parse_suite(proposed)).success
    known_later = with_keys(table, timedelta(seconds=-1))
    assert [r.expectation for r in validate(known_later, parse_suite(proposed)).failed] == [
        "expect_column_pair_values_a_to_be_greater_than_b"
    ]
    again = with_keys(table, timedelta(0), twice=True)
    assert {r.expectation for r in validate(again, parse_suite(proposed)).failed} == {
        "expect_compound_columns_to_be_unique"
    }
    neither = propose_suite(with_keys(table, timedelta(seconds=-1), True), "s", keys=["id"], as_of="event_timestamp")
    assert not {"expect_compound_columns_to_be_unique", pair["column_A"]} & {e["type"] for e in neither["expectations"]}


@pytest.mark.parametrize(("rows", "floor"), [(1, None), (3, None), (20, 0.85), (500, 0.99), (10_000, 0.99)])
def test_a_few_filled_rows_promise_less(rows: int, floor: float | None) -> None:
    found = kinds_for(propose_suite(pa.table({"x": pa.array(range(rows))}), "s"), "x")
    kwargs = found.get("expect_column_values_to_not_be_null", {"kwargs": {"mostly": None}})["kwargs"]
    assert kwargs["mostly"] == floor


def test_values_that_come_once_are_no_set() -> None:
    once = propose_suite(pa.table({"x": [f"n{i}" for i in range(20)]}), "s")
    assert set(kinds_for(once, "x")) >= {"expect_column_value_lengths_to_be_between"}
    often = propose_suite(pa.table({"x": [f"n{i % 20}" for i in range(200)]}), "s")
    assert len(kinds_for(often, "x")["expect_column_values_to_be_in_set"]["kwargs"]["value_set"]) == 20


def test_no_rows_propose_nothing() -> None:
    with pytest.raises(BadInputError, match="no rows"):
        propose_suite(pa.table({"x": pa.array([], pa.int64())}), "service")


HOSTILE = ['"; DROP TABLE x; --', "a'b", "{x}", "\n", "ünï", "__import__('os')", "%s", " "]


def test_any_column_name_will_do() -> None:
    table = pa.table({name: [1.0, 2.0] * 50 for name in HOSTILE})
    suite = parse_suite(propose_suite(table, "a/b"))
    assert suite.columns == tuple(HOSTILE)
    assert validate(table, suite).success


def test_written_out_a_suite_means_the_same_and_keeps_what_was_given() -> None:
    given = document(
        between(min_value=0, max_value=3),
        entry("expect_column_values_to_match_regex", column="x", regex="^(a|b)$", row_condition={
            "type": "comparison", "column": {"name": "y"}, "operator": "==", "parameter": 1}),
        {"type": "expect_column_quantile_values_to_be_between",
         "kwargs": {"column": "x", "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 1]]}}},
    )  # fmt: skip
    written = explicit(given)
    assert parse_suite(written).digest == parse_suite(given).digest
    first, second, third = (e["kwargs"] for e in written["expectations"])
    assert first == {
        "column": "x", "min_value": 0, "max_value": 3, "mostly": 1, "strict_min": False, "strict_max": False,
    }  # fmt: skip
    assert (second["regex"], second["mostly"], second["row_condition"]["parameter"]) == ("^(a|b)$", 1, 1)
    assert third["allow_relative_error"] is False
    assert written["expectations"][2]["severity"] == "critical"
    with pytest.raises(SuiteError, match="unknown expectation"):
        explicit(document(entry("expect_nothing_of_the_kind")))


@pytest.mark.parametrize("seed", range(20))
def test_any_suite_means_the_same_written_out(seed: int) -> None:
    given = case(seed, 12).document
    written = json.loads(json.dumps(explicit(given)))
    assert parse_suite(written).digest == parse_suite(given).digest
    assert explicit(written) == written
