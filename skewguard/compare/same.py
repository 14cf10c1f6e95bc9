"""Finds the rows that are the same to the bit on both sides: of these no rule has anything to say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skewguard.compare.sides import Chunk
from skewguard.definitions import FieldDef
from skewguard.dtypes import FLOATS
from skewguard.sql import CORRUPT, EVENT_TS, ROW_STATE, STATE_PREFIX

Mask = npt.NDArray[np.bool_]


def same_rows(chunk: Chunk, features: Sequence[FieldDef]) -> Mask:
    """True for rows that are online, of one event timestamp with offline's, and whose every value is the same.

    Whatever ``causes.equality`` takes for equal beside that (within a tolerance, below a second, lists in a chunk of
    which not all are the same) is False here, and is looked at more closely.
    """
    truth, online = chunk.truth, chunk.online
    same = mask(pc.equal(online.column(ROW_STATE), "present"))
    same &= mask(pc.equal(truth.column(EVENT_TS), online.column(EVENT_TS)))
    for feature in features:
        same &= _same_cells(feature, truth.column(feature.name), online)
    return same


def mask(column: pa.ChunkedArray) -> Mask:
    """A boolean column as numpy has it; null is False."""
    return np.asarray(pc.fill_null(column, False).combine_chunks().to_numpy(zero_copy_only=False), dtype=bool)


def _same_cells(feature: FieldDef, offline: pa.ChunkedArray, online: pa.Table) -> Mask:
    stored = online.column(feature.name)
    if pa.types.is_nested(offline.type):
        return np.full(len(offline), offline.equals(stored) and _sound(feature, online).all())
    same = mask(pc.equal(offline, stored))
    missing = pc.is_null(offline, nan_is_null=feature.dtype in FLOATS)  # NaN is stored as null
    if stored.null_count and pc.any(missing).as_py():
        same |= mask(pc.and_(missing, stored.is_null())) & _sound(feature, online)
    return same


def _sound(feature: FieldDef, online: pa.Table) -> Mask:
    return mask(pc.not_equal(online.column(STATE_PREFIX + feature.name), CORRUPT))
