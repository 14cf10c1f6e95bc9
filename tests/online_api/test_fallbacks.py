"""Other values in the place of features that a verdict blocks: found in order, named, counted, logged, gone again."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from online_api.last_good import ANEW_AFTER, LastGood
from skewguard.feast_repo import FeastRepo
from skewguard.override import Override
from skewguard.plan import load_plan
from skewguard.serving_log.keeping import keep_log
from skewguard.state import State
from tests.online_api.conftest import Served, columns, copy_repo, served
from tests.online_api.test_bad_requests import problem
from tests.online_api.test_serving_log import logged
from tests.test_contract import CONTRACT

POLICY = """
services:
  drivers:
    serving: fallback
    features:
      stats:rating: {serving: reject}
      stats:seen: {fallback: contract_default}
      tariff:price: {serving: annotate}
  shops: {serving: fallback, fallback: null, serving_inconclusive: reject}
  pairs: {serving: fallback, fallback: contract_default}
"""
DEFAULTS = {"stats__trips": 15, "stats__seen": 1_700_000_000, "stats__score": 2.25, "tariff__price": 9.0}
DRIVERS = {"feature_service": "drivers", "entities": {"driver_id": [1, 2], "shop_code": ["x", ""]}}


def promise(folder: Path, service: str, defaults: dict[str, Any]) -> None:
    """A contract that the served plan keeps."""
    plan = load_plan(folder / ".skewguard" / "plan.json")
    names = plan.service(service).fingerprints()
    fingerprints = {name: plan.fingerprints[name] for name in names}
    contract = replace(CONTRACT, service=service, fingerprints=fingerprints, defaults=defaults)
    contract.save(State(folder).contract_path(service))


@pytest.fixture(scope="module")
def guarded(repo: FeastRepo, bare_plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = copy_repo(repo, tmp_path_factory.mktemp("fallbacks") / "repo", bare_plan)
    (folder / "skewguard.yaml").write_text(POLICY)
    promise(folder, "drivers", DEFAULTS)
    promise(folder, "pairs", {"origin__trips": 11, "target__trips": 12})
    with served(folder) as made:
        yield made


@pytest.fixture(autouse=True)
def all_pass(guarded: Served) -> None:
    for service in ("drivers", "shops", "pairs"):
        guarded.verdict(service, "pass")
        State(guarded.folder).end_overrides(service)
    eventually(lambda: ready(guarded) == {"drivers": "open", "shops": "open", "pairs": "open"})


def ready(server: Served) -> dict[str, str]:
    gates: dict[str, str] = server.client.get("/ready").json()["gates"]
    return {name: gates[name] for name in ("drivers", "shops", "pairs")}


def eventually(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)
    return found


def block(server: Served, service: str, *blocked: tuple[str | None, str | None]) -> None:
    server.verdict(service, "block", blocked=[{"view": view, "feature": feature} for view, feature in blocked])
    time.sleep(1.1)  # what was found holds for a second


def told(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    found = response.json()["metadata"].get("skewguard", {}).get("fallbacks", [])
    return {one["feature"]: one for one in found}


def metric(server: Served, line: str) -> float:
    found = [text for text in server.client.get("/metrics").text.splitlines() if text.startswith(line + " ")]
    return float(found[0].split()[-1]) if found else 0.0


def test_last_known_good_then_the_contracts_default_then_null(guarded: Served) -> None:
    before = guarded.look(**DRIVERS).json()  # good rows of drivers 1 and 2
    counted = metric(guarded, 'skewguard_fallbacks_total{kind="last_known_good",service="drivers"}')
    block(guarded, "drivers", ("stats", "trips"), ("stats", "seen"), ("stats", "score"))
    asked = {"feature_service": "drivers", "entities": {"driver_id": [2, 5, 1], "shop_code": ["x", "x", "x"]}}

    response = guarded.look(**asked)

    found = told(response)
    assert found["trips"] == {
        "feature": "trips", "reference": "stats:trips", "service": "drivers", "because": "verdict",
        "used": {"contract_default": [1], "last_known_good": [0, 2]},
    }  # fmt: skip
    assert found["seen"]["used"] == {"contract_default": "all"}
    assert set(found) == {"trips", "seen", "score"}
    values, statuses = columns(response.json()), columns(response.json(), "statuses")
    assert (values["trips"], values["seen"], values["score"]) == ([20, 15, 10], [1_700_000_000] * 3, [2.5, 2.25, 1.5])
    assert (
        values["rating"]
        == columns(guarded.look(features=["stats:rating"], entities={"driver_id": [2, 5, 1]}).json())["rating"]
    )
    assert values["price"] == [None, None, 12.5]
    assert statuses["trips"] == ["PRESENT"] * 3
    assert columns(response.json(), "event_timestamps")["trips"][1] == "1970-01-01T00:00:00Z"
    assert columns(response.json(), "event_timestamps")["trips"][2] == columns(before, "event_timestamps")["trips"][0]
    assert response.headers["X-Skewguard-Fallbacks"] == "9"
    assert response.headers["X-Skewguard-Verdict"] == "block"
    line = 'skewguard_fallbacks_total{kind="last_known_good",service="drivers"}'
    assert metric(guarded, line) == counted + 4
    assert ready(guarded)["drivers"] == "fallback"
    gate = guarded.client.get("/v1/services/drivers/skew").json()["gate"]
    assert (gate["closed"], gate["fallback"]) == (False, ["stats:score", "stats:seen", "stats:trips"])

    guarded.verdict("drivers", "pass")  # the cause is gone
    time.sleep(1.1)
    again = guarded.look(**asked)
    assert told(again) == {}
    assert "skewguard" not in again.json()["metadata"]
    assert "X-Skewguard-Fallbacks" not in again.headers


def test_one_feature_refuses_and_one_is_only_told(guarded: Served) -> None:
    block(guarded, "drivers", ("stats", "rating"))
    refused = problem(guarded.look(**DRIVERS), 503, "gate-blocked")
    assert refused["service"] == "drivers"
    # a list without it is served: nothing that was asked for is blocked
    assert guarded.look(features=["stats:trips"], entities={"driver_id": [1]}).status_code == 200
    assert guarded.look(features=["stats:rating"], entities={"driver_id": [1]}).status_code == 503

    block(guarded, "drivers", ("tariff", None))
    response = guarded.look(**DRIVERS)
    assert told(response) == {}
    assert columns(response.json())["price"] == [12.5, 0.25]
    assert response.headers["X-Skewguard-Verdict"] == "block"


def test_a_whole_service_falls_back_and_so_does_what_is_undecided(guarded: Served) -> None:
    guarded.verdict("shops", "inconclusive")
    time.sleep(1.1)
    response = guarded.look(feature_service="shops", entities={"shop_code": ["x", "none"]})
    assert {name: one["used"] for name, one in told(response).items()} == {
        name: {"null": "all"} for name in ("open", "city", "rate", "label")
    }
    values, statuses = columns(response.json()), columns(response.json(), "statuses")
    assert values["city"] == values["rate"] == [None, None]
    assert statuses["city"] == ["NULL_VALUE"] * 2
    assert response.headers["X-Skewguard-Verdict"] == "inconclusive"


def test_an_alias_and_a_feature_list_are_the_same_feature(guarded: Served) -> None:
    block(guarded, "pairs", ("stats", "trips"))
    asked = {"feature_service": "pairs", "entities": {"origin_id": [1], "target_id": [2]}, "full_feature_names": True}
    response = guarded.look(**asked)
    assert {name: one["used"] for name, one in told(response).items()} == {
        "origin__trips": {"contract_default": "all"}, "target__trips": {"contract_default": "all"},
    }  # fmt: skip
    values = columns(response.json())
    assert (values["origin__trips"], values["target__trips"], values["origin__score"]) == ([11], [12], [1.5])

    listed = guarded.look(features=["stats:trips", "stats:seen"], entities={"driver_id": [1]})
    assert told(listed)["trips"]["service"] == "pairs"
    assert columns(listed.json())["trips"] == [11]  # the first of its aliases
    assert columns(listed.json())["seen"] == [1_788_071_415]


def test_the_log_has_what_was_sent_and_says_so(guarded: Served) -> None:
    guarded.look(**DRIVERS)  # as they are stored
    block(guarded, "drivers", ("stats", "seen"), ("stats", "trips"))
    response = guarded.client.post("/get-online-features", json=DRIVERS, headers={"X-Request-ID": "instead"})
    assert response.status_code == 200
    keep_log(guarded.folder)
    table = logged(guarded.folder, "drivers")
    rows = [row for row in table.to_pylist() if row["__request_id"] == "instead"]
    assert [json.loads(row["__fallback"])["stats__seen"] for row in rows] == ["contract_default"] * 2
    assert [row["stats__seen"] for row in rows] == [datetime.fromtimestamp(1_700_000_000, UTC)] * 2
    assert [row["stats__seen__status"] for row in rows] == [1, 1]
    assert [row["stats__trips"] for row in rows] == columns(response.json())["trips"]
    assert [row["tariff__price"] for row in rows] == [12.5, 0.25]
    others = [row for row in table.to_pylist() if row["__request_id"] != "instead" and row["__fallback"] is None]
    assert others  # answers as they are stored say nothing


def test_an_override_lets_through_until_it_ends(guarded: Served) -> None:
    block(guarded, "drivers", ("stats", "rating"))
    assert guarded.look(**DRIVERS).status_code == 503
    state, now = State(guarded.folder), datetime.now(UTC)
    until = now + timedelta(seconds=4)
    state.write_override(Override("drivers", "backfill is running", until, "ana", now, "serving"))

    response = eventually(lambda: found if (found := guarded.look(**DRIVERS)).status_code == 200 else None)

    assert response.headers["X-Skewguard-Override"] == until.isoformat().replace("+00:00", "Z")
    assert response.headers["X-Skewguard-Verdict"] == "block"
    assert told(response) == {}
    assert ready(guarded)["drivers"] == "overridden"
    assert metric(guarded, 'skewguard_override{gate="serving",service="drivers"}') == 1
    assert metric(guarded, 'skewguard_override{gate="training",service="drivers"}') == 0
    gate = guarded.client.get("/v1/services/drivers/skew").json()["gate"]
    assert (gate["override"]["reason"], gate["override"]["by"]) == ("backfill is running", "ana")
    eventually(lambda: guarded.look(**DRIVERS).status_code == 503)
    assert datetime.now(UTC) >= until

    state.write_override(Override("drivers", "again", datetime.now(UTC) + timedelta(hours=1), "ana", now, "both"))
    eventually(lambda: guarded.look(**DRIVERS).status_code == 200)
    state.end_overrides("drivers")
    eventually(lambda: guarded.look(**DRIVERS).status_code == 503)

    path = state.override_path("drivers")
    path.write_text('{"service": "drivers", "serving": {"until": "2999')  # half a file overrides nothing
    time.sleep(1.1)
    assert guarded.look(**DRIVERS).status_code == 503
    path.unlink()


def test_what_a_verdict_file_blocks_must_be_names(guarded: Served) -> None:
    guarded.verdict("drivers", "block", blocked=[{"view": 1, "feature": None}])
    time.sleep(1.1)
    response = guarded.look(**DRIVERS)
    assert response.headers["X-Skewguard-Verdict"] == "inconclusive"
    guarded.verdict("drivers", "block", blocked=[])  # a block that names nothing is about everything: rating refuses
    time.sleep(1.1)
    assert guarded.look(**DRIVERS).status_code == 503


def test_a_policy_for_a_feature_that_is_not_there_is_refused_at_the_start(
    repo: FeastRepo, bare_plan: Path, tmp_path: Path
) -> None:
    folder = copy_repo(repo, tmp_path / "repo", bare_plan)
    (folder / "skewguard.yaml").write_text("features:\n  stats:trip: {serving: reject}\n")
    with pytest.raises(RuntimeError, match="Did you mean 'stats:trips'"), served(folder):
        raise AssertionError("it started")
    shutil.rmtree(folder)


def test_good_rows_are_bounded_and_grow_old() -> None:
    now = 100.0
    good = LastGood(cells=6, clock=lambda: now)
    (place,) = good.new_places(1)
    good.keep(place, [(b"a", [b"1", b"2"]), (b"b", [b"3", b"4"])])
    now += ANEW_AFTER / 2
    good.keep(place, [(b"a", [b"5", b"6"])])
    assert good.find(place, b"a", 60.0) == [b"1", b"2"]  # was kept a moment ago
    assert good.find(place, b"a", 0.1) == [b"1", b"2"]  # and served just now
    now += ANEW_AFTER / 2
    good.keep(place, [(b"a", [b"5", b"6"])])
    assert (good.find(place, b"a", 60.0), good.cells) == ([b"5", b"6"], 4)
    good.keep(place, [(b"c", [b"7", b"8"]), (b"d", [b"9", b"0"])])
    assert (good.find(place, b"b", 60.0), good.cells) == (None, 6)  # served longest ago
    assert good.find(place, b"a", 60.0) == [b"5", b"6"]
    assert good.find(place, b"d", 60.0) == [b"9", b"0"]
    (other,) = good.new_places(1)
    assert good.find(other, b"d", 60.0) is None
    now += 60.5
    assert good.find(place, b"d", 60.0) is None
    assert good.find(place, b"d", 61.0) == [b"9", b"0"]
