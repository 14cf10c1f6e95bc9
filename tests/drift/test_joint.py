from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from skewguard.drift.column import compare_column
from skewguard.drift.joint import FEWEST, ROWS, joint_test, one_row_an_entity, rank_test
from skewguard.drift.vectors import DriftColumn, TableVectors
from skewguard.profile import make_bins, profile_column

COLUMNS = [DriftColumn("v", name, "DOUBLE", ("k",)) for name in ("a", "b", "c")]


def pairs(seed: int, rows: int, correlation: float, first: int = 0) -> TableVectors:
    random = np.random.default_rng(seed)
    a = random.normal(size=rows)
    b = correlation * a + np.sqrt(1 - correlation**2) * random.normal(size=rows)
    text = pa.array(random.choice(["x", "y", None], size=rows), pa.string())
    columns = {"v__a": a, "v__b": b, "v__c": random.normal(size=rows), "v__t": text,
               "k": np.arange(first, first + rows)}  # fmt: skip
    return TableVectors(pa.table(columns))


@pytest.mark.slow
def test_a_correlation_that_fell_is_seen_and_named_though_each_feature_is_as_before() -> None:
    ours, theirs = pairs(1, 2500, 0.6), pairs(2, 2500, 0.3, 10_000)
    found = joint_test(ours, theirs, COLUMNS)
    assert found is not None
    assert found.chance < 1e-4
    assert 0.53 < found.auc < 0.65
    assert {name for name, _ in found.features[:2]} == {"v__a", "v__b"}
    for name in ("v__a", "v__b"):
        bins = make_bins(ours.table.column(name).combine_chunks())
        alone = compare_column(*(profile_column(side.table.column(name), bins) for side in (ours, theirs)))
        assert alone.chance > 0.001


@pytest.mark.slow
def test_under_no_drift_its_chance_is_as_good_as_any() -> None:
    columns = [*COLUMNS, DriftColumn("v", "t", "STRING", ("k",))]
    chances = []
    for seed in range(24):
        found = joint_test(pairs(seed, 300, 0.5), pairs(1000 + seed, 300, 0.5, 10_000), columns, seed)
        assert found is not None
        chances.append(found.chance)
    assert stats.kstest(chances, "uniform").pvalue > 0.01
    assert min(chances) > 1e-4


def test_the_rank_test_is_scipys_and_the_permutations() -> None:
    random = np.random.default_rng(5)
    scores, side = np.round(random.random(300), 2), (random.random(300) < 0.4).astype(float)
    area, chance = rank_test(scores, side)
    expected = stats.mannwhitneyu(
        scores[side == 1], scores[side == 0], alternative="greater", method="asymptotic", use_continuity=False
    )
    assert chance == pytest.approx(expected.pvalue)
    permuted = np.array([rank_test(scores, random.permutation(side))[0] for _ in range(3000)])
    assert (permuted >= area).mean() == pytest.approx(chance, abs=0.03)
    assert rank_test(np.ones(10), np.repeat([0.0, 1.0], 5)) == (0.5, 1.0)


def test_entities_come_once_and_on_one_side() -> None:
    table = pairs(3, 4000, 0.5).table
    twice = TableVectors(pa.concat_tables([table, table, table.slice(0, 1000)]))
    ours, theirs = one_row_an_entity(twice, TableVectors(table.slice(2000)), ["k"])
    left, right = (side.table.column("k").to_pylist() for side in (ours, theirs))
    assert len(set(left)) == len(left)
    assert len(set(right)) == len(right)
    assert not set(left) & set(right)
    assert 600 < len(right) < 1400  # about half of the two thousand that both have
    again = one_row_an_entity(twice, TableVectors(table.slice(2000)), ["k"])
    assert again[0].table.equals(ours.table)
    many, _ = one_row_an_entity(pairs(4, 3 * ROWS, 0.1), TableVectors(table), [])
    assert many.rows == ROWS


def test_too_few_rows_are_no_test() -> None:
    assert joint_test(pairs(1, FEWEST - 1, 0.5), pairs(2, 5000, 0.5), COLUMNS) is None
    assert joint_test(pairs(1, 500, 0.5), pairs(2, 500, 0.5), [DriftColumn("v", "zzz", "DOUBLE", None)]) is None
