"""Takes records off the way of requests: a bounded queue, and a thread that writes it to journals.

Rows sent = rows stored + rows dropped + rows waiting, for every service, at any time; nothing waits after ``close``.
A row counts as stored once it is written to its journal; the journal is synced every ``SYNC_SECONDS``. A process that
is killed loses what waits (``LOOK_SECONDS``), a machine that loses power also what was written since the last sync.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from skewguard.errors import ConfigurationError
from skewguard.serving_log.folder import LogFolder
from skewguard.serving_log.journal import JournalWriter
from skewguard.serving_log.record import Shape, pack_dropped, pack_shape

LOOK_SECONDS, SYNC_SECONDS = 0.2, 1.0
_CHUNK_BYTES, _SPARE_CHUNKS = 2**20, 16

log = logging.getLogger("skewguard.serving_log")


@dataclass(frozen=True)
class LogLimits:
    """How much the log may take.

    Attributes:
        waiting_bytes: records that wait for the thread; more are dropped.
        spool_bytes: journals that wait to become segments, of all workers; while there are more, rows are dropped.
        free_bytes: while the file system has less room than that, rows are dropped.
        journal_bytes, journal_seconds: size and age at which a journal is closed and the next one begun.
    """

    waiting_bytes: int = 32 * 2**20
    spool_bytes: int = 2 * 2**30
    free_bytes: int = 512 * 2**20
    journal_bytes: int = 128 * 2**20
    journal_seconds: float = 300.0


@dataclass
class LogCounts:
    """Rows by service, since the start of the process."""

    sent: Counter[str] = field(default_factory=Counter)
    stored: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


class _Chunk:
    """Records one behind the other, their sizes, their rows by service, their shapes. Memory that is used again."""

    __slots__ = ("data", "rows", "shapes", "sizes", "used")

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.clear()

    def clear(self) -> None:
        """Make it empty."""
        self.used = 0
        self.sizes = array("I")
        self.rows: dict[str, int] = {}
        self.shapes: dict[bytes, Shape] = {}

    def add(self, shape: Shape, record: bytes, rows: int) -> None:
        """Put a record in, which must fit."""
        end = self.used + len(record)
        self.data[self.used : end] = record
        self.used = end
        self.sizes.append(len(record))
        self.rows[shape.service] = self.rows.get(shape.service, 0) + rows
        self.shapes[shape.id] = shape


def _nothing() -> None:
    return None


class LogQueue:
    """The log of one server process. ``put`` is for one thread only; the rest happens in a thread of its own.

    Args:
        folder: the repository's log.
        limits: how much it may take.
        on_closed: called in the log's thread after a journal was closed, and every ``journal_seconds``.
        on_look: called in the log's thread about every ``SYNC_SECONDS``, and at the end.

    Raises ConfigurationError when no journal can be written there.
    """

    def __init__(
        self,
        folder: LogFolder,
        limits: LogLimits | None = None,
        on_closed: Callable[[], None] = _nothing,
        on_look: Callable[[], None] = _nothing,
    ) -> None:
        self._folder = folder
        self._limits = limits or LogLimits()
        self._on_closed = on_closed
        self._on_look = on_look
        self._lock = threading.Lock()
        self._chunk = _Chunk(_CHUNK_BYTES)
        self._full_chunks: list[_Chunk] = []
        self._spare: list[_Chunk] = []
        self._waiting_bytes = 0
        self._refused: Counter[str] = Counter()  # by put, on its thread
        self._failed: Counter[str] = Counter()  # by the log's thread
        self._told: Counter[str] = Counter()  # drops that stand in a journal
        self._sent: Counter[str] = Counter()
        self._stored: Counter[str] = Counter()
        self._journals = 0
        self._journal: JournalWriter | None = None
        self._written: set[bytes] = set()
        self._begun = self._synced = self._asked = time.monotonic()
        self._begun_at = time.time()
        self._full = False
        self._looked = 0.0
        self._next_try = 0.0
        self.problem: str | None = None
        try:
            folder.spool.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise ConfigurationError(
                f"The serving log cannot be written to {folder.root}: {error.strerror or error}. Make the folder "
                "writable, or set 'serving_log: {enabled: false}' in skewguard.yaml."
            ) from error
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="serving-log", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, shape: Shape, record: bytes, rows: int) -> None:
        """Log ``rows`` rows; never waits. They are dropped, and counted, when too much waits already."""
        service = shape.service
        self._sent[service] += rows
        # one copy into memory that is there: records kept apart would cost several times as much
        size = len(record)
        with self._lock:
            if not self._full and self._waiting_bytes + size <= self._limits.waiting_bytes:
                self._waiting_bytes += size
                if self._chunk.used + size > len(self._chunk.data):
                    self._full_chunks.append(self._chunk)
                    fits = self._spare and size <= _CHUNK_BYTES
                    self._chunk = self._spare.pop() if fits else _Chunk(max(size, _CHUNK_BYTES))
                self._chunk.add(shape, record, rows)
                return
        self._refused[service] += rows

    @property
    def counts(self) -> LogCounts:
        """The counts now. ``sent`` is read last, so that it is never smaller than the others together."""
        stored = Counter(self._stored)
        dropped = self._dropped()
        return LogCounts(Counter(self._sent), stored, dropped)

    def _dropped(self) -> Counter[str]:
        dropped = Counter(self._refused)  # copied in one go; the other thread may add to it meanwhile
        dropped.update(Counter(self._failed))
        return dropped

    def close(self) -> None:
        """Write what waits, close the journal, end the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        else:
            self._run()

    # -- the log's thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            self._step(last=False)
        self._step(last=True)

    def _step(self, *, last: bool) -> None:
        if last:
            self._next_try = 0.0
        try:
            self._store()
            self._tell_drops()
            self._turn_over(last)
            if last or time.monotonic() - self._looked >= SYNC_SECONDS:
                self._looked = time.monotonic()
                self._look_for_room()
                self._on_look()
        except OSError as error:
            self._fail(error)
            self._on_look()

    def _store(self) -> None:
        """Write what waits."""
        with self._lock:
            taken, self._full_chunks = self._full_chunks, []
            if self._chunk.used:
                taken.append(self._chunk)
                self._chunk = self._spare.pop() if self._spare else _Chunk(_CHUNK_BYTES)
        while taken:
            try:
                self._write(taken[0])
            except OSError:
                for chunk in taken:
                    self._failed.update(chunk.rows)
                    self._waits_no_more(chunk)
                raise
            chunk = taken.pop(0)
            self._waits_no_more(chunk)
            chunk.clear()
            if len(chunk.data) == _CHUNK_BYTES and len(self._spare) < _SPARE_CHUNKS:
                self._spare.append(chunk)

    def _waits_no_more(self, chunk: _Chunk) -> None:
        with self._lock:
            self._waiting_bytes -= chunk.used

    def _write(self, chunk: _Chunk) -> None:
        journal = self._writable()
        new = {key: shape for key, shape in chunk.shapes.items() if key not in self._written}
        if new:
            journal.append([pack_shape(shape) for shape in new.values()])
            self._written.update(new)
        journal.append_block(chunk.sizes, memoryview(chunk.data)[: chunk.used])
        self._stored.update(chunk.rows)

    def _tell_drops(self) -> None:
        """Write down what was dropped, so that whoever reads the log knows what it lacks."""
        dropped = self._dropped()
        news = dropped - self._told
        if news:
            self._writable().append([pack_dropped(dict(news))])
            self._told = dropped

    def _writable(self) -> JournalWriter:
        if self._journal is None:
            if time.monotonic() < self._next_try:
                raise OSError(f"waiting after: {self.problem}")
            return self._open()
        return self._journal

    def _open(self) -> JournalWriter:
        # the name sorts by time, and is another one for each worker, host and start
        self._journals += 1
        name = f"{time.time_ns():020d}-{socket.gethostname()[:40]}-{os.getpid()}-{self._journals}".replace("/", "_")
        journal = self._journal = JournalWriter(self._folder.spool, name.replace(".", "_"))
        self._written = set()
        self._begun, self._begun_at = time.monotonic(), time.time()
        if self.problem is not None:
            log.warning("the serving log is written again")
            self.problem = None
        return journal

    def _turn_over(self, last: bool) -> None:
        """Sync, or close the journal where it is due."""
        now, limits = time.monotonic(), self._limits
        if self._journal is not None and self._journal.size:
            old = now - self._begun >= limits.journal_seconds or self._wished() > self._begun_at
            if last or old or self._journal.size >= limits.journal_bytes:
                self._close()
                if not last:  # at once: by its open journal a server is seen to live
                    self._open()
            elif now - self._synced >= SYNC_SECONDS:
                self._journal.sync()
                self._synced = now
        elif last and self._journal is not None:
            self._journal.discard()
            self._journal = None
        if now - self._asked >= limits.journal_seconds and not last:
            self._ask(now)

    def _close(self) -> None:
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()
            self._ask(time.monotonic())

    def _ask(self, now: float) -> None:
        self._asked = now
        self._on_closed()

    def _wished(self) -> float:
        """When somebody last wished to read what there is (seconds since 1970)."""
        try:
            return self._folder.wish.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _look_for_room(self) -> None:
        """Is there room for more? Tells when that changes."""
        reason = None
        if self._spooled() > self._limits.spool_bytes:
            reason = f"more than {self._limits.spool_bytes:,} bytes of journals wait to become segments"
        elif shutil.disk_usage(self._folder.spool).free < self._limits.free_bytes:
            reason = f"its file system has less than {self._limits.free_bytes:,} bytes left"
        if reason is not None and not self._full:
            log.error("the serving log %s drops rows: %s", self._folder.root, reason)
        elif reason is None and self._full:
            log.warning("the serving log has room again")
        self._full = reason is not None

    def _spooled(self) -> int:
        size = 0
        with os.scandir(self._folder.spool) as found:
            for entry in found:
                try:
                    size += entry.stat().st_size
                except FileNotFoundError:  # made into segments just now
                    continue
        return size

    def _fail(self, error: OSError) -> None:
        if self.problem is None:
            self.problem = error.strerror or str(error)
            log.error(
                "the serving log cannot be written to %s (%s); rows are dropped", self._folder.spool, self.problem
            )
        self._next_try = time.monotonic() + SYNC_SECONDS
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.abandon()
