"""Compiles the serving plan in a process of its own, so that the server never imports Feast for it.

``python -m online_api.compile_plan REPO PLAN`` writes the plan of a Feast repository.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from skewguard.errors import ConfigurationError, RepositoryError, SkewguardError, StoreUnavailableError

TIMEOUT = 300
"""Seconds that a compilation may take."""


def needs_compiling(repo: Path, plan: Path) -> bool:
    """Is there no plan yet, or is the registry or feature_store.yaml newer than it?

    A registry that is not a local file tells no age: then the plan is compiled at every start.
    Raises RepositoryError where there is no readable feature_store.yaml.
    """
    config = repo / "feature_store.yaml"
    registry = _registry_file(repo, config)
    if not plan.is_file():
        return True
    if registry is None or not registry.is_file():
        return True
    compiled = plan.stat().st_mtime_ns
    return max(config.stat().st_mtime_ns, registry.stat().st_mtime_ns) >= compiled


def compile_in_subprocess(repo: Path, plan: Path) -> None:
    """Compile ``plan`` in another Python process.

    Raises ConfigurationError (or StoreUnavailableError) with the message of that process.
    """
    command = [sys.executable, "-m", "online_api.compile_plan", str(repo), str(plan)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise StoreUnavailableError(f"the registry of {repo}", f"no serving plan after {TIMEOUT} seconds") from error
    if done.returncode == 0:
        return
    lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
    reason = lines[-1] if lines else f"exit code {done.returncode}"
    if done.returncode == StoreUnavailableError.exit_code:
        raise StoreUnavailableError("the registry", reason.rstrip("."))
    raise ConfigurationError(f"The serving plan of {repo} cannot be compiled: {reason}")


def main(arguments: list[str]) -> int:
    """Compile the plan of the repository ``arguments[0]`` into ``arguments[1]``; the exit code."""
    from skewguard.feast_repo import FeastRepo
    from skewguard.plan import compile_plan, save_plan

    repo, plan = arguments
    try:
        save_plan(compile_plan(FeastRepo(repo)), plan)
    except SkewguardError as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # noqa: T201  (the message for the parent)
        return error.exit_code
    return 0


def _registry_file(repo: Path, config: Path) -> Path | None:
    if not config.is_file():
        raise RepositoryError(f"No feature_store.yaml in {repo}; give the folder of a Feast repository with --repo.")
    try:
        document: Any = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RepositoryError(f"{config}: not readable as YAML: {' '.join(str(error).split())}") from error
    registry = document.get("registry") if isinstance(document, Mapping) else None
    path = registry.get("path") if isinstance(registry, Mapping) else registry
    kind = registry.get("registry_type", "file") if isinstance(registry, Mapping) else "file"
    if not isinstance(path, str) or kind != "file" or "://" in path or "$" in path:
        return None
    return repo / path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
