"""Whole columns of scalars to and from Feast's value bytes, vectorised with NumPy: the fast half of the codec.

Every reading function gives ``(values, fits)`` of the same length: where ``fits`` is false the bytes are not a value of
that very field, and the slow decoder must look at them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Bools = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]
_VARINT_BYTES = 10


def binary(table: Array, lengths: Array | None = None) -> pa.Array:
    """The rows of a table of bytes as a binary array; of each row the first ``lengths`` bytes, all by default."""
    rows, width = table.shape
    offsets = np.zeros(rows + 1, dtype=np.int32)
    if lengths is None:
        offsets[1:] = np.arange(width, (rows + 1) * width, width)
        data = np.ascontiguousarray(table)
    else:
        np.cumsum(lengths, out=offsets[1:])
        data = table[np.arange(width) < lengths[:, None]]
    return pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def write_fixed(tag: int, values: Array) -> pa.Array:
    """Each value's bytes (little endian) behind a one-byte tag."""
    width = values.dtype.itemsize
    table = np.empty((len(values), width + 1), dtype=np.uint8)
    table[:, 0] = tag
    table[:, 1:] = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), width)
    return binary(table)


def write_varints(tag: int, values: Array) -> pa.Array:
    """Each integer as a varint (negative ones in ten bytes) behind a one-byte tag."""
    rest = values.astype(np.int64).view(np.uint64)
    table = np.zeros((len(values), _VARINT_BYTES + 1), dtype=np.uint8)
    table[:, 0] = tag
    lengths = np.full(len(values), 2, dtype=np.int64)
    for index in range(_VARINT_BYTES):
        table[:, index + 1] = (rest & np.uint64(127)).astype(np.uint8)
        rest = rest >> np.uint64(7)
        more = rest > 0
        if not more.any():
            break
        table[more, index + 1] |= 128
        lengths[more] = index + 3
    return binary(table, lengths)


def write_texts(tag: int, values: pa.Array) -> pa.Array:
    """Each byte string of a binary array with its length behind a one-byte tag."""
    heads = write_varints(tag, np.asarray(pc.binary_length(values)))
    return pc.binary_join_element_wise(heads, values, pa.scalar(b"", pa.binary()))


def read_fixed(tag: int, raws: Sequence[bytes], dtype: str) -> tuple[Array, Bools]:
    """Values of a fixed width behind a one-byte tag."""
    width = np.dtype(dtype).itemsize + 1
    sizes = np.fromiter(map(len, raws), dtype=np.int64, count=len(raws))
    fits = sizes == width
    fitting = raws if fits.all() else [raw for raw, fit in zip(raws, fits.tolist(), strict=True) if fit]
    table = np.frombuffer(b"".join(fitting), dtype=np.uint8).reshape(len(fitting), width)
    values = np.zeros(len(raws), dtype=dtype)
    values[fits] = np.ascontiguousarray(table[:, 1:]).view(dtype).reshape(len(fitting))
    fits[fits] = table[:, 0] == tag
    return values, fits


def read_varints(tag: int, raws: Sequence[bytes]) -> tuple[Array, Bools]:
    """Varints behind a one-byte tag, as int64."""
    count = len(raws)
    sizes = np.fromiter(map(len, raws), dtype=np.int64, count=count)
    data = np.frombuffer(b"".join(raws), dtype=np.uint8)
    starts = np.cumsum(sizes) - sizes
    fits = (sizes >= 2) & (sizes <= _VARINT_BYTES + 1)
    fits[fits] = data[starts[fits]] == tag
    total = np.zeros(count, dtype=np.uint64)
    for index in range(1, int(sizes[fits].max(initial=1))):
        here = np.flatnonzero(fits & (sizes > index))
        byte = data[starts[here] + index]
        total[here] |= (byte & 127).astype(np.uint64) << np.uint64(7 * (index - 1))
        last = sizes[here] == index + 1
        fits[here] = (byte < 128) == last
    return total.view(np.int64), fits


def read_texts(tag: int, raws: Sequence[bytes]) -> tuple[list[bytes], Bools]:
    """Byte strings of at most 127 bytes behind a one-byte tag and a one-byte length; longer ones do not fit."""
    fits = np.fromiter(
        (len(raw) >= 2 and raw[0] == tag and raw[1] == len(raw) - 2 and raw[1] < 128 for raw in raws),
        dtype=np.bool_,
        count=len(raws),
    )
    return [raw[2:] for raw in raws], fits
