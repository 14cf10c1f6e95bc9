"""Replies taken apart all at once against hiredis, which takes them one by one."""

from __future__ import annotations

import time

import hiredis
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from skewguard.errors import BadInputError, StoreUnavailableError
from skewguard.online.columns import Cells
from skewguard.online.connection import connect
from skewguard.online.embedded import EmbeddedRedis
from skewguard.online.fetch import Pace
from skewguard.online.key_columns import entity_keys
from skewguard.online.materializer import write_rows
from skewguard.online.reader import read_view
from skewguard.online.replies import HashShape, read_all, usual_shape
from skewguard.online.wire import resp_argument
from tests.online.views import NOW, rows, view

NAMES = [
    b"\x01\x02\x03\x04",
    b"$9\r\n",
    b"_ts:" + b"a long name of a view, longer than eight words of eight bytes each, x",
]
START = b"*6\r\n$4\r\n" + NAMES[0] + b"\r\n$"
TRAPS = [b"", b"\r\n", START, START + b"1\r\nx\r\n", b"*6\r\n$4\r\n", b"$1\r\nx\r\n", b"12345678", b"x" * 1500]


def reply(pairs: dict[bytes, bytes]) -> bytes:
    return b"*%d\r\n" % (2 * len(pairs)) + b"".join(resp_argument(part) for pair in pairs.items() for part in pair)


VALUES = st.one_of(st.sampled_from(TRAPS), st.binary(max_size=20), st.integers(0, 200).map(lambda n: b"v" * n))
USUAL = st.tuples(VALUES, VALUES, VALUES).map(lambda values: reply(dict(zip(NAMES, values, strict=True))))
ODD = st.one_of(
    st.just(b"*0\r\n"),
    st.just(b"-WRONGTYPE Operation against a key\r\n"),
    st.dictionaries(st.sampled_from([*NAMES, b"more"]), VALUES, max_size=4).map(reply),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(USUAL, USUAL, USUAL, ODD), max_size=12))
def test_all_at_once_is_one_by_one(replies: list[bytes]) -> None:
    data = b"".join(replies)
    expected = read_all(data, len(replies))
    parsed = HashShape(NAMES).parse(data, len(replies))
    if parsed is None:  # given up: allowed only where a value holds what looks like the start of a row
        assert any(START in text[8:] for text in replies)
        return
    found: dict[int, object] = dict(parsed.others)
    for index, place in enumerate(parsed.places.tolist()):
        found[place] = [part for name in NAMES for part in (name, parsed.columns[name].raw(index))]
    assert sorted(found) == list(range(len(replies)))
    for place, whole in enumerate(expected):
        if isinstance(whole, Exception):
            assert isinstance(found[place], ResponseError)
        else:
            assert found[place] == whole


@settings(max_examples=200, deadline=None)
@given(st.lists(USUAL, min_size=1, max_size=5), st.data())
def test_what_is_cut_off_is_never_taken_for_whole(replies: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(replies)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    parsed = HashShape(NAMES).parse(cut, len(replies))
    assert parsed is None
    with pytest.raises(ConnectionError):
        read_all(cut, len(replies))


def test_the_usual_shape_is_that_of_most() -> None:
    shape = usual_shape([[b"a", b"1", b"b", b"2"], [b"b", b"2"], [b"a", b"3", b"b", b"4"], [], ResponseError("x")])
    assert shape is not None
    assert shape.names == [b"a", b"b"]
    assert usual_shape([[], ResponseError("x")]) is None


def test_hiredis_agrees_on_the_traps() -> None:
    reader = hiredis.Reader()
    reader.feed(reply(dict(zip(NAMES, [START, b"\r\n", b""], strict=True))))
    assert reader.gets() == [NAMES[0], START, NAMES[1], b"\r\n", NAMES[2], b""]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.none(), st.binary(max_size=6)), max_size=8), st.lists(st.integers(0, 7), max_size=8))
def test_cells(raws: list[bytes | None], places: list[int]) -> None:
    cells = Cells.of(raws)
    places = [place for place in places if place < len(raws)]
    assert [cells.raw(place) for place in range(len(raws))] == raws
    assert cells.binary().to_pylist() == raws
    taken = cells.take(np.array(places, dtype=np.int64))
    assert taken.and_then(cells).binary().to_pylist() == [raws[place] for place in places] + raws


V = view("v", {"k": "INT64"}, {"a": "INT64", "b": "STRING", "c": "DOUBLE"})


def test_rows_of_all_shapes_in_one_read(clean_redis: EmbeddedRedis) -> None:
    """Absent keys, rows of another writer's order, rows without a field, keys of another type, among usual ones."""
    client = clean_redis.client()
    write_rows(client, "p", V, rows(V, [(n, n, f"text {n}", n / 3, NOW) for n in range(3000)]))
    keys = entity_keys("p", V.join_keys, pa.table({"k": list(range(3000))})).to_pylist()
    for place in range(0, 3000, 7):
        client.delete(keys[place])
    for place in (n for n in range(1, 3000, 11) if n % 7):
        stored = client.hgetall(keys[place])
        client.delete(keys[place])
        client.hset(keys[place], mapping=dict(reversed(stored.items())))
    client.delete(keys[2])
    client.set(keys[2], b"no hash")
    asked = pa.table({"k": list(range(3000))})
    table = read_view(client, "p", V, asked, batch_size=500)
    for row in table.to_pylist():
        n = row["k"]
        if n == 2:
            assert (row["__row_state"], row["__state__a"], row["a"]) == ("present", "corrupt", None)
        elif n % 7 == 0:
            assert (row["__row_state"], row["__state__b"]) == ("key_absent", "absent")
        else:
            assert (row["a"], row["b"], row["c"], row["__event_ts"]) == (n, f"text {n}", n / 3, NOW)
    assert table.equals(read_view(client, "p", V, asked, batch_size=37))


def test_a_pace_is_kept(clean_redis: EmbeddedRedis) -> None:
    client = clean_redis.client()
    write_rows(client, "p", V, rows(V, [(n, n, "x", 1.0, NOW) for n in range(200)]))
    started = time.monotonic()
    table = read_view(client, "p", V, pa.table({"k": list(range(200))}), keys_per_second=500)
    assert time.monotonic() - started > 0.25
    assert table.column("a").to_pylist() == list(range(200))
    with pytest.raises(BadInputError, match="keys_per_second"):
        Pace(0)


def test_another_login_and_another_database() -> None:
    with EmbeddedRedis() as server:
        settings_ = server.settings
        server.client().config_set("requirepass", "s3cret")
        client = connect(type(settings_)(nodes=settings_.nodes, params={"password": "s3cret", "db": 3}))
        write_rows(client, "p", V, rows(V, [(n, n, "x", 1.0, NOW) for n in range(300)]))
        assert client.info("keyspace")["db3"]["keys"] == 300
        assert read_view(client, "p", V, pa.table({"k": [5, 299]})).column("a").to_pylist() == [5, 299]
        client.config_set("requirepass", "changed")
        client.connection_pool.disconnect()
        with pytest.raises(StoreUnavailableError, match="credentials"):
            read_view(client, "p", V, pa.table({"k": [5]}))
        client.close()
