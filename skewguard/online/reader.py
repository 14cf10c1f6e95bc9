"""Reads a view's rows from Redis into Arrow, with the true state of every row and field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.definitions import FieldDef, ViewDef
from skewguard.online.codec import decode_column, event_micros
from skewguard.online.connection import guarded
from skewguard.online.fetch import Fetched, Pace, fetch
from skewguard.online.key_columns import column_as, entity_keys
from skewguard.online.keys import feature_field, timestamp_field
from skewguard.sql import ABSENT, CORRUPT, EVENT_TS, KEY_ABSENT, PRESENT, ROW_STATE, STATE_PREFIX, VIEW_ABSENT

Progress = Callable[[int], None]


def read_view(
    client: Any,
    project: str,
    view: ViewDef,
    entities: pa.Table,
    *,
    features: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    batch_size: int = 2000,
    keys_per_second: float | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """What the online store holds of a view for every row of ``entities``, in their order, duplicates and all.

    Args:
        client: a redis-py client, see ``connect``.
        project: the Feast project.
        view: the feature view.
        entities: rows with the join keys; other columns are ignored.
        features: names of the features to read; all by default.
        columns: join key -> column of ``entities``, where the names differ.
        batch_size: keys asked for at once, and decoded together.
        keys_per_second: read no faster, so that live traffic is not disturbed; None: as fast as it goes.
        progress: called with the number of rows done since the last call.

    Returns:
        The join keys under their own names (declared dtype), each feature (``dtypes.arrow_type``), ``__event_ts``
        (timestamp us UTC, null where the view is absent), ``__row_state`` ("key_absent", also where a join key is
        null; "view_absent": the key is there without this view's timestamp; "present") and ``__state__<feature>``
        ("absent", "null", "value", "corrupt"). A row whose event timestamp does not decode, and a key that is no
        hash, is "present" with a null timestamp and every feature "corrupt".

    Raises StoreUnavailableError; UnknownNameError for a feature or column; BadInputError for a column that does not
    fit its join key.
    """
    wanted = view.features if features is None else tuple(view.feature(name) for name in features)
    keys = entity_keys(project, view.join_keys, entities, columns).dictionary_encode()
    fields = [*(feature_field(view.name, f.name) for f in wanted), timestamp_field(view.name)]
    parts: list[_Part] = []
    with guarded(client):
        for rows in fetch(client, keys.dictionary, fields, batch_size, Pace(keys_per_second)):
            parts.append(_decoded(wanted, rows))
            if progress is not None:
                progress(len(rows))
    if progress is not None and len(keys) > len(keys.dictionary):
        progress(len(keys) - len(keys.dictionary))
    return _table(view, wanted, entities, columns or {}, _Part.joined(parts, wanted), keys.indices)


@dataclass(frozen=True)
class _Part:
    """Rows of distinct keys: values and states by feature, event timestamps, row states."""

    values: list[pa.Array | pa.ChunkedArray]
    states: list[pa.Array | pa.ChunkedArray]
    timestamps: pa.Array | pa.ChunkedArray
    row_states: pa.Array | pa.ChunkedArray

    @staticmethod
    def joined(parts: Sequence[_Part], wanted: Sequence[FieldDef]) -> _Part:
        """All parts after one another."""
        parts = parts or [_decoded(wanted, Fetched.of_rows([], len(wanted) + 1))]
        return _Part(
            [pa.chunked_array(columns) for columns in zip(*(part.values for part in parts), strict=True)],
            [pa.chunked_array(columns) for columns in zip(*(part.states for part in parts), strict=True)],
            pa.chunked_array([part.timestamps for part in parts]),
            pa.chunked_array([part.row_states for part in parts]),
        )


def _decoded(wanted: Sequence[FieldDef], rows: Fetched) -> _Part:
    """The rows of one batch; the event timestamp is their last field."""
    *cells, stamps = rows.cells
    micros = event_micros(stamps)
    there = stamps.sizes >= 0
    damaged = rows.unreadable | (there & np.asarray(micros.is_null()))
    row_states = np.where(rows.absent, KEY_ABSENT, np.where(there | rows.unreadable, PRESENT, VIEW_ABSENT))
    decoded = [decode_column(f.dtype, column) for f, column in zip(wanted, cells, strict=True)]
    if damaged.any():  # Feast cannot read such a row either
        lost = pa.array(damaged)
        decoded = [
            (pc.if_else(lost, pa.scalar(None, values.type), values), pc.if_else(lost, CORRUPT, states))
            for values, states in decoded
        ]
    return _Part(
        [values for values, _ in decoded],
        [states for _, states in decoded],
        micros.cast(dtypes.TIMESTAMP),
        pa.array(row_states, pa.string()),
    )


def _table(
    view: ViewDef,
    wanted: Sequence[FieldDef],
    entities: pa.Table,
    columns: Mapping[str, str],
    rows: _Part,
    places: pa.Array,
) -> pa.Table:
    names, arrays = [], []
    for key in view.join_keys:
        column = columns.get(key.name, key.name)
        names.append(key.name)
        arrays.append(column_as(key, entities.column(column), column))
    if not places.null_count and len(places) == len(rows.row_states):  # every entity once: they are in order already
        arrays += [*rows.values, rows.timestamps, rows.row_states, *rows.states]
    else:
        arrays += [values.take(places) for values in rows.values]
        arrays += [rows.timestamps.take(places), rows.row_states.take(places).fill_null(KEY_ABSENT)]
        arrays += [states.take(places).fill_null(ABSENT) for states in rows.states]
    names += [*(f.name for f in wanted), EVENT_TS, ROW_STATE, *(STATE_PREFIX + f.name for f in wanted)]
    return pa.Table.from_arrays(arrays, names=names)
