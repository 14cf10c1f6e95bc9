"""Measures against values worked by hand, scipy, and what Evidently 0.7 says of the same frames."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from skewguard.drift.measures import MEASURES, measured
from skewguard.profile import Bins, ColumnProfile, make_bins, profile_column

RECORDED = Path(__file__).with_name("evidently_figures.json")


def profile(counts: list[int], *, nulls: int = 0, bins: Bins | None = None) -> ColumnProfile:
    over = bins or Bins(categories=tuple("abcdefg"[: len(counts) - 1]), complete=True)
    return ColumnProfile(over, sum(counts) + nulls, nulls, 0, tuple(counts))


def test_by_hand() -> None:
    found = measured(profile([50, 50, 0], nulls=0), profile([25, 75, 0], nulls=25))
    assert found["l_infinity"] == 0.25
    assert found["chi_square"] == pytest.approx(2 * 12.5**2 / 37.5 + 2 * 12.5**2 / 62.5)
    assert found["null_rate_change"] == 0.2
    assert found["unseen_share"] == 0.0
    p, q = np.array([50.5, 50.5, 0.5]) / 101.5, np.array([25.5, 75.5, 0.5]) / 101.5
    assert found["psi"] == pytest.approx(sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True)))
    # m = (3/8, 5/8): half of 1/2 log2(4/3) + 1/2 log2(4/5) and of 1/4 log2(2/3) + 3/4 log2(6/5)
    js = 0.25 * (math.log2(4 / 3) + math.log2(4 / 5)) + 0.125 * math.log2(2 / 3) + 0.375 * math.log2(6 / 5)
    assert found["js_divergence_base2"] == pytest.approx(js)
    assert found["js_distance_base2"] == pytest.approx(math.sqrt(js))
    assert found["js_distance_natural"] == pytest.approx(math.sqrt(js * math.log(2)))
    assert "kolmogorov_smirnov" not in found


def test_degenerate_columns() -> None:
    empty, nothing = profile([0, 0]), profile([0, 0], nulls=5)
    assert measured(empty, nothing) == {}
    assert measured(nothing, profile([3, 0], nulls=1)) == {"null_rate_change": -0.75}
    one = Bins(edges=(2.0, float(np.nextafter(2.0, 3))))
    same = measured(profile([0, 9, 0], bins=one), profile([0, 4, 0], bins=one))
    assert {name: same[name] for name in ("psi", "kolmogorov_smirnov", "wasserstein_over_sd", "chi_square")} == {
        "psi": pytest.approx(0, abs=0.1), "kolmogorov_smirnov": 0, "wasserstein_over_sd": 0, "chi_square": 0,
    }  # fmt: skip
    rare = measured(profile([5, 4], bins=Bins(categories=("a",))), profile([5, 4], bins=Bins(categories=("a",))))
    assert "unseen_share" not in rare  # other categories were there, but not kept


@pytest.mark.parametrize("scale", [1.7e308, 1.0, 1e-300])
def test_numbers_as_large_and_small_as_they_come(scale: float) -> None:
    bins = Bins(edges=tuple(float(edge * scale) for edge in (-1.0, 0.0, 1.0)))
    found = measured(profile([0, 50, 50, 0], bins=bins), profile([0, 25, 75, 0], bins=bins))
    assert found["wasserstein_over_sd"] == pytest.approx(0.5)  # a quarter of the values, two sd wide


@pytest.mark.parametrize("seed", range(5))
def test_as_scipy_has_them(seed: int) -> None:
    random = np.random.default_rng(seed)
    reference = random.integers(0, 12, size=400)
    current = random.binomial(14, 0.4, size=250)
    bins = make_bins(pa.array(reference))
    a, b = (profile_column(pa.array(side), bins) for side in (reference, current))
    found = measured(a, b)
    p, q = (np.array(side.counts) / sum(side.counts) for side in (a, b))
    assert found["js_distance_natural"] == pytest.approx(jensenshannon(p, q))
    assert found["js_distance_base2"] == pytest.approx(jensenshannon(p, q, base=2))
    # few whole numbers: every one has its own bin, so that the statistics are those of the values
    assert found["kolmogorov_smirnov"] == pytest.approx(stats.ks_2samp(reference, current).statistic)
    table = np.array([a.counts, b.counts])
    kept = table[:, table.sum(axis=0) > 0]
    assert found["chi_square"] == pytest.approx(stats.chi2_contingency(kept, correction=False).statistic)
    assert found["psi"] >= 0


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
def test_wasserstein_is_scipys_but_for_the_width_of_the_bins(shift: float) -> None:
    random = np.random.default_rng(8)
    reference, current = random.normal(size=20_000), random.normal(size=20_000) + shift
    bins = make_bins(pa.array(reference))
    found = measured(*(profile_column(pa.array(side), bins) for side in (reference, current)))
    exact = stats.wasserstein_distance(reference, current) / reference.std()
    assert found["wasserstein_over_sd"] == pytest.approx(exact, abs=0.05 + 0.12 * shift)


def frames() -> dict[str, tuple[npt.NDArray[np.float64] | list[str], npt.NDArray[np.float64] | list[str]]]:
    """Frames on which the recorded figures were made; whole numbers and categories, so that bins do not matter."""
    random = np.random.default_rng(20)
    return {
        "shifted numbers": (random.normal(size=5000), random.normal(size=4000) + 0.3),
        "same numbers": (random.normal(size=5000), random.normal(size=4000)),
        "moved categories": (
            random.choice(list("abcd"), p=[0.4, 0.3, 0.2, 0.1], size=5000).tolist(),
            random.choice(list("abcd"), p=[0.3, 0.4, 0.2, 0.1], size=4000).tolist(),
        ),
        "same categories": (
            random.choice(list("abcd"), size=5000).tolist(), random.choice(list("abcd"), size=4000).tolist()
        ),
    }  # fmt: skip


def ours(name: str) -> dict[str, float]:
    reference, current = (pa.array(side) for side in frames()[name])
    bins = make_bins(reference)
    return measured(profile_column(reference, bins), profile_column(current, bins))


def test_as_evidently_has_them() -> None:
    recorded = json.loads(RECORDED.read_text())
    for name in ("moved categories", "same categories"):
        theirs, found = recorded["figures"][name], ours(name)
        assert found["js_distance_natural"] == pytest.approx(theirs["jensenshannon"], rel=1e-3)
        assert found["psi"] == pytest.approx(theirs["psi"], rel=0.02, abs=1e-4)  # they fill empty bins otherwise
        # theirs takes the reference's shares for known; ours knows that they are a sample, and so has the statistic of
        # 4,000 rows worth 5,000 / 9,000 of that
        counted = [{c: side.count(c) for c in "abcd"} for side in frames()[name]]
        expected = [counted[0][c] * 4000 / 5000 for c in "abcd"]
        known = stats.chisquare([counted[1][c] for c in "abcd"], expected)
        assert known.pvalue == pytest.approx(theirs["chisquare"], rel=1e-6)
        assert found["chi_square"] == pytest.approx(known.statistic * 5 / 9, rel=0.1)
    for name in ("shifted numbers", "same numbers"):
        theirs, found = recorded["figures"][name], ours(name)
        assert found["wasserstein_over_sd"] == pytest.approx(theirs["wasserstein"], abs=0.06)
        exact = stats.ks_2samp(*frames()[name])
        assert theirs["ks"] == pytest.approx(exact.pvalue, rel=1e-6)
        assert exact.statistic - 0.02 <= found["kolmogorov_smirnov"] <= exact.statistic + 1e-12
        assert found["psi"] == pytest.approx(theirs["psi"], rel=0.35, abs=0.02)  # their bins are of equal width


def test_the_recorded_figures_are_evidentlys() -> None:
    stattests = pytest.importorskip("evidently.legacy.calculations.stattests", reason="a benchmark's peer: make bench")
    from benchmarks.evidently_figures import figures

    recorded = json.loads(RECORDED.read_text())
    assert stattests is not None
    fresh = figures()
    assert fresh.keys() == recorded["figures"].keys()
    for name, found in fresh.items():
        assert found == pytest.approx(recorded["figures"][name], rel=1e-9)


def test_every_measure_is_documented_with_the_example_that_the_page_has() -> None:
    text = (Path(__file__).parents[2] / "docs" / "drift.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)` \|.*?([\d.]+) \|$", text, re.MULTILINE))
    bins = Bins(edges=(0.0, 10.0, 20.0, 30.0))
    found = measured(profile([0, 50, 30, 20, 0], bins=bins), profile([0, 30, 30, 30, 10], nulls=25, bins=bins))
    assert {m.name for m in MEASURES} == set(found)
    assert {name: float(told[name]) for name in found} == pytest.approx(found, abs=5e-5)
