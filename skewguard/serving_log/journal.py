"""A journal: a file to which blocks of records are appended. What a crash cut off at its end is known and left out.

A block: magic, number of records, bytes of records, CRC-32 of all else; sizes of the records; the records.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from skewguard.serving_log.folder import CLOSED, OPEN

_HEAD, _CHECKSUM = struct.Struct("<4sIQ"), struct.Struct("<I")
_MAGIC = b"sgj1"
_HEAD_BYTES = _HEAD.size + _CHECKSUM.size


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
        """Write a block of some records, whole or not at all (but for a crash)."""
        self.append_block(array("I", map(len, records)), b"".join(records))

    def append_block(self, sizes: array[int], data: bytes | memoryview) -> None:
        """Write records that lie one behind the other as one block, whole or not at all (but for a crash)."""
        table = sizes.tobytes()
        head = _HEAD.pack(_MAGIC, len(sizes), len(data))
        head += _CHECKSUM.pack(zlib.crc32(data, zlib.crc32(table, zlib.crc32(head))))
        try:
            for part in (head + table, data):
                rest = memoryview(part)
                while rest:
                    rest = rest[os.write(self._file, rest) :]
        except OSError:
            os.ftruncate(self._file, self.size)
            os.lseek(self._file, self.size, os.SEEK_SET)
            raise
        self.size += len(head) + len(table) + len(data)

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
            left = os.fstat(file.fileno()).st_size
            while left:
                body = self._body(file, left)
                if body is None:
                    self.whole = False
                    return
                left -= _HEAD_BYTES + len(body[1])
                yield from self._records(*body)

    @staticmethod
    def _body(file: BinaryIO, left: int) -> tuple[int, bytes] | None:
        """Number of records, and what follows the head of the next block; None where it is not whole."""
        if left < _HEAD_BYTES:
            return None
        head, (checksum,) = file.read(_HEAD.size), _CHECKSUM.unpack(file.read(_CHECKSUM.size))
        magic, count, length = _HEAD.unpack(head)
        if magic != _MAGIC or count * 4 + length > left - _HEAD_BYTES:
            return None
        body = file.read(count * 4 + length)
        return (count, body) if zlib.crc32(body, zlib.crc32(head)) == checksum else None

    @staticmethod
    def _records(count: int, body: bytes) -> Iterator[memoryview]:
        sizes = array("I", body[: count * 4])
        view, start = memoryview(body), count * 4
        for size in sizes:
            yield view[start : start + size]
            start += size


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
