"""Cell rules: why a value differs although both sides hold the same row (equal event timestamps).

The rules run from the most specific to the least; each takes the cells that it explains and leaves the rest. Relations
between the columns (a factor, an offset, a cast, a fill) are fitted with the median and must hold for ``SHARE`` of the
cells left, over at least ``MIN_CELLS`` cells and two different offline values, so that a few odd cells neither create
nor hide one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from skewguard import dtypes
from skewguard.findings import Cause

_PLAUSIBLE = (1e-18, 1e18)
"""A factor between units lies in here; beyond, it is bits read as another type."""
SHARE = 0.9
MIN_CELLS = 3
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DifferingCells:
    """The differing cells of one feature, aligned arrays of one length.

    ``offline``, ``online``: values in the feature's Arrow type. ``states``: "absent", "null", "value" or "corrupt".
    ``superseded``: the online value is that of an offline row with the same key and event timestamp that lost the
    created-timestamp tie. ``created_late``: the offline row was created after the watermark.
    """

    dtype: str
    offline: pa.Array
    online: pa.Array
    states: npt.NDArray[np.str_]
    superseded: Mask
    created_late: Mask


@dataclass(frozen=True)
class Explained:
    """Which cells a rule explains, and the evidence for it."""

    cause: Cause
    mask: Mask
    evidence: dict[str, Any]


def explain(cells: DifferingCells) -> list[Explained]:
    """Give every cell exactly one cause; the masks are disjoint and together cover every cell."""
    left = np.ones(len(cells.offline), dtype=bool)
    found: list[Explained] = []
    for rule in _RULES:
        explained = rule(cells, left)
        if explained is not None and explained.mask.any():
            found.append(explained)
            left &= ~explained.mask
    if left.any():
        found.append(Explained(Cause.UNEXPLAINED, left, {}))
    return found


def _corrupt(cells: DifferingCells, left: Mask) -> Explained:
    return Explained(Cause.CORRUPT_VALUE, left & (cells.states == "corrupt"), {})


def _never_written(cells: DifferingCells, left: Mask) -> Explained:
    return Explained(Cause.FIELD_NEVER_WRITTEN, left & (cells.states == "absent"), {})


def _superseded(cells: DifferingCells, left: Mask) -> Explained:
    evidence = {"online_value_is": "an earlier created row of the same event timestamp"}
    return Explained(Cause.BLOCKED_CORRECTION, left & cells.superseded, evidence)


def _created_late(cells: DifferingCells, left: Mask) -> Explained:
    evidence = {"offline_row_was": "created after the watermark, under an unchanged event timestamp"}
    return Explained(Cause.BLOCKED_CORRECTION, left & cells.created_late, evidence)


def _as_floats(array: pa.Array, dtype: str) -> Floats | None:
    """Numbers and timestamps (seconds) as float64, null as NaN; None for every other dtype."""
    if dtype in dtypes.NUMBERS:
        return np.asarray(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    return None


def _enough(fits: Mask, candidates: Mask, offline: Floats) -> bool:
    total = int(candidates.sum())
    return (
        total >= MIN_CELLS
        and int(fits.sum()) >= max(MIN_CELLS, SHARE * total)
        and len(np.unique(offline[fits])) >= 2  # one value fits any factor and any offset
    )


def _numeric(
    cells: DifferingCells, left: Mask, fit: Callable[[Floats, Floats], tuple[Mask, dict[str, Any]]], cause: Cause
) -> Explained | None:
    offline, online = _as_floats(cells.offline, cells.dtype), _as_floats(cells.online, cells.dtype)
    if offline is None or online is None:
        return None
    candidates = left & np.isfinite(offline) & np.isfinite(online)
    if candidates.sum() < MIN_CELLS:
        return None
    inside, evidence = fit(offline[candidates], online[candidates])
    fits = np.zeros(len(offline), dtype=bool)
    fits[candidates] = inside
    if not evidence or not _enough(fits, candidates, offline):
        return None
    share = float(fits.sum() / candidates.sum())
    return Explained(cause, fits, {**evidence, "share": round(share, 4), "cells": int(fits.sum())})


def _cast_fit(offline: Floats, online: Floats) -> tuple[Mask, dict[str, Any]]:
    casts = {"float32": offline.astype(np.float32).astype(np.float64), "truncated to a whole number": np.trunc(offline)}
    casts["rounded to a whole number"] = np.round(offline)
    best = max(casts, key=lambda name: int((casts[name] == online).sum()))
    return casts[best] == online, {"cast": best}


def _scale_fit(offline: Floats, online: Floats) -> tuple[Mask, dict[str, Any]]:
    nonzero = offline != 0
    if not nonzero.any():
        return nonzero, {}
    with np.errstate(over="ignore", invalid="ignore"):
        factor = float(np.median(online[nonzero] / offline[nonzero]))
    if not _PLAUSIBLE[0] <= abs(factor) <= _PLAUSIBLE[1]:
        return np.zeros(len(offline), dtype=bool), {}
    factor = _snap(factor)
    # float32 columns carry 6e-8 of relative error on each side
    fits = nonzero & (np.abs(online - factor * offline) <= 1e-6 * np.abs(factor * offline))
    if factor in (0.0, 1.0) or not fits.any():
        return fits, {}
    residual = float(np.max(np.abs(online[fits] - factor * offline[fits])))
    return fits, {"k": factor, "residual": residual}


def _offset_fit(offline: Floats, online: Floats) -> tuple[Mask, dict[str, Any]]:
    offset = float(np.median(online - offline))
    # what rounding can do to the difference of two numbers of this size, and a millionth of the offset itself
    single = bool(np.all(offline == offline.astype(np.float32)) and np.all(online == online.astype(np.float32)))
    rounding = (2.0**-22 if single else 2.0**-50) * np.maximum(np.abs(online), np.abs(offline))
    fits = np.abs(online - offline - offset) <= np.maximum(rounding, 1e-6 * abs(offset))
    if abs(offset) <= float(np.max(rounding)):
        return np.zeros(len(offline), dtype=bool), {}
    if offset == 0 or not fits.any():
        return fits, {}
    return fits, {"c": offset, "residual": float(np.max(np.abs(online[fits] - offline[fits] - offset)))}


def _snap(factor: float) -> float:
    """A factor within 1e-6 of a whole number, or of one over a whole number, is that number."""
    if abs(factor) >= 1 and abs(factor - round(factor)) <= 1e-6 * abs(factor):
        return float(round(factor))
    if 0 < abs(factor) < 1 and abs(1 / factor - round(1 / factor)) <= 1e-6 * abs(1 / factor):
        return 1 / round(1 / factor)
    return factor


def _type_cast(cells: DifferingCells, left: Mask) -> Explained | None:
    return _numeric(cells, left, _cast_fit, Cause.TYPE_CAST)


def _unit_scale(cells: DifferingCells, left: Mask) -> Explained | None:
    return _numeric(cells, left, _scale_fit, Cause.UNIT_SCALE)


def _constant_offset(cells: DifferingCells, left: Mask) -> Explained | None:
    return _numeric(cells, left, _offset_fit, Cause.CONSTANT_OFFSET)


def _timezone_shift(cells: DifferingCells, left: Mask) -> Explained | None:
    if cells.dtype != "UNIX_TIMESTAMP":
        return None
    offline, online = (
        np.asarray(side.cast(pa.int64()).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)) / 1e6
        for side in (cells.offline, cells.online)
    )
    candidates = left & ~np.isnan(offline) & ~np.isnan(online)
    if candidates.sum() < MIN_CELLS:
        return None
    minutes = round(float(np.median((online - offline)[candidates])) / 60)
    fits = candidates & (np.abs(online - offline - 60 * minutes) < 1)
    if not minutes or not _enough(fits, candidates, offline):
        return None
    share = float(fits.sum() / candidates.sum())
    return Explained(Cause.TIMEZONE_SHIFT, fits, {"minutes": minutes, "share": round(share, 4)})


def _null_default(cells: DifferingCells, left: Mask) -> Explained | None:
    offline_null = cells.offline.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    online_null = cells.online.is_null().to_numpy(zero_copy_only=False)
    for filled, mask in (
        ("online", left & offline_null & ~online_null),
        ("offline", left & online_null & ~offline_null),
    ):
        if mask.sum() < MIN_CELLS:
            continue
        values = (cells.online if filled == "online" else cells.offline).filter(pa.array(mask))
        texts = np.array([str(value) for value in values.to_pylist()])
        names, counts = np.unique(texts, return_counts=True)
        if counts.max() < max(MIN_CELLS, SHARE * mask.sum()):
            continue
        fits = mask.copy()
        fits[mask] = texts == names[counts.argmax()]
        evidence = {"filled_side": filled, "fill": str(names[counts.argmax()])}
        return Explained(Cause.NULL_DEFAULT, fits, {**evidence, "share": round(float(fits.sum() / mask.sum()), 4)})
    return None


_RULES: tuple[Callable[[DifferingCells, Mask], Explained | None], ...] = (
    _corrupt,
    _never_written,
    _superseded,
    _created_late,
    _type_cast,
    _unit_scale,
    _constant_offset,
    _timezone_shift,
    _null_default,
)
