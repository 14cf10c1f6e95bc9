"""The column holds the values of another column of the same rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.causes.relation import (
    MIN_CELLS,
    DifferingCells,
    Explained,
    Floats,
    Integers,
    Mask,
    OtherColumns,
    believed,
    distinct,
    fit_evidence,
    is_value,
    joint_codes,
    spread,
    tail,
)
from skewguard.findings import Cause

_MUTUAL = 0.5
"""Of the cells that hold the other column's value, so many of the other column's hold this one's."""
_TEXTS = frozenset({"STRING", "UUID", "TIME_UUID", "DECIMAL", "ZONED_TIMESTAMP"})


def swapped(cells: DifferingCells, left: Mask) -> Explained | None:
    """Two columns hold each other's values."""
    return _held(cells, left, mutual=True)


def copied(cells: DifferingCells, left: Mask) -> Explained | None:
    """The column holds another one's values, which need not hold its own."""
    return _held(cells, left, mutual=False)


def _held(cells: DifferingCells, left: Mask, *, mutual: bool) -> Explained | None:
    candidates = left & (is_value(cells.offline) | is_value(cells.online))
    positions = np.flatnonzero(candidates)
    if cells.others is None or len(positions) < MIN_CELLS:
        return None
    names = [name for name, dtype in cells.others.dtypes.items() if _comparable(cells.dtype, dtype)]
    some = spread(positions)
    scores = _scores(cells, cells.others, names, some)
    for name in sorted(names, key=lambda n: -scores[n][0]):
        hits, chance = scores[name]
        if not believed(hits, len(some), chance * len(names)):
            continue
        back = _share_back(cells, cells.others, name, some)
        if mutual and back < _MUTUAL:
            continue
        fits = np.zeros(len(left), dtype=bool)
        (other,) = cells.others.offline([name], positions)
        fits[positions] = _same(cells.online.take(pa.array(positions)), other)
        evidence = {"column": name, "and_back": round(back, 4), **fit_evidence(fits, candidates)}
        return Explained(Cause.COLUMN_SWAP, fits, evidence)
    return None


def _scores(
    cells: DifferingCells, others: OtherColumns, names: list[str], some: Integers
) -> dict[str, tuple[int, float]]:
    """By column: how many of the cells hold its value, and the chance of that if its rows were dealt at random."""
    online = cells.online.take(pa.array(some))
    scores = {}
    for name, other in zip(names, others.offline(names, some), strict=True):
        equal = _same(online, other)
        there = equal & is_value(online)
        if distinct(online, there) < 2:  # a constant is held by every column that has it
            scores[name] = (0, 1.0)
            continue
        hits = int(equal.sum())
        rates = _rates(online, others.population(name), equal)
        chance = float(np.exp(np.log(rates).sum())) if hits == len(some) else tail(hits, len(some), float(rates.mean()))
        scores[name] = (hits, chance)
    return scores


def _rates(online: pa.Array, population: pa.Array, equal: Mask) -> Floats:
    """How often a row of the other column, drawn at random, has the online value; the row's own is left out.

    Few rows do not show how often a value comes up: where values repeat, each does at least as often as in the mean,
    and any does in one row more than there are.
    """
    values, known = joint_codes(_as_one_type(online, population))
    counts = np.bincount(known, minlength=int(values.max(initial=0)) + 1)
    different = int((counts > 0).sum())
    repeated = 1 - different / max(1, len(known))
    drawn = np.maximum(0, counts[values] - equal) / max(1, len(known) - 1)
    least = max(repeated / max(1, different), 1 / (len(known) + 1))
    return np.minimum(1.0, np.maximum(drawn, least))


def _as_one_type(left: pa.Array, right: pa.Array) -> list[pa.Array]:
    """Both as the type that the narrower of them tells apart; a float as a whole number is cut, as Feast cuts it."""
    if pa.types.is_timestamp(left.type):
        return [pc.floor_temporal(side, unit="second") for side in (left, right)]
    if not (_is_number(left) and _is_number(right)):
        return [left, right]
    if pa.types.is_integer(left.type) or pa.types.is_integer(right.type):
        return [_whole(side) for side in (left, right)]
    narrow = pa.float32() if pa.float32() in (left.type, right.type) else pa.float64()
    return [pc.add(side.cast(narrow, safe=False), pa.scalar(0, narrow)) for side in (left, right)]  # -0 is 0


def _is_number(array: pa.Array) -> bool:
    return bool(pa.types.is_integer(array.type) or pa.types.is_floating(array.type))


def _whole(array: pa.Array) -> pa.Array:
    return array.cast(pa.int64()) if pa.types.is_integer(array.type) else pc.trunc(array).cast(pa.int64(), safe=False)


def _share_back(cells: DifferingCells, others: OtherColumns, name: str, some: Integers) -> float:
    """Of the cells that hold the other column's value, the share in which that column holds this one's."""
    (theirs,), (stored,) = others.offline([name], some), others.online([name], some)
    taken = _same(cells.online.take(pa.array(some)), theirs)
    back = _same(stored, cells.offline.take(pa.array(some)))
    return float((taken & back).sum() / max(1, taken.sum()))


def _comparable(dtype: str, other: str) -> bool:
    return dtype == other or all(d in dtypes.NUMBERS for d in (dtype, other)) or {dtype, other} <= _TEXTS


def _same(left: pa.Array, right: pa.Array) -> Mask:
    """Element by element: equal values (as far as the narrower type tells them apart), or both null."""
    there = is_value(left), is_value(right)
    equal = np.equal(*joint_codes(_as_one_type(left, right)))
    return np.asarray((there[0] & there[1] & equal) | ~(there[0] | there[1]))
