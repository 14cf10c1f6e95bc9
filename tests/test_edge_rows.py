"""Edge rows: what they hold, for any inputs, and how many."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skewguard import dtypes
from skewguard.definitions import FieldDef
from skewguard.edge_rows import PAIRS, edge_rows

DTYPES = ["INT32", "INT64", "FLOAT", "DOUBLE", "BOOL", "STRING", "BYTES", "UNIX_TIMESTAMP", "INT64_LIST", "STRING_SET",
          "MAP", "UUID"]  # fmt: skip


def fields(*kinds: str) -> dict[str, FieldDef]:
    return {f"v__{n}": FieldDef(f"f{n}", kind) for n, kind in enumerate(kinds)}


def test_no_inputs_have_no_edges() -> None:
    assert (edge_rows({}, {}).table.num_rows, edge_rows({}, {}).labels) == (0, ())


def test_one_input_has_no_pairs() -> None:
    edges = edge_rows(fields("DOUBLE"), {})
    values = edges.table.column("v__0").to_pylist()
    assert values[:3] == [None, 0.0, 2.0]
    assert [label for label in edges.labels if " and " in label] == []
    assert any(value is not None and math.isnan(value) for value in values)
    assert {1e308, 5e-324, math.inf, -math.inf} <= set(values)


def test_whole_numbers_reach_what_a_double_cannot_hold() -> None:
    assert {2**53 + 1, 2**63 - 1, -(2**63), -1, 0, 1} <= set(edge_rows(fields("INT64"), {}).table.column(0).to_pylist())


def test_the_others_hold_their_likely_value() -> None:
    edges = edge_rows(fields("INT64", "STRING"), {"v__0": 77})
    at = edges.labels.index("f1 is ''")
    assert edges.table.slice(at, 1).to_pylist() == [{"v__0": 77, "v__1": ""}]
    assert "f0 is 0 and f1 is null" in edges.labels


def test_inputs_of_one_name_are_told_by_their_columns() -> None:
    edges = edge_rows({"a__x": FieldDef("x", "INT64"), "b__x": FieldDef("x", "INT64")}, {})
    assert {"a__x is null", "b__x is null", "a__x is null and b__x is 0"} <= set(edges.labels)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(DTYPES), min_size=1, max_size=12))
def test_edges_of_any_inputs_are_bounded_and_told(kinds: list[str]) -> None:
    inputs = fields(*kinds)
    edges = edge_rows(inputs, {})
    assert edges.table.num_rows == len(edges.labels) == len(edges.common) == len(edges.conditions)
    pairs = sum(" and " in label for label in edges.labels)
    assert pairs <= PAIRS
    assert edges.pairs_left_out == 0 or pairs == PAIRS
    assert edges.table.schema == pa.schema([(name, dtypes.arrow_type(f.dtype)) for name, f in inputs.items()])
    assert len(set(edges.labels)) == len(edges.labels)


@pytest.mark.parametrize("kind", DTYPES)
def test_every_dtype_is_null_once(kind: str) -> None:
    assert edge_rows(fields(kind), {}).table.column(0).null_count == 1
