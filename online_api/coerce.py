"""JSON values of a request as the Python values of a declared dtype, or the error that names field, row and type.

What Feast 0.67 turns into an entity key without loss is accepted ("1", 1.0 and true for an INT64; 1 for a STRING).
What it would cut off silently (1.5 for an INT64) or answer with a 500 (null, a list) is refused.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from online_api.query import describe
from skewguard.definitions import FieldDef
from skewguard.errors import BadInputError

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_EXACT_FLOAT = 2.0**53
_RANGES = {"INT32": (-(2**31), 2**31 - 1), "INT64": (-(2**63), 2**63 - 1)}
_EXACT: dict[str, type] = {"INT32": int, "INT64": int, "STRING": str}
"""Values of just this type need no conversion (a bool is another type)."""
_TIMESTAMP_RANGE = (-62_135_596_800, 253_402_300_799)  # years 1 to 9999, as google.protobuf.Timestamp


class _RefusedError(Exception):
    """The value does not fit; the text says what would."""


def key_column(key: FieldDef, values: Sequence[Any]) -> list[Any]:
    """A column of join-key values as Python values of the key's dtype (timestamps: whole seconds since 1970, UTC).

    Raises BadInputError with ``field`` ``entities.<name>[<row>]`` for null, for what is no value of the dtype, and for
    what would lose something.
    """
    exact = _EXACT.get(key.dtype)
    if exact is not None and set(map(type, values)) == {exact}:
        low, high = _RANGES.get(key.dtype, (None, None))
        if low is None or (low <= min(values) and max(values) <= high):
            return list(values)
    convert = _KEYS.get(key.dtype, _text)
    return [_convert(convert, key, index, value) for index, value in enumerate(values)]


def request_column(request_field: FieldDef, values: Sequence[Any]) -> list[Any]:
    """A column of request data as Feast hands it to a transformation; null stays None.

    UNIX_TIMESTAMP comes as timezone-aware datetimes in whole seconds. Dtypes that JSON says well enough (lists, maps)
    are passed on as they are. Raises BadInputError as ``key_column``.
    """
    convert = _REQUEST.get(request_field.dtype)
    if convert is None:
        return list(values)
    return [None if v is None else _convert(convert, request_field, i, v) for i, v in enumerate(values)]


def _convert(convert: Callable[[Any], Any], field: FieldDef, index: int, value: Any) -> Any:
    try:
        return convert(value)
    except _RefusedError as refused:
        raise BadInputError(
            f"entities.{field.name}[{index}]", describe(value), f"{refused} ({field.dtype})"
        ) from refused


def _whole(value: Any, low: int, high: int) -> int:
    words = "a whole number"
    if isinstance(value, bool | int):
        number = int(value)
    elif isinstance(value, float):
        # beyond 2^53 a double no longer tells neighbouring integers apart
        if not math.isfinite(value) or value != math.floor(value) or abs(value) > _EXACT_FLOAT:
            raise _RefusedError(words)
        number = int(value)
    elif isinstance(value, str) and _INTEGER.fullmatch(value):
        number = int(value)
    else:
        raise _RefusedError(words)
    if not low <= number <= high:
        raise _RefusedError(f"{words} from {low} to {high}")
    return number


def _int32(value: Any) -> int:
    return _whole(value, *_RANGES["INT32"])


def _int64(value: Any) -> int:
    return _whole(value, *_RANGES["INT64"])


def _text(value: Any) -> str:
    if isinstance(value, str | bool | int | float):
        return str(value)
    raise _RefusedError("a text")


def _only_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise _RefusedError("a text")


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise _RefusedError("bytes as base64 text")


def _seconds(value: Any) -> int:
    words = "whole seconds since 1970 or an RFC 3339 timestamp"
    if isinstance(value, str) and not _INTEGER.fullmatch(value):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise _RefusedError(words) from None
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return math.floor(moment.timestamp())
    try:
        return _whole(value, *_TIMESTAMP_RANGE)
    except _RefusedError:
        raise _RefusedError(words) from None


def _moment(value: Any) -> datetime:
    return datetime.fromtimestamp(_seconds(value), tz=UTC)


def _number(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if value in ("NaN", "Infinity", "-Infinity"):  # as responses write them
        return float(value)
    raise _RefusedError("a number")


def _integer(value: Any) -> int:
    if isinstance(value, str | bool):
        raise _RefusedError("a whole number")
    return _int64(value)


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _RefusedError("true or false")


_KEYS: dict[str, Callable[[Any], Any]] = {
    "INT32": _int32,
    "INT64": _int64,
    "STRING": _text,
    "BYTES": _bytes,
    "UNIX_TIMESTAMP": _seconds,
    "UUID": _only_text,
    "TIME_UUID": _only_text,
}

_REQUEST: dict[str, Callable[[Any], Any]] = {
    "INT32": _integer,
    "INT64": _integer,
    "DOUBLE": _number,
    "FLOAT": _number,
    "STRING": _only_text,
    "BOOL": _truth,
    "BYTES": _bytes,
    "UNIX_TIMESTAMP": _moment,
}
