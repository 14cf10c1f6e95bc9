"""A classifier two-sample test: do features together tell served rows from the reference's, though each alone does not?

Gradient-boosted trees (scikit-learn's HistGradientBoostingClassifier) are fitted on half of the rows to tell the sides
apart, and judged on the other half; then the halves change places. Under no drift the sides of the judged rows may be
permuted at will, so the scores' rank sum has the permutation distribution of Mann and Whitney: exact, whatever the
classifier learned. Source: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017; Kim, Ramdas, Singh
and Wasserman, "Classification accuracy as a proxy for two-sample testing", Annals of Statistics 49 (2021).

Every entity gives one row, to one side, so that rows are independent and no entity is learned by heart; so does each
entity of a view with fewer of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import ndtr
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from skewguard import dtypes
from skewguard.drift.tails import combined
from skewguard.drift.vectors import DriftColumn, TableVectors, entity_ids
from skewguard.profile import Bins, make_bins, numbers_of, texts_of
from skewguard.serving_log.columns import AS_OF

Floats = npt.NDArray[np.float64]

ROWS = 5_000
"""Most rows of a side."""
FEWEST = 250
"""Fewest rows of a side."""
_CATEGORIES = 30
_TOLD = 5
_SHUFFLES = 3


@dataclass(frozen=True)
class JointTest:
    """What came of it: the chance under no drift, the area under the curve of both halves, the rows of each side.

    ``features`` are those without which the classifier is blindest: (full feature name, area that is lost when its
    values are shuffled among the judged rows), most first.
    """

    chance: float
    auc: float
    reference_rows: int
    current_rows: int
    features: tuple[tuple[str, float], ...] = ()


def independent_rows(
    reference: TableVectors, current: TableVectors, columns: Sequence[DriftColumn]
) -> tuple[TableVectors, TableVectors, list[DriftColumn]]:
    """At most ``ROWS`` rows of each side, and the columns that they can be tested on; always the same of the same rows.

    No entity of any of these columns' views is in two rows, or on both sides: where a hundred tills of a shop have its
    turnover, the rows of the hundred tell of one. Views of too few entities for that are left out, and those without
    an entity, of which all rows have the one value.
    """
    tested = [column for column in columns if column.keys is None or column.keys]
    while True:
        keys = _coarsest(reference, current, tested)
        if not keys:
            return _some(reference), _some(current), tested
        ids = {key: [entity_ids(side, key) for side in (reference, current)] for key in keys}
        places = [_one_each(ids, side) for side in (0, 1)]
        if min(map(len, places)) >= FEWEST:
            return reference.where(pa.array(places[0])), current.where(pa.array(places[1])), tested
        fewest = min(keys, key=lambda key: (min(len(np.unique(side)) for side in ids[key]), key))
        tested = [column for column in tested if column.keys != fewest]


def _coarsest(reference: TableVectors, current: TableVectors, columns: Sequence[DriftColumn]) -> list[tuple[str, ...]]:
    """The keys of the columns' entities, of which no other ones are a part, as far as both sides have them."""
    known = reference.columns & current.columns
    keys = sorted({column.keys for column in columns if column.keys and set(column.keys) <= known})
    return [key for key in keys if not any(set(other) < set(key) for other in keys)]


def _one_each(ids: Mapping[tuple[str, ...], Sequence[npt.NDArray[np.uint64]]], side: int) -> npt.NDArray[np.int64]:
    """Places of rows of a side such that no entity comes twice; of one that is on both sides one side has the rows."""
    own = {key: sides[side] for key, sides in ids.items()}
    places = np.arange(len(next(iter(own.values()))))
    for key, (ours, theirs) in ids.items():
        both = np.intersect1d(ours, theirs)
        mine = _mixed(own[key]) % np.uint64(2) == side
        places = places[(mine | ~np.isin(own[key], both))[places]]
    # the first row of an entity would be its oldest: any row, by a number of its own
    places = places[np.argsort(_mixed(places.astype(np.uint64)), kind="stable")]
    for entities in own.values():
        _, first = np.unique(entities[places], return_index=True)
        places = places[np.sort(first)]
    return np.sort(places[:ROWS])


def _some(side: TableVectors) -> TableVectors:
    if side.rows <= ROWS:
        return side
    order = np.argsort(_mixed(np.arange(side.rows, dtype=np.uint64)), kind="stable")[:ROWS]
    return side.where(pa.array(np.sort(order)))


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Well mixed bits (splitmix64's finalizer, Steele et al. 2014)."""
    mixed = numbers.astype(np.uint64)
    with np.errstate(over="ignore"):
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def joint_test(
    reference: TableVectors, current: TableVectors, columns: Sequence[DriftColumn], seed: int = 0, tell: float = 0.05
) -> JointTest | None:
    """The test over the columns that both have; None with fewer than ``FEWEST`` rows of a side or no column.

    The rows must be independent (``independent_rows``). The features that give it away are looked for where the chance
    is below ``tell``, for that takes longer than the test.
    """
    shared = [column for column in columns if column.name in reference.columns & current.columns]
    if not shared or min(reference.rows, current.rows) < FEWEST:
        return None
    matrix, texts = _matrix(reference, current, shared)
    side = np.r_[np.zeros(reference.rows), np.ones(current.rows)]
    random = np.random.default_rng(seed)
    half = np.zeros(len(side), dtype=bool)
    for value in (0.0, 1.0):
        own = np.flatnonzero(side == value)
        half[random.permutation(own)[: len(own) // 2]] = True
    judged: list[tuple[Any, _Half]] = []
    lost = np.zeros(len(shared))
    # thousands of short parallel loops: on a machine that is busy, threads would wait for each other most of the time
    with threadpool_limits(1, user_api="openmp"):
        for own in (half, ~half):
            model = _fitted(matrix[~own], side[~own], texts, seed)
            judged.append((model, _Half.of(model, matrix[own], side[own])))
        chance = combined([found.chance for _, found in judged], [1.0] * 2)
        if chance < tell:
            lost = np.mean([_lost(model, found, random) for model, found in judged], axis=0)
    order = [place for place in np.argsort(-lost, kind="stable")[:_TOLD] if lost[place] > 0]
    told = tuple((shared[place].name, float(lost[place])) for place in order)
    area = float(np.mean([found.area for _, found in judged]))
    return JointTest(chance, area, reference.rows, current.rows, told)


@dataclass(frozen=True)
class _Half:
    """The rows that a model judges, their sides, the area under its curve, and the chance of as much."""

    matrix: Floats
    side: Floats
    area: float
    chance: float

    @classmethod
    def of(cls, model: Any, matrix: Floats, side: Floats) -> _Half:
        return cls(matrix, side, *rank_test(model.predict_proba(matrix)[:, 1], side))


def _fitted(matrix: Floats, side: Floats, texts: Sequence[bool], seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=60, learning_rate=0.1, max_leaf_nodes=15, min_samples_leaf=20, l2_regularization=1.0,
        categorical_features=list(texts), early_stopping=False, random_state=seed,
    )  # fmt: skip
    return model.fit(matrix, side)


def rank_test(scores: Floats, side: Floats) -> tuple[float, float]:
    """Area under the curve of ``scores`` for side 1, and the one-sided chance of as much under permuted sides.

    Mann and Whitney's normal approximation to the permutation distribution, with the correction for ties.
    """
    ranks = rankdata(scores)
    ones = side == 1
    n, m = int(ones.sum()), int((~ones).sum())
    area = (float(ranks[ones].sum()) - n * (n + 1) / 2) / (n * m)
    variance = float(ranks.var(ddof=1)) * n * m / (n + m)
    if variance <= 0:
        return area, 1.0
    return area, float(ndtr(-(area - 0.5) * n * m / math.sqrt(variance)))


def _lost(model: Any, half: _Half, random: np.random.Generator) -> Floats:
    """How much area is lost when a column's values are shuffled (Breiman's permutation importance), by column."""
    rows, columns = half.matrix.shape
    lost = np.zeros(columns)
    if half.area <= 0.5:
        return lost
    for place in range(columns):
        shuffled = np.tile(half.matrix, (_SHUFFLES, 1))
        shuffled[:, place] = np.concatenate([random.permutation(half.matrix[:, place]) for _ in range(_SHUFFLES)])
        scores = model.predict_proba(shuffled)[:, 1].reshape(_SHUFFLES, rows)
        lost[place] = half.area - np.mean([rank_test(one, half.side)[0] for one in scores])
    return lost


def _matrix(
    reference: TableVectors, current: TableVectors, columns: Sequence[DriftColumn]
) -> tuple[Floats, list[bool]]:
    """Both sides' rows as numbers, nulls as NaN, and which columns are categories."""
    found, texts = [], []
    for column in columns:
        parts = [_column(side, column) for side in (reference, current)]
        numbers = [numbers_of(values, moments) for values, moments in parts]
        texts.append(numbers[0] is None)
        if numbers[0] is None or numbers[1] is None:
            bins = make_bins(parts[0][0], None, _CATEGORIES)
            numbers = [_codes(values, bins) for values, _ in parts]
        found.append(np.concatenate([np.asarray(side.fill_null(math.nan)) for side in numbers if side is not None]))
    return np.column_stack(found), texts


def _column(side: TableVectors, column: DriftColumn) -> tuple[pa.Array, pa.Array | None]:
    values = side.table.column(column.name).combine_chunks()
    if pa.types.is_null(values.type):
        values = values.cast(dtypes.arrow_type(column.dtype))
    moments = side.table.column(AS_OF).combine_chunks() if AS_OF in side.columns else None
    return values, moments


def _codes(values: pa.Array, bins: Bins) -> pa.Array:
    """Categories by number, others as one more."""
    texts = texts_of(values)
    found = pc.index_in(texts, value_set=pa.array(bins.categories, pa.string())).fill_null(len(bins.categories))
    return pc.if_else(texts.is_null(), pa.scalar(None, pa.float64()), found.cast(pa.float64()))
