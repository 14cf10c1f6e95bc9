"""How much a sample of cells says: its covariance where rows of one entity repeat, and its effective size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skewguard.profile import ColumnProfile

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

FEW_ENTITIES = 10
"""Entities with several rows count in full only against so many of which nothing is known: with few of them, rows of an
entity are taken to repeat each other."""


@dataclass(frozen=True)
class Sample:
    """Counts by cell, and pairs of rows of one entity by their cells (see ``ColumnProfile``)."""

    counts: Integers
    pairs: Integers
    repeated: int

    @classmethod
    def of(cls, profile: ColumnProfile) -> Sample:
        """All cells of a column: bins, NaN, null."""
        return cls(profile.cells, profile.pair_matrix, profile.repeated)

    def among(self, cells: Integers | npt.NDArray[np.bool_]) -> Sample:
        """Only the rows in these cells."""
        return Sample(self.counts[cells], self.pairs[cells][:, cells], self.repeated)

    def grouped(self, groups: Floats) -> Sample:
        """Cells put together; ``groups`` has a row of 0 and 1 for each new cell. Shape (groups, cells)."""
        whole = groups.astype(np.int64)
        return Sample(whole @ self.counts, whole @ self.pairs @ whole.T, self.repeated)

    @property
    def rows(self) -> int:
        """All rows."""
        return int(self.counts.sum())

    @property
    def shares(self) -> Floats:
        """Each cell's share of the rows."""
        shares: Floats = self.counts / max(self.rows, 1)
        return shares

    def covariance(self, shares: Floats) -> Floats:
        """Covariance of the sample's own shares, had it been drawn from ``shares``. Shape (cells, cells).

        Rows of an entity add what pairs of them share (Kish, "Survey Sampling", 1965): the sum over entities of the
        squared deviation of their rows from the mean. Where few entities tell of that, all rows of an entity are taken
        to be alike in part.
        """
        rows = self.rows
        independent = np.diag(shares) - np.outer(shares, shares)
        all_pairs = float(self.pairs.sum())
        if not all_pairs:
            return independent / rows
        by_cell = self.pairs.sum(axis=1).astype(np.float64)
        across = np.outer(by_cell, shares)
        shared = self.pairs - across - across.T + all_pairs * np.outer(shares, shares)
        known = self.repeated / (self.repeated + FEW_ENTITIES)
        total = independent + (known * shared + (1 - known) * all_pairs * independent) / rows
        result: Floats = total / rows
        return result

    def alike(self, scores: Floats, shares: Floats) -> tuple[float, float]:
        """How alike two rows of an entity are in ``scores`` (sum over all pairs, and the most that it could be)."""
        spread = _spread(scores, shares)
        pairs = float(self.pairs.sum())
        if not pairs:
            return 0.0, 0.0
        own = float(scores @ self.covariance(shares) @ scores) * self.rows**2 - spread * self.rows
        return own, spread * pairs

    def average_alike(self, shares: Floats) -> float:
        """How alike two rows of an entity are over all cells, from 0 to 1: the ratio of total variances."""
        independent = float((shares * (1 - shares)).sum())
        pairs = float(self.pairs.sum())
        if not pairs or independent <= 0:
            return 0.0
        extra = float(np.trace(self.covariance(shares))) * self.rows**2 - independent * self.rows
        return min(1.0, max(0.0, extra / (independent * pairs)))

    @property
    def least_effective(self) -> float:
        """The effective size were all rows of an entity alike: rows squared by the sum of squared rows an entity."""
        return self.rows**2 / (self.rows + float(self.pairs.sum())) if self.rows else 0.0


def effective_sizes(reference: Sample, current: Sample, scores: Floats) -> tuple[float, float]:
    """How many independent rows would tell the mean of ``scores`` as well: of ``current``, and of ``reference``.

    Rows of an entity are taken to be as alike as either sample alone, both together, or all cells on average say,
    whichever is most: a sample that has none of a cell's values cannot tell how alike its rows would be there.
    """
    shares = pooled(reference, current)
    spread = _spread(scores, shares)
    sides = (current, reference)
    if spread <= 0:
        return float(current.rows), float(reference.rows)
    seen = [side.alike(scores, shares) for side in sides]
    most = sum(limit for _, limit in seen)
    together = sum(own for own, _ in seen) / most if most else 0.0
    sizes = []
    for side, (own, limit) in zip(sides, seen, strict=True):
        share = max(own / limit if limit else 0.0, together, side.average_alike(shares))
        extra = share * float(side.pairs.sum()) / side.rows if side.rows else 0.0
        sizes.append(side.rows / (1 + max(extra, 0.0)))
    return sizes[0], sizes[1]


def pooled(reference: Sample, current: Sample) -> Floats:
    """Each cell's share of the rows of both."""
    shares: Floats = (reference.counts + current.counts) / (reference.rows + current.rows)
    return shares


def _spread(scores: Floats, shares: Floats) -> float:
    return float((scores * scores * shares).sum()) - float((scores * shares).sum()) ** 2
