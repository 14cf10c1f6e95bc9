"""A pipelined connection to one plain Redis: prepared bytes out, replies by hiredis in, one future for each look-up.

Replies come in the order of the commands, so many look-ups share a connection without waiting for each other. A time
limit is watched by one timer for all of them; a connection that broke it is given up, as its replies no longer match.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import hiredis
from redis import exceptions

from skewguard.online.connection import RedisSettings, login, reply_error
from skewguard.online.wire import resp_command

_TICK_SECONDS = 0.05
_CONNECT_SECONDS = 5.0
_BUSY = 500
"""Commands under way on a connection from which on the next one is taken: a large look-up holds up those behind it."""


class _Waiting:
    """A look-up under way: the replies still to come, and who waits for them."""

    __slots__ = ("count", "deadline", "future", "replies")

    def __init__(self, count: int, deadline: float, future: asyncio.Future[list[Any]]) -> None:
        self.count = count
        self.deadline = deadline
        self.future = future
        self.replies: list[Any] = []


class RedisLink(asyncio.Protocol):
    """One connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reader = hiredis.Reader(replyError=reply_error)
        self._waiting: deque[_Waiting] = deque()
        self._outgoing: list[bytes] = []
        self._transport: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self.open = False
        self.load = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = transport
        self.open = True

    def ask(self, data: bytes, count: int, timeout: float) -> asyncio.Future[list[Any]]:
        """Send commands; the future gives their ``count`` replies (errors in place), or raises a redis-py error."""
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        if not self.open:
            future.set_exception(exceptions.ConnectionError("the connection is closed"))
            return future
        self._waiting.append(_Waiting(count, self._loop.time() + timeout, future))
        self.load += count
        # requests that came in together share one system call
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(data)
        if self._timer is None:
            self._timer = self._loop.call_later(_TICK_SECONDS, self._look_at_the_clock)
        return future

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if self.open:
            self._transport.write(outgoing[0] if len(outgoing) == 1 else b"".join(outgoing))

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who wait for them."""
        reader = self._reader
        try:
            reader.feed(data)
            while self._waiting:
                first = self._waiting[0]
                replies, count = first.replies, first.count
                while len(replies) < count:
                    reply = reader.gets()
                    if reply is False:
                        return
                    replies.append(reply)
                self._waiting.popleft()
                self.load -= count
                if not first.future.done():
                    first.future.set_result(replies)
        except hiredis.ProtocolError as error:
            self._fail(exceptions.ConnectionError(f"an answer that is not Redis' ({error})"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Everybody who waits is told."""
        self._fail(exceptions.ConnectionError(str(exc) if exc else "Redis closed the connection"))

    def close(self) -> None:
        """End the connection."""
        self._fail(exceptions.ConnectionError("the server shuts down"))

    def _look_at_the_clock(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        if self._waiting[0].deadline <= self._loop.time():
            self._fail(exceptions.TimeoutError("no answer in time"))
        else:
            self._timer = self._loop.call_later(_TICK_SECONDS, self._look_at_the_clock)

    def _fail(self, error: Exception) -> None:
        self.open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            if not one.future.done():
                one.future.set_exception(error)


class RedisLinks:
    """A few connections to one Redis. A look-up takes the first that is not busy: what goes together costs less."""

    def __init__(self, settings: RedisSettings, connections: int = 4) -> None:
        self._host, self._port = settings.nodes[0]
        self._params = settings.params
        self._links: list[RedisLink | None] = [None] * connections
        self._opening = [asyncio.Lock() for _ in range(connections)]

    async def ask(self, data: bytes, count: int, timeout: float) -> list[Any]:
        """The replies to prepared commands. Raises redis-py's errors and OSError."""
        best: RedisLink | None = None
        for place, link in enumerate(self._links):
            if link is None or not link.open:
                async with asyncio.timeout(timeout):  # waiting for whoever opens it already included
                    best = await self._opened(place)
                break
            if link.load < _BUSY:
                best = link
                break
            if best is None or link.load < best.load:
                best = link
        return await best.ask(data, count, timeout)  # type: ignore[union-attr]

    def close(self) -> None:
        """End all connections."""
        for link in self._links:
            if link is not None:
                link.close()

    async def _opened(self, place: int) -> RedisLink:
        async with self._opening[place]:
            there = self._links[place]
            if there is not None and there.open:
                return there
            link = await self._connect(float(self._params.get("socket_connect_timeout", _CONNECT_SECONDS)))
            self._links[place] = link
            return link

    async def _connect(self, timeout: float) -> RedisLink:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout):
            _, link = await loop.create_connection(lambda: RedisLink(loop), self._host, self._port)
            for command in login(self._params):
                (reply,) = await link.ask(resp_command(*command), 1, timeout)
                if isinstance(reply, Exception):
                    link.close()
                    raise reply
        return link
