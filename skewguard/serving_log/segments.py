"""Makes Parquet segments of finished journals: one file for each service, hour and shape of a journal.

A journal's segments have names that follow from it, are written beside and renamed, and the journal goes last. So it
can be killed at any point and run again: what is there already is written over with the same.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from skewguard.files import write_atomically
from skewguard.serving_log.columns import rows_table
from skewguard.serving_log.folder import SEGMENT, LogFolder
from skewguard.serving_log.journal import JournalReader, finished
from skewguard.serving_log.record import DROPPED, SHAPE, LoggedRows, Shape, unpack

ROWS_AT_ONCE = 50_000
"""Rows that are decoded together, and become one row group at least."""

_HOUR_US = 3_600_000_000


@dataclass
class Made:
    """What a run made: journals done, rows stored and dropped by service."""

    journals: int = 0
    stored: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


def make_segments(folder: LogFolder) -> Made:
    """Turn every finished journal into segments; waits for another process that does the same. Raises OSError."""
    made = Made()
    if not folder.spool.is_dir():
        return made
    with _locked(folder.lock):
        for journal in finished(folder.spool):
            stored, dropped = _convert(folder, journal)
            journal.unlink()
            made.journals += 1
            made.stored.update(stored)
            made.dropped.update(dropped)
    return made


def remove_old(folder: LogFolder, service: str, before: datetime) -> int:
    """Remove a service's hours that ended before ``before``; the number of hours removed. Raises OSError."""
    removed = 0
    for begins, path in list(folder.hours(service)):
        if begins + timedelta(hours=1) <= before:
            shutil.rmtree(path)
            removed += 1
    return removed


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _convert(folder: LogFolder, journal: Path) -> tuple[Counter[str], Counter[str]]:
    """One journal; its rows stored and dropped by service."""
    reader = JournalReader(journal)
    stored: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    span: list[int] = []
    with _Segments(folder, journal.stem) as segments:
        shapes: dict[bytes, Shape] = {}
        for data in reader:
            kind, *items = unpack(data)  # type: ignore[arg-type]
            if kind == SHAPE:
                shape = Shape.parse(items[0])
                shapes[shape.id] = shape
            elif kind == DROPPED:
                dropped.update(items[0])
            else:
                shape, rows = shapes[items[0]], LoggedRows(*items[1:])
                segments.add(shape, rows)
                stored[shape.service] += rows.rows
                span = [min([rows.time_us, *span]), max([rows.time_us, *span])]
    counts = {
        "from": _text(span[0]) if span else None,
        "to": _text(span[1]) if span else None,
        "whole": reader.whole,
        "services": {name: {"stored": stored[name], "dropped": dropped[name]} for name in sorted({*stored, *dropped})},
    }
    if stored or dropped or not reader.whole:
        write_atomically(folder.counts / f"{journal.stem}.json", json.dumps(counts, indent=2) + "\n")
    return stored, dropped


def _text(micros: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")


class _Segments:
    """The segments of a journal that are being written. They get their names all together, at the end."""

    def __init__(self, folder: LogFolder, journal: str) -> None:
        self._folder = folder
        self._journal = journal
        self._pending: dict[tuple[bytes, int], tuple[Shape, list[LoggedRows]]] = {}
        self._rows: Counter[tuple[bytes, int]] = Counter()
        self._writers: dict[Path, pq.ParquetWriter] = {}

    def __enter__(self) -> _Segments:
        return self

    def add(self, shape: Shape, rows: LoggedRows) -> None:
        """Take a record in."""
        place = shape.id, rows.time_us // _HOUR_US
        self._pending.setdefault(place, (shape, []))[1].append(rows)
        self._rows[place] += rows.rows
        if self._rows[place] >= ROWS_AT_ONCE:
            self._write(place)

    def _write(self, place: tuple[bytes, int]) -> None:
        shape, records = self._pending.pop(place)
        del self._rows[place]
        table = rows_table(shape, records)
        hour = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=place[1])
        path = self._folder.hour(shape.service, hour) / f"{self._journal}-{shape.id.hex()[:8]}{SEGMENT}"
        writer = self._writers.get(path)
        if writer is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = self._writers[path] = pq.ParquetWriter(
                _hidden(path), table.schema, compression="zstd", **_dictionaries(table.schema)
            )
        writer.write_table(table)

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                for place in list(self._pending):
                    self._write(place)
        finally:
            for writer in self._writers.values():
                writer.close()
        if kind is not None:
            for path in self._writers:
                _hidden(path).unlink(missing_ok=True)
            return
        for path in self._writers:
            with _hidden(path).open("rb") as file:
                os.fsync(file.fileno())
            _hidden(path).rename(path)
        for parent in {path.parent for path in self._writers}:
            _sync_folder(parent)


def _dictionaries(schema: pa.Schema) -> Mapping[str, list[str]]:
    """Columns that repeat themselves; for most numbers, a dictionary is made in vain."""
    plain = (pa.types.is_floating, pa.types.is_list, pa.types.is_binary)
    return {"use_dictionary": [f.name for f in schema if not any(is_kind(f.type) for is_kind in plain)]}


def _hidden(path: Path) -> Path:
    return path.with_name(f".{path.name}")


def _sync_folder(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
