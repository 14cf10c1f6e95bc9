"""Cell rules: why a value differs although both sides hold the same row (equal event timestamps).

First what the cell alone tells (its bytes, its state, a correction). Then the relations between columns, from the most
specific to the least: whenever one is believed (see ``relation``) it takes the cells that it explains, and all are
looked at again over the cells that are left, so that several causes on one feature are told apart.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skewguard.causes.categories import category_recode
from skewguard.causes.fills import null_default
from skewguard.causes.numeric import constant_offset, lone_cast, timezone_shift, type_cast, unit_scale
from skewguard.causes.relation import MIN_CELLS, SHARE, DifferingCells, Explained, Mask
from skewguard.causes.swap import copied, swapped
from skewguard.causes.texts import number_text, string_normalization
from skewguard.findings import Cause

__all__ = ["RELATIONS", "DifferingCells", "Explained", "explain"]

_Rule = Callable[[DifferingCells, Mask], Explained | None]
_ROUNDS = 8
"""So many relations at most are named on one feature (two of them may be of one cause, as daylight saving gives)."""


def explain(cells: DifferingCells) -> list[Explained]:
    """Give every cell exactly one cause; the masks are disjoint and together cover every cell."""
    left = np.ones(len(cells.offline), dtype=bool)
    found: list[Explained] = []
    for rule in _TELLING:
        _take(rule(cells, left), left, found)
    for _ in range(_ROUNDS):
        if not _next_relation(cells, left, found):
            break
    for item in found:
        _note_corrections(cells, item)
    for rule in _LAST:
        _take(rule(cells, left), left, found)
    if left.any():
        found.append(Explained(Cause.UNEXPLAINED, left, {}))
    return found


def _next_relation(cells: DifferingCells, left: Mask, found: list[Explained]) -> bool:
    """Let a relation take its cells: the first that stands alone, else the first that stands beside others.

    So codes moved on by one, the last to the first, are a renaming and not an offset with odd rows.
    """
    if left.sum() < MIN_CELLS:
        return False
    beside: Explained | None = None
    for rule in RELATIONS:
        explained = rule(cells, left)
        if explained is None:
            continue
        if explained.evidence["share"] >= SHARE:
            return _take(_wider(cells, left, explained), left, found)
        beside = beside or explained
    return _take(None if beside is None else _wider(cells, left, beside), left, found)


def _wider(cells: DifferingCells, left: Mask, chosen: Explained) -> Explained:
    """Another column, if it explains all that a factor or offset does, and more: it stands so to ours in most rows."""
    if chosen.cause not in (Cause.UNIT_SCALE, Cause.CONSTANT_OFFSET):
        return chosen
    column = copied(cells, left)
    if column is None or (chosen.mask & ~column.mask).any() or column.mask.sum() == chosen.mask.sum():
        return chosen
    return column


def _take(explained: Explained | None, left: Mask, found: list[Explained]) -> bool:
    if explained is None or not explained.mask.any():
        return False
    found.append(explained)
    left &= ~explained.mask
    return True


def _corrupt(cells: DifferingCells, left: Mask) -> Explained:
    return Explained(Cause.CORRUPT_VALUE, left & (cells.states == "corrupt"), {})


def _never_written(cells: DifferingCells, left: Mask) -> Explained:
    return Explained(Cause.FIELD_NEVER_WRITTEN, left & (cells.states == "absent"), {})


def _superseded(cells: DifferingCells, left: Mask) -> Explained:
    evidence = {"online_value_is": "another row of the same event timestamp, created earlier or no later"}
    return Explained(Cause.BLOCKED_CORRECTION, left & cells.superseded, evidence)


def _created_late(cells: DifferingCells, left: Mask) -> Explained:
    evidence = {"offline_row_was": "created after the watermark, under an unchanged event timestamp"}
    return Explained(Cause.BLOCKED_CORRECTION, left & cells.created_late, evidence)


def _note_corrections(cells: DifferingCells, item: Explained) -> None:
    """Many rows corrected by one rule look like a writer's fault: say of how many that may be."""
    if item.cause is Cause.BLOCKED_CORRECTION or cells.corrected is None:
        return
    if count := int((item.mask & cells.corrected).sum()):
        item.evidence["created_after_they_were_materialized"] = count


def _corrected(cells: DifferingCells, left: Mask) -> Explained | None:
    """Last of all: a wrong value of a late row looks the same, unless a relation tells."""
    if cells.corrected is None:
        return None
    evidence = {"offline_row_was": "created after its event timestamp had been materialized"}
    return Explained(Cause.BLOCKED_CORRECTION, left & cells.corrected, evidence)


_TELLING: tuple[_Rule, ...] = (_corrupt, _never_written, _superseded, _created_late)
_LAST: tuple[_Rule, ...] = (lone_cast, _corrected)
RELATIONS: tuple[_Rule, ...] = (
    swapped,
    type_cast,
    string_normalization,
    number_text,
    timezone_shift,
    unit_scale,
    constant_offset,
    null_default,
    copied,
    category_recode,
)
