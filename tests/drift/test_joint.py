from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from skewguard.drift.column import compare_column
from skewguard.drift.joint import FEWEST, ROWS, independent_rows, joint_test, rank_test
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
    assert joint_test(ours, theirs, COLUMNS, tell=0.0) == replace(found, features=())
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
    ours, theirs, tested = independent_rows(twice, TableVectors(table.slice(2000)), COLUMNS)
    left, right = (side.table.column("k").to_pylist() for side in (ours, theirs))
    assert len(set(left)) == len(left)
    assert len(set(right)) == len(right)
    assert not set(left) & set(right)
    assert 600 < len(right) < 1400  # about half of the two thousand that both have
    assert tested == COLUMNS
    again = independent_rows(twice, TableVectors(table.slice(2000)), COLUMNS)
    assert again[0].table.equals(ours.table)
    keyless = [DriftColumn("v", "a", "DOUBLE", None)]
    many, _, _ = independent_rows(pairs(4, 3 * ROWS, 0.1), TableVectors(table), keyless)
    assert many.rows == ROWS


def shops(seed: int, day: int, shops: int, tills: int) -> TableVectors:
    """Tills of shops: a value of its own for each till, one for each shop that is new every day, and one for all."""
    random = np.random.default_rng(seed)
    shop = np.repeat(np.arange(shops), tills)
    return TableVectors(pa.table({
        "shop": shop, "till": np.tile(np.arange(tills), shops), "tills__sales": random.normal(size=shops * tills),
        "shops__turnover": random.normal(size=shops)[shop], "rates__euro": np.full(shops * tills, 1.0 + day),
    }))  # fmt: skip


SHOPS = [
    DriftColumn("tills", "sales", "DOUBLE", ("shop", "till")),
    DriftColumn("shops", "turnover", "DOUBLE", ("shop",)),
    DriftColumn("rates", "euro", "DOUBLE", ()),
]


def test_what_many_rows_share_tells_no_sides_apart() -> None:
    """The value of all rows, and of a shop's, is another every day though nothing drifted."""
    ours, theirs, tested = independent_rows(shops(1, 1, 60, 25), shops(2, 2, 60, 25), SHOPS)
    assert [column.view for column in tested] == ["tills"]  # sixty shops are too few, one rate is none
    found = joint_test(ours, theirs, tested)
    assert found is not None
    assert found.chance > 0.001
    assert joint_test(shops(1, 1, 60, 25), shops(2, 2, 60, 25), SHOPS).chance < 1e-20  # type: ignore[union-attr]
    ours, theirs, tested = independent_rows(shops(3, 1, 900, 3), shops(4, 2, 900, 3), SHOPS)
    assert [column.view for column in tested] == ["tills", "shops"]
    for side in (ours, theirs):
        assert len(set(side.table.column("shop").to_pylist())) == side.rows > FEWEST
    assert not set(ours.table.column("shop").to_pylist()) & set(theirs.table.column("shop").to_pylist())
    none = independent_rows(shops(1, 1, 60, 25), shops(2, 2, 60, 25), SHOPS[1:])
    assert joint_test(*none) is None


def test_two_entities_of_a_row_each_come_once() -> None:
    random = np.random.default_rng(6)

    def visits() -> TableVectors:
        user, item = random.integers(0, 4000, 20_000), random.integers(0, 3000, 20_000)
        values = {"u__x": user / 4000, "i__y": item / 3000, "ui__z": random.normal(size=20_000)}
        return TableVectors(pa.table({"user": user, "item": item, **values}))

    columns = [DriftColumn("u", "x", "DOUBLE", ("user",)), DriftColumn("i", "y", "DOUBLE", ("item",)),
               DriftColumn("ui", "z", "DOUBLE", ("item", "user"))]  # fmt: skip
    ours, theirs, tested = independent_rows(visits(), visits(), columns)
    assert tested == columns
    for key in ("user", "item"):
        left, right = (side.table.column(key).to_pylist() for side in (ours, theirs))
        assert len({*left, *right}) == len(left) + len(right)
    assert min(ours.rows, theirs.rows) > 500


def test_too_few_rows_are_no_test() -> None:
    assert joint_test(pairs(1, FEWEST - 1, 0.5), pairs(2, 5000, 0.5), COLUMNS) is None
    assert joint_test(pairs(1, 500, 0.5), pairs(2, 500, 0.5), [DriftColumn("v", "zzz", "DOUBLE", None)]) is None
