"""Rows that tie: few, many, exact, across files, beside values that conflict; always as the plain reference says."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skewguard.definitions import FieldDef, Projection, ViewDef
from skewguard.offline.asof import latest_rows, point_in_time
from skewguard.offline.sources import connect
from tests.offline import reference
from tests.offline.cases import (
    BASE,
    FEATURES,
    KEYS,
    assert_same_rows,
    entity_row,
    entity_table,
    plain,
    source_table,
    ttls,
    view,
    write,
)

generated = settings(max_examples=60, deadline=None, derandomize=True)
hours = st.integers(0, 2).map(lambda n: BASE + timedelta(hours=n))


def tying_rows() -> st.SearchStrategy[list[dict[str, Any]]]:
    """Two entities, three moments, three values: nearly every row ties with others, some are equal altogether."""
    row = st.fixed_dictionaries(
        {
            "shop": st.sampled_from(["a", "Ä"]),
            "till": st.sampled_from([0, 2**60 + 1]),
            "sales": st.sampled_from([None, float("nan"), 1.5, -2.0]),
            "items": st.sampled_from([None, 0, -7]),
            "label": st.sampled_from([None, "", "x"]),
            "event": hours,
            "created": st.one_of(hours, st.none()),
        }
    )
    return st.lists(row, max_size=30)


def asking_rows() -> st.SearchStrategy[list[dict[str, Any]]]:
    """Entity rows that nearly always find rows that tie."""
    some = st.sampled_from
    row = st.builds(entity_row, some(["a", "Ä"]), some([0, 2**60 + 1]), some(["a", "Ä", None]), hours)
    return st.lists(row, min_size=1, max_size=8)


def folder_of(path: Path, rows: list[dict[str, Any]], files: int) -> Path:
    """The rows dealt out to files, so that rows that tie have the same number in their files, or another."""
    path.mkdir()
    for number in range(files):
        write(path / f"{number}.parquet", source_table(rows[number::files]))
    return path


@given(
    rows=tying_rows(),
    entities=asking_rows(),
    files=st.integers(1, 3),
    key_count=st.integers(0, 2),
    ttl=ttls,
    created=st.booleans(),
    as_known=st.booleans(),
    names=st.sets(st.sampled_from([f.name for f in FEATURES]), min_size=1),
)
@generated
def test_ties_are_decided_as_the_reference_decides_them(
    rows: Any,
    entities: Any,
    files: int,
    key_count: int,
    ttl: Any,
    created: bool,
    as_known: bool,
    names: set[str],
) -> None:
    with tempfile.TemporaryDirectory() as folder, connect() as con:
        path = folder_of(Path(folder, "v"), rows, files)
        definition = view(path, keys=KEYS[:key_count], ttl=ttl, created=created)
        projection = Projection(definition, tuple(f for f in FEATURES if f.name in names))
        table = entity_table(entities)
        got = point_in_time(con, table, [projection], filter_by_created_timestamp=as_known)
        newest = latest_rows(con, definition, BASE + timedelta(hours=1), features=sorted(names))
    whole = plain(projection, rows, full=False)
    assert_same_rows(got.to_pylist(), reference.join(entities, "event_timestamp", [whole], as_known=as_known))
    expected = reference.latest(whole, BASE + timedelta(hours=1), None, None)
    assert_same_rows(by_values(newest.to_pylist(), names), by_values(expected, names))


def by_values(rows: Any, names: set[str]) -> list[dict[str, Any]]:
    chosen = [{name: row[name] for name in sorted(names)} for row in rows]
    return sorted(chosen, key=str)


@given(rows=tying_rows(), entities=asking_rows(), as_known=st.booleans(), ttl=ttls)
@generated
def test_ties_of_several_views_on_one_source(rows: Any, entities: Any, as_known: bool, ttl: Any) -> None:
    with tempfile.TemporaryDirectory() as folder, connect() as con:
        path = folder_of(Path(folder, "v"), rows, 2)
        projections = [
            Projection(view(path, ttl=ttl), FEATURES[:1], "here"),
            Projection(view(path), FEATURES, "there", (("shop", "other"),)),
            Projection(view(path, keys=KEYS, created=False), FEATURES[1:], "both"),
            Projection(view(path, keys=()), FEATURES[2:], "none"),
        ]
        got = point_in_time(
            con, entity_table(entities), projections, full_feature_names=True, filter_by_created_timestamp=as_known
        )
    views = [plain(p, rows, full=True) for p in projections]
    assert_same_rows(got.to_pylist(), reference.join(entities, "event_timestamp", views, as_known=as_known))


def tied(path: Path, files: int, copies: int) -> tuple[ViewDef, pa.Table]:
    """As many rows of each (entity, event) as ``copies``, of which the last created has the number of its entity."""
    folder = path / "v"
    folder.mkdir()
    count = 20_000
    for number in range(files):
        lot = range(number, count * copies, files)
        table = pa.table(
            {
                "till": pa.array([n % count for n in lot], pa.int64()),
                "event": pa.array([BASE for _ in lot], pa.timestamp("us", "UTC")),
                "created": pa.array([BASE + timedelta(hours=n // count) for n in lot], pa.timestamp("us", "UTC")),
                "sales": pa.array([float(n % count) if n // count == copies - 1 else 1e300 for n in lot]),
            }
        )
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=5000)
    definition = view(folder, keys=KEYS[1:], features=FEATURES[:1])
    asked = pa.table(
        {
            "till": pa.array([n * 7919 % count for n in range(count)], pa.int64()),
            "event_timestamp": pa.array([BASE + timedelta(days=1)] * count, pa.timestamp("us", "UTC")),
        }
    )
    return definition, asked


@pytest.mark.parametrize("copies", [1, 2, 5])
@pytest.mark.parametrize("files", [1, 4])
def test_many_ties_over_several_row_groups_and_files(tmp_path: Path, files: int, copies: int) -> None:
    definition, asked = tied(tmp_path, files, copies)
    with connect() as con:
        got = point_in_time(con, asked, [Projection(definition, definition.features)])
    assert got.column("sales").to_pylist() == [float(n) for n in asked.column("till").to_pylist()]


def test_one_tie_of_many_rows_asked_for_often_is_no_product(tmp_path: Path) -> None:
    """20,000 rows that tie, 20,000 entity rows that find them: settled once, not for each pair."""
    rows = [{"shop": "a", "till": n, "event": BASE, "created": BASE, "sales": float(n)} for n in range(20_000)]
    definition = view(write(tmp_path / "v.parquet", source_table(rows)), keys=(), features=FEATURES[:1])
    entities = [{"shop": "a", "till": 1, "other": "a", "event_timestamp": BASE}] * 20_000
    with connect(memory_limit="200MB") as con:
        got = point_in_time(con, entity_table(entities), [Projection(definition, definition.features)])
    assert got.column("sales").to_pylist() == [19_999.0] * 20_000


def test_ties_in_a_file_whose_columns_have_the_names_of_duckdbs_own(tmp_path: Path) -> None:
    rows = [
        {"shop": "a", "till": 1, "event": BASE, "created": BASE, "sales": float(n), "items": n % 3} for n in range(50)
    ]
    table = source_table(rows).append_column("file_row_number", pa.array(range(50, 0, -1), pa.int64()))
    number = FieldDef("file_row_number", "INT64")
    definition = view(write(tmp_path / "v.parquet", table), features=[FEATURES[1], number])
    entities = [{"shop": "a", "till": 1, "other": "a", "event_timestamp": BASE}]
    with connect() as con:
        got = point_in_time(con, entity_table(entities), [Projection(definition, (number,))])
    assert got.column("file_row_number").to_pylist() == [48]


def test_a_source_larger_than_memory_gives_the_same(tmp_path: Path) -> None:
    count = 3_000_000
    with connect() as con:
        con.execute(
            f"COPY (SELECT range % 1000 AS till, TIMESTAMPTZ '{BASE.isoformat()}' - INTERVAL 1 SECOND * range "
            f"AS event, event AS created, range::DOUBLE AS sales FROM range({count})) TO '{tmp_path / 'v.parquet'}'"
        )
        asked = con.execute(
            f"SELECT hash(range) % 1000 AS till, TIMESTAMPTZ '{BASE.isoformat()}' - INTERVAL 1 SECOND * "
            f"(hash(range, 1) % {count})::INT AS event_timestamp FROM range(100000)"
        ).to_arrow_table()
    asked = asked.set_column(0, "till", asked.column("till").cast(pa.int64()))
    definition = view(tmp_path / "v.parquet", keys=KEYS[1:], features=FEATURES[:1])
    projection = Projection(definition, definition.features)
    with connect() as con:
        expected = point_in_time(con, asked, [projection])
    with connect(memory_limit="80MB", threads=2) as con:
        spill = con.execute("SELECT current_setting('temp_directory')").fetchone()
        assert spill is not None
        got = point_in_time(con, asked, [projection])
        assert Path(spill[0]).is_dir()
    assert got.equals(expected)
    assert not Path(spill[0]).exists()
