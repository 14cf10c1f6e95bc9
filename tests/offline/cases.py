"""Generated views and entity rows, small enough that edges meet: few keys, few moments, microseconds beside them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from skewguard.definitions import FieldDef, Projection, SourceDef, ViewDef
from tests.offline import reference

BASE = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # an hour before Europe's clocks change
TIME = pa.timestamp("us", "UTC")
KEYS = (FieldDef("shop", "STRING"), FieldDef("till", "INT64"))
FEATURES = (FieldDef("sales", "DOUBLE"), FieldDef("items", "INT64"), FieldDef("label", "STRING"))
MICRO = timedelta(microseconds=1)

moments = st.builds(
    lambda hours, micros: BASE + timedelta(hours=hours) + micros * MICRO,
    st.integers(0, 5),
    st.sampled_from([-1, 0, 0, 1]),
)
shops = st.sampled_from(["", "a", "b:c", "Ä", None])
tills = st.sampled_from([0, -1, 2**60 + 1, None])
ttls = st.sampled_from([None, MICRO, timedelta(hours=1), timedelta(hours=2, microseconds=1), timedelta.max])


def source_rows(max_size: int = 14) -> st.SearchStrategy[list[dict[str, Any]]]:
    row = st.fixed_dictionaries(
        {
            "shop": shops,
            "till": tills,
            "sales": st.sampled_from([None, float("nan"), 1.5, -2.0, 1e300]),
            "items": st.sampled_from([None, 2**60 + 1, 0, -7]),
            "label": st.sampled_from([None, "", "x"]),
            "event": st.one_of(moments, moments, moments, st.none()),
            "created": st.one_of(moments, st.none()),
        }
    )
    return st.lists(row, max_size=max_size)


def entity_rows(max_size: int = 10) -> st.SearchStrategy[list[dict[str, Any]]]:
    times = st.one_of(moments, moments, moments, st.none())
    row = st.builds(entity_row, shops, tills, shops, times)
    return st.lists(row, max_size=max_size).map(lambda rows: rows + rows[: len(rows) // 3])  # and duplicates


def entity_row(shop: str | None, till: int | None, other: str | None, moment: datetime | None) -> dict[str, Any]:
    return {"shop": shop, "till": till, "other": other, "event_timestamp": moment}


def source_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    schema = pa.schema(
        [
            ("shop", pa.string()),
            ("till", pa.int64()),
            ("sales", pa.float64()),
            ("items", pa.int64()),
            ("label", pa.string()),
            ("event", TIME),
            ("created", TIME),
        ]
    )
    return pa.Table.from_pylist(list(rows), schema)


def entity_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    fields = [("shop", pa.string()), ("till", pa.int64()), ("other", pa.string()), ("event_timestamp", TIME)]
    return pa.Table.from_pylist(list(rows), pa.schema(fields))


def view(
    path: Path,
    *,
    name: str = "v",
    keys: Sequence[FieldDef] = KEYS[:1],
    features: Sequence[FieldDef] = FEATURES,
    ttl: timedelta | None = None,
    created: bool = True,
    mapping: Sequence[tuple[str, str]] = (),
) -> ViewDef:
    source = SourceDef("parquet", str(path), "event", "created" if created else None, tuple(mapping))
    return ViewDef(name, tuple(k.name for k in keys), tuple(keys), tuple(features), ttl, source)


def write(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path)
    return path


def plain(projection: Projection, rows: Sequence[dict[str, Any]], *, full: bool) -> reference.View:
    """A projection as the reference takes it."""
    has_created = projection.view.source.created_timestamp_column is not None
    return reference.View(
        rows=[row if has_created else row | {"created": None} for row in rows],
        keys=[(key.name, column) for key, column in projection.keys],
        features=[f.name for f in projection.features],
        all_features=[f.name for f in projection.view.features],
        ttl=projection.view.ttl,
        prefix=f"{projection.name}__" if full else "",
        has_created=has_created,
    )


def assert_same_rows(got: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]]) -> None:
    assert len(got) == len(expected)
    for index, (a, b) in enumerate(zip(got, expected, strict=True)):
        assert list(a) == list(b), f"row {index}: columns {list(a)} against {list(b)}"
        wrong = {name: (a[name], b[name]) for name in a if not reference.same(a[name], b[name])}
        assert not wrong, f"row {index} (got, expected): {wrong}"
