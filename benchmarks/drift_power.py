"""How often a real change is seen: ours as it ships beside other rules, at their defaults and at an equal rate of false
alarms.

``python -m benchmarks.drift_power [--repeat 200]``. One of 20 features changed; a night's budget of 1% leaves each
feature a false alarm in 2,000 nights, and that is how ours ships. At the equal rate, a rule's threshold is what 2,000
pairs of samples without drift exceed one time in 200. The reference has 10,000 rows.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import stats
from scipy.spatial.distance import jensenshannon

from benchmarks.drift_nights import evidently_drifts, psi_ten_bins
from skewguard.checks.distribution import Night, check_distribution
from skewguard.config import Drift
from skewguard.drift.column import compare_column
from skewguard.drift.joint import joint_test
from skewguard.drift.judging import Comparison
from skewguard.drift.vectors import DriftColumn, TableVectors
from skewguard.profile import TESTED_CATEGORIES, make_bins, profile_column

RESULTS = Path(__file__).parent / "results" / "drift_power.json"
REFERENCE = 10_000
SIZES = (100, 1_000, 10_000)
JOINT_SIZES = (1_000, 2_500, 5_000)
ALONE = 0.01 / 20
NULL_DRAWS = 2_000
EQUAL = 1 / 200
_SHARES = np.array([0.3, 0.2, 0.15, 0.1, 0.1, 0.07, 0.05, 0.03])
_NAMES = np.array(list("abcdefgh"))

Random = np.random.Generator
Draw = Callable[[Random, int, bool], pa.Array]


def _normal(random: Random, rows: int, moved: bool, shift: float) -> pa.Array:
    return pa.array(random.normal(size=rows) + shift * moved)


def _lognormal(random: Random, rows: int, moved: bool, shift: float) -> pa.Array:
    deviation = np.sqrt((np.e - 1) * np.e)
    return pa.array(random.lognormal(size=rows) + shift * deviation * moved)


def _nulls(random: Random, rows: int, moved: bool) -> pa.Array:
    return pa.array(random.normal(size=rows), mask=random.random(rows) < 0.03 + 0.02 * moved)


def _categories(random: Random, rows: int, moved: bool) -> pa.Array:
    shares = _SHARES + 0.05 * moved * np.array([-1, 1, 0, 0, 0, 0, 0, 0])
    return pa.array(_NAMES[random.choice(8, p=shares, size=rows)])


CHANGES: dict[str, Draw] = {
    "shift of 0.1 sd": partial(_normal, shift=0.1),
    "shift of 0.25 sd": partial(_normal, shift=0.25),
    "shift of 0.5 sd": partial(_normal, shift=0.5),
    "lognormal, shift of 0.1 sd": partial(_lognormal, shift=0.1),
    "nulls from 3% to 5%": _nulls,
    "5 points to another category": _categories,
}


def _compared(ours: pa.Array, theirs: pa.Array) -> Comparison:
    bins = make_bins(ours, None, TESTED_CATEGORIES)
    return Comparison("v", "f", "", "contract", profile_column(ours, bins), profile_column(theirs, bins))


def _scores(ours: pa.Array, theirs: pa.Array) -> dict[str, float]:
    """What each rule puts a threshold on, larger for further."""
    comparison = _compared(ours, theirs)
    found = {"ours": -compare_column(comparison.reference, comparison.current).chance}
    found["PSI"] = psi_ten_bins(ours, theirs)
    a, b = (side.drop_null().to_numpy(zero_copy_only=False) for side in (ours, theirs))
    if a.dtype.kind in "OU":
        table = np.array([[(side == name).sum() for name in _NAMES] for side in (a, b)], dtype=float)
        p, q = table / table.sum(axis=1, keepdims=True)
        found["JS distance"] = float(jensenshannon(p, q))
        kept = table[:, table.sum(axis=0) > 0]
        found["chi-square"] = -float(stats.chi2_contingency(kept, correction=False).pvalue)
        return found
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found["KS"] = -float(stats.ks_2samp(a, b, method="asymp").pvalue)
    found["Wasserstein over sd"] = float(stats.wasserstein_distance(a, b) / a.std())
    return found


def _null_scores(task: tuple[str, int, int, int]) -> list[dict[str, float]]:
    change, rows, seed, draws = task
    random = np.random.default_rng([7, seed, rows])
    draw = CHANGES[change]
    return [_scores(draw(random, REFERENCE, False), draw(random, rows, False)) for _ in range(draws)]


def _thresholds(pool: Any, change: str, rows: int) -> dict[str, float]:
    tasks = [(change, rows, seed, NULL_DRAWS // 40) for seed in range(40)]
    drawn = [scores for part in pool.imap_unordered(_null_scores, tasks) for scores in part]
    return {rule: float(np.quantile([scores[rule] for scores in drawn], 1 - EQUAL)) for rule in drawn[0]}


def _seen(task: tuple[str, int, int, dict[str, float]]) -> dict[str, bool]:
    """One changed feature: which rules see it."""
    change, rows, seed, thresholds = task
    random = np.random.default_rng([8, seed, rows])
    ours, theirs = CHANGES[change](random, REFERENCE, False), CHANGES[change](random, rows, True)
    comparison = _compared(ours, theirs)
    (stats_,) = check_distribution(Night([comparison]), Drift(budget=ALONE)).drift
    scores = _scores(ours, theirs)
    found = {"ours": stats_.status == "drifted", "PSI >= 0.2": scores["PSI"] >= 0.2}
    if "KS" in scores:
        found["KS p < 0.05"] = -scores["KS"] < 0.05
    found["Evidently's default"] = evidently_drifts(ours, theirs)
    found |= {f"{rule}, equal rate": scores[rule] > limit for rule, limit in thresholds.items()}
    return found


def _pairs(random: Random, rows: int, correlation: float) -> TableVectors:
    columns = random.normal(size=(10, rows))
    columns[1] = correlation * columns[0] + np.sqrt(1 - correlation**2) * columns[1]
    return TableVectors(pa.table({f"v__{i}": column for i, column in enumerate(columns)}))


def _joint(task: tuple[int, int]) -> dict[str, bool]:
    rows, seed = task
    random = np.random.default_rng([9, seed, rows])
    ours, theirs = _pairs(random, 5_000, 0.6), _pairs(random, rows, 0.3)
    names = ours.table.column_names
    found = joint_test(ours, theirs, [DriftColumn("v", name[3:], "DOUBLE", None) for name in names], seed)
    assert found is not None
    pairs = [(ours.table.column(n).combine_chunks(), theirs.table.column(n).combine_chunks()) for n in names[:2]]
    return {
        "ours": found.chance <= 0.01 / 11 and found.auc >= Drift().min_auc,
        "ours, the two features found": {n for n, _ in found.features[:2]} == {"v__0", "v__1"},
        "PSI >= 0.2": any(psi_ten_bins(*pair) >= 0.2 for pair in pairs),
        "KS p < 0.05": any(-_scores(*pair)["KS"] < 0.05 for pair in pairs),
        "Evidently's default": any(evidently_drifts(*pair) for pair in pairs),
    }


def run(repeat: int) -> list[dict[str, Any]]:
    """Every change at every size: by rule, the share of repeats in which it was seen."""
    results: list[dict[str, Any]] = []
    thresholds: dict[tuple[str, int], dict[str, float]] = {}
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        for change in CHANGES:
            without = change.partition("shift")[0]  # what does not move is the same at every shift
            for rows in SIZES:
                if "nulls" not in change and (without, rows) not in thresholds:
                    thresholds[without, rows] = _thresholds(pool, change, rows)
                limits = thresholds.get((without, rows), {})
                found = pool.map(_seen, [(change, rows, seed, limits) for seed in range(repeat)], chunksize=20)
                results.append(_told(change, rows, found))
        for rows in JOINT_SIZES:
            found = pool.map(_joint, [(rows, seed) for seed in range(max(repeat // 10, 1))], chunksize=1)
            results.append(_told("correlation from 0.6 to 0.3", rows, found))
    return results


def _told(change: str, rows: int, found: list[dict[str, bool]]) -> dict[str, Any]:
    rates = {rule: sum(one[rule] for one in found) / len(found) for rule in found[0]}
    print(f"{change}, {rows:,} rows ({len(found)} repeats)", flush=True)
    print("    " + "; ".join(f"{rule} {rate:.1%}" for rule, rate in rates.items()), flush=True)
    return {"change": change, "rows": rows, "repeats": len(found), "seen": rates}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift_power", description=__doc__)
    parser.add_argument("--repeat", type=int, default=200)
    results = run(parser.parse_args().repeat)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
