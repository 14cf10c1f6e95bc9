"""A one-to-one renaming of categories."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from skewguard import dtypes
from skewguard.causes.relation import (
    ALONE_CHANCE,
    MIN_CELLS,
    SHARE,
    DifferingCells,
    Explained,
    Floats,
    Integers,
    Mask,
    believed,
    fit_evidence,
    joint_codes,
    tail,
)
from skewguard.findings import Cause

MAX_CATEGORIES = 1000
_NEW_NAMES = 0.01
"""Names that the feature never had are telling in themselves: enough chance for a renaming that stands alone."""
SHOWN = 20
"""So many entries of a mapping are kept as evidence, the most frequent first."""


@dataclass(frozen=True)
class _Mapping:
    """A one-to-one mapping between codes: from ``sources[i]`` to ``targets[i]`` in ``counts[i]`` cells."""

    sources: Integers
    targets: Integers
    counts: Integers


def category_recode(cells: DifferingCells, left: Mask) -> Explained | None:
    """Every category became another one, no two the same; see docs/causes.md for what makes it believed.

    Categories are texts, bytes, booleans and whole numbers (numbers only become categories that there are already: an
    encoder that was refitted). There are at most ``MAX_CATEGORIES`` of them, each twice in the mean.
    """
    candidates = left & cells.valid() & _is_category(cells)
    total = int(candidates.sum())
    if total < MIN_CELLS:
        return None
    chosen = pa.array(candidates)
    known = cells.offline if cells.population is None else cells.population
    offline, online, population = joint_codes([cells.offline.filter(chosen), cells.online.filter(chosen), known])
    size = int(max(part.max(initial=0) for part in (offline, online, population))) + 1
    if len(np.unique(offline)) > min(MAX_CATEGORIES, total / 2):
        return None
    mapping = _one_to_one(offline, online, size)
    of_known = np.bincount(population, minlength=size) / max(1, len(population))
    if not _plausible(cells, mapping, of_known):
        return None
    inside = np.isin(offline * size + online, mapping.sources * size + mapping.targets)
    if not (
        _renamed_together(mapping, offline, online, population, int(inside.sum()))
        or _everywhere(cells, offline, online, int(inside.sum()))
        or _renamed_alone(cells, mapping, online, of_known)
    ):
        return None
    fits = np.zeros(len(candidates), dtype=bool)
    fits[candidates] = inside
    evidence = {"mapping": _shown(cells, chosen, mapping, (offline, online)), "categories": len(mapping.sources)}
    return Explained(Cause.CATEGORY_RECODE, fits, {**evidence, **fit_evidence(fits, candidates)})


def _is_category(cells: DifferingCells) -> Mask:
    if cells.dtype in dtypes.FLOATS:
        sides = [np.asarray(side.to_numpy(zero_copy_only=False)) for side in (cells.offline, cells.online)]
        whole: Mask = np.logical_and.reduce([np.isfinite(side) & (np.trunc(side) == side) for side in sides])
        return whole
    fits = cells.dtype in dtypes.INTEGERS or cells.dtype in ("STRING", "BYTES", "BOOL")
    return np.full(len(cells.offline), fits)


def _one_to_one(offline: Integers, online: Integers, size: int) -> _Mapping:
    """The pairs of which each is the most frequent one of both its categories."""
    pairs, counts = np.unique(offline * size + online, return_counts=True)
    sources, targets = np.divmod(pairs, size)
    best = _most_frequent(sources, targets, counts) & _most_frequent(targets, sources, counts)
    order = np.argsort(-counts[best], kind="stable")
    return _Mapping(sources[best][order], targets[best][order], counts[best][order])


def _most_frequent(of: Integers, other: Integers, counts: Integers) -> Mask:
    """Marks the first most frequent entry of each value of ``of``."""
    order = np.lexsort((other, -counts, of))
    first = np.ones(len(of), dtype=bool)
    first[1:] = of[order][1:] != of[order][:-1]
    marks = np.zeros(len(of), dtype=bool)
    marks[order[first]] = True
    return marks


def _plausible(cells: DifferingCells, mapping: _Mapping, of_known: Floats) -> bool:
    if cells.dtype not in dtypes.NUMBERS:
        return True
    return float(np.mean(of_known[mapping.targets] > 0)) >= SHARE


def _renamed_together(mapping: _Mapping, offline: Integers, online: Integers, known: Integers, hits: int) -> bool:
    """Two or more categories, each time to the same other one: more often than values dealt at random would be.

    The first cell of a category says what it became; the others have to agree. Dealt at random (and never equal, for
    these cells differ) they agree as often as that online value comes up; where none was mapped, the most frequent one.
    """
    if len(mapping.sources) < 2:
        return False
    total = len(offline)
    dealt = np.bincount(online, minlength=int(max(offline.max(), online.max())) + 1) / total
    agree = np.full(len(dealt), dealt.max())
    agree[mapping.sources] = dealt[mapping.targets]
    rates = np.minimum(1.0, agree[offline] / np.maximum(1e-12, 1 - dealt[offline]))
    tries = total - len(np.unique(offline))
    chance = tail(hits - len(mapping.sources), tries, float(rates.mean()))
    if np.isin(mapping.targets, np.union1d(offline, known)).any():
        return believed(hits, total, chance)
    chance = min(1.0, 2 * min(chance, _dealt_alike(mapping.counts, total)))  # the better of two tests
    return believed(hits, total, chance * ALONE_CHANCE / _NEW_NAMES, chance)


def _dealt_alike(counts: Integers, total: int) -> float:
    """The chance that new names, dealt out in any order, fall together with the categories as they do.

    Of all orders of the cells that the mapping explains, those that give a one-to-one mapping with these counts; times
    the ways to choose which cells the mapping is to explain. Exact where a few categories make up nearly all cells.
    """
    hits = int(counts.sum())
    same = np.unique(counts, return_counts=True)[1]
    orders = sum(math.lgamma(n + 1) for n in (*counts, *same)) - math.lgamma(hits + 1)
    chosen = math.lgamma(total + 1) - math.lgamma(hits + 1) - math.lgamma(total - hits + 1)
    return math.exp(min(0.0, orders + chosen))


def _everywhere(cells: DifferingCells, offline: Integers, online: Integers, hits: int) -> bool:
    """Two categories can only become each other: a renaming where nearly every compared row differs."""
    total = len(offline)
    if not cells.rows or hits < MIN_CELLS or hits < SHARE * cells.rows:
        return False
    size = int(max(offline.max(), online.max())) + 1
    equal = float(np.bincount(offline, minlength=size) @ np.bincount(online, minlength=size)) / total**2
    return tail(hits, cells.rows, 1 - equal) <= ALONE_CHANCE


def _renamed_alone(cells: DifferingCells, mapping: _Mapping, online: Integers, of_known: Floats) -> bool:
    """One category alone has a new name: (nearly) all of its rows, and no other rows."""
    if len(mapping.sources) != 1 or not cells.rows:
        return False
    rate, count = float(of_known[mapping.sources[0]]), int(mapping.counts[0])
    new = of_known[mapping.targets[0]] == 0 and count >= SHARE * int((online == mapping.targets[0]).sum())
    return bool(new) and count >= SHARE * rate * cells.rows and believed(count, count, tail(count, count, rate))


def _shown(
    cells: DifferingCells, chosen: pa.Array, mapping: _Mapping, codes: tuple[Integers, Integers]
) -> dict[str, Any]:
    """The most frequent entries of the mapping, as text."""
    offline, online = cells.offline.filter(chosen), cells.online.filter(chosen)
    shown: dict[str, Any] = {}
    for source, target in zip(mapping.sources[:SHOWN], mapping.targets[:SHOWN], strict=True):
        at = int(np.argmax((codes[0] == source) & (codes[1] == target)))
        shown[_text(offline[at].as_py())] = _text(online[at].as_py())
    return shown


def _text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
