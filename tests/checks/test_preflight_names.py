"""Preflight on names and TTLs, each beside what Feast itself does with them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from feast.types import Float64

from skewguard import SkewGuard, Verdict
from skewguard.definitions import FieldDef, OnDemandDef, Projection, ServiceDef, SourceDef, ViewDef
from skewguard.feast_repo import quiet_feast
from skewguard.risks.names import project_risks, service_name_risks
from skewguard.risks.risk import Stores
from tests.checks.sources import ASOF, FEAST_DUCKDB, NOW, OneView, columns, feast_offline, feast_online, moments, rules

# --- names: each breaks Feast as said, or does not -------------------------------------------------------------------

NAMES = [
    ("f_y", "ends_in_y", "fails"),
    ("entity_row_id", "join_column", "fails"),
    ("rn", "join_column", "fails"),
    ("event_timestamp", "join_column", "fails"),
    ("k_y", "ends_in_y", "fails"),
    ("event_expire_timestamp", "join_column", "wrong"),
    ("a:b", "colon", "fails"),
    ("a__b", None, "right"),
    ("a b", None, "right"),
    ("ä", None, "right"),
    ("f_yyyy", None, "right"),
    ("select", None, "right"),
]


@pytest.mark.parametrize(("name", "rule", "outcome"), NAMES, ids=[n[0] for n in NAMES])
def test_feature_names_on_feasts_duckdb_store(tmp_path: Path, name: str, rule: str | None, outcome: str) -> None:
    table = pa.table({"k": [1, 2], name: [1.5, 2.5], "t": moments(5, 4)})
    guard = OneView(table, features={name: Float64}, offline=FEAST_DUCKDB).build(tmp_path)
    severity = "critical" if outcome == "wrong" else "warning"
    assert rules(guard) == (set() if rule is None else {(rule, severity)})
    if outcome == "fails":
        with pytest.raises(Exception, match=r"."):  # ibis has an exception of its own for each
            feast_offline(guard, [name])
    else:
        values = feast_offline(guard, [name]).sort_values("k")[name].tolist()
        assert (values == [1.5, 2.5]) is (outcome == "right")


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        (columns(k_y=[1, 2]), ("join_column", "warning")),
        (columns(entity_row_id=[1, 2]), ("join_column", "warning")),
        (columns(rn=[1, 2]), None),
        (columns(f_y=[1, 2]), None),
        (columns(K=[1, 2]), ("case", "warning")),
    ],
)
def test_columns_that_the_view_does_not_read(tmp_path: Path, table: pa.Table, rule: tuple[str, str] | None) -> None:
    guard = OneView(table, offline=FEAST_DUCKDB).build(tmp_path)
    assert rules(guard) == ({rule} if rule else set())
    if rule is not None and rule[0] == "join_column":
        with pytest.raises(Exception, match=r"."):
            feast_offline(guard, ["f"])
    else:
        assert sorted(feast_offline(guard, ["f"])["f"]) == [1.5, 2.5]


def test_timestamp_columns_that_end_in_y(tmp_path: Path) -> None:
    table = pa.table({"k": [1, 2], "f": [1.5, 2.5], "day": moments(5, 4), "c_y": moments(3, 3)})
    guard = OneView(table, timestamp="day", created="c_y", offline=FEAST_DUCKDB).build(tmp_path)
    assert rules(guard) == {("ends_in_y", "warning")}
    with pytest.raises(Exception, match="c_y"):
        feast_offline(guard, ["f"])


def test_a_mapping_onto_a_column_that_is_there_is_read_otherwise_offline_than_online(tmp_path: Path) -> None:
    table = pa.table({"k": [1, 2], "a": [7.5, 8.5], "f": [1.5, 2.5], "t": moments(5, 4)})
    guard = OneView(table, mapping={"a": "f"}, offline=FEAST_DUCKDB).build(tmp_path)
    assert sorted(feast_offline(guard, ["f"])["f"]) != sorted(feast_online(guard, ["f"])["f"])
    run = guard.preflight("s")
    assert [(f.evidence["rule"], f.feature) for f in run.findings] == [("mapped_over", "f")]
    assert run.verdict is Verdict.BLOCK


def test_names_that_differ_only_in_case(tmp_path: Path) -> None:
    table = columns(F=[3.5, 4.5])
    guard = OneView(table, features={"f": Float64, "F": Float64}).build(tmp_path)
    assert ("case", "critical") in rules(guard)
    with pytest.raises(ValueError, match="differ in more than case"):
        guard.historical_features(pd.DataFrame({"k": [1], "event_timestamp": [NOW]}), "s")


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["__event_ts"], ("reserved_name", "critical")), (["f", "f__timestamp"], ("log_column", "warning"))],
)
def test_names_that_the_guard_and_the_log_take(tmp_path: Path, names: list[str], expected: tuple[str, str]) -> None:
    table = pa.table({"k": [1, 2], "t": moments(5, 4)} | {name: [1.5, 2.5] for name in names})
    assert rules(OneView(table, features=dict.fromkeys(names, Float64)).build(tmp_path)) == {expected}


@pytest.mark.parametrize(("key", "marked"), [("k" * 42, True), ("k" * 63, True), ("a*b", True), ("k" * 41, False)])
def test_keys_that_are_wildcards_in_redis(tmp_path: Path, key: str, marked: bool) -> None:
    table = pa.table({key: [1, 2], "f": [1.5, 2.5], "t": moments(5, 4)})
    redis = {"type": "redis", "connection_string": "127.0.0.1:1"}
    view = OneView(table, keys={key: "INT64"})
    guard = SkewGuard(view.build(tmp_path).path, clock=lambda: NOW)
    assert rules(guard) == set()  # SQLite has no patterns
    (tmp_path / "feature_store.yaml").write_text(
        (tmp_path / "feature_store.yaml").read_text().replace("path: online.db", "connection_string: 127.0.0.1:1")
        .replace("type: sqlite", "type: redis")
    )  # fmt: skip
    assert redis["type"] == SkewGuard(tmp_path).feast.stores[1]
    assert rules(SkewGuard(tmp_path, clock=lambda: NOW)) == ({("key_pattern", "warning")} if marked else set())


def test_projects_whose_names_end_each_other() -> None:
    redis, sqlite = Stores(ASOF, "redis"), Stores(ASOF, "sqlite")
    (outer,) = project_risks("prod", ["prod", "nonprod", "product"], redis)
    (inner,) = project_risks("nonprod", ["prod", "nonprod"], redis)
    assert (outer.evidence, outer.severity) == ({"names": ["nonprod", "prod"]}, "warning")
    assert inner.message == outer.message
    assert project_risks("prod", ["prod", "nonprod"], sqlite) == []


# --- services --------------------------------------------------------------------------------------------------------


def view(name: str, key: str, *features: str) -> Projection:
    fields = tuple(FieldDef(f, "DOUBLE") for f in features)
    definition = ViewDef(name, ("e",), (FieldDef(key, "INT64"),), fields, None, SourceDef("parquet", "/x", "t"))
    return Projection(definition, fields)


SERVICES = [
    ([view("a", "k", "f"), view("b", "k", "g")], set()),
    ([view("a", "k", "f"), view("b", "k", "f")], {("same_name", "warning")}),
    ([view("a", "k", "f"), view("a", "k", "f")], {("same_name", "critical")}),
    ([view("a__b", "k", "c"), view("a", "k", "b__c")], {("same_full_name", "warning")}),
    ([view("a", "k", "f"), view("b", "j", "k")], {("feature_is_key", "warning")}),
    ([view("a", "k", "f"), view("b", "K", "g")], {("case", "critical")}),
    ([view("a", "k", "f"), view("b", "k", "F")], set()),
]


@pytest.mark.parametrize(("projections", "expected"), SERVICES)
def test_names_within_a_service(projections: list[Projection], expected: set[tuple[str, str]]) -> None:
    found = service_name_risks(ServiceDef("s", tuple(projections)))
    assert {(risk.rule, risk.severity) for risk in found} == expected


def test_request_data_that_is_a_join_key() -> None:
    on_demand = OnDemandDef("od", (FieldDef("h", "DOUBLE"),), (), (FieldDef("k", "INT64"),), "pandas", "")
    (risk,) = service_name_risks(ServiceDef("s", (view("a", "k", "f"),), (on_demand,)))
    assert (risk.rule, risk.severity) == ("request_is_key", "warning")


# --- TTL -------------------------------------------------------------------------------------------------------------

TTLS = [
    (timedelta(0), None, [1.5, 2.5]),
    (timedelta(days=2), None, [1.5, 2.5]),
    (timedelta(hours=20), None, [1.5, 2.5]),
    (timedelta(hours=36), "mixed units", None),
    (timedelta(days=1, microseconds=5), "mixed units", None),
    (timedelta(days=109_575_000), "overflow", None),
]


@pytest.mark.parametrize(("ttl", "message", "values"), TTLS)
def test_ttls_on_feasts_duckdb_store(
    tmp_path: Path, ttl: timedelta, message: str | None, values: list[float] | None
) -> None:
    guard = OneView(columns(), ttl=ttl, offline=FEAST_DUCKDB).build(tmp_path)
    found = [f.message for f in guard.preflight("s").findings]
    if message is None:
        assert found == []
        assert sorted(feast_offline(guard, ["f"])["f"]) == values
    else:
        assert any(message in text for text in found)
        with pytest.raises(Exception, match=r"mixed units|overflows"):
            feast_offline(guard, ["f"])


def test_a_ttl_longer_than_time_stops_the_first_incremental_materialization(tmp_path: Path) -> None:
    guard = OneView(columns(), ttl=timedelta(days=3000 * 365)).build(tmp_path)
    assert rules(guard) == {("ttl", "warning")}
    with quiet_feast(), pytest.raises(OverflowError):
        guard.feast.store.materialize_incremental(NOW)


def test_a_negative_ttl_gives_nulls_offline_and_values_online(tmp_path: Path) -> None:
    guard = OneView(columns(), ttl=timedelta(days=-1)).build(tmp_path)
    assert rules(guard) == {("ttl", "critical")}
    entity_df = pd.DataFrame({"k": [1, 2], "event_timestamp": [NOW, NOW]})
    assert guard.historical_features(entity_df, "s").column("f").null_count == 2  # type: ignore[union-attr]
    assert feast_online(guard, ["f"])["f"] == [1.5, 2.5]


def test_old_rows_without_a_ttl_are_beyond_the_first_incremental_window(tmp_path: Path) -> None:
    assert rules(OneView(columns(t=moments(24 * 500, 4)), ttl=None).build(tmp_path)) == {("ttl", "info")}
