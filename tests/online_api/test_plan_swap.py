"""A changed plan or registry is served without a restart; one that cannot be used changes nothing but what is told."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from online_api.compile_turn import FIRST_WAIT, LONGEST_WAIT, next_wait, take_turn
from online_api.plan_files import PlanSources, SourceStamps, registry_file, stamp
from skewguard.definitions import FieldDef
from skewguard.errors import RepositoryError
from skewguard.feast_repo import FeastRepo, quiet_feast
from skewguard.plan import ServingPlan, load_plan, save_plan
from tests.online_api.conftest import AS_OF, Served, _definitions, columns, copy_repo, served, serving
from tests.test_contract import CONTRACT

SHOP = {"feature_service": "shops", "entities": {"shop_code": ["x"]}}


def eventually(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)
    return found


def plan_of(server: Served) -> dict[str, Any]:
    body: dict[str, Any] = server.client.get("/v1/plan").json()
    return body


def metric(server: Served, line: str) -> float:
    found = [text for text in server.client.get("/metrics").text.splitlines() if text.startswith(line + " ")]
    return float(found[0].split()[-1]) if found else 0.0


def with_service(plan: ServingPlan, name: str, features: tuple[str, ...]) -> ServingPlan:
    """The plan with other features in the first view of a service."""
    services = []
    for service in plan.services:
        if service.name == name:
            first, *rest = service.projections
            known = {f.name: f for f in first.view.features}
            fields: tuple[FieldDef, ...] = tuple(known[feature] for feature in features)
            service = replace(service, projections=(replace(first, features=fields), *rest))
        services.append(service)
    return replace(plan, services=tuple(services))


@pytest.fixture
def folder(repo: FeastRepo, bare_plan: Path, tmp_path: Path) -> Path:
    return copy_repo(repo, tmp_path / "repo", bare_plan)


@pytest.fixture
def server(folder: Path) -> Iterator[Served]:
    with served(folder) as found:
        yield found


def test_every_answer_under_load_is_of_one_plan(server: Served) -> None:
    path = server.folder / ".skewguard" / "plan.json"
    one = load_plan(path)
    other = with_service(one, "shops", ("score", "open"))
    expected = {
        ("open", "city", "rate", "label"): [True, "Zürich", 1.25, "all"],
        ("score", "open", "rate", "label"): [0.5, True, 1.25, "all"],
    }
    answers: list[tuple[tuple[str, ...], list[Any]]] = []
    wrong: list[str] = []
    done = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=server.client.base_url, timeout=10) as client:
            while not done.is_set():
                response = client.post("/get-online-features", json=SHOP)
                if response.status_code != 200:
                    wrong.append(response.text)
                    continue
                values = columns(response.json())
                del values["shop_code"]
                answers.append((tuple(values), [column[0] for column in values.values()]))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for wanted in (other, one, other):
            save_plan(wanted, path)
            eventually(lambda wanted=wanted: plan_of(server)["digest"] == wanted.digest)
    finally:
        done.set()
        for thread in threads:
            thread.join(10)

    assert wrong == []
    assert {names for names, _ in answers} == set(expected)
    assert all(values == expected[names] for names, values in answers)
    assert metric(server, 'skewguard_plan_changes_total{result="swapped"}') == 3
    assert plan_of(server)["problem"] is None


def test_a_plan_that_does_not_load_leaves_the_old_one_serving(folder: Path) -> None:
    path = folder / ".skewguard" / "plan.json"
    good = path.read_bytes()
    with serving(folder, "--as-of", AS_OF.isoformat()) as (url, process):
        client = httpx.Client(base_url=url, timeout=10)
        server = Served(folder, client)
        digest = plan_of(server)["digest"]

        path.write_text('{"format": 1, "proj')
        problem = eventually(lambda: plan_of(server)["problem"])

        assert "not a serving plan" in problem
        assert plan_of(server)["digest"] == digest
        assert server.look(**SHOP).status_code == 200
        assert client.get("/ready").status_code == 200
        assert metric(server, "skewguard_plan_problem") == 1
        time.sleep(2.5)
        path.write_bytes(good)
        eventually(lambda: plan_of(server)["problem"] is None)
        assert metric(server, "skewguard_plan_problem") == 0
        assert metric(server, 'skewguard_plan_changes_total{result="swapped"}') == 0
        client.close()
        process.terminate()
        _, log = process.communicate(timeout=20)
    assert log.count("not a serving plan") == 1, log
    assert "up to date again" in log


def test_a_changed_online_store_asks_for_a_restart(server: Served) -> None:
    config = server.folder / "feature_store.yaml"
    times = config.stat()
    config.write_text(config.read_text().replace("connection_string: 127.0.0.1:", "connection_string: localhost:"))
    os.utime(config, ns=(times.st_atime_ns, times.st_mtime_ns))  # so that nothing has to be compiled
    save_plan(load_plan(server.folder / ".skewguard" / "plan.json"), server.folder / ".skewguard" / "plan.json")

    assert "restart" in eventually(lambda: plan_of(server)["problem"])
    assert server.look(**SHOP).status_code == 200


def test_the_gate_goes_by_the_swapped_plan(server: Served) -> None:
    """A contract that held under the old plan closes serving under the new one, and opens it again."""
    path = server.folder / ".skewguard" / "plan.json"
    one = load_plan(path)
    contract = server.folder / ".skewguard" / "contracts" / "shops.json"
    contract.parent.mkdir()
    replace(CONTRACT, service="shops", fingerprints={"facts": one.fingerprints["facts"]}).save(contract)
    eventually(lambda: server.client.get("/v1/services/shops/skew").json()["verdict"] == "inconclusive")
    assert server.look(**SHOP).status_code == 200

    save_plan(replace(one, fingerprints={**one.fingerprints, "facts": "0" * 64}), path)
    refused = eventually(lambda: (r := server.look(**SHOP)).status_code == 503 and r)

    assert refused.json()["type"].endswith("gate-blocked")
    assert "facts" in refused.json()["reasons"][0]
    save_plan(one, path)
    eventually(lambda: server.look(**SHOP).status_code == 200)


def apply_changed(folder: Path, old: str, new: str) -> None:
    """``feast apply`` of the definitions with one text replaced."""
    text = (folder / "definitions.py").read_text()
    assert old in text
    changed = folder / "data" / f"changed_{time.monotonic_ns()}.py"
    changed.write_text(text.replace(old, new))
    with quiet_feast():
        FeastRepo(folder).store.apply(_definitions(changed))
    changed.unlink()


def test_an_applied_registry_is_compiled_once_and_served_by_all_workers(repo: FeastRepo, tmp_path: Path) -> None:
    folder = plain_repo(repo, tmp_path)
    with served(folder, "--workers", "2") as server:
        before = plan_of(server)["digest"]

        apply_changed(folder, '"open", "city"]], world', '"score"]], world')
        eventually(lambda: metric(server, 'skewguard_plan_changes_total{result="swapped"}') == 2, 180)

        assert plan_of(server)["digest"] != before
        assert {len(server.look(**SHOP).json()["results"]) for _ in range(8)} == {4}
        assert list(columns(server.look(**SHOP).json())) == ["shop_code", "score", "rate", "label"]
        assert metric(server, 'skewguard_plan_changes_total{result="compiled"}') == 1
        assert not any(path.name.startswith(".plan.json.") and path.suffix != ".lock" for path in
                       (folder / ".skewguard").iterdir())  # fmt: skip

        registry = folder / "data" / "registry.db"
        good = registry.read_bytes()
        registry.write_bytes(b"\xff no registry")
        eventually(lambda: metric(server, "skewguard_plan_problem") == 1, 180)
        problems = {eventually(lambda: plan_of(server)["problem"]) for _ in range(6)}
        assert len(problems) == 1
        assert "cannot be compiled" in problems.pop()
        assert server.look(**SHOP).status_code == 200
        assert metric(server, 'skewguard_plan_changes_total{result="compile_failed"}') == 1

        registry.write_bytes(good)  # the same definitions again, as after a materialization: nothing to swap
        eventually(lambda: metric(server, "skewguard_plan_problem") == 0, 180)
        # a worker sees the new file before the one that compiled it has counted it
        eventually(lambda: metric(server, 'skewguard_plan_changes_total{result="compiled"}') == 2, 180)
        assert metric(server, 'skewguard_plan_changes_total{result="swapped"}') == 2


def plain_repo(repo: FeastRepo, tmp_path: Path) -> Path:
    """The repository without on-demand views, in a registry of its own."""
    folder = tmp_path / "plain"
    (folder / "data").mkdir(parents=True)
    text = (repo.path / "definitions.py").read_text()
    start, end = text.index("@on_demand_feature_view"), text.index("drivers = FeatureService")
    kept = [line for line in text[end:].splitlines() if not line.startswith(("live =", "singles =", "breakable ="))]
    (folder / "definitions.py").write_text(text[:start] + "\n".join(kept) + "\n")
    config = (repo.path / "feature_store.yaml").read_text()
    (folder / "feature_store.yaml").write_text(config)
    with quiet_feast():
        FeastRepo(folder).store.apply(_definitions(folder / "definitions.py"))
    return folder


@pytest.mark.slow
def test_a_changed_on_demand_function_is_served_without_a_restart(repo: FeastRepo, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(repo.path, folder, ignore=shutil.ignore_patterns(".skewguard", "__pycache__"))
    look = {"feature_service": "singles", "entities": {"driver_id": [1]}}
    with served(folder) as server:
        assert columns(server.look(**look).json())["doubled"] == [20]

        apply_changed(folder, 'inputs["trips"] * 2}', 'inputs["trips"] * 3}')

        def tripled() -> bool:
            answer = server.look(**look)
            assert answer.status_code == 200
            return columns(answer.json())["doubled"] == [30]

        eventually(tripled, 180)
        assert plan_of(server)["problem"] is None


# -- the parts --------------------------------------------------------------------------------------------------------


def test_waits_grow_to_a_limit() -> None:
    assert [next_wait(times) for times in (1, 2, 3)] == [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT]
    assert next_wait(1000) == LONGEST_WAIT


def test_one_turn_at_a_time_and_a_failure_that_all_know(tmp_path: Path) -> None:
    plan = tmp_path / "state" / "plan.json"
    sources = SourceStamps((1, 1, 1), (5, 1, 1))
    with take_turn(plan) as turn:
        assert turn is not None
        with take_turn(plan) as second:
            assert second is None
        assert turn.failure(sources) is None
        assert turn.failed(sources, "why", now=100.0).until == 100 + FIRST_WAIT
    with take_turn(plan) as turn:
        assert turn is not None
        again = turn.failed(sources, "why", now=200.0)
        assert (again.times, again.until) == (2, 200 + 2 * FIRST_WAIT)
        assert turn.failure(sources) == again
        waits = [again.waits_at(now) for now in (200.0, again.until - 0.1, again.until, again.until - 2 * LONGEST_WAIT)]
        assert waits == [True, True, False, False]
        changed = SourceStamps((1, 1, 1), (6, 1, 1))
        assert turn.failure(changed) is None
        assert turn.failed(changed, "other", now=0.0).times == 1
        turn.succeeded()
        assert turn.failure(changed) is None


def test_a_plan_is_older_than_what_is_written_after_it(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    assert stamp(file) is None
    file.write_text("{}")
    found = stamp(file)
    assert found is not None
    at = found[0]
    older, same = SourceStamps((1, 1, 1), (at - 1, 1, 1)), SourceStamps((at, 1, 1), (1, 1, 1))
    assert (older.is_newer_than(found), same.is_newer_than(found), older.is_newer_than(None)) == (False, True, True)


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ("data/r.db", "data/r.db"),
        ("{path: r.db}", "r.db"),
        ("{registry_type: file, path: r.db}", "r.db"),
        ("${SWAP_TEST_REGISTRY}", "from/env.db"),
        ("$SWAP_TEST_UNSET/r.db", None),
        ("s3://bucket/r.db", None),
        ("{registry_type: sql, path: 'postgresql://host/db'}", None),
        ("{registry_store_type: mine.Store, path: r.db}", None),
        ("{}", None),
    ],
)
def test_which_registries_can_be_watched(
    registry: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWAP_TEST_REGISTRY", "from/env.db")
    (tmp_path / "feature_store.yaml").write_text(f"project: p\nregistry: {registry}\n")
    assert registry_file(tmp_path) == (None if expected is None else tmp_path / expected)


def test_an_empty_registry_is_one_that_is_being_written(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text("project: p\nregistry: r.db\n")
    sources = PlanSources(tmp_path)
    assert sources.look() is None
    (tmp_path / "r.db").write_bytes(b"")
    assert sources.look() is None
    (tmp_path / "r.db").write_bytes(b"x")
    first = sources.look()
    assert first is not None
    assert first == sources.look()
    (tmp_path / "feature_store.yaml").unlink()
    with pytest.raises(RepositoryError, match=r"feature_store\.yaml"):
        sources.look()


def test_the_plan_endpoint_tells_json(server: Served) -> None:
    body = plan_of(server)
    assert json.dumps(body)
    assert set(body) == {"project", "digest", "loaded_at", "problem", "services", "fingerprints", "suites"}
