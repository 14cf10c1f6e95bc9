"""The server as a process: start, ready line, start-up errors, signals, workers, and what it imports."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from online_api.compile_plan import needs_compiling
from online_api.settings import tokens_from
from skewguard.errors import ConfigurationError
from skewguard.feast_repo import FeastRepo
from skewguard.plan import ServingPlan
from tests.online_api.conftest import AS_OF, copy_repo, serving

ROOT = Path(__file__).parent.parent.parent
LOOK = {"feature_service": "numbered", "entities": {"slot_no": [5]}}


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A start that is expected to fail."""
    return subprocess.run(
        [sys.executable, "-m", "online_api", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        check=False,
    )


@pytest.fixture(scope="module")
def folder(repo: FeastRepo, bare_plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_repo(repo, tmp_path_factory.mktemp("process") / "repo", bare_plan)


def test_it_prints_one_line_when_it_answers(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "online_api", "--repo", str(folder), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("listening on http://127.0.0.1:")
    assert httpx.get(line.removeprefix("listening on ").strip() + "/health").status_code == 200
    process.terminate()
    rest, errors = process.communicate(timeout=20)
    assert (process.returncode, rest, errors) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_request_under_way_end(folder: Path, number: signal.Signals) -> None:
    with serving(folder) as (url, process):
        answered: list[int] = []
        body = json.dumps(LOOK).encode()
        half_sent = threading.Event()

        def slowly() -> Iterator[bytes]:
            yield body[:10]
            half_sent.set()
            time.sleep(0.6)
            yield body[10:]

        def ask() -> None:
            answered.append(httpx.post(url + "/get-online-features", content=slowly(), timeout=10).status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        half_sent.wait(5)
        time.sleep(0.1)
        process.send_signal(number)
        asking.join(10)
        code = process.wait(10)

    assert answered == [200]
    assert code == 0


def test_several_workers_share_socket_and_counts(folder: Path) -> None:
    with serving(folder, "--workers", "2") as (url, process):
        for _ in range(30):
            assert httpx.post(url + "/get-online-features", json=LOOK).status_code == 200
        counts = [
            line
            for line in httpx.get(url + "/metrics").text.splitlines()
            if line.startswith('skewguard_http_requests_total{route="/get-online-features",status="200"}')
        ]
        process.terminate()
        assert process.wait(20) == 0
    assert [float(line.split()[-1]) for line in counts] == [30.0]


def test_a_signal_during_the_first_compilation_ends_it(repo: FeastRepo, tmp_path: Path) -> None:
    bare = tmp_path / "repo"
    shutil.copytree(repo.path, bare, ignore=shutil.ignore_patterns(".skewguard", "__pycache__"))
    with subprocess.Popen(
        [sys.executable, "-m", "online_api", "--repo", str(bare), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stderr is not None
        assert "compiling the serving plan" in process.stderr.readline()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not (compilers := children.read_text().split()):
            time.sleep(0.01)
        process.terminate()
        rest, errors = process.communicate(timeout=20)
    assert (process.returncode, rest, errors) == (0, "", "")
    assert [pid for pid in compilers if Path(f"/proc/{pid}").exists()] == []
    assert not (bare / ".skewguard" / "plan.json").exists()


def test_the_plan_is_compiled_at_the_first_start(server_url: str, plan: ServingPlan) -> None:
    """The server of the other tests was started on a repository without a plan."""
    assert httpx.get(server_url + "/v1/plan").json()["digest"] == plan.digest


def test_a_plan_older_than_registry_or_configuration_is_compiled_again(
    repo: FeastRepo, bare_plan: Path, tmp_path: Path
) -> None:
    folder = copy_repo(repo, tmp_path / "repo", bare_plan)
    plan_path = folder / ".skewguard" / "plan.json"
    sources = (folder / "data" / "registry.db", folder / "feature_store.yaml")

    assert not needs_compiling(folder, plan_path)
    for source in sources:
        before = source.stat().st_mtime_ns
        os.utime(source, ns=(time.time_ns() + 1, time.time_ns() + 1))
        assert needs_compiling(folder, plan_path), source
        os.utime(source, ns=(before, before))
    assert not needs_compiling(folder, plan_path)
    assert needs_compiling(folder, folder / "elsewhere.json")
    text = sources[1].read_text()
    sources[1].write_text(text.replace("registry: data/registry.db", "registry: s3://bucket/registry.db"))
    os.utime(sources[1], ns=(before, before))
    assert needs_compiling(folder, plan_path), "a registry that is no local file tells no age"


def fails(code: int, done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if "compiling the serving plan" not in line]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("error: ")
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr


def test_start_up_errors_are_one_line(folder: Path, repo: FeastRepo, bare_plan: Path, tmp_path: Path) -> None:
    fails(2, run("--repo", str(tmp_path), "--port", "0"), "feature_store.yaml")

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        fails(2, run("--repo", str(folder), "--port", str(taken.getsockname()[1])), "cannot listen")

    fails(2, run("--repo", str(folder), "--port", "0", environment={"SKEWGUARD_API_TOKENS": " , "}), "SKEWGUARD_API")

    broken = copy_repo(repo, tmp_path / "broken", bare_plan)
    (broken / ".skewguard" / "plan.json").write_text("{}")
    fails(2, run("--repo", str(broken), "--port", "0"), "plan.json", "format")

    (broken / "skewguard.yaml").write_text("servin: reject\n")
    assert "serving" in run("--repo", str(broken), "--port", "0").stderr

    (broken / "skewguard.yaml").unlink()
    (broken / ".skewguard" / "plan.json").unlink()
    (broken / "data" / "registry.db").write_bytes(b"\xff not a registry")
    fails(2, run("--repo", str(broken), "--port", "0"), "cannot be compiled")

    (broken / "feature_store.yaml").write_text("project: [")
    fails(2, run("--repo", str(broken), "--port", "0"), "YAML")


@pytest.mark.parametrize(
    "arguments", [("--port", "99999"), ("--workers", "0"), ("--as-of", "yesterday"), ("--nonsense",)], ids=" ".join
)
def test_wrong_use_ends_with_2(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)

    assert done.returncode == 2
    assert arguments[0] in done.stderr


@pytest.fixture(scope="module")
def imported(folder: Path) -> list[str]:
    """What a fresh process has imported after plan, app, a look-up, a verdict and the metrics."""
    script = f"""
import asyncio, json, sys
from datetime import datetime
import httpx
from online_api.app import create_app
from online_api.settings import Settings

async def main():
    app = create_app(Settings.from_repo({str(folder)!r}, as_of=datetime.fromisoformat({AS_OF.isoformat()!r})))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        response = await client.post("/get-online-features", json={LOOK!r})
        skew = await client.get("/v1/services/drivers/skew")
        metrics = await client.get("/metrics")
    await app.state.api.store.close()
    assert response.json()["results"][1]["values"] == [9]
    assert (skew.status_code, metrics.status_code) == (200, 200)
    print(json.dumps(sorted(sys.modules)))

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    modules: list[str] = json.loads(done.stdout)
    return modules


@pytest.mark.parametrize(
    "library",
    ["feast", "great_expectations", "duckdb", "sklearn", "scipy", "ibis", "dask", "pandas"],
)
def test_serving_without_on_demand_views_does_not_import(library: str, imported: list[str]) -> None:
    assert "redis" in imported
    assert library not in imported


def test_tokens_come_from_the_environment() -> None:
    assert tokens_from({}) == ()
    assert tokens_from({"SKEWGUARD_API_TOKENS": " a,b ,,"}) == ("a", "b")
    for wrong in ("", ",", "a b", "ä"):
        with pytest.raises(ConfigurationError, match="SKEWGUARD_API_TOKENS"):
            tokens_from({"SKEWGUARD_API_TOKENS": wrong})
