"""The fast reading of whole columns against the plain reading, value by value."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online_api.decode import INVALID_VALUE, cell, floats
from online_api.lookup import ViewRead, _whole_view, read_rows
from online_api.values import json_value
from skewguard.definitions import FieldDef
from skewguard.errors import CorruptValueError
from skewguard.online.encoding import encode_value
from skewguard.online.timestamps import encode_timestamp
from skewguard.online.values import decode_value

DTYPES = ("DOUBLE", "FLOAT", "INT64", "INT32", "STRING", "BOOL", "BYTES", "UNIX_TIMESTAMP", "INT64_LIST")
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "DOUBLE": st.floats(),
    "FLOAT": st.floats(width=32),
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "INT32": st.integers(-(2**31), 2**31 - 1),
    "STRING": st.text(max_size=50),
    "BOOL": st.booleans(),
    "BYTES": st.binary(max_size=50),
    "UNIX_TIMESTAMP": st.integers(-(10**9), 4 * 10**9),
    "INT64_LIST": st.lists(st.integers(0, 300), max_size=4),
}
NOW_NS = 1_788_220_800 * 10**9
DAY_NS = 86_400 * 10**9


@st.composite
def stored_columns(draw: st.DrawFn) -> tuple[ViewRead, list[list[bytes | None]]]:
    """A view's columns as stored: mostly values of the dtype, some of another, nulls, damage, missing fields."""
    rows = draw(st.integers(1, 5))
    dtypes = draw(st.lists(st.sampled_from(DTYPES), min_size=1, max_size=4))
    odd = draw(st.booleans())

    def one(dtype: str) -> bytes | None:
        kind = draw(st.integers(0, 9)) if odd else 9
        if kind == 0:
            return None
        if kind == 1:
            return draw(st.binary(max_size=12))
        other = draw(st.sampled_from(DTYPES)) if kind == 2 else dtype
        return encode_value(other, draw(VALUES[other]))

    columns: list[list[bytes | None]] = [[one(dtype) for _ in range(rows)] for dtype in dtypes]
    ages = st.sampled_from([0, 1, 2 * DAY_NS, 2 * DAY_NS + 1000, -DAY_NS]) if odd else st.just(5)
    columns.append([encode_timestamp(NOW_NS - draw(ages)) for _ in range(rows)])
    fields = tuple((FieldDef(f"f{place}", dtype), place) for place, dtype in enumerate(dtypes))
    return ViewRead("v", "v", 0, 2 * DAY_NS, len(dtypes), fields), columns


@settings(max_examples=400, deadline=None)
@given(stored_columns(), st.booleans())
def test_a_whole_view_reads_as_row_by_row(stored: tuple[ViewRead, list[list[bytes | None]]], keep: bool) -> None:
    read, columns = stored
    rows = [list(row) for row in zip(*columns, strict=True)]
    plain = read_rows(read, rows, NOW_NS, keep)
    whole = _whole_view(read, [tuple(column) for column in columns], NOW_NS)
    if whole is None:
        return
    assert whole.timestamps == plain.timestamps
    for name, column in plain.columns.items():
        fast = whole.columns[name]
        assert fast.values == column.values
        assert [type(v) for v in fast.values] == [type(v) for v in column.values]
        assert (fast.statuses or ["PRESENT"] * len(rows)) == column.statuses
        assert list(fast.raw) == column.raw


def test_a_clean_view_takes_the_fast_way() -> None:
    read = ViewRead("v", "v", 0, None, 1, ((FieldDef("f0", "DOUBLE"), 0),))
    columns = [(encode_value("DOUBLE", 1.5),) * 3, (encode_timestamp(NOW_NS),) * 3]
    whole = _whole_view(read, columns, NOW_NS)
    assert whole is not None
    assert whole.columns["f0"].values == [1.5] * 3
    assert whole.columns["f0"].statuses is None


@pytest.mark.parametrize("count", [1, 4095, 4096, 4097, 10_000])
def test_any_number_of_floats(count: int) -> None:
    numbers = [i / 7 for i in range(count)]
    stored = [encode_value("DOUBLE", number) for number in numbers]
    assert floats("DOUBLE", [stored, stored[::-1]]) == (
        [numbers, numbers[::-1]],
        b"".join([*stored, *stored[::-1]]),
    )


@pytest.mark.parametrize("odd", [b"", None, encode_value("FLOAT", 1.5), encode_value("INT64", 7), b"\x29" + b"\0" * 9])
def test_one_odd_cell_is_not_read_as_a_float(odd: bytes | None) -> None:
    assert floats("DOUBLE", [[encode_value("DOUBLE", 1.0), odd, encode_value("DOUBLE", 2.0)]]) is None


def test_lengths_that_only_add_up() -> None:
    # 8 + 10 bytes are as many as twice nine, and a tag lies where one is looked for
    short, long = b"\x29" * 8, b"\x29" * 10
    assert floats("DOUBLE", [[short, long]]) is None


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_json_has_no_number_for(number: float) -> None:
    stored = b"\x29" + struct.pack("<d", number)
    assert floats("DOUBLE", [[encode_value("DOUBLE", 1.0), stored]]) is None
    assert isinstance(cell(stored), str)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(DTYPES).flatmap(lambda dtype: VALUES[dtype].map(lambda v: encode_value(dtype, v))))
def test_a_remembered_cell_is_the_decoded_one(raw: bytes) -> None:
    for _ in range(2):
        assert cell(raw) == json_value(decode_value(raw))


def test_damage() -> None:
    for raw in (b"\xff", b"\x29\x00", b"\x12\x05ab", b"\xff" * 40):
        with pytest.raises(CorruptValueError):
            decode_value(raw)
        assert cell(raw) is INVALID_VALUE
