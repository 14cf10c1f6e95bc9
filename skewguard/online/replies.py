"""Many replies of HGETALL taken apart at once: all rows together, field by field, without a Python object for a value.

The hashes of a view's entities nearly always hold the same fields in the same order. Where a reply looks otherwise (a
key that is absent, other fields, an error), it is left to hiredis; the numbers of rows must agree in the end.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import hiredis
import numpy as np
import numpy.typing as npt

from skewguard.online.columns import Cells
from skewguard.online.connection import reply_error
from skewguard.online.wire import resp_argument

Integers = npt.NDArray[np.int64]
_DIGITS = 7
_FEED = 1 << 16


@dataclass(frozen=True)
class Parsed:
    """One batch of replies: rows of the known shape as cells by field, the others as hiredis gives them.

    Attributes:
        columns: field name -> cells of the rows of the known shape.
        places: which rows of the batch those are.
        others: place in the batch -> reply, for the rest.
    """

    columns: dict[bytes, Cells]
    places: Integers
    others: dict[int, Any]


class HashShape:
    """The fields of a hash in their order, as the bytes that stand between its values in a reply."""

    def __init__(self, names: Sequence[bytes]) -> None:
        self.names = list(names)
        heads = [resp_argument(name) + b"$" for name in names]
        self._first = b"*%d\r\n" % (2 * len(names)) + heads[0]
        self._between = [b"\r\n" + head for head in heads[1:]]
        self._pattern = re.compile(re.escape(self._first))

    def parse(self, data: bytes | bytearray, rows: int) -> Parsed | None:
        """The replies in ``data``, which are as many as ``rows``; None where they cannot be told apart this way."""
        raw = np.frombuffer(data, dtype=np.uint8)
        starts = np.fromiter((m.start() for m in self._pattern.finditer(data)), dtype=np.int64)
        starts, ends, firsts, sizes = self._whole(raw, starts)
        if len(starts) and (starts[1:] < ends[:-1]).any():
            return None  # the start of a row within another one's value
        others = self._others(memoryview(data), starts, ends)
        if others is None or len(starts) + sum(map(len, others.values())) != rows:
            return None
        places, by_place = _numbered(len(starts), others)
        columns = {name: Cells(raw, firsts[index], sizes[index]) for index, name in enumerate(self.names)}
        return Parsed(columns, places, by_place)

    def _whole(self, raw: npt.NDArray[np.uint8], starts: Integers) -> tuple[Integers, Integers, Integers, Integers]:
        """The rows that have just this shape: starts, ends, and (fields x rows) first bytes and sizes of the values."""
        position = starts + len(self._first)
        good = np.ones(len(starts), dtype=np.bool_)
        firsts = np.zeros((len(self.names), len(starts)), dtype=np.int64)
        sizes = np.zeros_like(firsts)
        padded = np.concatenate([raw, np.zeros(64, dtype=np.uint8)])
        limit = len(raw)
        for index in range(len(self.names)):
            if index:
                good &= _stands_at(padded, position, self._between[index - 1])
                position = position + len(self._between[index - 1])
            size, after, numeric = _number(padded, np.minimum(position, limit))
            good &= numeric
            firsts[index], sizes[index] = after, size
            position = np.minimum(after + size, limit)
        good &= _stands_at(padded, position, b"\r\n")
        ends = position + 2
        return starts[good], ends[good], firsts[:, good], sizes[:, good]

    def _others(self, data: memoryview, starts: Integers, ends: Integers) -> dict[int, list[Any]] | None:
        """Replies between the rows of the shape, by the number of such rows before them; None where one breaks off."""
        edges = np.concatenate([[0], ends]), np.concatenate([starts, [len(data)]])
        found = {}
        for before in np.flatnonzero(edges[0] < edges[1]).tolist():
            reader = hiredis.Reader(replyError=reply_error)
            reader.feed(bytes(data[int(edges[0][before]) : int(edges[1][before])]))
            replies: list[Any] = []
            try:
                while (reply := reader.gets()) is not False:
                    replies.append(reply)
            except hiredis.ProtocolError:
                return None
            if reader.has_data():
                return None
            found[before] = replies
        return found


def read_all(data: bytes | bytearray, rows: int) -> list[Any]:
    """The replies in ``data`` one by one, by hiredis, errors in place; raises ConnectionError if one is missing."""
    reader = hiredis.Reader(replyError=reply_error)
    replies: list[Any] = []
    for start in range(0, len(data), _FEED):  # hiredis moves what is left of its buffer at every reply
        reader.feed(bytes(data[start : start + _FEED]))
        while (reply := reader.gets()) is not False:
            replies.append(reply)
    if len(replies) != rows:
        raise ConnectionError(f"Redis gave {len(replies)} answers to {rows} questions")
    return replies


def usual_shape(replies: Sequence[Any]) -> HashShape | None:
    """The fields that most of the hashes have, in their order."""
    orders = Counter(tuple(reply[::2]) for reply in replies if isinstance(reply, list) and reply)
    return HashShape(orders.most_common(1)[0][0]) if orders else None


def _stands_at(padded: npt.NDArray[np.uint8], position: Integers, expected: bytes) -> npt.NDArray[np.bool_]:
    """Where the expected bytes stand; eight are compared at a time."""
    same = np.ones(len(position), dtype=np.bool_)
    if len(expected) < 8:
        for offset, byte in enumerate(expected):
            same &= padded[position + offset] == byte
        return same
    words = np.ndarray((len(padded) - 7,), dtype="<u8", buffer=padded, strides=(1,))
    last = len(words) - 1
    for offset in [*range(0, len(expected) - 7, 8), len(expected) - 8]:
        wanted = np.frombuffer(expected[offset : offset + 8], dtype="<u8")[0]
        same &= words[np.minimum(position + offset, last)] == wanted
    return same


def _number(padded: npt.NDArray[np.uint8], position: Integers) -> tuple[Integers, Integers, npt.NDArray[np.bool_]]:
    """Decimal digits and an end of line: the number, where the bytes after it begin, and whether it was one."""
    value = np.zeros(len(position), dtype=np.int64)
    width = np.zeros(len(position), dtype=np.int64)
    running = np.ones(len(position), dtype=np.bool_)
    for offset in range(_DIGITS):
        byte = padded[position + offset]
        running = running & (byte >= 48) & (byte <= 57)
        if not running.any():
            break
        value = np.where(running, value * 10 + (byte.astype(np.int64) - 48), value)
        width += running
    ended = (padded[position + width] == 13) & (padded[position + width + 1] == 10)
    return value, position + width + 2, (width > 0) & ended


def _numbered(shaped: int, others: dict[int, list[Any]]) -> tuple[Integers, dict[int, Any]]:
    """Places in the batch of the rows of the shape, and of the other replies among them."""
    shift = np.zeros(shaped + 1, dtype=np.int64)
    by_place: dict[int, Any] = {}
    passed = 0
    for before, replies in sorted(others.items()):
        for number, reply in enumerate(replies):
            by_place[before + passed + number] = reply
        passed += len(replies)
        shift[before] += len(replies)
    return np.arange(shaped) + np.cumsum(shift)[:shaped], by_place
