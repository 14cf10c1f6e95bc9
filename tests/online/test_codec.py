"""Our bytes are Feast's bytes, both ways, for every value type; and what is none of them is told apart."""

from __future__ import annotations

import json
import math
import struct
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from skewguard import dtypes
from skewguard.errors import BadInputError, CorruptValueError
from skewguard.online.codec import decode_column, encode_column
from skewguard.online.encoding import encode_untyped, encode_value
from skewguard.online.timestamps import decode_timestamp, encode_timestamp
from skewguard.online.values import BY_DTYPE, FIELDS, MAP_KEYS, decode_value, json_text
from tests.online.feast_values import Value, ValueType, feast_bytes, feast_column_bytes, parsed

QUICK = settings(max_examples=30, deadline=None)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, -1, 127, 128, 2**53 + 1, 2**63 - 1, -(2**63)])
SECONDS = st.integers(-62_135_596_800, 253_402_300_799)
TEXTS = st.text(max_size=200) | st.sampled_from(["", "Äpfel\u0000", "😀" * 50])
FLOAT32 = st.floats(width=32, allow_nan=False)
DOUBLES = st.floats(allow_nan=False)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "BYTES": st.binary(max_size=200),
    "STRING": TEXTS,
    "INT32": INT32,
    "INT64": INT64,
    "DOUBLE": DOUBLES,
    "FLOAT": FLOAT32,
    "BOOL": st.booleans(),
    "UNIX_TIMESTAMP": SECONDS,
    "UUID": st.uuids(),
    "TIME_UUID": st.uuids(),
    "DECIMAL": st.decimals(allow_nan=False),
}


def test_every_field_of_feasts_value_is_known() -> None:
    """Numbers, shapes and kinds are those of Value.proto in the installed Feast."""
    proto = {f.number: f for f in Value.DESCRIPTOR.fields}
    assert set(proto) == set(FIELDS)
    for number, field in FIELDS.items():
        assert proto[number].name == field.dtype.lower().replace("value_", "") + "_val"
        message = proto[number].message_type
        assert (message is None) == (field.shape in ("scalar", "null"))
        if field.shape == "list":
            assert field.kind is not None
            inner = message.fields_by_name["val"]
            assert inner.type == Value.DESCRIPTOR.fields_by_name[f"{field.kind.name}_val"].type
    keys = Value.DESCRIPTOR.file.message_types_by_name["MapKey"].fields
    assert {f.number: f.name for f in keys} == {n: f"{dtype.lower()}_key" for n, (dtype, _) in MAP_KEYS.items()}
    feast_types = {t.name for t in ValueType} - {"UNKNOWN"}
    assert feast_types == set(BY_DTYPE)


@pytest.mark.parametrize("dtype", SCALARS)
@QUICK
@given(data=st.data())
def test_scalars_have_feasts_bytes_both_ways(dtype: str, data: st.DataObject) -> None:
    value = data.draw(SCALARS[dtype])
    raw = encode_value(dtype, value)
    others = [b"x"] if dtype == "BYTES" else []  # see test_empty_bytes_alone
    assert raw == feast_bytes(dtype, [value, *others])[0]
    expected = str(value) if isinstance(value, UUID | Decimal) else value
    decoded = decode_value(raw)
    assert decoded == expected
    assert type(decoded) is type(expected)
    if isinstance(value, float) and isinstance(decoded, float):
        assert math.copysign(1, decoded) == math.copysign(1, value)


@pytest.mark.parametrize("dtype", SCALARS)
@QUICK
@given(data=st.data())
def test_lists_and_sets_have_feasts_bytes_both_ways(dtype: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(SCALARS[dtype], max_size=8))
    raw = encode_value(f"{dtype}_LIST", values)
    assert raw == feast_bytes(f"{dtype}_LIST", [values])[0]
    expected = [str(v) if isinstance(v, UUID | Decimal) else v for v in values]
    assert decode_value(raw) == expected
    members = encode_value(f"{dtype}_SET", values)
    # Feast writes the members of a set in the order of their hashes, which changes from run to run
    theirs = feast_bytes(f"{dtype}_SET", [values])[0]
    assert len(members) == len(theirs)
    assert sorted(map(repr, decode_value(members))) == sorted(map(repr, decode_value(theirs)))


def test_empty_bytes_alone() -> None:
    """KNOWN: Feast takes a batch of nothing but empty bytes for nulls."""
    assert feast_bytes("BYTES", [b"", b"x"])[0] == encode_value("BYTES", b"") == b"\x0a\x00"
    assert feast_bytes("BYTES", [b"", b""]) == [b"", b""]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308])
def test_odd_doubles(value: float) -> None:
    assert encode_value("DOUBLE", value) == feast_bytes("DOUBLE", [value])[0]
    raw = encode_value("DOUBLE_LIST", [value])
    assert raw == feast_bytes("DOUBLE_LIST", [[value]])[0]
    (decoded,) = decode_value(raw)
    assert struct.pack("<d", decoded) == struct.pack("<d", value)


def test_a_double_beyond_float32_is_infinite_as_in_feast() -> None:
    assert encode_value("FLOAT", 1e300) == feast_bytes("FLOAT", [1e300])[0]
    assert decode_value(encode_value("FLOAT", -1e300)) == -math.inf


ZONES = [UTC, ZoneInfo("America/Los_Angeles"), timezone(timedelta(hours=5, minutes=30)), None]


@QUICK
@given(
    moment=st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)),  # noqa: DTZ001
    zone=st.sampled_from(ZONES),
)
def test_zoned_timestamps(moment: datetime, zone: Any) -> None:
    moment = moment.replace(tzinfo=zone, microsecond=0)
    raw = encode_value("ZONED_TIMESTAMP", moment)
    assert raw == feast_bytes("ZONED_TIMESTAMP", [moment])[0]
    with_zone = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    assert datetime.fromisoformat(decode_value(raw)) == with_zone


def test_a_zone_named_behind_a_text_is_kept() -> None:
    raw = encode_value("ZONED_TIMESTAMP", "2026-09-01T12:00:00[America/Los_Angeles]")
    assert parsed(raw).zoned_timestamp_val.zone == "America/Los_Angeles"
    assert decode_value(raw) == "2026-09-01T12:00:00-07:00"


def test_timestamps_take_datetimes_and_lose_what_is_below_a_second() -> None:
    before_1970 = datetime(1969, 12, 31, 23, 59, 58, 500_000, tzinfo=UTC)
    assert decode_value(encode_value("UNIX_TIMESTAMP", before_1970)) == -2
    assert decode_value(encode_value("UNIX_TIMESTAMP", datetime(2026, 9, 1))) == 1_788_220_800  # noqa: DTZ001


JSON_SCALARS = st.none() | st.booleans() | INT64 | DOUBLES | st.text(max_size=20)
JSON_VALUES = st.recursive(
    JSON_SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@QUICK
@given(value=st.dictionaries(st.text(max_size=8), JSON_VALUES, max_size=5))
def test_maps_and_structs_are_read_back_by_us_and_by_protobuf(value: dict[str, Any]) -> None:
    for dtype, field in (("MAP", "map_val"), ("STRUCT", "struct_val")):
        raw = encode_value(dtype, value)
        assert decode_value(raw) == value
        assert decode_value(encode_value(dtype, json.dumps(value))) == value
        message = parsed(raw)
        assert message.WhichOneof("val") == field
        assert decode_value(message.SerializeToString()) == value
    rows = encode_value("MAP_LIST", [value, {}])
    assert decode_value(rows) == [value, {}]
    assert parsed(rows).map_list_val.val[1].ByteSize() == 0


FEAST_MAP_VALUES = JSON_SCALARS | st.lists(INT64, min_size=1, max_size=3) | st.lists(st.text(max_size=5), min_size=1)


@QUICK
@given(key=st.text(max_size=8), value=FEAST_MAP_VALUES)
def test_maps_of_one_entry_have_feasts_bytes(key: str, value: Any) -> None:
    # of more entries neither the order nor the bytes are the same twice in protobuf
    for dtype in ("MAP", "STRUCT"):
        assert encode_value(dtype, {key: value}) == feast_bytes(dtype, [{key: value}])[0]
        nested = {key: {key: value}}
        assert encode_value(f"{dtype}_LIST", [nested]) == feast_bytes(f"{dtype}_LIST", [[nested]])[0]


@QUICK
@given(value=st.lists(st.lists(INT64, min_size=1, max_size=3) | st.none(), max_size=4))
def test_nested_lists_have_feasts_bytes(value: list[Any]) -> None:
    for dtype in ("VALUE_LIST", "VALUE_SET"):
        assert encode_value(dtype, value) == feast_bytes(dtype, [value])[0]
        assert encode_value(dtype, json.dumps(value)) == feast_bytes(dtype, [value])[0]
    assert decode_value(encode_value("VALUE_LIST", value)) == value


def test_an_empty_inner_list_stays_a_list_which_feast_turns_into_null() -> None:
    value: list[list[int]] = [[], [1]]
    assert decode_value(feast_bytes("VALUE_LIST", [value])[0]) == [None, [1]]
    ours = encode_value("VALUE_LIST", value)
    assert decode_value(ours) == value
    with_feast = parsed(ours).list_val.val
    assert [item.WhichOneof("val") for item in with_feast] == ["list_val", "int64_list_val"]


MAP_KEYS_PY = st.booleans() | INT64 | DOUBLES | st.binary(max_size=9)


@QUICK
@given(value=st.dictionaries(MAP_KEYS_PY, JSON_SCALARS, max_size=4))
def test_scalar_maps_have_feasts_bytes(value: dict[Any, Any]) -> None:
    raw = encode_value("SCALAR_MAP", value)
    assert raw == feast_bytes("SCALAR_MAP", [value])[0]
    assert decode_value(raw) == value


def test_scalar_maps_of_other_keys_and_from_json() -> None:
    keys = [UUID(int=7), Decimal("1.50"), datetime(2026, 9, 1, tzinfo=UTC)]
    for key in keys:
        assert encode_value("SCALAR_MAP", {key: 1}) == feast_bytes("SCALAR_MAP", [{key: 1}])[0]
    assert decode_value(encode_value("SCALAR_MAP", '{"1": "a", "2.5": null, "true": [1]}')) == {1: [1], 2.5: None}
    assert json_text({1: b"x", 2.5: math.inf, b"k": None}) == '{"1":"eA==","2.5":"Infinity","aw==":null}'


@QUICK
@given(value=JSON_VALUES)
def test_json_keeps_its_text(value: Any) -> None:
    text = json.dumps(value)
    assert encode_value("JSON", text) == feast_bytes("JSON", [text])[0]
    assert decode_value(encode_value("JSON", text)) == text
    column, _ = decode_column("JSON_LIST", [encode_value("JSON_LIST", [text, '"x"'])])
    assert decode_column("JSON_LIST", encode_column("JSON_LIST", column).to_pylist())[0] == column
    assert encode_value("JSON_LIST", [text, "{}"]) == feast_bytes("JSON_LIST", [[text, "{}"]])[0]


def test_null_is_empty_bytes() -> None:
    for dtype in BY_DTYPE:
        assert encode_value(dtype, None) == b""
    assert decode_value(b"") is None
    assert decode_value(b"\x98\x01\x00") is None
    assert decode_value(Value(unix_timestamp_val=-(2**63)).SerializeToString()) is None


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("INT32", 2**31), ("INT64", 2**63), ("INT64", 1.5), ("INT64", "x"), ("BYTES", "text"), ("DOUBLE", "x"),
        ("STRING_LIST", "text"), ("MAP", [1]), ("MAP", '{"a"'), ("MAP", {1: 2}), ("MAP_LIST", {"a": 1}), ("JSON", "{"),
        ("VALUE_LIST", [1]), ("SCALAR_MAP", '{"a": 1}'), ("SCALAR_MAP", {"a": 1}), ("ZONED_TIMESTAMP", 5),
        ("INT64_SET", [1, None]), ("NULL", 1), ("MAP", {"a": object()}), ("NO_SUCH", 1), ("STRING", "\ud800"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit_are_refused(dtype: str, value: Any) -> None:
    with pytest.raises(BadInputError):
        encode_value(dtype, value)


@settings(max_examples=300, deadline=None)
@given(raw=st.binary(max_size=40))
def test_any_bytes_are_refused_or_are_what_protobuf_reads(raw: bytes) -> None:
    check_against_protobuf(raw)


@settings(max_examples=300, deadline=None)
@given(value=st.dictionaries(st.text(max_size=5), JSON_VALUES, min_size=1, max_size=3), data=st.data())
def test_damaged_bytes_are_refused_or_are_what_protobuf_reads(value: dict[str, Any], data: st.DataObject) -> None:
    raw = encode_value(data.draw(st.sampled_from(["MAP", "STRUCT"])), value)
    cut = data.draw(st.integers(0, len(raw) - 1))
    check_against_protobuf(raw[:cut])
    check_against_protobuf(raw[:cut] + bytes([data.draw(st.integers(0, 255))]) + raw[cut + 1 :])


@pytest.mark.parametrize("name", ["0", "0000"])
def test_a_map_entry_with_its_value_twice_is_refused(name: str) -> None:
    raw = encode_value("MAP", {name: None})
    at = raw.index(b"\x0a", 4)
    with pytest.raises(CorruptValueError, match="map entry"):
        decode_value(raw[:at] + b"\x12" + raw[at + 1 :])


def check_against_protobuf(raw: bytes) -> None:
    try:
        ours = decode_value(raw)
    except CorruptValueError:
        return  # refusing is right or merely strict; what is not refused must be what protobuf reads
    message = parsed(raw)
    again = decode_value(message.SerializeToString())
    assert json_text(again) == json_text(ours)


def test_values_inside_each_other_have_a_limit() -> None:
    raw = b""
    for _ in range(300):
        raw = Value.FromString(encode_untyped([None])).SerializeToString() if not raw else nested(raw)
    with pytest.raises(CorruptValueError, match="inside each other"):
        decode_value(raw)


def nested(raw: bytes) -> bytes:
    inner = b"\x0a" + varint(len(raw)) + raw
    return b"\xd2\x02" + varint(len(inner)) + inner


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


# -- event timestamps -------------------------------------------------------------------------------------------------


@QUICK
@given(nanoseconds=st.integers(-62_135_596_800 * 10**9, 253_402_300_800 * 10**9 - 1) | st.integers(-3, 3))
def test_event_timestamps_have_protobufs_bytes(nanoseconds: int) -> None:
    proto = Timestamp()
    proto.FromNanoseconds(nanoseconds)
    assert encode_timestamp(nanoseconds) == proto.SerializeToString()
    assert decode_timestamp(proto.SerializeToString()) == nanoseconds


def test_event_timestamps_that_are_none() -> None:
    assert encode_timestamp(0) == b""
    for raw in (
        b"\xff",
        b"\x08",
        b"\x0a\x00",
        b"\x10\x80\x94\xeb\xdc\x03",
        b"\x18\x01",
        b"\x08" + b"\xff" * 8 + b"\x7f",
    ):
        with pytest.raises(CorruptValueError):
            decode_timestamp(raw)
    with pytest.raises(BadInputError, match="years 1 to 9999"):
        encode_timestamp(10**21)


# -- columns ----------------------------------------------------------------------------------------------------------


def micros(seconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


COLUMN_VALUES: dict[str, st.SearchStrategy[Any]] = {
    **SCALARS,
    # numpy's nanoseconds, through which Feast goes, end in 2262
    "UNIX_TIMESTAMP": st.integers(-(2**32), 2**33).map(micros),
    "DOUBLE": DOUBLES | st.just(math.nan),
    "FLOAT": FLOAT32 | st.just(math.nan),
    "UUID": st.uuids().map(str),
    "TIME_UUID": st.uuids().map(str),
    "DECIMAL": st.decimals(allow_nan=False).map(str),
}


@pytest.mark.parametrize("dtype", COLUMN_VALUES)
@QUICK
@given(data=st.data())
def test_columns_have_the_bytes_of_feasts_materialization(dtype: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(COLUMN_VALUES[dtype], min_size=1, max_size=8))
    column = pa.array(values, dtypes.arrow_type(dtype))
    raws = encode_column(dtype, column).to_pylist()
    if dtype != "BYTES" or any(values):  # see test_empty_bytes_alone
        assert raws == feast_column_bytes(dtype, column)
    decoded, states = decode_column(dtype, raws)
    null = [isinstance(v, float) and math.isnan(v) for v in values]
    assert states.to_pylist() == ["null" if n else "value" for n in null]
    assert decoded.type == column.type
    assert decoded.to_pylist() == [None if n else v for n, v in zip(null, column.to_pylist(), strict=True)]


@pytest.mark.parametrize("dtype", COLUMN_VALUES)
@QUICK
@given(data=st.data())
def test_columns_with_nulls(dtype: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(COLUMN_VALUES[dtype] | st.none(), max_size=8))
    column = pa.array(values, dtypes.arrow_type(dtype))
    raws = encode_column(dtype, column).to_pylist()
    # where Feast rounds 64-bit integers and writes its null timestamp, each value by itself is right
    assert raws == [b"" if v is None else encode_value(dtype, v) for v in column.to_pylist()]
    small = dtype != "INT64" or all(v is None or abs(v) <= 2**53 for v in values)
    if any(values) and small and dtype != "UNIX_TIMESTAMP":
        assert raws == feast_column_bytes(dtype, column)


LIST_DTYPES = [f"{dtype}_LIST" for dtype in COLUMN_VALUES]


@pytest.mark.parametrize("dtype", LIST_DTYPES)
@QUICK
@given(data=st.data())
def test_list_columns_have_the_bytes_of_feasts_materialization(dtype: str, data: st.DataObject) -> None:
    inner = COLUMN_VALUES[dtype.removesuffix("_LIST")]
    values = data.draw(st.lists(st.lists(inner, max_size=4) | st.none(), min_size=1, max_size=5))
    column = pa.array(values, dtypes.arrow_type(dtype))
    raws = encode_column(dtype, column).to_pylist()
    assert raws == feast_column_bytes(dtype, column)
    decoded, states = decode_column(dtype, raws)
    assert states.to_pylist() == ["null" if v is None else "value" for v in values]
    assert repr(decoded.to_pylist()) == repr(column.to_pylist())


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("STRING_LIST", ["a", None]), ("BYTES_LIST", [b"a", None]), ("BOOL_LIST", [True, None]),
        ("DOUBLE_LIST", [1.5, None]), ("FLOAT_LIST", [1.5, None]), ("UNIX_TIMESTAMP_LIST", [micros(5), None]),
    ],
)  # fmt: skip
def test_a_null_in_a_list_becomes_what_feast_makes_of_it(dtype: str, values: list[Any]) -> None:
    column = pa.array([values], dtypes.arrow_type(dtype))
    assert encode_column(dtype, column).to_pylist() == feast_column_bytes(dtype, column)


def test_an_integer_list_with_a_null_which_feast_cannot_write() -> None:
    column = pa.array([[2**53 + 1, None]], pa.list_(pa.int64()))
    with pytest.raises(TypeError):
        feast_column_bytes("INT64_LIST", column)
    assert decode_value(encode_column("INT64_LIST", column)[0].as_py()) == [2**53 + 1, 0]


def test_where_feast_is_wrong_on_columns_with_nulls() -> None:
    """KNOWN: int64 with a null through float64, and the null timestamp as a number. Closing them fails this test."""
    big = pa.array([2**53 + 1, None], pa.int64())
    assert decode_value(feast_column_bytes("INT64", big)[0]) == 2**53
    assert decode_value(encode_column("INT64", big)[0].as_py()) == 2**53 + 1
    stamps = pa.array([micros(5), None], dtypes.TIMESTAMP)
    assert parsed(feast_column_bytes("UNIX_TIMESTAMP", stamps)[1]).unix_timestamp_val == -(2**63)
    assert encode_column("UNIX_TIMESTAMP", stamps)[1].as_py() == b""


def test_columns_of_other_arrow_types_are_cast_or_refused() -> None:
    assert encode_column("DOUBLE", pa.array([1, 2], pa.int32())) == encode_column("DOUBLE", pa.array([1.0, 2.0]))
    assert encode_column("FLOAT", pa.array([0.2])).to_pylist() == feast_column_bytes("FLOAT", pa.array([0.2]))
    assert encode_column("STRING", pa.array(["a", "a"]).dictionary_encode()).to_pylist() == [b"\x12\x01a"] * 2
    nanos = pa.array([1_999_999_999], pa.timestamp("ns", "UTC"))
    assert encode_column("UNIX_TIMESTAMP", nanos).to_pylist() == [encode_value("UNIX_TIMESTAMP", 1)]
    assert encode_column(
        "UNIX_TIMESTAMP", pa.chunked_array([pa.array([-1], dtypes.TIMESTAMP)])
    ).to_pylist() == feast_bytes("UNIX_TIMESTAMP", [-1])
    struct_column = pa.array([{"a": 1}, None])
    assert encode_column("STRUCT", struct_column).to_pylist() == feast_bytes("STRUCT", [{"a": 1}, None])
    for dtype, column in [("INT64", pa.array([1.5])), ("INT32", pa.array([2**40])), ("DOUBLE", pa.array(["x"]))]:
        with pytest.raises(BadInputError, match=dtype):
            encode_column(dtype, column)
    with pytest.raises(BadInputError, match="dtype"):
        encode_column("FLOATS", pa.array([1.5]))


@pytest.mark.parametrize("dtype", BY_DTYPE)
def test_states_of_every_dtype(dtype: str) -> None:
    array, states = decode_column(dtype, [None, b"", b"\xff", b"\x08", b"\x9a\x06\x00"])
    assert states.to_pylist() == ["absent", "null", "corrupt", "corrupt", "corrupt"]
    assert array.null_count == 5
    assert array.type == dtypes.arrow_type(dtype)
    assert decode_column(dtype, [])[0].type == dtypes.arrow_type(dtype)


def test_json_carried_dtypes_are_canonical_text() -> None:
    cases = {
        "MAP": ({"b": 1, "a": [1.5, None]}, '{"a":[1.5,null],"b":1}'),
        "STRUCT": ({"b": "ß", "a": {}}, '{"a":{},"b":"ß"}'),
        "MAP_LIST": ([{"b": 1, "a": 2}], '[{"a":2,"b":1}]'),
        "JSON": ('{"b": 1,  "a": 2}', '{"a":2,"b":1}'),
        "JSON_LIST": (["[1, 2]", '"x"'], '[[1,2],"x"]'),
        "VALUE_LIST": ([[1], [2, 3]], "[[1],[2,3]]"),
        "SCALAR_MAP": ({2: "b", 1: "a"}, '{"1":"a","2":"b"}'),
        "PDF_BYTES": (b"x", '"eA=="'),
    }
    for dtype, (value, text) in cases.items():
        array, states = decode_column(dtype, [encode_value(dtype, value)])
        assert (array.to_pylist(), states.to_pylist()) == ([text], ["value"])
    broken, states = decode_column("JSON", [Value(json_val="{").SerializeToString()])
    assert (broken.to_pylist(), states.to_pylist()) == ([None], ["corrupt"])


@pytest.mark.parametrize(
    ("declared", "stored", "value", "expected"),
    [
        ("DOUBLE", "INT64", 79, 79.0), ("DOUBLE", "INT64", 2**53 + 1, None), ("DOUBLE", "FLOAT", 0.5, 0.5),
        ("INT64", "DOUBLE", 79.0, 79), ("INT64", "DOUBLE", 79.9, None), ("INT64", "INT32", -7, -7),
        ("INT32", "INT64", 2**31, None), ("FLOAT", "DOUBLE", 0.5, 0.5), ("FLOAT", "DOUBLE", 1e300, None),
        ("BOOL", "INT64", 1, True), ("BOOL", "INT64", 2, None), ("INT64", "BOOL", True, 1),
        ("STRING", "INT64", 5, None), ("INT64", "STRING", "5", None), ("STRING", "BYTES", b"a", None),
        ("UUID", "STRING", "u", "u"), ("STRING", "DECIMAL", "1.5", "1.5"), ("INT64", "UNIX_TIMESTAMP", 60, 60),
        ("UNIX_TIMESTAMP", "INT64", 60, micros(60)), ("UNIX_TIMESTAMP", "INT64", 2**60, None),
        ("INT64_LIST", "DOUBLE_LIST", [1.0], [1]), ("INT64_LIST", "DOUBLE_LIST", [1.5], None),
        ("INT64_SET", "INT64_LIST", [1, 2], [1, 2]), ("INT64_LIST", "INT64", 1, None),
        ("INT64", "INT64_LIST", [1], None),
        ("MAP", "STRUCT", {"a": 1}, '{"a":1}'), ("MAP", "STRING", "{}", None), ("JSON", "STRING", "[1, 2]", "[1,2]"),
        ("UNIX_TIMESTAMP_LIST", "UNIX_TIMESTAMP_LIST", [60, None], [micros(60), None]),
    ],
)  # fmt: skip
def test_values_stored_under_another_dtype(declared: str, stored: str, value: Any, expected: Any) -> None:
    array, states = decode_column(declared, [encode_value(stored, value)])
    assert array.to_pylist() == [expected]
    assert states.to_pylist() == ["corrupt" if expected is None else "value"]


def test_a_double_under_float_is_rounded_to_it() -> None:
    array, states = decode_column("FLOAT", [encode_value("DOUBLE", 0.2), encode_value("FLOAT", 0.2)])
    assert array[0] == array[1]
    assert states.to_pylist() == ["value", "value"]


def test_mixed_and_broken_rows_do_not_disturb_their_neighbours() -> None:
    raws = [encode_value("INT64", 5), None, b"\x20\x80", encode_value("DOUBLE", 7.0), b"", encode_value("INT64", -1)]
    array, states = decode_column("INT64", raws)
    assert array.to_pylist() == [5, None, None, 7, None, -1]
    assert states.to_pylist() == ["value", "absent", "corrupt", "value", "null", "value"]
    texts = [encode_value("STRING", "ä" * 100), b"\x12\x01\xff", encode_value("STRING", ""), b"\x12\x05ab"]
    array, states = decode_column("STRING", texts)
    assert array.to_pylist() == ["ä" * 100, None, "", None]
    assert states.to_pylist() == ["value", "corrupt", "value", "corrupt"]
