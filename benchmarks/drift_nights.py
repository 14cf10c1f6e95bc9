"""How often drift alarms are wrong: simulated nights without any drift, and what each rule makes of them.

``python -m benchmarks.drift_nights [--nights 1000]``. Features are of six kinds in turn (normal, lognormal, counts,
a rare flag, categories, numbers with nulls): independent, correlated at 0.5, or of entities with several rows each.
Rules: ours as it ships (budget of 1% of nights), its significance alone at budgets of 1% and 5%, PSI >= 0.2 over ten
bins, KS p < 0.05 and Evidently's own defaults, each on the very same rows. A night is a false alarm when any feature
alarms.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import stats

from skewguard.checks.distribution import Night, check_distribution
from skewguard.config import Drift
from skewguard.drift.alarms import level_of
from skewguard.drift.judging import Comparison
from skewguard.profile import TESTED_CATEGORIES, Repeats, make_bins, profile_column
from skewguard.stats import wilson_interval

RESULTS = Path(__file__).parent / "results" / "drift_nights.json"


@dataclass(frozen=True)
class Setting:
    """Rows of the reference and of a night, features, how they depend, and on how many nights Evidently is asked."""

    reference: int
    current: int
    features: int
    shape: str
    evidently: int = 0
    share: float = 1.0
    """Of the nights, where one takes seconds."""


SETTINGS = (
    Setting(5_000, 50, 10, "independent", 300),
    Setting(5_000, 50, 50, "independent"),
    Setting(5_000, 50, 200, "independent", share=0.25),
    Setting(1_000, 100, 50, "independent", 100),
    Setting(5_000, 1_000, 10, "independent"),
    Setting(5_000, 1_000, 50, "independent", 100),
    Setting(5_000, 1_000, 50, "correlated", 100),
    Setting(5_000, 1_000, 200, "correlated", share=0.25),
    Setting(5_000, 1_000, 50, "entities of 5 rows", 100, share=0.5),
    Setting(5_000, 5_000, 50, "entities of 5 rows", share=0.5),
    Setting(5_000, 5_000, 50, "entities of uneven sizes", share=0.5),
    Setting(20_000, 100_000, 10, "independent", 20, share=0.5),
    Setting(20_000, 100_000, 50, "correlated", share=0.1),
)


def _latent(random: np.random.Generator, rows: int, setting: Setting) -> tuple[Any, Any]:
    """Standard normal columns, and the entity of each row (None: every row is one)."""
    noise = random.normal(size=(setting.features, rows))
    if setting.shape == "correlated":
        return np.sqrt(0.5) * random.normal(size=rows) + np.sqrt(0.5) * noise, None
    if setting.shape.startswith("entities"):
        count = max(rows // 5, 2)
        weights = random.pareto(2.5, count) + 0.3 if "uneven" in setting.shape else np.ones(count)
        entity = random.choice(count, size=rows, p=weights / weights.sum())
        own = random.normal(size=(setting.features, count))[:, entity]
        return np.sqrt(0.8) * own + np.sqrt(0.2) * noise, entity
    return noise, None


_CATEGORIES = np.array(list("abcdefgh"))
_CUTS = stats.norm.ppf(np.cumsum([0.4, 0.2, 0.15, 0.1, 0.06, 0.05, 0.03]))
_COUNTS = stats.norm.ppf(stats.poisson.cdf(np.arange(16), 2.0))


def _column(latent: Any, kind: int, random: np.random.Generator) -> pa.Array:
    if kind == 0:
        return pa.array(latent)
    if kind == 1:
        return pa.array(np.exp(1.5 * latent))
    if kind == 2:
        return pa.array(np.searchsorted(_COUNTS, latent))
    if kind == 3:
        return pa.array((latent > 2.0).astype(np.int64))
    if kind == 4:
        return pa.array(_CATEGORIES[np.searchsorted(_CUTS, latent)])
    return pa.array(latent, mask=random.random(len(latent)) < 0.05)


def night(task: tuple[Setting, int]) -> dict[str, bool]:
    """One clean night: which rules alarm."""
    setting, seed = task
    random = np.random.default_rng([seed, setting.features, setting.current, len(setting.shape)])
    sides = []
    for rows in (setting.reference, setting.current):
        latent, entity = _latent(random, rows, setting)
        columns = [_column(latent[i], i % 6, random) for i in range(setting.features)]
        sides.append((columns, None if entity is None else Repeats.of(entity)))
    comparisons = []
    for i, (ours, theirs) in enumerate(zip(sides[0][0], sides[1][0], strict=True)):
        bins = make_bins(ours, None, TESTED_CATEGORIES)
        reference = profile_column(ours, bins, repeats=sides[0][1])
        comparisons.append(
            Comparison("v", str(i), "", "contract", reference, profile_column(theirs, bins, repeats=sides[1][1]))
        )
    drift = check_distribution(Night(comparisons), Drift(budget=0.01)).drift
    found = {"ours, budget 1%": any(one.status == "drifted" for one in drift)}
    for budget in (0.01, 0.05):
        found[f"ours, budget {budget:.0%}, any effect"] = any(one.q_value <= level_of(budget, 1) for one in drift)
    pairs = list(zip(sides[0][0], sides[1][0], strict=True))
    found["PSI >= 0.2"] = any(psi_ten_bins(*pair) >= 0.2 for pair in pairs)
    found["KS p < 0.05"] = any(_ks(*pair) < 0.05 for pair in pairs)
    if seed < setting.evidently:
        found["Evidently's defaults"] = any(evidently_drifts(*pair) for pair in pairs)
    return found


def psi_ten_bins(ours: pa.Array, theirs: pa.Array) -> float:
    """PSI as it is usually written: deciles of the reference (or its categories), empty bins filled with 0.0001."""
    a, b = (side.drop_null().to_numpy(zero_copy_only=False) for side in (ours, theirs))
    if a.dtype.kind in "OU":
        names = np.unique(a)
        p, q = (np.array([(side == name).mean() for name in names]) for side in (a, b))
    else:
        edges = np.unique(np.quantile(a, np.linspace(0.1, 0.9, 9)))
        p, q = (np.bincount(np.searchsorted(edges, s, side="right"), minlength=len(edges) + 1) / len(s) for s in (a, b))
    p, q = np.maximum(p, 1e-4), np.maximum(q, 1e-4)
    return float(((q - p) * np.log(q / p)).sum())


def _ks(ours: pa.Array, theirs: pa.Array) -> float:
    if pa.types.is_string(ours.type):
        return 1.0
    a, b = (side.drop_null().to_numpy(zero_copy_only=False) for side in (ours, theirs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(stats.ks_2samp(a, b, method="asymp").pvalue)


def evidently_drifts(ours: pa.Array, theirs: pa.Array) -> bool:
    """Evidently's own choice of test and threshold for a column, by its own functions."""
    os.environ["DO_NOT_TRACK"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently.legacy.calculations.stattests import get_stattest
        from evidently.legacy.core import ColumnType

        a, b = (side.to_pandas().dropna() for side in (ours, theirs))
        kind = ColumnType.Categorical if a.dtype == object else ColumnType.Numerical
        test = get_stattest(a, b, kind, None)
        return bool(test(a, b, kind, None).drifted)


def run(nights: int, only: int | None = None) -> list[dict[str, Any]]:
    """Every setting: by rule, how many of how many nights alarmed, the rate and its 95% interval."""
    results = []
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        for setting in SETTINGS if only is None else SETTINGS[only : only + 1]:
            number = max(round(nights * setting.share), 1)
            tally: dict[str, list[int]] = {}
            for found in pool.imap_unordered(night, [(setting, seed) for seed in range(number)], chunksize=5):
                for rule, alarmed in found.items():
                    counts = tally.setdefault(rule, [0, 0])
                    counts[0] += alarmed
                    counts[1] += 1
            title = (
                f"{setting.current:,} against {setting.reference:,} rows, {setting.features} features, {setting.shape}"
            )
            print(title, flush=True)
            rules = {}
            for rule, (hits, total) in tally.items():
                low, high = wilson_interval(hits, total)
                rules[rule] = {"nights": total, "alarms": hits, "rate": hits / total, "interval": [low, high]}
                print(
                    f"    {rule:28} {hits:5} of {total:5} nights  {hits / total:7.2%}  ({low:.2%} to {high:.2%})",
                    flush=True,
                )
            results.append({"setting": title, "rules": rules})
    return results


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift_nights", description=__doc__)
    parser.add_argument("--nights", type=int, default=1000)
    parser.add_argument("--only", type=int, help="only this setting, from 0")
    arguments = parser.parse_args()
    results = run(arguments.nights, arguments.only)
    if arguments.only is None:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
