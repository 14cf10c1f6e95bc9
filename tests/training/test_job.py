"""``python -m training`` on a Feast repository of another shape than the example: files, digests, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from skewguard.feast_repo import FeastRepo
from skewguard.online.embedded import EmbeddedRedis
from tests.repos import AS_OF, entity_rows, write_repo
from training.__main__ import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def repo(redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    redis_server.client().flushall()
    folder = write_repo(tmp_path_factory.mktemp("job") / "repo", redis_server.connection_string)
    FeastRepo(folder).apply()
    return folder


@pytest.fixture(scope="module")
def rows(repo: Path) -> Path:
    frame = entity_rows(120)
    frame["bought"] = np.arange(len(frame)) % 2
    path = repo / "rows.parquet"
    frame.to_parquet(path)
    return path


def arguments(repo: Path, rows: Path, out: Path, *more: str) -> list[str]:
    given = ["--repo", str(repo), "--entity-rows", str(rows), "--out", str(out), "--service", "till_v1"]
    return [*given, "--label", "bought", "--as-of", AS_OF.isoformat(), "--test-share", "0.4", *more]


def training(*given: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "training", *given]
    return subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_same_command_twice_gives_the_same_digests(repo: Path, rows: Path, tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        done = training(*arguments(repo, rows, tmp_path / name, "--json"))
        assert done.returncode == 0, done.stderr
        metrics = json.loads(done.stdout)
        assert metrics == json.loads((tmp_path / name / "metrics.json").read_text())
        contract = json.loads((tmp_path / name / "contract.json").read_text())
        assert contract["digest"] == metrics["contract_digest"]
        assert contract["seeds"] == {"model": 0}
        found.append((metrics, (tmp_path / name / "model.joblib").read_bytes()))
    assert found[0] == found[1]


def test_the_summary_is_short(repo: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(repo, rows, tmp_path / "out", "--model", "logistic")) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 4
    assert "test: AUC" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--service", "till_v2"), "Unknown feature service 'till_v2'. Did you mean 'till_v1'?"),
        (("--label", "bough"), "Did you mean 'bought'?"),
        (("--as-of", "soon"), "expected an ISO 8601 time"),
        (("--model", "forest"), "expected one of boosting, logistic"),
        (("--threads", "0"), "expected one or more"),
        (("--entity-rows", "nowhere.parquet"), "nowhere.parquet"),
        (("--repo", "nowhere"), "No feature_store.yaml"),
    ],
)
def test_wrong_use_ends_with_2_and_writes_nothing(
    repo: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    try:
        code: object = main(arguments(repo, rows, tmp_path / "out", *more))
    except SystemExit as left:  # argparse
        code = left.code
    assert code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_closed_gate_ends_with_1_unless_allowed(
    repo: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = repo / "expectations"
    folder.mkdir()
    rule = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "sales", "min_value": 1e9}}
    (folder / "till_v1.json").write_text(json.dumps({"name": "till_v1", "expectations": [rule]}))
    try:
        assert main(arguments(repo, rows, tmp_path / "out")) == 1
        assert "sales" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []
        assert main(arguments(repo, rows, tmp_path / "out", "--allow", "known outage")) == 0
        assert json.loads((tmp_path / "out" / "contract.json").read_text())["provenance"]["allowed"] == "known outage"
    finally:
        (folder / "till_v1.json").unlink()
        folder.rmdir()
