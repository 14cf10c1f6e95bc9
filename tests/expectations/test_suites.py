"""Suites are read in GX's own format, and refused with the file, the expectation and the fix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skewguard.errors import SuiteError
from skewguard.expectations.rules import without_groups
from skewguard.expectations.suites import load_suite, parse_suite, suite_path
from tests.expectations.builders import between, document, entry


def where(condition: Any) -> dict[str, Any]:
    return between(min_value=1, row_condition=condition)


def comparison(**more: Any) -> dict[str, Any]:
    return {"type": "comparison", "column": {"name": "y"}, "operator": "==", "parameter": 1, **more}


def nested(depth: int) -> dict[str, Any]:
    condition = comparison()
    for _ in range(depth):
        condition = {"type": "and", "conditions": [condition]}
    return condition


WRONG: list[tuple[Any, str]] = [
    ([], "got list; expected a mapping"),
    ({"expectations": [between(min_value=1)]}, "name: got None; expected the suite's name"),
    (document(), "expected a list with at least one expectation"),
    (document(between(min_value=1), expectation=[]), "expectation: unknown key. Did you mean 'expectations'?"),
    (document(between(min_value=1), suite_parameters={"a": 1}), "suite_parameters: not supported"),
    (document("x"), "expectation 1: got str; expected a mapping"),
    (document({"type": 3, "kwargs": {}}), "expectation 1: got type 3"),
    (document({**between(min_value=1), "severty": "info"}), "severty: unknown key. Did you mean 'severity'?"),
    (document(entry("expect_column_values_to_be_null", "bad", column="x")), "severity: got 'bad'; expected one of"),
    (
        document(entry("expect_column_values_to_be_betwen", column="x")),
        "(expect_column_values_to_be_betwen on 'x'): unknown expectation. "
        "Did you mean 'expect_column_values_to_be_between'?",
    ),
    (document(between(min_value=1, max_valu=2)), "max_valu: unknown argument. Did you mean 'max_value'?"),
    (document(between()), "min_value and max_value cannot both be None"),
    (document(between(min_value=1, mostly=2)), "mostly: ensure this value is less than or equal to 1"),
    (document(between(min_value=3, max_value=2)), "min_value 3.0 is above max_value 2.0; swap them"),
    (document(between(min_value="2026-02-01", max_value="2026-01-01T00:00:00+00:00")), "is above max_value"),
    (document(between(min_value=1, max_value=1.0, strict_max=True)), "both 1.0, which nothing lies strictly between"),
    (document(between(min_value=0, mostly="0.9")), "mostly: got '0.9'; expected a number from 0 to 1"),
    (document(between(min_value=0, mostly=True)), "mostly: got True; expected a number"),
    (document(entry("expect_column_values_to_be_in_set", column="x", value_set=[])), "value_set: got nothing"),
    (
        document(entry("expect_column_values_to_be_of_type", column="x", type_="DOUBLE")),
        "type_: got 'DOUBLE', which is no type to GX on pandas; expected a name of NumPy's",
    ),
    (document(entry("expect_column_values_to_be_of_type", column="x", type_="i4,)")), "type_: got 'i4,)'"),
    (document(between(min_value=2**53 + 1)), "min_value: got 9007199254740993; GX keeps bounds as doubles"),
    (document(between(max_value=10**400)), "GX keeps bounds as doubles"),
    (document(between(min_value={"$PARAMETER": "lo"})), "suite parameters are not supported, write the value"),
    (
        document(entry("expect_column_values_to_match_regex", column="x", regex="((")),
        "regex: got '(('; expected a regular expression",
    ),
    (
        document(entry("expect_column_values_to_match_regex_list", column="x", regex_list=["a", "["])),
        "regex_list[1]: got '['",
    ),
    (
        document(entry("expect_column_values_to_match_regex", column="x", regex="^(a+)+$")),
        "regex: got '^(a+)+$', which may take for ever on some texts: a repeat inside a repeat",
    ),
    (
        document(entry("expect_column_values_to_not_match_regex_list", column="x", regex_list=["a" * 1001])),
        "1001 characters; at most 1000",
    ),
    (
        document(
            entry(
                "expect_column_values_to_match_json_schema",
                column="x",
                json_schema={
                    "properties": {
                        "a": {"pattern": "(a|aa)+$"},
                        "b": {"anyOf": [{"$ref": "http://example.org/s.json"}]},
                    }
                },
            )
        ),
        "json_schema.properties.b.anyOf[0].$ref: got 'http://example.org/s.json'; expected a reference within",
    ),
    (
        document(
            entry(
                "expect_column_values_to_match_json_schema",
                column="x",
                json_schema={"patternProperties": {"(": {}}, "properties": {"a": {"pattern": "(a|aa)+$"}}},
            )
        ),
        "json_schema.properties.a.pattern: got '(a|aa)+$', which may take for ever",
    ),
    (document(between(min_value=1, row_condition="y > 2")), "row_condition: got 'y > 2'; text is evaluated as code"),
    (document(between(min_value=1, row_condition="y > 2", condition_parser="pandas")), "row_condition: got"),
    (document(where(5)), "row_condition: got 5; text is evaluated as code"),
    (document(where(["y"])), "row_condition: got ['y']; text is evaluated"),
    (document(where({"type": "pass_through", "pass_through_filter": "y"})), "evaluated as code"),
    # GX takes this one, and evaluates what is in it
    (
        document(where({"type": "and", "conditions": [{"type": "pass_through", "pass_through_filter": "y > 1"}]})),
        "row_condition.conditions[0]: got {'type': 'pass_through', 'pass_through_filter': 'y > 1'}; text is evaluated",
    ),
    (document(where({"type": "or", "conditions": ["y > 1"]})), "row_condition.conditions[0]: got 'y > 1'; text is"),
    (document(where({"type": "and", "conditions": []})), "row_condition.conditions: got []; expected a list of"),
    (document(where(comparison(type="other"))), "got type 'other' with 'type', 'column', 'operator', 'parameter'"),
    (document(where(comparison(type=["and"]))), "got type ['and'] with"),
    (document(where({k: v for k, v in comparison().items() if k != "type"})), "got type None with 'column'"),
    (document(where(comparison(more=1))), "got type 'comparison' with"),
    (
        document(where(comparison(operator="__import__('os')"))),
        "operator: got \"__import__('os')\"; expected one of ==",
    ),
    (
        document(where(comparison(parameter={"a": 1}))),
        "parameter: got {'a': 1}; expected a number, a text or a boolean",
    ),
    (document(where(comparison(operator="IN"))), "parameter: got 1; expected a list of numbers"),
    (document(where(comparison(column="y"))), "row_condition.column: got 'y'; expected {\"name\": ...}"),
    (
        document(where({"type": "nullity", "column": {"name": "y"}, "is_null": "no"})),
        "is_null: got 'no'; expected true or false",
    ),
    (document(where(nested(30))), "row_condition: conditions within conditions, more than 20 deep"),
    (document(between(min_value=0, result_format="COMPLETE")), "it belongs to the run, not to the suite; leave it out"),
    (
        document({"type": "expect_column_to_exist", "kwargs": {"column": "x", "severity": "info"}}),
        "severity: got 'info' among the arguments; it belongs beside kwargs",
    ),
    (document(between(min_value=True)), "min_value: got True; expected a number or a time"),
    (document(entry("expect_column_values_to_match_regex", column="x", regex=5)), "regex: got 5; expected a text"),
    (
        document(
            entry(
                "expect_column_quantile_values_to_be_between",
                column="x",
                quantile_ranges={"quantiles": [2], "value_ranges": [[1, 2]]},
            )
        ),
        "quantile_ranges.quantiles: got 2; expected shares from 0 to 1",
    ),
    (
        document(entry("expect_column_values_to_match_like_pattern", column="x", like_pattern="a%")),
        "no pandas implementation of it; use expect_column_values_to_match_regex",
    ),
    (
        document(
            entry(
                "expect_column_quantile_values_to_be_between",
                column="x",
                quantile_ranges={"quantiles": [0.5], "value_ranges": [[3, 1]]},
            )
        ),
        "value_ranges[0][0] 3.0 is above value_ranges[0][1] 1.0",
    ),
]


@pytest.mark.parametrize(("given", "message"), WRONG)
def test_what_is_wrong_is_named_with_the_fix(given: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    path.write_text(json.dumps(given))
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(SuiteError) as caught:
        parse_suite(document(between(), entry("nothing_like_it"), between(min_value=2, max_value=1)), "file.json")
    assert [f"expectation {n} " in str(caught.value) for n in (1, 2, 3)] == [True] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ('{"name": NaN}', "NaN is not a JSON value"),
        ('{"name": "s", "expectations": [], "expectations": []}', "the key 'expectations' twice"),
    ],
)
def test_a_file_that_is_no_json(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    path.write_text(text)
    with pytest.raises(SuiteError, match=message):
        load_suite(path)


def test_a_byte_order_mark_is_stepped_over(tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    path.write_text(json.dumps(document(between(min_value=0))), encoding="utf-8-sig")
    assert len(load_suite(path).rules) == 1


@pytest.mark.parametrize("name", ["int64", "float32", "Timestamp", "str", "object", "list", "Int64Dtype", "i8"])
def test_the_names_of_types_are_gx_s(name: str) -> None:
    assert parse_suite(document(entry("expect_column_values_to_be_of_type", column="x", type_=name))).rules


@pytest.mark.parametrize("depth", [5000, 200_000])
def test_a_file_of_values_within_values(depth: int, tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    values = "[" * depth + "]" * depth
    rule = f'{{"type": "expect_column_values_to_be_in_set", "kwargs": {{"column": "x", "value_set": {values}}}}}'
    path.write_text(f'{{"name": "s", "expectations": [{rule}]}}')
    with pytest.raises(SuiteError, match=r"suite\.json"):
        load_suite(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="cannot be read"):
        load_suite(suite_path(tmp_path, "none"))


def test_a_suite_that_gx_wrote_is_read(tmp_path: Path) -> None:
    gx = pytest.importorskip("great_expectations")
    import great_expectations.expectations as gxe
    from great_expectations.expectations.row_conditions import Column

    written = gx.ExpectationSuite(
        "s",
        expectations=[
            gxe.ExpectColumnValuesToBeBetween(
                column="x", min_value=0, severity="warning", notes="why", row_condition=Column("y") == "a"
            ),
            gxe.ExpectColumnPairValuesToBeEqual(column_A="p", column_B="q"),
        ],
    )
    path = tmp_path / "s.json"
    path.write_text(json.dumps(written.to_json_dict()))
    suite = load_suite(path)
    assert [(r.severity, r.notes, r.columns) for r in suite.rules] == [
        ("warning", "why", ("x", "y")),
        ("critical", "", ("p", "q")),
    ]
    assert suite.columns == ("x", "y", "p", "q")


def test_the_digest_covers_what_is_demanded_and_nothing_else() -> None:
    one, other = between(min_value=0), entry("expect_column_values_to_not_be_null", column="x")
    digest = parse_suite(document(one, other)).digest
    same = [
        document(other, one),
        document({**one, "notes": "n", "id": "1", "meta": {"a": 1}}, other, notes="x"),
        {**document(one, other), "name": "another"},
        document(between(min_value=0.0, mostly=1, strict_min=False), other),
    ]
    assert {parse_suite(item).digest for item in same} == {digest}
    different = [
        document(one),
        document(between(min_value=1), other),
        document({**one, "severity": "info"}, other),
        document(between(min_value=0, mostly=0.5), other),
    ]
    assert digest not in {parse_suite(item).digest for item in different}


def test_restricting_to_columns_says_what_was_left_out() -> None:
    condition = {"type": "comparison", "column": {"name": "y"}, "operator": "==", "parameter": 1}
    suite = parse_suite(
        document(
            between(min_value=0),
            between(min_value=0, row_condition={"type": "and", "conditions": [condition]}),
            entry("expect_compound_columns_to_be_unique", column_list=["x", "z"]),
            entry("expect_table_row_count_to_be_between", min_value=1),
            entry("expect_column_to_exist", column="gone"),
        )
    )
    kept, left_out = suite.restrict(["x"])
    assert [rule.position for rule in kept.rules] == [0, 3, 4]
    assert [rule.columns for rule in left_out] == [("x", "y"), ("x", "z")]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("^a$", "^a$"),
        ("^(a|b)(?:c)$", "^(?:a|b)(?:c)$"),
        ("(?P<year>[0-9]+)-((1|2))", "(?:[0-9]+)-(?:(?:1|2))"),
        (r"\((x)[(a)\]]", r"\((?:x)[(a)\]]"),
        ("[]()]+(y)", "[]()]+(?:y)"),
        ("[^](]+(y)", "[^](]+(?:y)"),
        (r"\\(x)", r"\\(?:x)"),
        ("(?i)(?=a)(?!b)(a)", "(?i)(?=a)(?!b)(?:a)"),
        (r"(a)\1", r"(a)\1"),  # refers back
        ("(?P<q>a)(?P=q)", "(?P<q>a)(?P=q)"),
        ("(a)?(?(1)b|c)", "(a)?(?(1)b|c)"),
    ],
)
def test_groups_do_not_capture_unless_something_refers_to_them(pattern: str, expected: str) -> None:
    assert without_groups(pattern) == expected
