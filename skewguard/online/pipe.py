"""Connections of a redis-py pool for prepared bytes: many commands in one send, their replies read together.

redis-py opens them (TLS, passwords, sentinels and all); what it does for each single command is left out.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Self, TypeVar

import redis
from redis.exceptions import ResponseError

from skewguard.online.connection import login, reply_error
from skewguard.online.wire import resp_argument, resp_command

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


class RawSocket:
    """A connection of its own to the plain Redis of a client, for replies that are taken as bytes."""

    def __init__(self, client: Any) -> None:
        kwargs = client.connection_pool.connection_kwargs
        timeout = kwargs.get("socket_connect_timeout")
        self._socket = socket.create_connection((kwargs["host"], int(kwargs["port"])), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(kwargs.get("socket_timeout"))
        self._mark = resp_argument(secrets.token_bytes(16))
        self._rest = b""
        for command in login(kwargs):
            self._socket.sendall(resp_command(*command))
            answer = self._socket.recv(4096)
            if answer.startswith(b"-"):
                raise reply_error(answer[1:].decode("utf-8", "replace").strip())

    @staticmethod
    def reaches(client: Any) -> bool:
        """Whether the client's Redis is one that such a connection can reach: TCP, no TLS, no token provider."""
        pool = getattr(client, "connection_pool", None)
        if pool is None or getattr(pool, "connection_class", None) is not redis.Connection:
            return False
        return not pool.connection_kwargs.get("credential_provider")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, commands: Buffer) -> None:
        """Send commands, and a mark behind them."""
        self._socket.sendall(b"".join([commands, b"*2\r\n$4\r\nECHO\r\n", self._mark]))

    def receive(self) -> bytes:
        """All replies up to the next mark. Raises ConnectionError, TimeoutError."""
        parts, self._rest = [self._rest], b""
        while True:
            # the mark may have come in two pieces
            tail = b"".join(parts[-2:])
            found = tail.find(self._mark)
            if found >= 0:
                self._rest = tail[found + len(self._mark) :]
                return b"".join([*parts[:-2], tail[:found]])
            part = self._socket.recv(1 << 20)
            if not part:
                raise ConnectionError("Redis closed the connection")
            parts.append(part) if len(parts[-1]) >= len(self._mark) else parts.append(parts.pop() + part)
