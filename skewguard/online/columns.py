"""Whole columns of scalars to and from Feast's value bytes, vectorised with NumPy: the fast half of the codec.

Every reading function gives ``(values, fits)`` of the same length: where ``fits`` is false the bytes are not a value of
that very field, and the slow decoder must look at them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]
_VARINT_BYTES = 10


def write_fixed(tag: int, values: Array) -> list[bytes]:
    """Each value's bytes (little endian) behind a one-byte tag."""
    width = values.dtype.itemsize
    table = np.empty((len(values), width + 1), dtype=np.uint8)
    table[:, 0] = tag
    table[:, 1:] = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), width)
    raw = table.tobytes()
    return [raw[i : i + width + 1] for i in range(0, len(raw), width + 1)]


def write_varints(tag: int, values: Array) -> list[bytes]:
    """Each integer as a varint (negative ones in ten bytes) behind a one-byte tag."""
    rest = values.astype(np.int64).view(np.uint64)
    table = np.zeros((len(values), _VARINT_BYTES + 1), dtype=np.uint8)
    table[:, 0] = tag
    lengths = np.full(len(values), 2, dtype=np.int64)
    for index in range(_VARINT_BYTES):
        table[:, index + 1] = (rest & np.uint64(127)).astype(np.uint8)
        rest = rest >> np.uint64(7)
        more = rest > 0
        table[more, index + 1] |= 128
        lengths[more] = index + 3
    raw = table.tobytes()
    step = _VARINT_BYTES + 1
    return [raw[i * step : i * step + size] for i, size in enumerate(lengths.tolist())]


def write_texts(tag: int, values: Sequence[bytes]) -> list[bytes]:
    """Each byte string with its length behind a one-byte tag; both tag and length below 128 are one byte."""
    from skewguard.online.wire import varint

    heads = [bytes([tag, size]) for size in range(128)]
    lead = bytes([tag])
    return [(heads[size] if (size := len(v)) < 128 else lead + varint(size)) + v for v in values]


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
