"""Runs that are processes of their own, so that memory is theirs: how they are started, and how they tell."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def result(module: str, *arguments: object) -> dict[str, Any]:
    """Run ``python -m module arguments`` and give what it told. Raises RuntimeError with its last words."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(map(str, arguments))}: {done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def run(module: str, side: str, repo: Path, also: dict[str, Any]) -> Callable[[], float]:
    """A run of a side: its seconds; what else it tells is kept in ``also`` under the side's name."""

    def once() -> float:
        told = result(module, side, repo)
        also[side] = {name: value for name, value in told.items() if name != "seconds"}
        return float(told["seconds"])

    return once


def tell(**figures: Any) -> None:
    """Say the figures of this process, and its peak memory in GB (``ru_maxrss`` would begin with its parent's)."""
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1e6
    print(json.dumps({**figures, "peak_gb": round(peak, 2)}, default=int))
