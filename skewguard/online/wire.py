"""Protobuf's wire format, as far as Feast's ``Value`` needs it: varints, tags, scalars and packed lists.

Written out because the bytes of ``feast.types.Value`` must be read and written where Feast is not imported (its import
takes seconds). Source: https://protobuf.dev/programming-guides/encoding, and Value.proto of Feast 0.67 for the fields.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from skewguard.errors import CorruptValueError

VARINT, I64, LEN, I32 = 0, 1, 2, 5
"""Wire types."""

_WORD: Final = 1 << 64
_MAX_VARINT: Final = 10
_BYTE: Final = tuple(bytes([number]) for number in range(128))
_DOUBLE, _FLOAT = struct.Struct("<d"), struct.Struct("<f")


def varint(value: int) -> bytes:
    """An integer as a varint; negative ones in ten bytes, as int64 and int32 fields have them."""
    if 0 <= value < 128:
        return _BYTE[value]
    value %= _WORD
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(number: int, wire_type: int) -> bytes:
    """The tag of field ``number``."""
    return varint(number << 3 | wire_type)


def length_delimited(number: int, payload: bytes) -> bytes:
    """Field ``number`` with a length and a payload: texts, bytes, messages."""
    return varint(number << 3 | LEN) + varint(len(payload)) + payload


def read_varint(raw: bytes, position: int) -> tuple[int, int]:
    """The unsigned varint at ``position`` and the position after it; raises CorruptValueError."""
    value = shift = 0
    for index in range(position, min(position + _MAX_VARINT, len(raw))):
        byte = raw[index]
        value |= (byte & 127) << shift
        if byte < 128:
            return value % _WORD, index + 1
        shift += 7
    raise CorruptValueError(raw, "a number breaks off")


def read_field(raw: bytes, position: int) -> tuple[int, int, int | bytes, int]:
    """Field number, wire type, payload (an unsigned integer for a varint, else bytes) and the position after it."""
    key, position = read_varint(raw, position)
    number, wire_type = key >> 3, key & 7
    if wire_type == VARINT:
        value, position = read_varint(raw, position)
        return number, wire_type, value, position
    if wire_type == LEN:
        size, position = read_varint(raw, position)
    elif wire_type == I64:
        size = 8
    elif wire_type == I32:
        size = 4
    else:
        raise CorruptValueError(raw, f"wire type {wire_type} of field {number} is none that Feast uses")
    end = position + size
    if end > len(raw):
        raise CorruptValueError(raw, f"field {number} breaks off")
    return number, wire_type, raw[position:end], end


def read_fields(raw: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Every field of a message: number, wire type, payload. Raises CorruptValueError."""
    position = 0
    while position < len(raw):
        number, wire_type, payload, position = read_field(raw, position)
        yield number, wire_type, payload


def signed64(value: int) -> int:
    """An unsigned varint as int64."""
    return value - _WORD if value >> 63 else value


def signed32(value: int) -> int:
    """An unsigned varint as int32, cut to 32 bits as protobuf does."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorruptValueError(raw, "a text that is not UTF-8") from error


class Kind:
    """A scalar type of protobuf: its wire type, and how a payload and a Python value become each other.

    ``decode`` takes the payload of ``read_field``; ``encode`` gives the payload with its length where it has one.
    """

    def __init__(self, name: str, wire_type: int, decode: Callable[[Any], Any], encode: Callable[[Any], bytes]) -> None:
        self.name = name
        self.wire_type = wire_type
        self.decode = decode
        self.encode = encode

    def field(self, number: int, value: Any) -> bytes:
        """One field with a value."""
        return tag(number, self.wire_type) + self.encode(value)


def _counted(payload: bytes) -> bytes:
    return varint(len(payload)) + payload


def _pack_float(value: float) -> bytes:
    try:
        return _FLOAT.pack(value)
    except OverflowError:  # beyond float32 is infinite, as in protobuf and NumPy
        return _FLOAT.pack(float("inf") if value > 0 else float("-inf"))


BYTES = Kind("bytes", LEN, bytes, _counted)
STRING = Kind("string", LEN, _text, lambda text: _counted(text.encode("utf-8")))
INT32 = Kind("int32", VARINT, signed32, varint)
INT64 = Kind("int64", VARINT, signed64, varint)
DOUBLE = Kind("double", I64, lambda raw: _DOUBLE.unpack(raw)[0], _DOUBLE.pack)
FLOAT = Kind("float", I32, lambda raw: _FLOAT.unpack(raw)[0], _pack_float)
BOOL = Kind("bool", VARINT, bool, lambda value: _BYTE[1] if value else _BYTE[0])


def repeated(kind: Kind, values: Iterable[Any]) -> bytes:
    """The message ``{repeated kind val = 1}``: numbers packed, texts and bytes one by one; nothing for no values."""
    if kind.wire_type == LEN:
        return b"".join(kind.field(1, value) for value in values)
    packed = b"".join(map(kind.encode, values))
    return length_delimited(1, packed) if packed else b""


def read_repeated(kind: Kind, raw: bytes) -> list[Any]:
    """The values of ``{repeated kind val = 1}``, packed or not; raises CorruptValueError."""
    values: list[Any] = []
    for number, wire_type, payload in read_fields(raw):
        if number != 1:
            raise CorruptValueError(raw, f"field {number} in a list of {kind.name}")
        if wire_type == kind.wire_type:
            values.append(kind.decode(payload))
        elif wire_type == LEN and isinstance(payload, bytes):
            values.extend(_read_packed(kind, payload))
        else:
            raise CorruptValueError(raw, f"a list of {kind.name} with wire type {wire_type}")
    return values


def _read_packed(kind: Kind, raw: bytes) -> list[Any]:
    if kind.wire_type == VARINT:
        values, position = [], 0
        while position < len(raw):
            value, position = read_varint(raw, position)
            values.append(kind.decode(value))
        return values
    size = 8 if kind.wire_type == I64 else 4
    if len(raw) % size:
        raise CorruptValueError(raw, f"a list of {kind.name} breaks off")
    return list(struct.unpack(f"<{len(raw) // size}{'d' if size == 8 else 'f'}", raw))


def resp_argument(value: bytes) -> bytes:
    """One argument of a Redis command in RESP."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def resp_command(*arguments: bytes) -> bytes:
    """One Redis command in RESP."""
    return b"*%d\r\n" % len(arguments) + b"".join(map(resp_argument, arguments))
