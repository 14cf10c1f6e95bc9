"""How much repeated entities say, against a slow and obvious reference."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skewguard.drift.column import compare_column
from skewguard.drift.sample import FEW_ENTITIES, Sample, effective_sizes
from skewguard.profile import Bins, ColumnProfile, Repeats, make_bins, profile_column

Array = npt.NDArray[np.int64]
CELLS = Bins(edges=(0.5, 1.5))


def sample_of(codes: list[int], entities: list[int]) -> Sample:
    array = pa.array(codes, pa.int64())
    return Sample.of(profile_column(array, CELLS, repeats=Repeats.of(np.array(entities)))).among(np.arange(3))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), min_size=2, max_size=30))
def test_the_covariance_is_the_sum_over_entities(rows: list[tuple[int, int]]) -> None:
    codes, entities = [code for code, _ in rows], [entity for _, entity in rows]
    sample = sample_of(codes, entities)
    shares = [Fraction(1, 2), Fraction(1, 4), Fraction(1, 4)]
    several = {e for e in entities if entities.count(e) > 1}
    known = Fraction(len(several), len(several) + FEW_ENTITIES)
    pairs = sum(entities.count(e) ** 2 for e in set(entities)) - len(rows)
    expected = np.zeros((3, 3))
    for a in range(3):
        for b in range(3):
            alone = shares[a] * (a == b) - shares[a] * shares[b]
            shared = Fraction(0)
            for i in range(len(rows)):
                for j in range(len(rows)):
                    if i != j and entities[i] == entities[j]:
                        shared += ((codes[i] == a) - shares[a]) * ((codes[j] == b) - shares[b])
            total = alone + (known * shared + (1 - known) * pairs * alone) / len(rows) if pairs else alone
            expected[a, b] = float(total / len(rows))
    assert sample.covariance(np.array([0.5, 0.25, 0.25])) == pytest.approx(expected)


def test_effective_sizes_by_hand() -> None:
    scores = np.array([0.0, 1.0, 0.0])
    alone = sample_of([0, 1] * 100, list(range(200)))
    assert effective_sizes(alone, alone, scores) == (200.0, 200.0)
    # fifty entities of four equal rows: worth fifty rows, whatever few entities leave open
    codes = [i % 2 for i in range(50) for _ in range(4)]
    alike = sample_of(codes, [i for i in range(50) for _ in range(4)])
    assert alike.least_effective == 50.0
    assert effective_sizes(alone, alike, scores)[0] == pytest.approx(50.0)
    # entities whose rows are as different as those of different ones: all two hundred, but for the doubt of fifty
    random = np.random.default_rng(1)
    mixed = sample_of(random.integers(0, 2, 200).tolist(), [i for i in range(50) for _ in range(4)])
    assert 100 < effective_sizes(alone, mixed, scores)[0] <= 200


@pytest.mark.parametrize("rows_each", [1, 5, 20])
def test_repeated_rows_of_the_same_entities_are_no_evidence(rows_each: int) -> None:
    """The same draw of entities, told once or twenty times over, is as likely under no drift."""
    random = np.random.default_rng(2)
    reference, current = random.normal(size=500), random.normal(size=100) + 0.35

    def chance(times: int) -> float:
        bins = make_bins(pa.array(reference))
        ours = profile_column(pa.array(reference), bins)
        entities = np.repeat(np.arange(100), times)
        theirs = profile_column(pa.array(np.repeat(current, times)), bins, repeats=Repeats.of(entities))
        return compare_column(ours, theirs).chance

    once, often = chance(1), chance(rows_each)
    assert 0.3 * once < often < 8 * once


@pytest.mark.parametrize("kind", ["normal", "counts", "rare", "categories", "entities"])
def test_under_no_drift_small_chances_are_as_rare_as_they_say(kind: str) -> None:
    random = np.random.default_rng(11)

    def drawn(rows: int) -> tuple[pa.Array, Repeats | None]:
        if kind == "normal":
            return pa.array(random.normal(size=rows)), None
        if kind == "counts":
            return pa.array(random.poisson(1.0, rows)), None
        if kind == "rare":
            return pa.array((random.random(rows) < 0.01).astype(np.int64)), None
        if kind == "categories":
            return pa.array(random.choice(list("abcdef"), p=[0.5, 0.2, 0.1, 0.1, 0.06, 0.04], size=rows)), None
        entity = random.integers(0, rows // 5, rows)
        return pa.array(random.normal(size=rows // 5)[entity]), Repeats.of(entity)

    chances = []
    for _ in range(400):
        (ours, whose), (theirs, others) = drawn(600), drawn(200)
        bins = make_bins(ours)
        found = compare_column(profile_column(ours, bins, repeats=whose), profile_column(theirs, bins, repeats=others))
        chances.append(found.chance)
    # 400 draws at 5%: 20 expected, and 36 or more once in two thousand times; at 0.5%: 2, and 9 or more as rarely
    assert (np.array(chances) <= 0.05).sum() < 36
    assert (np.array(chances) <= 0.005).sum() < 9


def test_degenerate_columns_say_nothing_and_do_not_fail() -> None:
    bins = make_bins(pa.array([1.0, 2.0, 3.0]))

    def of(values: list[float | None], over: Bins = bins) -> ColumnProfile:
        return profile_column(pa.array(values, pa.float64()), over)

    empty = Bins()
    for reference, current in (
        (of([]), of([])), (of([None] * 3), of([None] * 3)), (of([1.0]), of([])), (of([1.0]), of([1.0])),
        (of([float("nan")] * 4), of([float("nan")] * 4)), (of([2.0] * 50), of([2.0] * 50)),
        (of([], empty), of([1.0], empty)), (of([float("inf")] * 3), of([float("inf")])),
    ):  # fmt: skip
        found = compare_column(reference, current)
        assert found.chance > 0.4, (reference, current)
    gone = compare_column(of([1.0] * 500), of([None] * 500))
    assert gone.chance < 1e-50
    assert {part.name: part.effect for part in gone.parts}["nulls"] == 1.0
    with pytest.raises(ValueError, match="different bins"):
        compare_column(of([1.0]), of([1.0], Bins(edges=(0.0,))))
