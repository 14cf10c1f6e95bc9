"""A real Redis, a real Feast repository, rows written by Feast's own online store, and a real server process."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from skewguard.feast_repo import FeastRepo, quiet_feast
from skewguard.online.embedded import server_binary
from skewguard.plan import ServingPlan, compile_plan, load_plan, save_plan

HERE = Path(__file__).parent
AS_OF = datetime(2026, 9, 1, 12, tzinfo=UTC)
HOUR, DAY, MICROSECOND = timedelta(hours=1), timedelta(days=1), timedelta(microseconds=1)
SEEN = datetime(2026, 8, 30, 6, 30, 15, tzinfo=UTC)

KINDS: dict[str, Any] = {
    "k_bytes": b"\x00\xffab",
    "k_string": "näïve \u0000 \U0001f600",
    "k_int32": -(2**31),
    "k_int64": 2**53 + 1,
    "k_float32": 0.2,
    "k_float64": 0.1 + 0.2,
    "k_bool": False,
    "k_time": SEEN,
    "k_uuid": uuid.UUID(int=7),
    "k_decimal": Decimal("1.10"),
    "k_json": '{"b": [1, 2.5, null], "a": "x"}',
    "k_map": {"left": 1, "right": "two"},
    "k_bytes_list": [b"\x00", b"b"],
    "k_string_list": ["a", "", "ä"],
    "k_int32_list": [1, -2],
    "k_int64_list": [2**62, 0],
    "k_float32_list": [0.2, math.inf],
    "k_float64_list": [0.2, math.nan, -math.inf],
    "k_bool_list": [True, False],
    "k_time_list": [SEEN, SEEN + HOUR],
    "k_int64_set": {3},
    "k_nested": [[1, 2], [3]],
}


@dataclass(frozen=True)
class Row:
    """One row for Feast's own writer."""

    view: str
    keys: Mapping[str, Any]
    at: datetime
    values: Mapping[str, Any]


def stats(driver: int, at: datetime, trips: Any, rating: Any, score: Any, seen: Any = SEEN) -> Row:
    return Row("stats", {"driver_id": driver}, at, {"trips": trips, "rating": rating, "score": score, "seen": seen})


ROWS = [
    stats(1, AS_OF - HOUR, 10, 0.2, 1.5),
    stats(2, AS_OF - DAY, 20, 4.5, 2.5),  # exactly as old as the TTL allows
    stats(3, AS_OF - DAY - MICROSECOND, 30, 4.5, 3.5),  # a microsecond too old
    stats(4, AS_OF - 2 * HOUR, None, None, None, None),
    stats(5, AS_OF - timedelta(milliseconds=1), 50, math.inf, -math.inf),
    stats(6, AS_OF - timedelta(microseconds=7), 60, 0.0, -0.0),
    stats(7, AS_OF + HOUR, 70, 7.0, 7.0),  # newer than the as-of time
    Row("tariff", {"driver_id": 1, "shop_code": "x"}, AS_OF - 400 * DAY, {"price": 12.5}),
    Row("tariff", {"driver_id": 2, "shop_code": ""}, AS_OF - HOUR, {"price": 0.25}),
    Row("facts", {"shop_code": "x"}, AS_OF - HOUR, {"city": "Zürich", "open": True, "score": 0.5}),
    Row("facts", {"shop_code": "late"}, AS_OF - 7 * HOUR, {"city": "Rom", "open": False, "score": 2.0}),
    Row("facts", {"shop_code": "1"}, AS_OF - HOUR, {"city": "one", "open": None, "score": 1.0}),
    Row("slots", {"slot_no": 5}, AS_OF - HOUR, {"capacity": 9}),
    Row("world", {}, AS_OF - HOUR, {"rate": 1.25, "label": "all"}),
    Row("kinds", {"driver_id": 1}, AS_OF - HOUR, KINDS),
    Row("kinds", {"driver_id": 2}, AS_OF - HOUR, dict.fromkeys(KINDS)),
]


def feast_write(repo: FeastRepo, rows: list[Row]) -> None:
    """Write rows with Feast's own Redis online store."""
    from feast.feature_view import DUMMY_ENTITY_ID
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.type_map import python_values_to_proto_values
    from feast.value_type import ValueType

    provider = repo.store._get_provider()
    for row in rows:
        view = repo.feast_view(row.view)
        types = {f.name: f.dtype.to_value_type() for f in (*view.entity_columns, *view.features)}
        types[DUMMY_ENTITY_ID] = ValueType.STRING
        keys = row.keys or {DUMMY_ENTITY_ID: ""}
        key = EntityKey(
            join_keys=list(keys),
            entity_values=[python_values_to_proto_values([v], types[k])[0] for k, v in keys.items()],
        )
        values = {name: python_values_to_proto_values([v], types[name])[0] for name, v in row.values.items()}
        provider.online_write_batch(repo.store.config, view, [(key, values, row.at, None)], None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class RedisProcess:
    """A redis-server of our own."""

    port: int
    folder: Path
    arguments: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [server_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            [*command, "--dir", str(self.folder), *self.arguments], stdout=subprocess.DEVNULL
        )
        client = redis.Redis(port=self.port)
        for _ in range(200):
            try:
                client.ping()
                break
            except redis.exceptions.AuthenticationError:
                break
            except redis.exceptions.ConnectionError:
                time.sleep(0.02)
        else:
            raise RuntimeError("redis-server did not start")
        client.close()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    server = RedisProcess(free_port(), tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


def make_repo(folder: Path, port: int, project: str = "rides") -> FeastRepo:
    """The repository of tests/online_api/repo, applied."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "repo" / "definitions.py", folder / "definitions.py")
    (folder / "feature_store.yaml").write_text(
        f"project: {project}\nprovider: local\nregistry: data/registry.db\n"
        f"online_store:\n  type: redis\n  connection_string: 127.0.0.1:{port}\n"
        "offline_store:\n  type: dask\nentity_key_serialization_version: 3\n"
    )
    (folder / "data").mkdir(exist_ok=True)
    repo = FeastRepo(folder)
    with quiet_feast():
        repo.store.apply(_definitions(folder / "definitions.py"))
    return FeastRepo(folder)


def _definitions(path: Path) -> list[Any]:
    from feast import Entity, FeatureService, FeatureView, OnDemandFeatureView

    spec = importlib.util.spec_from_file_location(f"definitions_{abs(hash(path))}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kinds = (Entity, FeatureView, OnDemandFeatureView, FeatureService)
    return [value for value in vars(module).values() if isinstance(value, kinds)]


@pytest.fixture(scope="session")
def repo(tmp_path_factory: pytest.TempPathFactory, redis_process: RedisProcess) -> FeastRepo:
    made = make_repo(tmp_path_factory.mktemp("rides"), redis_process.port)
    with quiet_feast():
        feast_write(made, ROWS)
    return made


@pytest.fixture(scope="session")
def plan(repo: FeastRepo) -> ServingPlan:
    return compile_plan(repo)


@pytest.fixture(scope="session")
def bare_plan(plan: ServingPlan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plan without on-demand views, so that an app on it needs no Feast."""
    path = tmp_path_factory.mktemp("bare") / "plan.json"
    services = tuple(service for service in plan.services if not service.on_demand)
    save_plan(replace(plan, services=services, on_demand=()), path)
    assert not load_plan(path).on_demand
    return path


@contextmanager
def serving(
    repo_path: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server process; its address and handle. Stopped at the end."""
    command = [sys.executable, "-m", "online_api", "--repo", str(repo_path), "--port", "0", "--json", *arguments]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
        cwd=HERE.parent.parent,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(process.communicate()[1])
        yield json.loads(line)["url"], process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@pytest.fixture(scope="session")
def server_url(repo: FeastRepo) -> Iterator[str]:
    with serving(repo.path, "--as-of", AS_OF.isoformat()) as (url, _):
        yield url


@pytest.fixture(scope="session")
def client(server_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server_url, timeout=20) as made:
        yield made


Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def ask(client: httpx.Client) -> Ask:
    """POST a look-up, assert 200, give the body."""

    def post(**body: Any) -> dict[str, Any]:
        response = client.post("/get-online-features", json=body)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    return post


def columns(body: Mapping[str, Any], part: str = "values") -> dict[str, list[Any]]:
    """One part of an answer by feature name."""
    return {name: result[part] for name, result in zip(body["metadata"]["feature_names"], body["results"], strict=True)}


@dataclass
class Served:
    """A server of one test: its repository's state folder, and a client."""

    folder: Path
    client: httpx.Client

    def verdict(self, service: str, verdict: str, /, **more: Any) -> None:
        """Write the verdict file of a service as the guard does."""
        path = self.folder / ".skewguard" / "gate" / f"{service}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "service": service,
            "verdict": verdict,
            "reasons": [f"stats.trips is 10 times what it should be ({verdict})"],
            "run_id": "run-1",
            "as_of": "2026-09-01T12:00:00Z",
            "finished_at": datetime.now(UTC).isoformat(),
        }
        path.write_text(json.dumps({**content, **more}))
        os.utime(path, ns=(time.time_ns(), time.time_ns()))

    def look(self, **body: Any) -> httpx.Response:
        """POST a look-up (of service drivers unless told)."""
        if not body:
            body = {"feature_service": "drivers", "entities": {"driver_id": [1], "shop_code": ["x"]}}
        return self.client.post("/get-online-features", json=body)


def copy_repo(repo: FeastRepo, folder: Path, plan: Path) -> Path:
    """The applied repository again, with a plan that needs no compiling and no Feast."""
    shutil.copytree(repo.path, folder, ignore=shutil.ignore_patterns(".skewguard", "__pycache__"))
    (folder / ".skewguard").mkdir()
    shutil.copyfile(plan, folder / ".skewguard" / "plan.json")
    return folder


@contextmanager
def served(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None, token: str = ""
) -> Iterator[Served]:
    """A quick server on a copied repository."""
    with serving(folder, "--as-of", AS_OF.isoformat(), *arguments, environment=environment) as (url, _):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with httpx.Client(base_url=url, timeout=10, headers=headers) as client:
            yield Served(folder, client)
