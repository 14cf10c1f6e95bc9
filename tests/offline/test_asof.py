"""The ASOF join against the plain reference, on generated rows."""

from __future__ import annotations

import math
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skewguard.definitions import FieldDef, Projection
from skewguard.offline.asof import explain, latest_rows, point_in_time
from skewguard.offline.sources import connect
from skewguard.offline.statement import JoinOptions
from tests.offline import reference
from tests.offline.cases import (
    BASE,
    FEATURES,
    KEYS,
    MICRO,
    assert_same_rows,
    entity_rows,
    entity_table,
    moments,
    plain,
    source_rows,
    source_table,
    ttls,
    view,
    write,
)

generated = settings(max_examples=40, deadline=None, derandomize=True)


def one(
    rows: list[dict[str, Any]], entities: list[dict[str, Any]], folder: Path, **options: Any
) -> list[dict[str, Any]]:
    """One view of all features keyed by shop, joined; the features alone."""
    definition = view(write(folder / "v.parquet", source_table(rows)), **options)
    projection = Projection(definition, definition.features)
    with connect() as con:
        table = point_in_time(con, entity_table(entities), [projection])
    return table.select([f.name for f in definition.features]).to_pylist()


def row(event: datetime | None, **values: Any) -> dict[str, Any]:
    return {
        "shop": "a",
        "till": 1,
        "sales": None,
        "items": None,
        "label": None,
        "event": event,
        "created": None,
    } | values


def at(moment: datetime | None, **values: Any) -> dict[str, Any]:
    return {"shop": "a", "till": 1, "other": "a", "event_timestamp": moment} | values


@given(
    rows=source_rows(),
    entities=entity_rows(),
    key_count=st.integers(0, 2),
    ttl=ttls,
    created=st.booleans(),
    as_known=st.booleans(),
    full=st.booleans(),
    names=st.sets(st.sampled_from([f.name for f in FEATURES]), min_size=1),
)
@generated
def test_one_view(
    rows: Any, entities: Any, key_count: int, ttl: Any, created: bool, as_known: bool, full: bool, names: set[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder, connect() as con:
        path = write(Path(folder, "v.parquet"), source_table(rows))
        definition = view(path, keys=KEYS[:key_count], ttl=ttl, created=created)
        projection = Projection(definition, tuple(f for f in FEATURES if f.name in names))
        got = point_in_time(
            con, entity_table(entities), [projection], full_feature_names=full, filter_by_created_timestamp=as_known
        )
    expected = reference.join(entities, "event_timestamp", [plain(projection, rows, full=full)], as_known=as_known)
    assert_same_rows(got.to_pylist(), expected)


@given(first=source_rows(8), second=source_rows(8), third=source_rows(4), entities=entity_rows(), ttl=ttls)
@generated
def test_several_views_one_of_them_twice_under_aliases(
    first: Any, second: Any, third: Any, entities: Any, ttl: Any
) -> None:
    with tempfile.TemporaryDirectory() as folder, connect() as con:
        base = Path(folder)
        one_key = view(write(base / "1.parquet", source_table(first)), name="one", ttl=ttl)
        two_keys = view(write(base / "2.parquet", source_table(second)), name="two", keys=KEYS, created=False)
        no_key = view(write(base / "3.parquet", source_table(third)), name="none", keys=(), ttl=timedelta(hours=2))
        projections = [
            Projection(one_key, FEATURES[:2], "here"),
            Projection(one_key, FEATURES[1:], "there", (("shop", "other"),)),
            Projection(two_keys, FEATURES),
            Projection(no_key, FEATURES[:1]),
        ]
        got = point_in_time(con, entity_table(entities), projections, full_feature_names=True)
    views = [plain(p, r, full=True) for p, r in zip(projections, (first, first, second, third), strict=True)]
    assert_same_rows(got.to_pylist(), reference.join(entities, "event_timestamp", views))


@given(
    rows=source_rows(),
    key_count=st.integers(0, 2),
    as_of=moments,
    start=st.one_of(st.none(), moments),
    created_before=st.one_of(st.none(), moments),
)
@generated
def test_latest_rows(rows: Any, key_count: int, as_of: Any, start: Any, created_before: Any) -> None:
    with tempfile.TemporaryDirectory() as folder, connect() as con:
        definition = view(write(Path(folder, "v.parquet"), source_table(rows)), keys=KEYS[:key_count], ttl=MICRO)
        got = latest_rows(con, definition, as_of, start=start, created_before=created_before)
        few = latest_rows(con, definition, as_of, start=start, created_before=created_before, features=["label"])
    whole = plain(Projection(definition, FEATURES), rows, full=False)
    names = [*(k.name for k in KEYS[:key_count]), *(f.name for f in FEATURES)]
    expected = [
        {n: r[n] for n in names} | {"__event_ts": r["event"], "__created_ts": r["created"]}
        for r in reference.latest(whole, as_of, start, created_before)
    ]

    def by_key(item: dict[str, Any]) -> list[Any]:
        return [reference.weight(item[k.name]) for k in KEYS[:key_count]]

    assert_same_rows(sorted(got.to_pylist(), key=by_key), sorted(expected, key=by_key))
    assert few.drop(["label"]).to_pylist() == got.select(few.drop(["label"]).column_names).to_pylist()
    assert few.column("label") == got.column("label")


@pytest.mark.parametrize(("late", "seen"), [(timedelta(0), 1.5), (-MICRO, 1.5), (MICRO, None)])
def test_ttl_edge_is_inclusive_to_the_microsecond(tmp_path: Path, late: timedelta, seen: float | None) -> None:
    ttl = timedelta(days=30, microseconds=7)
    got = one([row(BASE, sales=1.5)], [at(BASE + ttl + late)], tmp_path, ttl=ttl)
    assert got[0]["sales"] == seen


def test_row_at_the_moment_itself_counts_and_a_microsecond_later_does_not(tmp_path: Path) -> None:
    got = one(
        [row(BASE, sales=1.0), row(BASE + MICRO, sales=2.0)], [at(BASE), at(BASE + MICRO), at(BASE - MICRO)], tmp_path
    )
    assert [g["sales"] for g in got] == [1.0, 2.0, None]


def test_an_older_row_never_stands_in_for_an_expired_or_null_one(tmp_path: Path) -> None:
    rows = [row(BASE - timedelta(hours=1), sales=1.0), row(BASE, sales=None, items=3)]
    got = one(rows, [at(BASE), at(BASE + timedelta(days=9))], tmp_path, ttl=timedelta(hours=5))
    assert [(g["sales"], g["items"]) for g in got] == [(None, 3), (None, None)]


@pytest.mark.parametrize("chosen", [("sales",), ("items",), ("items", "sales")])
def test_ties_are_decided_alike_whichever_features_are_asked_for(tmp_path: Path, chosen: tuple[str, ...]) -> None:
    rows = [row(BASE, sales=1.0, items=9), row(BASE, sales=2.0, items=3)]
    definition = view(write(tmp_path / "v.parquet", source_table(rows)))
    features = tuple(definition.feature(name) for name in chosen)
    with connect() as con:
        got = point_in_time(con, entity_table([at(BASE)]), [Projection(definition, features)])
    whole = {"sales": 2.0, "items": 3}
    assert got.select(list(chosen)).to_pylist() == [{name: whole[name] for name in chosen}]


def test_ties_prefer_created_over_values_and_known_created_over_unknown(tmp_path: Path) -> None:
    early, late = BASE + MICRO, BASE + timedelta(days=3)
    rows = [row(BASE, sales=9.0), row(BASE, sales=1.0, created=late), row(BASE, sales=5.0, created=early)]
    assert one(rows, [at(BASE)], tmp_path)[0]["sales"] == 1.0
    assert one([rows[0], rows[2]], [at(BASE)], tmp_path)[0]["sales"] == 5.0


def test_the_order_of_the_file_does_not_matter(tmp_path: Path) -> None:
    rows = [row(BASE, sales=float("nan")), row(BASE, sales=2.0), row(BASE), row(BASE, sales=1.0, label="z")]
    answers = {str(one(order, [at(BASE)], tmp_path)) for order in (rows, rows[::-1], rows[2:] + rows[:2])}
    assert answers == {"[{'sales': 2.0, 'items': None, 'label': None}]"}


def test_rows_keep_number_and_order(tmp_path: Path) -> None:
    count = 5000
    entities = [at(BASE + timedelta(minutes=n * 7919 % 600), till=n % 13) for n in range(count)]
    definition = view(write(tmp_path / "v.parquet", source_table([row(BASE, sales=1.0)] * 3)))
    with connect(threads=4) as con:
        got = point_in_time(con, entity_table(entities), [Projection(definition, FEATURES)])
    assert got.select(entity_table([]).column_names) == entity_table(entities)
    assert got.column("sales").to_pylist() == [1.0] * count


def test_null_times_and_null_keys_match_nothing(tmp_path: Path) -> None:
    rows = [row(BASE, sales=1.0), row(BASE, shop=None, sales=2.0), row(None, sales=3.0)]
    got = one(rows, [at(None), at(BASE, shop=None), at(BASE)], tmp_path)
    assert [g["sales"] for g in got] == [None, None, 1.0]


def test_nan_stays_nan_and_null_stays_null(tmp_path: Path) -> None:
    rows = [row(BASE, sales=float("nan")), row(BASE, shop="b", sales=None, items=4)]
    got = one(rows, [at(BASE), at(BASE, shop="b")], tmp_path)
    assert math.isnan(got[0]["sales"])
    assert got[1] == {"sales": None, "items": 4, "label": None}


def test_field_mapping_names_columns_of_the_file(tmp_path: Path) -> None:
    table = source_table([row(BASE, sales=1.5)]).rename_columns(
        ["Geschäft", "till", "Umsatz €", "items", "label", "Zeit", "Angelegt"]
    )
    mapping = (("Geschäft", "shop"), ("Umsatz €", "sales"), ("Zeit", "event"), ("Angelegt", "created"))
    definition = view(write(tmp_path / "v.parquet", table), mapping=mapping)
    with connect() as con:
        got = point_in_time(con, entity_table([at(BASE)]), [Projection(definition, FEATURES[:1])])
        newest = latest_rows(con, definition, BASE)
    assert got.column("sales").to_pylist() == [1.5]
    assert newest.column_names == ["shop", "sales", "items", "label", "__event_ts", "__created_ts"]


def test_awkward_names_and_columns_that_pass_through(tmp_path: Path) -> None:
    table = source_table([row(BASE, sales=1.5)]).rename_columns(
        ["shop", "till", 'q"x y', "items", "sales_y", "event", "created"]
    )
    features = (FieldDef('q"x y', "DOUBLE"), FieldDef("sales_y", "STRING"))
    definition = view(write(tmp_path / "v'v.parquet", table), features=features)
    extra = entity_table([at(BASE)]).append_column("SHOP", pa.array([pa.scalar(1.5, pa.float16())]))
    with connect() as con:
        got = point_in_time(con, extra, [Projection(definition, features)])
    assert got.column('q"x y').to_pylist() == [1.5]
    assert got.column("SHOP") == extra.column("SHOP")


def test_event_timestamps_on_request(tmp_path: Path) -> None:
    definition = view(write(tmp_path / "v.parquet", source_table([row(BASE)])), ttl=timedelta(hours=1))
    with connect() as con:
        got = point_in_time(
            con,
            entity_table([at(BASE + MICRO), at(BASE + timedelta(days=1))]),
            [Projection(definition, FEATURES, "alias")],
            with_event_timestamps=True,
        )
    assert got.column("__event_ts__alias").to_pylist() == [BASE, None]
    assert got.schema.field("__event_ts__alias").type == pa.timestamp("us", "UTC")


def test_folder_of_files_with_columns_in_other_orders(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    (folder / "day=1").mkdir(parents=True)
    write(folder / "a.parquet", source_table([row(BASE, sales=1.0)]))
    newer = source_table([row(BASE + MICRO, sales=2.0)])
    write(folder / "day=1" / "b.parquet", newer.select(newer.column_names[::-1]))
    with connect() as con:
        got = latest_rows(con, view(folder), BASE + timedelta(hours=1))
    assert got.column("sales").to_pylist() == [2.0]


def test_plan_is_one_asof_join_per_view(tmp_path: Path) -> None:
    definition = view(write(tmp_path / "v.parquet", source_table([row(BASE)])))
    with connect() as con:
        plan = explain(con, entity_table([at(BASE)]), [Projection(definition, FEATURES)], JoinOptions())
    assert plan.count("ASOF_JOIN") == 1
    assert "LOOP" not in plan  # what DuckDB takes by itself for an Arrow table, and minutes instead of a second


def test_wide_open_ttl_and_far_times(tmp_path: Path) -> None:
    old, far = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
    got = one([row(old, sales=1.0)], [at(far)], tmp_path, ttl=timedelta.max)
    assert got[0]["sales"] == 1.0
