"""One Feast value: the bytes of ``feast.types.Value`` and the Python value in them, without Feast.

``FIELDS`` is Value.proto of Feast 0.67 as data. What a Python value becomes follows ``python_values_to_proto_values``
of ``feast/type_map.py``; docs/online.md lists where Feast is wrong and this is not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final
from zoneinfo import ZoneInfo

from skewguard.errors import CorruptValueError
from skewguard.online import wire
from skewguard.online.wire import LEN, Kind

NULL_TIMESTAMP: Final = -(2**63)
"""Seconds that Feast writes for a null timestamp (NaT); read as null."""
_MAX_DEPTH: Final = 100
_DOUBLE_TAG: Final = 0x29


@dataclass(frozen=True)
class ValueField:
    """A field of Value: the dtype that it holds, its shape, and the scalar kind inside (where there is one).

    ``shape``: scalar, list, map, map_list, values, scalar_map, zoned or null.
    """

    number: int
    dtype: str
    shape: str
    kind: Kind | None = None


_SCALARS = (
    (1, "BYTES", wire.BYTES), (2, "STRING", wire.STRING), (3, "INT32", wire.INT32), (4, "INT64", wire.INT64),
    (5, "DOUBLE", wire.DOUBLE), (6, "FLOAT", wire.FLOAT), (7, "BOOL", wire.BOOL), (8, "UNIX_TIMESTAMP", wire.INT64),
    (32, "JSON", wire.STRING), (36, "UUID", wire.STRING), (37, "TIME_UUID", wire.STRING), (44, "DECIMAL", wire.STRING),
)  # fmt: skip
_LISTS = (
    (11, "BYTES_LIST", wire.BYTES), (12, "STRING_LIST", wire.STRING), (13, "INT32_LIST", wire.INT32),
    (14, "INT64_LIST", wire.INT64), (15, "DOUBLE_LIST", wire.DOUBLE), (16, "FLOAT_LIST", wire.FLOAT),
    (17, "BOOL_LIST", wire.BOOL), (18, "UNIX_TIMESTAMP_LIST", wire.INT64), (22, "BYTES_SET", wire.BYTES),
    (23, "STRING_SET", wire.STRING), (24, "INT32_SET", wire.INT32), (25, "INT64_SET", wire.INT64),
    (26, "DOUBLE_SET", wire.DOUBLE), (27, "FLOAT_SET", wire.FLOAT), (28, "BOOL_SET", wire.BOOL),
    (29, "UNIX_TIMESTAMP_SET", wire.INT64), (33, "JSON_LIST", wire.STRING), (38, "UUID_LIST", wire.STRING),
    (39, "TIME_UUID_LIST", wire.STRING), (40, "UUID_SET", wire.STRING), (41, "TIME_UUID_SET", wire.STRING),
    (45, "DECIMAL_LIST", wire.STRING), (46, "DECIMAL_SET", wire.STRING),
)  # fmt: skip
_OTHERS = (
    (19, "NULL", "null"), (20, "MAP", "map"), (21, "MAP_LIST", "map_list"), (34, "STRUCT", "map"),
    (35, "STRUCT_LIST", "map_list"), (42, "VALUE_LIST", "values"), (43, "VALUE_SET", "values"),
    (47, "SCALAR_MAP", "scalar_map"), (48, "ZONED_TIMESTAMP", "zoned"),
)  # fmt: skip
FIELDS: Final[Mapping[int, ValueField]] = {
    **{number: ValueField(number, dtype, "scalar", kind) for number, dtype, kind in _SCALARS},
    **{number: ValueField(number, dtype, "list", kind) for number, dtype, kind in _LISTS},
    **{number: ValueField(number, dtype, shape) for number, dtype, shape in _OTHERS},
}
BY_DTYPE: Final[Mapping[str, ValueField]] = {
    **{field.dtype: field for field in FIELDS.values()},
    "PDF_BYTES": FIELDS[1],
    "IMAGE_BYTES": FIELDS[1],
}
MAP_KEYS: Final[Mapping[int, tuple[str, Kind]]] = {
    1: ("INT32", wire.INT32), 2: ("INT64", wire.INT64), 3: ("FLOAT", wire.FLOAT), 4: ("DOUBLE", wire.DOUBLE),
    5: ("BOOL", wire.BOOL), 6: ("UNIX_TIMESTAMP", wire.INT64), 7: ("BYTES", wire.BYTES), 8: ("UUID", wire.STRING),
    9: ("TIME_UUID", wire.STRING), 10: ("DECIMAL", wire.STRING),
}  # fmt: skip
"""MapKey of Value.proto: field number to dtype and kind."""


def decode_value(raw: bytes) -> Any:
    """The Python value in stored bytes; None for empty bytes (Feast's null) and for Feast's null timestamp.

    int, float, str, bytes, bool; UNIX_TIMESTAMP as int seconds since 1970; JSON, UUID and DECIMAL as their text;
    ZONED_TIMESTAMP as ISO 8601 text in its own zone; lists and sets as lists; maps and structs as dicts (the keys of a
    SCALAR_MAP as int, float, bool, bytes or text). Raises CorruptValueError for bytes that are not one value that
    Feast 0.67 knows.
    """
    if len(raw) == 9 and raw[0] == _DOUBLE_TAG:  # the common case of a look-up, without the detour
        return wire.DOUBLE.decode(raw[1:])
    return decode_typed(raw)[1]


def decode_typed(raw: bytes) -> tuple[str | None, Any]:
    """The dtype that stored bytes hold (None for null) and their value; see ``decode_value``."""
    return _decode(raw, 0)


def _decode(raw: bytes, depth: int) -> tuple[str | None, Any]:
    if not raw:
        return None, None
    if depth > _MAX_DEPTH:
        raise CorruptValueError(raw, f"more than {_MAX_DEPTH} values inside each other")
    number, wire_type, payload, end = wire.read_field(raw, 0)
    field = FIELDS.get(number)
    if field is None:
        raise CorruptValueError(raw, f"field {number} is no value type of Feast 0.67")
    if end != len(raw):
        raise CorruptValueError(raw, f"{len(raw) - end} bytes more than one {field.dtype} value")
    if field.kind is not None and field.shape == "scalar":
        if wire_type != field.kind.wire_type:
            raise CorruptValueError(raw, f"a {field.dtype} value with wire type {wire_type}")
        value = field.kind.decode(payload)
        if field.dtype == "UNIX_TIMESTAMP" and value == NULL_TIMESTAMP:
            return None, None
        return field.dtype, value
    if field.shape == "null":
        return None, None
    if not isinstance(payload, bytes) or wire_type != LEN:
        raise CorruptValueError(raw, f"a {field.dtype} value with wire type {wire_type}")
    value = _decode_message(field, payload, depth)
    return (None if value is None else field.dtype), value


def _decode_message(field: ValueField, raw: bytes, depth: int) -> Any:
    if field.kind is not None:
        values = wire.read_repeated(field.kind, raw)
        if field.dtype.startswith("UNIX_TIMESTAMP"):
            return [None if value == NULL_TIMESTAMP else value for value in values]
        return values
    decoders: dict[str, Callable[[bytes, int], Any]] = {
        "map": _decode_map,
        "map_list": lambda message, at: [_decode_map(part, at) for part in _messages(message)],
        "values": lambda message, at: [_decode(part, at + 1)[1] for part in _messages(message)],
        "scalar_map": _decode_scalar_map,
        "zoned": lambda message, _: _decode_zoned(message),
    }
    return decoders[field.shape](raw, depth)


def _messages(raw: bytes) -> list[bytes]:
    """The messages of ``{repeated message val = 1}``."""
    found = []
    for number, wire_type, payload in wire.read_fields(raw):
        if number != 1 or wire_type != LEN or not isinstance(payload, bytes):
            raise CorruptValueError(raw, f"field {number} in a list of values")
        found.append(payload)
    return found


def _pair(raw: bytes) -> tuple[bytes, bytes]:
    """The two parts of a map entry; a missing one is empty. No writer gives one twice, so that is damage."""
    parts: dict[int, bytes] = {}
    for number, wire_type, payload in wire.read_fields(raw):
        if number not in (1, 2) or number in parts or wire_type != LEN or not isinstance(payload, bytes):
            raise CorruptValueError(raw, f"field {number} in a map entry")
        parts[number] = payload
    return parts.get(1, b""), parts.get(2, b"")


def _decode_map(raw: bytes, depth: int) -> dict[str, Any]:
    entries = (_pair(entry) for entry in _messages(raw))
    return {wire.STRING.decode(key): _decode(value, depth + 1)[1] for key, value in entries}


def _decode_scalar_map(raw: bytes, depth: int) -> dict[Any, Any]:
    entries = (_pair(entry) for entry in _messages(raw))
    return {_decode_map_key(key): _decode(value, depth + 1)[1] for key, value in entries}


def _decode_map_key(raw: bytes) -> Any:
    if not raw:
        return None
    number, wire_type, payload, end = wire.read_field(raw, 0)
    if number not in MAP_KEYS or end != len(raw) or wire_type != MAP_KEYS[number][1].wire_type:
        raise CorruptValueError(raw, "a map key that is none of Feast's")
    return MAP_KEYS[number][1].decode(payload)


def _decode_zoned(raw: bytes) -> str | None:
    seconds, zone = 0, ""
    for number, wire_type, payload in wire.read_fields(raw):
        if number == 1 and wire_type == wire.VARINT and isinstance(payload, int):
            seconds = wire.signed64(payload)
        elif number == 2 and wire_type == LEN:
            zone = wire.STRING.decode(payload)
        else:
            raise CorruptValueError(raw, f"field {number} in a zoned timestamp")
    if seconds == NULL_TIMESTAMP:
        return None
    try:
        return datetime.fromtimestamp(seconds, tz=zone_info(zone)).isoformat()
    except (OverflowError, ValueError, OSError) as error:
        raise CorruptValueError(raw, f"a timestamp of {seconds} seconds") from error


def zone_info(name: str) -> timezone | ZoneInfo:
    """The time zone of a stored name as Feast resolves it: IANA name, else fixed offset, else UTC."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ValueError, LookupError, OSError):
        pass
    text = name.strip().removeprefix("UTC").removeprefix("GMT").replace(":", "")
    if len(text) == 5 and text[0] in "+-" and text[1:].isdigit() and int(text[1:3]) < 24:
        offset = timedelta(hours=int(text[1:3]), minutes=int(text[3:]))
        return timezone(-offset if text[0] == "-" else offset)
    return UTC


def json_text(value: Any) -> str:
    """A decoded value as canonical JSON: sorted keys, no blanks, bytes as base64, NaN and infinities as texts.

    This is how every dtype without an Arrow type of its own travels (see skewguard/dtypes.py).
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, bytes):
        from base64 import b64encode

        return b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {_key_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _key_text(key: Any) -> str:
    plain = _plain(key)
    return plain if isinstance(plain, str) else json.dumps(plain)
