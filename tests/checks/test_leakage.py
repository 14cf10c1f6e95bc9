"""Leakage on real Parquet, beside Feast's own join with and without filter_by_created_timestamp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from feast.types import Array, Float64, Int64, String

from skewguard import SkewGuard, Verdict
from skewguard.config import Policy
from skewguard.feast_repo import quiet_feast
from skewguard.findings import Cause
from tests.checks.sources import FEAST_DUCKDB, NOW, OneView, hours, moments

FEATURES = {"f": Float64, "n": Int64, "name": String, "l": Array(Float64)}


def source(*rows: tuple[int, float | None, float, float | None]) -> pa.Table:
    """Rows of (key, value, event hours ago, created hours ago); the other features follow from the value."""
    keys, values, events, made = (list(column) for column in zip(*rows, strict=True))
    return pa.table(
        {
            "k": keys,
            "f": pa.array(values, pa.float64()),
            "n": pa.array([7] * len(rows), pa.int64()),
            "name": pa.array([None if v is None else str(v) for v in values]),
            "l": pa.array([None if v is None else [v] for v in values], pa.list_(pa.float64())),
            "t": moments(*events),
            "c": moments(*made),
        }
    )


def asked(*rows: tuple[int, float]) -> pd.DataFrame:
    return pd.DataFrame({"k": [k for k, _ in rows], "event_timestamp": [hours(age) for _, age in rows]})


TABLE = source(
    (1, 1.0, 5, 5), (1, 2.0, 4, 1),  # corrected an hour ago
    (2, 1.0, 5, 5), (2, 4.0, 4, 4),  # in time
    (3, 3.0, 4, 1),  # loaded an hour ago; nothing was known before
    (4, 6.0, 5, 5), (4, 6.0, 4, 1),  # created later, with the same values
    (5, 1.0, 5, None),  # nobody knows when
    (6, 8.0, 4, 3),  # created at the very as-of time
)  # fmt: skip
ROWS = asked((1, 3), (2, 3), (3, 3), (4, 3), (5, 3), (6, 3), (1, 0.5), (9, 3))


@pytest.fixture
def guard(tmp_path: Path) -> SkewGuard:
    return OneView(TABLE, features=FEATURES).build(tmp_path)


def test_values_created_later_are_counted_with_the_difference_they_make(guard: SkewGuard) -> None:
    result = guard.leakage(ROWS, "s")
    found = {f.feature: f for f in result.findings}
    assert {name: f.count for name, f in found.items()} == {"f": 2, "n": 1, "name": 2, "l": 2}
    assert {f.cause for f in result.findings} == {Cause.LEAKAGE}
    assert dict(found["f"].evidence) == {
        "created_later": 3,
        "differ": 2,
        "null_when_known": 1,
        "mean_difference": 1.0,
        "largest_difference": 1.0,
        "mean_relative_difference": 0.5,
    }
    assert (found["f"].compared, result.population, result.compared) == (8, 8, 8)
    assert "at most 1; 1 were null then" in found["f"].message
    assert result.details["views"]["v"] == {
        "rows": 7,
        "created_later": 3,
        "created_unknown": 1,
        "nothing_known_then": 1,
        "features": {name: dict(f.evidence) for name, f in found.items()},
    }
    first, second = found["f"].samples
    assert (first["entity"], first["offline"], first["known_then"]) == ({"k": 1}, 2.0, 1.0)
    assert (second["entity"], second["offline"], second["known_then"]) == ({"k": 3}, 3.0, None)
    assert (first["as_of"], first["created_timestamp"]) == ("2026-09-01T09:00:00Z", "2026-09-01T11:00:00Z")


def test_it_is_the_difference_between_feasts_two_joins(tmp_path: Path) -> None:
    guard = OneView(TABLE, features=FEATURES, offline=FEAST_DUCKDB).build(tmp_path)
    rows = ROWS[ROWS["k"] != 5]  # the row that nobody knows the age of is no leak, and not known either
    with quiet_feast():
        plain, known = (
            guard.feast.store.get_historical_features(
                rows, ["v:f", "v:n"], filter_by_created_timestamp=cut
            ).to_df().sort_values(["k", "event_timestamp"])
            for cut in (False, True)
        )  # fmt: skip
    counts = {f.feature: f.count for f in guard.leakage(rows, "s").findings}
    for name in ("f", "n"):
        differ = ~(
            (plain[name] == known[name].set_axis(plain.index)) | (plain[name].isna() & known[name].isna().to_numpy())
        )
        assert counts[name] == differ.sum()


def test_nothing_is_found_where_only_what_was_known_is_joined(guard: SkewGuard) -> None:
    training = guard.training_set(ROWS, "s", filter_by_created_timestamp=True)
    assert [f for f in training.decision.findings if f.cause is Cause.LEAKAGE] == []
    assert training.table.column("f").to_pylist() == [1.0, 4.0, None, 6.0, None, 8.0, 2.0, None]


def test_a_training_set_warns_by_default_and_policy_can_close_the_gate(guard: SkewGuard) -> None:
    training = guard.training_set(ROWS, "s")
    assert training.decision.verdict is Verdict.WARN
    assert {f.feature for f in training.decision.findings if f.cause is Cause.LEAKAGE} == {"f", "n", "name", "l"}
    assert training.table.column_names == ["k", "event_timestamp", "f", "n", "name", "l"]
    strict = SkewGuard(guard.path, policy=Policy({"causes": {"leakage": "block"}}), clock=lambda: NOW)
    with pytest.raises(RuntimeError, match="created after their as-of time"):
        strict.training_set(ROWS, "s")
    some = Policy({"causes": {"leakage": "block"}, "max_rate": {"leakage": 0.5}})
    assert (
        SkewGuard(guard.path, policy=some, clock=lambda: NOW).training_set(ROWS, "s").decision.verdict is Verdict.WARN
    )
    # eight rows are too few to compare with the training set before, which warns by itself
    loose = Policy({"causes": {"leakage": "ignore"}, "drift": {"enabled": False}})
    assert (
        SkewGuard(guard.path, policy=loose, clock=lambda: NOW).training_set(ROWS, "s").decision.verdict is Verdict.PASS
    )


def test_tolerance_holds_here_too(guard: SkewGuard) -> None:
    policy = Policy({"tolerances": {"v:f": {"absolute": 1.5}}})
    found = {f.feature: f.count for f in SkewGuard(guard.path, policy=policy).leakage(ROWS, "s").findings}
    assert found["f"] == 1  # 2.0 for 1.0 is within; a value for none is not


def test_a_load_that_stamps_its_own_time_is_one_finding(tmp_path: Path) -> None:
    table = source(*((key, float(key), 5, 0.1) for key in range(20)), (30, 1.0, 5, 5), (31, 1.0, 5, 5))
    guard = OneView(table, features=FEATURES).build(tmp_path)
    (finding,) = guard.leakage(asked(*((key, 3) for key in range(32))), "s").findings
    assert (finding.feature, finding.count, finding.evidence["nothing_known_then"]) == (None, 20, 20)
    assert "stamped its own time" in finding.message
    assert finding.evidence["features"]["f"]["null_when_known"] == 20


def test_ties_are_decided_before_it_is_asked_when_the_winner_was_made(tmp_path: Path) -> None:
    table = source((1, 1.0, 5, 5), (1, 2.0, 5, 1))  # one event timestamp: the later created one wins
    (finding,) = [
        f
        for f in OneView(table, features=FEATURES).build(tmp_path).leakage(asked((1, 3)), "s").findings
        if f.feature == "f"
    ]
    assert (finding.samples[0]["offline"], finding.samples[0]["known_then"]) == (2.0, 1.0)


def test_views_without_a_created_timestamp_are_listed(tmp_path: Path) -> None:
    table = TABLE.drop_columns(["c"])
    result = OneView(table, features=FEATURES).build(tmp_path).leakage(ROWS, "s")
    assert (result.findings, result.details["without_created_timestamp"]) == ((), ["v"])


def test_full_feature_names_and_feature_lists(guard: SkewGuard) -> None:
    found = guard.leakage(ROWS, ["v:f"], full_feature_names=True).findings
    assert [(f.view, f.feature, f.count) for f in found] == [("v", "f", 2)]


def test_expired_rows_leak_nothing(tmp_path: Path) -> None:
    from datetime import timedelta

    table = source((1, 1.0, 50, 50), (1, 2.0, 49, 1))
    view = OneView(table, features=FEATURES, ttl=timedelta(hours=24))
    assert view.build(tmp_path).leakage(asked((1, 3)), "s").findings == ()


def test_hidden_inputs_of_on_demand_views_are_checked(tmp_path: Path, clean_redis: Any) -> None:
    from tests.repos import AS_OF, entity_rows, write_repo

    guard = SkewGuard(write_repo(tmp_path / "repo", clean_redis.connection_string), clock=lambda: AS_OF)
    path = guard.path / "data" / "till.parquet"
    frame = pd.read_parquet(path)
    frame["made"] = frame["made"] + pd.Timedelta(days=30)  # all of it loaded a month later
    frame.to_parquet(path)
    (guard.path / "definitions.py").write_text(
        (guard.path / "definitions.py").read_text(encoding="utf-8")
        + "\nonly_derived = FeatureService(name='only_derived', features=[derived])\n",
        encoding="utf-8",
    )
    guard.feast.apply()
    (finding,) = guard.leakage(entity_rows(50), "only_derived").findings
    assert (finding.view, finding.feature) == ("till_stats", None)
