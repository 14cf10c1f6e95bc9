"""Values of a finding's samples, as JSON has them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from skewguard.contract import iso


def plain(value: Any) -> Any:
    """A value as a JSON scalar: times as ISO 8601 (UTC), bytes as hex digits, what is no scalar as text."""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
