"""``skewguard demo``: the main job from end to end, on a repository that says in demo.yaml what its data are.

Works in a scratch copy, so that the repository stays as it is. Starts a real redis-server of its own where the
repository's connection string names a variable that is not set.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer
import yaml

from skewguard.demo_client import Server, feast_remote_lookup
from skewguard.errors import ConfigurationError, GateBlocked, SkewguardError
from skewguard.findings import DRIFTS, Cause, Run, Verdict

if TYPE_CHECKING:
    from skewguard.guard import SkewGuard

MARKER = ".skewguard-demo"
FAULT_SHARES = {"out_of_order_write": 0.05, "unit_scale": 0.05, "missing_online": 0.01, "expired_but_served": 0.02}


class DemoFailedError(SkewguardError, RuntimeError):
    """A step of the demo did not come out as it must."""

    exit_code = 1


@dataclass(frozen=True)
class DemoSettings:
    """demo.yaml: how to build the data, which service, entity rows and label to train on, and the as-of time."""

    build: tuple[str, ...]
    service: str
    entity_rows: str
    as_of: str
    train: tuple[str, ...]

    @classmethod
    def load(cls, repo: Path) -> DemoSettings:
        """Read ``<repo>/demo.yaml``; raises ConfigurationError naming the key."""
        path = repo / "demo.yaml"
        if not path.is_file():
            raise ConfigurationError(f"{path}: no such file; the demo runs on a repository that has one.")
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(data, Mapping):
            raise ConfigurationError(f"{path}: got {type(data).__name__}; expected a mapping.")
        missing = [key for key in ("build", "service", "entity_rows", "as_of", "train") if key not in data]
        if missing:
            raise ConfigurationError(f"{path}: missing keys: {', '.join(missing)}.")
        as_of = data["as_of"]
        return cls(
            build=tuple(str(part) for part in data["build"]),
            service=str(data["service"]),
            entity_rows=str(data["entity_rows"]),
            as_of=as_of.isoformat() if isinstance(as_of, datetime) else str(as_of),
            train=tuple(str(part) for part in data["train"]),
        )


class _Steps:
    """Prints one clear line a step, and what it found below it."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._number = 0

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        self._number += 1
        typer.secho(f"[{self._number}/{self._total}] {title}", bold=True)
        started = time.perf_counter()
        yield
        typer.secho(f"      done in {time.perf_counter() - started:.1f} s", dim=True)


def _say(text: str) -> None:
    for line in text.splitlines():
        typer.echo(f"      {line}")


def run_demo(repo: Path, workdir: Path, *, keep: bool = False) -> None:
    """Run the seven steps; raises DemoFailedError where one does not come out as it must. Leaves nothing running."""
    signal.signal(signal.SIGTERM, _terminated)
    source = repo.resolve()
    settings = DemoSettings.load(source)
    copy = _scratch_copy(source, workdir.resolve())
    with _redis(copy) as environment:
        _Demo(copy, settings, keep, environment).run()


def _terminated(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends the demo as Ctrl-C does: through every ``finally``, so that server and Redis stop."""
    raise SystemExit(143)


def _scratch_copy(source: Path, workdir: Path) -> Path:
    if workdir.exists() and any(workdir.iterdir()) and not (workdir / MARKER).is_file():
        raise ConfigurationError(f"{workdir} is not empty and not a demo's folder; give another one with --workdir.")
    shutil.rmtree(workdir, ignore_errors=True)
    workdir.mkdir(parents=True)
    (workdir / MARKER).touch()
    ignore = shutil.ignore_patterns(".skewguard", "__pycache__", "*.db")
    return Path(shutil.copytree(source, workdir / source.name, ignore=ignore))


@contextlib.contextmanager
def _redis(repo: Path) -> Iterator[dict[str, str]]:
    """A Redis of the demo's own where the repository's connection string names a variable that is not set."""
    config = yaml.safe_load((repo / "feature_store.yaml").read_text(encoding="utf-8"))
    text = str((config.get("online_store") or {}).get("connection_string", ""))
    unset = [name for name in re.findall(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?", text) if name not in os.environ]
    if not unset:
        yield {}
        return
    if len(unset) > 1 or not re.fullmatch(r"\$\{?\w+\}?", text):
        raise ConfigurationError(f"feature_store.yaml: connection_string {text!r}: set {', '.join(unset)} first.")
    from skewguard.online.embedded import EmbeddedRedis

    with EmbeddedRedis() as server:
        os.environ[unset[0]] = server.connection_string
        typer.echo(f"No Redis is configured: started one at {server.connection_string}, for this run only.")
        try:
            yield {unset[0]: server.connection_string}
        finally:
            del os.environ[unset[0]]


class _Demo:
    def __init__(self, repo: Path, settings: DemoSettings, keep: bool, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.repo = repo
        self.settings = settings
        self.keep = keep
        self.steps = _Steps(7)
        self.runs: list[Run] = []

    def open(self) -> SkewGuard:
        """The repository as it is now: each step opens it afresh, as a command of its own would."""
        from skewguard.guard import SkewGuard

        return SkewGuard(self.repo)

    def run(self) -> None:
        """All seven steps."""
        with self.steps.step("Build the features, apply the Feast definitions"):
            self._build()
        with self.steps.step("Point-in-time training set, expectations, skew gate, model and contract"):
            self._train()
        with self.steps.step(f"Materialize to Redis as of {self.settings.as_of}"):
            self._materialize()
        with Server(self.repo, self.settings.as_of, self.repo.parent / "server.log") as server:
            with self.steps.step(f"Serve over HTTP at {server.url}, and look up"):
                self._look_up(server)
            with self.steps.step("Guard the clean store"):
                self._check_clean()
            with self.steps.step("Break the online store, guard it again"):
                self._break(server)
            with self.steps.step("Repair, and guard once more"):
                self._repair(server)
                self._close(server)

    def _build(self) -> None:
        command = [sys.executable if part == "python" else part for part in self.settings.build]
        _run(command, self.repo)
        guard = self.open()
        guard.feast.apply()
        for view in guard.feast.views():
            ttl = "none" if view.ttl is None else f"{view.ttl.total_seconds() / 86400:g} days"
            _say(f"{view.name}: {len(view.features)} features, ttl {ttl}")

    def _train(self) -> None:
        out = self.repo.parent / "model"
        arguments = ["--repo", str(self.repo), "--service", self.settings.service, "--out", str(out)]
        entity_rows = ["--entity-rows", str(self.repo / self.settings.entity_rows)]
        _say(
            _run([sys.executable, "-m", "training", *arguments, *entity_rows, *self.settings.train], self.repo).strip()
        )

    def _materialize(self) -> None:
        from skewguard.progress import progress

        with progress("materialize") as report:
            results = self.open().materialize(as_of=self.settings.as_of, progress=report)
        for result in results:
            left_out = f" ({result.expired:,} past their TTL left out)" if result.expired else ""
            _say(f"{result.view}: {result.rows:,} rows{left_out}")

    def _entity_rows(self, count: int) -> dict[str, list[Any]]:
        """The last entity rows of the example, as columns of a request."""
        import pyarrow.parquet as pq

        service = self.open().service(self.settings.service)
        names = [f.name for f in (*service.join_keys, *service.request_fields)]
        table = pq.read_table(self.repo / self.settings.entity_rows, columns=names)
        table = table.slice(max(0, table.num_rows - count))
        columns = {name: table.column(name).to_pylist() for name in names}
        for field in service.request_fields:  # a request is made now, and now is the as-of time
            if field.dtype == "UNIX_TIMESTAMP":
                columns[field.name] = [int(datetime.fromisoformat(self.settings.as_of).timestamp())] * table.num_rows
        return columns

    def _look_up(self, server: Server) -> None:
        rows = self._entity_rows(100)
        status, body = server.look_up(self.settings.service, rows)
        if status != 200:
            raise DemoFailedError(f"the look-up came back with HTTP {status}: {body}")
        present = [sum(r["statuses"][i] == "PRESENT" for r in body["results"]) for i in range(100)]
        fullest = present.index(max(present))
        for name, result in zip(body["metadata"]["feature_names"], body["results"], strict=True):
            _say(f"{name:<32} {str(result['values'][fullest])[:40]:<42} {result['statuses'][fullest]}")
        served = feast_remote_lookup(self.repo, server.url, self.settings.service, rows)
        _say(f"Feast's own remote client got {len(served)} columns for {len(next(iter(served.values())))} rows")

    def _check_clean(self) -> None:
        """No value may be wrong online; that the world has moved on since training is no fault of the store."""
        run = self._check()
        wrong = [f.message for f in run.findings if f.cause not in DRIFTS and f.action != "ignore"]
        if wrong or run.verdict not in (Verdict.PASS, Verdict.WARN):
            raise DemoFailedError(f"verdict {run.verdict.value}; the demo expects no wrong value: {'; '.join(wrong)}")

    def _check(self) -> Run:
        from skewguard.progress import progress
        from skewguard.report.text import render_table

        with progress("check") as report:
            run = self.open().check(self.settings.service, as_of=self.settings.as_of, progress=report)
        self.runs.append(run)
        _say(render_table(run))
        return run

    def _break(self, server: Server) -> None:
        from skewguard.drill import inject_all

        guard = self.open()
        injected = inject_all(guard, self.settings.service, FAULT_SHARES, as_of=self.settings.as_of)
        _say("\n".join(fault.line() for fault in injected))
        expected: set[tuple[Cause, str]] = {(fault.cause, fault.view) for fault in injected}
        run = self._check()
        if run.verdict is not Verdict.BLOCK:
            raise DemoFailedError(f"verdict {run.verdict.value}; the demo expects block")
        missed = expected - {(f.cause, f.view or "") for f in run.findings}
        if missed:
            raise DemoFailedError("not found: " + ", ".join(f"{cause.value} in {view}" for cause, view in missed))
        try:
            self.open().training_set(self.repo / self.settings.entity_rows, self.settings.service)
        except GateBlocked as error:
            _say(f"training gate: refused ({len(error.findings)} findings)")
        else:
            raise DemoFailedError("the training gate let a blocked service through")
        status, body = server.look_up_until(503, self.settings.service, self._entity_rows(1))
        if status != 503 or "gate" not in str(body.get("type", "")):
            raise DemoFailedError(f"the serving gate answered HTTP {status}: {body}")
        _say(f"serving gate: HTTP {status}, {body['title']}")

    def _repair(self, server: Server) -> None:
        guard = self.open()
        plan = guard.plan_repair(self.settings.service, as_of=self.settings.as_of)
        _say("\n".join(plan.lines()))
        guard.repair(plan)
        self._check_clean()
        status, body = server.look_up_until(200, self.settings.service, self._entity_rows(1))
        if status != 200:
            raise DemoFailedError(f"serving stayed closed after the repair: HTTP {status}: {body}")
        _say("serving gate: open again")

    def _close(self, server: Server) -> None:
        guard = self.open()
        typer.echo()
        for title, done in zip(("clean", "broken", "repaired"), self.runs, strict=True):
            path = guard.state.run_directory(done.run_id) / "report.html"
            typer.echo(f"Report, {title + ':':<10} {done.verdict.value:<6} {path}")
        if self.keep:
            typer.echo(f"\nRedis and {server.url} stay up until Ctrl-C. In another shell, for example:")
            for name, value in self.environment.items():
                typer.echo(f"  export {name}={value}")
            where = f"--repo {self.repo} --service {self.settings.service} --as-of {self.settings.as_of}"
            typer.echo(f"  skewguard check {where}")
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    time.sleep(3600)


def _run(command: Sequence[str], cwd: Path) -> str:
    """A command's standard output; its standard error passes through. Raises DemoFailedError."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise DemoFailedError(f"`{' '.join(command)}` ended with exit code {done.returncode}:\n{done.stdout}")
    return done.stdout
