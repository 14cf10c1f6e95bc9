"""A new proposal never touches what people edited, whatever they did to the suite."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skewguard.errors import SuiteError
from skewguard.expectations.author import explicit, suite_document
from skewguard.expectations.merge import RECORD, compare, merged, recorded, with_record
from tests.expectations.builders import between, document, entry


def proposal(*entries: Any) -> dict[str, Any]:
    return explicit(suite_document("s", [{**e, "notes": e.get("notes", "seen")} for e in entries]))


def filled(column: str, mostly: float) -> dict[str, Any]:
    return entry("expect_column_values_to_not_be_null", column=column, mostly=mostly)


FIRST = proposal(between("a", min_value=0, max_value=1), filled("a", 0.9), between("b", min_value=0, max_value=1))


def told(suite: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str]]:
    return [(c.kind, c.key.removeprefix("expect_column_values_to_")) for c in compare(suite, new)]


def taken(suite: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return merged(suite, new, compare(suite, new))


def test_the_same_again_is_no_news() -> None:
    suite = with_record(FIRST)
    assert told(suite, FIRST) == []
    reworded = copy.deepcopy(FIRST)
    for item in reworded["expectations"]:
        item["notes"] = "seen otherwise"
    assert told(suite, reworded) == []
    assert taken(suite, reworded)["expectations"] == suite["expectations"]


def test_new_changed_and_gone_are_proposed_and_taken() -> None:
    suite = with_record(FIRST)
    new = proposal(between("a", min_value=0, max_value=2), filled("a", 0.9), filled("b", 0.5))
    assert told(suite, new) == [("changed", "be_between(a)"), ("new", "not_be_null(b)"), ("gone", "be_between(b)")]
    after = taken(suite, new)
    assert {tuple(e["kwargs"].items()) for e in after["expectations"]} == {
        tuple(e["kwargs"].items()) for e in new["expectations"]
    }
    assert told(after, new) == []
    assert recorded(after) == recorded(with_record(new))


@pytest.mark.parametrize(
    "edit",
    [{"severity": "info"}, {"notes": "asked Anna"}, {"kwargs": {"column": "a", "min_value": 0, "max_value": 7}},
     {"description": "**a**"}],
)  # fmt: skip
def test_an_edit_stays(edit: dict[str, Any]) -> None:
    suite = with_record(copy.deepcopy(FIRST))
    suite["expectations"][0].update(edit)
    new = proposal(between("a", min_value=0, max_value=2), filled("a", 0.9), between("b", min_value=0, max_value=1))
    assert told(suite, new) == [("edited", "be_between(a)")]
    assert taken(suite, new)["expectations"] == suite["expectations"]
    without = proposal(filled("a", 0.9), between("b", min_value=0, max_value=1))
    assert told(suite, without) == []  # theirs, and nothing to say


def test_what_people_removed_stays_out() -> None:
    suite = with_record(copy.deepcopy(FIRST))
    del suite["expectations"][1]
    new = proposal(*FIRST["expectations"], filled("c", 0.5))
    assert told(suite, new) == [("removed", "not_be_null(a)"), ("new", "not_be_null(c)")]
    after = taken(suite, new)
    assert told(after, new) == [("removed", "not_be_null(a)")]


def test_what_people_added_stays_beside_the_proposed_one() -> None:
    suite = with_record(copy.deepcopy(FIRST))
    own = between("a", min_value=0, max_value=100)
    suite["expectations"].append(own)
    new = proposal(between("a", min_value=0, max_value=2), filled("a", 0.9), between("b", min_value=0, max_value=1))
    assert told(suite, new) == [("changed", "be_between(a)")]
    after = taken(suite, new)
    assert after["expectations"][-1] == own
    assert [e["kwargs"].get("max_value") for e in after["expectations"]] == [2, None, 1, 100]


def test_a_rule_on_some_rows_is_another_one() -> None:
    condition = {"type": "comparison", "column": {"name": "k"}, "operator": "==", "parameter": 1}
    suite = with_record(copy.deepcopy(FIRST))
    suite["expectations"].append(between("a", min_value=5, row_condition=condition))
    assert told(suite, FIRST) == []


def test_gx_may_write_the_suite_anew_without_making_edits_of_it() -> None:
    """GX leaves out what is at its default, gives ids and renders texts."""
    suite = with_record(copy.deepcopy(FIRST))
    for item in suite["expectations"]:
        item["kwargs"] = {k: v for k, v in item["kwargs"].items() if k not in ("strict_min", "strict_max")}
        item["id"], item["rendered_content"] = "1", []
    new = proposal(between("a", min_value=0, max_value=2), filled("a", 0.9), between("b", min_value=0, max_value=1))
    assert told(suite, new) == [("changed", "be_between(a)")]


def test_a_suite_that_was_never_proposed_is_all_peoples_own() -> None:
    suite = document(between("a", min_value=0, max_value=9), between("a", min_value=0, max_value=1))
    assert told(suite, FIRST) == [("new", "not_be_null(a)"), ("new", "be_between(b)")]
    after = taken(suite, FIRST)
    assert [e for e in after["expectations"] if e in suite["expectations"]] == suite["expectations"]
    assert "severity" in after["expectations"][0]


@pytest.mark.parametrize("meta", [None, {}, {RECORD: "0f"}, {RECORD: {"x": 1}}])
def test_a_broken_record_is_none(meta: Any) -> None:
    suite = {**copy.deepcopy(FIRST), "meta": meta}
    suite["expectations"][0]["kwargs"]["max_value"] = 5
    assert told(suite, FIRST) == [("edited", "be_between(a)")]


def test_a_suite_that_cannot_be_used_is_named() -> None:
    with pytest.raises(SuiteError, match=r"here\.json"):
        compare(document(entry("no_such")), FIRST, "here.json")


def test_a_line_shows_what_differs_and_why() -> None:
    suite = with_record(copy.deepcopy(FIRST))
    new = proposal(between("a", min_value=0, max_value=2), filled("a", 0.9), between("b", min_value=0, max_value=1))
    (change,) = compare(suite, new)
    assert change.line() == "~ expect_column_values_to_be_between(a): max_value=1 -> max_value=2  (seen)"
    assert change.to_dict()["after"] == new["expectations"][0]


EDITS = st.lists(st.tuples(st.sampled_from(["edit", "remove", "add"]), st.integers(0, 5)), max_size=4)
BOUNDS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(1, 3)), min_size=1, max_size=4, unique_by=lambda x: x[0]
)


def of_bounds(bounds: list[tuple[str, int]]) -> dict[str, Any]:
    return proposal(*(between(column, min_value=0, max_value=high) for column, high in bounds))


@settings(max_examples=60, deadline=None)
@given(first=BOUNDS, edits=EDITS, second=BOUNDS)
def test_whatever_people_do_it_stays(
    first: list[tuple[str, int]], edits: list[tuple[str, int]], second: list[tuple[str, int]]
) -> None:
    suite = with_record(of_bounds(first))
    for kind, place in edits:
        entries = suite["expectations"]
        if kind == "add":
            entries.insert(place, {**between("abcd"[place % 4], min_value=-9), "notes": "ours"})
        elif len(entries) > 1:
            at = place % len(entries)
            if kind == "remove":
                del entries[at]
            else:
                entries[at] = {**entries[at], "notes": "ours"}
    before = json.loads(json.dumps(suite))
    after = taken(suite, of_bounds(second))
    assert suite == before
    ours = [e for e in before["expectations"] if e["notes"] == "ours"]
    assert [e for e in after["expectations"] if e["notes"] == "ours"] == ours
    removed = {f"expect_column_values_to_be_between({c})" for c, _ in first} - {
        f"expect_column_values_to_be_between({e['kwargs']['column']})" for e in before["expectations"]
    }
    left = {f"expect_column_values_to_be_between({e['kwargs']['column']})" for e in after["expectations"]}
    assert removed & left == set()
    if after["expectations"]:
        assert not any(change.applicable for change in compare(after, of_bounds(second)))
