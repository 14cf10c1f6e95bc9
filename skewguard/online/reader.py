"""Reads a view's rows from Redis into Arrow, with the true state of every row and field."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from redis.exceptions import ResponseError

from skewguard import dtypes
from skewguard.definitions import FieldDef, ViewDef
from skewguard.errors import CorruptValueError
from skewguard.online.codec import ABSENT, decode_column, decode_timestamp, in_range
from skewguard.online.connection import guarded
from skewguard.online.keys import (
    DUMMY_JOIN_KEY,
    column_as,
    entity_keys,
    feature_field,
    parse_key,
    scan_pattern,
    timestamp_field,
)

KEY_ABSENT, VIEW_ABSENT, PRESENT = "key_absent", "view_absent", "present"
EVENT_TS, ROW_STATE, STATE_PREFIX = "__event_ts", "__row_state", "__state__"

_UNREADABLE = b"\xff"
"""Stands for every field of a row whose event timestamp does not decode: Feast cannot read such a row either."""
_SCAN_COUNT = 1000

Progress = Callable[[int], None]


@dataclass(frozen=True)
class _Rows:
    """Rows of distinct keys: stored bytes by feature, nanoseconds of the event timestamp, row states."""

    cells: list[list[bytes | None]]
    timestamps: list[int | None]
    states: list[str]


def read_view(
    client: Any,
    project: str,
    view: ViewDef,
    entities: pa.Table,
    *,
    features: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    batch_size: int = 5000,
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
        batch_size: keys in one pipeline.
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
    keys = entity_keys(project, view.join_keys, entities, columns)
    distinct = list(dict.fromkeys(key for key in keys if key is not None))
    fields = [*(feature_field(view.name, f.name) for f in wanted), timestamp_field(view.name)]
    rows = _Rows([], [], [])
    done = 0
    for start in range(0, len(distinct), batch_size):
        batch = distinct[start : start + batch_size]
        with guarded(client):
            _read_batch(client, batch, fields, rows)
        if progress is not None:
            progress(len(batch))
        done += len(batch)
    if progress is not None and len(keys) > done:
        progress(len(keys) - done)
    place = {key: index for index, key in enumerate(distinct)}
    places = pa.array([None if key is None else place[key] for key in keys], pa.int64())
    return _table(view, wanted, entities, columns or {}, rows, places)


def _read_batch(client: Any, keys: Sequence[bytes], fields: Sequence[bytes], rows: _Rows) -> None:
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hmget(key, fields)
        replies = pipe.execute(raise_on_error=False)
    unknown = []
    stamps: dict[bytes, int | None] = {}
    for key, reply in zip(keys, replies, strict=True):
        cells, timestamp, state = _row(reply, len(fields) - 1, stamps)
        if state is None:
            unknown.append((len(rows.states), key))
        rows.cells.append(cells)
        rows.timestamps.append(timestamp)
        rows.states.append(state or VIEW_ABSENT)
    if not unknown:
        return
    with client.pipeline(transaction=False) as pipe:
        for _, key in unknown:
            pipe.exists(key)
        found = pipe.execute()
    for (index, _), exists in zip(unknown, found, strict=True):
        if not exists:
            rows.states[index] = KEY_ABSENT


def _row(reply: Any, width: int, stamps: dict[bytes, int | None]) -> tuple[list[bytes | None], int | None, str | None]:
    """Cells, event timestamp and row state of one reply; no state where nothing at all was found.

    ``stamps`` remembers event timestamps: the rows of a materialization share few.
    """
    if isinstance(reply, ResponseError) and str(reply).startswith("WRONGTYPE"):
        return [_UNREADABLE] * width, None, PRESENT
    if isinstance(reply, Exception):
        raise reply
    *cells, raw = reply
    if raw is None:
        return cells, None, None if all(cell is None for cell in cells) else VIEW_ABSENT
    if raw not in stamps:
        stamps[raw] = _timestamp(raw)
    timestamp = stamps[raw]
    return ([_UNREADABLE] * width if timestamp is None else cells), timestamp, PRESENT


def _timestamp(raw: bytes) -> int | None:
    try:
        return decode_timestamp(raw)
    except CorruptValueError:
        return None


def _table(
    view: ViewDef,
    wanted: Sequence[FieldDef],
    entities: pa.Table,
    columns: Mapping[str, str],
    rows: _Rows,
    places: pa.Array,
) -> pa.Table:
    names, arrays = [], []
    for key in view.join_keys:
        column = columns.get(key.name, key.name)
        names.append(key.name)
        arrays.append(column_as(key, entities.column(column), column))
    states = []
    by_feature = list(zip(*rows.cells, strict=True)) or [()] * len(wanted)
    for feature, cells in zip(wanted, by_feature, strict=True):
        values, cell_states = decode_column(feature.dtype, cells)
        names.append(feature.name)
        arrays.append(values.take(places))
        states.append(cell_states.take(places).fill_null(ABSENT))
    micros = pa.array([None if t is None else t // 1000 for t in rows.timestamps], pa.int64())
    names += [EVENT_TS, ROW_STATE, *(STATE_PREFIX + feature.name for feature in wanted)]
    arrays += [micros.cast(dtypes.TIMESTAMP).take(places)]
    arrays += [pa.array(rows.states, pa.string()).take(places).fill_null(KEY_ABSENT), *states]
    return pa.Table.from_arrays(arrays, names=names)


def scan_entities(
    client: Any, project: str, view: ViewDef, *, batch_size: int = 5000, progress: Progress | None = None
) -> pa.Table:
    """The join keys (declared dtype) of every entity that the store holds this view's event timestamp of.

    The rows are in no order. Keys of other projects are left out, also of one whose name ends in this one's, and keys
    with values of another dtype than declared, which no look-up reaches. A view without entities gives a table
    without columns of one row or none. ``progress`` is called with the number of keys looked at since the last call.
    Raises StoreUnavailableError.
    """
    stamp = timestamp_field(view.name)
    found: list[tuple[Any, ...]] = []
    with guarded(client):
        for batch in _batches(_scan(client, project, view), batch_size):
            with client.pipeline(transaction=False) as pipe:
                for key, _ in batch:
                    pipe.hexists(key, stamp)
                replies = pipe.execute()
            found += [values for (_, values), exists in zip(batch, replies, strict=True) if exists]
            if progress is not None:
                progress(len(batch))
    if not view.join_keys:
        return pa.table({"one": [1] * len(found)}).select([])
    arrays = [_key_array(key, [values[i] for values in found]) for i, key in enumerate(view.join_keys)]
    return pa.Table.from_arrays(arrays, names=[key.name for key in view.join_keys])


def _scan(client: Any, project: str, view: ViewDef) -> Iterator[tuple[bytes, tuple[Any, ...]]]:
    """Keys with these join keys, each once, and their values in the view's order."""
    declared = {key.name: _stored_dtype(key.dtype) for key in view.join_keys} or {DUMMY_JOIN_KEY: "STRING"}
    seen: set[bytes] = set()
    for raw in client.scan_iter(match=scan_pattern(project, view.join_keys), count=_SCAN_COUNT, _type="HASH"):
        try:
            key = parse_key(raw)
        except CorruptValueError:
            continue  # the pattern also matches what is no key of Feast's
        if raw in seen or key.project != project or dict(zip(key.names, key.dtypes, strict=True)) != declared:
            continue
        if any(d == "UNIX_TIMESTAMP" and not in_range(v) for d, v in zip(key.dtypes, key.values, strict=True)):
            continue  # a time that no date can show cannot come out of a source either
        seen.add(raw)
        values = dict(zip(key.names, key.values, strict=True))
        yield raw, tuple(values[name] for name in declared)


def _stored_dtype(dtype: str) -> str:
    return "STRING" if dtype in ("UUID", "TIME_UUID") else dtype


def _batches(
    items: Iterator[tuple[bytes, tuple[Any, ...]]], size: int
) -> Iterator[list[tuple[bytes, tuple[Any, ...]]]]:
    batch: list[tuple[bytes, tuple[Any, ...]]] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _key_array(key: FieldDef, values: list[Any]) -> pa.Array:
    if key.dtype != "UNIX_TIMESTAMP":
        return pa.array(values, dtypes.arrow_type(key.dtype))
    return pa.array([value * 1_000_000 for value in values], pa.int64()).cast(dtypes.TIMESTAMP)
