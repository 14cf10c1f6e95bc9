"""Runs the app: binds the socket, says when it is really ready, drains on SIGTERM; several workers where asked."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType

import uvicorn

from online_api.settings import Settings
from skewguard.errors import ConfigurationError

SHARED_COUNTS = "PROMETHEUS_MULTIPROC_DIR"
"""Tells prometheus_client, when it is imported, that several processes share their counts; not meant for one worker."""

DRAIN_SECONDS = 10
"""How long requests under way may take after SIGTERM."""

log = logging.getLogger("online_api")


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
    """A uvicorn server that calls ``on_ready`` once it accepts connections."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def run_worker(settings: Settings, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve in this process until SIGTERM or SIGINT, then finish the requests under way.

    Raises what ``create_app`` raises.
    """
    from online_api.app import create_app

    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = _Server(config, on_ready)
    # uvicorn raises the signal again once it has drained; by then it has done its work
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignore)
    server.run(sockets=[listener])


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Take a signal without dying of it."""


def run_workers(settings: Settings, listener: socket.socket, workers: int, on_ready: Callable[[], None]) -> int:
    """Serve with several forked processes on one socket; ``on_ready`` when all of them answer.

    SIGTERM and SIGINT go to every worker. When one dies the others are stopped, so that what started us starts us anew.
    Returns the exit code: 0 after a signal, else that of the first worker that died.
    """
    folder = tempfile.mkdtemp(prefix="skewguard-metrics-")
    os.environ[SHARED_COUNTS] = folder  # read when a worker imports prometheus_client
    settings = replace(settings, metrics_folder=Path(folder))
    readable, writable = os.pipe()
    children = [_fork_worker(settings, listener, readable, writable) for _ in range(workers)]
    os.close(writable)
    listener.close()
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        _signal_all(children)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        ready = b""
        while len(ready) < workers and (part := os.read(readable, workers)):
            ready += part
        if len(ready) == workers and not stopping:
            on_ready()
        return _wait(children, lambda: stopping)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fork_worker(settings: Settings, listener: socket.socket, readable: int, writable: int) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.close(readable)
        run_worker(settings, listener, lambda: _tell(writable))
        code = 0
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  (the one line of a failed start)
        code = error.exit_code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _tell(writable: int) -> None:
    os.write(writable, b"r")
    os.close(writable)


def _signal_all(children: list[int]) -> None:
    for child in children:
        try:
            os.kill(child, signal.SIGTERM)
        except ProcessLookupError:
            log.debug("worker %d is gone already", child)


def _wait(children: list[int], stopping: Callable[[], bool]) -> int:
    first = 0
    left = set(children)
    while left:
        child, status = os.wait()
        left.discard(child)
        code = os.waitstatus_to_exitcode(status)
        if not stopping() and not first:
            first = abs(code) or 1
            log.error("worker %d ended with %d; stopping the others", child, code)
            _signal_all(list(left))
    return first
