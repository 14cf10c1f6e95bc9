"""One column against its reference: the chance of the difference under no drift, and how far each part of it moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from skewguard.drift.sample import Sample, pooled
from skewguard.drift.tails import combined
from skewguard.drift.values import rate_apart, values_apart
from skewguard.profile import ColumnProfile

PARTS = {"values": 0.8, "nulls": 0.15, "unseen": 0.05, "statuses": 0.05}
"""What can move, and what each weighs in the combination: the values, rows without one, values of which the reference
has none (beyond its range; categories that it does not have), and why rows have none (NaN, null, each status)."""


@dataclass(frozen=True)
class Part:
    """One thing that may have moved: its chance under no drift, and its effect as a share of rows."""

    name: str
    chance: float
    effect: float
    low: float
    high: float


@dataclass(frozen=True)
class Compared:
    """A column against its reference. ``chance`` is of all parts together, ``tests`` of each test of the values."""

    chance: float
    parts: tuple[Part, ...]
    reference_effective: float
    current_effective: float
    tests: Mapping[str, float] = field(default_factory=dict)
    shares: tuple[float, ...] = ()
    """Shares of the values by bin, both samples together."""


def compare_column(reference: ColumnProfile, current: ColumnProfile, spread: float = 1.0) -> Compared:
    """Compare two profiles over the same bins. Raises ValueError where the bins differ.

    ``spread`` (at least 1) is how much more than by chance such profiles are known to vary; sizes count so much less.
    """
    if reference.bins != current.bins:
        raise ValueError("profiles over different bins cannot be compared")
    ours, theirs = (_thinned(Sample.of(profile), spread) for profile in (reference, current))
    size = reference.bins.size
    value_cells = np.arange(size)
    known, held = ours.among(value_cells), theirs.among(value_cells)
    tests = values_apart(known, held, reference.bins.ordered)
    parts = [_part("values", tests["all"], *_moved(known, held, reference.bins.ordered))]
    missing = np.array([*[0.0] * size, 1.0, 1.0])
    if (ours.counts + theirs.counts)[size:].any():
        parts.append(_rate("nulls", ours, theirs, missing))
    unseen = _unseen(reference)
    if unseen is not None and (known.counts + held.counts)[unseen > 0].any():
        parts.append(_rate("unseen", known, held, unseen))
    parts += _statuses(reference, current, spread)
    chance = combined([part.chance for part in parts], [PARTS[part.name] for part in parts])
    shares = tuple(float(share) for share in pooled(known, held)) if known.rows + held.rows else ()
    return Compared(chance, tuple(parts), _effective(ours), _effective(theirs), tests, shares)


def _statuses(reference: ColumnProfile, current: ColumnProfile, spread: float) -> list[Part]:
    """Why rows have no value, among those that have none; nothing where there is one reason or no row.

    Pairs of an entity's rows are not counted by status: they are taken to be alike. The effect is a share of all rows.
    """
    missing = [profile.missing for profile in (reference, current)]
    if any("null" in reasons for reasons in missing):
        missing = [{"NaN": profile.nans, "null": profile.nulls} for profile in (reference, current)]
    names = sorted(name for name in {*missing[0], *missing[1]} if any(reasons.get(name) for reasons in missing))
    if len(names) < 2 or not reference.rows or not current.rows:
        return []
    ours, theirs = (
        _thinned(_alike(profile, [reasons.get(name, 0) for name in names]), spread)
        for profile, reasons in zip((reference, current), missing, strict=True)
    )
    why = np.arange(1, len(names) + 1)
    chance = values_apart(ours.among(why), theirs.among(why), ordered=False)["all"]
    moved = np.abs(theirs.shares - ours.shares)[why]
    place = int(np.argmax(moved))
    return [_part("statuses", chance, float(moved[place]), _error(ours, theirs, np.eye(len(names) + 1)[place + 1]))]


def _alike(profile: ColumnProfile, rows: Sequence[int]) -> Sample:
    """Rows with a value, and those without by why; all rows of an entity in one cell."""
    counts = np.array([profile.rows - sum(rows), *rows], dtype=np.int64)
    each = float(profile.pair_matrix.sum()) / profile.rows
    return Sample(counts, np.diag(np.round(counts * each).astype(np.int64)), 10**6)


def _thinned(sample: Sample, spread: float) -> Sample:
    """The sample, worth ``spread`` times fewer rows: every row as if it were repeated so often."""
    if spread <= 1:
        return sample
    extra = np.round((spread - 1) * (np.diag(sample.counts) + sample.pairs)).astype(np.int64)
    return Sample(sample.counts, sample.pairs + extra, max(sample.repeated, 10**6))


def _unseen(reference: ColumnProfile) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    """1 for the cells of values that the column had none of when its bins were fitted."""
    bins = reference.bins
    cells = np.zeros(bins.size)
    if bins.edges:
        cells[[0, -1]] = 1.0
        return cells
    if bins.complete:
        cells[-1] = 1.0
        return cells
    return None


def _moved(reference: Sample, current: Sample, ordered: bool) -> tuple[float, float]:
    """How far the values moved as a share of rows, and its standard error.

    Numbers: the largest difference of cumulative shares (Kolmogorov and Smirnov's); categories: of a cell's share.
    """
    if not reference.rows or not current.rows:
        return 0.0, 1.0
    steps = np.tril(np.ones((len(reference.counts),) * 2)) if ordered else np.eye(len(reference.counts))
    differences = steps @ (current.shares - reference.shares)
    place = int(np.argmax(np.abs(differences)))
    return float(abs(differences[place])), _error(reference, current, steps[place])


def _rate(name: str, reference: Sample, current: Sample, cells: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Part:
    if not reference.rows or not current.rows:
        return _part(name, 1.0, 0.0, 1.0)
    moved = float(cells @ (current.shares - reference.shares))
    return _part(name, rate_apart(reference, current, cells), abs(moved), _error(reference, current, cells))


def _error(reference: Sample, current: Sample, cells: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    variance = sum(float(cells @ side.covariance(side.shares) @ cells) for side in (reference, current))
    return float(np.sqrt(max(variance, 0.0)))


def _part(name: str, chance: float, effect: float, error: float) -> Part:
    half = 1.959963984540054 * error
    return Part(name, chance, effect, max(0.0, effect - half), min(1.0, effect + half))


def _effective(sample: Sample) -> float:
    """Effective rows of the whole sample, as its cells together have it."""
    if not sample.rows:
        return 0.0
    return sample.rows / (1 + sample.average_alike(sample.shares) * float(sample.pairs.sum()) / sample.rows)
