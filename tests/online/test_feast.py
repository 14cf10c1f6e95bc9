"""Feast's own Redis store and ours on one Redis: what one writes the other reads, to the byte."""

from __future__ import annotations

import math
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skewguard import dtypes
from skewguard.definitions import ViewDef
from skewguard.feast_repo import FeastRepo, quiet_feast
from skewguard.online.embedded import EmbeddedRedis
from skewguard.online.keys import feature_field, parse_key
from skewguard.online.materializer import delete_view_rows, write_rows
from skewguard.online.reader import read_view
from skewguard.online.scan import scan_view
from tests.online.feast_values import ValueType, feast_bytes, parsed
from tests.online.views import NOW, dump, hours, rows, view

PROJECT = "shops"
SCALARS = ["BYTES", "STRING", "INT32", "INT64", "DOUBLE", "FLOAT", "BOOL", "UNIX_TIMESTAMP"]
COLUMNS = [*SCALARS, *(f"{dtype}_LIST" for dtype in SCALARS)]
FEATURES = {dtype.lower(): dtype for dtype in COLUMNS}
STAMP = datetime(2026, 8, 31, 23, 59, 59, tzinfo=UTC)

DEFINITIONS = """
from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp

shop = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.STRING)
till = Entity(name="till", join_keys=["no"], value_type=ValueType.INT64)
SCALARS = {{"bytes": Bytes, "string": String, "int32": Int32, "int64": Int64, "double": Float64, "float": Float32,
           "bool": Bool, "unix_timestamp": UnixTimestamp}}
schema = [Field(name=name, dtype=dtype) for name, dtype in SCALARS.items()]
schema += [Field(name=name + "_list", dtype=Array(dtype)) for name, dtype in SCALARS.items()]
keys = [Field(name="shop_id", dtype=String), Field(name="no", dtype=Int64)]

every = FeatureView(
    name="every", entities=[till, shop], ttl=timedelta(0), schema=schema + keys,
    source=FileSource(path="{folder}/every.parquet", timestamp_field="at"),
)
other = FeatureView(
    name="other", entities=[shop, till], ttl=timedelta(0), schema=[Field(name="y", dtype=Float64)] + keys,
    source=FileSource(path="{folder}/other.parquet", timestamp_field="at"),
)
rates = FeatureView(
    name="rates", entities=[], ttl=timedelta(0), schema=[Field(name="euro", dtype=Float64)],
    source=FileSource(path="{folder}/rates.parquet", timestamp_field="at"),
)
"""


def example(index: int) -> dict[str, Any]:
    """A value of every column dtype; odd ones at the first indices."""
    values: dict[str, Any] = {
        "BYTES": [b"", b"\x00\xff"], "STRING": ["", "Äpfel 😀\u0000"], "INT32": [-(2**31), 0],
        "INT64": [2**63 - 1, -(2**63)], "DOUBLE": [math.inf, -0.0], "FLOAT": [-math.inf, 0.1],
        "BOOL": [False, True], "UNIX_TIMESTAMP": [STAMP, hours(10**6)],
    }  # fmt: skip
    plain = {
        "BYTES": b"x" * index, "STRING": "t" * index, "INT32": index, "INT64": index * 2**40, "DOUBLE": index / 7,
        "FLOAT": index / 7, "BOOL": index % 2 == 0, "UNIX_TIMESTAMP": STAMP + timedelta(seconds=index),
    }  # fmt: skip
    chosen = {dtype: values[dtype][index] if index < 2 else plain[dtype] for dtype in SCALARS}
    return {**chosen, **{f"{dtype}_LIST": [chosen[dtype]] * (index % 4) for dtype in SCALARS}}


EVERY = view("every", {"shop_id": "STRING", "no": "INT64"}, FEATURES)
KEYS = [("Äpfel", 1), ("", -1), ("b:c", 2**62), ("shops", 0), ("x" * 200, 7), ("d", 5)]


def every_row(index: int, at: datetime) -> tuple[Any, ...]:
    return (*KEYS[index], *(example(index)[dtype] for dtype in COLUMNS), at)


KEY = {"shop_id": "a", "no": 1}
FULL = rows(EVERY, [every_row(i, hours(i + 1) + timedelta(microseconds=i * 1001)) for i in range(6)])


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory, redis_server: EmbeddedRedis) -> FeastRepo:
    folder = tmp_path_factory.mktemp("shops")
    put(folder, FULL, "every")
    put(
        folder,
        rows(view("other", {"shop_id": "STRING", "no": "INT64"}, {"y": "DOUBLE"}), [("a", 1, 1.5, NOW)]),
        "other",
    )
    put(folder, rows(view("rates", {}, {"euro": "DOUBLE"}), [(1.1, hours(2))]), "rates")
    (folder / "definitions.py").write_text(DEFINITIONS.format(folder=folder), encoding="utf-8")
    (folder / "feature_store.yaml").write_text(
        f"project: {PROJECT}\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        "offline_store:\n  type: duckdb\n"
        f"online_store:\n  type: redis\n  connection_string: {redis_server.connection_string}\n",
        encoding="utf-8",
    )
    made = FeastRepo(folder)
    made.apply()
    return made


@pytest.fixture
def client(clean_redis: EmbeddedRedis) -> Any:
    return clean_redis.client()


def put(folder: Path, table: pa.Table, name: str) -> None:
    names = ["at" if column == "__event_ts" else column for column in table.column_names]
    pq.write_table(table.rename_columns(names), folder / f"{name}.parquet")


def feast_materialize(repo: FeastRepo, name: str) -> None:
    with quiet_feast():
        repo.store.materialize(NOW - timedelta(days=2000), NOW + timedelta(days=1), feature_views=[name])


def feast_read(repo: FeastRepo, references: list[str], keys: list[tuple[str, int]]) -> dict[str, list[Any]]:
    with quiet_feast():
        entity_rows = [{"shop_id": shop, "no": number} for shop, number in keys]
        found: dict[str, list[Any]] = repo.store.get_online_features(references, entity_rows=entity_rows).to_dict()
    return found


def every_view(repo: FeastRepo) -> ViewDef:
    definition = repo.view("every")
    assert {f.name: f.dtype for f in definition.features} == FEATURES
    return definition


def test_a_materialization_has_feasts_bytes_for_every_type(repo: FeastRepo, client: Any) -> None:
    put(repo.path, FULL, "every")
    feast_materialize(repo, "every")
    theirs = dump(client)
    assert len(theirs) == 6
    assert all(len(fields) == len(COLUMNS) + 1 for fields in theirs.values())
    client.flushall()
    assert write_rows(client, PROJECT, every_view(repo), FULL).written == 6
    assert dump(client) == theirs


def test_nulls_and_nan_have_feasts_bytes_but_for_the_null_timestamp(repo: FeastRepo, client: Any) -> None:
    nothing = rows(EVERY, [(*KEYS[0], *(None for _ in COLUMNS), hours(1)), every_row(3, hours(2))])
    nan = rows(view("x", {}, {"double": "DOUBLE"}), [(math.nan, NOW), (1.5, NOW)]).column("double")
    table = nothing.set_column(nothing.column_names.index("double"), "double", nan)
    put(repo.path, table, "every")
    feast_materialize(repo, "every")
    theirs = dump(client)
    client.flushall()
    assert write_rows(client, PROJECT, every_view(repo), table).written == 2
    ours = dump(client)
    field = feature_field("every", "unix_timestamp")
    differing = {
        (key, name) for key, fields in theirs.items() for name, raw in fields.items() if ours[key][name] != raw
    }
    assert [(parse_key(key).values, name) for key, name in differing] == [((1, "Äpfel"), field)]
    ((key, _),) = differing
    assert parsed(theirs[key][field]).unix_timestamp_val == -(2**63)
    assert ours[key][field] == b""
    read = read_view(client, PROJECT, every_view(repo), table)
    assert [read.column(f"__state__{name}")[0].as_py() for name in FEATURES] == ["null"] * len(FEATURES)


def test_we_read_what_feast_wrote(repo: FeastRepo, client: Any) -> None:
    put(repo.path, FULL, "every")
    feast_materialize(repo, "every")
    asked = pa.concat_tables([FULL, rows(EVERY, [("nobody", 1, *(None for _ in COLUMNS), NOW)])])
    read = read_view(client, PROJECT, every_view(repo), asked)
    assert read.column("__row_state").to_pylist() == ["present"] * 6 + ["key_absent"]
    for name in (*FEATURES, "__event_ts"):
        assert read.column(name).slice(0, 6).to_pylist() == FULL.column(name).to_pylist(), name
        assert read.column(name).type == FULL.column(name).type
    scanned = scan_view(client, PROJECT, every_view(repo)).entities.to_pylist()
    assert sorted((row["shop_id"], row["no"]) for row in scanned) == sorted(KEYS)
    assert scan_view(client, PROJECT, repo.view("other")).entities.num_rows == 0


def test_feast_reads_what_we_wrote(repo: FeastRepo, client: Any) -> None:
    write_rows(client, PROJECT, every_view(repo), FULL)
    found = feast_read(repo, [f"every:{name}" for name in FEATURES], [*KEYS, ("nobody", 1)])
    for name in FEATURES:
        expected = FULL.column(name).to_pylist()
        assert found[name] == [*expected, None], name


def test_every_value_type_through_feasts_write_and_read(repo: FeastRepo, client: Any) -> None:
    """All of Value.proto, also what Feast's materialization cannot write from Arrow."""
    values: dict[str, Any] = {
        **example(3),
        "INT64_SET": [1], "STRING_SET": ["a"], "DOUBLE_SET": [1.5], "BOOL_SET": [True], "BYTES_SET": [b"a"],
        "INT32_SET": [2], "FLOAT_SET": [0.5], "UNIX_TIMESTAMP_SET": [STAMP], "UUID": str(UUID(int=1)),
        "TIME_UUID": str(UUID(int=2)), "DECIMAL": "1.50", "UUID_LIST": [str(UUID(int=3))], "DECIMAL_LIST": ["2.0"],
        "TIME_UUID_LIST": [str(UUID(int=3))], "UUID_SET": [str(UUID(int=4))], "TIME_UUID_SET": [str(UUID(int=4))],
        "DECIMAL_SET": ["1"], "JSON": '{"a":1}', "JSON_LIST": ['{"a":1}'], "MAP": {"a": 1}, "MAP_LIST": [{"a": None}],
        "STRUCT": {"b": "x"}, "STRUCT_LIST": [{"b": [1.5]}], "VALUE_LIST": [[1, 2]], "VALUE_SET": [["a"]],
        "SCALAR_MAP": {5: "x"}, "ZONED_TIMESTAMP": STAMP,
    }  # fmt: skip
    assert {t.name for t in ValueType} - set(values) == {"UNKNOWN", "NULL", "PDF_BYTES", "IMAGE_BYTES"}
    protos = {dtype: parsed(feast_bytes(dtype, [value])[0]) for dtype, value in values.items()}
    definition = view("every", {"shop_id": "STRING", "no": "INT64"}, {dtype: dtype for dtype in values})
    config, table = repo.store.config, repo.feast_view("every")
    keys = [feast_entity("Äpfel", 1), feast_entity("", -1)]
    store = repo.store._get_provider().online_store
    store.online_write_batch(config, table, [(keys[0], protos, hours(1), None)], None)
    asked = pa.table({"shop_id": ["Äpfel"], "no": [1]})
    read = read_view(client, PROJECT, definition, asked)
    states = {dtype: read.column(f"__state__{dtype}")[0].as_py() for dtype in values}
    assert set(states.values()) == {"value"}, states
    # what we read, written again under another key, is what Feast reads there
    again = read.set_column(0, "shop_id", pa.array([""])).set_column(1, "no", pa.array([-1]))
    assert write_rows(client, PROJECT, definition, again).written == 1
    ((_, first), (stamp, second)) = store.online_read(config, table, keys, list(values))
    assert stamp == hours(1)
    for dtype in values:
        if dtype != "ZONED_TIMESTAMP":  # its zone's name is not part of the text in Arrow
            assert second[dtype] == first[dtype], dtype
    assert second["ZONED_TIMESTAMP"].zoned_timestamp_val.unix_timestamp == int(STAMP.timestamp())


def feast_entity(shop: str, number: int) -> Any:
    with quiet_feast():
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    values = [parsed(feast_bytes("STRING", [shop])[0]), parsed(feast_bytes("INT64", [number])[0])]
    return EntityKey(join_keys=["shop_id", "no"], entity_values=values)


def test_two_views_share_a_key_and_do_not_disturb_each_other(repo: FeastRepo, client: Any) -> None:
    definition = repo.view("other")
    put(repo.path, rows(definition, [(*(KEY[key.name] for key in definition.join_keys), 1.5, NOW)]), "other")
    feast_materialize(repo, "other")
    write_rows(client, PROJECT, every_view(repo), rows(EVERY, [("a", 1, *every_row(2, NOW)[2:])]))
    assert client.dbsize() == 1
    assert feast_read(repo, ["other:y", "every:int32"], [("a", 1)])["y"] == [1.5]
    keys = pa.table({"shop_id": ["a"], "no": [1]})
    assert delete_view_rows(client, PROJECT, every_view(repo), keys) == 1
    found = feast_read(repo, ["other:y", "every:int32"], [("a", 1)])
    assert (found["y"], found["int32"]) == ([1.5], [None])


def test_a_view_without_entities_is_where_feast_looks_for_it(repo: FeastRepo, client: Any) -> None:
    rates = repo.view("rates")
    with pytest.raises(ValueError, match="__dummy_id"):  # KNOWN: Feast on DuckDB cannot materialize such a view
        feast_materialize(repo, "rates")
    write_rows(client, PROJECT, rates, rows(rates, [(1.2, hours(1))]))
    assert feast_read(repo, ["rates:euro"], [("a", 1), ("b", 2)])["euro"] == [1.2, 1.2]


def other_rows(repo: FeastRepo, value: float, at: datetime, count: int = 30) -> tuple[ViewDef, pa.Table]:
    definition = repo.view("other")
    order = [key.name for key in definition.join_keys]
    values = [{"shop_id": "s", "no": n} for n in range(count)]
    return definition, rows(definition, [(*(row[name] for name in order), value, at) for row in values])


def test_a_correction_that_feast_refuses_arrives_with_us(repo: FeastRepo, client: Any) -> None:
    definition, first = other_rows(repo, 1.0, NOW, 1)
    put(repo.path, first, "other")
    feast_materialize(repo, "other")
    corrected = first.set_column(first.column_names.index("y"), "y", pa.array([2.0]))
    put(repo.path, corrected, "other")
    feast_materialize(repo, "other")
    assert feast_read(repo, ["other:y"], [("s", 0)])["y"] == [1.0]
    assert write_rows(client, PROJECT, definition, corrected).overwritten_equal == 1
    assert feast_read(repo, ["other:y"], [("s", 0)])["y"] == [2.0]
    feast_materialize(repo, "other")
    assert feast_read(repo, ["other:y"], [("s", 0)])["y"] == [2.0]


def test_our_writers_never_undo_a_newer_row_of_feast(repo: FeastRepo, client: Any, redis_server: EmbeddedRedis) -> None:
    definition, newest = other_rows(repo, 9.0, NOW)
    _, oldest = other_rows(repo, 1.0, hours(50))
    write_rows(client, PROJECT, definition, oldest)
    put(repo.path, newest, "other")
    stop = threading.Event()
    stamp_column = oldest.column_names.index("__event_ts")

    def write_older(seed: int) -> None:
        own = redis_server.client()
        count = 0
        while not stop.is_set():
            count += 1
            at = hours(40) + timedelta(seconds=count * 2 + seed)
            older = oldest.set_column(stamp_column, "__event_ts", pa.array([at] * oldest.num_rows, dtypes.TIMESTAMP))
            write_rows(own, PROJECT, definition, older, batch_size=7)

    threads = [threading.Thread(target=write_older, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    try:
        feast_materialize(repo, "other")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    read = read_view(client, PROJECT, definition, newest)
    assert set(read.column("__event_ts").to_pylist()) == {NOW}
    assert set(read.column("y").to_pylist()) == {9.0}
    assert read.schema.field("y").type == dtypes.arrow_type("DOUBLE")


def test_decimal_texts_come_back_as_feasts_decimals(repo: FeastRepo, client: Any) -> None:
    definition = view("every", {"shop_id": "STRING", "no": "INT64"}, {"price": "DECIMAL"})
    write_rows(client, PROJECT, definition, rows(definition, [("Äpfel", 1, "1.50", NOW)]))
    store = repo.store._get_provider().online_store
    keys = [feast_entity("Äpfel", 1)]
    ((_, found),) = store.online_read(repo.store.config, repo.feast_view("every"), keys, ["price"])
    with quiet_feast():
        from feast.type_map import feast_value_type_to_python_type
    assert feast_value_type_to_python_type(found["price"]) == Decimal("1.50")
