import math
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skewguard.errors import ConfigurationError
from skewguard.profile import (
    OTHER,
    UNSEEN,
    Bins,
    ColumnProfile,
    Repeats,
    cell_codes,
    make_bins,
    profile_column,
)


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
    assert (bins.labels(), bins.complete) == (("a", "b", UNSEEN), True)
    few = make_bins(pa.array(["a", "a", "b"]), None, 1)
    assert (few.labels(), few.complete) == (("a", OTHER), False)


def test_profiles_merge_to_the_profile_of_the_whole() -> None:
    left, right = pa.array([1.0, 2.0, None]), pa.array([5.0, math.nan])
    bins = make_bins(left)
    whole = profile_column(pa.concat_arrays([left, right]), bins)
    assert profile_column(left, bins).merged(profile_column(right, bins)) == whole
    with pytest.raises(ValueError, match="different bins"):
        profile_column(left).merged(profile_column(right))


def test_a_value_that_many_share_and_the_largest_one_have_bins_of_their_own() -> None:
    bins = make_bins(pa.array([0.0] * 60 + [float(i) for i in range(1, 41)]))
    profile = profile_column(pa.array([-1.0, 0.0, 0.0, 0.5, 40.0, 40.5]), bins)
    named = dict(zip(bins.labels(), profile.counts, strict=True))
    assert (named["below 0"], named["0"], named["40"], named["above 40"]) == (1, 2, 1, 1)


def test_timestamps_are_ages_where_the_as_of_time_is_known() -> None:
    at = pa.array([datetime(2020, 1, 2, tzinfo=UTC)] * 3, pa.timestamp("us", "UTC"))
    seen = pa.array([datetime(2020, 1, 1, 23, tzinfo=UTC), datetime(2020, 1, 3, tzinfo=UTC), None], at.type)
    profile = profile_column(seen, Bins(edges=(-86400.0, 0.0, 3600.0, 7200.0)), as_of=at)
    assert (profile.counts, profile.nulls) == ((0, 1, 0, 1, 0), 1)


cell = st.one_of(st.none(), st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 0.0, 1.0, 2.5, 1e300]))


@settings(max_examples=80, deadline=None)
@given(st.lists(cell, max_size=40), st.lists(cell, min_size=1, max_size=40), st.data())
def test_both_ways_of_counting_and_the_slow_one_agree(reference: list[float | None], values: list[float | None],
                                                      data: st.DataObject) -> None:  # fmt: skip
    bins = make_bins(pa.array(reference, pa.float64()))
    array = pa.array(values, pa.float64())
    entities = data.draw(st.lists(st.integers(0, 6), min_size=len(values), max_size=len(values)))
    sorted_way, coded = profile_column(array, bins), profile_column(array, bins, repeats=Repeats.of(np.array(entities)))
    codes = []
    for value in values:
        if value is None:
            codes.append(bins.size + 1)
        elif math.isnan(value):
            codes.append(bins.size)
        else:
            codes.append(sum(edge <= value for edge in bins.edges))
    assert cell_codes(array, bins).tolist() == codes
    for profile in (sorted_way, coded):
        assert profile.cells.tolist() == [codes.count(i) for i in range(bins.size + 2)]
    pairs = np.zeros((bins.size + 2,) * 2, dtype=int)
    for i, mine in enumerate(codes):
        for j, other in enumerate(codes):
            if i != j and entities[i] == entities[j]:
                pairs[mine, other] += 1
    assert coded.pair_matrix.tolist() == pairs.tolist()
    assert coded.squares == sum(entities.count(e) ** 2 for e in set(entities)) == pairs.sum() + len(values)
    assert coded.repeated == sum(entities.count(e) > 1 for e in set(entities))
    assert ColumnProfile.from_dict(coded.to_dict()) == coded


def test_a_profile_of_another_version_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="a profile of version 1; expected 2"):
        ColumnProfile.from_dict({"edges": [], "categories": [], "rows": 0, "nulls": 0, "nans": 0, "counts": [0]})
