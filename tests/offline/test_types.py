"""What a file holds against what the definition declares: the declared dtype comes out, or an error that says why."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from skewguard import dtypes
from skewguard.definitions import FieldDef, Projection, ServiceDef
from skewguard.errors import ConfigurationError
from skewguard.offline.asof import latest_rows, point_in_time
from skewguard.offline.entity_rows import normalise_entity_rows
from skewguard.offline.sources import connect
from tests.offline.cases import BASE, KEYS, TIME, view, write

NAIVE = datetime(2026, 3, 29, 2, 30)  # noqa: DTZ001 - a time that Europe/Berlin skips; naive means UTC here
UTC_NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)


def declared(folder: Path, column: pa.Array, dtype: str) -> pa.ChunkedArray:
    """A file's column through both readers, as ``dtype``."""
    size = len(column)
    keys = pa.array([f"k{n:03}" for n in range(size)])
    times = pa.array([BASE] * size, TIME)
    table = pa.table({"shop": keys, "x": column, "event": times})
    feature = FieldDef("x", dtype)
    definition = view(write(folder / "v.parquet", table), features=[feature], created=False)
    with connect() as con:
        newest = latest_rows(con, definition, BASE)
        entities = pa.table({"shop": keys, "event_timestamp": times})
        joined = point_in_time(con, entities, [Projection(definition, (feature,))])
    assert newest.schema.field("x").type == joined.schema.field("x").type == dtypes.arrow_type(dtype)
    assert str(newest.column("x").to_pylist()) == str(joined.column("x").to_pylist())
    return joined.column("x")


@pytest.mark.parametrize(
    ("column", "dtype", "expected"),
    [
        (pa.array([1.9, -1.9, float("nan"), None, float("inf")]), "INT64", [1, -1, None, None, None]),
        (pa.array([2.5, 3.5], pa.float32()), "INT32", [2, 3]),
        (pa.array([Decimal("2.75"), Decimal("-2.75"), None]), "INT64", [2, -2, None]),
        (pa.array([2**60 + 1, -(2**63), None]), "INT64", [2**60 + 1, -(2**63), None]),
        (pa.array([2**60 + 1], pa.uint64()), "INT64", [2**60 + 1]),
        (pa.array([1, 0, None], pa.int8()), "BOOL", [True, False, None]),
        (pa.array([1.0, 0.0, float("nan")]), "BOOL", [True, False, None]),
        (pa.array([1, None], pa.int32()), "DOUBLE", [1.0, None]),
        (pa.array(["a", "", None]).dictionary_encode(), "STRING", ["a", "", None]),
        (pa.array(["a", None], pa.large_string()), "STRING", ["a", None]),
        (pa.array([b"\x00\xff", b"", None]), "BYTES", [b"\x00\xff", b"", None]),
        (pa.array(["ß", None]), "BYTES", ["ß".encode(), None]),
        (pa.array([[1.5], [], None, [None]]), "DOUBLE_LIST", [[1.5], [], None, [None]]),
        (pa.array([[1.5, -2.5, float("nan")], []]), "INT64_LIST", [[1, -2, None], []]),
        (pa.array([["a"], []]), "STRING_LIST", [["a"], []]),
        (
            pa.array([[NAIVE], None], pa.list_(pa.timestamp("ms"))),
            "UNIX_TIMESTAMP_LIST",
            [[NAIVE.replace(tzinfo=UTC)], None],
        ),
        (pa.array(["b", "a"]), "UUID", ["b", "a"]),
        (pa.array([Decimal("1.50"), None]), "DECIMAL", ["1.50", None]),
    ],
)
def test_declared_types(tmp_path: Path, column: pa.Array, dtype: str, expected: list[Any]) -> None:
    assert declared(tmp_path, column, dtype).to_pylist() == expected


def test_float32_declared_over_a_double_file(tmp_path: Path) -> None:
    values = declared(tmp_path, pa.array([0.1, float("nan"), None]), "FLOAT").to_pylist()
    assert values[0] == float(np.float32(0.1)) != 0.1
    assert math.isnan(values[1])
    assert values[2] is None


@pytest.mark.parametrize(
    "column",
    [
        pa.array([NAIVE], pa.timestamp("ns")),
        pa.array([NAIVE], pa.timestamp("s")),
        pa.array([NAIVE.replace(tzinfo=UTC)], pa.timestamp("ns", "America/New_York")),
        pa.array([int(NAIVE.replace(tzinfo=UTC).timestamp())]),
        pa.array([NAIVE.replace(tzinfo=UTC).timestamp()]),
        pa.array(["2026-03-29 02:30:00"]),
        pa.array(["2026-03-29T04:30:00+02:00"]),
    ],
    ids=str,
)
def test_unix_timestamps_of_every_make(tmp_path: Path, column: pa.Array) -> None:
    assert declared(tmp_path, column, "UNIX_TIMESTAMP").to_pylist() == [NAIVE.replace(tzinfo=UTC)]


def test_unix_timestamp_from_nan_is_null_and_from_a_date_is_midnight_utc(tmp_path: Path) -> None:
    assert declared(tmp_path, pa.array([float("nan"), None]), "UNIX_TIMESTAMP").to_pylist() == [None, None]
    midnight = declared(tmp_path, pa.array([date(2026, 3, 29)]), "UNIX_TIMESTAMP").to_pylist()
    assert midnight == [datetime(2026, 3, 29, tzinfo=UTC)]


def test_nested_values_travel_as_json(tmp_path: Path) -> None:
    structs = declared(tmp_path, pa.array([{"b": 1, "a": [1.5, None]}, None]), "MAP")
    assert structs.to_pylist() == ['{"a":[1.5,null],"b":1}', None]
    assert declared(tmp_path, pa.array(['{ "b": 1 }', None]), "JSON").to_pylist() == ['{"b":1}', None]


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        (pa.array(["five"]), "INT64"),
        (pa.array([1e300]), "INT64"),
        (pa.array(["{"]), "JSON"),
        (pa.array(["soon"]), "UNIX_TIMESTAMP"),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_the_declared_dtype_names_the_file(tmp_path: Path, column: pa.Array, dtype: str) -> None:
    with pytest.raises(ConfigurationError, match=r"v\.parquet"):
        declared(tmp_path, column, dtype)


EVENTS = {
    "naive ns": pa.array([NAIVE], pa.timestamp("ns")),
    "naive us": pa.array([NAIVE], pa.timestamp("us")),
    "aware ns": pa.array([NAIVE.replace(tzinfo=UTC)], pa.timestamp("ns", "UTC")),
    "aware elsewhere": pa.array([NAIVE.replace(tzinfo=UTC)], pa.timestamp("ms", "Asia/Kathmandu")),
    "text": pa.array(["2026-03-29T02:30:00Z"]),
    "text with offset": pa.array(["2026-03-28T21:30:00-05:00"]),
    "epoch seconds": pa.array([int(NAIVE.replace(tzinfo=UTC).timestamp())]),
}


@pytest.mark.parametrize("make", EVENTS)
def test_event_timestamps_of_every_make(tmp_path: Path, make: str) -> None:
    table = pa.table({"shop": ["a"], "sales": [1.5], "event": EVENTS[make]})
    feature = FieldDef("sales", "DOUBLE")
    definition = view(write(tmp_path / "v.parquet", table), features=[feature], created=False, ttl=timedelta(0))
    moment = NAIVE.replace(tzinfo=UTC)
    times = [moment - timedelta(microseconds=1), moment, moment + timedelta(microseconds=1)]
    with connect() as con:
        got = point_in_time(
            con,
            pa.table({"shop": ["a"] * 3, "event_timestamp": pa.array(times, TIME)}),
            [Projection(definition, (feature,))],
        )
    assert got.column("sales").to_pylist() == [None, 1.5, None]


@pytest.mark.parametrize(
    "times",
    [
        pd.Series([NAIVE]),
        pd.Series([NAIVE]).astype("datetime64[s]"),
        pd.Series([NAIVE]).dt.tz_localize("UTC").dt.tz_convert("America/New_York"),
        pd.Series(["2026-03-29T02:30:00"]),
        pd.Series(["2026-03-29 04:30:00+02:00"], dtype="category"),
        pd.Series([NAIVE.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=9)))], dtype=object),
        pd.Series([int(NAIVE.replace(tzinfo=UTC).timestamp())]),
    ],
    ids=lambda series: f"{series.dtype}",
)
def test_entity_times_of_every_make(times: pd.Series) -> None:
    rows = normalise_entity_rows(pd.DataFrame({"event_timestamp": times}), ServiceDef("", ()))
    assert rows.table.column("event_timestamp").to_pylist() == [NAIVE.replace(tzinfo=UTC)]
    assert rows.table.schema.field("event_timestamp").type == pa.timestamp("us", "UTC")


def test_entity_dates_and_nulls() -> None:
    frame = pd.DataFrame({"event_timestamp": [date(2026, 3, 29), None]})
    rows = normalise_entity_rows(frame, ServiceDef("", ()))
    assert rows.table.column("event_timestamp").to_pylist() == [datetime(2026, 3, 29, tzinfo=UTC), None]


def test_keys_that_pandas_made_floats_are_whole_again(tmp_path: Path) -> None:
    table = pa.table({"till": [1], "x": [2.5], "event": pa.array([BASE], TIME)})
    feature = FieldDef("x", "DOUBLE")
    definition = view(write(tmp_path / "v.parquet", table), keys=KEYS[1:], features=[feature], created=False)
    service = ServiceDef("", (Projection(definition, (feature,)),))
    frame = pd.DataFrame({"till": [1, None], "at": [UTC_NOON, UTC_NOON]})
    rows = normalise_entity_rows(frame, service)
    with connect() as con:
        got = point_in_time(con, rows.table, service.projections, timestamp_column=rows.timestamp_column)
    assert got.column("till").to_pylist() == [1, None]
    assert got.column("x").to_pylist() == [2.5, None]
