"""Twin keys: another key of the same entity is found in every form, and never one of another entity."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skewguard import dtypes
from skewguard.causes.keys import DIFFERENCE, DTYPE_PREFIX, STORED, Twins, match_twins
from skewguard.definitions import FieldDef

Stray = tuple[str, str]
"""dtype and text of a key that is stored under another dtype."""


def find(dtype: str, missing: list[Any], strays: list[Stray] = [], orphans: list[Any] = []) -> Twins:  # noqa: B006
    kind = dtypes.arrow_type(dtype)
    return match_twins(
        [FieldDef("k", dtype)],
        pa.table({"k": pa.array(missing, kind)}),
        pa.table({"k": pa.array([t for _, t in strays], pa.string()),
                  DTYPE_PREFIX + "k": pa.array([d for d, _ in strays], pa.string())}),
        pa.table({"k": pa.array(orphans, kind)}),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "missing", "stray", "stored", "difference"),
    [
        ("INT64", 5, ("STRING", "5"), "STRING '5'", "INT64 stored as STRING"),
        ("INT64", 5, ("STRING", "005"), "STRING '005'", "INT64 stored as STRING"),
        ("INT64", 5, ("STRING", "5.0"), "STRING '5.0'", "INT64 stored as STRING"),
        ("INT64", 5, ("STRING", " 5\n"), "STRING ' 5\n'", "INT64 stored as STRING"),
        ("INT64", -5, ("STRING", "-05"), "STRING '-05'", "INT64 stored as STRING"),
        ("INT64", 0, ("STRING", "000"), "STRING '000'", "INT64 stored as STRING"),
        ("INT64", 5, ("INT32", "5"), "INT32 '5'", "INT64 stored as INT32"),
        ("INT32", 5, ("INT64", "5"), "INT64 '5'", "INT32 stored as INT64"),
        ("STRING", "007", ("INT64", "7"), "INT64 '7'", "STRING stored as INT64"),
        ("STRING", "x", ("BYTES", "x"), "BYTES 'x'", "STRING stored as BYTES"),
        ("BYTES", b"x", ("STRING", "x"), "STRING 'x'", "BYTES stored as STRING"),
        ("BYTES", b"\xff", ("STRING", "FF"), "STRING 'FF'", "BYTES stored as STRING"),
        ("UNIX_TIMESTAMP", datetime(2026, 1, 1, tzinfo=UTC), ("INT64", "1767225600"), "INT64 '1767225600'",
         "UNIX_TIMESTAMP stored as INT64"),
    ],
)  # fmt: skip
def test_keys_under_another_dtype(dtype: str, missing: Any, stray: Stray, stored: str, difference: str) -> None:
    twins = find(dtype, [missing], [("STRING", "something else"), stray])
    assert twins.rows.to_pylist() == [{"k": missing, STORED: stored, DIFFERENCE: difference}]
    assert len(twins.orphans) == 0


@pytest.mark.parametrize(
    ("dtype", "missing", "orphan", "difference"),
    [
        ("STRING", "007", "7", "padding"),
        ("STRING", "7", "007", "padding"),
        ("STRING", "7", "7.0", "padding"),
        ("STRING", "anna", "anna ", "blanks"),
        ("STRING", "anna", "\u00a0anna\t", "blanks"),
        ("STRING", "anna", "ANNA", "case"),
        ("STRING", "anna", " Anna", "case"),
        ("STRING", "é", "e\u0301", "text form"),
        ("UUID", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "{6BA7B8109DAD11D180B400C04FD430C8}", "text form"),
    ],
)
def test_keys_of_the_same_dtype_are_no_orphans_then(dtype: str, missing: str, orphan: str, difference: str) -> None:
    twins = find(dtype, [missing], [], ["other", orphan])
    assert [row[DIFFERENCE] for row in twins.rows.to_pylist()] == [difference]
    assert twins.orphans.to_pylist() == [1]


@pytest.mark.parametrize(
    ("dtype", "missing", "strays", "orphans"),
    [
        ("INT64", [5], [], []),
        ("INT64", [], [("STRING", "5")], []),
        ("INT64", [5], [("STRING", "55"), ("STRING", "-5"), ("STRING", "5.5"), ("STRING", ""), ("STRING", "0x5")], []),
        ("STRING", ["a", "", "1-2"], [("BYTES", "b")], ["ab", "12", "1_2", "a-"]),
        ("STRING", ["0.7"], [], ["7", "07"]),
    ],
)
def test_other_entities_are_no_twins(dtype: str, missing: list[Any], strays: list[Stray], orphans: list[Any]) -> None:
    twins = find(dtype, missing, strays, orphans)
    assert (twins.rows.num_rows, len(twins.orphans)) == (0, 0)


def test_every_part_of_a_composite_key_has_to_agree() -> None:
    keys = [FieldDef("shop", "STRING"), FieldDef("till no", "INT64")]
    missing = pa.table({"shop": ["a", "a", "b"], "till no": pa.array([1, 2, 1], pa.int64())})
    strays = pa.table({
        "shop": ["A", "b"], "till no": ["1", "9"],
        DTYPE_PREFIX + "shop": ["STRING", "STRING"], DTYPE_PREFIX + "till no": ["STRING", "STRING"],
    })  # fmt: skip
    orphans = pa.table({"shop": ["B ", "c"], "till no": pa.array([1, 2], pa.int64())})
    twins = match_twins(keys, missing, strays, orphans)
    assert twins.rows.to_pylist() == [
        {"shop": "a", "till no": 1, STORED: "shop STRING 'A', till no STRING '1'",
         DIFFERENCE: "shop: case; till no: INT64 stored as STRING"},
        {"shop": "b", "till no": 1, STORED: "shop STRING 'B ', till no INT64 '1'", DIFFERENCE: "shop: case"},
    ]  # fmt: skip
    assert twins.orphans.to_pylist() == [0]


def test_a_key_under_another_dtype_goes_before_an_orphan_and_a_missing_entity_is_counted_once() -> None:
    twins = find("STRING", ["7"], [("INT64", "7"), ("INT32", "7")], ["007"])
    assert [row[STORED] for row in twins.rows.to_pylist()] == ["INT32 '7'"]
    assert len(twins.orphans) == 0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sets(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30), st.integers(0, 6))
def test_numbers_find_their_own_text_and_no_other(numbers: set[int], zeros: int) -> None:
    entities = sorted(numbers)
    strays = [("STRING", f"{'-' if n < 0 else ''}{'0' * zeros}{abs(n)}") for n in entities]
    twins = find("INT64", entities, strays)
    assert twins.rows.column("k").to_pylist() == entities
    assert twins.rows.column(STORED).to_pylist() == [f"STRING '{text}'" for _, text in strays]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.text(max_size=8).filter(lambda t: "\x00" not in t), max_size=12),
    st.lists(st.text(max_size=3), max_size=12),
)
def test_any_text_is_bearable(missing: list[str], orphans: list[str]) -> None:
    twins = find("STRING", sorted(set(missing)), [], sorted(set(orphans) - set(missing)))
    assert set(twins.rows.column("k").to_pylist()) <= set(missing)
    assert len(set(twins.orphans.to_pylist())) == len(twins.orphans)
