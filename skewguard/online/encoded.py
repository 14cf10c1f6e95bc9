"""A view's rows as the columns of bytes that are written to Redis, and the commands made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.definitions import ViewDef
from skewguard.errors import BadInputError, UnknownNameError
from skewguard.online import resp
from skewguard.online.codec import declared, encode_column, vectorised
from skewguard.online.key_columns import entity_keys
from skewguard.online.keys import feature_field, timestamp_field
from skewguard.online.timestamps import encode_timestamp, in_range
from skewguard.sql import EVENT_TS


@dataclass(frozen=True)
class EncodedRows:
    """Rows ready to be written: Redis keys, event timestamps (microseconds and stored bytes), fields and cells.

    ``keys``, ``stamps`` and each of ``cells`` are binary arrays without nulls; ``micros`` is int64.
    """

    keys: pa.Array
    micros: npt.NDArray[np.int64]
    stamps: pa.Array
    stamp_field: bytes
    fields: tuple[bytes, ...]
    cells: tuple[pa.Array, ...]

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, places: npt.NDArray[np.int64]) -> EncodedRows:
        """Some of the rows."""
        where = pa.array(places, pa.int64())
        cells = tuple(column.take(where) for column in self.cells)
        keys, stamps = self.keys.take(where), self.stamps.take(where)
        return EncodedRows(keys, self.micros[places], stamps, self.stamp_field, self.fields, cells)

    def pairs(self) -> list[bytes | pa.Array]:
        """Field and value in turn, the timestamp first: what HSET takes behind the key."""
        found: list[bytes | pa.Array] = [self.stamp_field, self.stamps]
        for field, column in zip(self.fields, self.cells, strict=True):
            found += (field, column)
        return found

    def sets(self) -> pa.Array:
        """An HSET for each row."""
        return resp.commands([b"HSET", self.keys, *self.pairs()])

    def calls(self, sha: bytes, head: Sequence[int]) -> pa.Array:
        """An EVALSHA of the writing script for each row."""
        seconds, rest = np.divmod(self.micros, 1_000_000)
        moment = (_digits(seconds), _digits(rest * 1000))
        constants = [str(number).encode() for number in head]
        return resp.commands([b"EVALSHA", sha, b"1", self.keys, *constants, *moment, *self.pairs()])


def _digits(numbers: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(numbers, pa.int64()).cast(pa.string()).cast(pa.binary())


class Encoder:
    """Checks a table of rows as a whole, then encodes it part by part.

    Raises BadInputError and UnknownNameError for rows that do not fit the view.
    """

    def __init__(self, project: str, view: ViewDef, rows: pa.Table) -> None:
        given = set(rows.column_names)
        for name in (*(feature.name for feature in view.features), EVENT_TS):
            if name not in given:
                raise UnknownNameError(f"column of the rows for view {view.name!r}", name, rows.column_names)
        micros = checked_micros(rows.column(EVENT_TS))
        keys = entity_keys(project, view.join_keys, rows)
        self.null_keys = keys.null_count
        known = pc.is_valid(keys)
        self.keys = keys.filter(known)
        self.micros = micros[np.asarray(known)]
        self._dtypes = [feature.dtype for feature in view.features]
        self._stamp_field = timestamp_field(view.name)
        self.fields = tuple(feature_field(view.name, feature.name) for feature in view.features)
        self._columns = [_checked(f.name, f.dtype, rows.column(f.name).filter(known)) for f in view.features]

    def __len__(self) -> int:
        return len(self.keys)

    def encode(self, span: tuple[int, int]) -> EncodedRows:
        """The rows from the first to before the second number of ``span``."""
        start, stop = span
        cells = tuple(
            encode_column(dtype, column.slice(start, stop - start)) if vectorised(dtype) else column[start:stop]
            for dtype, column in zip(self._dtypes, self._columns, strict=True)
        )
        micros = self.micros[start:stop]
        distinct, places = np.unique(micros, return_inverse=True)
        stamps = pa.array([encode_timestamp(micro * 1000) for micro in distinct.tolist()], pa.binary())
        taken = stamps.take(pa.array(places, pa.int64()))
        return EncodedRows(self.keys[start:stop], micros, taken, self._stamp_field, self.fields, cells)


def _checked(name: str, dtype: str, column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """A column in its declared type; already encoded where that takes a Python object for each value."""
    try:
        return declared(dtype, column) if vectorised(dtype) else encode_column(dtype, column)
    except BadInputError as error:
        raise BadInputError(f"column {name!r}, {error.field}", error.got, error.expected) from error


def checked_micros(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Event timestamps as microseconds since 1970 (int64); raises BadInputError for nulls and times out of range."""
    micros = to_micros(column)
    if micros.null_count:
        raise BadInputError(EVENT_TS, f"null in {micros.null_count} rows", "an event timestamp in every row")
    whole = np.asarray(micros, dtype=np.int64)
    if len(whole) and not (in_range(int(whole.min()) // 1_000_000) and in_range(int(whole.max()) // 1_000_000)):
        raise BadInputError(EVENT_TS, "a time outside the years 1 to 9999", "a time inside them")
    return whole


def to_micros(column: pa.ChunkedArray) -> pa.Array:
    """Microseconds since 1970 of a timestamp column; naive ones are UTC, finer ones are cut, as Feast does."""
    array = column.combine_chunks()
    if not pa.types.is_timestamp(array.type):
        raise BadInputError(EVENT_TS, str(array.type), "a timestamp column")
    try:
        return pc.cast(array, dtypes.TIMESTAMP, safe=False).cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise BadInputError(EVENT_TS, str(error), "times that microseconds in 64 bits hold") from error
