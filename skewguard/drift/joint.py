"""A classifier two-sample test: do features together tell served rows from the reference's, though each alone does not?

Gradient-boosted trees (scikit-learn's HistGradientBoostingClassifier) are fitted on half of the rows to tell the sides
apart, and judged on the other half; then the halves change places. Under no drift the sides of the judged rows may be
permuted at will, so the scores' rank sum has the permutation distribution of Mann and Whitney: exact, whatever the
classifier learned. Source: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017; Kim, Ramdas, Singh
and Wasserman, "Classification accuracy as a proxy for two-sample testing", Annals of Statistics 49 (2021).

Every entity gives one row, to one side, so that rows are independent and no entity is learned by heart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import ndtr
from scipy.stats import rankdata

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


def one_row_an_entity(
    reference: TableVectors, current: TableVectors, keys: Sequence[str]
) -> tuple[TableVectors, TableVectors]:
    """At most ``ROWS`` rows of each side, no entity twice or on both sides; always the same ones of the same rows."""
    if not set(keys) <= reference.columns & current.columns or not keys:
        return _some(reference), _some(current)
    sides = []
    ids = [entity_ids(side, keys) for side in (reference, current)]
    both = np.intersect1d(ids[0], ids[1])
    for number, (side, own) in enumerate(zip((reference, current), ids, strict=True)):
        mixed = _mixed(own)
        mine = ~np.isin(own, both) | (mixed % np.uint64(2) == number)
        places = np.flatnonzero(mine)
        # the first row of an entity would be its oldest: any row, by a number of its own
        order = places[np.argsort(_mixed(places.astype(np.uint64)), kind="stable")]
        _, first = np.unique(own[order], return_index=True)
        chosen = order[first]
        chosen = np.sort(chosen[np.argsort(mixed[chosen], kind="stable")][:ROWS])
        sides.append(side.where(pa.array(chosen)))
    return sides[0], sides[1]


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
    reference: TableVectors, current: TableVectors, columns: Sequence[DriftColumn], seed: int = 0
) -> JointTest | None:
    """The test over the columns that both have; None with fewer than ``FEWEST`` rows of a side or no column.

    The rows must be independent (``one_row_an_entity``).
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
    chances, areas, lost = [], [], np.zeros(len(shared))
    for judged in (half, ~half):
        model = _fitted(matrix[~judged], side[~judged], texts, seed)
        scores = model.predict_proba(matrix[judged])[:, 1]
        area, chance = rank_test(scores, side[judged])
        chances.append(chance)
        areas.append(area)
        if area > 0.5:
            lost += _lost(model, matrix[judged], side[judged], area, random)
    order = [place for place in np.argsort(-lost, kind="stable")[:_TOLD] if lost[place] > 0]
    told = tuple((shared[place].name, float(lost[place] / 2)) for place in order)
    return JointTest(combined(chances, [1.0, 1.0]), float(np.mean(areas)), reference.rows, current.rows, told)


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


def _lost(model: Any, matrix: Floats, side: Floats, area: float, random: np.random.Generator) -> Floats:
    """How much area is lost when a column's values are shuffled (Breiman's permutation importance), by column."""
    lost = np.zeros(matrix.shape[1])
    for place in range(matrix.shape[1]):
        for _ in range(_SHUFFLES):
            shuffled = matrix.copy()
            shuffled[:, place] = random.permutation(shuffled[:, place])
            lost[place] += (area - rank_test(model.predict_proba(shuffled)[:, 1], side)[0]) / _SHUFFLES
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
