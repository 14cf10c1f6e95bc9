"""Mismatch rate, null-rate skew, freshness: degenerate frames first, then figures worked by hand."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from skewguard.expectations.skew.null_rate import paired_interval
from skewguard.stats import wilson_interval
from tests.expectations.skew.builders import one, run, skew, trouble

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)


def sides(offline: Any, online: Any, kind: pa.DataType | None = None) -> pd.DataFrame:
    return skew.exact_frame(pa.table({"a": pa.array(offline, kind), "b": pa.array(online, kind)}))


def rate(**kwargs: Any) -> Any:
    return skew.ExpectMismatchRateToBeBelow(**{"column_A": "a", "column_B": "b", "max_rate": 0.1, **kwargs})


def nulls(**kwargs: Any) -> Any:
    return skew.ExpectNullRateSkewToBeBelow(**{"column_A": "a", "column_B": "b", "max_skew": 0.1, **kwargs})


def fresh(**kwargs: Any) -> Any:
    return skew.ExpectFreshnessToBeBelow(**{"column_A": "at", "column_B": "now", "max_lag_seconds": 3600, **kwargs})


EMPTY = sides([], [], pa.float64())


@pytest.mark.parametrize("expectation", [rate(), nulls(), rate(max_rate=1), nulls(max_skew=1)])
def test_no_rows_are_not_judged(expectation: Any) -> None:
    result = one(EMPTY, expectation)
    assert result["success"] is False
    assert result["result"]["inconclusive"] == "0 rows, of 1 that it takes"
    assert result["result"]["observed_value"] is None


def test_too_few_rows_are_not_judged() -> None:
    few = sides([1.0, 2.0], [1.0, 2.0])
    for expectation in (rate(min_rows=3), nulls(min_rows=3)):
        assert one(few, expectation)["result"]["inconclusive"] == "2 rows, of 3 that it takes"
    for expectation in (rate(min_rows=2), nulls(min_rows=2)):
        assert one(few, expectation)["success"] is True


@pytest.mark.parametrize(
    ("rows", "wrong", "max_rate", "judged_by", "success"),
    [
        (1, 0, 0, "rate", True),
        (1, 1, 1, "rate", True),
        (10, 1, 0.1, "rate", True),  # the limit is inside
        (10, 2, 0.1, "rate", False),
        # Wilson's interval of 2 in 10 is 0.0567 to 0.5098
        (10, 2, 0.06, "lower_bound", True),
        (10, 2, 0.05, "lower_bound", False),
        (10, 2, 0.51, "upper_bound", True),
        (10, 2, 0.5, "upper_bound", False),
        # of 10 rows without a mismatch the rate may still be 27.8 %
        (10, 0, 0.2, "upper_bound", False),
        (10, 0, 0.28, "upper_bound", True),
    ],
)
def test_mismatch_rates(rows: int, wrong: int, max_rate: float, judged_by: str, success: bool) -> None:
    frame = sides([1.0] * rows, [2.0] * wrong + [1.0] * (rows - wrong))
    result = one(frame, rate(max_rate=max_rate, judged_by=judged_by))
    assert result["success"] is success
    found = result["result"]
    assert (found["element_count"], found["unexpected_count"]) == (rows, wrong)
    assert found["observed_value"] == pytest.approx(wrong / rows)
    assert found["interval"] == pytest.approx(wilson_interval(wrong, rows))


def test_a_mismatch_is_told_with_entity_and_cause() -> None:
    frame = sides([1.0, None, 3.0], [1.0, None, None])
    frame["k"], frame["why"] = [1, 2, 3], [None, None, "missing_online"]
    found = one(frame, rate(entity_columns=["k"], cause_column="why"))["result"]
    assert found["samples"] == [{"entity": {"k": 3}, "offline": 3.0, "online": None, "cause": "missing_online"}]
    assert found["causes"] == {"missing_online": 1}


@pytest.mark.parametrize(
    ("offline", "online", "max_skew", "observed", "success"),
    [
        ([None], [None], 0, 0.0, True),
        ([1.0], [1.0], 0, 0.0, True),
        ([1.0], [None], 1, 1.0, True),
        ([1.0, 2.0], [None, 2.0], 0.5, 0.5, True),  # the limit is inside
        ([1.0, 2.0], [None, 2.0], 0.49, 0.5, False),
        ([None, 2.0], [1.0, 2.0], 0.49, -0.5, False),
        ([None, 1.0], [1.0, None], 0, 0.0, True),  # as many on each side: that is a mismatch, and no skew of rates
        ([math.nan, 1.0], [None, 1.0], 0, 0.0, True),  # NaN is no value
    ],
)
def test_null_rates(offline: Any, online: Any, max_skew: float, observed: float, success: bool) -> None:
    result = one(sides(offline, online, pa.float64()), nulls(max_skew=max_skew))
    assert (result["success"], result["result"]["observed_value"]) == (success, observed)


def test_null_rates_of_any_type() -> None:
    for values, kind in ((["a", None], pa.string()), ([[1], None], pa.list_(pa.int64())), ([b"a", None], pa.binary())):
        found = one(sides(values, [None, None], kind), nulls())["result"]
        assert (found["offline_nulls"], found["online_nulls"], found["only_online"]) == (1, 2, 1)


def test_the_interval_of_paired_proportions() -> None:
    assert paired_interval(0, 0, 0) == (-1.0, 1.0)
    # Agresti and Min's adjusted interval by hand: b = 10.5, c = 4.5, n = 102
    half = 1.959963984540054 * math.sqrt(15 - 36 / 102) / 102
    assert paired_interval(10, 4, 100) == pytest.approx((6 / 102 - half, 6 / 102 + half))
    low, high = paired_interval(0, 0, 10)
    assert low == pytest.approx(-high)


def moments(*ages: float | None) -> pd.DataFrame:
    at = [None if age is None else NOW - timedelta(seconds=age) for age in ages]
    kind = pa.timestamp("us", "UTC")
    return pa.table(
        {"at": pa.array(at, kind), "now": pa.array([NOW] * len(at), kind), "k": list(range(len(at)))}
    ).to_pandas()


@pytest.mark.parametrize(
    ("ages", "kwargs", "success", "late"),
    [
        ([0], {}, True, 0),
        ([3600], {}, True, 0),  # the edge is inside
        ([3600.000001], {}, False, 1),
        ([-86400], {}, True, 0),  # later than the as-of time
        ([10, None], {}, True, 0),  # absent is not old
        ([10, None], {"ignore_row_if": "neither"}, False, 1),  # ... unless asked to be
        ([10, 20, 30, 40, 9999], {"mostly": 0.8}, True, 1),
        ([10, 20, 30, 40, 9999], {"mostly": 0.81}, False, 1),
    ],
)
def test_freshness(ages: list[float | None], kwargs: dict[str, Any], success: bool, late: int) -> None:
    for frame in (moments(*ages), skew.exact_frame(pa.Table.from_pandas(moments(*ages)))):
        result = one(frame, fresh(**kwargs))
        assert (result["success"], result["result"]["unexpected_count"]) == (success, late)
        assert result["result"]["observed_value"] == max(age for age in ages if age is not None)


def test_nothing_online_is_not_fresh() -> None:
    for frame in (moments(), moments(None, None)):
        result = one(frame, fresh())
        assert result["success"] is False
        assert result["result"]["inconclusive"] == "no row has a moment"


def test_the_oldest_rows_are_named() -> None:
    found = one(moments(10, 5000, 9000), fresh(entity_columns=["k"]))["result"]
    assert [sample["entity"]["k"] for sample in found["samples"]] == [2, 1]
    assert found["samples"][0] == {"entity": {"k": 2}, "moment": "2026-09-01T09:30:00Z", "lag_seconds": 9000.0}
    assert found["median_lag_seconds"] == 5000.0


def test_moments_without_a_zone_are_utc() -> None:
    frame = moments(10)
    frame["at"] = frame["at"].dt.tz_localize(None)
    assert one(frame, fresh())["result"]["observed_value"] == 10.0


def test_what_is_no_moment_is_refused() -> None:
    (result,) = run(moments(10).assign(at=[5]), fresh())
    assert "column 'at': got int64; expected moments" in trouble(result)


@pytest.mark.parametrize(
    ("make", "kwargs", "says"),
    [
        (rate, {"max_rate": 1.5}, "max_rate\n  got 1.5; expected a share from 0 to 1"),
        (rate, {"max_rate": math.nan}, "got nan; expected a share"),
        (rate, {"judged_by": "luck"}, "judged_by"),
        (rate, {"min_rows": 0}, "got 0; expected a whole number of 1 or more"),
        (rate, {"min_rows": 1.5}, "got 1.5; expected a whole number"),
        (rate, {"column_A": ""}, "column_A"),
        (nulls, {"max_skew": "0.1"}, "got '0.1'; expected a share"),
        (fresh, {"max_lag_seconds": -1}, "got -1; expected a number of 0 or more"),
    ],
)
def test_a_wrong_argument_is_refused_when_it_is_made(make: Any, kwargs: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make(**kwargs)
