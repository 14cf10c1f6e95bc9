"""One side is null where the other holds a constant."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from skewguard.causes.relation import (
    ALONE_CHANCE,
    MIN_CELLS,
    MIXED_CELLS,
    SHARE,
    DifferingCells,
    Explained,
    Mask,
    believed,
    fit_evidence,
    is_value,
    joint_codes,
    tail,
)
from skewguard.findings import Cause

_CHANCE = 0.05
"""A null against a value is telling in itself: the constant need only be rarer than accident makes it."""


def null_default(cells: DifferingCells, left: Mask) -> Explained | None:
    """One side is null and the other the most frequent value of such cells; the online side is looked at first.

    Last, online is null for whatever offline has.
    """
    offline, online = is_value(cells.offline), is_value(cells.online)
    nulled = left & offline & ~online
    return (
        _filled(cells, left & ~offline & online, "online") or _filled(cells, nulled, "offline") or _lost(left, nulled)
    )


def _lost(left: Mask, nulled: Mask) -> Explained | None:
    """All values are gone: null is what they are filled with."""
    total = int(nulled.sum())
    if total < MIXED_CELLS or total < SHARE * left.sum():
        return None
    return Explained(Cause.NULL_DEFAULT, nulled, {"filled_side": "online", "fill": None, **fit_evidence(nulled, left)})


def _filled(cells: DifferingCells, candidates: Mask, side: str) -> Explained | None:
    total = int(candidates.sum())
    if total < MIN_CELLS:
        return None
    values = (cells.online if side == "online" else cells.offline).filter(pa.array(candidates))
    population = cells.offline if cells.population is None else cells.population
    codes, known = joint_codes([values, population.filter(pa.array(is_value(population)))])
    counts = np.bincount(codes)
    fill = int(counts.argmax())
    hits = int(counts[fill])
    chance = tail(hits - 1, total - 1, float(np.mean(known == fill)) if len(known) else 0.0)
    if not believed(hits, total, chance * ALONE_CHANCE / _CHANCE, chance):
        return None
    fits = candidates.copy()
    fits[candidates] = codes == fill
    text = str(values[int(np.argmax(codes == fill))].as_py())
    evidence = {"filled_side": side, "fill": text, **fit_evidence(fits, candidates)}
    return Explained(Cause.NULL_DEFAULT, fits, evidence)
