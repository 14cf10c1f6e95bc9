"""GX's own result objects: the same as GX's, rendered in Data Docs, and taken by its actions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pytest

from skewguard.expectations import great_expectations_import
from skewguard.expectations.frames import value_frame
from skewguard.expectations.gx_results import validate_gx
from skewguard.expectations.suites import Suite, parse_suite
from tests.expectations.builders import between, document, entry

TABLE = pa.table(
    {
        "x": [1.0, 7.0, None, 9.0],
        "y": [1.0, 8.0, 2.0, 9.0],
        "s": ["a", "b", "c", "a"],
        "t": pa.array([datetime(2026, 1, 5, tzinfo=UTC)] * 4, pa.timestamp("us", "UTC")),
    }
)
QUANTILES = {"quantiles": [0.5], "value_ranges": [[0, 1]]}
SUITE = document(
    {**between(min_value=0, max_value=5, mostly=0.5), "severity": "warning", "notes": "why"},
    entry("expect_column_mean_to_be_between", column="x", min_value=0, max_value=5),
    entry("expect_column_quantile_values_to_be_between", column="y", quantile_ranges=QUANTILES),
    entry("expect_column_pair_values_to_be_equal", column_A="x", column_B="y"),
    entry("expect_compound_columns_to_be_unique", column_list=["s", "t"]),
    entry("expect_column_values_to_match_regex", column="s", regex="^a$"),
    entry("expect_column_distinct_values_to_equal_set", column="s", value_set=["a", "z"]),
    entry("expect_column_max_to_be_between", column="t", max_value="2026-01-01"),
    entry("expect_column_values_to_be_of_type", column="x", type_="str"),
    entry("expect_table_columns_to_match_set", column_set=["x", "q"]),
    entry("expect_column_values_to_be_increasing", column="x"),
)
BROKEN = between("s", min_value=0)


def gx_alone(table: pa.Table, suite: Suite) -> list[Any]:
    """GX's own results in summary format, in the order of the suite."""
    gx = great_expectations_import.load()
    engine = gx.Engine()
    engine.load_batch_data("table", value_frame(table, table.column_names))
    found = gx.Validator(execution_engine=engine).graph_validate(
        configurations=[
            gx.Configuration(type=rule.type, kwargs=dict(rule.kwargs), meta={"position": rule.position})
            for rule in suite.rules
        ],
        runtime_configuration={"result_format": {"result_format": "SUMMARY"}, "catch_exceptions": True},
    )
    return sorted(found, key=lambda item: int(item.expectation_config.meta["position"]))


def told(result: Any) -> Any:
    """A result as JSON data."""
    return json.loads(json.dumps(result.to_json_dict()["result"], default=float))


def test_results_are_word_for_word_those_of_gx() -> None:
    suite = parse_suite(SUITE)
    mine = validate_gx(TABLE, suite)
    for one, other in zip(mine.results, gx_alone(TABLE, suite), strict=True):
        kind = one.expectation_config.type
        assert one.success == bool(other.success), kind
        assert told(one) == told(other), kind
        assert one.exception_info == other.exception_info
    assert [item.meta["judged_by"] for item in mine.results] == ["sql"] * 10 + ["gx"]
    assert "order of rows" in mine.results[-1].meta["reason"]


def test_the_suite_result_counts_and_knows_the_worst_severity() -> None:
    found = validate_gx(
        TABLE, parse_suite(document({**between(max_value=5), "severity": "warning"}, BROKEN, between(max_value=9)))
    )
    assert (found.success, found.suite_name) == (False, "suite")
    assert found.statistics == {
        "evaluated_expectations": 3,
        "successful_expectations": 1,
        "unsuccessful_expectations": 2,
        "success_percent": pytest.approx(100 / 3),
    }
    assert found.get_max_severity_failure().value == "critical"
    assert found.results[1].exception_info["raised_exception"]
    assert found.meta["rows"] == 4
    json.dumps(found.to_json_dict())


def test_actions_and_data_docs_take_them(tmp_path: Path) -> None:
    great_expectations_import.load()
    import great_expectations as gx
    from great_expectations.checkpoint import UpdateDataDocsAction, ValidationAction
    from great_expectations.checkpoint.checkpoint import CheckpointResult
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    seen = []

    class Keep(ValidationAction):  # type: ignore[misc]
        type: Literal["keep"] = "keep"

        def run(self, checkpoint_result: Any, action_context: Any = None) -> dict[str, Any]:
            seen.extend(result.success for result in checkpoint_result.run_results.values())
            return {}

    found = validate_gx(TABLE, parse_suite(document(*SUITE["expectations"], BROKEN)))
    context = gx.get_context(mode="file", project_root_dir=tmp_path)
    run = RunIdentifier(run_name="night", run_time=datetime(2026, 1, 5, tzinfo=UTC))
    found.meta |= {"run_id": run}
    key = ValidationResultIdentifier(ExpectationSuiteIdentifier("suite"), run, "rows")
    context.validation_results_store.set(key, found)
    checkpoint = gx.Checkpoint(name="c", validation_definitions=[], actions=[])
    outcome = CheckpointResult(run_id=run, run_results={key: found}, checkpoint_config=checkpoint)
    Keep(name="keep").run(outcome)
    docs = UpdateDataDocsAction(name="docs")
    docs._data_context = context
    docs.run(outcome)
    (page,) = (tmp_path / "gx" / "uncommitted" / "data_docs").rglob("rows.html")
    text = page.read_text()
    assert seen == [False]
    assert "expect" in text
    assert "Column values, min_value, and max_value must either be None or of the same type" in text
    assert "7" in text
