"""Redis commands for many rows at once: columns of arguments in, a column of command bytes out, no Python per row.

RESP (the Redis serialization protocol): a command is ``*<arguments>``, then for each argument ``$<length>``, its bytes
and an end of line.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from skewguard.online.wire import resp_argument

_END = b"\r\n"
_SHORT = 1024


def arguments(values: pa.Array) -> pa.Array:
    """Each value of a binary column as an argument."""
    return _joined(_argument(values))


def commands(parts: Sequence[bytes | pa.Array]) -> pa.Array:
    """One command a row (binary): constants are the same in every row, columns (binary, no nulls) give one each.

    There must be at least one column. The rows lie one after the other in the array's buffer, see ``stream``.
    """
    pieces: list[bytes | pa.Array] = [b"*%d\r\n" % len(parts)]
    for part in parts:
        pieces += [resp_argument(part)] if isinstance(part, bytes) else _argument(part)
    return _joined(pieces)


def stream(rows: pa.Array, start: int, stop: int) -> memoryview:
    """The bytes of rows ``start`` to ``stop`` of a binary array, as they lie in memory."""
    _, offsets, data = rows.buffers()
    where = memoryview(offsets).cast("i")
    first, last = where[rows.offset + start], where[rows.offset + stop]
    return memoryview(data if data is not None else b"")[first:last]


def _argument(values: pa.Array) -> list[bytes | pa.Array]:
    lengths = pc.binary_length(values)
    shortest, longest = pc.min_max(lengths).values() if len(values) else (pa.scalar(0), pa.scalar(0))
    low, high = shortest.as_py(), longest.as_py()
    if low == high:
        return [b"$%d\r\n" % low, values, _END]
    if high < _SHORT:
        heads = pa.array([b"$%d\r\n" % length for length in range(high + 1)], pa.binary())
        return [heads.take(lengths), values, _END]
    return [b"$", lengths.cast(pa.string()).cast(pa.binary()), _END, values, _END]


def _joined(pieces: Sequence[bytes | pa.Array]) -> pa.Array:
    """Row by row one after the other; constants beside each other become one first."""
    merged: list[bytes | pa.Array] = []
    for piece in pieces:
        if isinstance(piece, bytes) and merged and isinstance(merged[-1], bytes):
            merged[-1] += piece
        else:
            merged.append(piece)
    given = [pa.scalar(piece, pa.binary()) if isinstance(piece, bytes) else piece for piece in merged]
    return pc.binary_join_element_wise(*given, pa.scalar(b"", pa.binary()))
