import math
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from skewguard.profile import OTHER, Bins, ColumnProfile, make_bins, profile_column


@pytest.mark.parametrize(
    ("array", "rows", "nulls", "nans", "total"),
    [
        (pa.array([], pa.float64()), 0, 0, 0, 0),
        (pa.array([1.0]), 1, 0, 0, 1),
        (pa.array([None, None], pa.int64()), 2, 2, 0, 0),
        (pa.array([2.0] * 5), 5, 0, 0, 5),
        (pa.array([math.nan, math.inf, -math.inf, 1.0, None]), 5, 1, 1, 3),
        (pa.array(["a", "b", "a", None]), 4, 1, 0, 3),
        (pa.array([True, False, None]), 3, 1, 0, 2),
        (pa.array([[1.0], [], None, [1.0, 2.0]]), 4, 1, 0, 3),
        (pa.array([b"a", None]), 2, 1, 0, 1),
        (pa.array([datetime(2020, 1, 1, tzinfo=UTC), None], pa.timestamp("us", "UTC")), 2, 1, 0, 1),
    ],
)
def test_counts_add_up(array: pa.Array, rows: int, nulls: int, nans: int, total: int) -> None:
    profile = profile_column(array)
    assert (profile.rows, profile.nulls, profile.nans, sum(profile.counts)) == (rows, nulls, nans, total)
    assert len(profile.counts) == len(profile.bins.labels())
    assert ColumnProfile.from_dict(profile.to_dict()) == profile


def test_numeric_bins_by_hand() -> None:
    bins = Bins(edges=(0.0, 10.0, 20.0))
    profile = profile_column(pa.array([-1, 0, 9, 10, 19, 20, 99]), bins)
    assert profile.counts == (1, 2, 2, 2)
    assert bins.labels() == ("below 0", "0 to 10", "10 to 20", "20 and above")


def test_categories_beyond_the_bins_are_other() -> None:
    bins = make_bins(pa.array(["a", "a", "b"]))
    assert profile_column(pa.array(["b", "new", None]), bins).counts == (0, 1, 1)
    assert bins.labels() == ("a", "b", OTHER)


def test_profiles_merge_to_the_profile_of_the_whole() -> None:
    left, right = pa.array([1.0, 2.0, None]), pa.array([5.0, math.nan])
    bins = make_bins(left)
    whole = profile_column(pa.concat_arrays([left, right]), bins)
    assert profile_column(left, bins).merged(profile_column(right, bins)) == whole
    with pytest.raises(ValueError, match="different bins"):
        profile_column(left).merged(profile_column(right))
