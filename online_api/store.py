"""Reads a look-up's entity keys from Redis: one round trip for a request, with a time limit, and one kind of error.

A plain Redis is read over links of our own, which take prepared bytes; Sentinel, Cluster, TLS and unusual connection
arguments go through redis-py. Both answer alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from redis.exceptions import ResponseError

from online_api.metrics import Metrics
from online_api.redis_link import RedisLinks
from skewguard.errors import StoreUnavailableError
from skewguard.online.connection import RedisSettings, connect_async, guarded, is_plain
from skewguard.online.wire import resp_argument, resp_command

Reply = Sequence[bytes | None] | None
"""What Redis answered for one entity key, field by field; None where the key does not hold a hash."""


@dataclass(frozen=True)
class Fields:
    """The hash fields that a look-up reads of an entity key."""

    names: tuple[bytes, ...]

    @cached_property
    def tail(self) -> bytes:
        """The end of an HMGET command."""
        return b"".join(map(resp_argument, self.names))

    @cached_property
    def head(self) -> bytes:
        """The start of an HMGET command."""
        return b"*%d\r\n" % (2 + len(self.names)) + resp_argument(b"HMGET")


Asked = tuple[Fields, Sequence[bytes]]
"""Fields, and the entity keys to read them of."""


class _Transport(Protocol):
    async def read(self, asked: Sequence[Asked]) -> list[Any]:
        """The reply for each key of each part, in order; errors in their place."""

    async def ping(self) -> None:
        """Raise unless Redis answers."""

    async def close(self) -> None:
        """Close the connections."""


class _Links:
    """A plain Redis."""

    def __init__(self, settings: RedisSettings, timeout: float) -> None:
        self._links = RedisLinks(settings)
        self._timeout = timeout

    async def read(self, asked: Sequence[Asked]) -> list[Any]:
        parts: list[bytes] = []
        count = 0
        for fields, keys in asked:
            head, tail = fields.head, fields.tail
            for key in keys:
                parts += (head, b"$%d\r\n" % len(key), key, b"\r\n", tail)
            count += len(keys)
        return await self._links.ask(b"".join(parts), count, self._timeout)

    async def ping(self) -> None:
        (reply,) = await self._links.ask(resp_command(b"PING"), 1, self._timeout)
        if isinstance(reply, Exception):
            raise reply

    async def close(self) -> None:
        self._links.close()


class _Library:
    """Any other deployment, through redis-py."""

    def __init__(self, settings: RedisSettings, timeout: float) -> None:
        self._client: Any = connect_async(settings)
        self._timeout = timeout

    async def read(self, asked: Sequence[Asked]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for fields, keys in asked:
            for key in keys:
                pipeline.hmget(key, fields.names)
        answers: list[Any] = await self._limited(pipeline.execute(raise_on_error=False))
        return answers

    async def ping(self) -> None:
        await self._limited(self._client.ping())

    async def close(self) -> None:
        await self._client.aclose()

    async def _limited(self, work: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                return await work
        except RuntimeError as error:
            if "closed" not in str(error):
                raise
            # uvloop's word, which redis-py hands on, for a connection that the other side closed in between
            raise ConnectionError(str(error)) from error


class OnlineStore:
    """The Redis connections of one server process. Connects on first use."""

    def __init__(self, settings: RedisSettings, timeout: float, metrics: Metrics) -> None:
        self._label = settings.label
        self._metrics = metrics
        self._transport: _Transport = (_Links if is_plain(settings) else _Library)(settings, timeout)

    async def read(self, asked: Sequence[Asked]) -> list[Reply]:
        """The reply to one HMGET for each entity key of each part, in order; None where the key holds no hash.

        Raises StoreUnavailableError: Redis is down, refuses us, breaks off or takes longer than the time limit.
        """
        if not asked:
            return []
        replies: list[Any] = await self._guarded(self._transport.read(asked))
        for reply in replies:
            if type(reply) is not list:
                return self._checked(replies)
        return replies

    async def ping(self) -> None:
        """Raise StoreUnavailableError unless Redis answers."""
        await self._guarded(self._transport.ping())

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    def _checked(self, replies: Sequence[Any]) -> list[Reply]:
        checked: list[Reply] = []
        for reply in replies:
            if isinstance(reply, ResponseError) and str(reply).startswith("WRONGTYPE"):
                checked.append(None)
            elif isinstance(reply, Exception):
                with self._counted(), guarded(self._label):
                    raise reply
            else:
                checked.append(reply)
        return checked

    async def _guarded(self, work: Awaitable[Any]) -> Any:
        try:
            return await work
        except Exception:  # the context managers would cost each look-up more than they do here
            with self._counted(), guarded(self._label):
                raise

    def _counted(self) -> _Counted:
        return _Counted(self._metrics)


class _Counted:
    """Counts the failures that pass through it, by the class of their cause."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, StoreUnavailableError):
            self._metrics.redis_errors.labels(type(error.__cause__).__name__).inc()
