"""The event timestamps of the Redis layout: ``google.protobuf.Timestamp``, without protobuf."""

from __future__ import annotations

from typing import Final

from skewguard.errors import BadInputError, CorruptValueError
from skewguard.online import wire

SECONDS: Final = (-62_135_596_800, 253_402_300_799)
"""Years 1 to 9999: what google.protobuf.Timestamp may hold, and what a date of Python or DuckDB can show."""

_NS: Final = 1_000_000_000


def in_range(seconds: int) -> bool:
    """Whether seconds since 1970 lie in the years 1 to 9999."""
    return SECONDS[0] <= seconds <= SECONDS[1]


def encode_timestamp(nanoseconds: int) -> bytes:
    """``google.protobuf.Timestamp`` bytes of nanoseconds since 1970 (UTC); 1970 itself is ``b""``.

    Raises BadInputError outside the years 1 to 9999.
    """
    seconds, nanos = divmod(int(nanoseconds), _NS)
    if not in_range(seconds):
        raise BadInputError("event timestamp", f"{seconds} seconds since 1970", "a time in the years 1 to 9999")
    first = b"\x08" + wire.varint(seconds) if seconds else b""
    return first + b"\x10" + wire.varint(nanos) if nanos else first


def decode_timestamp(raw: bytes) -> int:
    """Nanoseconds since 1970 (UTC) in the bytes of a ``google.protobuf.Timestamp``; raises CorruptValueError."""
    parts = {1: 0, 2: 0}
    for number, wire_type, payload in wire.read_fields(raw):
        if number not in parts or wire_type != wire.VARINT or not isinstance(payload, int):
            raise CorruptValueError(raw, f"field {number} in an event timestamp")
        parts[number] = wire.signed64(payload)
    if not in_range(parts[1]) or not 0 <= parts[2] < _NS:
        raise CorruptValueError(raw, "an event timestamp outside the years 1 to 9999")
    return parts[1] * _NS + parts[2]
