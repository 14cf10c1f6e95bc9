"""Requests beyond the bound are refused at once; probes always pass; what ends or breaks off gives its place back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from online_api.settings import Limits
from skewguard.feast_repo import FeastRepo
from tests.online_api.conftest import Served, copy_repo, served
from tests.online_api.sockets import HalfSent

LOOK = {"feature_service": "numbered", "entities": {"slot_no": [5]}}


@pytest.fixture(scope="module")
def server(repo: FeastRepo, bare_plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = copy_repo(repo, tmp_path_factory.mktemp("pressure") / "repo", bare_plan)
    with served(folder, "--max-in-flight", "3") as found:
        yield found


def refusals(server: Served) -> float:
    lines = server.client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("skewguard_overload_refusals_total ")).split()[-1])


@contextmanager
def held(server: Served) -> Iterator[list[HalfSent]]:
    """Three requests under way: as many as are allowed."""
    requests = [HalfSent(str(server.client.base_url), LOOK) for _ in range(3)]
    try:
        time.sleep(0.2)  # until the server has seen their heads
        assert server.look(**LOOK).status_code == 503
        yield requests
    finally:
        for request in requests:
            request.close()


def until(server: Served, status: int) -> None:
    deadline = time.monotonic() + 5
    while server.look(**LOOK).status_code != status:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_beyond_the_bound_is_refused_at_once_and_inside_it_answered(server: Served) -> None:
    before = refusals(server)
    with held(server) as requests:
        started = time.monotonic()
        refused = server.look(**LOOK)
        assert time.monotonic() - started < 0.5
        assert refused.status_code == 503
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["retry-after"] == str(Limits().retry_after)
        body = refused.json()
        assert (body["type"], body["status"], body["limit"]) == ("urn:skewguard:problems/overloaded", 503, 3)
        assert server.client.get("/v1/plan").status_code == 503
        assert [server.client.get(path).status_code for path in ("/health", "/ready", "/metrics")] == [200, 200, 200]
        assert refusals(server) == before + 3
        for request in requests:
            status, answer, _ = request.finish()
            assert (status, answer["results"][1]["values"]) == (200, [9])
    assert server.look(**LOOK).status_code == 200


def test_a_client_that_goes_away_gives_its_place_back(server: Served) -> None:
    with held(server):
        pass

    until(server, 200)


def test_the_body_of_a_refused_request_is_passed_over(server: Served) -> None:
    """The connection of a refused request goes on: its next request is answered."""
    with held(server) as requests:
        refused = HalfSent(str(server.client.base_url), LOOK)
        status, body, _ = refused.answer()
        assert (status, body["limit"]) == (503, 3)
        assert [request.finish()[0] for request in requests] == [200, 200, 200]
        refused.send_rest()
        refused.send_again(LOOK)
        assert refused.answer()[0] == 200
        refused.close()
