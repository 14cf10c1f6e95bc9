"""Stored fields of many entity keys, a batch at a time: pipelined, at most at a given rate, on any kind of Redis."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from redis.exceptions import ResponseError

from skewguard.errors import BadInputError
from skewguard.online import resp
from skewguard.online.pipe import Pipe, is_cluster

WRONG_TYPE = object()
"""Stands for a key that holds no hash."""

_SAMPLE = 50
_WHOLE_UP_TO = 3

Row = Any
"""Values by field (bytes, or None where there is no such field); None where there is no such key; or ``WRONG_TYPE``."""


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


def fetch(client: Any, keys: pa.Array, fields: Sequence[bytes], batch_size: int, pace: Pace) -> Iterator[list[Row]]:
    """For each batch of ``keys`` (binary, no nulls), in order: a row for each key.

    Raises what redis-py raises.
    """
    size = pace.batch(batch_size)
    if is_cluster(client):
        yield from _through_library(client, keys.to_pylist(), fields, size, pace)
        return
    with Pipe(client) as pipe:
        if _whole_hashes(pipe, keys, len(fields)):
            asked = resp.commands([b"HGETALL", keys])
            aligner = _Aligner(fields)
            for replies in _replies(pipe, asked, size, pace):
                yield [aligner.row(reply) for reply in replies]
        else:
            asked = resp.commands([b"HMGET", keys, *fields])
            exists = resp.commands([b"EXISTS", keys])
            for number, replies in enumerate(_replies(pipe, asked, size, pace)):
                rows = [_checked(reply) for reply in replies]
                yield _without_absent(rows, lambda places, at=number * size: _exist(client, exists, at, places))


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


def _whole_hashes(pipe: Pipe, keys: pa.Array, fields: int) -> bool:
    """Are the hashes hardly larger than what is wanted of them?

    Then HGETALL takes Redis a third of the time of an HMGET, which searches a small hash anew for every field.
    """
    some = keys[:: max(1, len(keys) // _SAMPLE)][:_SAMPLE]
    if not len(some):
        return False
    asked = resp.commands([b"HLEN", some])
    pipe.send(len(some), resp.stream(asked, 0, len(some)))
    sizes = [size for size in pipe.read(len(some)) if isinstance(size, int)]
    return bool(sizes) and max(sizes) <= min(_WHOLE_UP_TO * fields, 512)


class _Aligner:
    """Replies of HGETALL as rows of ``fields``. The fields of most rows come in one order: it is looked up once."""

    def __init__(self, fields: Sequence[bytes]) -> None:
        self._fields = list(fields)
        self._order: list[bytes] = []
        self._places: list[int] | None = None

    def row(self, reply: Any) -> Row:
        """One row."""
        if isinstance(reply, Exception):
            return _checked(reply)
        if not reply:
            return None
        if isinstance(reply, dict):  # RESP3
            return [reply.get(name) for name in self._fields]
        names = reply[::2]
        if names != self._order:
            self._learn(names)
        values = reply[1::2]
        if self._places is None:
            found = dict(zip(names, values, strict=True))
            return [found.get(name) for name in self._fields]
        return values if not self._places else [values[place] for place in self._places]

    def _learn(self, names: list[bytes]) -> None:
        self._order = names
        known = {name: place for place, name in enumerate(names)}
        if all(name in known for name in self._fields):
            places = [known[name] for name in self._fields]
            self._places = [] if places == list(range(len(names))) else places
        else:
            self._places = None


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
