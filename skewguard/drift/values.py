"""Do the values of two samples come from one distribution? Several tests of it, as one chance.

Numbers, whose bins lie on a line: location (normal scores of mid-ranks, van der Waerden 1952), spread (their squares),
shape (Anderson and Darling 1952, over bins) and the one cell that moved most. Categories: Pearson's chi-square over
cells, few ones put together, and the one cell that moved most. The tests' chances are combined (``tails.combined``), so
that one that sees the change costs little by those that do not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from skewguard.drift.sample import Sample, effective_sizes, pooled
from skewguard.drift.tails import combined, means_apart, rates_apart, sum_of_squares

Floats = npt.NDArray[np.float64]

ORDERED = {"location": 0.6, "spread": 0.1, "shape": 0.2, "cell": 0.1}
CATEGORIES = {"cells": 0.5, "cell": 0.5}
"""What each test weighs in the combination."""

_CLOSEST = 3
"""So many cells are tested exactly, those that moved most by their standard errors."""
_EXPECTED = 5.0
"""Cells expected to hold fewer rows (effective ones) of the smaller sample are put together, as in Cochran (1954)."""
_FEW = 2.0
"""The same for neighbouring bins of numbers: their cumulative shares bear fewer."""


def values_apart(reference: Sample, current: Sample, ordered: bool) -> dict[str, float]:
    """The chance of each test, by its name, and of all together as "all"; 1 where there is nothing to compare."""
    kept = (reference.counts + current.counts) > 0
    reference, current = reference.among(kept), current.among(kept)
    if kept.sum() < 2 or not reference.rows or not current.rows:
        return {"all": 1.0}
    chances = {"cell": _cell(reference, current)}
    if kept.sum() > 2:
        chances |= _ordered(reference, current) if ordered else _cells(reference, current)
    weights = ORDERED if ordered else CATEGORIES
    return {**chances, "all": combined(list(chances.values()), [weights[name] for name in chances])}


def _ordered(reference: Sample, current: Sample) -> dict[str, float]:
    shares = pooled(reference, current)
    location = ndtri(np.clip(np.cumsum(shares) - shares / 2, 1e-12, 1 - 1e-12))
    location = location - (location * shares).sum()
    spread = location**2 - (location**2 * shares).sum()
    within = (location**2 * shares).sum()
    spread = spread - location * (location * spread * shares).sum() / within
    chances = {"location": _means(location, reference, current)}
    groups = _neighbours(shares * _least(reference, current))
    if len(groups) > 1:
        chances["shape"] = _shape(reference.grouped(groups), current.grouped(groups))
    if (spread**2 * shares).sum() > 1e-9:
        chances["spread"] = _means(spread, reference, current)
    return chances


def _means(scores: Floats, reference: Sample, current: Sample) -> float:
    shares = pooled(reference, current)
    sizes = effective_sizes(reference, current, scores)
    return means_apart(scores, shares, sizes, float(scores @ (current.shares - reference.shares)))


def _shape(reference: Sample, current: Sample) -> float:
    """Anderson and Darling's statistic over bins: squared differences of the cumulative shares, by their variance."""
    shares = pooled(reference, current)
    below = np.cumsum(shares)[:-1]
    # harmonic means of neighbours: a cell with next to no rows must not weigh like the one beside it
    weights: Floats = 2 * shares[:-1] * shares[1:] / (shares[:-1] + shares[1:]) / (below * (1 - below))
    steps = np.tril(np.ones((len(shares) - 1, len(shares))))
    return _quadratic(steps * np.sqrt(weights)[:, None], reference, current)


def _least(reference: Sample, current: Sample) -> float:
    return min(reference.least_effective, current.least_effective)


def _neighbours(expected: Floats) -> Floats:
    """Runs of neighbouring cells that are expected to hold ``_FEW`` rows each; a row of 0 and 1 for each run."""
    run = np.zeros(len(expected), dtype=np.int64)
    number, held = 0, 0.0
    for place, rows in enumerate(expected):
        run[place] = number
        held += rows
        if held >= _FEW:
            number, held = number + 1, 0.0
    if held and number:
        run[run == number] = number - 1
    groups: Floats = (run == np.arange(run.max() + 1)[:, None]).astype(np.float64)
    return groups


def _cells(reference: Sample, current: Sample) -> dict[str, float]:
    """Pearson's statistic over the cells; none where all of them are few."""
    shares = pooled(reference, current)
    few = shares * _least(reference, current) < _EXPECTED
    if few.sum() > 1:
        groups = np.vstack([np.eye(len(shares))[~few], few.astype(np.float64)])
        reference, current = reference.grouped(groups), current.grouped(groups)
        shares = pooled(reference, current)
        if len(shares) < 2:
            return {}
    return {"cells": _quadratic(np.diag(1 / np.sqrt(shares)), reference, current)}


def _quadratic(transform: Floats, reference: Sample, current: Sample) -> float:
    """The chance of the squared length of the transformed difference; ``transform`` has shape (any, cells)."""
    shares = pooled(reference, current)
    difference = transform @ (current.shares - reference.shares)
    spread = transform @ (reference.covariance(shares) + current.covariance(shares)) @ transform.T
    eigenvalues: Floats = np.linalg.eigvalsh((spread + spread.T) / 2).astype(np.float64)
    return sum_of_squares(float(difference @ difference), eigenvalues)


def _cell(reference: Sample, current: Sample) -> float:
    """The chance of the cell that moved most, times the number of cells (Bonferroni)."""
    shares = pooled(reference, current)
    spread = np.diag(reference.covariance(shares) + current.covariance(shares))
    moved = np.abs(current.shares - reference.shares) / np.sqrt(np.maximum(spread, 1e-300))
    cells = len(shares) if len(shares) > 2 else 1  # of two cells each tells the other
    found = [
        rate_apart(reference, current, np.eye(len(shares))[cell])
        for cell in np.argsort(-moved, kind="stable")[:_CLOSEST]
    ]
    return min(1.0, cells * min(found))


def rate_apart(reference: Sample, current: Sample, cells: Floats) -> float:
    """The chance of the share of rows in ``cells`` (1 for those that count, 0 for others)."""
    if not reference.rows or not current.rows:
        return 1.0
    sizes = effective_sizes(reference, current, cells)
    hits = (float(cells @ current.shares) * sizes[0], float(cells @ reference.shares) * sizes[1])
    return rates_apart((hits[0] + 1e-9, hits[1] + 1e-9), sizes)
