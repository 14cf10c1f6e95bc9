"""The serving gate over HTTP: verdict files, policies, headers, refusals; nothing inconclusive is a pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from skewguard.feast_repo import FeastRepo
from skewguard.plan import ServingPlan, save_plan
from tests.online_api.conftest import Served, copy_repo, served
from tests.online_api.test_bad_requests import problem

HEADER = "X-Skewguard-Verdict"
POLICY = """
services:
  shops: {serving: annotate}
  numbered: {serving: "off"}
  typed: {serving: reject, serving_inconclusive: reject}
"""


@pytest.fixture(scope="module")
def guarded(repo: FeastRepo, bare_plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = copy_repo(repo, tmp_path_factory.mktemp("guarded") / "repo", bare_plan)
    (folder / "skewguard.yaml").write_text(POLICY)
    with served(folder) as made:
        yield made


def until(check: Callable[[], httpx.Response], status: int) -> httpx.Response:
    """Ask until the status is there: the server looks at a verdict file every second at most."""
    for _ in range(60):
        response = check()
        if response.status_code == status:
            return response
        time.sleep(0.05)
    raise AssertionError(f"still {response.status_code} after three seconds; expected {status}")


def test_a_block_refuses_and_a_later_pass_lets_through(guarded: Served) -> None:
    guarded.verdict("drivers", "block")

    refused = until(guarded.look, 503)

    found = problem(refused, 503, "gate-blocked")
    assert (found["service"], found["verdict"]) == ("drivers", "block")
    assert found["reasons"] == ["stats.trips is 10 times what it should be (block)"]
    assert refused.headers[HEADER] == "block"
    assert int(refused.headers["Retry-After"]) > 0

    guarded.verdict("drivers", "warn")
    assert until(guarded.look, 200).headers[HEADER] == "warn"


def test_a_feature_list_is_refused_with_the_services_that_share_its_features(guarded: Served) -> None:
    guarded.verdict("drivers", "block")
    until(guarded.look, 503)

    def shared() -> httpx.Response:
        return guarded.look(features=["stats:score"], entities={"driver_id": [1]})

    assert problem(shared(), 503, "gate-blocked")["service"] == "drivers"
    other = guarded.look(features=["slots:capacity"], entities={"slot_no": [5]})
    assert other.status_code == 200
    assert HEADER not in other.headers

    guarded.verdict("drivers", "pass")
    assert until(shared, 200).headers[HEADER] == "inconclusive"  # service "pairs" has it too, and was never checked


def test_annotate_only_tells(guarded: Served) -> None:
    guarded.verdict("shops", "block")

    response = guarded.look(feature_service="shops", entities={"shop_code": ["x"]})

    assert response.status_code == 200
    assert response.headers[HEADER] in ("block", "inconclusive")  # as of the last look at the file
    time.sleep(1.1)
    response = guarded.look(feature_service="shops", entities={"shop_code": ["x"]})
    assert (response.status_code, response.headers[HEADER]) == (200, "block")


def test_off_says_nothing(guarded: Served) -> None:
    guarded.verdict("numbered", "block")

    response = guarded.look(feature_service="numbered", entities={"slot_no": [5]})

    assert response.status_code == 200
    assert HEADER not in response.headers


def test_never_checked_is_inconclusive_and_policy_decides(guarded: Served) -> None:
    told = guarded.look(feature_service="pairs", entities={"origin_id": [1], "target_id": [2]}, full_feature_names=True)
    refused = guarded.look(feature_service="typed", entities={"driver_id": [1]})

    assert (told.status_code, told.headers[HEADER]) == (200, "inconclusive")
    assert problem(refused, 503, "gate-blocked")["reasons"] == ["the service was never checked"]
    assert refused.headers[HEADER] == "inconclusive"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"finished_at": (datetime.now(UTC) - timedelta(days=3)).isoformat()}, "policy lets a verdict hold"),
        ({"service": "shops"}, "it is about service 'shops'"),
        ({"verdict": "splendid"}, "splendid"),
        ({"finished_at": None}, "cannot be used"),
        ({"reasons": None}, "cannot be used"),
    ],
    ids=["old", "another service", "unknown verdict", "no time", "no reasons"],
)
def test_a_pass_that_cannot_be_trusted_is_inconclusive(guarded: Served, more: dict[str, str], reason: str) -> None:
    guarded.verdict("typed", "pass", **more)
    time.sleep(1.1)

    refused = guarded.look(feature_service="typed", entities={"driver_id": [1]})

    found = problem(refused, 503, "gate-blocked")
    assert found["verdict"] == "inconclusive"
    assert reason in found["reasons"][0]


def test_a_broken_verdict_file_is_inconclusive(guarded: Served) -> None:
    guarded.verdict("typed", "pass")
    until(lambda: guarded.look(feature_service="typed", entities={"driver_id": [1]}), 200)
    (guarded.folder / ".skewguard" / "gate" / "typed.json").write_text('{"service": "typed", "verd')

    refused = until(lambda: guarded.look(feature_service="typed", entities={"driver_id": [1]}), 503)

    assert problem(refused, 503, "gate-blocked")["verdict"] == "inconclusive"


def test_a_block_stays_when_its_file_breaks(guarded: Served) -> None:
    guarded.verdict("drivers", "block")
    until(guarded.look, 503)
    (guarded.folder / ".skewguard" / "gate" / "drivers.json").write_text('{"service": "drivers", "verd')
    time.sleep(1.2)

    found = problem(guarded.look(), 503, "gate-blocked")

    assert found["verdict"] == "block"
    assert "its verdict file cannot be used" in found["reasons"][0]
    guarded.verdict("drivers", "pass")
    until(guarded.look, 200)


def test_metrics_count_refusals_and_show_verdicts(guarded: Served) -> None:
    guarded.verdict("drivers", "block")
    until(guarded.look, 503)

    text = guarded.client.get("/metrics").text

    assert 'skewguard_verdict{service="drivers",verdict="block"} 1.0' in text
    assert 'skewguard_verdict{service="drivers",verdict="pass"} 0.0' in text
    refusals = next(line for line in text.splitlines() if line.startswith('skewguard_gate_refusals_total{service="dr'))
    assert float(refusals.split()[-1]) >= 1
    assert 'skewguard_http_requests_total{route="/get-online-features",status="503"}' in text


def test_ready_tells_each_gate(guarded: Served) -> None:
    guarded.verdict("drivers", "block")
    until(guarded.look, 503)

    body = guarded.client.get("/ready").json()

    assert body["status"] == "ready"
    assert body["gates"]["drivers"] == "closed"
    assert body["gates"]["shops"] == "open"


def test_expired_values_are_sent_where_policy_says_annotate(repo: FeastRepo, bare_plan: Path, tmp_path: Path) -> None:
    folder = copy_repo(repo, tmp_path / "repo", bare_plan)
    (folder / "skewguard.yaml").write_text("expired: annotate\n")
    with served(folder) as made:
        body = made.look(features=["stats:trips"], entities={"driver_id": [3, 4]}).json()

    result = body["results"][1]
    assert result["values"] == [30, None]
    assert result["statuses"] == ["OUTSIDE_MAX_AGE", "NULL_VALUE"]


def test_a_view_that_cannot_be_served_is_501_with_the_reason(
    repo: FeastRepo, plan: ServingPlan, tmp_path: Path
) -> None:
    refused = replace(plan, unsupported={view.name: "it has aggregations" for view in plan.on_demand})
    save_plan(refused, tmp_path / "plan.json")
    with served(copy_repo(repo, tmp_path / "repo", tmp_path / "plan.json")) as made:
        response = made.look(features=["sums:sum"], entities={"driver_id": [1], "shop_code": ["x"]})
        other = made.look(features=["stats:trips"], entities={"driver_id": [1]})

    assert "it has aggregations" in problem(response, 501, "unsupported")["detail"]
    assert other.status_code == 200
