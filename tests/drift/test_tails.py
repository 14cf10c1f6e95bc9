import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from skewguard.drift.alarms import level_of, q_values, rows_to_see
from skewguard.drift.tails import combined, means_apart, rates_apart, sum_of_squares


@pytest.mark.parametrize(
    ("counts", "sizes", "chance"),
    [
        ((0, 0), (10, 10), 1.0),
        ((10, 10), (10, 10), 1.0),
        ((5, 5), (10, 10), 1.0),
        ((3, 0), (3, 3), 2 / 20),  # one of the C(6, 3) ways, both tails
        ((0, 3), (3, 3), 2 / 20),
    ],
)
def test_rates_by_hand(counts: tuple[int, int], sizes: tuple[int, int], chance: float) -> None:
    assert rates_apart(counts, sizes) == pytest.approx(chance)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_rates_are_fishers_test(n: int, m: int, data: st.DataObject) -> None:
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    table = [[a, n - a], [b, m - b]]
    tails = [stats.fisher_exact(table, alternative=side).pvalue for side in ("less", "greater")]
    expected = 1.0 if a + b in (0, n + m) else min(1.0, 2 * min(tails))
    assert rates_apart((a, b), (n, m)) == pytest.approx(expected, rel=1e-6)


def test_large_rates_go_on_where_fishers_test_ends() -> None:
    for moved in (10, 40, 80):
        exact = stats.fisher_exact([[500 + moved, 4500 - moved], [500, 4500]]).pvalue
        assert rates_apart((500 + moved, 500), (5000, 5000)) == pytest.approx(exact, rel=0.25)


@pytest.mark.parametrize("wanted", [1e-2, 1e-4, 1e-6])
def test_means_of_a_skewed_sample_far_out(wanted: float) -> None:
    """Against a reference without noise the mean of a 0/1 score is a binomial rate."""
    n, p = 2000, 0.02
    hits = stats.binom.isf(wanted, n, p)
    exact = (stats.binom.sf(hits, n, p) + stats.binom.sf(hits - 1, n, p)) / 2
    lower = stats.binom.cdf(2 * n * p - hits, n, p)
    found = means_apart(np.array([0.0, 1.0]), np.array([1 - p, p]), (n, 1e12), hits / n - p)
    assert found == pytest.approx(exact + lower, rel=0.2)


def test_means_that_cannot_be_so_far_apart_and_scores_without_spread() -> None:
    assert means_apart(np.array([0.0, 1.0]), np.array([0.5, 0.5]), (5, 5), 1.5) == pytest.approx(0, abs=1e-12)
    assert means_apart(np.array([1.0, 1.0]), np.array([0.5, 0.5]), (5, 5), 0.0) == 1.0


@pytest.mark.parametrize("weights", [[1.0], [2.0, 2.0, 2.0], [0.5, 1 / 6, 1 / 12, 0.05, 1 / 30]])
def test_sums_of_squares(weights: list[float]) -> None:
    random = np.random.default_rng(4)
    drawn = (random.normal(size=(400_000, len(weights))) ** 2) @ np.array(weights)
    for chance in (0.3, 0.05, 0.001):
        value = float(np.quantile(drawn, 1 - chance))
        assert sum_of_squares(value, np.array(weights)) == pytest.approx(chance, rel=0.12)
    assert sum_of_squares(0.0, np.array(weights)) == 1.0
    assert sum_of_squares(1.0, np.array([])) == 1.0
    assert sum_of_squares(1e6, np.array(weights)) < 1e-100


def test_equal_chances_of_one_thing_stay_and_a_single_small_one_costs_its_weight() -> None:
    assert combined([1e-3, 1e-3, 1e-3], [1, 2, 3]) == pytest.approx(1e-3)
    assert combined([1e-6, 0.5], [1, 1]) == pytest.approx(2e-6, rel=1e-3)
    assert combined([1e-20, 0.5], [1, 3]) == pytest.approx(4e-20, rel=1e-3)
    assert combined([1e-4, 1.0], [1, 1]) == pytest.approx(2e-4, rel=0.02)  # a chance of 1 outvotes nothing
    assert 0.9 < combined([1.0, 1.0], [1, 1]) <= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_q_values_are_scipys(chances: list[float]) -> None:
    assert q_values(chances) == pytest.approx(list(stats.false_discovery_control(chances, method="bh")))
    dependent = stats.false_discovery_control(chances, method="by")
    assert q_values(chances, "benjamini_yekutieli") == pytest.approx(list(np.minimum(dependent, 1)), abs=1e-12)
    assert q_values(chances, "bonferroni") == pytest.approx([min(1, c * len(chances)) for c in chances])


def test_the_budget_and_the_rows_that_it_takes() -> None:
    assert q_values([]) == []
    assert level_of(0.01, 4) == pytest.approx(0.002)
    # (z_0.975 + z_0.8)^2 = 7.849 for a two-sided 5% and 80% power
    assert rows_to_see(0.1, 0.25, 0.05) == math.ceil(7.8489 * 0.25 / 0.01)
