"""A proposed suite holds of the table that it was proposed from, and never runs over somebody's edits."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from skewguard.errors import BadInputError, SuiteError
from skewguard.expectations.author import propose_suite, save_suite
from skewguard.expectations.engine import validate
from skewguard.expectations.suites import load_suite, parse_suite


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
    return {e["type"]: e for e in proposed["expectations"] if e["kwargs"]["column"] == column}


def test_it_holds_of_its_own_table_and_says_why(table: pa.Table) -> None:
    proposed = propose_suite(table, "service")
    result = validate(table, parse_suite(proposed))
    assert result.success, [r.message for r in result.failed]
    assert all(item["notes"] for item in proposed["expectations"])
    assert all("mostly" in e["kwargs"] for e in proposed["expectations"] if "type_" not in e["kwargs"])


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


def test_no_rows_propose_nothing() -> None:
    with pytest.raises(BadInputError, match="no rows"):
        propose_suite(pa.table({"x": pa.array([], pa.int64())}), "service")


def test_an_edited_file_stays(table: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "expectations" / "service.json"
    save_suite(propose_suite(table, "service"), path)
    assert load_suite(path).name == "service"
    save_suite(propose_suite(table.slice(0, 100), "service"), path)  # untouched: may be replaced
    document = json.loads(path.read_text())
    document["expectations"].pop()
    path.write_text(json.dumps(document))
    edited = path.read_bytes()
    with pytest.raises(SuiteError, match="edited by hand"):
        save_suite(propose_suite(table, "service"), path)
    assert path.read_bytes() == edited
    save_suite(propose_suite(table, "service"), path, overwrite=True)
    assert path.read_bytes() != edited


@pytest.mark.parametrize("text", ["{", "[]", '{"meta": null}', '{"name": "x", "meta": {}}'])
def test_a_file_that_is_not_ours_stays(table: pa.Table, tmp_path: Path, text: str) -> None:
    path = tmp_path / "service.json"
    path.write_text(text)
    with pytest.raises(SuiteError, match="edited by hand"):
        save_suite(propose_suite(table, "service"), path)
    assert path.read_text() == text
