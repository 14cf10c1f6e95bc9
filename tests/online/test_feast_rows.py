"""Whole rows of any values: our writer and Feast's leave the same bytes in Redis, and either reads the other's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skewguard.definitions import ViewDef
from skewguard.feast_repo import FeastRepo, quiet_feast
from skewguard.online.embedded import EmbeddedRedis
from skewguard.online.materializer import write_rows
from skewguard.online.reader import read_view
from tests.online.views import NOW, dump, rows, view

with quiet_feast():
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.type_map import python_values_to_proto_values
    from feast.value_type import ValueType

FEATURES = {
    "d": "DOUBLE", "f": "FLOAT", "i": "INT64", "n": "INT32", "s": "STRING", "b": "BOOL", "raw": "BYTES",
    "t": "UNIX_TIMESTAMP", "ds": "DOUBLE_LIST", "is_": "INT64_LIST", "ss": "STRING_LIST",
}  # fmt: skip
TEXT = st.text(max_size=200)
SECOND = st.integers(-(10**9), 10**10).map(lambda n: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=n))
# not here: NaN, which equals nothing (test_codec.py has it), and empty bytes alone, which Feast makes a null
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "DOUBLE": st.floats(allow_nan=False), "FLOAT": st.floats(width=32, allow_nan=False),
    "INT64": st.integers(-(2**63), 2**63 - 1), "INT32": st.integers(-(2**31), 2**31 - 1), "STRING": TEXT,
    "BOOL": st.booleans(), "BYTES": st.binary(min_size=1, max_size=200), "UNIX_TIMESTAMP": SECOND,
    "DOUBLE_LIST": st.lists(st.floats(allow_nan=False), max_size=4),
    "INT64_LIST": st.lists(st.integers(-5, 2**40), max_size=4), "STRING_LIST": st.lists(TEXT, max_size=3),
}  # fmt: skip
KEYS = st.tuples(st.sampled_from(["", "a", "b:c", "Ä😀", "\r\n$3\r\n"]), st.sampled_from([0, -1, 2**63 - 1, -(2**63)]))
MOMENT = st.integers(0, 3 * 86_400 * 10**6).map(lambda n: NOW - timedelta(microseconds=n))
EVERY = view("every", {"shop": "STRING", "till": "INT64"}, FEATURES)
ROWS = st.dictionaries(
    KEYS, st.tuples(*(st.none() | VALUES[dtype] for dtype in FEATURES.values()), MOMENT), min_size=1, max_size=6
)
DEFINITIONS = """
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp

shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.STRING)
till = Entity(name="till", join_keys=["till"], value_type=ValueType.INT64)
every = FeatureView(
    name="every", entities=[shop, till], source=FileSource(path="every.parquet", timestamp_field="__event_ts"),
    schema=[Field(name=n, dtype=t) for n, t in dict(
        shop=String, till=Int64, d=Float64, f=Float32, i=Int64, n=Int32, s=String, b=Bool, raw=Bytes, t=UnixTimestamp,
        ds=Array(Float64), is_=Array(Int64), ss=Array(String),
    ).items()],
)
"""


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory, redis_server: EmbeddedRedis) -> FeastRepo:
    folder = tmp_path_factory.mktemp("every")
    pq.write_table(rows(EVERY, [("a", 1, *(None for _ in FEATURES), NOW)]), folder / "every.parquet")
    (folder / "definitions.py").write_text(DEFINITIONS)
    (folder / "feature_store.yaml").write_text(
        "project: every\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        f"online_store: {{type: redis, connection_string: '{redis_server.connection_string}'}}\n"
    )
    made = FeastRepo(folder)
    made.apply()
    return made


def proto(dtype: str, value: Any) -> Value:
    return Value() if value is None else python_values_to_proto_values([value], ValueType[dtype])[0]


def key_proto(key: tuple[str, int]) -> EntityKey:
    values = [proto("STRING", key[0]), proto("INT64", key[1])]
    return EntityKey(join_keys=["shop", "till"], entity_values=values)


def feast_writes(repo: FeastRepo, written: dict[tuple[str, int], tuple[Any, ...]]) -> None:
    batch = [
        (
            key_proto(key),
            {name: proto(dtype, value) for (name, dtype), value in zip(FEATURES.items(), values, strict=True)},
            at,
            None,
        )
        for key, (*values, at) in written.items()
    ]
    store = repo.store
    with quiet_feast():
        store._get_provider().online_write_batch(store.config, repo.feast_view("every"), batch, None)


def feast_reads(repo: FeastRepo, keys: list[tuple[str, int]]) -> list[Any]:
    store = repo.store
    with quiet_feast():
        found = store._get_provider().online_read(
            store.config, repo.feast_view("every"), [key_proto(key) for key in keys], list(FEATURES)
        )
    return [
        (at, {name: value.SerializeToString(deterministic=True) for name, value in values.items()})
        for at, values in found
    ]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=ROWS)
def test_either_writes_and_reads_what_the_other_does(
    written: dict[tuple[str, int], tuple[Any, ...]], repo: FeastRepo, clean_redis: EmbeddedRedis
) -> None:
    client = clean_redis.client()
    definition: ViewDef = repo.view("every")
    table = rows(EVERY, [(*key, *values) for key, values in written.items()])
    keys = list(written)

    client.flushall()
    feast_writes(repo, written)
    theirs, read_by_us = dump(client), read_view(client, "every", definition, table)
    client.flushall()
    assert write_rows(client, "every", definition, table).written == len(keys)
    assert dump(client) == theirs
    assert read_view(client, "every", definition, table).equals(read_by_us)
    assert read_by_us.column("__event_ts").to_pylist() == [values[-1] for values in written.values()]
    for (at, values), (*expected, moment) in zip(feast_reads(repo, keys), written.values(), strict=True):
        assert at.astimezone(UTC) == moment
        for (name, dtype), value in zip(FEATURES.items(), expected, strict=True):
            assert values[name] == proto(dtype, value).SerializeToString(deterministic=True)
    assert write_rows(client, "every", definition, table).unchanged == len(keys)


def test_the_reader_keeps_microseconds(repo: FeastRepo, clean_redis: EmbeddedRedis) -> None:
    at = NOW - timedelta(microseconds=123_457)
    feast_writes(repo, {("a", 1): (*(None for _ in FEATURES), at)})
    asked = pa.table({"shop": ["a"], "till": [1]})
    table = read_view(clean_redis.client(), "every", repo.view("every"), asked)
    assert table.column("__event_ts").to_pylist() == [at]
