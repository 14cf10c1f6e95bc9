"""Stored values as JSON values, fast: floats of a whole answer in one go, small values remembered.

Falls back, value by value, on the codec; what comes out is the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from struct import Struct
from typing import Any, Final, cast

from online_api.values import json_value
from skewguard.errors import CorruptValueError
from skewguard.online.values import decode_value

INVALID_VALUE: Final = object()
"""Stands for bytes that do not decode."""

_FLOATS: Final = {"DOUBLE": (9, b"\x29", "xd"), "FLOAT": (5, b"\x35", "xf")}
_REMEMBERED: Final = 65_536
_SHORT: Final = 32
_AT_ONCE: Final = 4096


def is_float(dtype: str) -> bool:
    """Whether ``floats`` reads columns of this dtype."""
    return dtype in _FLOATS


def floats(dtype: str, columns: Sequence[Sequence[bytes | None]]) -> tuple[list[list[float]], bytes] | None:
    """Columns of one float dtype as lists, and their stored bytes one behind the other, column by column.

    None unless each single value is a finite one of just that dtype.
    """
    rows = len(columns[0])
    width, tag, _ = _FLOATS[dtype]
    cells = list(chain.from_iterable(columns)) if len(columns) > 1 else columns[0]
    if None in cells:
        return None
    present = cast("Sequence[bytes]", cells)
    if set(map(len, present)) != {width}:
        return None
    joined = b"".join(present)
    if joined[::width] != tag * len(cells):
        return None
    values = _unpacked(dtype, joined, len(cells))
    if not math.isfinite(sum(values)):  # nan and infinities are texts in JSON
        return None
    if rows == 1:
        return [[value] for value in values], joined
    return [list(values[start : start + rows]) for start in range(0, len(values), rows)], joined


def _unpacked(dtype: str, joined: bytes, count: int) -> tuple[float, ...]:
    if count <= _AT_ONCE:
        return _unpacker(dtype, count).unpack(joined)
    width = _FLOATS[dtype][0]
    whole = count - count % _AT_ONCE
    parts = [*_unpacker(dtype, _AT_ONCE).iter_unpack(joined[: whole * width])]
    parts.append(_unpacker(dtype, count - whole).unpack(joined[whole * width :]))
    return tuple(chain.from_iterable(parts))


@lru_cache(maxsize=128)
def _unpacker(dtype: str, count: int) -> Struct:
    return Struct("<" + _FLOATS[dtype][2] * count)


def cell(raw: bytes) -> Any:
    """The JSON value of stored bytes, ``INVALID_VALUE`` where they do not decode; None is a stored null."""
    return _remembered(raw) if len(raw) <= _SHORT else _decoded(raw)


def _decoded(raw: bytes) -> Any:
    try:
        return json_value(decode_value(raw))
    except CorruptValueError:
        return INVALID_VALUE


_remembered = lru_cache(maxsize=_REMEMBERED)(_decoded)
