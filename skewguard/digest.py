"""Digest of a table's content: the same for the same rows on any machine, in any order, in any file layout.

Each cell is hashed to 64 bits, each row mixed from its cells by column name, and the rows are added up modulo 2^64 in
two independent lanes, so that order does not matter while repetition does. It guards against accident, not against
an adversary. The mixer is splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skewguard.definitions import digest

U64 = npt.NDArray[np.uint64]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_NULL = np.uint64(0x6E756C6C6E756C6C)
_NUMERIC = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_timestamp)
_LANES = (0x736B657767756172, 0x64206C616E652032)


def _mix(value: U64) -> U64:
    with np.errstate(over="ignore"):
        value = value + _GOLDEN
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return value ^ (value >> np.uint64(31))


def _text_hash(raw: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")


def _text_cells(array: pa.Array) -> U64:
    encoded = array.dictionary_encode()
    words = [w.encode() if isinstance(w, str) else w for w in encoded.dictionary.to_pylist()]
    hashes = np.array([_text_hash(word) for word in words] or [0], dtype=np.uint64)
    cells: U64 = hashes[encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)]
    return cells


def _number_cells(array: pa.Array) -> U64:
    kind = array.type
    if pa.types.is_floating(kind):
        values = array.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False).copy()
        values[np.isnan(values)] = np.nan
        values[values == 0.0] = 0.0  # minus zero is zero
        floats: U64 = values.view(np.uint64)
        return floats
    if pa.types.is_timestamp(kind):
        array = array.cast(pa.timestamp("us", tz=kind.tz), safe=False).cast(pa.int64())
    if pa.types.is_uint64(kind):
        return np.asarray(array.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.uint64)
    whole: U64 = array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)
    return whole


def _list_cells(array: pa.Array) -> U64:
    lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    rows = np.repeat(np.arange(len(array)), lengths)
    starts = np.cumsum(lengths) - lengths
    position = (np.arange(len(rows)) - starts[rows]).astype(np.uint64)
    out: U64 = _mix(lengths.astype(np.uint64))
    with np.errstate(over="ignore"):
        np.add.at(out, rows, _mix(cell_hashes(array.flatten()) + _mix(position)))
    return out


def cell_hashes(array: pa.Array) -> U64:
    """A 64-bit hash of each value; null has one of its own, NaN is one value, int32 and int64 agree."""
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        cells = _list_cells(array)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        cells = _text_cells(array)
    elif any(test(kind) for test in _NUMERIC):
        cells = _number_cells(array)
    else:  # decimals, dates, structs, ...: by their text
        cells = _text_cells(pa.array([None if v is None else repr(v) for v in array.to_pylist()], pa.string()))
    cells = _mix(cells)
    if array.null_count:
        cells = np.where(array.is_null().to_numpy(zero_copy_only=False), _NULL, cells)
    return cells


def row_hashes(table: pa.Table, columns: Sequence[str] | None = None, seed: int = _LANES[0]) -> U64:
    """A 64-bit hash of each row over ``columns`` (all by default), whatever their order in the table."""
    total = np.full(table.num_rows, _mix(np.array([seed], dtype=np.uint64))[0], dtype=np.uint64)
    for name in sorted(columns if columns is not None else table.column_names):
        column = table.column(name).combine_chunks()
        name_hash = _mix(np.array([_text_hash(name.encode()) ^ seed], dtype=np.uint64))[0]
        with np.errstate(over="ignore"):
            total = _mix(total ^ (cell_hashes(column) + name_hash))
    return total


def table_digest(table: pa.Table) -> str:
    """SHA-256 (hex) over the column names, the row count and the two lane sums of a table."""
    lanes = []
    for seed in _LANES:
        with np.errstate(over="ignore"):
            lanes.append(f"{int(row_hashes(table, seed=seed).sum(dtype=np.uint64)):016x}")
    return digest({"columns": sorted(table.column_names), "rows": table.num_rows, "lanes": lanes})


def sample_mask(table: pa.Table, columns: Sequence[str], share: float) -> npt.NDArray[np.bool_]:
    """True for the rows whose entity falls into a sample of ``share``: by entity hash, the same on every side."""
    if share >= 1:
        return np.ones(table.num_rows, dtype=bool)
    return row_hashes(table, columns) < np.uint64(share * 2**64)
