"""Redis down, asking for a password, hanging, dying in the middle, and holding what Feast never wrote."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import mmh3
import pytest
import redis

from skewguard.feast_repo import FeastRepo, quiet_feast
from tests.online_api.conftest import AS_OF, HOUR, ROWS, RedisProcess, Served, copy_repo, feast_write, free_port, served
from tests.online_api.conftest import stats as stats_row
from tests.online_api.test_bad_requests import problem


def repoint(folder: Path, connection: str) -> None:
    """Let feature_store.yaml name another Redis, without making the plan look old."""
    path = folder / "feature_store.yaml"
    stamp = path.stat()
    lines = path.read_text().splitlines()
    lines = [f"  connection_string: {connection}" if "connection_string" in line else line for line in lines]
    path.write_text("\n".join(lines) + "\n")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisProcess]:
    server = RedisProcess(free_port(), tmp_path)
    yield server
    server.stop()


def test_redis_down_is_503_and_comes_back(
    repo: FeastRepo, bare_plan: Path, tmp_path: Path, own_redis: RedisProcess
) -> None:
    folder = copy_repo(repo, tmp_path / "repo", bare_plan)
    repoint(folder, f"127.0.0.1:{own_redis.port}")
    with served(folder) as made:
        down = made.look()
        found = problem(down, 503, "store-unavailable")
        assert str(own_redis.port) in found["store"]
        assert int(down.headers["Retry-After"]) > 0
        assert problem(made.client.get("/ready"), 503, "not-ready")["reasons"]
        assert made.client.get("/health").status_code == 200
        assert "skewguard_redis_errors_total{" in made.client.get("/metrics").text

        own_redis.start()
        assert made.client.get("/ready").json()["status"] == "ready"
        back = made.look()
        assert back.status_code == 200
        assert back.json()["results"][2]["statuses"] == ["NOT_FOUND"]


def test_redis_that_dies_in_the_middle_is_503_not_500(
    repo: FeastRepo, bare_plan: Path, tmp_path: Path, own_redis: RedisProcess
) -> None:
    own_redis.start()
    folder = copy_repo(repo, tmp_path / "repo", bare_plan)
    repoint(folder, f"127.0.0.1:{own_redis.port}")
    ids = list(range(2000))
    with served(folder) as made, ThreadPoolExecutor(4) as pool:
        stop = threading.Event()

        def keep_asking() -> list[int]:
            seen = []
            while not stop.is_set():
                seen.append(made.look(features=["stats:trips"], entities={"driver_id": ids}).status_code)
            return seen

        asking = [pool.submit(keep_asking) for _ in range(4)]
        time.sleep(0.5)
        own_redis.stop()
        time.sleep(0.5)
        own_redis.start()
        time.sleep(0.5)
        stop.set()
        seen = [status for future in asking for status in future.result()]
        last = made.look(features=["stats:trips"], entities={"driver_id": [1]})

    assert set(seen) == {200, 503}
    assert last.status_code == 200


def test_refused_authentication_is_503_and_the_password_is_right_or_not_shown(
    repo: FeastRepo, bare_plan: Path, tmp_path: Path
) -> None:
    server = RedisProcess(free_port(), tmp_path, ("--requirepass", "s3cret-word"))
    server.start()
    try:
        folder = copy_repo(repo, tmp_path / "wrong", bare_plan)
        repoint(folder, f"127.0.0.1:{server.port},password=wr0ng-word")
        with served(folder) as made:
            response = made.look()
            assert "refused the credentials" in problem(response, 503, "store-unavailable")["reason"]
            assert "wr0ng-word" not in response.text
        folder = copy_repo(repo, tmp_path / "right", bare_plan)
        repoint(folder, f"127.0.0.1:{server.port},password=s3cret-word")
        with served(folder) as made:
            assert made.look().status_code == 200
    finally:
        server.stop()


def test_a_redis_that_never_answers_is_503_in_time(repo: FeastRepo, bare_plan: Path, tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        folder = copy_repo(repo, tmp_path / "repo", bare_plan)
        repoint(folder, f"127.0.0.1:{silent.getsockname()[1]}")
        with served(folder) as made:
            started = time.monotonic()
            found = problem(made.look(), 503, "store-unavailable")

    assert "did not answer in time" in found["reason"]
    assert time.monotonic() - started < 4


def test_a_stopped_redis_goes_on_without_mixing_up_answers(
    repo: FeastRepo, bare_plan: Path, tmp_path: Path, own_redis: RedisProcess
) -> None:
    """A reply that comes after its request was given up must not answer the next one."""
    own_redis.start()
    folder = copy_repo(repo, tmp_path / "repo", bare_plan)
    repoint(folder, f"127.0.0.1:{own_redis.port}")
    other = FeastRepo(folder)
    with quiet_feast():
        feast_write(other, [row for row in ROWS if row.view in ("stats", "facts")])
    with served(folder) as made:
        assert made.look(features=["stats:trips"], entities={"driver_id": [1]}).json()["results"][1]["values"] == [10]
        assert own_redis.process is not None
        own_redis.process.send_signal(signal.SIGSTOP)
        problem(made.look(features=["stats:trips"], entities={"driver_id": [1]}), 503, "store-unavailable")
        own_redis.process.send_signal(signal.SIGCONT)
        for _ in range(5):
            body = made.look(features=["facts:city"], entities={"shop_code": ["x"]}).json()
            assert body["results"][1]["values"] == ["Zürich"]


@pytest.fixture(scope="module")
def odd(
    repo: FeastRepo, bare_plan: Path, redis_process: RedisProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, Any]]:
    """A server on database 3 of the shared Redis, where a test may write what it likes."""
    folder = copy_repo(repo, tmp_path_factory.mktemp("odd") / "repo", bare_plan)
    repoint(folder, f"127.0.0.1:{redis_process.port},db=3")
    raw = redis.Redis(port=redis_process.port, db=3)
    raw.flushdb()
    with quiet_feast():
        feast_write(FeastRepo(folder), [stats_row(n, AS_OF - HOUR, n, 1.0, 2.0) for n in range(1, 8)])
    with served(folder) as made:
        yield made, raw
    raw.flushdb()
    raw.close()


def key_of(raw: Any, driver: int) -> bytes:
    found: bytes = next(key for key in raw.keys("*") if driver.to_bytes(8, "little") + b"rides" in key)
    return found


def field_of(feature: str) -> bytes:
    return mmh3.hash(f"stats:{feature}", signed=False).to_bytes(4, "little")


def look(made: Served, driver: int) -> dict[str, tuple[object, str, str]]:
    response: httpx.Response = made.look(features=["stats:trips", "stats:score"], entities={"driver_id": [driver]})
    assert response.status_code == 200, response.text
    body = response.json()
    return {
        name: (result["values"][0], result["statuses"][0], result["event_timestamps"][0])
        for name, result in zip(body["metadata"]["feature_names"], body["results"], strict=True)
    }


def test_field_never_written_is_not_found_beside_its_neighbours(odd: tuple[Served, Any]) -> None:
    made, raw = odd
    raw.hdel(key_of(raw, 1), field_of("trips"))

    found = look(made, 1)

    assert found["trips"] == (None, "NOT_FOUND", "2026-09-01T11:00:00Z")
    assert found["score"] == (2.0, "PRESENT", "2026-09-01T11:00:00Z")


def test_row_without_its_timestamp_is_not_found(odd: tuple[Served, Any]) -> None:
    made, raw = odd
    raw.hdel(key_of(raw, 2), "_ts:stats")

    assert look(made, 2)["trips"] == (None, "NOT_FOUND", "1970-01-01T00:00:00Z")


def test_bytes_that_do_not_decode_are_invalid_and_leave_the_rest(odd: tuple[Served, Any]) -> None:
    made, raw = odd
    raw.hset(key_of(raw, 3), field_of("trips"), b"\xff\xff\xff")

    found = look(made, 3)

    assert found["trips"][:2] == (None, "INVALID")
    assert found["score"][:2] == (2.0, "PRESENT")
    assert 'skewguard_feature_statuses_total{status="INVALID",view="stats"}' in made.client.get("/metrics").text


@pytest.mark.parametrize("stamp", [b"\xff", b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x10\xff\xff\xff\xff\x0f"])
def test_a_timestamp_that_is_none_makes_the_row_invalid(odd: tuple[Served, Any], stamp: bytes) -> None:
    made, raw = odd
    raw.hset(key_of(raw, 4), "_ts:stats", stamp)

    assert look(made, 4)["trips"] == (None, "INVALID", "1970-01-01T00:00:00Z")


def test_a_key_that_holds_no_hash_is_invalid(odd: tuple[Served, Any]) -> None:
    made, raw = odd
    key = key_of(raw, 5)
    raw.delete(key)
    raw.set(key, "text")

    assert look(made, 5)["trips"] == (None, "INVALID", "1970-01-01T00:00:00Z")
    assert look(made, 6)["trips"] == (6, "PRESENT", "2026-09-01T11:00:00Z")


def test_nanoseconds_have_nine_decimals(odd: tuple[Served, Any]) -> None:
    made, raw = odd
    from google.protobuf.timestamp_pb2 import Timestamp

    raw.hset(key_of(raw, 7), "_ts:stats", Timestamp(seconds=int(AS_OF.timestamp()), nanos=1).SerializeToString())

    assert look(made, 7)["trips"] == (7, "PRESENT", "2026-09-01T12:00:00.000000001Z")
