"""The nights before: their profiles in files, and how far nights lie apart without anything being wrong.

One file a night, ``<root>/<as-of time>.json``. Nights differ by more than chance (weekdays, campaigns): how much more
is measured on the nights themselves, and tonight must lie further out than any of them did.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from skewguard.contract import iso
from skewguard.drift.sample import Sample, pooled
from skewguard.errors import ConfigurationError
from skewguard.files import write_atomically
from skewguard.profile import Bins, ColumnProfile

FEWEST = 3
"""Nights before tonight that a comparison needs."""
KEPT = 60
"""Days of which a file stays."""
VERSION = 1


@dataclass(frozen=True)
class NightProfile:
    """The profiles of what was served in a span, by full feature name. Times in UTC.

    ``columns`` are over the bins of the nights before, so that nights compare; ``renewed`` over the contract's, where
    these are others since a training set was built: after a few nights they take over.
    """

    since: datetime
    until: datetime
    rows: int
    columns: Mapping[str, ColumnProfile]
    renewed: Mapping[str, ColumnProfile] = field(default_factory=dict)

    def over(self, name: str, bins: Bins) -> ColumnProfile | None:
        """The night's profile of a column over these bins."""
        known = (profiles[name] for profiles in (self.columns, self.renewed) if name in profiles)
        return next((profile for profile in known if profile.bins == bins), None)


def bins_of(nights: Sequence[NightProfile], contract: Mapping[str, Bins]) -> dict[str, Bins]:
    """The bins of each column over which tonight compares with the nights before, newest first.

    The contract's where there are no nights, or ``FEWEST`` of them have them; else those of the latest night.
    """
    found = dict(contract)
    for name, profile in nights[0].columns.items() if nights else ():
        renewed = [night for night in nights if name in contract and night.over(name, contract[name]) is not None]
        if len(renewed) < FEWEST:
            found[name] = profile.bins
    return found


def save_night(root: Path, night: NightProfile) -> Path:
    """Write a night, whole or not at all, over one of the same end.

    Of each day the first one stays (a check by hand at noon must not take the place of the night's), and the newest;
    days beyond ``KEPT`` go.
    """
    path = root / f"{night.until:%Y%m%dT%H%M%S}.json"
    document: dict[str, Any] = {
        "version": VERSION,
        "since": iso(night.since),
        "until": iso(night.until),
        "rows": night.rows,
        "columns": {name: profile.to_dict() for name, profile in night.columns.items()},
        "renewed": {name: profile.to_dict() for name, profile in night.renewed.items()},
    }
    write_atomically(path, json.dumps(document, sort_keys=True, ensure_ascii=False) + "\n")
    first_of_day: dict[str, Path] = {}
    known = sorted(root.glob("*.json"))
    for found in known:
        first_of_day.setdefault(found.name[:8], found)
    kept = {*sorted(first_of_day.values())[-KEPT:], known[-1], path}
    for old in set(known) - kept:
        old.unlink(missing_ok=True)
    return path


def nights_before(root: Path, since: datetime, most: int) -> list[NightProfile]:
    """The latest nights that ended before ``since``, newest first, of which no two share a moment.

    Raises ConfigurationError naming a file that is no night.
    """
    found: list[NightProfile] = []
    end = since
    for path in sorted(root.glob("*.json"), reverse=True) if most else ():
        night = _load(path)
        if night is not None and night.until <= end:
            found.append(night)
            end = night.since
        if len(found) == most:
            break
    return found


def _load(path: Path) -> NightProfile | None:
    """A night; None for one of another version."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != VERSION:
            return None
        since, until = (datetime.fromisoformat(data[name]) for name in ("since", "until"))
        columns, renewed = (
            {name: ColumnProfile.from_dict(profile) for name, profile in data.get(part, {}).items()}
            for part in ("columns", "renewed")
        )
        return NightProfile(since, until, data["rows"], columns, renewed)
    except FileNotFoundError:
        return None
    except ConfigurationError:
        return None  # a profile of another version does not compare: as if the night were not there
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path}: not a night's profile ({type(error).__name__}: {error}); remove it, and the nights go on without."
        ) from error


@dataclass(frozen=True)
class Baseline:
    """The nights before as one profile, ``spread`` (how much more than by chance they vary, at least 1), and ``most``
    (how far the outermost of them lies from the others, by what chance alone would give).
    """

    profile: ColumnProfile
    nights: int
    spread: float
    most: float


def baseline(nights: Sequence[ColumnProfile]) -> Baseline | None:
    """The nights of one column over the same bins; None with fewer than ``FEWEST``."""
    if len(nights) < FEWEST:
        return None
    apart = [distance(_merged([*nights[:i], *nights[i + 1 :]]), night) for i, night in enumerate(nights)]
    return Baseline(_merged(nights), len(nights), max(1.0, float(np.mean(apart))), max(apart))


def _merged(profiles: Sequence[ColumnProfile]) -> ColumnProfile:
    whole = profiles[0]
    for profile in profiles[1:]:
        whole = whole.merged(profile)
    return whole


def distance(reference: ColumnProfile, current: ColumnProfile) -> float:
    """Squared difference of the cells' shares, each by its own variance: 1 on average under chance alone."""
    ours, theirs = Sample.of(reference), Sample.of(current)
    kept = (ours.counts + theirs.counts) > 0
    ours, theirs = ours.among(kept), theirs.among(kept)
    if not ours.rows or not theirs.rows or kept.sum() < 2:
        return 0.0
    shares = pooled(ours, theirs)
    expected = (np.diag(ours.covariance(shares) + theirs.covariance(shares)) / shares).sum()
    return float((((theirs.shares - ours.shares) ** 2) / shares).sum() / expected) if expected > 0 else 0.0


def unlike_nights(before: Baseline, tonight: ColumnProfile) -> bool:
    """Does tonight lie further from the nights before than any of them did from the others?"""
    return distance(before.profile, tonight) > before.most
