"""Runs the app in this process: binds the socket, says when it is really ready, drains on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from online_api.protocol import GatheringProtocol
from online_api.settings import Settings
from skewguard.errors import ConfigurationError

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What stops the server after the requests under way."""

DRAIN_SECONDS = 10
"""How long requests under way may take after SIGTERM."""

FAREWELL_SECONDS = 1.0
"""How long after SIGTERM a connection without a request may stay open, in case that one is on its way."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket's address, taken; port 0 picks a free one. Raises ConfigurationError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigurationError(
            f"--host {host} --port {port}: cannot listen: {getattr(error, 'strerror', None) or error}."
        ) from error
    listener.listen(2048)
    listener.setblocking(False)
    listener.set_inheritable(True)
    return listener


def url_of(listener: socket.socket) -> str:
    """The address to call."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def announcement(listener: socket.socket, as_json: bool) -> str:
    """The line that says that the server answers now."""
    if as_json:
        return json.dumps({"event": "listening", "url": url_of(listener), "pid": os.getpid()})
    return f"listening on {url_of(listener)}"


class _Server(uvicorn.Server):
    """A uvicorn server that calls ``on_ready`` once it accepts connections, and loses no request when it stops."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None], parent: int | None) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._parent = parent

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        """Is it time to stop? Also when the supervisor is gone: nobody would stop this worker later."""
        return await super().on_tick(counter) or (self._parent is not None and os.getppid() != self._parent)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, let clients with open connections go, then stop as uvicorn does.

        A client may send its next request at the moment in which its idle connection is closed, and would never know
        whether it was worked on. So every answer from now on says ``Connection: close``, and idle connections are
        closed only after a while.
        """
        await self._stop_listening(sockets or [])
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        deadline = time.monotonic() + FAREWELL_SECONDS
        while self.server_state.connections and time.monotonic() < deadline and not self.force_exit:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)

    async def _stop_listening(self, sockets: list[socket.socket]) -> None:
        """Take in the connections that wait to be accepted, then close: the kernel resets those that are left."""
        spares = [listener.dup() for listener in sockets]
        for server in self.servers:
            server.close()
        for listener in sockets:
            listener.close()
        await asyncio.sleep(0)  # uvloop closes its own in the loop's next turn
        waiting: list[socket.socket] = []
        for spare in spares:
            with contextlib.suppress(OSError):  # nothing waits any more
                while True:
                    waiting.append(spare.accept()[0])
            spare.close()
        loop = asyncio.get_running_loop()
        for connection in waiting:
            connection.setblocking(False)
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        """As ``uvicorn.Server.startup`` makes them."""
        protocol: Any = self.config.http_protocol_class
        made: asyncio.Protocol = protocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


def run_worker(
    settings: Settings, listener: socket.socket, on_ready: Callable[[], None], parent: int | None = None
) -> None:
    """Serve in this process until SIGTERM or SIGINT (or until ``parent`` is gone), then finish the requests under way.

    Raises what ``create_app`` raises.
    """
    from online_api.app import create_app

    app = create_app(settings)
    config = uvicorn.Config(
        app,
        interface="asgi3",
        http=GatheringProtocol,
        proxy_headers=False,  # nothing here looks at the client's address
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = _Server(config, on_ready, parent)

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # for a signal before uvicorn takes them, and for the one that it raises again once it has drained
    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    server.run(sockets=[listener])
