"""docs/http.md tells the metrics and endpoints of plan swap and back-pressure, and the figures in it are the code's."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry

from online_api.compile_turn import FIRST_WAIT, LONGEST_WAIT
from online_api.plan_page import router
from online_api.plan_watch import PlanMetrics
from online_api.pressure import ALWAYS_PASS, PressureMiddleware
from online_api.server import DRAIN_SECONDS, FAREWELL_SECONDS
from online_api.settings import Limits
from online_api.supervisor import DEATH_SECONDS, MAX_DEATHS

TEXT = " ".join((Path(__file__).parent.parent.parent / "docs" / "http.md").read_text().split())


def test_metrics_and_endpoint_are_documented() -> None:
    registry = CollectorRegistry()
    PlanMetrics(registry)
    PressureMiddleware(None, 1, 1, registry)  # type: ignore[arg-type]
    names = [family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()]

    assert len(names) == 3
    assert [name for name in names if f"`{name}`" not in TEXT] == []
    assert [f"`GET {getattr(route, 'path', '')}`" in TEXT for route in router.routes] == [True]


def test_the_figures_are_the_codes() -> None:
    assert f"most requests under way in one worker ({Limits().max_in_flight})" in TEXT
    assert (FIRST_WAIT, LONGEST_WAIT) == (5, 300)
    assert "after 5 seconds, then 10, 20, up to 5 minutes" in TEXT
    assert f"requests under way have {DRAIN_SECONDS} seconds to end" in TEXT
    assert (FAREWELL_SECONDS, MAX_DEATHS, DEATH_SECONDS) == (1, 5, 60)
    assert all(f"`{path}`" in TEXT for path in ALWAYS_PASS)
