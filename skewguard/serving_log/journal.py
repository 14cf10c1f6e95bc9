"""A journal: a file to which blocks of records are appended. What a crash cut off at its end is known and left out.

A block: magic, number of records, CRC-32 of what follows the head, bytes of records; sizes of the records; the records.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from skewguard.serving_log.folder import CLOSED, OPEN

_HEAD = struct.Struct("<4sIIQ")
_MAGIC = b"sgj1"
_VECTORS = 1024  # IOV_MAX on Linux


class JournalWriter:
    """Appends blocks to a new journal. While it is open it holds a lock, by which a left journal is known.

    Raises OSError, from every method.
    """

    def __init__(self, spool: Path, name: str) -> None:
        self._path = spool / f"{name}{OPEN}"
        hidden = spool / f".{name}"
        self._file = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # the lock comes before the name: whoever finds the file must not take it for a left one
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(self._path)
        except OSError:
            os.close(self._file)
            hidden.unlink(missing_ok=True)
            raise
        self.size = 0

    def append(self, records: Sequence[bytes]) -> None:
        """Write a block, whole or not at all (but for a crash)."""
        sizes = array("I", map(len, records)).tobytes()
        checksum = zlib.crc32(sizes)
        for record in records:
            checksum = zlib.crc32(record, checksum)
        length = sum(map(len, records))
        try:
            self._write([_HEAD.pack(_MAGIC, len(records), checksum, length), sizes, *records])
        except OSError:
            os.ftruncate(self._file, self.size)
            os.lseek(self._file, self.size, os.SEEK_SET)
            raise
        self.size += _HEAD.size + len(sizes) + length

    def _write(self, buffers: Sequence[bytes]) -> None:
        for start in range(0, len(buffers), _VECTORS):
            some = [memoryview(buffer) for buffer in buffers[start : start + _VECTORS]]
            while some:
                written = os.writev(self._file, some)
                while some and written >= len(some[0]):
                    written -= len(some.pop(0))
                if some and written:
                    some[0] = some[0][written:]

    def sync(self) -> None:
        """See to it that what was written survives a loss of power."""
        os.fdatasync(self._file)

    def close(self) -> None:
        """Sync, and hand the journal over to whoever makes segments of it."""
        try:
            os.fdatasync(self._file)
            self._path.rename(self._path.with_suffix(CLOSED))
        finally:
            os.close(self._file)

    def discard(self) -> None:
        """End a journal without a record."""
        os.close(self._file)
        self._path.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Stop writing, where writing failed: what stands there is whole, and found like that of a dead process."""
        os.close(self._file)


class JournalReader:
    """The records of a journal that is no longer written. ``whole`` says, at the end, that nothing was cut off."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.whole = True

    def __iter__(self) -> Iterator[memoryview]:
        """The records in order, up to the first block that is not whole. Raises OSError."""
        with self._path.open("rb") as file:
            while head := file.read(_HEAD.size):
                block = self._block(head, file.read)
                if block is None:
                    self.whole = False
                    return
                yield from block

    @staticmethod
    def _block(head: bytes, read: Callable[[int], bytes]) -> list[memoryview] | None:
        if len(head) < _HEAD.size:
            return None
        magic, count, checksum, length = _HEAD.unpack(head)
        if magic != _MAGIC:
            return None
        body = read(count * 4 + length)
        if len(body) < count * 4 + length or zlib.crc32(body) != checksum:
            return None
        sizes = array("I", body[: count * 4])
        view, start, records = memoryview(body), count * 4, []
        for size in sizes:
            records.append(view[start : start + size])
            start += size
        return records


def finished(spool: Path) -> list[Path]:
    """Journals that nobody writes any more, oldest first: closed ones, and left ones. Raises OSError."""
    found = list(spool.glob(f"*{CLOSED}"))
    for path in spool.glob(f"*{OPEN}"):
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # closed by its writer just now
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found.append(path)
        except BlockingIOError:
            continue
        finally:
            os.close(file)
    return sorted(found, key=lambda path: path.name)
