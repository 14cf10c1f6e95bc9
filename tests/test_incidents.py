"""Incidents open, worsen and close by themselves, and old histories learn of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skewguard.findings import Cause, CheckResult, Finding, Run, Verdict
from skewguard.history import History
from skewguard.history_file import SCHEMA_VERSION
from skewguard.incidents import UNDECIDED, EventKind, Incident, advance
from skewguard.run_json import dump_run
from skewguard.stats import wilson_interval
from tests.report import samples

DAY = timedelta(days=1)
START = datetime(2026, 3, 1, tzinfo=UTC)


def found(feature: str = "a", count: int = 50, action: str = "warn", check: str = "parity") -> Finding:
    low, high = wilson_interval(count, 1000)
    return Finding(check, Cause.UNIT_SCALE, "v", feature, count, 1000, low, high, f"{feature} is off", action=action)


def run(day: int, *findings: Finding, status: str = "ok", checks: str = "parity", **details: object) -> Run:
    results = [
        CheckResult(name, status, tuple(f for f in findings if f.check == name), 10, 10, reason="r", details=details)
        for name in checks.split()
    ]
    at = START + day * DAY
    return Run(f"r{day}", "s", at, at, at, Verdict.WARN, (), tuple(results), findings)


def after(*runs: Run) -> tuple[dict[str, Incident], list[list[str]]]:
    """Open incidents after these runs, and what each run brought."""
    known: dict[str, Incident] = {}
    told = []
    for one in runs:
        changed, events = advance(known, one)
        for incident in changed:
            known[incident.key] = incident
        known = {key: incident for key, incident in known.items() if incident.closed is None}
        told.append([f"{event.kind} {event.incident.feature or event.incident.check}" for event in events])
    return known, told


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        ([run(0)], [[]]),
        ([run(0, found())], [["opened a"]]),
        ([run(0, found()), run(1, found())], [["opened a"], []]),
        ([run(0, found()), run(1)], [["opened a"], ["closed a"]]),
        ([run(0, found()), run(1), run(2, found())], [["opened a"], ["closed a"], ["opened a"]]),
        ([run(0, found(action="ignore"))], [[]]),
        ([run(0, found()), run(1, found(action="ignore"))], [["opened a"], ["closed a"]]),
        # noise is no news; a surely higher rate is, and is then what the next one is held against
        ([run(0, found(count=50)), run(1, found(count=60))], [["opened a"], []]),
        (
            [run(0, found(count=50)), run(1, found(count=100)), run(2, found(count=110)), run(3, found(count=200))],
            [["opened a"], ["worsened a"], [], ["worsened a"]],
        ),
        ([run(0, found()), run(1, found(count=10)), run(2, found(count=50))], [["opened a"], [], []]),
        ([run(0, found()), run(1, found(action="block"))], [["opened a"], ["worsened a"]]),
        ([run(0, found(action="block")), run(1, found(action="warn"))], [["opened a"], []]),
        # a check without an answer says nothing of its findings, and is an incident of its own
        (
            [run(0, found()), run(1, status="inconclusive"), run(2)],
            [["opened a"], ["opened parity"], ["closed a", "closed parity"]],
        ),
        (
            [run(0, found()), run(1, status="crashed"), run(2, found())],
            [["opened a"], ["opened parity"], ["closed parity"]],
        ),
        ([run(0, found()), run(1, checks="freshness")], [["opened a"], []]),
        ([run(0, status="inconclusive", checks="distribution", too_little=True)], [[]]),
        (
            [run(0, found("a"), found("b")), run(1, found("b", action="block"), found("c"))],
            [["opened a", "opened b"], ["opened c", "worsened b", "closed a"]],
        ),
    ],
)  # fmt: skip
def test_what_happens(runs: list[Run], told: list[list[str]]) -> None:
    assert after(*runs)[1] == told


def test_what_is_kept_of_an_incident() -> None:
    known, _ = after(run(0, found(count=50)), run(1, found(count=200)), run(2, found(count=20, action="block")))
    (incident,) = known.values()
    assert (incident.opened, incident.opened_run, incident.last_seen) == (START, "r0", START + 2 * DAY)
    assert (incident.rate, incident.worst_rate, incident.action) == (0.02, 0.2, "block")
    known, _ = after(run(0, status="crashed"))
    (incident,) = known.values()
    assert (incident.key, incident.cause, incident.action) == ("parity/crashed//", "check_crashed", UNDECIDED)
    assert incident.message == "the check parity is crashed: r"


def partly(day: int, *findings: Finding, **decided: str) -> Run:
    """A night with too little data for some features: ``decided`` are their statuses against the contract."""
    whole = run(day, *findings, status="inconclusive", checks="distribution", too_little=True)
    drift = tuple(samples.drift_stats("v", feature, status=status) for feature, status in decided.items())
    return replace(whole, checks=tuple(replace(check, drift=drift) for check in whole.checks))


def test_a_night_with_too_little_data_for_one_feature_decides_the_others(tmp_path: Path) -> None:
    moved = found("a", check="distribution")
    assert after(partly(0, moved, a="drifted", b="inconclusive"), partly(1, a="same", b="inconclusive"))[1] == [
        ["opened a"],
        ["closed a"],
    ]
    lacking = (partly(0, moved, a="drifted", b="same"), partly(1, a="inconclusive", b="same"))
    assert after(*lacking)[1] == [["opened a"], []]
    crashed = run(0, status="crashed", checks="distribution")
    assert after(crashed, partly(1, a="same", b="inconclusive"))[1] == [
        ["opened distribution"],
        ["closed distribution"],
    ]
    joint = replace(moved, view=None, feature=None)
    made, not_made = partly(1, a="inconclusive"), partly(2, a="inconclusive")
    made = replace(made, checks=(replace(made.checks[0], details={"too_little": True, "joint": {"auc": 0.5}}),))
    assert after(partly(0, joint, a="same"), not_made)[1] == [["opened distribution"], []]
    assert after(partly(0, joint, a="same"), made)[1] == [["opened distribution"], ["closed distribution"]]
    for number, runs in enumerate([lacking, (partly(0, moved, a="drifted"), partly(1, a="same", b="inconclusive"))]):
        history = History(tmp_path / f"{number}.duckdb")
        for one in runs:
            history.append(one)
        assert history.first_seen("s", [moved.key]) == ({} if number else {moved.key: START})


nights = st.lists(
    st.tuples(st.sampled_from(["ok", "ok", "inconclusive", "crashed"]), st.sets(st.sampled_from("abc"), max_size=3)),
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(nights)
def test_against_the_obvious_reference(history: list[tuple[str, set[str]]]) -> None:
    """Open is what the last run with an answer had; every opening is followed by at most one closing."""
    runs = [
        run(day, *(found(f) for f in sorted(features) if status == "ok"), status=status)
        for day, (status, features) in enumerate(history)
    ]
    known, told = after(*runs)
    answered = [features for status, features in history if status == "ok"]
    assert {i.feature for i in known.values() if i.feature} == (answered[-1] if answered else set())
    for feature in "abc":
        kinds = [event.split()[0] for night in told for event in night if event.split()[1] == feature]
        assert kinds == [("opened", "closed")[n % 2] for n in range(len(kinds))]


def stored(history: History) -> Mapping[str, tuple[str, bool]]:
    return {i.feature or i.check: (i.opened_run, i.closed is not None) for i in history.incidents(closed=True)}


def test_the_history_keeps_incidents_and_events(tmp_path: Path) -> None:
    history = History(tmp_path / "h.duckdb")
    assert history.incidents() == []
    assert [e.kind for e in history.append(run(0, found("a")))] == [EventKind.OPENED]
    history.append(run(1, found("a"), found("b")))
    assert [e.kind for e in history.append(run(2, found("b")))] == [EventKind.CLOSED]
    assert stored(history) == {"a": ("r0", True), "b": ("r1", False)}
    assert [i.feature for i in history.incidents("s")] == ["b"]
    assert history.incidents("other") == []
    assert [(e.kind.value, e.incident.feature, e.run_id) for e in history.events(["r1", "r2"])] == [
        ("opened", "b", "r1"), ("closed", "a", "r2"),
    ]  # fmt: skip
    # a run about the past is kept, and changes nothing of what is open now
    past = replace(run(1, found("c")), run_id="late")
    assert history.append(past) == []
    assert set(stored(history)) == {"a", "b"}


FIRST_SCHEMA = """
CREATE TABLE meta (schema_version INTEGER NOT NULL);
CREATE TABLE runs (
    seq BIGINT PRIMARY KEY, run_id VARCHAR NOT NULL UNIQUE, service VARCHAR NOT NULL, as_of TIMESTAMP NOT NULL,
    started_at TIMESTAMP NOT NULL, finished_at TIMESTAMP NOT NULL, verdict VARCHAR NOT NULL,
    night VARCHAR NOT NULL, run VARCHAR NOT NULL);
CREATE TABLE checks (
    seq BIGINT NOT NULL, check_name VARCHAR NOT NULL, status VARCHAR NOT NULL, population BIGINT NOT NULL,
    compared BIGINT NOT NULL, reason VARCHAR NOT NULL);
CREATE TABLE findings (
    seq BIGINT NOT NULL, key VARCHAR NOT NULL, check_name VARCHAR NOT NULL, cause VARCHAR NOT NULL, view VARCHAR,
    feature VARCHAR, count BIGINT NOT NULL, compared BIGINT NOT NULL, ci_low DOUBLE NOT NULL, ci_high DOUBLE NOT NULL,
    action VARCHAR NOT NULL);
CREATE TABLE overrides (
    service VARCHAR NOT NULL, reason VARCHAR NOT NULL, until TIMESTAMP NOT NULL, set_by VARCHAR NOT NULL,
    set_at TIMESTAMP NOT NULL);
INSERT INTO meta VALUES (1);
"""


def test_a_history_of_the_first_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "h.duckdb"
    old = run(0, found("a"))
    with duckdb.connect(str(path)) as con:
        con.execute(FIRST_SCHEMA)
        at = START.replace(tzinfo=None)
        con.execute("INSERT INTO runs VALUES (1, 'r0', 's', ?, ?, ?, 'warn', '{}', ?)", [at, at, at, dump_run(old)])
    history = History(path)
    assert history.run("r0") == old
    assert (history.incidents(), history.events(["r0"])) == ([], [])  # read, and left as it is
    history.append(run(1, found("a")))
    assert [r.run_id for r in history.runs()] == ["r1", "r0"]
    assert [i.opened_run for i in history.incidents()] == ["r1"]
    with duckdb.connect(str(path), read_only=True) as con:
        assert con.execute("SELECT schema_version FROM meta").fetchall() == [(SCHEMA_VERSION,)]
