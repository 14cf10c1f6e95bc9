"""Look-ups over HTTP: our server and Feast's Python feature server, one connection, one request after the other."""

from __future__ import annotations

import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.data import NOW, Sizes
from skewguard import SkewGuard
from skewguard.demo_client import Server
from skewguard.online.embedded import EmbeddedRedis, free_port

REQUESTS = 200


@contextlib.contextmanager
def servers(repo: Path, redis: EmbeddedRedis) -> Iterator[tuple[int, int]]:
    """Both servers over the same materialized Redis: their ports."""
    with redis.client() as client:
        client.flushall()
    SkewGuard(repo).materialize(as_of=NOW)
    port = free_port()
    command = [sys.executable, "-m", "feast.cli.cli", "-c", str(repo), "serve", "-p", str(port), "-h", "127.0.0.1"]
    with (
        Server(repo, NOW.isoformat(), repo / "server.log") as ours,
        (repo / "feast.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as feast,
    ):
        try:
            _wait(port, feast)
            yield int(ours.url.rsplit(":", 1)[1]), port
        finally:
            feast.terminate()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"Feast's server ended with exit code {process.returncode}")
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError("Feast's server did not become ready")


def pair(ours: int, feast: int, entities: int, sizes: Sizes) -> tuple[Callable[[], float], Callable[[], float]]:
    """The median milliseconds of a request with ``entities`` rows, on either server."""
    body = json.dumps(
        {"feature_service": "service", "entities": {"user_id": [i * 7 % sizes.entities for i in range(entities)]}}
    )

    def run(port: int) -> Callable[[], float]:
        def once() -> float:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            times: list[float] = []
            while len(times) < REQUESTS:
                started = time.perf_counter()
                try:
                    connection.request("POST", "/get-online-features", body, {"Content-Type": "application/json"})
                    answer = connection.getresponse()
                    answer.read()
                except (ConnectionError, http.client.BadStatusLine):
                    connection.close()  # Feast's workers restart after a thousand requests: not counted, asked again
                    time.sleep(0.5)
                    continue
                times.append((time.perf_counter() - started) * 1000)
                if answer.status != 200:
                    raise AssertionError(f"HTTP {answer.status}")
            connection.close()
            return statistics.median(times)

        return once

    return run(ours), run(feast)
