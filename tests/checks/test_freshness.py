from datetime import datetime, timedelta

import pytest

from skewguard.checks.freshness import ViewFreshness, check_freshness
from skewguard.config import ServicePolicy
from tests.checks.builders import NOW, hours

DAY = timedelta(hours=24)


def found(watermark: datetime | None, newest: datetime | None, **freshness: object) -> list[str]:
    policy = ServicePolicy.model_validate({"freshness": freshness})
    result = check_freshness([ViewFreshness("v", watermark, newest)], NOW, policy)
    assert result.status == "ok"
    return [finding.cause.value for finding in result.findings]


def test_no_views() -> None:
    result = check_freshness([], NOW, ServicePolicy())
    assert (result.population, result.findings) == (0, ())


@pytest.mark.parametrize(
    ("watermark", "newest", "limits", "causes"),
    [
        (None, None, {}, ["never_materialized"]),
        (None, None, {"max_source_lag": "1d"}, ["never_materialized", "stale_source"]),
        (NOW, None, {}, []),
        (hours(24), NOW, {"max_watermark_lag": "1d"}, []),  # the edge is inside
        (hours(24) - timedelta(microseconds=1), NOW, {"max_watermark_lag": "1d"}, ["stale_watermark"]),
        (hours(999), NOW, {"max_watermark_lag": None}, []),
        (NOW + DAY, NOW, {"max_watermark_lag": "1s"}, []),
        (NOW, hours(24), {"max_source_lag": "1d"}, []),
        (NOW, hours(25), {"max_source_lag": "1d"}, ["stale_source"]),
    ],
)
def test_edges(
    watermark: datetime | None, newest: datetime | None, limits: dict[str, object], causes: list[str]
) -> None:
    assert found(watermark, newest, **limits) == causes


def test_a_view_has_limits_of_its_own() -> None:
    policy = ServicePolicy.model_validate({"freshness_views": {"slow": {"max_watermark_lag": "9d"}}})
    views = [ViewFreshness(name, hours(72), NOW) for name in ("slow", "other")]
    (finding,) = check_freshness(views, NOW, policy).findings
    assert (finding.view, finding.evidence["lag_seconds"]) == ("other", 72 * 3600)
    assert "3.0 days behind" in finding.message
