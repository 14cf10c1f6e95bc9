"""Numbers as a float32 column has them."""

from __future__ import annotations

import struct
from typing import Any


def as_single(value: Any) -> Any:
    """The float32 nearest to a number, as a Python float; anything else, and what is beyond every float32, as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return value  # beyond every float32, so that it bounds as it stands
