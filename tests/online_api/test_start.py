"""What a start costs: memory and imports; for a repository without on-demand views."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from skewguard.feast_repo import FeastRepo
from tests.online_api.conftest import AS_OF, copy_repo, serving
from tests.online_api.test_supervisor import LOOK, children

MAX_MEGABYTES = 90


@pytest.fixture(scope="module")
def folder(repo: FeastRepo, bare_plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_repo(repo, tmp_path_factory.mktemp("start") / "repo", bare_plan)


def resident_megabytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def test_it_stays_small(folder: Path) -> None:
    with serving(folder, "--as-of", AS_OF.isoformat()) as (url, process):
        assert look_then_measure(url, process.pid) < MAX_MEGABYTES


def test_each_worker_stays_small(folder: Path) -> None:
    with serving(folder, "--as-of", AS_OF.isoformat(), "--workers", "2") as (url, process):
        look_then_measure(url, process.pid)
        sizes = [resident_megabytes(pid) for pid in children(process)]

    assert len(sizes) == 2
    assert max(sizes) < MAX_MEGABYTES


def look_then_measure(url: str, pid: int) -> float:
    import httpx

    for _ in range(20):
        assert httpx.post(url + "/get-online-features", json=LOOK).status_code == 200
    assert httpx.get(url + "/metrics").status_code == 200
    return resident_megabytes(pid)


@pytest.mark.parametrize(
    "code",
    [
        "import online_api.__main__, online_api.supervisor, online_api.app",
        "import online_api.compile_plan",  # what makes the plan imports Feast only once it runs
        # the front door: what the process has imported when it turns into the server
        "import os, skewguard.cli as c; os.execv = lambda *_: None; c.app(['serve'], standalone_mode=False)",
    ],
    ids=["server", "compiler", "skewguard serve"],
)
def test_starting_imports_no_more_than_it_needs(code: str) -> None:
    script = f"import sys; {code}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}

    heavy = {"feast", "great_expectations", "pandas", "duckdb", "sklearn", "scipy", "ibis", "dask", "websockets"}
    assert loaded & heavy == set()


def test_serving_needs_no_arrays() -> None:
    """NumPy and Arrow make up half of a worker's memory; NumPy comes with rules on floats only."""
    script = "import sys, online_api.app; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert {"numpy", "pyarrow"} & set(done.stdout.split()) == set()
