"""What every cell rule shares: the cells, what a rule answers, and when a relation between two columns is believed.

A relation (a factor, a renaming, another column, ...) is believed in one of two ways. *Alone*: it holds for ``SHARE``
of the cells that no earlier rule took, over at least ``MIN_CELLS`` of them. *Beside others*, so that several causes on
one feature are told apart: it holds for at least ``MIXED_SHARE`` and ``MIXED_CELLS`` of them. Both ask that values
dealt out at random would hardly have shown it (``ALONE_CHANCE``, ``MIXED_CHANCE``), so that a few odd rows, and the
accidental agreement of columns with few distinct values, neither create a relation nor hide one.

The chance is an upper bound of the binomial tail: Chernoff, "A Measure of Asymptotic Efficiency for Tests of a
Hypothesis Based on the Sum of Observations", Annals of Mathematical Statistics 23 (1952).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.digest import cell_hashes
from skewguard.findings import Cause

SHARE = 0.9
MIXED_SHARE = 0.2
MIN_CELLS = 3
MIXED_CELLS = 5
ALONE_CHANCE, MIXED_CHANCE = 1e-3, 1e-6
SAMPLE = 4096
"""Cells looked at to judge a chance, or to find out which column is worth comparing whole."""

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class OtherColumns(Protocol):
    """The other columns of the view, over the rows of some differing cells."""

    @property
    def dtypes(self) -> Mapping[str, str]:
        """Name (``feature``, or ``feature (join key)``) -> dtype."""
        ...

    def offline(self, names: Sequence[str], cells: Integers) -> list[pa.Array]:
        """The offline values of these columns in the rows of these cells (positions, ascending), in their order."""
        ...

    def online(self, names: Sequence[str], cells: Integers) -> list[pa.Array]:
        """The same of the online store; a join key's are those of offline."""
        ...

    def population(self, name: str) -> pa.Array:
        """Offline values of a column from all compared rows, or from a sample that does not depend on the values."""
        ...


@dataclass(frozen=True)
class DifferingCells:
    """The differing cells of one feature, aligned arrays of one length.

    ``offline``, ``online``: values in the feature's Arrow type. ``states``: "absent", "null", "value" or "corrupt".
    ``superseded``: the online value is that of an offline row with the same key and event timestamp that lost the
    tie, by its created timestamp or, where none was created last, by its values. ``created_late``: the offline row was
    created after the watermark.
    ``corrected``: it was created after its event timestamp had been materialized, more runs later than any row that is
    rightly online.
    ``population``: offline values of the feature from all compared rows, or from a sample of them that does not depend
    on the values; by default the cells' own. ``rows``: how many rows were compared in all; 0: not known.
    ``others``: the view's other columns; without them no column is looked for in another.
    """

    dtype: str
    offline: pa.Array
    online: pa.Array
    states: npt.NDArray[np.str_]
    superseded: Mask
    created_late: Mask
    population: pa.Array | None = None
    rows: int = 0
    others: OtherColumns | None = None
    corrected: Mask | None = None

    def valid(self) -> Mask:
        """Cells that are neither null nor NaN on either side."""
        return is_value(self.offline) & is_value(self.online)


@dataclass(frozen=True)
class Explained:
    """Which cells a rule explains, and the evidence for it."""

    cause: Cause
    mask: Mask
    evidence: dict[str, Any]


def is_value(array: pa.Array) -> Mask:
    """Neither null nor NaN."""
    return ~np.asarray(array.is_null(nan_is_null=True).to_numpy(zero_copy_only=False), dtype=bool)


def joint_codes(arrays: Sequence[pa.Array]) -> list[Integers]:
    """Each array as whole numbers that are equal exactly where the values are, across all of them; null has one."""
    whole = pa.chunked_array(list(arrays)).combine_chunks()
    if pa.types.is_list(whole.type):
        codes = np.unique(cell_hashes(whole), return_inverse=True)[1]
    else:
        encoded = pc.dictionary_encode(whole, null_encoding="encode")
        codes = np.asarray(encoded.indices.to_numpy(zero_copy_only=False))
    ends = np.cumsum([len(array) for array in arrays])[:-1]
    return [np.asarray(part, dtype=np.int64) for part in np.split(codes, ends)]


def spread(positions: Integers, limit: int = SAMPLE) -> Integers:
    """At most ``limit`` of the positions, evenly over all of them; the same ones every time."""
    if len(positions) <= limit:
        return positions
    return positions[np.linspace(0, len(positions) - 1, limit).astype(np.int64)]


def tail(hits: int, tries: int, rate: float) -> float:
    """An upper bound of the chance of ``hits`` or more in ``tries``, each at ``rate``; 1 where there were no tries."""
    if tries <= 0 or hits <= tries * rate:
        return 1.0
    if rate <= 0:
        return 0.0
    share = hits / tries
    rest = 0.0 if hits == tries else (1 - share) * math.log((1 - share) / (1 - rate))
    return math.exp(-tries * (share * math.log(share / rate) + rest))


def believed(hits: int, cells: int, chance: float, mixed_chance: float | None = None, *, fitted: bool = True) -> bool:
    """Does a relation stand that holds for ``hits`` of ``cells``, when accident does as well with these chances?

    ``mixed_chance`` (by default ``chance``) counts where the relation does not stand alone. Where nothing was
    ``fitted`` there was nothing to choose among, and it has to show no more there than where it stands alone.
    """
    if hits < MIN_CELLS:
        return False
    if hits >= SHARE * cells:
        return chance <= ALONE_CHANCE
    beside = chance if mixed_chance is None else mixed_chance
    least, limit = (MIXED_CELLS, MIXED_CHANCE) if fitted else (MIN_CELLS, ALONE_CHANCE)
    return hits >= max(least, MIXED_SHARE * cells) and beside <= limit


def holds(cells: DifferingCells, fits: Mask, candidates: Mask, *, fitted: int = 1) -> bool:
    """Is the relation that gives the online value of the cells in ``fits`` believed, among the ``candidates``?

    By accident an online value would be one of the feature's own: how often such a value is the one that the relation
    asks for is the rate that it has to beat. Beside others it also has to beat what comes of dealing the candidates'
    online values to their rows in another order, counted over the values that it gives anywhere. ``fitted`` is the
    number of parameters of the relation that were taken from the cells: so many agreements prove nothing.
    """
    hits, total = int(fits.sum()), int(candidates.sum())
    if hits < MIN_CELLS:
        return False
    chosen = pa.array(spread(np.flatnonzero(fits)))
    among = pa.array(spread(np.flatnonzero(candidates)))
    population = cells.offline if cells.population is None else cells.population
    columns = [side.take(rows) for rows in (chosen, among) for side in (cells.offline, cells.online)]
    offline, online, all_offline, all_online, known = joint_codes([*columns, population])
    size = int(max(part.max(initial=0) for part in (offline, online, all_offline, known))) + 1
    of_known = np.bincount(known, minlength=size) / max(1, len(known))
    own = float(np.mean(np.minimum(1.0, of_known[online] / np.maximum(1e-12, 1 - of_known[offline]))))
    of_rows = (np.bincount(all_offline, minlength=size)[offline] - 1) / max(1, len(all_offline) - 1)
    given = max(hits, round(float(np.isin(all_online, online).mean()) * total))
    chance = tail(hits - fitted, total - fitted, own)
    dealt = tail(hits - fitted, given - fitted, float(np.mean(np.clip(of_rows, 0.0, 1.0))))
    return believed(hits, total, chance, max(chance, dealt), fitted=fitted > 0)


def distinct(array: pa.Array, mask: Mask) -> int:
    """Number of distinct values among the masked ones."""
    (codes,) = joint_codes([array.filter(pa.array(mask))])
    return len(np.unique(codes))


def fit_evidence(fits: Mask, candidates: Mask) -> dict[str, Any]:
    """The share of the candidates for which a relation holds, and their number."""
    return {"share": round(float(fits.sum() / candidates.sum()), 4), "cells": int(fits.sum())}


def as_floats(array: pa.Array, dtype: str) -> Floats | None:
    """Numbers as they are, timestamps in seconds, as float64 with NaN for null; None for every other dtype."""
    if dtype == "UNIX_TIMESTAMP":
        micros = array.cast(pa.int64()).cast(pa.float64(), safe=False)
        return np.asarray(micros.to_numpy(zero_copy_only=False), dtype=np.float64) / 1e6
    if dtype in dtypes.NUMBERS:
        return np.asarray(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    return None
