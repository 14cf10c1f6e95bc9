"""A closed-loop load generator over HTTP/1.1: so many connections, each with one request under way.

Its own process, so that it takes nothing of the server's interpreter. ``python -m benchmarks.load PORT SECONDS
CONNECTIONS BODIES.json`` prints requests, seconds, errors and latencies (milliseconds) as JSON. Connections that a
server closes are opened again; the request that met it is asked again and counted in ``reconnects``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


class _Client(asyncio.Protocol):
    """One connection: sends the next request when an answer is complete."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._buffer = bytearray()
        self._wanted = 0
        self._started = 0.0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._started = time.perf_counter()
        self._transport.write(next(self._load.requests))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._wanted:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            at = head.index(b"content-length:") + 15
            self._wanted = end + 4 + int(head[at:].split(b"\r\n", 1)[0])
            if b" 200 " not in head[:16]:
                self._load.errors += 1
        if len(self._buffer) < self._wanted:
            return
        self._load.latencies.append(time.perf_counter() - self._started)
        self._buffer.clear()
        self._wanted = 0
        if self._load.running:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._load.lost()


class _Load:
    def __init__(self, port: int, connections: int, requests: list[bytes]) -> None:
        self.port, self.connections = port, connections
        self.requests = itertools.cycle(requests)
        self.latencies: list[float] = []
        self.errors = self.reconnects = 0
        self.running = True

    def lost(self) -> None:
        if self.running:
            self.reconnects += 1
            asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        while self.running:
            try:
                await loop.create_connection(lambda: _Client(self), "127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                return

    async def run(self, seconds: float) -> dict[str, Any]:
        for _ in range(self.connections):
            await self._open()
        started = time.perf_counter()
        await asyncio.sleep(seconds)
        took = time.perf_counter() - started
        self.running = False
        answered = len(self.latencies)
        times = sorted(self.latencies) or [math.nan]  # a warm-up may be too short for a single answer
        return {
            "requests": answered,
            "seconds": took,
            "per_second": answered / took,
            "errors": self.errors,
            "reconnects": self.reconnects,
            **{f"p{share}": times[min(len(times) - 1, len(times) * share // 100)] * 1000 for share in (50, 95, 99)},
        }


def request(body: dict[str, Any]) -> bytes:
    """The bytes of a POST /get-online-features."""
    text = json.dumps(body).encode()
    return (
        b"POST /get-online-features HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(text), text)
    )


def measure(port: int, seconds: float, connections: int, bodies: list[dict[str, Any]]) -> dict[str, Any]:
    """Run the load in a process of its own; raises RuntimeError where an answer was no 200."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(bodies, file)
        file.flush()
        command = [sys.executable, "-m", "benchmarks.load", str(port), str(seconds), str(connections), file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    if result["errors"]:
        raise RuntimeError(f"{result['errors']} answers were no 200")
    return result


def main(argv: list[str]) -> None:
    """The command line."""
    port, seconds, connections, path = argv
    requests = [request(body) for body in json.loads(Path(path).read_text())]
    print(json.dumps(asyncio.run(_Load(int(port), int(connections), requests).run(float(seconds)))))


if __name__ == "__main__":
    main(sys.argv[1:])
