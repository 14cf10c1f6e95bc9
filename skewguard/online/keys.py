"""Names in Feast's Redis layout: entity keys, hash fields, and the pattern that finds a view's keys.

A Redis key is Feast's entity key (version 3) followed by the project: little-endian ``uint32`` count of join keys;
for each name, sorted, ``uint32 2, uint32 length, name``; for each value in that order ``uint32 type, uint32 length``
and the value.
Source: ``feast/infra/key_encoding_utils.py`` and ``feast/infra/online_stores/helpers.py`` of Feast 0.67.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import mmh3

from skewguard import dtypes
from skewguard.definitions import FieldDef
from skewguard.errors import BadInputError, CorruptValueError
from skewguard.online.encoding import whole_seconds

DUMMY_JOIN_KEY: Final = "__dummy_id"
"""The join key under which Feast reads views without entities; its value is the empty text."""

_STRING: Final = 2
TYPES: Final = {"BYTES": 1, "STRING": 2, "INT32": 3, "INT64": 4, "UNIX_TIMESTAMP": 8}
_DTYPES: Final = {number: dtype for dtype, number in TYPES.items()}
HEAD: Final = struct.Struct("<II")
_GLOB: Final = frozenset(b"*?[]\\")


@dataclass(frozen=True)
class EntityKey:
    """A Redis key taken apart: join-key names (sorted), the dtypes and values stored, and the project behind."""

    names: tuple[str, ...]
    dtypes: tuple[str, ...]
    values: tuple[Any, ...]
    project: str


def feature_field(view: str, feature: str) -> bytes:
    """The hash field of a feature: murmur3 of ``view:feature``, four bytes, little endian."""
    return struct.pack("<I", mmh3.hash(f"{view}:{feature}", signed=False))


def timestamp_field(view: str) -> bytes:
    """The hash field that holds a view's event timestamp."""
    return b"_ts:" + view.encode()


class KeyEncoder:
    """The Redis keys of entities with the same join keys, from Python values; prepared once, used for every request.

    Without join keys every row has the key of Feast's dummy entity. Raises BadInputError for a dtype that Feast has no
    keys of.
    """

    def __init__(self, project: str, join_keys: Sequence[FieldDef]) -> None:
        in_order = sorted_keys(join_keys)
        self._keys = in_order
        self._places = [list(join_keys).index(key) for key in in_order]
        self._tail = project.encode()
        self._head = key_head([key.name for key in in_order]) if in_order else dummy_key(project)
        self._number: Callable[[Any], bytes] | None = None
        if len(in_order) == 1 and in_order[0].dtype in ("INT32", "INT64"):
            self._number = _PACK[in_order[0].dtype]
            kind = TYPES[in_order[0].dtype]
            self._number_head = self._head + HEAD.pack(kind, 4 if in_order[0].dtype == "INT32" else 8)

    def encode(self, columns: Sequence[Sequence[Any]], rows: int) -> list[bytes | None]:
        """The key of every row, None where a join key is null.

        ``columns`` are one for each join key, in the order given at first, and each ``rows`` long. UNIX_TIMESTAMP
        takes whole seconds or datetimes. Raises BadInputError for a value of another type.
        """
        if not self._keys:
            return [self._head] * rows
        if self._number is not None:
            number, head, tail = self._number, self._number_head, self._tail
            try:
                return [head + number(value) + tail for value in columns[0]]
            except (struct.error, TypeError):
                pass  # a null, or a value that the general way names
        parts = [
            [_encode_python(key, value) for value in columns[place]]
            for key, place in zip(self._keys, self._places, strict=True)
        ]
        return [
            None if None in row else self._head + b"".join(part for part in row if part is not None) + self._tail
            for row in zip(*parts, strict=True)
        ]


def sorted_keys(join_keys: Sequence[FieldDef]) -> list[FieldDef]:
    """Join keys in the order in which an entity key has them; raises BadInputError for a dtype that has no keys."""
    for key in join_keys:
        if key.dtype not in dtypes.ENTITY_DTYPES:
            expected = f"one of {', '.join(sorted(dtypes.ENTITY_DTYPES))}"
            raise BadInputError(f"join key {key.name!r}", f"dtype {key.dtype}", expected)
    return sorted(join_keys, key=lambda key: key.name)


def key_head(names: Sequence[str]) -> bytes:
    """Everything of a key before its values."""
    encoded = [name.encode() for name in sorted(names)]
    return struct.pack("<I", len(encoded)) + b"".join(HEAD.pack(_STRING, len(name)) + name for name in encoded)


def dummy_key(project: str) -> bytes:
    """The Redis key under which views without entities lie."""
    return key_head([DUMMY_JOIN_KEY]) + HEAD.pack(_STRING, 0) + project.encode()


def _encode_python(key: FieldDef, value: Any) -> bytes | None:
    if value is None:
        return None
    if key.dtype == "UNIX_TIMESTAMP" and isinstance(value, datetime):
        value = whole_seconds(value)
    if isinstance(value, UUID):
        value = str(value)
    try:
        raw = _PACK.get(key.dtype, _text)(value)
    except (struct.error, TypeError, AttributeError) as error:
        raise BadInputError(f"join key {key.name!r}", repr(value), f"a value of dtype {key.dtype}") from error
    return HEAD.pack(TYPES.get(key.dtype, _STRING), len(raw)) + raw


def _text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError
    return value.encode()


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError
    return value


_PACK: Mapping[str, Callable[[Any], bytes]] = {
    "INT32": struct.Struct("<i").pack,
    "INT64": struct.Struct("<q").pack,
    "UNIX_TIMESTAMP": struct.Struct("<q").pack,
    "BYTES": _bytes,
}


def parse_key(raw: bytes) -> EntityKey:
    """A Redis key taken apart; raises CorruptValueError for bytes that are no key of Feast's."""
    try:
        return _parse(raw)
    except (struct.error, UnicodeDecodeError, KeyError) as error:
        raise CorruptValueError(raw, "no entity key of Feast") from error


def _parse(raw: bytes) -> EntityKey:
    (count,) = struct.unpack_from("<I", raw)
    if count > len(raw) // HEAD.size:
        raise CorruptValueError(raw, f"{count} join keys in {len(raw)} bytes")
    position, names, kinds, values = 4, [], [], []
    for _ in range(count):
        kind, name, position = _part(raw, position)
        if kind != _STRING:
            raise CorruptValueError(raw, f"a join-key name of type {kind}")
        names.append(name.decode())
    for _ in range(count):
        kind, value, position = _part(raw, position)
        dtype = _DTYPES[kind]
        kinds.append(dtype)
        values.append(_unpacked(dtype, value))
    return EntityKey(tuple(names), tuple(kinds), tuple(values), raw[position:].decode())


def _part(raw: bytes, position: int) -> tuple[int, bytes, int]:
    kind, size = HEAD.unpack_from(raw, position)
    start = position + HEAD.size
    if start + size > len(raw):
        raise CorruptValueError(raw, "an entity key that breaks off")
    return kind, raw[start : start + size], start + size


def _unpacked(dtype: str, raw: bytes) -> Any:
    if dtype == "STRING":
        return raw.decode()
    if dtype == "BYTES":
        return raw
    return struct.unpack("<i" if dtype == "INT32" else "<q", raw)[0]


def decode_entity_key(raw: bytes, project: str) -> dict[str, Any] | None:
    """The join keys in a Redis key of ``project``; None for a key of another project or of something else.

    UNIX_TIMESTAMP values are whole seconds. The project is compared as a whole: a key of "nonprod" is none of "prod".
    """
    try:
        key = parse_key(raw)
    except CorruptValueError:
        return None
    return dict(zip(key.names, key.values, strict=True)) if key.project == project else None


def scan_pattern(project: str, join_keys: Sequence[FieldDef]) -> bytes:
    """The SCAN pattern of the keys of a project with these join keys, its own bytes escaped.

    It also finds keys of a project whose name ends in this one's: check every key with ``decode_entity_key``.
    """
    names = [key.name for key in join_keys] or [DUMMY_JOIN_KEY]
    return _escaped(key_head(names)) + b"*" + _escaped(project.encode())


def _escaped(raw: bytes) -> bytes:
    return b"".join(bytes([92, byte]) if byte in _GLOB else bytes([byte]) for byte in raw)
