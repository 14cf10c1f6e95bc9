"""What a contract gives in a feature's place: a value that was there, typical of the column."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from skewguard import dtypes
from skewguard.serving_log.sent_instead import as_arrow
from skewguard.substitutes import substitute, substitutes

AT = datetime(2020, 1, 1, 0, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("DOUBLE", [], None),
        ("DOUBLE", [None, None], None),
        ("DOUBLE", [math.nan, math.inf, None], None),
        ("STRING", [None], None),
        ("DOUBLE", [7.5], 7.5),
        ("DOUBLE", [1.0, 2.0, 4.0, 9.0, math.inf, -math.inf, math.nan], 2.0),  # the lower of the two in the middle
        ("INT64", [2**62 + 3, 2**62 + 1, 1, None], 2**62 + 1),
        ("INT32", [5, 1, 3], 3),
        ("FLOAT", [0.5, 0.25], 0.25),
        ("BOOL", [True, True, False], True),
        ("BOOL", [True, False], False),
        ("STRING", ["b", "a", "b", None, None, None], "b"),
        ("STRING", ["b", "a"], "a"),
        ("BYTES", [b"\x00\xff"], "AP8="),
        ("UNIX_TIMESTAMP", [AT, AT.replace(year=2021)], 1_577_836_805),
        ("FLOAT_LIST", [[1.0], [math.nan, math.inf], [1.0]], [1.0]),
        ("BYTES_LIST", [[b"a"]], ["YQ=="]),
        ("UNIX_TIMESTAMP_LIST", [[AT]], [1_577_836_805]),
        ("MAP", ['{"a":1}'], None),
        ("UUID", ["x", "y", "y"], "y"),
    ],
)
def test_the_value(dtype: str, values: list[Any], expected: Any) -> None:
    kind = dtypes.arrow_type(dtype)
    column = pa.chunked_array([pa.array(values[:1], kind), pa.array(values[1:], kind)])
    found = substitute(dtype, column)
    assert found == expected
    assert type(found) is type(expected)
    json.dumps(found, allow_nan=False)
    if found is not None and dtype not in ("FLOAT_LIST",):
        assert pa.scalar(as_arrow(dtype, found), kind) in list(column)  # a log takes it back


def test_columns_without_one_are_left_out() -> None:
    column = pa.chunked_array([pa.array([None, 1.5])])
    assert substitutes({"v__a": ("DOUBLE", column), "v__b": ("MAP", column.cast(pa.string()))}) == {"v__a": 1.5}


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("DOUBLE", "NaN", math.nan),
        ("DOUBLE", 3, 3.0),
        ("FLOAT_LIST", [1, "Infinity", None], [1.0, math.inf, None]),
        ("MAP", {"b": 1, "a": 2}, '{"a":2,"b":1}'),
        ("JSON", '{"x": 1}', '{"x": 1}'),
        ("STRING", None, None),
    ],
)
def test_a_log_takes_what_was_sent(dtype: str, value: Any, expected: Any) -> None:
    found = as_arrow(dtype, value)
    assert found == expected or (math.isnan(expected) and math.isnan(found))
    pa.array([found], dtypes.arrow_type(dtype))
