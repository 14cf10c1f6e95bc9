"""What comes of a column's comparison: its status, which parts of it moved, and how many rows it would have taken."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

from skewguard.drift.alarms import Correction, rows_to_see
from skewguard.drift.column import PARTS, Compared, Part
from skewguard.drift.measures import measured
from skewguard.findings import DriftStats
from skewguard.profile import OTHER, SHOWN_CATEGORIES, ColumnProfile

_LEAST = 1e-300


class Limits(Protocol):
    """What the check takes from policy (``drift``)."""

    @property
    def budget(self) -> float: ...  # noqa: D102
    @property
    def correction(self) -> Correction: ...  # noqa: D102
    @property
    def min_effect(self) -> float: ...  # noqa: D102
    @property
    def min_rate_change(self) -> float: ...  # noqa: D102
    @property
    def min_auc(self) -> float: ...  # noqa: D102
    @property
    def detect(self) -> float: ...  # noqa: D102


@dataclass(frozen=True)
class Comparison:
    """One column of one population against one reference, as profiles over the same bins.

    ``spread``: how much more than by chance such references vary. ``usual``: tonight lies no further out than earlier
    nights did, so that nothing is an alarm. ``slice`` is ``""`` or ``<attribute> = <value>``.
    """

    view: str
    feature: str
    dtype: str
    against: str
    reference: ColumnProfile
    current: ColumnProfile
    slice: str = ""
    spread: float = 1.0
    usual: bool = False


@dataclass(frozen=True)
class Judged:
    """A comparison and what came of it. ``far``: the parts that moved surely and far enough, the furthest first."""

    comparison: Comparison
    compared: Compared
    stats: DriftStats
    far: tuple[Part, ...] = ()


def floor_of(part: str, limits: Limits) -> float:
    """The least effect of a part that matters."""
    return limits.min_effect if part == "values" else limits.min_rate_change


def _parts(compared: Compared, surely: float, limits: Limits) -> list[Part]:
    """The parts that may be told: those that are sure by themselves, the one furthest beyond what matters first; else
    the least likely one.
    """
    total = sum(PARTS[part.name] for part in compared.parts)
    shares = {part.name: part.chance * total / PARTS[part.name] for part in compared.parts}
    sure = [part for part in compared.parts if shares[part.name] <= surely]
    if sure:
        return sorted(sure, key=lambda part: -part.effect / max(floor_of(part.name, limits), 1e-9))
    return [min(compared.parts, key=lambda part: shares[part.name])]


def judge(
    comparison: Comparison, compared: Compared, chances: tuple[float, float, float, float], limits: Limits
) -> Judged:
    """``chances``: the comparison's own, the adjusted one, what one test alone may have, the level."""
    surely = chances[1] <= chances[3]
    parts = _parts(compared, chances[2] if surely else 0.0, limits)
    far = tuple(part for part in parts if surely and part.effect >= floor_of(part.name, limits))
    return Judged(comparison, compared, _stats(comparison, compared, chances, (parts[0], limits)), far)


def _stats(
    comparison: Comparison, compared: Compared, chances: tuple[float, float, float, float], told: tuple[Part, Limits]
) -> DriftStats:
    chance, q, alone, level = chances
    part, limits = told
    reference, current = comparison.reference, comparison.current
    floor = floor_of(part.name, limits)
    needed, lacking = _needed(comparison, compared, alone, limits)
    status = _status(q <= level, part.effect >= floor, lacking)
    labels, ours, theirs = _bars(reference, current)
    return DriftStats(
        view=comparison.view,
        feature=comparison.feature,
        dtype=comparison.dtype,
        against=comparison.against,
        slice=comparison.slice,
        status=status,
        part=part.name,
        p_value=max(chance, _LEAST),
        q_value=max(q, _LEAST),
        level=level,
        effect=part.effect,
        min_effect=floor,
        reference_rows=reference.rows,
        current_rows=current.rows,
        reference_effective=round(compared.reference_effective, 1),
        current_effective=round(compared.current_effective, 1),
        rows_needed=needed,
        reference_nulls=reference.nulls + reference.nans,
        current_nulls=current.nulls + current.nans,
        labels=labels,
        reference=ours,
        current=theirs,
        measures=measured(reference, current),
        reference_missing=reference.missing,
        current_missing=current.missing,
    )


def _status(surely: bool, far: bool, lacking: bool) -> str:
    if surely:
        return "drifted" if far else "small"
    return "inconclusive" if lacking else "same"


def _needed(comparison: Comparison, compared: Compared, alone: float, limits: Limits) -> tuple[int, bool]:
    """Rows of the current side that would show a change of ``limits.detect``, and whether there are too few.

    For numbers a shift of all values that moves so large a share past the median; for categories a move of the
    commonest one. As many more as repeated entities make necessary; where the reference is small, rows of both sides.
    """
    if comparison.reference.bins.ordered:
        spread = limits.detect**2 / (2 * NormalDist().inv_cdf((1 + limits.detect) / 2)) ** 2
    else:
        spread = max((share * (1 - share) for share in compared.shares), default=0.25)
    wanted = rows_to_see(limits.detect, spread, alone) * max(comparison.spread, 1.0)
    known, held = compared.reference_effective, compared.current_effective
    there = known * held / (known + held) if known and held else 0.0
    independent = wanted * known / (known - wanted) if known > 2 * wanted else 2 * wanted
    repeated = comparison.current.rows / held if held else 1.0
    return math.ceil(independent * max(repeated, 1.0)), there < wanted


def _bars(reference: ColumnProfile, current: ColumnProfile) -> tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]:
    """Labels and counts of both sides for a chart: as many categories as fit one, the others together."""
    labels = reference.bins.labels()
    if reference.bins.ordered or len(labels) <= SHOWN_CATEGORIES + 1:
        return labels, reference.counts, current.counts
    shown = SHOWN_CATEGORIES
    return (
        (*labels[:shown], OTHER),
        (*reference.counts[:shown], sum(reference.counts[shown:])),
        (*current.counts[:shown], sum(current.counts[shown:])),
    )
