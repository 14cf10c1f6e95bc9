"""Compare and set without a script: WATCH the keys, look at their timestamps, write what is due in one MULTI ... EXEC.

Redis drops the transaction when another client touched one of the watched keys in between. Against the script it spares
Redis the copying of every value through Lua. Several connections take turns, so that Redis has work while one of them
waits for an answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ResponseError

from skewguard.errors import CorruptValueError
from skewguard.online import resp
from skewguard.online.encoded import EncodedRows
from skewguard.online.pipe import Buffer, Pipe
from skewguard.online.timestamps import decode_timestamp
from skewguard.online.wire import resp_command

_MULTI, _EXEC, _UNWATCH = (resp_command(name) for name in (b"MULTI", b"EXEC", b"UNWATCH"))


@dataclass
class Outcome:
    """What became of the rows of one transaction; ``undecided`` are those that the script must look at."""

    written: int = 0
    newer: int = 0
    undecided: list[int] = field(default_factory=list)


class Batches:
    """Rows cut into transactions, with their commands."""

    def __init__(self, rows: EncodedRows, size: int, key_ttl_seconds: int | None) -> None:
        keys = resp.arguments(rows.keys)
        self.rows, self._size, self._keys = rows, size, keys
        self._looks = resp.commands([b"HGET", rows.keys, rows.stamp_field])
        self._sets = rows.sets()
        self._renewals = resp.commands([b"EXPIRE", rows.keys, b"%d" % key_ttl_seconds]) if key_ttl_seconds else None

    def __iter__(self) -> Iterator[range]:
        for start in range(0, len(self.rows), self._size):
            yield range(start, min(start + self._size, len(self.rows)))

    def look(self, batch: range) -> list[Buffer]:
        """WATCH every key, and get the event timestamp stored under each."""
        watch = b"*%d\r\n$5\r\nWATCH\r\n" % (1 + len(batch))
        span = (batch.start, batch.stop)
        return [watch, resp.stream(self._keys, *span), resp.stream(self._looks, *span)]

    def write(self, due: Sequence[int], batch: range) -> tuple[int, list[Buffer]]:
        """The number of commands, and the transaction."""
        streams = [self._sets] if self._renewals is None else [self._sets, self._renewals]
        if len(due) == len(batch):
            body: list[Buffer] = [resp.stream(rows, batch.start, batch.stop) for rows in streams]
        else:
            body = [resp.stream(rows, index, index + 1) for rows in streams for index in due]
        return len(due) * len(streams), [b"".join([_MULTI, *body, _EXEC])]


def transact(pipes: Sequence[Pipe], batches: Batches) -> Iterator[tuple[range, Outcome]]:
    """Write the batches, each in a transaction; what became of each, in the order in which they end."""
    free, active = list(pipes), deque[tuple[Pipe, range, Generator[None, None, Outcome]]]()
    waiting = iter(batches)
    while True:
        while free and (batch := next(waiting, None)) is not None:
            pipe = free.pop()
            steps = _steps(pipe, batches, batch)
            next(steps)
            active.append((pipe, batch, steps))
        if not active:
            return
        pipe, batch, steps = active.popleft()
        try:
            next(steps)
            active.append((pipe, batch, steps))
        except StopIteration as done:
            free.append(pipe)
            yield batch, done.value


def _steps(pipe: Pipe, batches: Batches, batch: range) -> Generator[None, None, Outcome]:
    """One transaction; pauses wherever Redis has to answer."""
    pipe.send(1 + len(batch), *batches.look(batch))
    yield
    watched, *stored = pipe.read(1 + len(batch))
    if isinstance(watched, Exception):
        raise watched
    outcome, due = _compared(batches.rows, batch, stored)
    if not due:
        pipe.send(1, _UNWATCH)
        yield
        pipe.read(1)
        return outcome
    commands, buffers = batches.write(due, batch)
    pipe.send(commands + 2, *buffers)
    yield
    replies = pipe.read(commands + 2)
    for reply in (*replies, *(replies[-1] or ())) if isinstance(replies[-1], list) else replies:
        if isinstance(reply, Exception):
            raise reply
    if replies[-1] is None:  # another writer was there in between
        outcome.undecided += due
    else:
        outcome.written = len(due)
    return outcome


def _compared(rows: EncodedRows, batch: range, stored: Sequence[Any]) -> tuple[Outcome, list[int]]:
    """Rows by what is stored: newer, to be decided by the script (equal, damaged), and those that are due."""
    outcome, due = Outcome(), []
    times: dict[bytes, int | None] = {}
    for index, raw in zip(batch, stored, strict=True):
        if raw is None:
            due.append(index)
            continue
        if isinstance(raw, Exception):
            if not (isinstance(raw, ResponseError) and str(raw).startswith("WRONGTYPE")):
                raise raw
            outcome.undecided.append(index)
            continue
        if raw not in times:
            times[raw] = _nanoseconds(raw)
        there, ours = times[raw], int(rows.micros[index]) * 1000
        if there is None or there < ours:
            due.append(index)
        elif there > ours:
            outcome.newer += 1
        else:
            outcome.undecided.append(index)
    return outcome, due


def _nanoseconds(raw: bytes) -> int | None:
    try:
        return decode_timestamp(raw)
    except CorruptValueError:
        return None
