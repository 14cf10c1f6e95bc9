"""Preflight on real Parquet, beside what Feast itself does with the same repository."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import ValueType
from feast.feature_view import FeatureView
from feast.type_map import python_values_to_proto_values
from feast.types import Array, Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp

from skewguard import SkewGuard, Verdict
from skewguard.config import Policy
from skewguard.feast_repo import FeastRepo
from skewguard.findings import Cause
from skewguard.offline.sources import connect
from skewguard.risks.conversion import Conversion, feast_conversion
from tests.checks.sources import (
    ASOF,
    FEAST_DUCKDB,
    NOW,
    OneView,
    columns,
    feast_online,
    hours,
    moments,
    rules,
)
from tests.repos import AS_OF, write_repo

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("offline", [ASOF, FEAST_DUCKDB])
def test_a_healthy_view_has_no_risk(tmp_path: Path, offline: str) -> None:
    run = OneView(columns(), offline=offline).build(tmp_path).preflight("s")
    assert (run.verdict, run.findings, [c.check for c in run.checks]) == (Verdict.PASS, (), ["preflight"])
    assert not (tmp_path / ".skewguard").exists()


def test_the_repositories_of_the_tests_and_of_the_example_have_none(
    tmp_path: Path, clean_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = SkewGuard(write_repo(tmp_path / "other", clean_redis.connection_string), clock=lambda: AS_OF)
    other.feast.apply()
    monkeypatch.setenv("SKEWGUARD_REDIS", clean_redis.connection_string)
    shutil.copytree(ROOT / "feature_repo", tmp_path / "example", ignore=shutil.ignore_patterns(".skewguard"))
    example = SkewGuard(tmp_path / "example")
    example.feast.apply()
    found = [f for guard in (other, example) for name in guard.services() for f in guard.preflight(name).findings]
    assert found == []


def test_no_online_store_is_needed(tmp_path: Path) -> None:
    guard = OneView(columns()).build(tmp_path, {"type": "redis", "connection_string": "127.0.0.1:1"})
    assert guard.preflight("s").verdict is Verdict.PASS


# --- columns ---------------------------------------------------------------------------------------------------------


def test_missing_columns_are_named_with_their_mapping(tmp_path: Path) -> None:
    guard = OneView(columns(), features={"f": Float64, "g": Float64, "h": Int64}, mapping={"gee": "g"}).build(tmp_path)
    run = guard.preflight("s")
    assert run.verdict is Verdict.BLOCK
    assert {(f.cause, f.feature) for f in run.findings} == {(Cause.SOURCE_DEFECT, "g"), (Cause.SOURCE_DEFECT, "h")}
    assert "no column 'gee' (mapped to 'g')" in " ".join(f.message for f in run.findings)


def test_a_missing_key_is_told_and_the_rows_are_not_counted(tmp_path: Path) -> None:
    table = columns().rename_columns(["kay", "f", "t", "c"])
    run = OneView(table).build(tmp_path).preflight("s")
    assert [(f.evidence["rule"], f.evidence["column"]) for f in run.findings] == [("missing_column", "k")]


def test_a_source_that_cannot_be_read_is_inconclusive(tmp_path: Path) -> None:
    guard = OneView(columns(), ttl=timedelta(days=-1)).build(tmp_path)
    (tmp_path / "v.parquet").write_bytes(b"PAR1 no")
    run = guard.preflight("s")
    assert run.verdict is Verdict.INCONCLUSIVE
    assert "v.parquet" in run.checks[0].reason


COLUMNS = {
    "int8": pa.array([1, 2], pa.int8()),
    "int32": pa.array([1, 2], pa.int32()),
    "int64": pa.array([1, 2], pa.int64()),
    "uint32": pa.array([1, 2], pa.uint32()),
    "float": pa.array([0.3, 2.5], pa.float32()),
    "double": pa.array([0.3, 2.5], pa.float64()),
    "bool": pa.array([True, False]),
    "string": pa.array(["12", "13"]),
    "dictionary": pa.array(["12", "13"]).dictionary_encode(),
    "binary": pa.array([b"a", b"b"]),
    "aware": moments(1, 2),
    "naive": pa.array([hours(1).replace(tzinfo=None)] * 2, pa.timestamp("us")),
    "date": pa.array([date(2026, 1, 2)] * 2),
    "decimal": pa.array([Decimal("1.50"), Decimal("2.25")]),
    "list of int64": pa.array([[1], [2, 3]]),
    "list of int32": pa.array([[1], [2, 3]], pa.list_(pa.int32())),
    "list of float": pa.array([[1.5], [2.5]], pa.list_(pa.float32())),
    "list of double": pa.array([[1.5], [2.5]]),
    "list of string": pa.array([["a"], ["b"]]),
    "list of binary": pa.array([[b"a"], [b"b"]]),
    "list of bool": pa.array([[True], [False]]),
    "list of time": pa.array([[hours(1)], [hours(2)]], pa.list_(pa.timestamp("us", "UTC"))),
    "list of date": pa.array([[date(2026, 1, 2)]] * 2),
    "struct": pa.array([{"a": 1}, {"a": 2}]),
}
DTYPES = [
    "INT32", "INT64", "FLOAT", "DOUBLE", "BOOL", "STRING", "BYTES", "UNIX_TIMESTAMP", "UUID", "DECIMAL", "INT64_LIST",
    "INT32_LIST", "FLOAT_LIST", "DOUBLE_LIST", "STRING_LIST", "BYTES_LIST", "BOOL_LIST", "UNIX_TIMESTAMP_LIST",
]  # fmt: skip


def written_by_feast(column: pa.Array, dtype: str) -> list[Any] | None:
    """What Feast writes, as Python values; None where it raises."""
    try:
        protos = python_values_to_proto_values(column.to_numpy(zero_copy_only=False), ValueType[dtype])
    except (TypeError, ValueError, AssertionError):
        return None
    values = []
    for proto in protos:
        which = proto.WhichOneof("val")
        value: Any = None if which is None else getattr(proto, which)
        values.append(list(value.val) if which is not None and which.endswith("_list_val") else value)
    return values


def same(offline: Any, online: Any, dtype: str) -> bool:
    """Is it the same value of the same type, as the declared dtype goes?"""
    if isinstance(offline, list):
        return isinstance(online, list) and all(same(a, b, dtype) for a, b in zip(offline, online, strict=True))
    if isinstance(offline, str | bytes | bool | float | Decimal) or isinstance(online, str | bytes | bool):
        text = dtype in ("DECIMAL",) and str(offline) == online
        return text or (type(offline) is type(online) and offline == online)
    if hasattr(offline, "timetuple"):
        moment = pd.Timestamp(offline)
        moment = moment.tz_localize("UTC") if moment.tzinfo is None else moment
        return isinstance(online, int) and int(moment.timestamp()) == online
    return bool(offline == online)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("ignore")
def test_the_table_of_conversions_is_what_feast_does(tmp_path: Path, dtype: str) -> None:
    for name, column in COLUMNS.items():
        pq.write_table(pa.table({"x": column}), tmp_path / "x.parquet")
        with connect() as con:
            kind = con.execute(f"DESCRIBE SELECT * FROM read_parquet('{tmp_path}/x.parquet')").fetchall()[0][1]
        said = feast_conversion(kind, dtype)
        online = written_by_feast(column, dtype)
        label = f"{name} ({kind}) as {dtype}: {said}, Feast {online}"
        if kind == "VARCHAR" and dtype.endswith("_LIST"):  # it depends on the text
            assert said is Conversion.CHANGED, label
        elif online is None:
            assert said is Conversion.RAISES, label
        elif all(value is None for value in online):
            assert said is Conversion.NULL, label
        elif all(same(a, b, dtype) for a, b in zip(column.to_pylist(), online, strict=True)):
            whole_seconds = dtype.startswith("UNIX_TIMESTAMP") and "int" in name  # a moment online, a number offline
            assert said is (Conversion.CHANGED if whole_seconds else Conversion.KEPT), label
        elif (dtype, name) == ("FLOAT", "double"):
            assert said is Conversion.PRECISION, label
        elif dtype == "UNIX_TIMESTAMP" and name in ("float", "double"):
            assert said is Conversion.GARBAGE, label
        else:
            assert said in (Conversion.CHANGED, Conversion.KEPT), label
            assert said is Conversion.CHANGED or dtype in ("FLOAT", "DOUBLE") or name == "int8", label


TYPES: list[tuple[str, Any, Any, str, set[tuple[str, str]]]] = [
    ("double for Float32", Float32, [0.2, 0.3], FEAST_DUCKDB, {("float32", "warning")}),
    ("the same on our store, which casts", Float32, [0.2, 0.3], ASOF, {("float32", "info")}),
    ("float32 for Float64", Float64, pa.array([0.5, 1.5], pa.float32()), ASOF, {("feast_raises", "warning")}),
    ("integers with nulls as pandas has them", Int64, [1.0, float("nan")], FEAST_DUCKDB, {("dtype", "info")}),
    ("fractions", Int64, [1.5, 2.0], ASOF, {("fractions_cut", "warning"), ("dtype", "info")}),
    ("numbers as text", Int64, ["12", "13"], FEAST_DUCKDB, {("dtype", "warning")}),
    ("text that is no number", Int64, ["12", "twelve"], ASOF, {("unreadable", "critical")}),
    ("text with a fraction", Int64, ["12", "12.5"], ASOF, {("unreadable", "critical")}),
    ("too large for int32", Int32, [2**40, 1], ASOF, {("unreadable", "critical")}),
    ("a list for a number", Int64, [[1], [2]], ASOF, {("unreadable", "critical")}),
    ("int32 for Bool", Bool, pa.array([0, 1], pa.int32()), ASOF, {("feast_raises", "warning")}),
    ("numbers for String", String, [1, 2], FEAST_DUCKDB, {("dtype", "warning")}),
    ("double for a moment", UnixTimestamp, [1.7e9, 1.8e9], ASOF, {("feast_garbage", "warning")}),
    ("milliseconds for a moment", UnixTimestamp, [1_700_000_000_000] * 2, ASOF, {("unreadable", "critical")}),
]


@pytest.mark.parametrize(("label", "declared", "values", "offline", "expected"), TYPES, ids=[t[0] for t in TYPES])
def test_types_against_the_declared_ones(
    tmp_path: Path, label: str, declared: Any, values: Any, offline: str, expected: set[tuple[str, str]]
) -> None:
    guard = OneView(columns(f=values), features={"f": declared}, offline=offline).build(tmp_path)
    assert rules(guard) == expected, label
    readable = ("unreadable", "critical") not in expected
    entity_df = pd.DataFrame({"k": [1, 2], "event_timestamp": [NOW, NOW]})
    if readable:
        assert len(guard.historical_features(entity_df, "s")) == 2  # type: ignore[arg-type]
    else:
        with pytest.raises(ValueError, match=r"v\.parquet"):
            guard.historical_features(entity_df, "s")


def test_rows_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    guard = OneView(columns(f=["1", "x"]), features={"f": Int64}).build(tmp_path)
    (finding,) = guard.preflight("s").findings
    assert (finding.view, finding.feature, finding.count, finding.compared) == ("v", "f", 1, 2)


# --- times, keys, ties -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (moments(5, 4).cast(pa.timestamp("us")), {("naive_timestamp", "info")}),
        (pa.array(["2026-09-01T07:00:00Z", "2026-09-01T08:00:00+09:00"]), {("timestamp_type", "warning")}),
        (pa.array(["2026-09-01T07:00:00Z", "soon"]), {("bad_timestamp", "critical")}),
        (pa.array([1_788_200_000, 1_788_200_001]), {("timestamp_type", "warning")}),
        (pa.array([1_788_200_000_000, 1_788_200_001_000]), {("bad_timestamp", "critical")}),
        (pa.array([date(2026, 8, 30), date(2026, 8, 31)]), {("naive_timestamp", "info")}),
        (moments(5, None), {("null_timestamp", "warning")}),
        (moments(5, -9), {("future_rows", "warning"), ("created_first", "info")}),
        (moments(5, 2), {("created_first", "info")}),
        (moments(5, 4).cast(pa.timestamp("ns", "UTC")), set()),
        (moments(5, 4).cast(pa.timestamp("s", "UTC")), set()),
    ],
)
def test_times(tmp_path: Path, times: pa.Array, expected: set[tuple[str, str]]) -> None:
    assert rules(OneView(columns(t=times)).build(tmp_path)) == expected


def test_nanoseconds_with_a_zone_are_a_warning_only_where_feast_fails_on_them(tmp_path: Path) -> None:
    table = columns(t=moments(5, 4).cast(pa.timestamp("ns", "UTC")))
    guard = OneView(table, offline=FEAST_DUCKDB).build(tmp_path)
    assert feast_online(guard, ["f"])["f"] == [1.5, 2.5]  # with the DuckDB that is installed
    assert rules(guard) == {("nanoseconds", "info")}


def test_null_join_keys_stop_feasts_materialization(tmp_path: Path) -> None:
    guard = OneView(columns(k=pa.array([1, None], pa.int64()))).build(tmp_path)
    assert rules(guard) == {("null_key", "warning")}
    with pytest.raises(ValueError, match="Value type not supported"):
        feast_online(guard, ["f"])


@pytest.mark.parametrize(("dtype", "fails"), [(Int64, True), (Int32, True), (Float64, False), (String, False)])
def test_nulls_inside_lists_stop_feasts_materialization_of_whole_numbers(
    tmp_path: Path, dtype: Any, fails: bool
) -> None:
    values: list[Any] = ["a", None] if dtype is String else [1, None]
    kind = {Int32: pa.int32(), Float64: pa.float64(), String: pa.string()}.get(dtype, pa.int64())
    table = columns(f=pa.array([values, values[:1]], pa.list_(kind)))
    guard = OneView(table, features={"f": Array(dtype)}).build(tmp_path)
    assert rules(guard) == ({("null_in_list", "warning")} if fails else set())
    if fails:
        with pytest.raises(TypeError, match="float"):
            feast_online(guard, ["f"])
    else:
        assert len(feast_online(guard, ["f"])["f"][0]) == 2


def test_ties_are_counted_by_how_they_end_the_ambiguous_first(tmp_path: Path) -> None:
    rows = [  # key, value, hours ago, created hours ago
        (1, 1.0, 5, 4), (1, 2.0, 5, 3),  # a correction: the created timestamp decides
        (2, 1.0, 5, 4), (2, 1.0, 5, 4), (2, 1.0, 5, 4),  # the same row three times
        (3, 1.0, 5, 4), (3, 2.0, 5, 4),  # ambiguous
        (4, 1.0, 5, None), (4, 2.0, 5, None),  # ambiguous: nobody knows when they were made
        (5, 1.0, 5, None), (5, 2.0, 5, 4),  # known goes before unknown
        (6, 9.0, 5, 3), (6, 9.0, 5, 3), (6, 1.0, 5, 4),  # the two latest are equal
        (7, 1.0, 5, 4), (7, 2.0, 4, 3),  # no tie
    ]  # fmt: skip
    keys, values, ages, made = (list(column) for column in zip(*rows, strict=True))
    table = pa.table({"k": keys, "f": values, "t": moments(*ages), "c": moments(*made)})
    run = OneView(table).build(tmp_path).preflight("s")
    (finding,) = [f for f in run.findings if f.evidence["rule"] == "ambiguous_rows"]
    assert finding.evidence["rows"] == 14
    assert {name: finding.evidence[name] for name in ("groups", "ambiguous", "equal_values")} == {
        "groups": 6, "ambiguous": 2, "equal_values": 2,
    }  # fmt: skip
    assert finding.evidence["decided_by_created_timestamp"] == 2
    assert [s["entity"]["k"] for s in finding.samples] == [3, 4, 2, 6]
    assert run.verdict is Verdict.WARN


def test_repeated_rows_alone_are_worth_knowing_and_no_more(tmp_path: Path) -> None:
    table = pa.table({"k": [1, 1], "f": [float("nan")] * 2, "t": moments(5, 5)})
    run = OneView(table).build(tmp_path).preflight("s")
    assert {f.evidence["rule"] for f in run.findings} == {"repeated_rows"}
    assert run.verdict is Verdict.PASS


def test_views_without_entities_tie_by_time_alone(tmp_path: Path) -> None:
    table = pa.table({"f": [1.0, 2.0], "t": moments(5, 5)})
    assert rules(OneView(table, keys={}).build(tmp_path)) == {("ambiguous_rows", "warning")}


@pytest.mark.slow
def test_a_million_rows_take_seconds(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    times = pa.array(NOW - pd.to_timedelta(random.integers(0, 10**8, 2_000_000), "s")).cast(pa.timestamp("us", "UTC"))
    table = pa.table({"k": random.integers(0, 500_000, 2_000_000), "f": random.random(2_000_000), "t": times})
    run = OneView(table).build(tmp_path).preflight("s")
    assert run.checks[0].seconds < 10
    assert run.checks[0].details["views"]["v"]["rows"] == 2_000_000


# --- definitions that were not applied -------------------------------------------------------------------------------


@pytest.fixture
def applied(tmp_path: Path, clean_redis: Any) -> SkewGuard:
    guard = SkewGuard(write_repo(tmp_path / "repo", clean_redis.connection_string), clock=lambda: AS_OF)
    guard.feast.apply()
    return guard


def changed(guard: SkewGuard, old: str, new: str) -> SkewGuard:
    path = guard.path / "definitions.py"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return SkewGuard(guard.path, clock=lambda: AS_OF)


def test_a_changed_ttl_is_named_until_it_is_applied(applied: SkewGuard) -> None:
    guard = changed(applied, "hours=36", "hours=48")
    found = {f.view: f for f in guard.preflight("till_v1").findings}
    assert found["till_stats"].evidence["rule"] == "not_applied"
    assert found["till_stats"].evidence["changes"]["ttl"] == "registry 'seconds: 129600', files 'seconds: 172800'"
    assert guard.preflight("till_v1").verdict is Verdict.WARN
    assert guard.preflight("shop_v1").findings == ()  # does not read the view
    guard.feast.apply()
    assert guard.preflight("till_v1").findings == ()


def test_changed_code_and_services_are_named(applied: SkewGuard) -> None:
    guard = changed(applied, '/ inputs["sales"]', '* inputs["sales"]')
    found = {f.view: f for f in guard.preflight("till_v1").findings}
    assert "feature_transformation.body_text" in found["derived"].evidence["changes"]
    guard = changed(guard, "features=[till_stats, shop_stats, rates, derived]", "features=[till_stats, rates, derived]")
    assert any(f.message.startswith("feature service till_v1 differs") for f in guard.preflight("till_v1").findings)


def test_definitions_that_are_gone_from_the_files(applied: SkewGuard) -> None:
    guard = changed(applied, "features=[till_stats, shop_stats, rates, derived]", "features=[shop_stats]")
    guard = changed(guard, "rates = FeatureView(", "_rates = lambda **given: None\n_unused = dict(")
    found = {f.view: f.evidence for f in guard.preflight("till_v1").findings}
    assert found["rates"]["action"] == "delete"


def test_files_that_cannot_be_read_say_so_and_nothing_more(applied: SkewGuard) -> None:
    (applied.path / "broken.py").write_text("raise SystemExit('no')\n")
    (finding,) = applied.preflight("till_v1").findings
    assert (finding.evidence["rule"], finding.action) == ("not_parsed", "ignore")
    assert "no" in finding.message


def test_a_repository_without_files_is_not_compared(tmp_path: Path) -> None:
    guard = OneView(columns()).build(tmp_path)
    assert guard.feast.unapplied() == ()


def test_unapplied_leaves_the_registry_as_it_is(applied: SkewGuard) -> None:
    guard = changed(applied, "hours=36", "hours=48")
    before = (guard.path / "registry.db").read_bytes()
    assert {item.name for item in guard.feast.unapplied()} == {"till_stats"}
    assert (guard.path / "registry.db").read_bytes() == before
    assert isinstance(FeastRepo(guard.path).feast_view("till_stats"), FeatureView)


def test_a_serving_plan_that_is_older_than_the_registry(applied: SkewGuard) -> None:
    from skewguard.plan import compile_plan, save_plan

    save_plan(compile_plan(applied.feast), applied.state.plan)
    assert applied.preflight("till_v1").findings == ()
    guard = changed(applied, "hours=36", "hours=48")
    guard.feast.apply()
    assert [f.evidence["rule"] for f in guard.preflight("till_v1").findings] == ["plan"]
    guard.state.plan.write_text("{")
    assert [f.evidence["rule"] for f in guard.preflight("till_v1").findings] == ["plan"]


# --- policy and run --------------------------------------------------------------------------------------------------


def test_policy_decides_by_severity_and_the_cause_caps_it(tmp_path: Path) -> None:
    path = OneView(columns(), ttl=timedelta(days=-1)).build(tmp_path).path

    def verdict(**policy: Any) -> Verdict:
        return SkewGuard(path, policy=Policy(policy), clock=lambda: NOW).preflight("s").verdict

    assert verdict() is Verdict.BLOCK
    assert verdict(severities={"critical": "warn"}) is Verdict.WARN
    assert verdict(causes={"definition_risk": "warn"}) is Verdict.WARN
    assert verdict(causes={"definition_risk": "ignore"}) is Verdict.PASS


def test_it_runs_first_in_a_check(applied: SkewGuard) -> None:
    run = applied.check("till_v1", save=False)
    assert (run.checks[0].check, run.checks[0].status) == ("preflight", "ok")
