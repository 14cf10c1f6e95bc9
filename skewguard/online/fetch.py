"""Stored fields of many entity keys, a batch at a time: pipelined, at most at a given rate, on any kind of Redis."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from redis.exceptions import ResponseError

from skewguard.errors import BadInputError
from skewguard.online import resp
from skewguard.online.columns import Cells
from skewguard.online.pipe import Pipe, RawSocket, is_cluster
from skewguard.online.replies import HashShape, Parsed, read_all, usual_shape

_SAMPLE = 50
_LEARN_FROM = 200
_WHOLE_UP_TO = 3

Row = Any
"""Values by field (bytes, or None where there is no such field); None where there is no such key; or ``WRONG_TYPE``."""

WRONG_TYPE = object()
"""Stands for a key that holds no hash."""


@dataclass(frozen=True)
class Fetched:
    """What is stored for a batch of keys.

    Attributes:
        cells: for each field asked for, the stored bytes of every key.
        absent: which keys are not there.
        unreadable: which keys hold no hash.
    """

    cells: list[Cells]
    absent: npt.NDArray[np.bool_]
    unreadable: npt.NDArray[np.bool_]

    @classmethod
    def of_rows(cls, rows: Sequence[Row], fields: int) -> Fetched:
        """From rows of Python values."""
        blank: list[bytes | None] = [None] * fields
        values = [blank if row is None or row is WRONG_TYPE else row for row in rows]
        columns = list(zip(*values, strict=True)) if values else [()] * fields
        absent = np.fromiter((row is None for row in rows), dtype=np.bool_, count=len(rows))
        unreadable = np.fromiter((row is WRONG_TYPE for row in rows), dtype=np.bool_, count=len(rows))
        return cls([Cells.of(column) for column in columns], absent, unreadable)

    def __len__(self) -> int:
        return len(self.absent)


@dataclass
class Pace:
    """At most so many keys a second; None: as fast as it goes."""

    keys_per_second: float | None = None
    _due: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if self.keys_per_second is not None and not self.keys_per_second > 0:
            raise BadInputError("keys_per_second", str(self.keys_per_second), "a number above 0")

    def wait(self, keys: int) -> None:
        """Sleep until so many keys may be asked for."""
        if self.keys_per_second is None:
            return
        now = time.monotonic()
        time.sleep(max(0.0, self._due - now))
        self._due = max(self._due, now) + keys / self.keys_per_second

    def batch(self, size: int) -> int:
        """A batch small enough to keep the pace even: a tenth of a second's worth."""
        return size if self.keys_per_second is None else max(1, min(size, int(self.keys_per_second / 10)))


def fetch(client: Any, keys: pa.Array, fields: Sequence[bytes], batch_size: int, pace: Pace) -> Iterator[Fetched]:
    """What is stored in ``fields`` of each of ``keys`` (binary, no nulls), batch by batch, in order.

    Raises what redis-py raises, and OSError.
    """
    size = pace.batch(batch_size)
    if is_cluster(client):
        batches = _through_library(client, keys.to_pylist(), fields, size, pace)
    elif not _whole_hashes(client, keys, len(fields)):
        batches = _fields(client, keys, fields, size, pace)
    elif RawSocket.reaches(client):
        yield from _shaped(client, keys, fields, size, pace)
        return
    else:
        batches = _hashes(client, keys, fields, size, pace)
    for rows in batches:
        yield Fetched.of_rows(rows, len(fields))


def _fields(client: Any, keys: pa.Array, fields: Sequence[bytes], size: int, pace: Pace) -> Iterator[list[Row]]:
    """A few fields of large hashes: HMGET."""
    asked = resp.commands([b"HMGET", keys, *fields])
    exists = resp.commands([b"EXISTS", keys])
    with Pipe(client) as pipe:
        for number, replies in enumerate(_replies(pipe, asked, size, pace)):
            rows = [_checked(reply) for reply in replies]
            yield _without_absent(rows, lambda places, at=number * size: _exist(client, exists, at, places))


def _hashes(client: Any, keys: pa.Array, fields: Sequence[bytes], size: int, pace: Pace) -> Iterator[list[Row]]:
    """Whole hashes: HGETALL, its replies as Python values."""
    with Pipe(client) as pipe:
        for replies in _replies(pipe, resp.commands([b"HGETALL", keys]), size, pace):
            yield [_row(reply, fields) for reply in replies]


def _shaped(client: Any, keys: pa.Array, fields: Sequence[bytes], size: int, pace: Pace) -> Iterator[Fetched]:
    """Whole hashes from a plain Redis: what most of them look like is learnt, and those are taken apart all at once."""
    asked = resp.commands([b"HGETALL", keys])
    first_batch = min(size, _LEARN_FROM)
    starts = [0, *range(first_batch, len(keys), size)]
    spans = list(zip(starts, [*starts[1:], len(keys)], strict=True))
    shape: HashShape | None = None
    with RawSocket(client) as connection:
        for number, (start, stop) in enumerate(spans):
            for first, last in spans[:2] if number == 0 else spans[number + 1 : number + 2]:
                pace.wait(last - first)  # the next batch is always under way
                connection.send(resp.stream(asked, first, last))
            data = connection.receive()
            parsed = shape.parse(data, stop - start) if shape is not None else None
            if parsed is None or len(parsed.others) > len(parsed.places):
                replies = read_all(data, stop - start)
                shape = usual_shape(replies)
                yield Fetched.of_rows([_row(reply, fields) for reply in replies], len(fields))
            else:
                yield _merged(parsed, fields)


def _merged(parsed: Parsed, fields: Sequence[bytes]) -> Fetched:
    """The rows of the usual shape, and the others among them."""
    count = len(parsed.places)
    nothing = Cells(np.zeros(0, np.uint8), np.zeros(count, np.int64), np.full(count, -1, np.int64))
    cells = [parsed.columns.get(name, nothing) for name in fields]
    none = np.zeros(count, dtype=np.bool_)
    if not parsed.others:
        return Fetched(cells, none, none)
    rest = Fetched.of_rows([_row(reply, fields) for reply in parsed.others.values()], len(fields))
    order = np.argsort(np.concatenate([parsed.places, np.array(list(parsed.others), dtype=np.int64)]))
    return Fetched(
        [usual.and_then(other).take(order) for usual, other in zip(cells, rest.cells, strict=True)],
        np.concatenate([none, rest.absent])[order],
        np.concatenate([none, rest.unreadable])[order],
    )


def _row(reply: Any, fields: Sequence[bytes]) -> Row:
    """One reply of HGETALL."""
    if isinstance(reply, Exception):
        return _checked(reply)
    if not reply:
        return None
    found = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
    return [found.get(name) for name in fields]


def _replies(pipe: Pipe, commands: pa.Array, size: int, pace: Pace) -> Iterator[list[Any]]:
    """The replies batch by batch, with the next batch always under way."""
    spans = [(start, min(start + size, len(commands))) for start in range(0, len(commands), size)]
    for number, (start, stop) in enumerate(spans):
        if number == 0:
            pace.wait(stop - start)
            pipe.send(stop - start, resp.stream(commands, start, stop))
        if number + 1 < len(spans):
            following = spans[number + 1]
            pace.wait(following[1] - following[0])
            pipe.send(following[1] - following[0], resp.stream(commands, *following))
        yield pipe.read(stop - start)


def _whole_hashes(client: Any, keys: pa.Array, fields: int) -> bool:
    """Are the hashes hardly larger than what is wanted of them?

    Then HGETALL takes Redis a third of the time of an HMGET, which searches a small hash anew for every field.
    """
    some = keys[:: max(1, len(keys) // _SAMPLE)][:_SAMPLE]
    if not len(some):
        return False
    asked = resp.commands([b"HLEN", some])
    with Pipe(client) as pipe:
        pipe.send(len(some), resp.stream(asked, 0, len(some)))
        sizes = [size for size in pipe.read(len(some)) if isinstance(size, int)]
    return bool(sizes) and max(sizes) <= min(_WHOLE_UP_TO * fields, 512)


def _checked(reply: Any) -> Any:
    if isinstance(reply, ResponseError) and str(reply).startswith("WRONGTYPE"):
        return WRONG_TYPE
    if isinstance(reply, Exception):
        raise reply
    return reply


def _without_absent(rows: list[Any], exist: Any) -> list[Any]:
    """Rows in which nothing at all was found, None where the key is not there."""
    places = [i for i, row in enumerate(rows) if row is not WRONG_TYPE and not any(v is not None for v in row)]
    if places:
        for place, there in zip(places, exist(places), strict=True):
            if not there:
                rows[place] = None
    return rows


def _exist(client: Any, exists: pa.Array, at: int, places: Iterable[int]) -> list[bool]:
    wanted = [at + place for place in places]
    with Pipe(client) as pipe:
        pipe.send(len(wanted), b"".join(resp.stream(exists, index, index + 1) for index in wanted))
        return [bool(_checked(reply)) for reply in pipe.read(len(wanted))]


def _through_library(
    client: Any, keys: Sequence[bytes], fields: Sequence[bytes], size: int, pace: Pace
) -> Iterator[list[Any]]:
    for start in range(0, len(keys), size):
        batch = keys[start : start + size]
        pace.wait(len(batch))
        with client.pipeline(transaction=False) as pipe:
            for key in batch:
                pipe.hmget(key, list(fields))
            rows = [_checked(reply) for reply in pipe.execute(raise_on_error=False)]

        def exist(places: Sequence[int], batch: Sequence[bytes] = batch) -> list[bool]:
            with client.pipeline(transaction=False) as asking:
                for place in places:
                    asking.exists(batch[place])
                return [bool(there) for there in asking.execute()]

        yield _without_absent(rows, exist)
