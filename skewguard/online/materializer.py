"""Writes a view's rows to Redis in Feast's layout: never an older row over a newer one, and corrections too.

Feast reads the stored timestamps, compares them in Python and then writes, so that two writers can undo each other,
and it refuses rows with the stored timestamp, so that corrections and new features never arrive. Here each row is
compared and set by a script inside Redis.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.definitions import ViewDef
from skewguard.errors import BadInputError, UnknownNameError
from skewguard.online import scripts
from skewguard.online.codec import encode_column, encode_timestamp, in_range
from skewguard.online.connection import guarded
from skewguard.online.keys import entity_keys, feature_field, timestamp_field
from skewguard.sql import EVENT_TS

_SKIPPED, _WRITTEN, _OVERWRITTEN, _FILLED, _UNCHANGED, _KEPT = range(6)
_DELETED = 1

Progress = Callable[[int], None]


@dataclass(frozen=True)
class WriteStats:
    """What became of the rows given to ``write_rows``; every row counts once.

    Attributes:
        written: new online, or newer than what was there (a timestamp that does not decode counts as older).
        overwritten_equal: corrections; the same event timestamp with other values, overwritten.
        filled: the same event timestamp, and only fields that had never been written were added.
        unchanged: the same event timestamp and the same values.
        skipped_newer: the online row is newer; left as it is.
        skipped_equal: corrections that ``overwrite_equal=False`` left alone.
        null_keys: rows with a null join key, which no look-up can reach.
        seconds: how long it took.
    """

    written: int = 0
    overwritten_equal: int = 0
    filled: int = 0
    unchanged: int = 0
    skipped_newer: int = 0
    skipped_equal: int = 0
    null_keys: int = 0
    seconds: float = 0.0

    @property
    def rows(self) -> int:
        """Rows given."""
        return self.changed + self.unchanged + self.skipped_newer + self.skipped_equal + self.null_keys

    @property
    def changed(self) -> int:
        """Rows that changed something online (in a dry run: would change)."""
        return self.written + self.overwritten_equal + self.filled


def write_rows(
    client: object,
    project: str,
    view: ViewDef,
    rows: pa.Table,
    *,
    key_ttl_seconds: int | None = None,
    overwrite_equal: bool = True,
    dry_run: bool = False,
    batch_size: int = 1000,
    progress: Progress | None = None,
) -> WriteStats:
    """Write rows of a view online, unless a newer row is there; atomic for each entity.

    Args:
        client: a redis-py client, see ``connect``.
        project: the Feast project.
        view: the feature view.
        rows: join keys, every feature of the view, and ``__event_ts`` (timestamp, UTC, no nulls); other columns are
            ignored. Several rows of one entity may come in any order: the newest stays, of equal ones the last.
        key_ttl_seconds: Redis expiry of the entity keys, renewed for every row that is online after this.
        overwrite_equal: write over a row of the same event timestamp. Fields never written are filled in either way.
        dry_run: count what would happen and write nothing.
        batch_size: rows in one pipeline.
        progress: called with the number of rows done since the last call.

    A run that breaks off (StoreUnavailableError) has written some rows whole; run again, it writes the rest.
    Raises BadInputError and UnknownNameError for rows that do not fit the view, before anything is written.
    """
    started = time.monotonic()
    keys, seconds, nanos, stamps = _addresses(project, view, rows)
    fields, cells = _cells(view, rows)
    head = [int(dry_run), int(overwrite_equal), key_ttl_seconds or 0]
    stamp_field = timestamp_field(view.name)
    outcomes: Counter[int] = Counter()
    nulls = 0
    for start, stop in _spans(len(keys), batch_size):
        calls: list[scripts.Call] = []
        for index in range(start, stop):
            key = keys[index]
            if key is None:
                nulls += 1
                continue
            arguments = [*head, seconds[index], nanos[index], stamp_field, stamps[index]]
            for field, column in zip(fields, cells, strict=True):
                arguments += (field, column[index])
            calls.append((key, arguments))
        with guarded(client):
            outcomes.update(scripts.run(client, scripts.WRITE, calls))
        if progress is not None:
            progress(stop - start)
    return WriteStats(
        written=outcomes[_WRITTEN],
        overwritten_equal=outcomes[_OVERWRITTEN],
        filled=outcomes[_FILLED],
        unchanged=outcomes[_UNCHANGED],
        skipped_newer=outcomes[_SKIPPED],
        skipped_equal=outcomes[_KEPT],
        null_keys=nulls,
        seconds=time.monotonic() - started,
    )


def delete_view_rows(
    client: object,
    project: str,
    view: ViewDef,
    entities: pa.Table,
    *,
    dry_run: bool = False,
    batch_size: int = 1000,
    progress: Progress | None = None,
) -> int:
    """Remove a view's rows, atomic for each entity; other views of the entity stay. Gives the number removed.

    ``entities`` has the join keys and, where wanted, ``__event_ts``: an online row newer than that is left alone (a
    null removes whatever is there). The key goes where no other view has a timestamp in it. Entities without the
    view online are passed over. Raises StoreUnavailableError, BadInputError, UnknownNameError.
    """
    keys = entity_keys(project, view.join_keys, entities)
    fields = [timestamp_field(view.name), *(feature_field(view.name, f.name) for f in view.features)]
    limits = _limits(entities)
    removed = 0
    for start, stop in _spans(len(keys), batch_size):
        calls: list[scripts.Call] = []
        for key, limit in zip(keys[start:stop], limits[start:stop], strict=True):
            if key is not None:
                second, micro = divmod(limit or 0, 1_000_000)
                calls.append((key, [int(dry_run), int(limit is not None), second, micro * 1000, *fields]))
        with guarded(client):
            removed += scripts.run(client, scripts.DELETE, calls).count(_DELETED)
        if progress is not None:
            progress(stop - start)
    return removed


def _spans(count: int, size: int) -> Iterator[tuple[int, int]]:
    if size < 1:
        raise BadInputError("batch_size", str(size), "at least 1")
    for start in range(0, count, size):
        yield start, min(start + size, count)


def _addresses(
    project: str, view: ViewDef, rows: pa.Table
) -> tuple[list[bytes | None], list[int], list[int], list[bytes]]:
    """Redis key, seconds, nanoseconds and timestamp bytes of every row."""
    given = set(rows.column_names)
    for name in (*(feature.name for feature in view.features), EVENT_TS):
        if name not in given:
            raise UnknownNameError(f"column of the rows for view {view.name!r}", name, rows.column_names)
    micros = _micros(rows.column(EVENT_TS))
    if micros.null_count:
        raise BadInputError(EVENT_TS, f"null in {micros.null_count} rows", "an event timestamp in every row")
    whole = np.asarray(micros, dtype=np.int64)
    seconds, rest = np.divmod(whole, 1_000_000)
    if len(whole) and not (in_range(int(seconds.min())) and in_range(int(seconds.max()))):
        raise BadInputError(EVENT_TS, "a time outside the years 1 to 9999", "a time inside them")
    encoded = {micro: encode_timestamp(micro * 1000) for micro in set(whole.tolist())}
    stamps = [encoded[micro] for micro in whole.tolist()]
    return entity_keys(project, view.join_keys, rows), seconds.tolist(), (rest * 1000).tolist(), stamps


def _micros(column: pa.ChunkedArray) -> pa.Array:
    """Microseconds since 1970 of a timestamp column; naive ones are UTC, finer ones are cut, as Feast does."""
    array = column.combine_chunks()
    if not pa.types.is_timestamp(array.type):
        raise BadInputError(EVENT_TS, str(array.type), "a timestamp column")
    try:
        return pc.cast(array, dtypes.TIMESTAMP, safe=False).cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise BadInputError(EVENT_TS, str(error), "times that microseconds in 64 bits hold") from error


def _cells(view: ViewDef, rows: pa.Table) -> tuple[list[bytes], list[list[bytes]]]:
    """Hash fields and encoded columns of the view's features."""
    cells = []
    for feature in view.features:
        try:
            cells.append(encode_column(feature.dtype, rows.column(feature.name)))
        except BadInputError as error:
            raise BadInputError(f"column {feature.name!r}, {error.field}", error.got, error.expected) from error
    return [feature_field(view.name, feature.name) for feature in view.features], cells


def _limits(entities: pa.Table) -> list[int | None]:
    if EVENT_TS not in entities.column_names:
        return [None] * entities.num_rows
    limits: list[int | None] = _micros(entities.column(EVENT_TS)).to_pylist()
    return limits
