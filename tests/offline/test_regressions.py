"""Defects that a review found in the offline side, and (leading zeros of partitions, blanks around a whole number)
two neighbours of them that were right before and have to stay so.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64, Int64

from skewguard.definitions import FieldDef, Projection, ServiceDef, SourceDef, ViewDef
from skewguard.errors import BadInputError
from skewguard.offline.asof import latest_rows, point_in_time
from skewguard.offline.entity_rows import normalise_entity_rows
from skewguard.offline.sources import connect, source_sql
from skewguard.online.values import json_text
from skewguard.sql import quote

AT = datetime(2026, 1, 10, tzinfo=UTC)
TIME = pa.timestamp("us", "UTC")


def view(path: Path, name: str, dtype: str, key: FieldDef = FieldDef("k", "INT64")) -> ViewDef:  # noqa: B008
    return ViewDef("v", (), (key,), (FieldDef(name, dtype),), None, SourceDef("parquet", str(path), "ts"))


def write(path: Path, columns: dict[str, Any]) -> Path:
    rows = len(next(iter(columns.values())))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"k": pa.array([1] * rows), "ts": pa.array([AT] * rows, TIME), **columns}), path)
    return path


def column(definition: ViewDef, name: str) -> list[Any]:
    with connect() as con:
        sql = f"SELECT {quote(name)} FROM ({source_sql(definition)})"
        values: list[Any] = con.execute(sql).to_arrow_table().column(0).to_pylist()
    return values


def test_a_folder_called_like_a_partition_does_not_hide_the_files_own_column(tmp_path: Path) -> None:
    path = write(tmp_path / "run=5" / "p.parquet", {"run": ["from the file"]})
    assert column(view(path, "run", "STRING"), "run") == ["from the file"]


def test_partition_keys_keep_their_leading_zeros(tmp_path: Path) -> None:
    write(tmp_path / "rows" / "shop=007" / "p.parquet", {"f": [1.0]})
    assert column(view(tmp_path / "rows", "f", "DOUBLE", FieldDef("shop", "STRING")), "shop") == ["007"]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (['{"b":1, "a":2}'], "JSON", [json_text(json.loads('{"b":1, "a":2}'))]),
        ([b"hi"], "PDF_BYTES", [json_text(b"hi")]),
        ([[2, 1, 2]], "INT64_SET", [[1, 2]]),
        ([0.5, 0.0, None], "BOOL", [True, False, None]),
        ([True, None], "STRING", ["True", None]),
        (["Ä".encode()], "STRING", ["Ä"]),
        ([1e39, -1e39, 1.5], "FLOAT", [float("inf"), float("-inf"), 1.5]),
        ([" 12 ", None], "INT64", [12, None]),
    ],
)
def test_values_are_what_the_online_side_holds(
    tmp_path: Path, values: list[Any], dtype: str, expected: list[Any]
) -> None:
    assert column(view(write(tmp_path / "p.parquet", {"f": values}), "f", dtype), "f") == expected


def test_zoned_timestamps_are_told_as_the_online_side_tells_them(tmp_path: Path) -> None:
    path = write(tmp_path / "p.parquet", {"f": pa.array([AT], TIME)})
    assert column(view(path, "f", "ZONED_TIMESTAMP"), "f") == [AT.isoformat()]


@pytest.mark.parametrize(
    ("columns", "dtype", "message"),
    [({"f": ["12.5"]}, "INT64", "no whole number"), ({"f": [1_767_225_600_000]}, "UNIX_TIMESTAMP", "no number of sec")],
)
def test_what_would_be_read_wrongly_is_refused(
    tmp_path: Path, columns: dict[str, Any], dtype: str, message: str
) -> None:
    definition = view(write(tmp_path / "p.parquet", columns), "f", dtype)
    with connect() as con, pytest.raises(ValueError, match=message):
        latest_rows(con, definition, AT)


def test_created_before_cuts_nothing_where_the_source_has_no_created_column(tmp_path: Path) -> None:
    definition = view(write(tmp_path / "p.parquet", {"f": [1.0]}), "f", "DOUBLE")
    with connect() as con:
        assert latest_rows(con, definition, AT, created_before=AT).column("f").to_pylist() == [1.0]


def test_spilling_stays_out_of_the_working_directory() -> None:
    with connect() as con:
        (folder,) = con.execute("SELECT current_setting('temp_directory')").fetchall()[0]
    assert os.path.dirname(folder) == tempfile.gettempdir()


def test_keys_of_a_csv_file_keep_their_leading_zeros(tmp_path: Path) -> None:
    file = tmp_path / "e.csv"
    file.write_text("shop,event_timestamp\n007,2026-01-11T00:00:00Z\n", encoding="utf-8")
    rows = normalise_entity_rows(file, _service(FieldDef("shop", "STRING")))
    assert rows.table.column("shop").to_pylist() == ["007"]


def test_a_float_is_no_text_key() -> None:
    frame = pd.DataFrame({"shop": [None, 7.0], "event_timestamp": [AT, AT]})
    with pytest.raises(BadInputError, match=r"'shop', row 1: got 7\.0"):
        normalise_entity_rows(frame, _service(FieldDef("shop", "STRING")))


def test_a_frame_with_a_column_twice_is_refused_by_name() -> None:
    frame = pd.DataFrame([[1, 2, AT]], columns=["k", "k", "event_timestamp"])
    with pytest.raises(BadInputError, match=r"\['k'\] more than once"):
        normalise_entity_rows(frame, _service(FieldDef("k", "INT64")))


def _service(key: FieldDef) -> ServiceDef:
    definition = view(Path("none.parquet"), "f", "DOUBLE", key)
    return ServiceDef("", (Projection(definition, definition.features),))


def test_created_filter_pairs_no_entity_row_with_every_source_row(tmp_path: Path) -> None:
    """One key, 40,000 x 20,000 rows: as pairs that is 400 million, as an ASOF join nothing."""
    rows, asked = 40_000, 20_000
    times = pa.array([AT + timedelta(seconds=n) for n in range(rows)], TIME)
    created = pa.array([AT + timedelta(seconds=n + n % 7) for n in range(rows)], TIME)
    columns = {"k": [1] * rows, "ts": times, "made": created, "f": pa.array(range(rows), pa.int64())}
    pq.write_table(pa.table(columns), tmp_path / "p.parquet")
    definition = ViewDef(
        "v", (), (FieldDef("k", "INT64"),), (FieldDef("f", "INT64"),), None,
        SourceDef("parquet", str(tmp_path / "p.parquet"), "ts", "made"),
    )  # fmt: skip
    entities = pa.table({"k": [1] * asked, "event_timestamp": times.slice(0, asked)})
    projection = Projection(definition, definition.features)
    with connect(memory_limit="500MB") as con:
        con.execute("SET max_temp_directory_size = '0KB'")
        got = point_in_time(con, entities, [projection], filter_by_created_timestamp=True).column("f").to_pylist()
    expected = [max(m for m in range(max(0, n - 6), n + 1) if m + m % 7 <= n) for n in range(asked)]
    assert got == expected


def test_no_append_is_lost_between_writers(tmp_path: Path) -> None:
    pd.DataFrame({"k": [1], "ts": [AT], "f": [1.0]}).to_parquet(tmp_path / "p.parquet")
    config = RepoConfig(
        project="writers",
        provider="local",
        registry=str(tmp_path / "registry.db"),
        online_store={"type": "sqlite", "path": str(tmp_path / "online.db")},
        offline_store={"type": "skewguard.offline.store.SkewguardOfflineStore"},
        entity_key_serialization_version=3,
        repo_path=tmp_path,
    )
    store = FeatureStore(config=config)
    key = Entity(name="k", join_keys=["k"], value_type=ValueType.INT64)
    source = FileSource(path=str(tmp_path / "p.parquet"), timestamp_field="ts")
    schema = [Field(name="k", dtype=Int64), Field(name="f", dtype=Float64)]
    store.apply([key, FeatureView(name="v", entities=[key], source=source, schema=schema)])
    failures: list[Exception] = []

    def append(number: int) -> None:
        try:
            store.write_to_offline_store("v", pd.DataFrame({"k": [number], "ts": [AT], "f": [float(number)]}))
        except Exception as error:  # noqa: BLE001  handed to the assertion below
            failures.append(error)

    writers = [threading.Thread(target=append, args=(number,)) for number in range(2, 14)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert sorted(pq.read_table(tmp_path / "p.parquet").column("k").to_pylist()) == list(range(1, 14))
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ".tmp"] == []
