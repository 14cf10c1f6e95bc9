"""The same look-ups give the same answers on every kind of Redis deployment; and what goes wrong on some of them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from skewguard.feast_repo import FeastRepo, quiet_feast
from tests.online_api.conftest import ROWS, Served, columns, feast_write, served
from tests.online_api.deployments import KINDS, Deployment, NotPossibleHereError, wait_until

pytestmark = pytest.mark.slow

MANY = [driver % 9 for driver in range(900)]
TRIPS = {1: 10, 2: 20, 5: 50, 6: 60, 7: 70}
TRIP_STATUS = {0: "NOT_FOUND", 3: "OUTSIDE_MAX_AGE", 4: "NULL_VALUE", 8: "INVALID"}

# (name, body, values by feature, statuses by feature)
CASES: list[tuple[str, dict[str, Any], dict[str, list[Any]], dict[str, list[str]]]] = [
    (
        "one row",
        {"features": ["stats:trips"], "entities": {"driver_id": [1]}},
        {"trips": [10]},
        {"trips": ["PRESENT"]},
    ),
    (
        "present, on the edge of the TTL, expired, null, not found",
        {"features": ["stats:trips", "stats:score"], "entities": {"driver_id": [1, 2, 3, 4, 999]}},
        {"trips": [10, 20, None, None, None], "score": [1.5, 2.5, None, None, None]},
        {"trips": ["PRESENT", "PRESENT", "OUTSIDE_MAX_AGE", "NULL_VALUE", "NOT_FOUND"]},
    ),
    (
        "several views, one of them of two entities",
        {"feature_service": "drivers", "entities": {"driver_id": [1, 2, 2], "shop_code": ["x", "", "x"]}},
        {"trips": [10, 20, 20], "price": [12.5, 0.25, None]},
        {"price": ["PRESENT", "PRESENT", "NOT_FOUND"]},
    ),
    (
        "several entities, and a view without any",
        {
            "features": ["facts:city", "slots:capacity", "world:label", "stats:trips"],
            "entities": {"shop_code": ["x", "late", "none"], "slot_no": [5, 5, 6], "driver_id": [1, 4, 5]},
        },
        {"city": ["Zürich", None, None], "capacity": [9, 9, None], "label": ["all"] * 3, "trips": [10, None, 50]},
        {"city": ["PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"], "trips": ["PRESENT", "NULL_VALUE", "PRESENT"]},
    ),
    (
        "one view under two keys",
        {
            "feature_service": "pairs",
            "entities": {"origin_id": [1, 2], "target_id": [2, 8]},
            "full_feature_names": True,
        },
        {"origin__trips": [10, 20], "target__trips": [20, None]},
        {"target__trips": ["PRESENT", "INVALID"]},
    ),
    (
        "many rows with repeats, and a key that holds no hash",
        {"features": ["stats:trips"], "entities": {"driver_id": MANY}},
        {"trips": [TRIPS.get(driver) for driver in MANY]},
        {"trips": [TRIP_STATUS.get(driver, "PRESENT") for driver in MANY]},
    ),
]


def repo_on(store: Mapping[str, str], folder: Path, repo: FeastRepo, plan: Path) -> Path:
    """The applied repository with another online store and a plan that needs no compiling."""
    shutil.copytree(repo.path, folder, ignore=shutil.ignore_patterns(".skewguard", "__pycache__"))
    lines = "".join(f"  {name}: {value!r}\n" for name, value in {"type": "redis", **store}.items())
    (folder / "feature_store.yaml").write_text(
        "project: rides\nprovider: local\nregistry: data/registry.db\n"
        f"online_store:\n{lines}offline_store:\n  type: dask\nentity_key_serialization_version: 3\n"
    )
    (folder / ".skewguard").mkdir()
    shutil.copyfile(plan, folder / ".skewguard" / "plan.json")
    return folder


@pytest.fixture(scope="module", params=list(KINDS))
def deployment(
    request: pytest.FixtureRequest, repo: FeastRepo, bare_plan: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A deployment with the rows of conftest, written by Feast with its own client."""
    folder = tmp_path_factory.mktemp(request.param)
    made = KINDS[request.param](folder)
    try:
        found = made.__enter__()
    except NotPossibleHereError as error:
        pytest.skip(str(error))
    try:
        writing = FeastRepo(repo_on({**found.store, **found.writing}, folder / "writing", repo, bare_plan))
        with quiet_feast():
            feast_write(writing, ROWS)
        spoil(writing)
        yield found
    finally:
        made.__exit__(None, None, None)


def driver_key(driver: int) -> bytes:
    """The key of a driver's row, as Feast makes it."""
    from feast.infra.online_stores.helpers import _redis_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    entity = EntityKey(join_keys=["driver_id"], entity_values=[Value(int64_val=driver)])
    return bytes(_redis_key("rides", entity, entity_key_serialization_version=3))


def spoil(repo: FeastRepo) -> None:
    """Put a text where driver 8's hash should be."""
    store = repo.store._get_provider().online_store
    store._get_client(repo.store.config.online_store).set(driver_key(8), b"no hash")


@pytest.fixture(scope="module")
def server(
    deployment: Deployment, repo: FeastRepo, bare_plan: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder = repo_on(deployment.store, tmp_path_factory.mktemp("served") / "repo", repo, bare_plan)
    with served(folder) as found:
        yield found


@pytest.mark.parametrize(("body", "values", "statuses"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_same_answer_everywhere(
    body: dict[str, Any], values: dict[str, list[Any]], statuses: dict[str, list[str]], server: Served
) -> None:
    response = server.look(**body)

    assert response.status_code == 200, response.text
    answer = response.json()
    got, got_statuses = columns(answer), columns(answer, "statuses")
    assert {name: got[name] for name in values} == values
    assert {name: got_statuses[name] for name in statuses} == statuses


def test_it_is_ready(server: Served) -> None:
    assert server.client.get("/ready").status_code == 200


def test_a_slot_that_moves_to_another_node_is_followed(deployment: Deployment, server: Served) -> None:
    """In the middle of the move Redis Cluster says ASK for a key that has left, afterwards MOVED."""
    if deployment.kind != "cluster":
        pytest.skip("only a cluster has slots")
    key = driver_key(1)
    ports = {node.client(): node.port for node in deployment.servers}
    ids = {client: client.execute_command("CLUSTER MYID").decode() for client in ports}
    slot = next(iter(ports)).execute_command("CLUSTER KEYSLOT", key)
    source = next(client for client in ports if client.execute_command("CLUSTER COUNTKEYSINSLOT", slot))
    target = next(client for client in ports if client is not source)

    def same_answers() -> None:
        for case in (CASES[0], CASES[1], CASES[5]):
            response = server.look(**case[1])
            assert response.status_code == 200, response.text
            assert columns(response.json())["trips"] == case[2]["trips"]

    same_answers()
    target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[source])
    source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[target])
    same_answers()
    source.execute_command("MIGRATE", "127.0.0.1", ports[target], key, 0, 5000)
    same_answers()
    for client in (target, source, *ports):
        client.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[target])
    same_answers()
    assert target.execute_command("CLUSTER COUNTKEYSINSLOT", slot) == 1


def test_when_the_store_goes_away(deployment: Deployment, server: Served) -> None:
    """Last with each deployment: its first server is killed. Sentinel fails over; the others say that they are down."""
    look = CASES[5][1] if deployment.kind == "cluster" else CASES[0][1]  # a row of each node
    deployment.servers[0].stop()
    if deployment.kind == "sentinel":
        wait_until("the replica to take over", lambda: server.look(**look).status_code == 200, 25)
        assert columns(server.look(**look).json())["trips"] == [10]
        assert deployment.servers[1].client().info("replication")["role"] == "master"
        return
    started = time.monotonic()
    response = server.look(**look)

    assert time.monotonic() - started < 4
    assert response.status_code == 503
    assert response.json()["type"] == "urn:skewguard:problems/store-unavailable"
    if deployment.kind != "cluster":  # where the other nodes still answer a PING
        assert server.client.get("/ready").status_code == 503
    assert server.client.get("/health").status_code == 200


# -- refused at the door ----------------------------------------------------------------------------------------------


def refusal(store: Mapping[str, str], folder: Path, repo: FeastRepo, plan: Path) -> dict[str, Any]:
    with served(repo_on(store, folder / "repo", repo, plan)) as server:
        response = server.look(**CASES[0][1])
        assert response.status_code == 503, response.text
        assert response.json()["type"] == "urn:skewguard:problems/store-unavailable"
        ready = server.client.get("/ready")
        assert ready.status_code == 503
        for secret in ("1e3", "w-1", "not-it", "reader"):
            assert secret not in response.text + ready.text
        body: dict[str, Any] = response.json()
        return body


def test_wrong_credentials_are_told_without_showing_them(repo: FeastRepo, bare_plan: Path, tmp_path: Path) -> None:
    with KINDS["users"](tmp_path) as found:
        address = found.store["connection_string"].partition(",")[0]
        wrong = {"connection_string": f"{address},username=reader,password=not-it"}
        assert "credentials" in refusal(wrong, tmp_path / "wrong", repo, bare_plan)["reason"]

        assert "credentials" in refusal({"connection_string": address}, tmp_path / "none", repo, bare_plan)["reason"]


@pytest.fixture
def with_tls(tmp_path: Path) -> Iterator[Deployment]:
    made = KINDS["tls"](tmp_path)
    try:
        found = made.__enter__()
    except NotPossibleHereError as error:
        pytest.skip(str(error))
    yield found
    made.__exit__(None, None, None)


def test_an_authority_that_is_not_known_is_refused(
    with_tls: Deployment, repo: FeastRepo, bare_plan: Path, tmp_path: Path
) -> None:
    store = {"connection_string": with_tls.store["connection_string"].replace("ca.crt", "stranger.crt")}

    assert "certificate" in refusal(store, tmp_path / "stranger", repo, bare_plan)["reason"].lower()


@pytest.mark.parametrize("redis_type", ["redis", "redis_cluster", "redis_sentinel"])
def test_plain_text_at_a_port_for_tls_is_a_store_that_is_down(
    redis_type: str, with_tls: Deployment, repo: FeastRepo, bare_plan: Path, tmp_path: Path
) -> None:
    """The other side closes each connection at once, in the middle of what the client does with it."""
    address = with_tls.store["connection_string"].partition(",")[0]
    store = {"redis_type": redis_type, "connection_string": address}
    with served(repo_on(store, tmp_path / "plain", repo, bare_plan)) as server:
        for _ in range(6):
            assert server.look(**CASES[0][1]).status_code == 503
            assert server.client.get("/ready").status_code == 503
