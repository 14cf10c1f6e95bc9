"""The newest row stays whoever writes, corrections and new fields arrive, and runs that break off converge."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skewguard.definitions import FieldDef, ViewDef
from skewguard.errors import BadInputError, StoreUnavailableError, UnknownNameError
from skewguard.online.connection import RedisSettings, connect
from skewguard.online.embedded import EmbeddedRedis
from skewguard.online.key_columns import entity_keys
from skewguard.online.keys import feature_field, timestamp_field
from skewguard.online.materializer import WriteStats, delete_view_rows, write_rows
from skewguard.online.reader import read_view
from skewguard.online.scan import scan_view
from skewguard.online.timestamps import encode_timestamp
from tests.online.views import NOW, dump, hours, rows, view

V = view("v", {"k": "INT64"}, {"a": "INT64", "b": "STRING"})
W = view("w", {"k": "INT64"}, {"a": "DOUBLE"})


@pytest.fixture
def client(clean_redis: EmbeddedRedis) -> Any:
    return clean_redis.client()


def one(key: int, a: int | None, b: str | None, at: datetime) -> pa.Table:
    return rows(V, [(key, a, b, at)])


def counts(stats: WriteStats) -> dict[str, int]:
    names = ("written", "overwritten_equal", "filled", "unchanged", "skipped_newer", "skipped_equal", "null_keys")
    return {name: getattr(stats, name) for name in names if getattr(stats, name)}


def online(client: Any, definition: ViewDef = V, key: int = 1) -> dict[str, Any]:
    (row,) = read_view(client, "p", definition, pa.table({"k": [key]})).to_pylist()
    return dict(row)


def test_newer_equal_and_older_rows(client: Any) -> None:
    assert counts(write_rows(client, "p", V, one(1, 5, "x", hours(2)))) == {"written": 1}
    assert counts(write_rows(client, "p", V, one(1, 6, "x", hours(1)))) == {"written": 1}
    assert counts(write_rows(client, "p", V, one(1, 7, "x", hours(2)))) == {"skipped_newer": 1}
    assert (online(client)["a"], online(client)["__event_ts"]) == (6, hours(1))
    assert counts(write_rows(client, "p", V, one(1, 6, "x", hours(1)))) == {"unchanged": 1}
    assert counts(write_rows(client, "p", V, one(1, None, "y", hours(1)))) == {"overwritten_equal": 1}
    assert (online(client)["a"], online(client)["b"], online(client)["__state__a"]) == (None, "y", "null")
    late = one(1, 9, "z", hours(1))
    assert counts(write_rows(client, "p", V, late, overwrite_equal=False)) == {"skipped_equal": 1}
    assert online(client)["b"] == "y"


def test_a_feature_added_later_is_filled_in(client: Any) -> None:
    narrow = ViewDef(V.name, V.entities, V.join_keys, V.features[:1], None, V.source)
    write_rows(client, "p", narrow, one(1, 5, None, NOW).drop_columns(["b"]))
    assert online(client)["__state__b"] == "absent"
    other = one(1, 6, "new", NOW)
    assert counts(write_rows(client, "p", V, other, overwrite_equal=False)) == {"filled": 1}
    assert (online(client)["a"], online(client)["b"]) == (5, "new")
    client.hdel(client.keys("*")[0], feature_field("v", "b"))
    assert counts(write_rows(client, "p", V, one(1, 5, "new", NOW))) == {"filled": 1}
    assert counts(write_rows(client, "p", V, one(1, 5, "new", NOW))) == {"unchanged": 1}


def test_a_dry_run_counts_and_writes_nothing(client: Any) -> None:
    write_rows(client, "p", V, rows(V, [(1, 1, "x", hours(5)), (2, 1, "x", hours(1)), (3, 1, "x", hours(2))]))
    before = dump(client)
    mixed = rows(
        V, [(1, 2, "y", hours(4)), (2, 2, "y", hours(3)), (3, 2, "y", hours(2)), (4, 1, "", NOW), (None, 1, "", NOW)]
    )
    expected = {"written": 2, "overwritten_equal": 1, "skipped_newer": 1, "null_keys": 1}
    dry = write_rows(client, "p", V, mixed, dry_run=True, key_ttl_seconds=100)
    assert counts(dry) == expected
    assert (dry.rows, dry.changed) == (5, 3)
    assert dump(client) == before
    assert all(client.ttl(key) == -1 for key in before)
    assert counts(write_rows(client, "p", V, mixed)) == expected
    assert scan_view(client, "p", V).entities.num_rows == 4


TIMES = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999) | st.integers(-2_000_001, 2_000_001)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stored=TIMES, given_=TIMES | st.none(), nearby=st.integers(-1, 1))
def test_the_comparison_inside_redis_is_exact_at_every_age(
    clean_redis: EmbeddedRedis, stored: int, given_: int | None, nearby: int
) -> None:
    client = clean_redis.client()
    client.flushall()
    limit = 253_402_300_799_999_999
    new = max(-62_135_596_800_000_000, min(limit, stored + nearby)) if given_ is None else given_
    for micros, value in ((stored, 1), (new, 2)):
        stamp = pa.array([micros], pa.int64()).cast(pa.timestamp("us", "UTC"))
        stats = write_rows(client, "p", V, pa.table({"k": [1], "a": [value], "b": ["x"], "__event_ts": stamp}))
    outcome = "overwritten_equal" if new == stored else "written" if new > stored else "skipped_newer"
    assert counts(stats) == {outcome: 1}
    (key,) = client.keys("*")
    assert client.hget(key, timestamp_field("v")) == encode_timestamp(max(stored, new) * 1000)


def test_rows_of_one_entity_in_one_call(client: Any) -> None:
    several = rows(V, [(1, 1, "x", hours(1)), (1, 2, "x", hours(3)), (1, 3, "x", hours(1)), (1, 4, "x", hours(2))])
    assert counts(write_rows(client, "p", V, several)) == {"written": 1, "skipped_newer": 2, "overwritten_equal": 1}
    assert online(client)["a"] == 3


def test_a_timestamp_that_does_not_decode_is_overwritten(client: Any) -> None:
    (key,) = entity_keys("p", V.join_keys, pa.table({"k": [1]})).to_pylist()
    for junk in (b"\xff", b"\x08\x80", b"\x08" + b"\xff" * 8 + b"\x01", b"\x12\x00", b"\x10\x80\x94\xeb\xdc\x03"):
        client.hset(key, timestamp_field("v"), junk)
        assert counts(write_rows(client, "p", V, one(1, 1, "x", hours(9)))) == {"written": 1}
        assert online(client)["__event_ts"] == hours(9)


def test_keys_expire_and_every_confirmed_row_renews_that(client: Any) -> None:
    row = one(1, 1, "x", NOW)
    write_rows(client, "p", V, row, key_ttl_seconds=1000)
    (key,) = client.keys("*")
    for again, expected in ((row, "unchanged"), (one(1, 2, "x", NOW), "overwritten_equal")):
        client.expire(key, 5)
        assert counts(write_rows(client, "p", V, again, key_ttl_seconds=1000)) == {expected: 1}
        assert client.ttl(key) > 900
    client.expire(key, 5)
    write_rows(client, "p", V, one(1, 1, "x", hours(1)), key_ttl_seconds=1000)
    assert client.ttl(key) <= 5


def test_a_very_wide_view(client: Any) -> None:
    wide = view("wide", {"k": "INT64"}, {f"f{i}": "INT64" for i in range(3000)})
    table = rows(wide, [(1, *range(3000), NOW)])
    assert counts(write_rows(client, "p", wide, table)) == {"written": 1}
    changed = table.set_column(2999, "f2998", pa.array([-1], pa.int64()))
    assert counts(write_rows(client, "p", wide, changed)) == {"overwritten_equal": 1}
    assert read_view(client, "p", wide, table).column("f2998").to_pylist() == [-1]
    assert delete_view_rows(client, "p", wide, table) == 1
    assert client.dbsize() == 0


def test_rows_that_do_not_fit_are_refused_before_anything_is_written(client: Any) -> None:
    good = one(1, 1, "x", NOW)
    with pytest.raises(UnknownNameError, match="'b'"):
        write_rows(client, "p", V, good.drop_columns(["b"]))
    with pytest.raises(UnknownNameError, match="'__event_ts'"):
        write_rows(client, "p", V, good.drop_columns(["__event_ts"]))
    with pytest.raises(BadInputError, match="null in 1 rows"):
        write_rows(client, "p", V, pa.concat_tables([good, rows(V, [(2, 1, "x", None)])]))
    with pytest.raises(BadInputError, match="column 'a', a INT64 column"):
        write_rows(client, "p", V, good.set_column(1, "a", pa.array([1.5])))
    with pytest.raises(BadInputError, match="timestamp column"):
        write_rows(client, "p", V, good.set_column(3, "__event_ts", pa.array([1])))
    with pytest.raises(BadInputError, match="batch_size"):
        write_rows(client, "p", V, good, batch_size=0)
    far = pa.array([2**62], pa.int64()).cast(pa.timestamp("us", "UTC"))
    with pytest.raises(BadInputError, match="years 1 to 9999"):
        write_rows(client, "p", V, good.set_column(3, "__event_ts", far))
    assert client.dbsize() == 0
    assert write_rows(client, "p", V, good.slice(0, 0)).rows == 0


def test_naive_and_nanosecond_timestamps(client: Any) -> None:
    naive = pa.array([datetime(2026, 9, 1, 12)], pa.timestamp("ms"))  # noqa: DTZ001
    nanos = pa.array([1_788_264_000_000_000_999], pa.timestamp("ns", "Asia/Tokyo"))
    for column in (naive, nanos):
        client.flushall()
        write_rows(client, "p", V, one(1, 1, "x", NOW).set_column(3, "__event_ts", column))
        assert online(client)["__event_ts"] == NOW.astimezone(UTC)


# -- deleting ---------------------------------------------------------------------------------------------------------


def test_deleting_a_view_leaves_the_others(client: Any) -> None:
    write_rows(client, "p", V, rows(V, [(1, 1, "x", NOW), (2, 1, "x", NOW)]))
    write_rows(client, "p", W, rows(W, [(1, 1.5, NOW)]))
    keys = pa.table({"k": pa.array([1, 2, 3, None], pa.int64())})
    before = dump(client)
    assert delete_view_rows(client, "p", V, keys, dry_run=True) == 2
    assert dump(client) == before
    done: list[int] = []
    assert delete_view_rows(client, "p", V, keys, batch_size=3, progress=done.append) == 2
    assert (sum(done), client.dbsize()) == (4, 1)
    assert (online(client)["__row_state"], online(client, W)["a"]) == ("view_absent", 1.5)
    assert online(client, key=2)["__row_state"] == "key_absent"
    assert delete_view_rows(client, "p", V, keys) == 0
    assert delete_view_rows(client, "p", W, keys) == 1
    assert client.dbsize() == 0


def test_deleting_never_takes_a_newer_row(client: Any) -> None:
    write_rows(client, "p", V, rows(V, [(n, 1, "x", hours(2)) for n in range(4)]))
    limits = pa.array([hours(3), hours(2), hours(1), None], pa.timestamp("us", "UTC"))
    table = pa.table({"k": [0, 1, 2, 3], "__event_ts": limits})
    assert delete_view_rows(client, "p", V, table, dry_run=True) == 3
    assert delete_view_rows(client, "p", V, table) == 3
    assert scan_view(client, "p", V).entities.column("k").to_pylist() == [0]


def test_a_feature_whose_field_looks_like_a_timestamp_does_not_keep_the_key(client: Any) -> None:
    write_rows(client, "p", V, one(1, 1, "x", NOW))
    (key,) = client.keys("*")
    client.hset(key, b"_ts:", b"four bytes, as a murmur hash may have them")
    assert delete_view_rows(client, "p", V, pa.table({"k": [1]})) == 1
    assert client.dbsize() == 0


# -- many writers, and breaking off -----------------------------------------------------------------------------------

ENTITIES, VERSIONS = 40, 12


def version(number: int, order: list[int]) -> pa.Table:
    at = hours(100) + timedelta(hours=number)
    return rows(V, [(key, number, str(number), at) for key in order])


def write_in_any_order(settings_: RedisSettings, seed: int, numbers: list[int]) -> None:
    client = connect(settings_)
    shuffled = random.Random(seed)
    for _ in range(3):
        shuffled.shuffle(numbers)
        for number in numbers:
            order = list(range(ENTITIES))
            shuffled.shuffle(order)
            write_rows(client, "p", V, version(number, order), batch_size=7)
    client.close()


def final(client: Any) -> list[tuple[int, str]]:
    table = read_view(client, "p", V, pa.table({"k": list(range(ENTITIES))}))
    assert set(table.column("__event_ts").to_pylist()) == {hours(100) + timedelta(hours=VERSIONS - 1)}
    return list(zip(table.column("a").to_pylist(), table.column("b").to_pylist(), strict=True))


NEWEST = [(VERSIONS - 1, str(VERSIONS - 1))] * ENTITIES


def test_the_newest_row_wins_among_threads(clean_redis: EmbeddedRedis) -> None:
    """Four writers at the same moment, round after round, each version written once: nothing mends a lost race."""
    writers, rounds, order = 4, 60, list(range(ENTITIES))
    barrier = threading.Barrier(writers, timeout=60)
    seen: list[set[int]] = []

    def write(place: int) -> None:
        client = clean_redis.client()
        for number in range(rounds):
            barrier.wait()
            write_rows(client, "p", V, version(number * writers + place, order))
            barrier.wait()
            if place == 0:
                seen.append(set(read_view(client, "p", V, pa.table({"k": order})).column("a").to_pylist()))

    threads = [threading.Thread(target=write, args=(place,)) for place in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [{number * writers + writers - 1} for number in range(rounds)]


def test_the_newest_row_wins_among_processes(clean_redis: EmbeddedRedis) -> None:
    context = multiprocessing.get_context("spawn")
    halves = [list(range(0, VERSIONS, 2)), list(range(1, VERSIONS, 2)), list(range(VERSIONS))]
    workers = [
        context.Process(target=write_in_any_order, args=(clean_redis.settings, seed, numbers))
        for seed, numbers in enumerate(halves)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert final(clean_redis.client()) == NEWEST


def test_readers_never_see_half_a_row(clean_redis: EmbeddedRedis) -> None:
    writer = threading.Thread(target=write_in_any_order, args=(clean_redis.settings, 1, list(range(VERSIONS))))
    client = clean_redis.client()
    table = pa.table({"k": list(range(ENTITIES))})
    writer.start()
    seen = 0
    while writer.is_alive():
        for row in read_view(client, "p", V, table).to_pylist():
            if row["__row_state"] == "present":
                seen += 1
                assert row["b"] == str(row["a"])
                assert row["__event_ts"] == hours(100) + timedelta(hours=row["a"])
    writer.join()
    assert seen > 0
    assert final(client) == NEWEST


def test_a_run_that_breaks_off_converges_when_it_is_run_again() -> None:
    table = rows(V, [(n, n, str(n), NOW) for n in range(1000)])
    with EmbeddedRedis(config={"appendonly": "yes", "appendfsync": "always"}) as server:
        client = connect(server.settings)
        done: list[int] = []

        def stop(count: int) -> None:
            done.append(count)
            if len(done) == 3:
                client.execute_command("CONFIG", "SET", "maxmemory", "1")

        with pytest.raises(StoreUnavailableError, match=r"out of memory|OOM"):
            write_rows(client, "p", V, table, batch_size=100, progress=stop)
        stored = client.dbsize()
        assert 300 <= stored < 1000  # Redis 6 lets some of a batch through, Redis 7 none
        client.config_set("maxmemory", "0")
        assert counts(write_rows(client, "p", V, table, batch_size=100)) == {
            "written": 1000 - stored,
            "unchanged": stored,
        }
        assert counts(write_rows(client, "p", V, table)) == {"unchanged": 1000}
        client.close()


def test_a_server_killed_in_the_middle() -> None:
    table = rows(V, [(n, n, str(n), NOW) for n in range(1000)])
    with EmbeddedRedis() as server:
        client = connect(server.settings)
        with pytest.raises(StoreUnavailableError, match="not reachable") as caught:
            write_rows(client, "p", V, table, batch_size=10, progress=lambda _: os.kill(server.pid, signal.SIGKILL))
        assert caught.value.exit_code == 3
        client.close()


def test_scripts_flushed_by_someone_are_loaded_again(client: Any) -> None:
    write_rows(client, "p", V, one(1, 1, "x", NOW))
    client.script_flush()
    assert counts(write_rows(client, "p", V, one(1, 1, "x", NOW))) == {"unchanged": 1}
    client.script_flush()
    assert delete_view_rows(client, "p", V, pa.table({"k": [1]})) == 1


def test_join_keys_may_be_declared_in_any_order(client: Any) -> None:
    keys = {"b": "STRING", "a": "INT64"}
    first, second = view("v", keys, {"n": "INT64"}), view("v", dict(reversed(keys.items())), {"n": "INT64"})
    assert [k.name for k in second.join_keys] == ["a", "b"]
    write_rows(client, "p", first, rows(first, [("x", 1, 5, NOW)]))
    assert counts(write_rows(client, "p", second, rows(second, [(1, "x", 5, NOW)]))) == {"unchanged": 1}
    assert first.join_keys[0] == FieldDef("b", "STRING")
