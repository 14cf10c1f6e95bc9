import pytest

from skewguard.stats import wilson_interval


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [
        (0, 0, 0.0, 1.0),
        (0, 10, 0.0, 0.27753279),
        (10, 10, 0.72246721, 1.0),
        (5, 10, 0.23659309, 0.76340691),  # worked by hand, agrees with statsmodels' proportion_confint(method="wilson")
        (1, 100, 0.00176734, 0.05448620),
    ],
)
def test_wilson_interval(count: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(count, total) == pytest.approx((low, high), abs=1e-7)
