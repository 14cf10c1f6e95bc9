"""Every rule of a suite gets a status, with the reason; what it takes from the suite is what counts."""

from __future__ import annotations

from typing import Any

import pytest

from skewguard.expectations import great_expectations_import
from skewguard.expectations.rows.compile import NIGHTLY, compile_rows
from skewguard.expectations.rules import SKEW_RULES
from skewguard.expectations.suites import Rule, Suite, parse_suite
from tests.expectations.builders import between, document, entry
from tests.expectations.generated import RULES, case

DTYPES = {"x": "DOUBLE", "y": "INT64", "s": "STRING"}


def statuses(*entries: dict[str, Any]) -> list[tuple[str, str]]:
    compiled = compile_rows(parse_suite(document(*entries)), DTYPES)
    return [(rule.status, rule.reason) for rule in compiled.rules]


def test_each_rule_has_its_status_and_all_but_the_checked_say_why() -> None:
    condition = {"type": "comparison", "column": {"name": "churned"}, "operator": "==", "parameter": 1}
    found = statuses(
        between(min_value=0),
        entry("expect_column_mean_to_be_between", column="x", min_value=0),
        entry("expect_column_values_to_be_unique", column="s"),
        entry("expect_table_row_count_to_be_between", min_value=1),
        entry("expect_column_values_to_be_in_set", column="churned", value_set=[0, 1]),
        between(min_value=0, row_condition=condition),
        entry("expect_column_mean_to_be_between", column="churned", min_value=0),
        between("s", min_value=0),
        entry("expect_column_values_to_match_json_schema", column="s", json_schema={"type": "object"}),
    )
    assert [status for status, _ in found] == ["row", "nightly", "nightly", "nightly", "absent", "absent", "absent",
                                               "unsupported", "unsupported"]  # fmt: skip
    assert found[0][1] == ""
    assert "statistic of the batch" in found[1][1]
    assert "'churned'" in found[4][1]
    assert "STRING" in found[7][1]
    assert all(reason for status, reason in found if status != "row")


def test_every_expectation_of_gx_has_a_row_form_or_is_told_to_have_none() -> None:
    seen: dict[str, set[str]] = {}
    for seed in range(150):
        generated = case(seed)
        suite = parse_suite(generated.document)
        dtypes = dict.fromkeys(suite.columns, "STRING")
        for rule in compile_rows(suite, dtypes).rules:
            seen.setdefault(rule.type, set()).add(rule.status)
    assert set(seen) == set(RULES)
    for kind, found in seen.items():
        assert ("nightly" in found) == (kind in NIGHTLY), kind
        assert found - {"absent"}
    assert set(great_expectations_import.load().known()) >= set(NIGHTLY) | SKEW_RULES


def test_what_compares_two_stores_is_for_the_night() -> None:
    rules = tuple(Rule(kind, {"column": "online__x"}, position=i) for i, kind in enumerate(sorted(SKEW_RULES)))
    assert {rule.status for rule in compile_rows(Suite("skew", rules), DTYPES).rules} == {"nightly"}


def test_the_columns_are_those_that_rules_need_in_the_order_they_are_served() -> None:
    condition = {"type": "nullity", "column": {"name": "s"}, "is_null": False}
    suite = parse_suite(document(between("y", min_value=0, row_condition=condition), between("z", min_value=0)))
    compiled = compile_rows(suite, {"unused": "INT64", "s": "STRING", "y": "INT64"})
    assert (compiled.columns, compiled.dtypes) == (("s", "y"), ("STRING", "INT64"))
    assert compiled.rules[0].columns == ("y", "s")
    assert compiled.rules[0].subjects == ("y",)
    assert compiled.suite_digest == suite.digest


def test_what_a_rule_keeps_of_the_suite() -> None:
    suite = parse_suite(document({**between(min_value=0, mostly=0.9), "severity": "warning", "notes": "dollars"}))
    (rule,) = compile_rows(suite, DTYPES).row_rules
    assert (rule.severity, rule.mostly, rule.notes, rule.position) == ("warning", 0.9, "dollars", 0)
    assert rule.label == "expectation 1 (expect_column_values_to_be_between on 'x')"


@pytest.mark.parametrize("dtype", ["MAP", "STRUCT", "JSON", "VALUE_LIST"])
def test_what_travels_as_json_text_is_only_asked_whether_it_is_there(dtype: str) -> None:
    rules = document(
        entry("expect_column_values_to_not_be_null", column="m"),
        entry("expect_column_values_to_match_regex", column="m", regex="a"),
        entry("expect_column_value_lengths_to_equal", column="m", value=1),
    )
    found = compile_rows(parse_suite(rules), {"m": dtype}).rules
    assert found[0].status == "row"
    assert {rule.status for rule in found[1:]} == {"unsupported"}


def test_a_list_of_timestamps_has_no_text_that_the_server_knows() -> None:
    rules = document(entry("expect_column_values_to_match_regex", column="m", regex="a"))
    (rule,) = compile_rows(parse_suite(rules), {"m": "UNIX_TIMESTAMP_LIST"}).rules
    assert rule.status == "unsupported"
