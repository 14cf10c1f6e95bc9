"""Entity keys, fields and patterns are Feast's; keys of other projects are told apart."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skewguard import dtypes
from skewguard.definitions import FieldDef
from skewguard.errors import BadInputError, CorruptValueError, UnknownNameError
from skewguard.feast_repo import quiet_feast
from skewguard.online.embedded import EmbeddedRedis
from skewguard.online.key_columns import entity_keys
from skewguard.online.keys import (
    KeyEncoder,
    decode_entity_key,
    feature_field,
    parse_key,
    scan_pattern,
    timestamp_field,
)
from tests.online.feast_values import Value

with quiet_feast():
    from feast.infra.online_stores.helpers import _mmh3, _redis_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey

FIELDS = {"STRING": "string_val", "BYTES": "bytes_val", "INT32": "int32_val", "INT64": "int64_val"}
FIELDS |= {"UNIX_TIMESTAMP": "unix_timestamp_val"}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "STRING": st.text(max_size=30),
    "BYTES": st.binary(max_size=30),
    "INT32": st.integers(-(2**31), 2**31 - 1),
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "UNIX_TIMESTAMP": st.integers(-(10**10), 10**11),
}
KEY_SETS = st.dictionaries(st.text(min_size=1, max_size=12), st.sampled_from(sorted(VALUES)), min_size=1, max_size=4)


def feast_key(project: str, names: list[str], kinds: list[str], values: list[Any]) -> bytes:
    protos = [Value(**{FIELDS[kind]: value}) for kind, value in zip(kinds, values, strict=True)]
    raw: bytes = _redis_key(project, EntityKey(join_keys=names, entity_values=protos))
    return raw


def arrow(dtype: str, values: list[Any]) -> pa.Array:
    if dtype == "UNIX_TIMESTAMP":
        return pa.array([v * 1_000_000 for v in values], pa.int64()).cast(dtypes.TIMESTAMP)
    return pa.array(values, dtypes.arrow_type(dtype))


@settings(max_examples=150, deadline=None)
@given(keys=KEY_SETS, project=st.text(max_size=10), data=st.data())
def test_keys_are_feasts_and_come_apart_again(keys: dict[str, str], project: str, data: st.DataObject) -> None:
    join_keys = [FieldDef(name, dtype) for name, dtype in keys.items()]
    values = [[data.draw(VALUES[dtype]) for _ in range(2)] for dtype in keys.values()]
    table = pa.table({n: arrow(k.dtype, v) for n, k, v in zip(keys, join_keys, values, strict=True)})
    expected = [feast_key(project, list(keys), list(keys.values()), [v[i] for v in values]) for i in range(2)]
    assert entity_keys(project, join_keys, table).to_pylist() == expected
    assert KeyEncoder(project, join_keys).encode(values, 2) == expected
    assert decode_entity_key(expected[0], project) == {n: v[0] for n, v in zip(keys, values, strict=True)}
    assert decode_entity_key(expected[0], project + "x") is None


@settings(max_examples=60, deadline=None)
@given(view=st.text(max_size=20), feature=st.text(max_size=20))
def test_fields_are_feasts(view: str, feature: str) -> None:
    assert feature_field(view, feature) == _mmh3(f"{view}:{feature}")
    assert timestamp_field(view) == f"_ts:{view}".encode()


def test_null_keys_renamed_columns_and_casts() -> None:
    join_keys = [FieldDef("a", "INT64"), FieldDef("b", "STRING")]
    table = pa.table({"x": pa.array([1, None, 3], pa.int32()), "b": pa.array(["p", "q", None]).dictionary_encode()})
    keys = entity_keys("p", join_keys, table, {"a": "x"}).to_pylist()
    assert keys == [feast_key("p", ["a", "b"], ["INT64", "STRING"], [1, "p"]), None, None]
    assert KeyEncoder("p", join_keys).encode([[1, None], ["p", "q"]], 2) == keys[:2]
    single = entity_keys("p", [FieldDef("x", "INT32")], table).to_pylist()
    assert single == [feast_key("p", ["x"], ["INT32"], [1]), None, feast_key("p", ["x"], ["INT32"], [3])]


def test_python_values_of_timestamps_and_uuids() -> None:
    stamp = [FieldDef("t", "UNIX_TIMESTAMP")]
    moment = datetime(2026, 9, 1, 0, 0, 0, 999_999, tzinfo=UTC)
    assert KeyEncoder("p", stamp).encode([[moment]], 1) == KeyEncoder("p", stamp).encode([[1_788_220_800]], 1)
    fine = pa.table({"t": pa.array([moment], dtypes.TIMESTAMP)})
    assert entity_keys("p", stamp, fine).to_pylist() == KeyEncoder("p", stamp).encode([[moment]], 1)
    text = [FieldDef("u", "UUID")]
    (key,) = KeyEncoder("p", text).encode([[UUID(int=1)]], 1)
    assert key == feast_key("p", ["u"], ["STRING"], [str(UUID(int=1))])


def test_without_join_keys_it_is_feasts_dummy_entity() -> None:
    expected = feast_key("p", ["__dummy_id"], ["STRING"], [""])
    assert entity_keys("p", [], pa.table({"one": [1, 2]})).to_pylist() == [expected, expected]
    assert KeyEncoder("p", []).encode([], 1) == [expected]


def test_columns_that_do_not_fit_are_refused() -> None:
    table = pa.table({"a": pa.array([1.5]), "b": ["x"]})
    with pytest.raises(BadInputError, match="column 'a'"):
        entity_keys("p", [FieldDef("a", "INT64")], table)
    with pytest.raises(UnknownNameError, match="'c'"):
        entity_keys("p", [FieldDef("c", "INT64")], table)
    with pytest.raises(BadInputError, match="dtype DOUBLE"):
        entity_keys("p", [FieldDef("a", "DOUBLE")], table)
    for dtype, value in (("INT64", "1"), ("INT32", 2**31), ("STRING", 1), ("BYTES", "x"), ("INT64", 1.5)):
        with pytest.raises(BadInputError, match="join key 'a'"):
            KeyEncoder("p", [FieldDef("a", dtype)]).encode([[value]], 1)


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=60))
def test_other_bytes_are_no_keys(raw: bytes) -> None:
    try:
        key = parse_key(raw)
    except CorruptValueError:
        assert decode_entity_key(raw, "p") is None
        return
    kinds = list(key.dtypes)
    names = list(key.names)
    if names == sorted(set(names)):
        assert feast_key(key.project, names, kinds, list(key.values)) == raw


@pytest.mark.parametrize("length", [9, 42, 63, 91, 92, 300])
def test_a_pattern_finds_the_keys_whatever_the_length_of_the_name(length: int, clean_redis: EmbeddedRedis) -> None:
    """Raw length bytes of 42, 63, 91 and 92 are the glob characters ``* ? [ \\``."""
    client = clean_redis.client()
    keys = [FieldDef("n" * length, "INT64")]
    other = [FieldDef("m" * length, "INT64")]
    projects = ["prod", "nonprod", "pro*", "p[r]od"]
    for project in projects:
        for definition in (keys, other):
            for key in entity_keys(project, definition, pa.table({definition[0].name: [1, 2]})).to_pylist():
                assert key is not None
                client.hset(key, "f", "v")
    for project in projects:
        found = {k for k in client.scan_iter(match=scan_pattern(project, keys)) if decode_entity_key(k, project)}
        assert found == set(entity_keys(project, keys, pa.table({keys[0].name: [1, 2]})).to_pylist())
    assert len(list(client.scan_iter(match=scan_pattern("prod", keys)))) == 4  # why every key must be decoded
