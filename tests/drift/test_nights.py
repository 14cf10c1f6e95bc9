from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from skewguard.drift.column import compare_column
from skewguard.drift.nights import (
    KEPT,
    NightProfile,
    baseline,
    bins_of,
    distance,
    nights_before,
    save_night,
    unlike_nights,
)
from skewguard.errors import ConfigurationError
from skewguard.profile import ColumnProfile, make_bins, profile_column

DAY = timedelta(days=1)
MONDAY = datetime(2026, 6, 1, 3, tzinfo=UTC)
BINS = make_bins(pa.array(np.random.default_rng(0).normal(size=5000)))


def profile(seed: int, shift: float = 0.0, rows: int = 2000) -> ColumnProfile:
    return profile_column(pa.array(np.random.default_rng(seed).normal(size=rows) + shift), BINS)


def night(number: int, length: timedelta = DAY) -> NightProfile:
    end = MONDAY + number * DAY
    return NightProfile(end - length, end, 2000, {"v__f": profile(number)})


def test_nights_come_back_newest_first_without_overlap(tmp_path: Path) -> None:
    for number in (1, 2, 3, 4):
        save_night(tmp_path, night(number))
    save_night(tmp_path, NightProfile(MONDAY + 2.5 * DAY, MONDAY + 3.5 * DAY, 1, {}))  # a run at noon
    found = nights_before(tmp_path, MONDAY + 3 * DAY, 7)
    assert [n.until for n in found] == [MONDAY + n * DAY for n in (3, 2, 1)]
    assert found[0].columns["v__f"] == profile(3)
    assert [n.until for n in nights_before(tmp_path, MONDAY + 4 * DAY, 2)] == [MONDAY + 4 * DAY, MONDAY + 3 * DAY]
    assert nights_before(tmp_path, MONDAY + 4 * DAY, 0) == []
    assert nights_before(tmp_path / "none", MONDAY, 7) == []


def test_the_same_night_again_replaces_and_old_ones_go(tmp_path: Path) -> None:
    for number in range(KEPT + 5):
        save_night(tmp_path, night(number))
    save_night(tmp_path, night(KEPT + 4))
    assert len(list(tmp_path.glob("*.json"))) == KEPT
    assert nights_before(tmp_path, MONDAY + 100 * DAY, 1)[0].until == MONDAY + (KEPT + 4) * DAY


def test_checks_by_the_hour_leave_a_night_a_day(tmp_path: Path) -> None:
    for hour in range(24 * 5):
        end = MONDAY + timedelta(hours=hour)
        save_night(tmp_path, NightProfile(end - DAY, end, 1, {}))
    assert len(list(tmp_path.glob("*.json"))) == 6 + 1
    found = nights_before(tmp_path, MONDAY + timedelta(hours=119) - DAY, 7)
    assert len(found) == 4


def test_the_bins_of_a_new_contract_take_over_after_three_nights(tmp_path: Path) -> None:
    """Until then nights compare over the bins that they have; a column that is new has the contract's at once."""
    other = make_bins(pa.array(np.random.default_rng(1).normal(size=5000) * 10))
    contract = {"v__f": other, "v__new": other}
    assert bins_of([], contract) == contract
    for number in range(6):
        renewed = {"v__f": profile_column(pa.array([1.0, 2.0]), other)} if number >= 3 else {}
        save_night(tmp_path, replace(night(number), renewed=renewed))
        nights = nights_before(tmp_path, MONDAY + number * DAY, 7)
        assert bins_of(nights, contract) == {"v__f": other if number == 5 else BINS, "v__new": other}, number
    assert nights[0].over("v__f", other) == renewed["v__f"]
    assert nights[0].over("v__f", BINS) == profile(5)
    assert nights[-1].over("v__f", other) is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = save_night(tmp_path, night(1))
    path.write_text(path.read_text()[:50])
    with pytest.raises(ConfigurationError, match=f"{path}: not a night's profile"):
        nights_before(tmp_path, MONDAY + 5 * DAY, 7)


def test_a_baseline_needs_three_nights() -> None:
    assert baseline([profile(1), profile(2)]) is None
    found = baseline([profile(1), profile(2), profile(3)])
    assert found is not None
    assert (found.nights, found.profile.rows) == (3, 6000)


def test_nights_that_vary_by_chance_alone_count_in_full() -> None:
    apart = [distance(profile(i), profile(100 + i)) for i in range(200)]
    assert np.mean(apart) == pytest.approx(1.0, abs=0.1)
    spreads = [found.spread for i in range(30) if (found := baseline([profile(1000 * i + j) for j in range(7)]))]
    assert np.median(spreads) < 1.3


def test_weekends_make_room_and_what_lies_beyond_them_is_still_seen() -> None:
    """Nights whose means differ by a tenth of a standard deviation are no news; one by a half is."""
    shifts = [0.0, 0.1, -0.1, 0.05, -0.05, 0.1, -0.08]
    found = baseline([profile(i, shift) for i, shift in enumerate(shifts)])
    assert found is not None
    assert found.spread > 1.5

    def alarm(seed: int, shift: float) -> bool:
        tonight = profile(seed, shift)
        return unlike_nights(found, tonight) and compare_column(found.profile, tonight, found.spread).chance < 0.001

    assert not any(alarm(50 + i, 0.08) for i in range(20))
    assert all(alarm(80 + i, 0.5) for i in range(20))
