"""Python values as the bytes of ``feast.types.Value``: the writing half of the codec.

Same bytes as ``python_values_to_proto_values(...)`` and ``SerializeToString()`` of Feast 0.67, but where Feast is wrong
(see docs/online.md).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from skewguard import dtypes
from skewguard.errors import BadInputError
from skewguard.online import wire
from skewguard.online.values import BY_DTYPE, NULL_TIMESTAMP, ValueField, json_text, zone_info

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RANGES = {"INT32": 31, "INT64": 63, "UNIX_TIMESTAMP": 63}
LIST_NULLS: Mapping[str, Any] = {
    "STRING": "", "BYTES": b"", "INT32": 0, "INT64": 0, "FLOAT": math.nan, "DOUBLE": math.nan, "BOOL": False,
    "UNIX_TIMESTAMP": NULL_TIMESTAMP, "UUID": "", "TIME_UUID": "", "DECIMAL": "",
}  # fmt: skip
"""What stands for a null inside a list, which protobuf cannot hold: what Feast fills in when it reads Arrow."""


def encode_value(dtype: str, value: Any) -> bytes:
    """The stored bytes of a Python value under a declared dtype.

    None and a scalar NaN give ``b""`` (Feast's null). UNIX_TIMESTAMP takes datetimes (naive = UTC) or whole seconds,
    cut down to the second; ZONED_TIMESTAMP datetimes or ISO 8601 texts (a ``[Zone/Name]`` behind it names the zone);
    JSON, MAP, STRUCT and their lists take JSON texts or Python values; DECIMAL and UUID take texts too.
    Raises BadInputError where the value does not fit the dtype.
    """
    field = BY_DTYPE.get(dtype)
    if field is None:
        raise BadInputError("dtype", repr(dtype), f"one of {', '.join(BY_DTYPE)}")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return b""
    try:
        return _ENCODERS[field.shape](field, value)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, BadInputError):
            raise
        raise BadInputError(f"a {dtype} value", _short(value), f"a value of that dtype ({error})") from error


def _short(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) < 60 else text[:57] + '...'}"


def _scalar(dtype: str, value: Any) -> Any:
    """A value as what the dtype's field holds; raises TypeError, ValueError or OverflowError."""
    if dtype == "UNIX_TIMESTAMP":
        value = whole_seconds(value)
    if dtype in _RANGES:
        number = int(value)
        if number != value:
            raise ValueError("not a whole number")
        if not -(2 ** _RANGES[dtype]) <= number < 2 ** _RANGES[dtype]:
            raise OverflowError("out of range")
        return number
    if dtype in dtypes.FLOATS:
        return float(value)
    if dtype == "BOOL":
        return bool(value)
    if dtype == "BYTES":
        return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else _refuse("bytes")
    if dtype == "JSON":
        return _json(value)
    return value if isinstance(value, str) else str(value)


def _refuse(expected: str) -> Any:
    raise TypeError(f"{expected} expected")


def whole_seconds(value: Any) -> int:
    """A datetime (naive = UTC) or a number of seconds, cut down to whole seconds since 1970."""
    if isinstance(value, datetime):
        aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value
        return (aware - _EPOCH) // timedelta(seconds=1)
    seconds: int = math.floor(value)
    return seconds


def _json(value: Any) -> str:
    if isinstance(value, str):
        json.loads(value)
        return value
    return json.dumps(value)


def _encode_scalar(field: ValueField, value: Any) -> bytes:
    assert field.kind is not None  # noqa: S101 (every scalar field has one)
    return field.kind.field(field.number, _scalar(field.dtype, value))


def _encode_list(field: ValueField, value: Any) -> bytes:
    assert field.kind is not None  # noqa: S101
    dtype, _, shape = field.dtype.rpartition("_")
    if dtype == "JSON" and isinstance(value, str):
        parsed = json.loads(value)
        value = [json_text(item) for item in parsed] if isinstance(parsed, list) else parsed
    if isinstance(value, str | bytes | Mapping):
        raise TypeError("a list expected")
    items = list(value)
    if shape == "SET":
        if any(item is None for item in items):
            raise TypeError("a set without null expected")
        items = list(dict.fromkeys(items))
    plain = [LIST_NULLS[dtype] if item is None and dtype in LIST_NULLS else _scalar(dtype, item) for item in items]
    return wire.length_delimited(field.number, wire.repeated(field.kind, plain))


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _map_entries(value: Any) -> bytes:
    """The message Map."""
    if not isinstance(value, Mapping):
        raise TypeError("an object with texts as keys expected")
    if not all(isinstance(key, str) for key in value):
        raise TypeError("texts as keys expected")
    return b"".join(
        wire.length_delimited(1, wire.STRING.field(1, key) + wire.length_delimited(2, encode_untyped(item)))
        for key, item in value.items()
    )


def _encode_map(field: ValueField, value: Any) -> bytes:
    return wire.length_delimited(field.number, _map_entries(_parsed(value)))


def _encode_map_list(field: ValueField, value: Any) -> bytes:
    items = _parsed(value)
    if isinstance(items, Mapping):
        raise TypeError("a list of objects expected")
    return wire.length_delimited(field.number, b"".join(wire.length_delimited(1, _map_entries(item)) for item in items))


def _encode_values(field: ValueField, value: Any) -> bytes:
    items = _parsed(value)
    if isinstance(items, Mapping | str | bytes):
        raise TypeError("a list of lists expected")
    for item in items:
        if item is not None and (isinstance(item, str | bytes | Mapping) or not isinstance(item, Iterable)):
            raise TypeError("a list of lists expected")
    return _values(field.number, (encode_untyped(None if item is None else list(item)) for item in items))


def _values(number: int, encoded: Iterable[bytes]) -> bytes:
    return wire.length_delimited(number, b"".join(wire.length_delimited(1, item) for item in encoded))


def _encode_scalar_map(field: ValueField, value: Any) -> bytes:
    if isinstance(value, str):
        value = {_guessed_key(key): item for key, item in json.loads(value).items()}
    if not isinstance(value, Mapping):
        raise TypeError("an object expected")
    entries = (
        wire.length_delimited(1, _map_key(key)) + wire.length_delimited(2, encode_untyped(item))
        for key, item in value.items()
    )
    return wire.length_delimited(field.number, b"".join(wire.length_delimited(1, entry) for entry in entries))


def _guessed_key(text: str) -> Any:
    """JSON keys are texts: "1" is taken for an integer, "1.5" for a double, "true" for a bool."""
    key = json.loads(text)
    if isinstance(key, bool | int | float):
        return key
    raise TypeError("numbers or bools as keys expected")


def _map_key(key: Any) -> bytes:
    if isinstance(key, bool):
        return wire.BOOL.field(5, key)
    if isinstance(key, int):
        return wire.INT64.field(2, _scalar("INT64", key))
    if isinstance(key, float):
        return wire.DOUBLE.field(4, key)
    if isinstance(key, bytes):
        return wire.BYTES.field(7, key)
    if isinstance(key, UUID):
        return wire.STRING.field(8, str(key))
    if isinstance(key, Decimal):
        return wire.STRING.field(10, str(key))
    if isinstance(key, datetime):
        return wire.INT64.field(6, whole_seconds(key))
    raise TypeError("keys of int, float, bool, bytes, UUID, Decimal or datetime expected")


def _encode_zoned(field: ValueField, value: Any) -> bytes:
    zone = None
    if isinstance(value, str):
        text, bracket, rest = value.partition("[")
        zone = rest.rstrip("]") if bracket else None
        value = datetime.fromisoformat(text)
    if not isinstance(value, datetime):
        raise TypeError("a datetime or ISO 8601 text expected")
    if zone is None:
        zone = "" if value.tzinfo is None else getattr(value.tzinfo, "key", None) or str(value.tzinfo)
    elif value.tzinfo is None:
        value = value.replace(tzinfo=zone_info(zone))
    aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value
    seconds = whole_seconds(aware)
    message = (wire.INT64.field(1, seconds) if seconds else b"") + (wire.STRING.field(2, zone) if zone else b"")
    return wire.length_delimited(field.number, message)


def _encode_null(_field: ValueField, _value: Any) -> bytes:
    raise TypeError("null expected")


_ENCODERS: Mapping[str, Callable[[ValueField, Any], bytes]] = {
    "scalar": _encode_scalar,
    "list": _encode_list,
    "map": _encode_map,
    "map_list": _encode_map_list,
    "values": _encode_values,
    "scalar_map": _encode_scalar_map,
    "zoned": _encode_zoned,
    "null": _encode_null,
}


_UNTYPED = (
    (bool, "BOOL"), (int, "INT64"), (float, "DOUBLE"), (str, "STRING"), (bytes, "BYTES"), (UUID, "UUID"),
    (Decimal, "DECIMAL"), (datetime, "UNIX_TIMESTAMP"),
)  # fmt: skip


def encode_untyped(value: Any) -> bytes:
    """A value inside a map or a nested list, whose dtype Feast infers from the value itself.

    Lists of one scalar type become that type's list, lists of objects a MAP_LIST. What Feast cannot infer (an empty
    list, mixed types, nulls, lists in lists) becomes a VALUE_LIST, which Feast reads.
    """
    if isinstance(value, Mapping):
        return encode_value("MAP" if all(isinstance(key, str) for key in value) else "SCALAR_MAP", value)
    if isinstance(value, list | tuple):
        items = list(value)
        if items and all(isinstance(item, Mapping) for item in items):
            return encode_value("MAP_LIST", items)
        inner = {_untyped_dtype(item) for item in items}
        if len(inner) == 1 and (dtype := inner.pop()) is not None:
            return encode_value(f"{dtype}_LIST", items)
        return _values(BY_DTYPE["VALUE_LIST"].number, (encode_untyped(item) for item in items))
    if value is None:
        return b""
    dtype = _untyped_dtype(value)
    if dtype is None:
        raise BadInputError("a value in a map or list", _short(value), "a scalar, a list or an object")
    return encode_value(dtype, value)


def _untyped_dtype(value: Any) -> str | None:
    return next((dtype for kind, dtype in _UNTYPED if isinstance(value, kind)), None)
