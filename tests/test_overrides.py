"""A person lets a service through: recorded, told in report and contract, over by itself. Real Redis, real Parquet."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from skewguard import SkewGuard
from skewguard.errors import BadInputError, ConfigurationError, GateBlocked, UnknownNameError
from skewguard.history import History
from skewguard.report import render_html
from skewguard.report.text import render_table
from tests.repos import AS_OF, entity_rows, write_repo

HOUR = timedelta(hours=1)


class Clock:
    """The time of a test."""

    def __init__(self) -> None:
        self.now = AS_OF

    def __call__(self) -> Any:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(tmp_path: Path, clean_redis: Any, clock: Clock) -> SkewGuard:
    """A repository whose training gate is closed: an entity is missing online."""
    repo = write_repo(tmp_path / "repo", clean_redis.connection_string)
    opened = SkewGuard(repo, clock=clock)
    opened.feast.apply()
    opened.materialize(as_of=AS_OF)
    with clean_redis.client() as client:
        client.delete(sorted(client.keys())[0])
    return opened


def test_training_goes_on_for_a_stated_time_and_the_contract_says_why(guard: SkewGuard, clock: Clock) -> None:
    with pytest.raises(GateBlocked):
        guard.training_set(entity_rows(), "till_v1", as_of=AS_OF)
    found = guard.override("till_v1", how_long="4h", reason=" the store is being rebuilt ", gate="training", by="ana")
    assert (found.until, found.reason) == (AS_OF + 4 * HOUR, "the store is being rebuilt")

    made = guard.training_set(entity_rows(), "till_v1", as_of=AS_OF)

    assert made.contract.provenance["override"] == found.told()
    assert made.contract.provenance["verdict"] == "block"
    clock.now = AS_OF + 4 * HOUR
    with pytest.raises(GateBlocked):
        guard.training_set(entity_rows(), "till_v1", as_of=AS_OF)
    serving = guard.override("till_v1", how_long=HOUR, reason="x", gate="serving")
    assert serving.by  # whoever runs this
    with pytest.raises(GateBlocked):
        guard.training_set(entity_rows(), "till_v1", as_of=AS_OF)


def test_reports_tell_of_the_overrides_since_the_last_run(guard: SkewGuard, clock: Clock) -> None:
    first = guard.check("till_v1", as_of=AS_OF)
    assert "overrides" not in first.provenance
    guard.override("till_v1", how_long="1h", reason="<b>backfill</b>", by="ana")
    guard.override("till_v1", how_long="4h", reason="still running", gate="serving", by="bo")
    clock.now += HOUR / 2
    (ended, other) = guard.end_override("till_v1", by="cy")
    assert {ended.reason, other.reason} == {"<b>backfill</b>", "still running"}
    assert guard.state.override("till_v1", "serving", clock.now) is None
    clock.now += HOUR

    run = guard.check("till_v1", as_of=AS_OF)

    assert [one["reason"] for one in run.provenance["overrides"]] == ["still running", "<b>backfill</b>"]
    page, table = render_html(run), render_table(run)
    assert "Overridden for serving by bo" in page
    assert "ended by cy: &lt;b&gt;backfill&lt;/b&gt;" in page
    assert "Overridden for serving and training by ana" in table
    clock.now += HOUR
    later = guard.check("till_v1", as_of=AS_OF)
    assert "overrides" not in later.provenance
    assert len(History(guard.state.history).overrides("till_v1", AS_OF)) == 2


def test_each_gate_has_its_own(guard: SkewGuard, clock: Clock) -> None:
    both = guard.override("till_v1", how_long="4h", reason="both", by="ana")
    guard.override("till_v1", how_long="1h", reason="only training", gate="training", by="ana")
    found = {gate: guard.state.override("till_v1", gate, clock.now) for gate in ("serving", "training")}
    assert {gate: None if one is None else one.reason for gate, one in found.items()} == {
        "serving": "both", "training": "only training",
    }  # fmt: skip
    assert guard.state.override("till_v1", "serving", both.until) is None
    assert guard.state.override("till_v1", "serving", both.set_at - HOUR) is None


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"how_long": "soon"}, "how_long: got 'soon'"),
        ({"how_long": "0s"}, "a duration above zero"),
        ({"how_long": "31d"}, "at most 30 days"),
        ({"reason": "  "}, "reason: got an empty text"),
        ({"gate": "door"}, "gate: got 'door'; expected one of both, serving, training"),
        ({"by": " "}, "by: got an empty text"),
    ],
)
def test_what_is_not_stated_is_refused_and_nothing_is_overridden(
    guard: SkewGuard, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        guard.override("till_v1", **{"how_long": "1h", "reason": "x", **more})
    assert not guard.state.override_path("till_v1").exists()
    assert History(guard.state.history).overrides("till_v1", AS_OF - HOUR) == []


def test_names_and_files_that_are_not_right(guard: SkewGuard, clock: Clock) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'till_v1'"):
        guard.override("till_v2", how_long="1h", reason="x")
    with pytest.raises(UnknownNameError):
        guard.end_override("till_v2")
    path = guard.state.override_path("till_v1")
    path.parent.mkdir(parents=True, exist_ok=True)
    for text in ("{", "[]", '{"service": "other"}', '{"service": "till_v1", "door": {}}',
                 '{"service": "till_v1", "serving": {"until": "2999-01-01", "set_at": "2020-01-01"}}'):  # fmt: skip
        path.write_text(text)
        with pytest.raises(ConfigurationError, match="no overrides can be read"):
            guard.state.override("till_v1", "serving", clock.now)
    guard.end_override("till_v1")
    assert guard.state.override("till_v1", "serving", clock.now) is None
