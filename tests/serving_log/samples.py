"""Records without a server."""

from __future__ import annotations

import struct
from typing import Any

from skewguard.online.timestamps import encode_timestamp
from skewguard.serving_log.record import LoggedView, Shape, pack_rows

HOUR_US = 3_600_000_000
NOON_US = 1_790_000_000 * 1_000_000 // HOUR_US * HOUR_US
SHAPE = Shape(
    service="orders",
    plan="p" * 64,
    columns=(("user", "INT64", "key"),),
    views=(LoggedView("stats", ("user",), (("a", "DOUBLE"), ("b", "DOUBLE")), shown=True),),
    on_demand=(),
    keep_expired=False,
)


def double(value: float) -> bytes:
    return b"\x29" + struct.pack("<d", value)


def record(users: list[int], *, time_us: int = NOON_US, shape: Shape = SHAPE, request: str = "r",
           sent: dict[int, list[tuple[int, str, Any]]] | None = None) -> bytes:  # fmt: skip
    """A look-up of some users, whose a is the user and whose b is half of it; ``sent`` instead of some of that.

    Without any, the record is one of the time before there were any.
    """
    joined = b"".join([*(double(user) for user in users), *(double(user / 2) for user in users)])
    stamps = [encode_timestamp((time_us - 5) * 1000)] * len(users)
    rest: tuple[Any, ...] = (
        len(users), request, None, time_us, time_us - 1, None, [users], [(stamps, {"DOUBLE": joined}, [])], None, [],
    )  # fmt: skip
    return pack_rows(shape.id, rest if sent is None else (*rest, sent))
