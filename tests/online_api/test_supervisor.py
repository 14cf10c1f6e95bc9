"""Signals and deaths: no accepted request is lost, a dead worker comes back, one that keeps dying ends the server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from online_api.supervisor import MAX_DEATHS
from skewguard.feast_repo import FeastRepo
from tests.online_api.conftest import AS_OF, copy_repo, serving
from tests.online_api.sockets import HalfSent

ROOT = Path(__file__).parent.parent.parent
LOOK = {"feature_service": "numbered", "entities": {"slot_no": [5]}}


@pytest.fixture(scope="module")
def folder(repo: FeastRepo, bare_plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_repo(repo, tmp_path_factory.mktemp("supervisor") / "repo", bare_plan)


def children(process: subprocess.Popen[Any]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(what: str, seconds: float, true: object) -> None:
    assert callable(true)
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_request_under_way_at_a_signal_is_answered_in_full(folder: Path, workers: int) -> None:
    with serving(folder, "--as-of", AS_OF.isoformat(), "--workers", str(workers)) as (url, process):
        held = [HalfSent(url, LOOK) for _ in range(60)]
        time.sleep(0.3)  # until all of them are accepted
        process.send_signal(signal.SIGTERM)
        time.sleep(0.4)
        answers = [request.finish() for request in held]
        code = process.wait(15)
        for request in held:
            request.close()

    assert Counter(status for status, _, _ in answers) == {200: 60}
    assert all(body["results"][1]["values"] == [9] for _, body, _ in answers)
    assert code == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_clients_at_full_speed_notice_a_stop_only_between_two_requests(folder: Path, workers: int) -> None:
    """A connection that is kept alive is told to close in an answer, never cut while a request is on its way."""
    outcomes: Counter[str] = Counter()
    stopping = threading.Event()

    def ask(url: str) -> None:
        with httpx.Client(base_url=url, timeout=10) as client:
            while True:
                try:
                    response = client.post("/get-online-features", json=LOOK)
                except httpx.ConnectError:
                    outcomes["no longer listening"] += 1
                    return
                except httpx.TransportError as error:
                    outcomes[f"lost: {type(error).__name__} {error}"] += 1
                    return
                outcomes[str(response.status_code)] += 1
                outcomes["told to close"] += response.headers.get("connection") == "close"

    with serving(folder, "--as-of", AS_OF.isoformat(), "--workers", str(workers)) as (url, process):
        threads = [threading.Thread(target=ask, args=(url,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.8)
        stopping.set()
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(15)
        assert process.wait(15) == 0

    assert set(outcomes) == {"200", "told to close", "no longer listening"}, outcomes
    assert outcomes["no longer listening"] == 8
    assert outcomes["told to close"] >= 8


def test_connections_that_wait_to_be_accepted_are_served(folder: Path) -> None:
    """Clients that connect anew for each request: what the kernel took in before the end is answered, not reset."""
    outcomes: Counter[str] = Counter()

    with serving(folder) as (url, process):
        threads = [threading.Thread(target=raw_requests, args=(url, outcomes)) for _ in range(12)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(15)
        assert process.wait(15) == 0

    assert outcomes["answered"] > 100
    assert outcomes["lost"] <= 1, "one may come in the microseconds between the last look and the close"


def raw_requests(url: str, outcomes: Counter[str]) -> None:
    address = (urlsplit(url).hostname or "", urlsplit(url).port or 0)
    while True:
        try:
            client = socket.create_connection(address, timeout=10)
        except ConnectionRefusedError:
            return
        with client:
            try:
                client.sendall(b"GET /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
                outcomes["answered" if client.recv(65536).startswith(b"HTTP/1.1 200") else "lost"] += 1
            except OSError:
                outcomes["lost"] += 1


def test_a_killed_worker_comes_back_and_the_other_goes_on(folder: Path) -> None:
    with serving(folder, "--workers", "2") as (url, process):
        first, second = children(process)
        os.kill(first, signal.SIGKILL)
        wait_for("another worker", 10, lambda: len(children(process)) == 2 and first not in children(process))

        assert second in children(process)
        for _ in range(20):
            assert httpx.post(url + "/get-online-features", json=LOOK).status_code == 200
        process.terminate()
        assert process.wait(15) == 0
        assert not any(is_alive(pid) for pid in (first, second))
        assert process.stderr is not None
        assert f"worker {first} ended with -9; starting another one" in process.stderr.read()


def test_workers_that_keep_dying_end_the_server(folder: Path) -> None:
    with serving(folder, "--workers", "2") as (_, process):
        killed: set[int] = set()
        for _ in range(MAX_DEATHS):
            wait_for("a worker to kill", 15, lambda: set(children(process)) - killed or process.poll() is not None)
            victim = max(set(children(process)) - killed)
            killed.add(victim)
            os.kill(victim, signal.SIGKILL)

        assert process.wait(20) == 9
        assert process.stderr is not None
        assert "stopping the others" in process.stderr.read()


def test_workers_end_when_their_supervisor_is_killed(folder: Path) -> None:
    with serving(folder, "--workers", "2") as (url, process):
        workers = children(process)
        process.kill()
        process.wait()
        wait_for("the workers to end", 10, lambda: not any(is_alive(pid) for pid in workers))
        with pytest.raises(httpx.ConnectError):
            httpx.get(url + "/health")


def test_a_plan_that_does_not_load_is_told_once(folder: Path, repo: FeastRepo, bare_plan: Path, tmp_path: Path) -> None:
    broken = copy_repo(repo, tmp_path / "broken", bare_plan)
    (broken / ".skewguard" / "plan.json").write_text("{}")
    with pytest.raises(RuntimeError) as failed, serving(broken, "--workers", "3"):
        pass

    assert str(failed.value).count("error:") == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_at_any_moment_of_the_start_ends_the_server(folder: Path, workers: int) -> None:
    command = [sys.executable, "-m", "online_api", "--repo", str(folder), "--port", "0", "--workers", str(workers)]
    for wait in (0.05, 0.2, 0.3, 0.36, 0.42, 0.5):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
        time.sleep(wait)
        workers_then = children(process)
        process.terminate()

        assert process.wait(10) in (0, -signal.SIGTERM)
        wait_for("the workers to end", 5, lambda pids=workers_then: not any(is_alive(pid) for pid in pids))
