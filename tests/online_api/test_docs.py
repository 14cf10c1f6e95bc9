"""docs/http.md tells every endpoint, problem, status, metric and option."""

from __future__ import annotations

from pathlib import Path

import pytest

from online_api import handlers, lookup, pages
from online_api.__main__ import arguments
from online_api.metrics import Metrics
from online_api.problems import KINDS

TEXT = (Path(__file__).parent.parent.parent / "docs" / "http.md").read_text()
ROUTES = [route for router in (handlers.router, pages.router) for route in router.routes]


@pytest.mark.parametrize("path", sorted({str(getattr(route, "path", "")) for route in ROUTES}))
def test_endpoint_is_documented(path: str) -> None:
    assert f" {path}" in TEXT


@pytest.mark.parametrize("slug", sorted({kind.slug for _, kind in KINDS} | {"not-found", "method-not-allowed"}))
def test_problem_is_documented(slug: str) -> None:
    assert f"`{slug}`" in TEXT


@pytest.mark.parametrize(
    "status", [lookup.PRESENT, lookup.NULL_VALUE, lookup.NOT_FOUND, lookup.OUTSIDE_MAX_AGE, lookup.INVALID]
)
def test_status_is_documented(status: str) -> None:
    assert f"| `{status}` |" in TEXT


def test_every_metric_is_documented() -> None:
    names = [family.name + ("_total" if family.type == "counter" else "") for family in Metrics().registry.collect()]

    assert len(names) == 14
    assert [name for name in names if f"`{name}`" not in TEXT] == []


def test_every_option_is_documented() -> None:
    options = ["--" + name.replace("_", "-") for name in vars(arguments([]))]

    assert [option for option in options if f"`{option}`" not in TEXT] == []
