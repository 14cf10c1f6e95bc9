"""Relations of numbers and timestamps: a cast, a factor, an offset, a time zone.

A factor or an offset is the most frequent one (the fullest window of the width that rounding allows), not a mean or a
median, so that neither odd values nor a second relation on the same feature move it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from skewguard import dtypes
from skewguard.causes.relation import (
    MIN_CELLS,
    DifferingCells,
    Explained,
    Floats,
    Integers,
    Mask,
    as_floats,
    distinct,
    fit_evidence,
    holds,
)
from skewguard.findings import Cause

_PLAUSIBLE = (1e-18, 1e18)
"""A factor between units lies in here; beyond, it is bits read as another type."""
_ZONES = 26 * 60
"""Two time zones are at most 26 hours apart (UTC-12 and UTC+14)."""

_Fit = Callable[[Floats, Floats, bool], tuple[Mask, dict[str, Any]]]


def most_frequent(values: Floats, width: Floats) -> float:
    """The middle of the fullest window [v, v + width of v] of values; ``width`` is aligned with them."""
    order = np.argsort(values, kind="stable")
    sorted_values = values[order]
    ends = np.searchsorted(sorted_values, sorted_values + width[order], side="right")
    first = int(np.argmax(ends - np.arange(len(values))))
    return float(np.median(sorted_values[first : ends[first]]))


def _fitted(cells: DifferingCells, left: Mask, fit: _Fit, cause: Cause) -> Explained | None:
    offline, online = as_floats(cells.offline, cells.dtype), as_floats(cells.online, cells.dtype)
    if offline is None or online is None:
        return None
    candidates = left & np.isfinite(offline) & np.isfinite(online)
    if candidates.sum() < MIN_CELLS:
        return None
    inside, evidence = fit(offline[candidates], online[candidates], cells.dtype == "UNIX_TIMESTAMP")
    fits = np.zeros(len(offline), dtype=bool)
    fits[candidates] = inside
    if not evidence or distinct(cells.offline, fits) < 2 or not holds(cells, fits, candidates):
        return None
    return Explained(cause, fits, {**evidence, **fit_evidence(fits, candidates)})


def unit_scale(cells: DifferingCells, left: Mask) -> Explained | None:
    """Online = k x offline (of timestamps: k a power of 1000, seconds read as milliseconds and the like)."""
    return _fitted(cells, left, _scale_fit, Cause.UNIT_SCALE)


def constant_offset(cells: DifferingCells, left: Mask) -> Explained | None:
    """Online = offline + c (of timestamps: c in seconds)."""
    if cells.dtype in dtypes.INTEGERS:
        return _whole_offset(cells, left)
    return _fitted(cells, left, _offset_fit, Cause.CONSTANT_OFFSET)


def timezone_shift(cells: DifferingCells, left: Mask) -> Explained | None:
    """Timestamps that differ by a whole number of minutes, as two time zones do; daylight saving gives a second one."""
    if cells.dtype != "UNIX_TIMESTAMP":
        return None
    return _fitted(cells, left, _zone_fit, Cause.TIMEZONE_SHIFT)


def _whole_offset(cells: DifferingCells, left: Mask) -> Explained | None:
    """The same of integers, exactly: float64 has 53 bits for their 64."""
    candidates = left & cells.valid()
    if candidates.sum() < MIN_CELLS:
        return None
    offline, online = _integers(cells)
    differences = online - offline  # wraps round where it overflows, on every row alike
    values, counts = np.unique(differences[candidates], return_counts=True)
    offset = int(values[counts.argmax()])
    fits = candidates & (differences == offset)
    if distinct(cells.offline, fits) < 2 or not holds(cells, fits, candidates):
        return None
    return Explained(Cause.CONSTANT_OFFSET, fits, {"c": offset, "residual": 0.0, **fit_evidence(fits, candidates)})


def _integers(cells: DifferingCells) -> list[Integers]:
    return [
        np.asarray(side.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
        for side in (cells.offline, cells.online)
    ]


def _scale_fit(offline: Floats, online: Floats, stamps: bool) -> tuple[Mask, dict[str, Any]]:
    nothing: tuple[Mask, dict[str, Any]] = (np.zeros(len(offline), dtype=bool), {})
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        ratios = online / offline
    usable = (offline != 0) & (np.abs(ratios) >= _PLAUSIBLE[0]) & (np.abs(ratios) <= _PLAUSIBLE[1])
    if not usable.any():
        return nothing
    factor = _snap(most_frequent(ratios[usable], 2e-6 * np.abs(ratios[usable])))
    if stamps:
        factor = 1000.0 ** round(np.log(abs(factor)) / np.log(1000))
    if factor in (0.0, 1.0):
        return nothing
    # float32 columns carry 6e-8 of relative error on each side; timestamps are whole seconds
    bound = np.maximum(1e-6 * np.abs(factor * offline), 1.0 if stamps else 0.0)
    fits = usable & (np.abs(online - factor * offline) <= bound)
    if not fits.any():
        return nothing
    return fits, {"k": factor, "residual": float(np.max(np.abs(online[fits] - factor * offline[fits])))}


def _snap(factor: float) -> float:
    """A factor within 1e-6 of a whole number, or of one over a whole number, is that number."""
    if abs(factor) >= 1 and abs(factor - round(factor)) <= 1e-6 * abs(factor):
        return float(round(factor))
    if 0 < abs(factor) < 1 and abs(1 / factor - round(1 / factor)) <= 1e-6 * abs(1 / factor):
        return 1 / round(1 / factor)
    return factor


def _offset_fit(offline: Floats, online: Floats, stamps: bool) -> tuple[Mask, dict[str, Any]]:
    with np.errstate(over="ignore"):
        differences = online - offline
    # what rounding can do to the difference of two numbers of this size
    single = (offline == _single(offline)) & (online == _single(online))
    rounding = np.where(single, 2.0**-22, 2.0**-50) * np.maximum(np.abs(online), np.abs(offline))
    if stamps:
        rounding = np.full(len(offline), 1.0)  # whole seconds
    usable = np.isfinite(differences) & (np.abs(differences) > rounding)
    if not usable.any():
        return usable, {}
    width = 2 * np.maximum(rounding, 1e-6 * np.abs(differences))
    offset = most_frequent(differences[usable], width[usable])
    fits = usable & (np.abs(differences - offset) <= np.maximum(rounding, 1e-6 * abs(offset)))
    if offset == 0 or not fits.any():
        return usable, {}
    return fits, {"c": offset, "residual": float(np.max(np.abs(differences[fits] - offset)))}


def _single(values: Floats) -> Floats:
    """The values as float32 holds them."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32).astype(np.float64)


def _zone_fit(offline: Floats, online: Floats, stamps: bool) -> tuple[Mask, dict[str, Any]]:
    differences = online - offline
    minutes = np.round(differences / 60)
    # Feast stores whole seconds, so a sub-second part may be lost on the way
    usable = (minutes != 0) & (np.abs(minutes) <= _ZONES) & (np.abs(differences - 60 * minutes) < 1)
    if not usable.any() or not stamps:
        return usable, {}
    values, counts = np.unique(minutes[usable], return_counts=True)
    shift = int(values[counts.argmax()])
    return usable & (minutes == shift), {"minutes": shift}


def type_cast(cells: DifferingCells, left: Mask) -> Explained | None:
    """Equal after a cast: float32, cut or rounded to a whole number; of integers: float64, float32, int32."""
    offline, online = as_floats(cells.offline, cells.dtype), as_floats(cells.online, cells.dtype)
    if offline is None or online is None or cells.dtype == "UNIX_TIMESTAMP":
        return None
    candidates = left & np.isfinite(offline) & np.isfinite(online)
    casts = _float_casts(offline, online) if cells.dtype in ("FLOAT", "DOUBLE") else _integer_casts(cells)
    if candidates.sum() < MIN_CELLS:
        return None
    found = {name: candidates & equal for name, equal in casts.items()}
    best = max(found, key=lambda name: int(found[name].sum()))
    fits = found[best]
    whole = "to " in best  # zero everywhere is a cut share, or a constant: nothing tells
    if distinct(cells.offline, fits) < 2 or (whole and distinct(cells.online, fits) < 2):
        return None
    if not holds(cells, fits, candidates, fitted=0):
        return None
    return Explained(Cause.TYPE_CAST, fits, {"cast": best, **fit_evidence(fits, candidates)})


def lone_cast(cells: DifferingCells, left: Mask) -> Explained | None:
    """Too few cells for a relation, but each holds what float64 leaves of a large integer, or float32 of a double.

    That zeroes the last bits of the cell's own value, which hardly any other fault does: Feast does it to a whole
    column of integers as soon as one of them is null (feast/utils.py, _columns_to_proto_values).
    """
    if cells.dtype not in ("INT64", "DOUBLE") or left.sum() >= MIN_CELLS or (left & ~cells.valid()).any():
        return None
    offline, online = as_floats(cells.offline, cells.dtype), as_floats(cells.online, cells.dtype)
    if offline is None or online is None:
        return None
    name = "float64" if cells.dtype == "INT64" else "float32"
    fits = (_integer_casts(cells) if name == "float64" else _float_casts(offline, online))[name]
    if not left.any() or (left & ~fits).any():
        return None
    return Explained(Cause.TYPE_CAST, left.copy(), {"cast": name, **fit_evidence(left, left)})


def _float_casts(offline: Floats, online: Floats) -> dict[str, Mask]:
    return {
        "float32": _single(offline) == online,
        "truncated to a whole number": np.trunc(offline) == online,
        "rounded to a whole number": (np.round(offline) == online) | (np.floor(offline + 0.5) == online),
        **{f"rounded to {n} decimal{'s' * (n > 1)}": _to_decimals(offline, online, n) for n in range(1, 5)},
    }


def _to_decimals(offline: Floats, online: Floats, decimals: int) -> Mask:
    """Online has no more decimals, and is no further from offline than half of the last of them."""
    unit = 10.0**-decimals
    with np.errstate(invalid="ignore", over="ignore"):
        short = np.abs(online / unit - np.round(online / unit)) < 1e-6
        fits: Mask = short & (np.abs(offline - online) <= unit / 2 * (1 + 1e-9)) & (np.abs(online) < 1e9)
    return fits


def _integer_casts(cells: DifferingCells) -> dict[str, Mask]:
    offline, online = _integers(cells)
    with np.errstate(invalid="ignore"):  # 2**63 as a float is one past the last int64
        return {
            "float64": offline.astype(np.float64).astype(np.int64) == online,
            "float32": offline.astype(np.float32).astype(np.int64) == online,
            "int32": offline.astype(np.int32) == online,
        }
