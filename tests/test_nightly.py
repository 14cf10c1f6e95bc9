"""The night: all services, cut off and resumed, one that fails, and what is told of incidents."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from skewguard import SkewGuard
from skewguard.collect import Progress
from skewguard.findings import Verdict
from skewguard.history import History
from skewguard.nightly import RESUMED_WITHIN, Night, NightResult, NightState, load_night_state
from skewguard.report import write_index
from tests.repos import AS_OF, write_repo


@pytest.fixture
def guard(tmp_path: Path, clean_redis: Any) -> SkewGuard:
    repo = write_repo(tmp_path / "repo", clean_redis.connection_string)
    (repo / "skewguard.yaml").write_text("causes:\n  contract_missing: ignore\n")
    opened = SkewGuard(repo, clock=lambda: AS_OF)
    opened.feast.apply()
    opened.materialize(as_of=AS_OF)
    return opened


@contextlib.contextmanager
def silent(title: str) -> Iterator[Progress]:
    yield lambda _step, _rows: None


def night(guard: SkewGuard, services: list[str] | None = None, **how: Any) -> NightResult:
    return Night(guard, services or guard.services(), AS_OF).run(silent, **how)


def test_every_service_is_run_and_the_night_is_over(guard: SkewGuard) -> None:
    told: list[str] = []
    result = night(guard, tell=lambda run: told.append(run.service))
    assert told == [one.service for one in result.services] == guard.services()
    state = load_night_state(guard.state.root / "night.json")
    assert state is not None
    assert (state.finished, state.night, len(state.done)) == (True, result.night, 2)
    again = night(guard)
    assert not any(one.resumed for one in again.services)  # a finished night is not gone on with
    assert len(History(guard.state.history).runs()) == 4


def test_incidents_of_the_night_are_told(guard: SkewGuard, clean_redis: Any) -> None:
    assert night(guard).events == ()
    with clean_redis.client() as client:
        key = next(k for k in sorted(client.keys()) if b"shop" not in k or len(k) > 40)
        client.delete(key)
    broken = night(guard)
    assert {(e.kind.value, e.incident.cause) for e in broken.events} == {("opened", "missing_online")}
    data = broken.to_dict()
    assert [i["cause"] for i in data["incidents"]["opened"]] == [e.incident.cause for e in broken.events]
    assert any(line.startswith("incident opened: ") for line in broken.lines())
    guard.materialize(as_of=AS_OF)
    mended = night(guard)
    assert {(e.kind.value, e.incident.cause) for e in mended.events} == {("closed", "missing_online")}
    assert History(guard.state.history).incidents() == []


def test_a_service_that_fails_outright_hides_no_other(guard: SkewGuard) -> None:
    result = night(guard, ["shop_v1", "gone_v1", "till_v1"])
    verdicts = {one.service: one.verdict for one in result.services}
    assert verdicts == {"shop_v1": Verdict.PASS, "gone_v1": Verdict.INCONCLUSIVE, "till_v1": Verdict.PASS}
    (failed,) = (one for one in result.services if one.service == "gone_v1")
    assert "Unknown feature service 'gone_v1'" in failed.reasons[0]
    (incident,) = History(guard.state.history).incidents()
    assert (incident.service, incident.key, incident.cause) == ("gone_v1", "run/crashed//", "check_crashed")
    assert (guard.state.run_directory(failed.run_id) / "report.html").is_file()


def test_a_state_that_cannot_be_read_is_a_night_from_the_start(guard: SkewGuard) -> None:
    path = guard.state.root / "night.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text("{")
    assert load_night_state(path) is None
    assert len(night(guard).services) == 2


def test_which_night_goes_on() -> None:
    begun = NightState("n", AS_OF, None)
    assert begun.continues(None, AS_OF + timedelta(hours=1))
    assert not begun.continues(None, AS_OF + RESUMED_WITHIN)
    assert not begun.continues(AS_OF, AS_OF + timedelta(hours=1))
    assert not NightState("n", AS_OF, None, finished=True).continues(None, AS_OF)


def nightly(repo: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "skewguard.cli", "nightly", "--repo", str(repo), "--as-of", AS_OF.isoformat(), "--json",
         *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_night_that_was_cut_off_goes_on_where_it_was(guard: SkewGuard, how: signal.Signals) -> None:
    path = guard.state.root / "night.json"
    first = nightly(guard.path)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        state = load_night_state(path)
        if state is not None and state.done:
            break
        time.sleep(0.005)
    first.send_signal(how)
    first.communicate(timeout=60)
    state = load_night_state(path)
    assert state is not None
    if state.finished:
        pytest.skip("the night ended before it could be cut off")
    assert first.returncode == (-how if how is signal.SIGKILL else 143)
    done = {one.service: one.run_id for one in state.done}
    second = nightly(guard.path)
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    result = json.loads(out)
    assert result["night"] == state.night
    told = {one["service"]: (one["run_id"], one["resumed"]) for one in result["services"]}
    assert sorted(told) == guard.services()
    assert {service: run for service, (run, resumed) in told.items() if resumed} == done
    assert sorted(run.service for run in History(guard.state.history).runs()) == guard.services()


def test_data_docs_of_the_nights_are_written_where_they_are_asked_for(guard: SkewGuard) -> None:
    found = guard.propose_suite("till_v1", rows=300).save()
    assert found.written
    night(guard)
    assert not guard.state.data_docs.exists()
    documented = Night(guard, guard.services(), AS_OF, data_docs=True).run(silent)
    (page,) = guard.state.data_docs.glob("*/*.html")  # shop_v1 has no suite
    assert (page.parent.name, page.name) == (documented.night, "till_v1.html")
    text = page.read_text(encoding="utf-8")
    assert "values must belong to this set" in text
    assert "<script" not in text
    assert "data_docs/index.html" in write_index(guard.state).read_text(encoding="utf-8")
    figures = json.loads(page.with_suffix(".json").read_text())
    run = History(guard.state.history).last_run("till_v1")
    assert run is not None
    (check,) = [c for c in run.checks if c.check == "expectations"]
    assert figures["evaluated_expectations"] == check.population > 20


def test_what_keeps_data_docs_from_being_written_keeps_nothing_else(
    guard: SkewGuard, caplog: pytest.LogCaptureFixture
) -> None:
    guard.propose_suite("till_v1", rows=300).save()
    guard.state.data_docs.parent.mkdir(exist_ok=True)
    guard.state.data_docs.write_text("a file where the folder should be")
    result = Night(guard, guard.services(), AS_OF, data_docs=True).run(silent)
    assert {one.verdict for one in result.services} == {Verdict.PASS}
    assert "the Data Docs of till_v1 could not be written" in caplog.text
