"""Entity keys of whole Arrow tables, vectorised; ``keys`` has their layout, and the keys of a few Python values."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.definitions import FieldDef
from skewguard.errors import BadInputError, UnknownNameError
from skewguard.online.columns import binary
from skewguard.online.keys import HEAD, TYPES, dummy_key, key_head, sorted_keys

_NUMBERS: Final = {"INT32": "<i4", "INT64": "<i8", "UNIX_TIMESTAMP": "<i8"}


def entity_keys(
    project: str, join_keys: Sequence[FieldDef], table: pa.Table, columns: Mapping[str, str] | None = None
) -> pa.Array:
    """The Redis key of every row of ``table``, as a binary array; null where a join key is null.

    ``columns`` maps a join key to the column that holds it, where the names differ. Without join keys every row has
    the key of Feast's dummy entity. Raises UnknownNameError for a missing column, BadInputError for a column that does
    not fit the join key's dtype and for a dtype that Feast has no keys of.
    """
    parts = []
    for key in sorted_keys(join_keys):
        column = (columns or {}).get(key.name, key.name)
        if column not in table.column_names:
            raise UnknownNameError("column of the entity rows", column, table.column_names)
        parts.append(_encode_array(key, column_as(key, table.column(column), column)))
    if not join_keys:
        return pa.array([dummy_key(project)] * table.num_rows, pa.binary())
    head = pa.scalar(key_head([key.name for key in join_keys]), pa.binary())
    tail = pa.scalar(project.encode(), pa.binary())
    return pc.binary_join_element_wise(head, *parts, tail, pa.scalar(b"", pa.binary()))


def column_as(key: FieldDef, column: pa.ChunkedArray | pa.Array, name: str) -> pa.Array:
    """A column in the Arrow type of a join key; raises BadInputError naming ``name``."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    target = dtypes.arrow_type(key.dtype)
    if array.type == target:
        return array
    try:
        return array.cast(target, safe=not pa.types.is_timestamp(array.type))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadInputError(f"column {name!r}", str(array.type), f"{key.dtype} for join key {key.name!r}") from error


def _encode_array(key: FieldDef, array: pa.Array) -> pa.Array:
    """Type, length and bytes of each value; null stays null."""
    if key.dtype not in _NUMBERS:
        raw = array.cast(pa.binary())
        kind = pa.scalar(struct.pack("<I", TYPES.get(key.dtype, TYPES["STRING"])), pa.binary())
        sizes = np.asarray(pc.binary_length(raw).fill_null(0)).astype("<i4").view(np.uint8).reshape(len(raw), 4)
        return pc.binary_join_element_wise(kind, binary(sizes), raw, pa.scalar(b"", pa.binary()))
    numbers = np.asarray(array.cast(pa.int64()).fill_null(0))
    if key.dtype == "UNIX_TIMESTAMP":
        numbers = numbers // 1_000_000
    data = numbers.astype(_NUMBERS[key.dtype])
    width = data.dtype.itemsize
    table = np.empty((len(data), HEAD.size + width), dtype=np.uint8)
    table[:, : HEAD.size] = np.frombuffer(HEAD.pack(TYPES[key.dtype], width), dtype=np.uint8)
    table[:, HEAD.size :] = data.view(np.uint8).reshape(len(data), width)
    encoded = binary(table)
    return pc.if_else(array.is_null(), pa.scalar(None, pa.binary()), encoded) if array.null_count else encoded
