"""Writes a view's rows to Redis in Feast's layout: never an older row over a newer one, and corrections too.

Feast reads the stored timestamps, compares them in Python and then writes, so that two writers can undo each other,
and it refuses rows with the stored timestamp, so that corrections and new features never arrive. Here each row is
compared and set by a script inside Redis.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard.definitions import ViewDef
from skewguard.errors import BadInputError
from skewguard.online import resp, scripts
from skewguard.online.connection import guarded
from skewguard.online.encoded import EncodedRows, Encoder, to_micros
from skewguard.online.key_columns import entity_keys
from skewguard.online.keys import feature_field, timestamp_field
from skewguard.online.pipe import Pipe, ahead, is_cluster, pipes
from skewguard.online.scripts import ensure_loaded
from skewguard.online.transactions import Batches, transact
from skewguard.sql import EVENT_TS

_SKIPPED, _WRITTEN, _OVERWRITTEN, _FILLED, _UNCHANGED, _KEPT = range(6)
_DELETED = 1
_CELLS_AT_ONCE = 5_000
_CELLS_AHEAD = 400_000
_CONNECTIONS = 3

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
    batch_size: int | None = None,
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
        batch_size: rows written at one stroke (one transaction), in which Redis serves nobody else; about 5,000 values
            by default, which take it a millisecond or two.
        progress: called with the number of rows done since the last call.

    Rows are encoded a part at a time, in a thread, while Redis takes the part before.
    A run that breaks off (StoreUnavailableError) has written some rows whole; run again, it writes the rest.
    Raises BadInputError and UnknownNameError for rows that do not fit the view, before anything is written.
    """
    started = time.monotonic()
    if batch_size is not None and batch_size < 1:
        raise BadInputError("batch_size", str(batch_size), "at least 1")
    encoder = Encoder(project, view, rows)
    size = batch_size or max(10, min(500, _CELLS_AT_ONCE // (len(view.features) + 1)))
    task = _Task(client, size, int(dry_run), int(overwrite_equal), key_ttl_seconds, progress)
    with guarded(client):
        _write_all(task, encoder)
    if progress is not None and encoder.null_keys:
        progress(encoder.null_keys)
    outcomes = task.outcomes
    return WriteStats(
        written=outcomes[_WRITTEN],
        overwritten_equal=outcomes[_OVERWRITTEN],
        filled=outcomes[_FILLED],
        unchanged=outcomes[_UNCHANGED],
        skipped_newer=outcomes[_SKIPPED],
        skipped_equal=outcomes[_KEPT],
        null_keys=encoder.null_keys,
        seconds=time.monotonic() - started,
    )


@dataclass(frozen=True)
class _Task:
    """One call of ``write_rows``, and what became of its rows so far."""

    client: Any
    size: int
    dry_run: int
    overwrite_equal: int
    key_ttl_seconds: int | None
    progress: Progress | None
    outcomes: Counter[int] = field(default_factory=Counter)

    @property
    def head(self) -> tuple[int, int, int]:
        """The script's first arguments."""
        return self.dry_run, self.overwrite_equal, self.key_ttl_seconds or 0

    def done(self, rows: int) -> None:
        """Tell the caller."""
        if rows and self.progress is not None:
            self.progress(rows)


def _write_all(task: _Task, encoder: Encoder) -> None:
    chunk = max(task.size, min(len(encoder), _CELLS_AHEAD // max(1, len(encoder.fields))))
    spans = [(start, min(start + chunk, len(encoder))) for start in range(0, len(encoder), chunk)]
    if is_cluster(task.client):
        for rows in ahead(spans, encoder.encode):
            _through_library(task, rows)
        return
    # transactions end in any order: rows of one entity need the script, which takes them as they come
    plain = not task.dry_run and pc.count_distinct(encoder.keys).as_py() == len(encoder)
    with ExitStack() as stack:
        connections = pipes(task.client, stack, _CONNECTIONS if plain else 1)
        for rows in ahead(spans, encoder.encode):
            undecided: list[int] = []
            if plain:
                for batch, outcome in transact(connections, Batches(rows, task.size, task.key_ttl_seconds)):
                    task.outcomes[_WRITTEN] += outcome.written
                    task.outcomes[_SKIPPED] += outcome.newer
                    undecided += outcome.undecided
                    task.done(len(batch) - len(outcome.undecided))
                rows = rows.take(np.array(sorted(undecided), dtype=np.int64)) if undecided else None
            if rows is not None:
                _through_script(task, rows, connections[0])


def _through_script(task: _Task, rows: EncodedRows, pipe: Pipe) -> None:
    """Every row by a script of its own, in order, pipelined; two batches under way."""
    calls = rows.calls(scripts.WRITE.sha.encode(), task.head)
    ensure_loaded(task.client, scripts.WRITE)
    batches = [range(at, min(at + task.size, len(rows))) for at in range(0, len(rows), task.size)]
    for number, batch in enumerate([*batches, None]):
        if batch is not None:
            pipe.send(len(batch), resp.stream(calls, batch.start, batch.stop))
        if number:
            before = batches[number - 1]
            for reply in (replies := pipe.read(len(before))):
                if isinstance(reply, Exception):
                    raise reply
            task.outcomes.update(replies)
            task.done(len(before))


def _through_library(task: _Task, rows: EncodedRows) -> None:
    """The same on a cluster, where redis-py knows which node has a key."""
    moments = np.divmod(rows.micros, 1_000_000)
    fixed = [moments[0].tolist(), (moments[1] * 1000).tolist(), [rows.stamp_field] * len(rows), rows.stamps.to_pylist()]
    for name, column in zip(rows.fields, rows.cells, strict=True):
        fixed += [[name] * len(rows), column.to_pylist()]
    calls = [(key, [*task.head, *values]) for key, *values in zip(rows.keys.to_pylist(), *fixed, strict=True)]
    for start in range(0, len(calls), task.size):
        part = calls[start : start + task.size]
        task.outcomes.update(scripts.run(task.client, scripts.WRITE, part))
        task.done(len(part))


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
    keys = entity_keys(project, view.join_keys, entities).to_pylist()
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


def _limits(entities: pa.Table) -> list[int | None]:
    if EVENT_TS not in entities.column_names:
        return [None] * entities.num_rows
    limits: list[int | None] = to_micros(entities.column(EVENT_TS)).to_pylist()
    return limits
