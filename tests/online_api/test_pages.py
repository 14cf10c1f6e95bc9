"""Health, readiness, metrics, verdicts, report pages and tokens, on a real server."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from skewguard.feast_repo import FeastRepo
from skewguard.findings import Cause, CheckResult, Finding, Run, Verdict
from skewguard.run_json import dump_run
from tests.online_api.conftest import Served, copy_repo, served
from tests.online_api.test_bad_requests import problem

REPORT = (
    '<!doctype html><html><head><meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "script-src 'sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\"></head><body>the report</body></html>"
)
AT = datetime(2026, 9, 1, tzinfo=UTC)


def a_run() -> Run:
    finding = Finding(
        "parity", Cause.UNIT_SCALE, "stats", "trips", 5, 10, 0.2, 0.8, "trips is 10 times too large", action="block"
    )
    check = CheckResult("parity", "ok", (finding,), population=12, compared=10)
    return Run("run-1", "drivers", AT, AT, AT, Verdict.BLOCK, (finding.message,), (check,), (finding,))


@pytest.fixture(scope="module")
def site(repo: FeastRepo, bare_plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = copy_repo(repo, tmp_path_factory.mktemp("site") / "repo", bare_plan)
    runs = folder / ".skewguard" / "runs"
    for run_id in ("run-1", "broken"):
        (runs / run_id).mkdir(parents=True)
        (runs / run_id / "report.html").write_text(REPORT)
    (runs / "run-1" / "run.json").write_text(dump_run(a_run()))
    (runs / "broken" / "run.json").write_text("{")
    (runs / "no-report").mkdir()
    (folder / ".skewguard" / "secret.html").write_text("secret")
    (runs / "linked").symlink_to(folder / "data", target_is_directory=True)
    (folder / "data" / "report.html").write_text("secret")
    with served(folder) as made:
        made.verdict("drivers", "block")
        made.verdict("shops", "block", run_id="broken")
        made.verdict("typed", "pass", run_id="../../../etc")
        yield made


def test_health_says_that_the_process_lives(site: Served) -> None:
    response = site.client.get("/health")

    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_skew_gives_verdict_gate_and_run(site: Served) -> None:
    body = site.client.get("/v1/services/drivers/skew").json()

    assert (body["service"], body["verdict"], body["run_id"]) == ("drivers", "block", "run-1")
    assert body["gate"] == {
        "serving": "reject", "inconclusive": "annotate", "closed": True, "fallback": [], "override": None,
    }  # fmt: skip
    assert body["run"]["report"] == "/reports/run-1"
    assert body["run"]["checks"][0] == {
        "check": "parity",
        "status": "ok",
        "compared": 10,
        "population": 12,
        "coverage": pytest.approx(10 / 12),
        "findings": 1,
        "reason": "",
    }
    assert body["run"]["findings"][0]["cause"] == "unit_scale"


def test_skew_without_a_check_is_inconclusive_with_the_reason(site: Served) -> None:
    body = site.client.get("/v1/services/pairs/skew").json()

    assert (body["verdict"], body["reasons"]) == ("inconclusive", ["the service was never checked"])
    assert (body["run_id"], body["run"]) == (None, None)


def test_skew_of_an_unknown_service_is_404(site: Served) -> None:
    assert problem(site.client.get("/v1/services/driver/skew"), 404, "unknown-name")["suggestion"] == "drivers"
    problem(site.client.get("/v1/services/..%2f..%2fx/skew"), 404, "not-found")


def test_skew_tells_that_a_run_file_is_broken_and_follows_no_path(site: Served) -> None:
    assert "cannot be used" in site.client.get("/v1/services/shops/skew").json()["run"]["problem"]
    assert site.client.get("/v1/services/typed/skew").json()["run"] is None


def test_report_is_served_under_a_policy_that_loads_nothing(site: Served) -> None:
    response = site.client.get("/reports/run-1")

    assert response.status_code == 200
    assert response.text == REPORT
    assert response.headers["content-type"].startswith("text/html")
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='" in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_index_links_the_reports_there_are(site: Served) -> None:
    response = site.client.get("/reports")

    assert 'href="/reports/run-1"' in response.text
    assert 'href="/reports/broken"' in response.text
    assert "no-report" not in response.text
    assert "linked" not in response.text
    assert "script-src 'none'" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/reports/nothing",
        "/reports/no-report",
        "/reports/linked",
        "/reports/..",
        "/reports/%2e%2e",
        "/reports/../secret.html",
        "/reports/..%2fsecret.html",
        "/reports/%2e%2e%2f%2e%2e%2fdata",
        "/reports/run-1%2f..%2f..%2fsecret.html",
        "/reports/%00",
        "/reports//etc/passwd",
        "/reports/run-1/report.html",
        "/reports/" + "a" * 5000,
    ],
)
def test_no_path_leads_out_of_the_runs(site: Served, path: str) -> None:
    """Raw over the socket: a client library would tidy the path up."""
    address = urlsplit(str(site.client.base_url))
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    content = response.read()
    connection.close()

    assert response.status == 404
    assert b"secret" not in content.replace(b"secret.html", b"")
    assert json.loads(content)["status"] == 404


def test_metrics_count_requests_statuses_and_time(site: Served) -> None:
    site.look(features=["slots:capacity"], entities={"slot_no": [5, 6, 7]})

    text = site.client.get("/metrics").text

    assert 'skewguard_feature_statuses_total{status="PRESENT",view="slots"} 1.0' in text
    assert 'skewguard_feature_statuses_total{status="NOT_FOUND",view="slots"} 2.0' in text
    assert 'skewguard_http_requests_total{route="/get-online-features",status="200"}' in text
    assert 'skewguard_http_request_seconds_bucket{le="0.005",route="/get-online-features"}' in text


def test_plan_gives_its_digest(site: Served) -> None:
    body = site.client.get("/v1/plan").json()

    assert len(body["digest"]) == 64
    assert "drivers" in body["services"]


def test_nothing_loads_scripts_from_elsewhere(site: Served) -> None:
    problem(site.client.get("/docs"), 404, "not-found")
    assert "/get-online-features" in site.client.get("/openapi.json").json()["paths"]


@pytest.fixture(scope="module")
def locked(repo: FeastRepo, bare_plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = copy_repo(repo, tmp_path_factory.mktemp("locked") / "repo", bare_plan)
    with served(folder, environment={"SKEWGUARD_API_TOKENS": "first, second"}) as made:
        yield made


@pytest.mark.parametrize(
    "header", [None, "Bearer third", "Bearer", "Basic first", "first", "Bearer first2", "Bearer é"]
)
def test_without_a_known_token_everything_but_the_probes_is_401(locked: Served, header: str | None) -> None:
    headers = {} if header is None else {b"Authorization": header.encode()}

    for method, path in [
        ("POST", "/get-online-features"),
        ("GET", "/metrics"),
        ("GET", "/reports"),
        ("GET", "/v1/services/drivers/skew"),
        ("GET", "/nowhere"),
        ("GET", "/openapi.json"),
        ("GET", "/health/"),
    ]:
        response = locked.client.request(method, path, headers=headers)
        problem(response, 401, "unauthorized")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert locked.client.get("/health", headers=headers).status_code == 200
    assert locked.client.get("/ready", headers=headers).status_code == 200


@pytest.mark.parametrize("header", ["Bearer first", "bearer second"])
def test_a_known_token_opens(locked: Served, header: str) -> None:
    body = {"feature_service": "numbered", "entities": {"slot_no": [5]}}

    response = locked.client.post("/get-online-features", json=body, headers={"Authorization": header})

    assert response.status_code == 200
