"""Connections of a redis-py pool for prepared bytes: many commands in one send, their replies read together.

redis-py opens them (TLS, passwords, sentinels and all); what it does for each single command is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Self, TypeVar

from redis.exceptions import ResponseError

Buffer = bytes | memoryview
T = TypeVar("T")


def is_cluster(client: Any) -> bool:
    """Whether keys lie on several nodes, so that no one connection reaches them all."""
    return hasattr(client, "nodes_manager")


class Pipe:
    """One connection: send commands, then read as many replies. Use as a context manager."""

    def __init__(self, client: Any) -> None:
        self._pool = client.connection_pool
        self._connection = self._pool.get_connection()
        self._owed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._owed:  # replies that nobody will read must not reach the next user
            self._connection.disconnect()
        self._pool.release(self._connection)

    def send(self, replies: int, *commands: Buffer) -> None:
        """Send commands that will be answered with so many replies."""
        self._owed += replies
        self._connection.send_packed_command(commands)

    def read(self, count: int) -> list[Any]:
        """The next replies, in order; an error that Redis answered stands in its place. Raises what redis-py raises."""
        read_response = self._connection.read_response
        replies: list[Any] = []
        for _ in range(count):
            try:
                replies.append(read_response())
            except ResponseError as error:
                replies.append(error)
            self._owed -= 1
        return replies


def pipes(client: Any, stack: ExitStack, count: int) -> list[Pipe]:
    """Several connections, given back when the stack closes."""
    return [stack.enter_context(Pipe(client)) for _ in range(count)]


def ahead(items: Iterable[T], work: Callable[[T], Any]) -> Iterator[Any]:
    """``map(work, items)``, in order, with the next one worked on in a thread while this one is used."""
    with ThreadPoolExecutor(1) as pool:
        pending = None
        for item in items:
            done, pending = pending, pool.submit(work, item)
            if done is not None:
                yield done.result()
        if pending is not None:
            yield pending.result()
