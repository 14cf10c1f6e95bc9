"""Makes Parquet segments of finished journals: one file for each service, hour and shape of a journal.

A journal's segments have names that follow from it, are written beside and renamed, and the journal goes last. So it
can be killed at any point and run again: what is there already is written over with the same.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from skewguard.files import write_atomically
from skewguard.serving_log.columns import LOG_TIMESTAMP, rows_table
from skewguard.serving_log.folder import BROKEN, SEGMENT, LogFolder
from skewguard.serving_log.journal import JournalReader, finished
from skewguard.serving_log.record import DROPPED, SHAPE, LoggedRows, Shape, unpack

BYTES_AT_ONCE = 16 * 2**20
"""Records that are decoded together, and become a row group."""

_HOUR_US = 3_600_000_000
log = logging.getLogger("skewguard.serving_log")


@dataclass
class Made:
    """What a run made: journals done, journals put aside, rows stored and dropped by service."""

    journals: int = 0
    broken: int = 0
    stored: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


def make_segments(folder: LogFolder, share: float = 1.0) -> Made:
    """Turn every finished journal into segments; waits for another process that does the same.

    ``share``: of the time, rest the other part. A journal that cannot be understood is put aside (``.broken``) and
    told in the log. Raises OSError.
    """
    made = Made()
    if not folder.spool.is_dir():
        return made
    with _locked(folder.lock):
        for journal in finished(folder.spool):
            try:
                stored, dropped = _convert(folder, journal, share)
            except (ValueError, KeyError, IndexError, TypeError, EOFError, pa.ArrowException):
                log.exception("%s is no journal that this version understands; it is put aside", journal)
                journal.rename(journal.with_suffix(BROKEN))
                made.broken += 1
                continue
            journal.unlink()
            made.journals += 1
            made.stored.update(stored)
            made.dropped.update(dropped)
    return made


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _convert(folder: LogFolder, journal: Path, share: float) -> tuple[Counter[str], Counter[str]]:
    """One journal; its rows stored and dropped by service."""
    reader = JournalReader(journal)
    dropped: Counter[str] = Counter()
    with _Segments(folder, journal.stem, share) as segments:
        shapes: dict[bytes, Shape] = {}
        for data in reader:
            record = unpack(data)
            if record[0] == SHAPE:
                shape = Shape.parse(record[1])
                shapes[shape.id] = shape
            elif record[0] == DROPPED:
                dropped.update(record[1])
            else:
                segments.add(shapes[record[1]], LoggedRows(*record[2]), len(data))
    stored, span = segments.stored, segments.span
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

    def __init__(self, folder: LogFolder, journal: str, share: float) -> None:
        self._folder = folder
        self._share = share
        self._journal = journal
        self._pending: dict[bytes, tuple[Shape, list[LoggedRows]]] = {}
        self._bytes: Counter[bytes] = Counter()
        self._writers: dict[Path, pq.ParquetWriter] = {}
        self.stored: Counter[str] = Counter()
        self.span: tuple[int, int] | None = None

    def __enter__(self) -> _Segments:
        return self

    def add(self, shape: Shape, record: LoggedRows, size: int) -> None:
        """Take in a record that was so many bytes."""
        self._pending.setdefault(shape.id, (shape, []))[1].append(record)
        self._bytes[shape.id] += size
        if self._bytes[shape.id] >= BYTES_AT_ONCE:
            self._decode(shape.id)

    def _decode(self, shape_id: bytes) -> None:
        started = time.monotonic()
        self._make(shape_id)
        time.sleep((time.monotonic() - started) * (1 / self._share - 1))

    def _make(self, shape_id: bytes) -> None:
        shape, records = self._pending.pop(shape_id)
        del self._bytes[shape_id]
        table = rows_table(shape, records)
        times = np.asarray(table.column(LOG_TIMESTAMP).cast(pa.int64()))
        low, high = int(times.min()), int(times.max())
        self.span = (low, high) if self.span is None else (min(low, self.span[0]), max(high, self.span[1]))
        self.stored[shape.service] += table.num_rows
        for hour in range(low // _HOUR_US, high // _HOUR_US + 1):
            some = table if low // _HOUR_US == high // _HOUR_US else table.filter(pa.array(times // _HOUR_US == hour))
            if some.num_rows:
                self._write(shape, hour, some)

    def _write(self, shape: Shape, hour: int, table: pa.Table) -> None:
        folder = self._folder.hour(shape.service, datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=hour))
        path = folder / f"{self._journal}-{shape.id.hex()[:8]}{SEGMENT}"
        writer = self._writers.get(path)
        if writer is None:
            folder.mkdir(parents=True, exist_ok=True)
            writer = self._writers[path] = pq.ParquetWriter(
                _hidden(path), table.schema, compression="zstd", **_dictionaries(table.schema)
            )
        writer.write_table(table)

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                for shape_id in list(self._pending):
                    self._decode(shape_id)
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
