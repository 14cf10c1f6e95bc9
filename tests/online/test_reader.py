"""Every state of a row and a field as it is in Redis, aligned with the entity rows."""

from __future__ import annotations

import os
import signal
from typing import Any

import pyarrow as pa
import pytest

from skewguard import dtypes
from skewguard.errors import BadInputError, StoreUnavailableError, UnknownNameError
from skewguard.online.connection import connect
from skewguard.online.embedded import EmbeddedRedis
from skewguard.online.encoding import encode_value
from skewguard.online.key_columns import entity_keys
from skewguard.online.keys import feature_field, timestamp_field
from skewguard.online.materializer import write_rows
from skewguard.online.reader import read_view
from skewguard.online.scan import scan_view
from skewguard.online.timestamps import encode_timestamp
from tests.online.views import NOW, hours, rows, view

STATS = view("stats", {"shop": "STRING", "no": "INT64"}, {"n": "INT64", "x": "DOUBLE", "tags": "STRING_LIST"})
OTHER = view("other", {"no": "INT64", "shop": "STRING"}, {"y": "BOOL"})
ROWS = rows(STATS, [("a", 1, 5, 1.5, ["p"], hours(1)), ("ä", 2, None, None, [], hours(2)), ("", 3, -1, 0.0, None, NOW)])


@pytest.fixture
def client(clean_redis: EmbeddedRedis) -> Any:
    return clean_redis.client()


def entities(*pairs: tuple[str | None, int | None]) -> pa.Table:
    return pa.table(
        {"no": pa.array([n for _, n in pairs], pa.int64()), "shop": pa.array([s for s, _ in pairs], pa.string())}
    )


def key_of(shop: str, number: int, project: str = "prod") -> bytes:
    (key,) = entity_keys(project, STATS.join_keys, entities((shop, number))).to_pylist()
    assert key is not None
    return key


def test_rows_come_back_in_the_order_asked_duplicates_and_all(client: Any) -> None:
    assert write_rows(client, "prod", STATS, ROWS).written == 3
    asked = entities(("", 3), ("a", 1), ("nobody", 9), ("a", 1), (None, 1), ("ä", 2), ("a", None))
    done: list[int] = []
    table = read_view(client, "prod", STATS, asked, batch_size=2, progress=done.append)
    assert table.column_names == [
        "shop", "no", "n", "x", "tags", "__event_ts", "__row_state", "__state__n", "__state__x", "__state__tags",
    ]  # fmt: skip
    assert [table.schema.field(f.name).type for f in STATS.features] == [
        pa.int64(),
        pa.float64(),
        pa.list_(pa.string()),
    ]
    assert table.schema.field("__event_ts").type == dtypes.TIMESTAMP
    assert table.column("shop").to_pylist() == ["", "a", "nobody", "a", None, "ä", "a"]
    assert table.column("no").to_pylist() == [3, 1, 9, 1, 1, 2, None]
    assert table.column("n").to_pylist() == [-1, 5, None, 5, None, None, None]
    assert table.column("tags").to_pylist() == [None, ["p"], None, ["p"], None, [], None]
    assert table.column("__event_ts").to_pylist() == [NOW, hours(1), None, hours(1), None, hours(2), None]
    absent = "key_absent"
    assert table.column("__row_state").to_pylist() == [
        "present",
        "present",
        absent,
        "present",
        absent,
        "present",
        absent,
    ]
    assert table.column("__state__x").to_pylist() == ["value", "value", "absent", "value", "absent", "null", "absent"]
    assert sum(done) == 7


def test_states_that_feast_merges_are_told_apart(client: Any) -> None:
    write_rows(client, "prod", OTHER, rows(OTHER, [(1, "view", True, NOW)]))
    stamp = timestamp_field("stats")
    client.hset(key_of("field", 1), mapping={stamp: encode_timestamp(5_000), feature_field("stats", "n"): b""})
    client.hset(
        key_of("corrupt", 1),
        mapping={
            stamp: encode_timestamp(0) or b"",
            feature_field("stats", "n"): b"\xff",
            feature_field("stats", "x"): encode_value("STRING", "7"),
        },
    )
    client.hset(key_of("stamp", 1), mapping={stamp: b"\xff", feature_field("stats", "n"): encode_value("INT64", 1)})
    client.hset(key_of("stampless", 1), mapping={feature_field("stats", "n"): encode_value("INT64", 1)})
    client.set(key_of("text", 1), "not a hash")
    names = ["view", "field", "corrupt", "stamp", "stampless", "text", "nothing"]
    table = read_view(client, "prod", STATS, entities(*((name, 1) for name in names)))
    found = {row["shop"]: row for row in table.to_pylist()}
    assert {name: row["__row_state"] for name, row in found.items()} == {
        "view": "view_absent", "field": "present", "corrupt": "present", "stamp": "present",
        "stampless": "view_absent", "text": "present", "nothing": "key_absent",
    }  # fmt: skip

    def states(name: str) -> list[str]:
        return [found[name][f"__state__{feature}"] for feature in ("n", "x", "tags")]

    assert states("view") == states("nothing") == ["absent"] * 3
    assert states("field") == ["null", "absent", "absent"]
    assert states("corrupt") == ["corrupt", "corrupt", "absent"]
    assert states("stamp") == states("text") == ["corrupt"] * 3
    assert (states("stampless")[0], found["stampless"]["n"]) == ("value", 1)
    assert found["field"]["__event_ts"].microsecond == 5
    assert found["corrupt"]["__event_ts"].timestamp() == 0
    assert found["stamp"]["__event_ts"] is None


def test_some_features_renamed_columns_and_no_rows(client: Any) -> None:
    write_rows(client, "prod", STATS, ROWS)
    asked = pa.table({"home": ["a"], "no": pa.array([1], pa.int32()), "n": ["not the feature"]})
    table = read_view(client, "prod", STATS, asked, features=["x"], columns={"shop": "home"})
    assert table.to_pylist() == [
        {"shop": "a", "no": 1, "x": 1.5, "__event_ts": hours(1), "__row_state": "present", "__state__x": "value"}
    ]
    assert read_view(client, "prod", STATS, ROWS.slice(0, 0)).num_rows == 0
    assert read_view(client, "prod", STATS, ROWS, features=[]).column("__row_state").to_pylist() == ["present"] * 3
    with pytest.raises(UnknownNameError, match="'nn'"):
        read_view(client, "prod", STATS, ROWS, features=["nn"])
    with pytest.raises(UnknownNameError, match="'shop'"):
        read_view(client, "prod", STATS, pa.table({"no": [1]}))
    with pytest.raises(BadInputError, match="'no'"):
        read_view(client, "prod", STATS, pa.table({"no": ["x"], "shop": ["a"]}))


def test_a_view_without_entities(client: Any) -> None:
    rates = view("rates", {}, {"euro": "DOUBLE"})
    asked = pa.table({"anything": [1, 2, 3]})
    assert scan_view(client, "prod", rates).entities.num_rows == 0
    assert read_view(client, "prod", rates, asked).column("__row_state").to_pylist() == ["key_absent"] * 3
    write_rows(client, "prod", rates, rows(rates, [(1.1, hours(3)), (1.2, hours(1)), (1.3, hours(2))]))
    table = read_view(client, "prod", rates, asked)
    assert table.column("euro").to_pylist() == [1.2] * 3
    assert table.column("__event_ts").to_pylist() == [hours(1)] * 3
    scanned = scan_view(client, "prod", rates).entities
    assert (scanned.num_rows, scanned.column_names) == (1, [])
    assert read_view(client, "prod", rates, scanned).column("euro").to_pylist() == [1.2]


def test_a_scan_finds_the_views_entities_and_no_others(client: Any) -> None:
    for project in ("prod", "nonprod", "prod2"):
        write_rows(client, project, STATS, rows(STATS, [(project, n, 1, 1.0, [], NOW) for n in range(5)]))
    write_rows(client, "prod", OTHER, rows(OTHER, [(9, "other view only", True, NOW)]))
    single = view("stats", {"no": "INT64"}, {"n": "INT64"})
    write_rows(client, "prod", single, rows(single, [(77, 1, NOW)]))
    twin = view("stats", {"shop": "STRING", "no": "INT32"}, {"n": "INT64"})
    write_rows(client, "prod", twin, rows(twin, [("other dtype", 1, 1, NOW)]))
    client.set(b"\x02\x00\x00\x00garbage-prod", "x")
    done: list[int] = []
    stored = scan_view(client, "prod", STATS, batch_size=2, progress=done.append)
    table = stored.entities
    assert table.schema == pa.schema([("shop", pa.string()), ("no", pa.int64())])
    assert sorted(table.to_pylist(), key=lambda row: row["no"]) == [{"shop": "prod", "no": n} for n in range(5)]
    assert sum(done) == 12  # all that the pattern finds, of "nonprod" and under other dtypes too
    assert stored.strays.to_pylist() == [
        {"shop": "other dtype", "__dtype__shop": "STRING", "no": "1", "__dtype__no": "INT32"}
    ]
    assert scan_view(client, "prod", STATS, only=lambda keys: keys.slice(0, 0)).entities.num_rows == 0
    assert scan_view(client, "nonprod", STATS).entities.column("shop").to_pylist() == ["nonprod"] * 5
    assert scan_view(client, "od", STATS).entities.num_rows == 0
    assert scan_view(client, "prod", single).entities.to_pylist() == [{"no": 77}]


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("STRING", ["", "Ä", "x" * 500]), ("BYTES", [b"", b"\x00\xff", b"prod"]), ("INT32", [0, -1, 2**31 - 1]),
        ("INT64", [-(2**63), 0, 2**63 - 1]), ("UNIX_TIMESTAMP", [NOW, hours(10**6), hours(-5)]),
        ("UUID", ["a", "b", ""]),
    ],
)  # fmt: skip
def test_join_keys_of_every_dtype_are_read_and_scanned(client: Any, dtype: str, values: list[Any]) -> None:
    definition = view("v", {"key": dtype}, {"n": "INT64"})
    written = rows(definition, [(value, i, NOW) for i, value in enumerate(values)])
    write_rows(client, "prod", definition, written)
    assert read_view(client, "prod", definition, written).column("n").to_pylist() == [0, 1, 2]
    scanned = scan_view(client, "prod", definition).entities
    assert scanned.schema.field("key").type == dtypes.arrow_type(dtype)
    assert sorted(scanned.column("key").to_pylist()) == sorted(values)


def test_a_server_that_dies_while_it_is_read() -> None:
    with EmbeddedRedis() as server:
        client = connect(server.settings)
        many = rows(OTHER, [(n, "s", True, NOW) for n in range(500)])
        write_rows(client, "prod", OTHER, many)
        seen: list[int] = []

        def kill(count: int) -> None:
            seen.append(count)
            os.kill(server.pid, signal.SIGKILL)

        with pytest.raises(StoreUnavailableError, match="not reachable"):
            read_view(client, "prod", OTHER, many, batch_size=100, progress=kill)
        assert seen[0] == 100
        assert len(seen) < 5
        with pytest.raises(StoreUnavailableError, match="not reachable"):
            scan_view(client, "prod", OTHER)
        client.close()
