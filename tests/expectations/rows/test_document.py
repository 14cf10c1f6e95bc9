"""A document is read back as it was written, or refused as a whole with the place; nothing in it runs."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from skewguard.definitions import digest
from skewguard.errors import ConfigurationError
from skewguard.expectations.rows.compile import compile_rows
from skewguard.expectations.rows.suite import RowSuite
from skewguard.expectations.rows.validator import RowValidator
from skewguard.expectations.suites import parse_suite
from tests.expectations import feast_like
from tests.expectations.builders import between, document, entry
from tests.expectations.generated import case

DTYPES = {"x": "DOUBLE", "y": "INT64", "s": "STRING", "t": "UNIX_TIMESTAMP"}
CONDITION = {"type": "or", "conditions": [{"type": "nullity", "column": {"name": "y"}, "is_null": True},
                                          {"type": "comparison", "column": {"name": "y"}, "operator": "<",
                                           "parameter": 3}]}  # fmt: skip


def written() -> dict[str, Any]:
    suite = parse_suite(
        document(
            between(min_value=0, max_value=10, row_condition=CONDITION),
            between("t", min_value="2026-01-01"),
            entry("expect_column_values_to_match_regex", column="s", regex="a"),
            entry("expect_column_values_to_be_in_set", column="s", value_set=["a"]),
            entry("expect_column_pair_values_to_be_in_set", column_A="x", column_B="s", value_pairs_set=[[1, "a"]]),
            entry("expect_multicolumn_sum_to_equal", column_list=["x", "y"], sum_total=3),
            entry("expect_column_mean_to_be_between", column="x", min_value=0),
        )
    )
    data: dict[str, Any] = json.loads(json.dumps(compile_rows(suite, DTYPES).to_document()))
    return data


def test_it_is_read_back_as_it_was_written() -> None:
    data = written()
    assert RowSuite.from_document(data).to_document() == data
    assert [rule["status"] for rule in data["rules"]] == ["row"] * 6 + ["nightly"]


def test_generated_suites_are_read_back_as_they_were_written() -> None:
    for seed in range(100):
        generated = case(seed)
        compiled = compile_rows(parse_suite(generated.document), feast_like.dtypes(generated.table))
        assert RowSuite.from_document(json.loads(json.dumps(compiled.to_document()))) == compiled


def put(*path: Any) -> Callable[[dict[str, Any]], None]:
    """A change: the value at a path, the last of the arguments."""
    *keys, last, value = path

    def change(data: Any) -> None:
        for key in keys:
            data = data[key]
        data[last] = value

    return change


def drop(*path: Any) -> Callable[[dict[str, Any]], None]:
    *keys, last = path

    def change(data: Any) -> None:
        for key in keys:
            data = data[key]
        del data[last]

    return change


FIRST = ("rules", 0, "check")
CHANGES: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (put("format", 2), r"format: got 2; expected 1"),
    (put("columns", ["x"]), r"columns: .*as many as dtypes"),
    (put("columns", ["x", "x", "s", "t"]), r"columns: .*names that differ"),
    (put("rules", {}), r"rules: got \{\}; expected a list"),
    (put("rules", 0, "status", "rwo"), r"rules\[0\].status: got 'rwo'; expected one of row, nightly"),
    (put("rules", 0, "status", "nightly"), r"rules\[0\].check"),
    (put("rules", 6, "status", "row"), r"rules\[6\].check: got None"),
    (put("rules", 0, "severity", "fatal"), r"rules\[0\].severity: got 'fatal'"),
    (put("rules", 0, "mostly", 1.5), r"rules\[0\].mostly: got 1.5; expected a number from 0 to 1"),
    (put("rules", 0, "mostly", True), r"rules\[0\].mostly: got True"),
    (put("rules", 0, "position", -1), r"rules\[0\].position"),
    (put("rules", 0, "code", "x"), r"rules\[0\].code: unknown key"),
    (drop("rules", 0, "notes"), r"rules\[0\].notes: missing"),
    (put(*FIRST, "op", "betwen"), r"rules\[0\].check.op: got 'betwen'; .*did you mean 'between'"),
    (put(*FIRST, "op", ["between"]), r"rules\[0\].check.op"),
    (put(*FIRST, "op", "compare"), r"rules\[0\].check.op: got 'compare'"),  # a condition is no check
    (put("rules", 0, "check", "between"), r"rules\[0\].check.op: got None"),
    (put(*FIRST, "low", "0"), r"rules\[0\].check.low: got '0'; expected a finite number"),
    (put(*FIRST, "low", {"time": "2026-01-01T00:00:00"}), r"rules\[0\].check.low.time: .*with its zone"),
    (put(*FIRST, "low", {"time": "soon"}), r"rules\[0\].check.low.time: got 'soon'"),
    (put(*FIRST, "low", {"time": "2026-01-01T00:00:00Z"}), r"rules\[0\].check: GX cannot compare DOUBLE with a time"),
    (put(*FIRST, "low", 11), r"rules\[0\].check: the lower bound 11 is above"),
    (put(*FIRST, "strict_low", 0), r"rules\[0\].check.strict_low: got 0; expected true or false"),
    (put(*FIRST, "column", "z"), r"rules\[0\].check: no column 'z' is served"),
    (put(*FIRST, "column", None), r"rules\[0\].check.column: got None; expected text"),
    (put("dtypes", ["STRING", "INT64", "STRING", "UNIX_TIMESTAMP"]), r"rules\[0\].check: GX cannot compare STRING"),
    (put("rules", 0, "condition", "op", "xor"), r"rules\[0\].condition.op: got 'xor'"),
    (put("rules", 0, "condition", "conditions", []), r"rules\[0\].condition.conditions"),
    (put("rules", 0, "condition", "conditions", 1, "operator", "=="), ""),
    (put("rules", 0, "condition", "conditions", 1, "operator", "is"), r"conditions\[1\].operator: got 'is'"),
    (put("rules", 0, "condition", "conditions", 1, "parameters", [1, 2]), r"condition: < takes one parameter"),
    (put("rules", 0, "condition", "conditions", 1, "parameters", ["a"]), r"condition: row condition: INT64 column"),
    (put("rules", 2, "check", "patterns", ["("]), r"rules\[2\].check.patterns\[0\]: .*regular expression"),
    (put("rules", 2, "check", "patterns", []), r"rules\[2\].check.patterns: got \[\]; expected a list of at least 1"),
    (put("rules", 3, "check", "values", [["a"]]), r"rules\[3\].check.values\[0\]"),
    (put("rules", 3, "check", "values", [{"__class__": "x"}]), r"rules\[3\].check.values\[0\].__class__: unknown key"),
    (put("rules", 4, "check", "pairs", [[1]]), r"rules\[4\].check.pairs\[0\]: .*a list of two"),
    (put("rules", 4, "check", "ignore", "never"), r"rules\[4\].check.ignore: got 'never'"),
    (put("rules", 5, "check", "total", "3"), r"rules\[5\].check.total"),
    (put("rules", 5, "check", "column_list", ["x", "s"]), r"rules\[5\].check: STRING cannot be added up"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_a_changed_document_is_refused_with_the_place(change: Callable[[dict[str, Any]], None], message: str) -> None:
    data = written()
    change(data)
    with pytest.raises(ConfigurationError, match=r"^(digest|format): got"):
        RowSuite.from_document(copy.deepcopy(data))  # cut off, or edited
    sealed = {**data, "digest": digest_of(data)}
    if not message:
        RowValidator(RowSuite.from_document(sealed))  # a change that is as valid
        return
    with pytest.raises(ConfigurationError, match=message):
        RowSuite.from_document(sealed)


def digest_of(data: dict[str, Any]) -> str:
    return digest({key: value for key, value in data.items() if key != "digest"})


@pytest.mark.parametrize("value", [float("inf"), float("nan"), {1, 2}, object()])
def test_what_json_has_none_of_is_refused(value: Any) -> None:
    data = written()
    data["rules"][0]["check"]["low"] = value
    with pytest.raises(ConfigurationError, match="not plain JSON data"):
        RowSuite.from_document(data)


@pytest.mark.parametrize("data", [None, [], "x", {}, {"format": 1}, {"format": True}])
def test_what_is_no_document_is_refused(data: Any) -> None:
    with pytest.raises(ConfigurationError):
        RowSuite.from_document(data)


def test_conditions_have_a_bottom() -> None:
    data = written()
    condition = data["rules"][0]["condition"]
    for _ in range(100):
        condition = {"op": "and", "conditions": [condition]}
    data["rules"][0]["condition"] = condition
    data["digest"] = digest_of(data)
    with pytest.raises(ConfigurationError, match="at most 20 deep"):
        RowSuite.from_document(data)


ODD: tuple[Any, ...] = (None, True, -1, 10**400, 0.5, "x", "", [], [[]], ["x", None], {}, {"time": 3}, {"op": "or"})


def test_any_value_anywhere_is_refused_or_runs() -> None:
    """Nothing but the documented error, whatever stands where; and what is read can be asked."""
    data = written()
    del data["digest"]
    read = refused = 0
    told_once = [path for path in paths(data) if path[:1] != ("rules",) or path[1:2] == (0,) or "check" in path]
    for path in told_once:
        for odd in ODD:
            changed = copy.deepcopy(data)
            put(*path, odd)(changed)
            try:
                suite = RowSuite.from_document({**changed, "digest": digest_of(changed)})
            except ConfigurationError:
                refused += 1
                continue
            judge = RowValidator(suite)
            judge.tally([1.0] * len(judge.columns))
            judge.tally([None] * len(judge.columns))
            read += 1
    assert refused > 500
    assert read > 50  # notes, reasons, another bound


def paths(data: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in JSON data."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*before, key)
        yield from paths(value, (*before, key))
