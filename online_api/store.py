"""Reads a look-up's entity keys from Redis: one round trip for a request, with a time limit, and one kind of error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from online_api.lookup import Reply
from online_api.metrics import Metrics
from skewguard.errors import StoreUnavailableError
from skewguard.online.connection import RedisSettings, connect_async, guarded


class OnlineStore:
    """The asynchronous Redis client of one server process. Connects on first use."""

    def __init__(self, settings: RedisSettings, timeout: float, metrics: Metrics) -> None:
        self._label = settings.label
        self._timeout = timeout
        self._metrics = metrics
        self._client: Any = connect_async(settings)

    async def read(self, commands: Sequence[tuple[bytes, Sequence[bytes]]]) -> list[Reply]:
        """The replies to one HMGET for each (key, fields), in order; None where the key holds no hash.

        Raises StoreUnavailableError: Redis is down, refuses us, breaks off or takes longer than the time limit.
        """
        if not commands:
            return []
        return [_reply(answer) for answer in await self._guarded(self._hmget(commands))]

    async def ping(self) -> None:
        """Raise StoreUnavailableError unless Redis answers."""
        await self._guarded(self._client.ping())

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _hmget(self, commands: Sequence[tuple[bytes, Sequence[bytes]]]) -> list[Any]:
        if len(commands) == 1:
            return [await self._one(*commands[0])]
        pipeline = self._client.pipeline(transaction=False)
        for key, fields in commands:
            pipeline.hmget(key, fields)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, Exception) and not _is_wrong_type(answer):
                raise answer
        return answers

    async def _one(self, key: bytes, fields: Sequence[bytes]) -> Any:
        try:
            return await self._client.hmget(key, fields)
        except ResponseError as error:
            if _is_wrong_type(error):
                return error
            raise

    async def _guarded(self, work: Awaitable[Any]) -> Any:
        try:
            with guarded(self._label):
                async with asyncio.timeout(self._timeout):
                    return await work
        except StoreUnavailableError as error:
            self._metrics.redis_errors.labels(type(error.__cause__).__name__).inc()
            raise


def _is_wrong_type(answer: Exception) -> bool:
    return isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE")


def _reply(answer: Any) -> Reply:
    return None if isinstance(answer, Exception) else answer
