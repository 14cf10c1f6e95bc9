"""Whole columns of scalars to and from Feast's value bytes, vectorised with NumPy: the fast half of the codec.

Every reading function gives ``(values, fits)`` of the same length: where ``fits`` is false the bytes are not a value of
that very field, and the slow decoder must look at them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

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


@dataclass(frozen=True)
class Cells:
    """A column of stored byte strings that lie anywhere in one buffer: first byte and size of each; size -1: none.

    So that what Redis answered is decoded where it lies.
    """

    data: Array
    starts: Array
    sizes: Array

    @classmethod
    def of(cls, raws: Sequence[bytes | None]) -> Cells:
        """A column of Python byte strings."""
        if None in raws:
            sizes = np.fromiter((-1 if raw is None else len(raw) for raw in raws), dtype=np.int64, count=len(raws))
            data = np.frombuffer(b"".join(raw for raw in raws if raw), dtype=np.uint8)
        else:
            present = cast("Sequence[bytes]", raws)
            sizes = np.fromiter(map(len, present), dtype=np.int64, count=len(raws))
            data = np.frombuffer(b"".join(present), dtype=np.uint8)
        held = np.maximum(sizes, 0)
        return cls(data, np.cumsum(held) - held, sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    def take(self, places: Array) -> Cells:
        """Some of them, in the order of ``places``."""
        return Cells(self.data, self.starts[places], self.sizes[places])

    def and_then(self, other: Cells) -> Cells:
        """Those of another column behind these."""
        starts = np.concatenate([self.starts, other.starts + len(self.data)])
        return Cells(np.concatenate([self.data, other.data]), starts, np.concatenate([self.sizes, other.sizes]))

    def binary(self) -> pa.Array:
        """As a binary array; null where there is none."""
        held = np.maximum(self.sizes, 0)
        offsets = np.zeros(len(self) + 1, dtype=np.int32)
        np.cumsum(held, out=offsets[1:])
        where = np.repeat(self.starts - offsets[:-1], held) + np.arange(offsets[-1])
        content = pa.py_buffer(np.ascontiguousarray(self.data[where]))
        found = pa.Array.from_buffers(pa.binary(), len(self), [None, pa.py_buffer(offsets), content])
        return pc.if_else(pa.array(self.sizes >= 0), found, pa.scalar(None, pa.binary()))

    def raw(self, place: int) -> bytes | None:
        """One byte string."""
        size, start = int(self.sizes[place]), int(self.starts[place])
        return None if size < 0 else self.data[start : start + size].tobytes()


def read_fixed(tag: int, cells: Cells, dtype: str) -> tuple[Array, Bools]:
    """Values of a fixed width behind a one-byte tag."""
    width = np.dtype(dtype).itemsize + 1
    fits = cells.sizes == width
    if fits.all():
        fits = cells.data[cells.starts] == tag
    else:
        fits[fits] = cells.data[cells.starts[fits]] == tag
    values = np.zeros(len(cells), dtype=dtype)
    if fits.any():
        # every place of the buffer as a number, read there and only there where one is wanted
        anywhere = np.ndarray((len(cells.data) - width + 2,), dtype=dtype, buffer=cells.data, strides=(1,))
        values[fits] = anywhere[cells.starts[fits] + 1]
    return values, fits


def read_varints(tag: int, cells: Cells) -> tuple[Array, Bools]:
    """Varints behind a one-byte tag, as int64."""
    data, starts, sizes = cells.data, cells.starts, cells.sizes
    fits = (sizes >= 2) & (sizes <= _VARINT_BYTES + 1)
    fits[fits] = data[starts[fits]] == tag
    total = np.zeros(len(cells), dtype=np.uint64)
    for index in range(1, int(sizes[fits].max(initial=1))):
        here = np.flatnonzero(fits & (sizes > index))
        byte = data[starts[here] + index]
        total[here] |= (byte & 127).astype(np.uint64) << np.uint64(7 * (index - 1))
        last = sizes[here] == index + 1
        fits[here] = (byte < 128) == last
    return total.view(np.int64), fits


def read_texts(tag: int, cells: Cells) -> tuple[pa.Array, Bools]:
    """Byte strings of up to 16,383 bytes behind a one-byte tag and their length, as a binary array; b"" where unfit."""
    data, starts, sizes = cells.data, cells.starts, cells.sizes
    fits = sizes >= 2
    fits[fits] = data[starts[fits]] == tag
    lengths = np.zeros(len(cells), dtype=np.int64)
    lengths[fits] = data[starts[fits] + 1]
    long = np.flatnonzero(fits & (lengths >= 128) & (sizes > 2))
    high = data[starts[long] + 2].astype(np.int64)
    heads = np.where(lengths < 128, 2, 3)
    lengths[long] = np.where(high < 128, (lengths[long] & 127) | (high << 7), -1)
    fits &= lengths == sizes - heads
    return Cells(data, starts + heads, np.where(fits, lengths, 0)).binary(), fits
