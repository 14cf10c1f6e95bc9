"""Wrong files and wrong entity rows: the error names the field, what came and what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from skewguard.definitions import FieldDef, Projection, ServiceDef, SourceDef, ViewDef
from skewguard.errors import BadInputError, ConfigurationError, UnknownNameError, UnsupportedSourceError
from skewguard.offline.asof import latest_rows, point_in_time
from skewguard.offline.entity_rows import normalise_entity_rows
from skewguard.offline.sources import connect, source_sql
from tests.offline.cases import BASE, FEATURES, KEYS, TIME, entity_table, source_table, view, write


def service(*features: FieldDef, keys: tuple[FieldDef, ...] = KEYS) -> ServiceDef:
    return ServiceDef("", (Projection(view(Path("nowhere"), keys=keys), features or FEATURES),))


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"shop": ["a"], "till": [1], "event_timestamp": [BASE]} | columns)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'v': no such file .*gone\.parquet"):
        source_sql(view(tmp_path / "gone.parquet"))


@pytest.mark.parametrize("content", [b"", b"PAR1 nonsense PAR1"])
def test_file_that_is_no_parquet(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.parquet").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"cannot read .*v\.parquet"):
        source_sql(view(tmp_path / "v.parquet"))


def test_file_whose_pages_are_broken(tmp_path: Path) -> None:
    rows = [{"shop": f"s{n}", "till": n, "label": f"{n}", "event": BASE} for n in range(2000)]
    path = write(tmp_path / "v.parquet", source_table(rows))
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)  # the footer still reads
    path.write_bytes(bytes(content))
    with connect() as con, pytest.raises(ConfigurationError, match=r"Cannot read .*v\.parquet"):
        latest_rows(con, view(path), BASE)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        source_sql(view(tmp_path))


def test_missing_column_names_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "v.parquet", source_table([]))
    with pytest.raises(
        ConfigurationError, match=r"no column 'labels' in .* Did you mean 'label'\? Columns: shop, till"
    ):
        source_sql(view(path, features=[FieldDef("labels", "STRING")]))


@pytest.mark.parametrize("gone", ["shop", "event", "created"])
def test_missing_key_and_time_columns(tmp_path: Path, gone: str) -> None:
    path = write(tmp_path / "v.parquet", source_table([]).drop([gone]))
    with pytest.raises(ConfigurationError, match=f"no column '{gone}'"):
        source_sql(view(path))


def test_a_missing_column_that_nobody_asks_for_does_no_harm(tmp_path: Path) -> None:
    rows = [{"shop": "a", "sales": 1.5, "event": BASE}] * 2
    definition = view(write(tmp_path / "v.parquet", source_table(rows).drop(["label"])))
    with connect() as con:
        entities = entity_table([{"shop": "a", "event_timestamp": BASE}])
        got = point_in_time(con, entities, [Projection(definition, FEATURES[:1])])
    assert got.column("sales").to_pylist() == [1.5]


@pytest.mark.parametrize("kind", ["BigQuerySource", "KafkaSource", "FileSource"])
def test_unsupported_source(kind: str) -> None:
    source = SourceDef(kind, "project.dataset.table", "event")
    definition = ViewDef("v", (), (), FEATURES, None, source)
    with pytest.raises(UnsupportedSourceError, match=rf"'v' reads from {kind} 'project\.dataset\.table'.*Parquet"):
        source_sql(definition)


def test_unknown_feature(tmp_path: Path) -> None:
    definition = view(write(tmp_path / "v.parquet", source_table([])))
    with connect() as con, pytest.raises(UnknownNameError, match="Did you mean 'sales'"):
        latest_rows(con, definition, BASE, features=["sale"])


def test_names_that_differ_in_case_only_are_refused_not_mixed_up(tmp_path: Path) -> None:
    path = write(tmp_path / "v.parquet", pa.table({"shop": ["a"], "event": pa.array([BASE], TIME), "sales": [1.0]}))
    definition = view(path, created=False, features=[FieldDef("sales", "DOUBLE"), FieldDef("Sales", "DOUBLE")])
    with pytest.raises(BadInputError, match="'Sales'; expected names that differ in more than case"):
        source_sql(definition)
    other = Projection(view(path, created=False, features=FEATURES[:1]), FEATURES[:1], "b", (("shop", "SHOP"),))
    both = [Projection(other.view, FEATURES[:1], "a"), other]
    rows = pa.table({"shop": ["a"], "SHOP": ["b"], "event_timestamp": pa.array([BASE], TIME)})
    with connect() as con, pytest.raises(BadInputError, match="differ in more than case"):
        point_in_time(con, rows, both, full_feature_names=True)


def test_one_feature_name_from_two_views_is_refused_without_full_names(tmp_path: Path) -> None:
    definition = view(write(tmp_path / "v.parquet", source_table([])))
    both = [Projection(definition, FEATURES[:1], "a"), Projection(definition, FEATURES[:1], "b")]
    with connect() as con, pytest.raises(BadInputError, match=r"column 'sales'.*full_feature_names"):
        point_in_time(con, entity_table([]), both)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series(["a lot"]), r"column 'till', row 0: got 'a lot'; expected INT64"),
        (pd.Series([1.5]), r"column 'till', row 0: got 1\.5; expected INT64"),
        (pd.Series([2**64 - 1], dtype="uint64"), r"column 'till', row 0: got 18446744073709551615; expected INT64"),
        (pd.Series([1, "x"], dtype=object), r"entity_df: got a column of mixed types .*'?till'?"),
    ],
    ids=str,
)
def test_bad_key_value(column: pd.Series, expected: str) -> None:
    size = len(column)
    rows = pd.DataFrame({"shop": ["a"] * size, "till": column, "event_timestamp": [BASE] * size})
    with pytest.raises(BadInputError, match=expected):
        normalise_entity_rows(rows, service())


def test_missing_join_key_names_the_nearest() -> None:
    with pytest.raises(BadInputError, match=r"join key 'shop': got no such column .*did you mean 'shops'"):
        normalise_entity_rows(frame().rename(columns={"shop": "shops"}), service())


def test_two_timestamp_columns() -> None:
    rows = frame(ended=[BASE]).rename(columns={"event_timestamp": "began"})
    with pytest.raises(
        BadInputError, match=r"2 timestamp columns \(began, ended\); expected a column 'event_timestamp'"
    ):
        normalise_entity_rows(rows, service())
    assert normalise_entity_rows(frame(ended=[BASE]), service()).timestamp_column == "event_timestamp"


def test_no_timestamp_column() -> None:
    with pytest.raises(BadInputError, match="no timestamp column"):
        normalise_entity_rows(frame().drop(columns="event_timestamp"), service())


@pytest.mark.parametrize(
    ("value", "expected"),
    [("yesterday", r"row 0: got 'yesterday'; expected an ISO 8601 time"), (1.5, "got double"), (True, "got bool")],
)
def test_bad_time(value: Any, expected: str) -> None:
    with pytest.raises(BadInputError, match=expected):
        normalise_entity_rows(frame(event_timestamp=[value]), service())


def test_clashing_names() -> None:
    with pytest.raises(BadInputError, match=r"column 'sales': got the name of a feature; expected another name"):
        normalise_entity_rows(frame(sales=[1.0]), service())
    kept = normalise_entity_rows(frame(sales=[1.0]), service(), full_feature_names=True)
    assert kept.table.column("sales").to_pylist() == [1.0]


def test_a_column_twice() -> None:
    rows = pa.table([pa.array(["a"]), pa.array(["b"])], names=["shop", "shop"])
    with pytest.raises(BadInputError, match=r"\['shop'\] more than once"):
        normalise_entity_rows(rows, service())


def test_what_is_no_table() -> None:
    with pytest.raises(BadInputError, match="got list; expected a pandas DataFrame"):
        normalise_entity_rows([{"shop": "a"}], service())


def test_sql_text_is_taken_for_a_path_and_refused() -> None:
    with pytest.raises(BadInputError, match=r"SELECT \* FROM orders \(no such file\); expected a Parquet or CSV file"):
        normalise_entity_rows("SELECT * FROM orders", service())


def test_entity_files(tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("shop,till,event_timestamp\na,1,2026-03-29T00:30:00Z\n", encoding="utf-8")
    (tmp_path / "broken.parquet").write_bytes(b"no")
    from_parquet = normalise_entity_rows(tmp_path / "rows.parquet", service()).table
    from_csv = normalise_entity_rows(str(tmp_path / "rows.csv"), service()).table
    assert from_parquet == from_csv
    with pytest.raises(BadInputError, match=r"broken\.parquet"):
        normalise_entity_rows(tmp_path / "broken.parquet", service())


@pytest.mark.parametrize("options", [{"memory_limit": "plenty"}, {"threads": -1}])
def test_bad_connection_options(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="offline store: memory_limit"):
        connect(**options)
