"""What the server logs is what it answered, row by row and value by value; and Feast takes the log for its own."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from skewguard.feast_repo import FeastRepo, quiet_feast
from skewguard.offline.sources import connect
from skewguard.online.keys import KeyEncoder
from skewguard.plan import load_plan
from skewguard.serving_log.folder import LogFolder
from skewguard.serving_log.read import LogSpan, log_span
from skewguard.serving_log.record import STATUS_CODES
from skewguard.serving_log.segments import make_segments
from tests.online_api.conftest import AS_OF, RedisProcess, Served, copy_repo, served

EPOCH = "1970-01-01T00:00:00Z"
NAMES = {code: status for status, code in STATUS_CODES.items()}
WIDE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def span_of(folder: Path, service: str) -> LogSpan:
    log = LogFolder.of(folder)
    make_segments(log)
    return log_span(log, service, *WIDE)


def logged(folder: Path, service: str) -> pa.Table:
    with connect() as con:
        return span_of(folder, service).table(con)


def as_json(value: Any, dtype: str) -> Any:
    """A logged value as the server writes it."""
    if value is None:
        return None
    if dtype.startswith("UNIX_TIMESTAMP"):
        return [as_json(v, "UNIX_TIMESTAMP") for v in value] if isinstance(value, list) else int(value.timestamp())
    if isinstance(value, list):
        return [as_json(item, "") for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float):
        if value != value:
            return "NaN"
        return value if abs(value) != float("inf") else ("Infinity" if value > 0 else "-Infinity")
    if dtype in ("MAP", "VALUE_LIST", "STRUCT", "JSON"):  # canonical text in the log
        return json.loads(value)
    return value


def sent(cells: list[tuple[Any, str, str]], dtype: str) -> list[tuple[Any, str, datetime | None]]:
    """A column of an answer as the log is to have it."""
    return [
        (json.loads(value) if dtype == "JSON" and value is not None else value, status, moment(text))
        for value, status, text in cells
    ]


def answered(body: Mapping[str, Any]) -> dict[str, list[tuple[Any, str, str]]]:
    """By feature: value, status and event timestamp by row."""
    return {
        name: list(zip(result["values"], result["statuses"], result["event_timestamps"], strict=True))
        for name, result in zip(body["metadata"]["feature_names"], body["results"], strict=True)
    }


def told(table: pa.Table, column: str, dtype: str) -> list[tuple[Any, str, datetime | None]]:
    values = [as_json(value, dtype) for value in table.column(column).to_pylist()]
    unfit = [json.loads(text) if text else {} for text in table.column("__unfit").to_pylist()]
    values = [others.get(column, value) for value, others in zip(values, unfit, strict=True)]
    statuses = [NAMES[code] for code in table.column(f"{column}__status").to_pylist()]
    return list(zip(values, statuses, table.column(f"{column}__timestamp").to_pylist(), strict=True))


def moment(text: str) -> datetime | None:
    return None if text == EPOCH else datetime.fromisoformat(text)


def assert_logged(folder: Path, service: str, body: Mapping[str, Any], request_id: str) -> pa.Table:
    """The log has just the rows of this answer under its request id."""
    table = logged(folder, service)
    table = table.filter(pa.compute.equal(table.column("__request_id"), request_id))
    definition = load_plan(folder / ".skewguard" / "plan.json").service(service)
    values = answered(body)
    shown = [(p.name, f) for p in definition.projections for f in p.features]
    shown += [(o.output_prefix, f) for o in definition.on_demand for f in o.features]
    for prefix, feature in shown:
        name = feature.name if feature.name in values else f"{prefix}__{feature.name}"
        expected = sent(values[name], feature.dtype)
        assert told(table, f"{prefix}__{feature.name}", feature.dtype) == expected, (prefix, feature.name)
    return table


def look(server: Served, request_id: str, service: str, entities: dict[str, list[Any]], **more: Any) -> dict[str, Any]:
    response = server.client.post(
        "/get-online-features",
        json={"feature_service": service, "entities": entities, **more},
        headers={"X-Request-ID": request_id},
    )
    assert response.status_code == 200, response.text
    assert response.headers["x-request-id"] == request_id
    body: dict[str, Any] = response.json()
    return body


LOOKS: list[tuple[str, dict[str, list[Any]]]] = [
    ("drivers", {"driver_id": [1, 2, 3, 4, 99, 1], "shop_code": ["x", "", "x", "y", "z", "x"]}),
    ("shops", {"shop_code": ["x", "late", "1", "none"]}),
    ("typed", {"driver_id": [1, 2, 7]}),
    ("numbered", {"slot_no": [5, 6]}),
    ("pairs", {"origin_id": [1, 5], "target_id": [6, 1]}),
]


@pytest.fixture(scope="module")
def folder(repo: FeastRepo, bare_plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_repo(repo, tmp_path_factory.mktemp("log") / "repo", bare_plan)


@pytest.mark.parametrize(("extra", "full"), [("", True), ("expired: annotate\n", False)])
def test_every_answer_is_logged_as_it_was_given(
    repo: FeastRepo, bare_plan: Path, tmp_path: Path, extra: str, full: bool
) -> None:
    folder = copy_repo(repo, tmp_path / "repo", bare_plan)
    (folder / "skewguard.yaml").write_text(extra)
    bodies = {}
    with served(folder) as server:
        for service, entities in LOOKS:
            full_here = full or service == "pairs"
            bodies[service] = look(server, f"id-{service}", service, entities, full_feature_names=full_here)
    for service, entities in LOOKS:
        table = assert_logged(folder, service, bodies[service], f"id-{service}")
        for name, values in entities.items():
            assert table.column(name).to_pylist() == values
        assert set(table.column("__as_of").to_pylist()) == {AS_OF}
        assert table.column("__row").to_pylist() == list(range(table.num_rows))
        assert set(table.column("__plan").to_pylist()) == {load_plan(folder / ".skewguard" / "plan.json").digest}
        assert table.column("__contract").null_count == table.num_rows
        now = datetime.now(UTC)
        assert all(now - timedelta(minutes=5) < at <= now for at in table.column("__log_timestamp").to_pylist())


IDS = st.lists(st.sampled_from([1, 2, 3, 4, 5, 6, 7, 99]), min_size=1, max_size=8)
CODES = st.sampled_from(["x", "", "late", "nowhere"])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_whatever_is_asked_is_logged(folder_and_server: tuple[Path, Served], data: st.DataObject) -> None:
    _, server = folder_and_server
    drivers = data.draw(IDS)
    shops = data.draw(st.lists(CODES, min_size=len(drivers), max_size=len(drivers)))
    for service, entities in (
        ("drivers", {"driver_id": drivers, "shop_code": shops}),
        ("typed", {"driver_id": drivers}),
        ("shops", {"shop_code": shops}),
    ):
        request_id = f"{service}-{time.monotonic_ns()}"
        ASKED.append((service, request_id, look(server, request_id, service, entities, full_feature_names=True)))


ASKED: list[tuple[str, str, dict[str, Any]]] = []


@pytest.fixture(scope="module")
def folder_and_server(folder: Path) -> Any:
    """A server; when it is done, all that was asked of it is looked for in its log."""
    with served(folder) as server:
        yield folder, server
    assert len(ASKED) >= 100
    for service in ("drivers", "typed", "shops"):
        table = logged(folder, service)
        definition = load_plan(folder / ".skewguard" / "plan.json").service(service)
        for asked, request_id, body in ASKED:
            if asked != service:
                continue
            rows = table.filter(pa.compute.equal(table.column("__request_id"), request_id))
            values = answered(body)
            for projection in definition.projections:
                for feature in projection.features:
                    name = f"{projection.name}__{feature.name}"
                    assert told(rows, name, feature.dtype) == sent(values[name], feature.dtype)


def test_on_demand_features_are_logged_with_their_request_data(repo: FeastRepo, tmp_path: Path, plan: Any) -> None:
    from skewguard.plan import save_plan

    path = tmp_path / "plan.json"
    save_plan(plan, path)
    folder = copy_repo(repo, tmp_path / "repo", path)
    entities = {
        "driver_id": [1, 4, 99],
        "shop_code": ["x", "late", "x"],
        "distance": [2.5, None, 1.0],
        "at": ["2026-09-01T00:00:00Z", 1_790_000_000, None],
    }
    with served(folder) as server:
        body = look(server, "live-1", "live", entities, full_feature_names=True)
    table = assert_logged(folder, "live", body, "live-1")
    assert table.column("distance").to_pylist() == [2.5, None, 1.0]
    assert table.column("at").to_pylist() == [
        datetime(2026, 9, 1, tzinfo=UTC),
        datetime.fromtimestamp(1_790_000_000, UTC),
        None,
    ]


def test_a_value_of_another_type_and_a_key_without_a_hash_are_logged_as_answered(
    repo: FeastRepo, bare_plan: Path, tmp_path: Path, redis_process: RedisProcess
) -> None:
    folder = copy_repo(repo, tmp_path / "repo", bare_plan)
    view = next(v for v in repo.views() if v.name == "slots")
    (key, alien) = KeyEncoder(repo.project, view.join_keys).encode([[71, 72]], 2)
    assert key is not None
    assert alien is not None
    from skewguard.online.encoding import encode_value
    from skewguard.online.keys import feature_field, timestamp_field
    from skewguard.online.timestamps import encode_timestamp

    at = int((AS_OF - timedelta(hours=1)).timestamp()) * 10**9
    with redis.Redis(port=redis_process.port) as client:
        fields = {timestamp_field("slots"): encode_timestamp(at)}
        client.hset(key, mapping={**fields, feature_field("slots", "capacity"): encode_value("STRING", "nine")})
        client.set(alien, "no hash")
        try:
            with served(folder) as server:
                body = look(server, "odd-1", "numbered", {"slot_no": [71, 72, 5]})
        finally:
            client.delete(key, alien)
    assert answered(body)["capacity"][0][:2] == ("nine", "PRESENT")
    table = assert_logged(folder, "numbered", body, "odd-1")
    assert table.column("slots__capacity").to_pylist() == [None, None, 9]
    assert table.column("__unfit").to_pylist() == ['{"slots__capacity":"nine"}', None, None]


def test_a_feature_list_is_logged_under_its_own_name(repo: FeastRepo, bare_plan: Path, tmp_path: Path) -> None:
    folder = copy_repo(repo, tmp_path / "repo", bare_plan)
    with served(folder) as server:
        for _ in range(2):
            assert server.look(features=["slots:capacity"], entities={"slot_no": [5]}).status_code == 200
    make_segments(LogFolder.of(folder))
    (name,) = LogFolder.of(folder).services()
    assert name.startswith("features~")
    table = logged(folder, name)
    assert table.column("slots__capacity").to_pylist() == [9, 9]
    assert len(set(table.column("__request_id").to_pylist())) == 2


def test_a_sample_takes_an_entity_always_or_never(repo: FeastRepo, bare_plan: Path, tmp_path: Path) -> None:
    folder = copy_repo(repo, tmp_path / "repo", bare_plan)
    (folder / "skewguard.yaml").write_text("serving_log: {sample: 0.3}\n")
    with served(folder) as server:
        for _ in range(3):
            server.look(feature_service="numbered", entities={"slot_no": list(range(1000))})
        single = [server.look(feature_service="numbered", entities={"slot_no": [n]}) for n in range(20)]
        assert all(response.status_code == 200 for response in single)
    table = logged(folder, "numbered")
    by_entity = {row["values"]: row["counts"] for row in table.column("slot_no").value_counts().to_pylist()}
    assert 250 < len(by_entity) < 350
    assert {count for number, count in by_entity.items() if number >= 20} == {3}
    assert {count for number, count in by_entity.items() if number < 20} <= {4}
    first = table.filter(pa.compute.equal(table.column("__request_id"), table.column("__request_id")[0]))
    assert first.column("__row").to_pylist() == first.column("slot_no").to_pylist()


def test_a_log_that_policy_turns_off_is_not_there(repo: FeastRepo, bare_plan: Path, tmp_path: Path) -> None:
    folder = copy_repo(repo, tmp_path / "repo", bare_plan)
    (folder / "skewguard.yaml").write_text(
        "serving_log: {enabled: false}\nservices: {numbered: {serving_log: {enabled: true}}}\n"
    )
    with served(folder) as server:
        assert server.look().status_code == 200
        look(server, "n-1", "numbered", {"slot_no": [5]})
    make_segments(LogFolder.of(folder))
    assert LogFolder.of(folder).services() == ["numbered"]
    (folder / "skewguard.yaml").write_text("serving_log: {enabled: false}\n")
    with served(folder) as server:
        assert server.look().status_code == 200
    assert LogFolder.of(folder).services() == ["numbered"]
    assert not list(LogFolder.of(folder).spool.glob("*.journal"))


def test_a_server_that_cannot_log_does_not_start(repo: FeastRepo, bare_plan: Path, tmp_path: Path) -> None:
    folder = copy_repo(repo, tmp_path / "repo", bare_plan)
    (folder / ".skewguard" / "serving_log").write_text("a file")
    done = subprocess.run(
        [sys.executable, "-m", "online_api", "--repo", str(folder), "--port", "0"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "serving log cannot be written" in done.stderr


@pytest.mark.parametrize("given", ["with space", "x" * 129, "tab\tbed"])
def test_a_request_id_that_is_not_fit_is_replaced(folder_and_server: tuple[Path, Served], given: str) -> None:
    _, server = folder_and_server
    response = server.client.post(
        "/get-online-features",
        json={"feature_service": "numbered", "entities": {"slot_no": [5]}},
        headers={"X-Request-ID": given},
    )
    assert response.status_code == 200
    assert response.headers["x-request-id"] not in ("", given)


def hammer(url: str, stop: threading.Event, answered_ids: list[str], tag: str) -> None:
    """Ask until told to stop; remember the request ids that were answered."""
    with httpx.Client(base_url=url, timeout=10) as client:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                response = client.post(
                    "/get-online-features",
                    json={"feature_service": "numbered", "entities": {"slot_no": [5, number]}},
                    headers={"X-Request-ID": f"{tag}-{number}"},
                )
            except httpx.TransportError:
                continue
            if response.status_code == 200:
                answered_ids.append(f"{tag}-{number}")


@pytest.mark.slow
@pytest.mark.parametrize(("kill", "workers"), [(signal.SIGTERM, "1"), (signal.SIGTERM, "2"), (signal.SIGKILL, "1")])
def test_a_stop_loses_nothing_and_a_kill_no_more_than_it_says(
    repo: FeastRepo, bare_plan: Path, tmp_path: Path, kill: signal.Signals, workers: str
) -> None:
    folder = copy_repo(repo, tmp_path / "repo", bare_plan)
    command = [sys.executable, "-m", "online_api", "--repo", str(folder), "--port", "0", "--json"]
    process = subprocess.Popen([*command, "--workers", workers], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    stop, ids = threading.Event(), [[] for _ in range(4)]  # type: tuple[threading.Event, list[list[str]]]
    threads = [threading.Thread(target=hammer, args=(url, stop, ids[n], f"t{n}")) for n in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    before = {request_id for part in ids for request_id in part}
    time.sleep(0.5)
    process.send_signal(kill)
    process.communicate(timeout=30)
    stop.set()
    for thread in threads:
        thread.join()
    answered_ids = {request_id for part in ids for request_id in part}
    span = span_of(folder, "numbered")
    table = logged(folder, "numbered")
    found = set(table.column("__request_id").to_pylist())
    assert len(answered_ids) > 100
    assert span.dropped == 0
    assert span.stored == table.num_rows == 2 * len(found)
    assert found >= (answered_ids if kill == signal.SIGTERM else before)  # killed: half a second is enough to be safe
    assert os.listdir(LogFolder.of(folder).spool) == ["segments.lock"]  # no journal is left, open or closed


def test_the_counts_are_told_by_metrics(repo: FeastRepo, bare_plan: Path, tmp_path: Path) -> None:
    folder = copy_repo(repo, tmp_path / "repo", bare_plan)
    with served(folder) as server:
        for _ in range(3):
            look(server, "m", "numbered", {"slot_no": [5, 6]})
        deadline = time.monotonic() + 10
        wanted = 'skewguard_serving_log_rows_total{result="stored",service="numbered"} 6.0'
        while wanted not in (text := server.client.get("/metrics").text) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert wanted in text
        assert 'skewguard_serving_log_rows_total{result="sent",service="numbered"} 6.0' in text


@pytest.mark.parametrize("offline", ["dask", "duckdb"])
def test_feast_takes_the_log_for_its_own(repo: FeastRepo, bare_plan: Path, tmp_path: Path, offline: str) -> None:
    """``write_logged_features`` and ``feast monitor`` (0.67), on the segments themselves and on what Feast wrote."""
    from feast import FeatureService
    from feast.feature_logging import LoggingConfig
    from feast.infra.offline_stores.file_source import FileLoggingDestination
    from feast.monitoring.monitoring_service import MonitoringService

    folder = copy_repo(repo, tmp_path / "repo", bare_plan)
    config = (folder / "feature_store.yaml").read_text().replace("type: dask", f"type: {offline}")
    (folder / "feature_store.yaml").write_text(config)
    with served(folder) as server:
        for number in range(5):
            look(server, f"f-{number}", "drivers", LOOKS[0][1])
    table = logged(folder, "drivers")
    opened = FeastRepo(folder)
    with quiet_feast():
        store = opened.store
        views = [opened.feast_view("stats"), opened.feast_view("tariff")]
        copied = tmp_path / "feast_log"
        copied.mkdir()
        for name, path in (("drivers", LogFolder.of(folder).service("drivers")), ("again", copied)):
            destination = LoggingConfig(destination=FileLoggingDestination(path=str(path)))
            store.apply([FeatureService(name=name, features=views, logging_config=destination)])
        store.write_logged_features(table, store.get_feature_service("again"))
        service = MonitoringService(store)
        for name in ("drivers", "again"):
            outcome = service.auto_compute_log_metrics(store.project, name)
            assert outcome["computed_feature_services"] == 1, outcome  # Feast logs an error and goes on
            assert outcome["computed_features"] > 0
        written = pa.parquet.read_table(copied)
        assert written.num_rows == table.num_rows == 30
        from feast.feature_logging import FeatureServiceLoggingSource

        schema = FeatureServiceLoggingSource(store.get_feature_service("drivers"), store.project).get_schema(
            store.registry
        )
        assert [name for name in table.column_names if name in schema.names] == schema.names


def test_the_log_is_read_with_the_sdk_and_the_command_line(repo: FeastRepo, bare_plan: Path, tmp_path: Path) -> None:
    from skewguard import SkewGuard
    from skewguard.errors import BadInputError

    folder = copy_repo(repo, tmp_path / "repo", bare_plan)
    with served(folder) as server:
        body = look(server, "sdk-1", "numbered", {"slot_no": [5, 6]})
    table = SkewGuard(folder).served("numbered")
    assert [cell[:2] for cell in told(table, "slots__capacity", "INT32")] == [
        cell[:2] for cell in answered(body)["capacity"]
    ]
    assert SkewGuard(folder).served("shops").num_columns == 0
    with pytest.raises(BadInputError, match="since"):
        SkewGuard(folder).served("numbered", since="2030-01-01", until="2029-01-01")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "skewguard.cli", "log", "--repo", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert "numbered: 2 rows stored, 0 dropped\n" in run().stdout
    (found,) = json.loads(run("--service", "numbered", "--json").stdout)
    assert (found["stored"], found["dropped"], found["whole"], len(found["segments"])) == (2, 0, True, 1)
    output = tmp_path / "rows.parquet"
    assert run("--service", "numbered", "--output", str(output)).stdout == f"{output}: 2 rows\n"
    assert pa.parquet.read_table(output).equals(table)
    assert run("--output", str(output)).returncode == 2


def test_a_running_server_gives_what_it_has_written(repo: FeastRepo, bare_plan: Path, tmp_path: Path) -> None:
    from skewguard import SkewGuard

    folder = copy_repo(repo, tmp_path / "repo", bare_plan)
    with served(folder, "--workers", "2") as server:
        for number in range(3):
            for _ in range(10):
                look(server, f"live-{number}", "numbered", {"slot_no": [5, 6]})
            started = time.monotonic()
            assert SkewGuard(folder).served("numbered").num_rows == 20 * (number + 1)
            assert time.monotonic() - started < 3.0
