"""The demo as a user runs it: the whole path on the worked example, and what a signal leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def start(workdir: Path) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if k != "SKEWGUARD_REDIS"}
    command = [sys.executable, "-m", "skewguard.cli", "demo", "--repo", str(ROOT / "feature_repo")]
    return subprocess.Popen(
        [*command, "--workdir", str(workdir), "--keep"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=workdir.parent,
    )


def processes_naming(text: str) -> list[str]:
    found = subprocess.run(
        ["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [line for line in found if text in line and " ps " not in line]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_whole_path_and_nothing_left_behind(tmp_path: Path, number: signal.Signals) -> None:
    workdir = tmp_path / "demo"
    with start(workdir) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "skewguard check" in line:
                break
        said = "".join(lines)
        for step in range(1, 8):
            assert f"[{step}/7]" in said, said
        for cause in ("out_of_order_write", "unit_scale", "missing_online", "expired_but_served"):
            assert cause in said
        assert "training gate: refused" in said
        assert "serving gate: HTTP 503" in said
        assert "serving gate: open again" in said
        address = next(line for line in lines if "export SKEWGUARD_REDIS=" in line).split("=", 1)[1].strip()
        assert processes_naming(address)
        process.send_signal(number)
        try:
            process.wait(timeout=60)
        finally:
            process.kill()
    assert (workdir / "model" / "contract.json").is_file()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (processes_naming(address) or processes_naming(str(workdir))):
        time.sleep(0.1)
    assert processes_naming(address) == []
    assert processes_naming(str(workdir)) == []


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not delete")
    done = subprocess.run(
        [sys.executable, "-m", "skewguard.cli", "demo", "--workdir", str(tmp_path / "mine")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert (done.returncode, "--workdir" in done.stderr) == (2, True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "do not delete"
