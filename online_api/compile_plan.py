"""Compiles the serving plan in a process of its own, so that the server never imports Feast for it.

``python -m online_api.compile_plan REPO PLAN`` writes the plan of a Feast repository. The file's time is made that of
the registry it was compiled from, so that a registry written meanwhile counts as newer.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from online_api.plan_files import PlanSources, stamp
from skewguard.errors import ConfigurationError, SkewguardError, StoreUnavailableError
from skewguard.plan import is_older_format

TIMEOUT = 300
"""Seconds that a compilation may take."""

_NOT_INHERITED = "PROMETHEUS_MULTIPROC_DIR"  # else Feast would count in the folder of our workers


def needs_compiling(repo: Path, plan: Path) -> bool:
    """Is there no plan yet, one of an older version, or one older than the registry, feature_store.yaml or a suite?

    A registry that is not a local file tells no age: then the plan is compiled at every start.
    Raises RepositoryError where there is no readable feature_store.yaml.
    """
    sources = PlanSources(repo).look()
    return sources is None or sources.is_newer_than(stamp(plan)) or is_older_format(plan)


def compile_in_subprocess(repo: Path, plan: Path) -> None:
    """Compile ``plan`` in another Python process and wait for it.

    Raises ConfigurationError (or StoreUnavailableError) with the message of that process.
    """
    try:
        done = subprocess.run(  # noqa: S603
            _command(repo, plan), capture_output=True, timeout=TIMEOUT, check=False, env=_environment()
        )
    except subprocess.TimeoutExpired as error:
        raise _too_slow(repo) from error
    _raise_for(repo, done.returncode, done.stderr)


async def compile_in_background(repo: Path, plan: Path) -> None:
    """The same without blocking the event loop; the process is killed when the task is cancelled."""
    process = await asyncio.create_subprocess_exec(
        *_command(repo, plan),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_environment(),
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            _, errors = await process.communicate()
    except TimeoutError as error:
        raise _too_slow(repo) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    _raise_for(repo, process.returncode or 0, errors)


def _command(repo: Path, plan: Path) -> list[str]:
    return [sys.executable, "-m", "online_api.compile_plan", str(repo), str(plan)]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != _NOT_INHERITED}


def _too_slow(repo: Path) -> StoreUnavailableError:
    return StoreUnavailableError(f"the registry of {repo}", f"no serving plan after {TIMEOUT} seconds")


def _raise_for(repo: Path, code: int, errors: bytes) -> None:
    if code == 0:
        return
    lines = [line for line in errors.decode("utf-8", "replace").strip().splitlines() if line.strip()]
    reason = lines[-1] if lines else f"exit code {code}"
    if code == StoreUnavailableError.exit_code:
        raise StoreUnavailableError("the registry", reason.rstrip("."))
    raise ConfigurationError(f"The serving plan of {repo} cannot be compiled: {reason}")


def main(arguments: list[str]) -> int:
    """Compile the plan of the repository ``arguments[0]`` into ``arguments[1]``; the exit code."""
    from skewguard.feast_repo import FeastRepo
    from skewguard.planning import write_plan

    repo, plan = Path(arguments[0]), Path(arguments[1])
    sources = PlanSources(repo)
    try:
        before = sources.look()
        write_plan(FeastRepo(repo), plan, lambda: sources.look() == before)
        if before is not None:
            os.utime(plan, ns=(before.newest + 1, before.newest + 1))
    except SkewguardError as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # noqa: T201  (the message for the parent)
        return error.exit_code
    except OSError as error:
        print(f"{plan}: cannot be written: {error.strerror}.", file=sys.stderr)  # noqa: T201
        return ConfigurationError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
