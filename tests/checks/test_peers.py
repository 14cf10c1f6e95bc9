"""The cases by which two peers test their own comparisons, put to ours.

TensorFlow Data Validation's per-example feature skew detector (tensorflow/data-validation,
``tensorflow_data_validation/skew/feature_skew_detector_test.py``) joins base and test examples by identifier and counts
per feature: matches, mismatches, values in base only and in test only. Chronon (airbnb/chronon,
``spark/.../test/CompareTest.scala``, ``EditDistanceTest.scala``, the formulas of ``stats/CompareMetrics.scala``) joins
two tables by key and counts nulls and mismatches, the mean symmetric error of numbers and the edit distance of lists.

Base and left are offline, test and right are online. Inputs and figures are theirs unless a comment beside says why
ours differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest

from skewguard import dtypes
from skewguard.causes.equality import equal_sql
from skewguard.checks.parity import check_parity
from skewguard.checks.replay import Replayed, ViewReplay, edit_distance
from skewguard.config import ServicePolicy, Tolerance
from skewguard.definitions import FieldDef, Projection
from skewguard.findings import CheckResult
from skewguard.offline.sources import connect
from tests.checks.builders import STAMP, Online, Row, hours, sides, view

PRESENT, NULL_VALUE = 1, 2
EVENT = hours(5)


@dataclass(frozen=True)
class Counts:
    """Pairs of one feature: equal, two different values, a value on one side only; both null counts as equal."""

    match: int = 0
    mismatch: int = 0
    offline_only: int = 0
    online_only: int = 0

    @property
    def differing(self) -> int:
        return self.mismatch + self.offline_only + self.online_only


def by_parity(dtype: str, pairs: Sequence[tuple[Any, Any]], policy: ServicePolicy) -> CheckResult:
    """Pairs of values as the rows of a view."""
    definition = view(FieldDef("f", dtype))
    offline = [Row(key, EVENT, (a,), EVENT) for key, (a, _) in enumerate(pairs)]
    online = [Online(key, EVENT, (b,)) for key, (_, b) in enumerate(pairs)]
    return check_parity([sides(definition, offline, online)], policy)


def by_replay(dtype: str, pairs: Sequence[tuple[Any, Any]], tolerance: Tolerance) -> tuple[int, dict[str, Any]]:
    """How many rows differ, and the measures, of pairs of values as served rows."""
    definition = view(FieldDef("f", dtype))
    kind, count = dtypes.arrow_type(dtype), len(pairs)
    offline, served = (pa.array([pair[side] for pair in pairs], kind) for side in (0, 1))
    stamps = pa.array([EVENT] * count, STAMP)
    statuses = pa.array([NULL_VALUE if b is None else PRESENT for _, b in pairs], pa.int32())
    keys = pa.array(range(count), pa.int64())
    rows = pa.table(
        {"n": keys, "as_of": pa.array([hours(0)] * count, STAMP), "request_id": pa.array(["r"] * count), "s_ts": stamps,
         "t_ts": stamps, "k_0": keys, "s_0": served, "t_0": offline, "c_0": statuses}
    )  # fmt: skip
    source = pa.table({"key": keys, "__event_ts": stamps, "__created_ts": stamps, "f": offline})
    check = ViewReplay(Projection(definition, definition.features), lambda _: tolerance, ())
    differing = check.add(Replayed(rows, lambda asked: source))
    return sum(differing.column("d_0").to_pylist()), check.details()["features"]["f"]


def by_equality(dtype: str, pairs: Sequence[tuple[Any, Any]], tolerance: Tolerance) -> int:
    """How many pairs the equality in SQL holds for different."""
    kind = dtypes.arrow_type(dtype)
    with connect() as con:
        con.register(
            "pairs", pa.table({"a": pa.array([p[0] for p in pairs], kind), "b": pa.array([p[1] for p in pairs], kind)})
        )
        (row,) = con.execute(
            f"SELECT count(*) FILTER (NOT {equal_sql(dtype, 'a', 'b', tolerance)}) FROM pairs"
        ).fetchall()
    return int(row[0])


FOO = ["foo", "foo", "foo", "foo", "bar", "bar", "baz", "zip"]
TFDV: list[tuple[str, str, list[tuple[Any, Any]], Tolerance, Counts]] = [
    ("no_skew", "INT64", [(1, 1)] * 2, Tolerance(), Counts(match=2)),
    ("skewed", "INT64", [(0, 1)] * 2, Tolerance(), Counts(mismatch=2)),
    ("base_only", "INT64", [(0, None)] * 2, Tolerance(), Counts(offline_only=2)),
    ("test_only", "INT64", [(None, 1)] * 2, Tolerance(), Counts(online_only=2)),
    ("close_float", "FLOAT", [(1.12345, 1.12456)] * 2, Tolerance(), Counts(mismatch=2)),
    # they round to two digits; we allow half of the last one
    ("close_float, 2 digits", "FLOAT", [(1.12345, 1.12456)] * 2, Tolerance(absolute=0.005), Counts(match=2)),
    # rounding has an edge at which neighbours part (1.12 and 1.13: a mismatch there), a tolerance has none
    ("edge of rounding", "DOUBLE", [(1.1249, 1.1251)], Tolerance(absolute=0.005), Counts(match=1)),
    ("confusion, noskew", "STRING", list(zip([*FOO[:7], "zap"], [*FOO[:7], "zap"], strict=True)), Tolerance(),
     Counts(match=8)),
    ("confusion, skew", "STRING",
     list(zip(FOO, ["foo", "zim", "foo", "bar", "bar", "foo", "baz", None], strict=True)), Tolerance(),
     Counts(match=4, mismatch=3, offline_only=1)),
    ("both without values", "INT64_LIST", [([], [])], Tolerance(), Counts(match=1)),
    # without values on one side, missing on the other: they count it nowhere, though the examples count as skewed.
    # An empty list and null are different values to us, as they are to Feast, and the row counts as differing.
    ("empty and missing", "INT64_LIST", [([], None)], Tolerance(), Counts(offline_only=1)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "dtype", "pairs", "tolerance", "expected"), TFDV, ids=[case[0] for case in TFDV])
def test_tensorflow_data_validation(
    name: str, dtype: str, pairs: list[tuple[Any, Any]], tolerance: Tolerance, expected: Counts
) -> None:
    policy = ServicePolicy.model_validate({"tolerance": tolerance.model_dump(exclude_none=True)})
    result = by_parity(dtype, pairs, policy)
    (stats,) = result.features
    assert (result.compared, stats.differing) == (len(pairs), expected.differing)
    assert sum(finding.count for finding in result.findings) == expected.differing
    assert stats.compared - stats.offline_nulls == expected.match + expected.mismatch + expected.offline_only
    assert stats.compared - stats.online_nulls == expected.match + expected.mismatch + expected.online_only
    differing, measures = by_replay(dtype, pairs, tolerance)
    assert differing == by_equality(dtype, pairs, tolerance) == expected.differing
    # a null on one side alone is a value on the other alone
    assert measures["nulls"] == {"both": 0, "offline_only": expected.online_only, "served_only": expected.offline_only}


def test_identifiers_that_only_one_side_has() -> None:
    """TFDV: of base 0, 0, 1, 4 and test 0, 0, 2, 3, 4 two are missing in base and one in test, and none is compared.

    Ours are findings of the rows; identifiers are entities, which have one row online, so duplicates pair up with none.
    """
    offline = [Row(key, EVENT, (1.0,), EVENT) for key in (0, 0, 1, 4)]
    online = [Online(key, EVENT, (1.0,)) for key in (0, 2, 3, 4)]
    result = check_parity([sides(view(FieldDef("f", "DOUBLE")), offline, online)], ServicePolicy())
    assert {f.cause.value: f.count for f in result.findings} == {"orphan_online": 2, "missing_online": 1}
    assert (result.population, result.compared) == (3, 3)


@pytest.mark.parametrize(("offline", "online"), [([], []), ([1], []), ([], [1])])
def test_empty_inputs(offline: list[int], online: list[int]) -> None:
    """TFDV finds nothing where a side is empty; to us an empty side is what is missing, or what should not be there."""
    rows = [Row(key, EVENT, (1.0,), EVENT) for key in offline]
    stored = [Online(key, EVENT, (1.0,)) for key in online]
    result = check_parity([sides(view(FieldDef("f", "DOUBLE")), rows, stored)], ServicePolicy())
    assert len(result.findings) == len(offline) + len(online)


def test_duplicate_identifiers() -> None:
    """TFDV pairs base 100 and 50 with test 100 twice: a match and a mismatch. The later row is the entity's to us."""
    for first, then, differing in ((50, 100, 0), (100, 50, 1)):
        offline = [Row(1, hours(6), (first,), hours(6)), Row(1, EVENT, (then,), EVENT)]
        both = sides(view(FieldDef("val", "INT64")), offline, [Online(1, EVENT, (100,))])
        assert check_parity([both], ServicePolicy()).features[0].differing == differing


SERIAL = [(1, 1), (1, 2), (2, 2), (3, 3)]
VALUE = [(1, 1), (2, 3), (2, 5), (None, None)]
RATING = [(1.0, 5.0), (2.0, 2.0), (2.0, 6.0), (1.0, 1.0)]
CHRONON: list[tuple[str, list[tuple[Any, Any]], list[int], int, float]] = [
    ("INT64", SERIAL, [0, 1, 0, 0], 0, (2 / 3) / 4),
    # they count a pair of nulls as an error of 0 (mean 0.3143 over four); ours is over pairs of numbers
    ("INT64", VALUE, [0, 1, 1, 0], 1, (2 / 5 + 6 / 7) / 3),
    ("DOUBLE", RATING, [1, 0, 1, 0], 0, (8 / 6 + 8 / 8) / 4),
    ("DOUBLE", [(0.0, 0.0), (0.0, 3.0), (-1.0, 1.0)], [0, 1, 1], 0, 4 / 3),  # of the formula: 0, 2, 2
]


@pytest.mark.parametrize(("dtype", "pairs", "mismatches", "nulls", "smape"), CHRONON)
def test_chronon_compare(
    dtype: str, pairs: list[tuple[Any, Any]], mismatches: list[int], nulls: int, smape: float
) -> None:
    """Each of their rows is an hour of its own, so their sums are of single rows."""
    assert [by_equality(dtype, [pair], Tolerance()) for pair in pairs] == mismatches
    assert by_parity(dtype, pairs, ServicePolicy()).features[0].differing == sum(mismatches)
    differing, measures = by_replay(dtype, pairs, Tolerance())
    assert differing == sum(mismatches)
    assert measures["smape"] == pytest.approx(smape)
    assert measures["nulls"] == {"both": nulls, "offline_only": 0, "served_only": 0}


ABC = ["abc", "def"]
EDITS: list[tuple[str, Any, Any, int]] = [
    ("STRING_LIST", None, None, 0),
    ("STRING_LIST", [], None, 0),
    ("STRING_LIST", None, [], 0),
    ("STRING_LIST", [], [], 0),
    ("STRING_LIST", ABC, None, 2),
    ("STRING_LIST", ABC, [], 2),
    ("STRING_LIST", ABC, ABC, 0),
    ("INT64_LIST", [3, 1], [4, 3, 1, 2], 2),
    ("INT64_LIST", [1, 2, 3, 4], [5, 6, 2], 2 + 3),
]


@pytest.mark.parametrize(("dtype", "left", "right", "edits"), EDITS)
def test_chronon_edit_distance_of_lists(dtype: str, left: Any, right: Any, edits: int) -> None:
    """Insertions and deletions, which they count apart and we add up; ours is a mean over the rows."""
    assert edit_distance(left or [], right or []) == edits
    _, measures = by_replay(dtype, [(left, right), (ABC if dtype == "STRING_LIST" else [7],) * 2], Tolerance())
    assert measures["edit_distance"] == edits / 2


@pytest.mark.parametrize(("left", "right", "edits"), [("abc", "def", 6), ("abc", "dbf", 4)])
def test_chronon_edit_distance_of_texts(left: str, right: str, edits: int) -> None:
    assert edit_distance(left, right) == edits
