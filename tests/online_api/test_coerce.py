"""Values of a request as keys and request data: what each dtype takes, what it refuses, and how values are written."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from online_api.coerce import key_column, request_column
from online_api.values import json_value, timestamp_text
from skewguard.definitions import FieldDef
from skewguard.errors import BadInputError

KEYS: list[tuple[str, Any, Any]] = [
    ("INT64", 2**63 - 1, 2**63 - 1),
    ("INT64", -(2**63), -(2**63)),
    ("INT64", "-7", -7),
    ("INT64", 1.0, 1),
    ("INT64", 2.0**53, 2**53),
    ("INT64", True, 1),
    ("INT32", 2**31 - 1, 2**31 - 1),
    ("STRING", "", ""),
    ("STRING", 1, "1"),
    ("STRING", 1.5, "1.5"),
    ("STRING", True, "True"),  # as Feast
    ("BYTES", "AP9hYg==", b"\x00\xffab"),
    ("UNIX_TIMESTAMP", 0, 0),
    ("UNIX_TIMESTAMP", "-5", -5),
    ("UNIX_TIMESTAMP", "1970-01-01T01:00:00+01:00", 0),
    ("UNIX_TIMESTAMP", "1970-01-01T00:00:01.9Z", 1),
    ("UNIX_TIMESTAMP", "1970-01-02", 86400),
    ("UUID", "00000000-0000-0000-0000-000000000007", "00000000-0000-0000-0000-000000000007"),
]


@pytest.mark.parametrize(("dtype", "sent", "expected"), KEYS)
def test_key_is_taken(dtype: str, sent: Any, expected: Any) -> None:
    (got,) = key_column(FieldDef("id", dtype), [sent])

    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("dtype", "sent"),
    [
        *[(dtype, None) for dtype in ("INT64", "INT32", "STRING", "BYTES", "UNIX_TIMESTAMP", "UUID")],
        *[("INT64", wrong) for wrong in ("", " 1", "1_0", "1.0", "0x1", "١", "9" * 400, 2**63, 1.5, 1e300, [], {})],
        ("INT64", math.nan),
        ("INT64", -math.inf),
        ("INT64", 2.0**53 + 2),
        ("INT32", 2**31),
        ("STRING", []),
        ("BYTES", "not base64!"),
        ("BYTES", 1),
        ("UNIX_TIMESTAMP", "noon"),
        ("UNIX_TIMESTAMP", 10**12),
        ("UNIX_TIMESTAMP", 1.5),
        ("UUID", 7),
    ],
)
def test_key_is_refused_by_field_row_and_type(dtype: str, sent: Any) -> None:
    good = {"STRING": "x", "BYTES": "", "UUID": "x"}.get(dtype, 1)

    with pytest.raises(BadInputError) as caught:
        key_column(FieldDef("id", dtype), [good, sent])

    assert caught.value.field == "entities.id[1]"
    assert dtype in caught.value.expected
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("dtype", "sent", "expected"),
    [
        ("DOUBLE", 1, 1.0),
        ("DOUBLE", "Infinity", math.inf),
        ("INT64", 5.0, 5),
        ("BOOL", True, True),
        ("STRING", "x", "x"),
        ("UNIX_TIMESTAMP", 60, datetime(1970, 1, 1, 0, 1, tzinfo=UTC)),
        ("BYTES", "AA==", b"\x00"),
        ("INT64_LIST", [1, 2], [1, 2]),
        ("MAP", {"a": 1}, {"a": 1}),
        *[(dtype, None, None) for dtype in ("DOUBLE", "INT64", "BOOL", "STRING", "UNIX_TIMESTAMP", "MAP")],
    ],
)
def test_request_data_is_taken(dtype: str, sent: Any, expected: Any) -> None:
    (got,) = request_column(FieldDef("x", dtype), [sent])

    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("dtype", "sent"),
    [("DOUBLE", "1"), ("DOUBLE", True), ("INT64", "1"), ("INT64", 1.5), ("BOOL", 1), ("STRING", 1), ("DOUBLE", [])],
)
def test_request_data_is_refused(dtype: str, sent: Any) -> None:
    with pytest.raises(BadInputError, match=r"entities\.x\[0\]"):
        request_column(FieldDef("x", dtype), [sent])


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (None, "1970-01-01T00:00:00Z"),
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (1_000, "1970-01-01T00:00:00.000001Z"),
        (1_000_000, "1970-01-01T00:00:00.001Z"),
        (1_100_000_000, "1970-01-01T00:00:01.100Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (-62_135_596_800 * 10**9, "0001-01-01T00:00:00Z"),
        (253_402_300_799 * 10**9, "9999-12-31T23:59:59Z"),
    ],
)
def test_timestamps_have_the_decimals_they_need(nanoseconds: int | None, text: str) -> None:
    assert timestamp_text(nanoseconds) == text


def test_values_inside_values_are_written_as_outside() -> None:
    value = {"a": [math.nan, {"b": b"\x00"}], "c": math.inf, "d": None}

    assert json_value(value) == {"a": ["NaN", {"b": "AA=="}], "c": "Infinity", "d": None}
    assert json_value({2: "x", True: 2.5, b"\x00": -math.inf}) == {"2": "x", "true": 2.5, "AA==": "-Infinity"}
