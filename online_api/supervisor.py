"""Several workers on one socket: forks them, starts a dead one anew, passes signals on, and gives up when it must."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType

from online_api.server import STOP_SIGNALS, run_worker
from online_api.settings import Settings
from skewguard.errors import SkewguardError

SHARED_COUNTS = "PROMETHEUS_MULTIPROC_DIR"
"""Tells prometheus_client, when it is imported, that several processes share their counts; not meant for one worker."""

MAX_DEATHS, DEATH_SECONDS = 5, 60.0
"""As many deaths of workers within that time mean that starting them again does not help."""

LONGEST_PAUSE = 5.0
"""Most seconds before a dead worker is started anew; the first time it is done at once."""

log = logging.getLogger("online_api")


def run_workers(settings: Settings, listener: socket.socket, workers: int, on_ready: Callable[[], None]) -> int:
    """Serve with several forked processes on one socket; ``on_ready`` when all of them answer.

    SIGTERM and SIGINT go to every worker. A worker that dies is started anew, after a pause where it is not the first
    one; ``MAX_DEATHS`` deaths within ``DEATH_SECONDS``, or one before all have answered, stop the others as well.
    Returns the exit code: 0 after a signal, else that of the worker that died last.
    """
    folder = tempfile.mkdtemp(prefix="skewguard-metrics-")
    os.environ[SHARED_COUNTS] = folder  # read when a worker imports prometheus_client
    supervisor = _Supervisor(replace(settings, metrics_folder=Path(folder)), listener)
    try:
        return supervisor.run(workers, on_ready)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Supervisor:
    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._workers: set[int] = set()
        self._stopping = False
        self._deaths: deque[float] = deque(maxlen=MAX_DEATHS)

    def run(self, workers: int, on_ready: Callable[[], None]) -> int:
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_signal)
        readable, writable = os.pipe()
        for _ in range(workers):
            self._fork(lambda: _tell(writable))
        os.close(writable)
        ready = b""
        while len(ready) < workers and (part := os.read(readable, workers)):
            ready += part
        os.close(readable)
        all_ready = len(ready) == workers
        if all_ready and not self._stopping:
            on_ready()
        return self._supervise(restart=all_ready)

    def _supervise(self, restart: bool) -> int:
        code = 0
        while self._workers:
            worker, status = os.wait()
            self._workers.discard(worker)
            self._forget_gauges(worker)
            if self._stopping:
                continue
            ended = os.waitstatus_to_exitcode(status)
            if restart and self._may_restart():
                log.error("worker %d ended with %d; starting another one", worker, ended)
                self._pause()
                self._fork(lambda: None)
            else:
                code = abs(ended) or 1
                log.error("worker %d ended with %d; stopping the others", worker, ended)
                self._stop()
        return code

    def _may_restart(self) -> bool:
        self._deaths.append(time.monotonic())
        return len(self._deaths) < MAX_DEATHS or self._deaths[-1] - self._deaths[0] > DEATH_SECONDS

    def _pause(self) -> None:
        recent = sum(self._deaths[-1] - death <= DEATH_SECONDS for death in self._deaths)
        end = time.monotonic() + (min(LONGEST_PAUSE, 0.25 * 2.0 ** (recent - 1)) if recent > 1 else 0)
        while not self._stopping and time.monotonic() < end:
            time.sleep(0.05)

    def _fork(self, on_ready: Callable[[], None]) -> None:
        # a signal between the fork and the set-up on either side would be lost, or sent on by the wrong process
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        parent = os.getpid()
        child = 0 if self._stopping else os.fork()
        if child or self._stopping:
            if child:
                self._workers.add(child)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            return
        code = 1
        try:
            for number in STOP_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            run_worker(self._settings, self._listener, on_ready, parent)
            code = 0
        except SkewguardError as error:
            print(f"error: {error}", file=sys.stderr)  # noqa: T201  (the one line of a failed start)
            code = error.exit_code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        self._stopping = True
        self._listener.close()  # the workers have it too; the last one to close it ends it
        for worker in self._workers:
            try:
                os.kill(worker, signal.SIGTERM)
            except ProcessLookupError:
                log.debug("worker %d is gone already", worker)

    def _forget_gauges(self, worker: int) -> None:
        folder = self._settings.metrics_folder
        for path in folder.glob(f"gauge_live*_{worker}.db") if folder else ():
            path.unlink(missing_ok=True)


def _tell(writable: int) -> None:
    os.write(writable, b"r")
    os.close(writable)
