"""Rows read from Parquet and Redis in chunks of any size, against the same rows built the slow and obvious way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skewguard import dtypes
from skewguard.checks.parity import check_parity
from skewguard.compare.sides import ViewSides
from skewguard.config import Policy
from skewguard.definitions import FieldDef, ViewDef
from skewguard.digest import sample_mask
from skewguard.findings import CheckResult
from skewguard.offline.evidence import SourceEvidence
from skewguard.offline.sources import connect as connect_offline
from skewguard.online.embedded import EmbeddedRedis
from skewguard.online.materializer import write_rows
from skewguard.online.side import RedisSide
from skewguard.sql import EVENT_TS
from skewguard.view_rows import Reading, StoredOutside, StoredRows
from tests.checks.builders import NOW, Online, Row, hours, sides, view

FEATURES = (FieldDef("x", "DOUBLE"), FieldDef("n", "INT64"), FieldDef("tags", "STRING_LIST"))
WATERMARK = hours(6)
STAMP = pa.timestamp("us", tz="UTC")

values = st.tuples(
    st.sampled_from([None, float("nan"), 0.5, 1.0, 100.0]),
    st.sampled_from([None, 0, 7]),
    st.sampled_from([None, [], ["a"], ["a", "b"]]),
)
offline_rows = st.builds(
    Row, key=st.integers(0, 7), event=st.sampled_from([hours(n) for n in (1, 4, 6, 7, 9, 30)]), values=values,
    created=st.sampled_from([hours(n) for n in (0.5, 5, 8)]),
)  # fmt: skip
online_rows = st.builds(
    Online, key=st.integers(0, 9), event=st.sampled_from([hours(n) for n in (1, 6, 7, 30)]), values=values
)


@pytest.fixture(scope="module")
def redis() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as server:
        yield server


def source_of(rows: list[Row], path: Path) -> None:
    columns: dict[str, Any] = {"key": pa.array([r.key for r in rows], pa.int64())}
    for index, feature in enumerate(FEATURES):
        columns[feature.name] = pa.array([r.values[index] for r in rows], dtypes.arrow_type(feature.dtype))
    columns["event_timestamp"] = pa.array([r.event for r in rows], STAMP)
    columns["created"] = pa.array([r.created for r in rows], STAMP)
    pq.write_table(pa.table(columns), path)


def online_table(rows: list[Online]) -> pa.Table:
    columns: dict[str, Any] = {"key": pa.array([r.key for r in rows], pa.int64())}
    for index, feature in enumerate(FEATURES):
        columns[feature.name] = pa.array([r.values[index] for r in rows], dtypes.arrow_type(feature.dtype))
    return pa.table({**columns, EVENT_TS: pa.array([r.event for r in rows], STAMP)})


def stored_sides(con: Any, client: Any, definition: ViewDef, sample: float, chunk_rows: int) -> ViewSides:
    reading = Reading(
        con, RedisSide(client, "p"), "p", definition, FEATURES, NOW, WATERMARK, sample, chunk_rows=chunk_rows
    )
    return ViewSides(
        definition, FEATURES, NOW, WATERMARK, StoredRows(reading), SourceEvidence(con, definition, FEATURES, WATERMARK),
        StoredOutside(reading),
    )  # fmt: skip


def told(result: CheckResult) -> Any:
    """All that a result says, but for the time that it took."""
    findings = sorted(
        (f.key, f.count, f.compared, f.message, repr(f.evidence), repr(f.samples)) for f in result.findings
    )
    return result.population, result.compared, findings, repr(result.features), result.details


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    offline=st.lists(offline_rows, max_size=16, unique_by=lambda r: (r.key, r.event, r.created)),
    online=st.lists(online_rows, max_size=9, unique_by=lambda r: r.key),
    ttl=st.sampled_from([None, timedelta(hours=8)]),
    sample=st.sampled_from([1.0, 0.5]),
)
def test_chunks_of_any_size_say_what_the_whole_says(
    redis: EmbeddedRedis, tmp_path: Path, offline: list[Row], online: list[Online], ttl: timedelta | None, sample: float
) -> None:
    client = redis.client()
    client.flushall()
    path = tmp_path / "rows.parquet"
    source_of(offline, path)
    plain = view(*FEATURES, ttl=ttl)
    definition = replace(plain, source=replace(plain.source, path=str(path)))
    write_rows(client, "p", definition, online_table(online))
    policy = Policy().for_service("s")
    kept = set(range(10)) if sample == 1 else sampled(range(10), sample)
    offline, online = ([row for row in rows if row.key in kept] for rows in (offline, online))
    seen = {row.key: row for row in online}
    # Redis keeps NaN as null
    asked = [replace(r, values=tuple(None if v != v else v for v in r.values)) for _, r in sorted(seen.items())]
    expected = told(check_parity([sides(definition, offline, asked, watermark=WATERMARK)], policy))
    with connect_offline() as con:
        for chunk_rows in (1, 3, 60_000):
            both = stored_sides(con, client, definition, sample, chunk_rows)
            assert told(check_parity([both], policy)) == expected
        assert not con.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    client.close()


def sampled(keys: range, share: float) -> set[int]:
    table = pa.table({"key": pa.array(keys, pa.int64())})
    return set(table.filter(pa.array(sample_mask(table, ["key"], share))).column("key").to_pylist())


def test_the_rows_are_read_once_until_they_are_closed(redis: EmbeddedRedis, tmp_path: Path) -> None:
    client = redis.client()
    client.flushall()
    path = tmp_path / "rows.parquet"
    rows = [Row(k, hours(7), (1.0, 1, None), hours(7)) for k in range(5)]
    source_of(rows, path)
    plain = view(*FEATURES)
    definition = replace(plain, source=replace(plain.source, path=str(path)))
    moved: list[datetime] = [hours(1)]
    with connect_offline() as con:
        both = stored_sides(con, client, definition, 1.0, 2)
        first = [chunk.truth.num_rows for chunk in both.rows.chunks()]
        source_of([*rows, Row(9, moved[0], (1.0, 1, None), hours(1))], path)
        again = [chunk.truth.num_rows for chunk in both.rows.chunks()]
        both.rows.close()
        anew = [chunk.truth.num_rows for chunk in both.rows.chunks()]
    client.close()
    assert (first, again, anew) == ([2, 2, 1], [2, 2, 1], [2, 2, 2])
