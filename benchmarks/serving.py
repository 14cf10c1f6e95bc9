"""Look-ups over HTTP under load, and how a server starts: ours and Feast's Python feature server."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import load
from benchmarks.cases import Case
from benchmarks.data import NOW, Sizes
from skewguard import SkewGuard
from skewguard.expectations.suites import suite_path
from skewguard.online.embedded import free_port

SECONDS = 5.0
CONNECTIONS = 8
ROUNDS, ROUND_SECONDS = 20, 1.0
"""Of what differs by a few hundredths: more and shorter runs, in turn."""


def cases(repo: Path, narrow: Path, sizes: Sizes, workers: int) -> Iterator[Case]:
    """Every figure; ``narrow`` is a repository of ten features."""
    for folder in (repo, narrow):
        SkewGuard(folder).materialize(as_of=NOW)
    open_gate = _without_guard(repo)
    with ours(repo) as mine, feast(repo) as theirs:
        for entities, target in ((1, "35 x Feast, p99 a tenth"), (100, "20 x Feast")):
            also: dict[str, Any] = {}
            yield Case(
                f"HTTP {entities} x {sizes.features}, 1 worker, {CONNECTIONS} connections",
                "req/s",
                _loaded(mine, bodies(entities, sizes), also, "ours"),
                _loaded(theirs, bodies(entities, sizes), also, "feast"),
                None,
                target,
                also,
            )
    with ours(repo) as guarded, ours(open_gate) as open_:
        for entities in (1, 100):
            also = {}
            yield Case(
                f"HTTP {entities} x {sizes.features}, guard on (floor: guard off)",
                "req/s",
                _loaded(guarded, bodies(entities, sizes), also, "ours", seconds=ROUND_SECONDS),
                None,
                _loaded(open_, bodies(entities, sizes), also, "off", seconds=ROUND_SECONDS),
                "within 10 % of guard off",
                also,
                rounds=ROUNDS,
            )
    yield from _validator(repo, sizes)
    with ours(narrow, "--workers", str(workers)) as many:
        also = {}
        run = _loaded(many, bodies(1, sizes), also, "ours", 16)
        yield Case(f"HTTP 1 x 10, {workers} workers", "req/s", run, None, None, "towards 10,000 req/s", also)
    yield from _starts(repo)


def bodies(entities: int, sizes: Sizes) -> list[dict[str, Any]]:
    """A round of requests, each for other entities."""
    return [
        {
            "feature_service": "service",
            "entities": {"user_id": [(number * 37 + place * 7) % sizes.entities for place in range(entities)]},
        }
        for number in range(200)
    ]


def _loaded(
    port: int,
    requests: list[dict[str, Any]],
    also: dict[str, Any],
    side: str,
    connections: int = CONNECTIONS,
    seconds: float = SECONDS,
) -> Callable[[], float]:
    def once() -> float:
        load.measure(port, seconds / 10, connections, requests)  # warm
        result = load.measure(port, seconds, connections, requests)
        also[side] = {name: round(value, 3) for name, value in result.items()}
        return float(result["per_second"])

    return once


@contextlib.contextmanager
def ours(repo: Path, *options: str) -> Iterator[int]:
    """Our server over a repository: its port."""
    port = free_port()
    command = [sys.executable, "-m", "online_api", "--repo", str(repo), "--port", str(port), "--as-of", NOW.isoformat()]
    with _process([*command, *options], repo / "ours.log", port):
        yield port


@contextlib.contextmanager
def feast(repo: Path) -> Iterator[int]:
    """Feast's server over the same repository, one worker: its port."""
    port = free_port()
    command = [sys.executable, "-m", "feast.cli.cli", "-c", str(repo), "serve", "-p", str(port), "-h", "127.0.0.1"]
    with _process(command, repo / "feast.log", port):
        yield port


@contextlib.contextmanager
def _process(command: list[str], log: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            _wait(port, process)
            yield process
        finally:
            process.terminate()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with exit code {process.returncode}")
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.005)
    raise RuntimeError("the server did not become ready")


def _without_guard(repo: Path) -> Path:
    """The same repository served with the gate off and without a serving log."""
    copy = repo.with_name(repo.name + "-open")
    shutil.copytree(repo, copy)
    (copy / "skewguard.yaml").write_text("serving: 'off'\nserving_log: {enabled: false}\n")
    return copy


def _validator(repo: Path, sizes: Sizes) -> Iterator[Case]:
    """An expectation on each feature against none, with a guard that is on; then with good rows kept for fallbacks."""
    plain, judged = (_with_suite(repo, name, "annotate", sizes, rules) for name, rules in (("bare", 0), ("judged", 1)))
    keeping = _with_suite(repo, "keeping", "fallback", sizes, 1)
    with ours(judged) as on, ours(plain) as off, ours(keeping) as fallback:
        for entities in (1, 100):
            for name, port in (("on", on), ("on, fallbacks", fallback)):
                also: dict[str, Any] = {}
                yield Case(
                    f"HTTP {entities} x {sizes.features}, {sizes.features} expectations {name} (floor: off)",
                    "req/s",
                    _loaded(port, bodies(entities, sizes), also, "ours", seconds=ROUND_SECONDS),
                    None,
                    _loaded(off, bodies(entities, sizes), also, "off", seconds=ROUND_SECONDS),
                    "within 10 % of off" if name == "on" else "",
                    also,
                    rounds=ROUNDS,
                )


def _with_suite(repo: Path, name: str, serving: str, sizes: Sizes, rules: int) -> Path:
    """The same repository with so many expectations on each feature, all of which hold."""
    copy = repo.with_name(f"{repo.name}-{name}")
    shutil.copytree(repo, copy)
    (copy / "skewguard.yaml").write_text(f"serving: {serving}\n")
    if rules:
        expectations = [
            {
                "type": "expect_column_values_to_be_between",
                "kwargs": {"column": f"f{i}", "min_value": 0, "max_value": 1},
            }
            for i in range(sizes.features)
        ]
        path = suite_path(copy, "service")
        path.parent.mkdir()
        path.write_text(json.dumps({"name": "service", "expectations": expectations * rules}))
    return copy


def _starts(repo: Path) -> Iterator[Case]:
    memory: dict[str, Any] = {}

    def start() -> float:
        port = free_port()
        command = [sys.executable, "-m", "online_api", "--repo", str(repo), "--port", str(port)]
        started = time.perf_counter()
        with _process(command, repo / "ours.log", port) as process:
            took = time.perf_counter() - started
            status = Path(f"/proc/{process.pid}/status").read_text()
            memory["resident_mb"] = int(status.split("VmRSS:")[1].split()[0]) / 1024
        return took

    def show_help() -> float:
        started = time.perf_counter()
        subprocess.run([str(Path(sys.executable).with_name("skewguard")), "--help"], check=True, capture_output=True)
        return time.perf_counter() - started

    yield Case("server ready after exec", "s", start, None, None, "1.5 s, below 120 MB", memory)
    yield Case("skewguard --help", "s", show_help, None, None, "0.5 s")


def show(also: dict[str, Any]) -> str:
    """The further figures in one line."""
    return json.dumps(also)
