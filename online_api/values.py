"""Decoded Feast values as JSON values, and event timestamps as text, the way Feast's feature server writes them.

Source of the behaviour: ``feast/feature_server_utils.py`` of Feast 0.67 (``_value_to_native``, ``_timestamp_to_str``).
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

EPOCH_TEXT = "1970-01-01T00:00:00Z"
"""What Feast writes where a value has no event timestamp."""

EARLIEST_NS, LATEST_NS = -62_135_596_800 * 10**9, 253_402_300_800 * 10**9 - 1
"""What google.protobuf.Timestamp and RFC 3339 can hold: years 1 to 9999, in nanoseconds since 1970."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NS = 1_000_000_000


def json_value(value: Any) -> Any:
    """A value as ``codec.decode_value`` gives it, for JSON: bytes as base64, NaN and infinities as Feast's texts.

    A SCALAR_MAP becomes an object whose keys are JSON texts; Feast's server answers null there.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_finite(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, list):
        return [json_value(item) for item in value]
    if isinstance(value, Mapping):
        return {_key_text(key): json_value(item) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} is no type that the codec gives")


def _key_text(key: Any) -> str:
    plain = json_value(key)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


@lru_cache(maxsize=4096)
def timestamp_text(nanoseconds: int | None) -> str:
    """RFC 3339 in UTC with 0, 3, 6 or 9 decimals, as many as needed; 1970 where there is no timestamp."""
    if not nanoseconds:
        return EPOCH_TEXT
    seconds, rest = divmod(nanoseconds, _NS)
    base = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()
    if not rest:
        return base + "Z"
    if rest % 1_000_000 == 0:
        return f"{base}.{rest // 1_000_000:03d}Z"
    return f"{base}.{rest // 1_000:06d}Z" if rest % 1_000 == 0 else f"{base}.{rest:09d}Z"
