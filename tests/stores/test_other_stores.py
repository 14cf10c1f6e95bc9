"""Stores other than Redis and Parquet through DuckDB: SQLite online, Feast's file store offline, with real Feast."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from skewguard import SkewGuard, Verdict
from skewguard.config import Policy
from skewguard.errors import ConfigurationError
from skewguard.feast_repo import quiet_feast
from skewguard.findings import Cause, Run
from skewguard.online.through_feast import LIMITS
from skewguard.report.html import render_html
from skewguard.report.text import render_table

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
SHOPS = ("Äpfel", "b:c", "", "dd")
DEFINITIONS = """
from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Array, Float64, Int64, String

shop = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.STRING)
till = Entity(name="till", join_keys=["till_no"], value_type=ValueType.INT64)
stats = FeatureView(
    name="stats", entities=[shop, till], ttl=timedelta(days=2),
    source=FileSource(path="data/stats.parquet", timestamp_field="at", created_timestamp_column="made",
                      field_mapping={"turn": "sales"}),
    schema=[Field(name="sales", dtype=Float64), Field(name="items", dtype=Int64), Field(name="label", dtype=String),
            Field(name="tags", dtype=Array(String))],
)
rates = FeatureView(name="rates", entities=[], ttl=timedelta(days=30),
                    source=FileSource(path="data/rates.parquet", timestamp_field="at"),
                    schema=[Field(name="euro", dtype=Float64)])
service = FeatureService(name="service", features=[stats, rates])
"""


def rows(hours: float, factor: float = 1.0) -> pd.DataFrame:
    at = NOW - timedelta(hours=hours)
    keys = [(shop, till) for shop in SHOPS for till in range(6)]
    return pd.DataFrame(
        {
            "shop_id": [shop for shop, _ in keys],
            "till_no": [till for _, till in keys],
            "turn": [(10.5 + 3 * n) * factor for n in range(len(keys))],
            "items": pd.array([n if n % 5 else None for n in range(len(keys))], dtype="Int64"),
            "label": [f"l{n}" if n % 7 else None for n in range(len(keys))],
            "tags": [["a", f"t{n}"] if n % 3 else [] for n in range(len(keys))],
            "at": pd.Timestamp(at),
            "made": pd.Timestamp(at),
        }
    )


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    (folder / "data").mkdir()
    rows(5).to_parquet(folder / "data" / "stats.parquet", coerce_timestamps="us")
    pd.DataFrame({"euro": [1.25], "at": [pd.Timestamp(NOW - timedelta(days=1))]}).to_parquet(
        folder / "data" / "rates.parquet", coerce_timestamps="us"
    )
    (folder / "definitions.py").write_text(DEFINITIONS, encoding="utf-8")
    (folder / "feature_store.yaml").write_text(
        "project: other\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        "online_store: {type: sqlite, path: online.db}\noffline_store: {type: file}\n"
    )
    return folder


@pytest.fixture(params=["direct", "feast"])
def guard(request: pytest.FixtureRequest, blank: Path, tmp_path: Path) -> SkewGuard:
    """A repository of its own, materialized by Feast; sources read by us, and through Feast's file store."""
    import shutil

    repo = tmp_path / "repo"
    shutil.copytree(blank, repo)
    opened = SkewGuard(repo, policy=Policy({"offline": request.param}), clock=lambda: NOW)
    opened.feast.apply()
    with quiet_feast():
        opened.feast.store.materialize(NOW - timedelta(days=3), NOW - timedelta(hours=1))
    return opened


def told(guard: SkewGuard) -> tuple[dict[tuple[str, str | None, str | None], int], Run]:
    run = guard.check("service", as_of=NOW)
    assert {c.check: c.status for c in run.checks if c.status != "ok"} == {}
    found = {(f.cause.value, f.view, f.feature): f.count for f in run.findings if f.cause is not Cause.CONTRACT_MISSING}
    return found, run


def stored(guard: SkewGuard, sql: str) -> None:
    connection = sqlite3.connect(guard.path / "online.db")
    with connection:
        connection.execute(sql)
    connection.close()


def test_a_clean_store_is_clean_and_says_what_it_cannot_tell(guard: SkewGuard) -> None:
    found, run = told(guard)
    assert found == {}
    assert run.verdict is Verdict.WARN  # no contract yet
    parity = next(check for check in run.checks if check.check == "parity")
    assert (parity.compared, parity.details["not_checked"]) == (25, list(LIMITS))
    page = render_html(run)
    assert all(limit in page for limit in LIMITS)
    assert render_table(run).count("not told: ") == len(LIMITS)


def test_each_kind_of_wrong_row_is_named(guard: SkewGuard) -> None:
    path = guard.path / "data" / "stats.parquet"
    before = pd.read_parquet(path)
    newer = rows(0.5, factor=2).iloc[:4]
    pd.concat([before, newer]).to_parquet(path, coerce_timestamps="us")
    stored(guard, "DELETE FROM other_rates")
    found, _ = told(guard)
    assert found == {("not_materialized", "stats", None): 4, ("missing_online", "rates", None): 1}


def test_another_unit_and_a_correction(guard: SkewGuard) -> None:
    wrong = rows(5, factor=100).drop(columns=["made"]).rename(columns={"turn": "sales"}).iloc[:12]
    with quiet_feast():
        guard.feast.store.write_to_online_store("stats", wrong.assign(made=wrong["at"]), allow_registry_cache=False)
    found, run = told(guard)
    assert found == {("unit_scale", "stats", "sales"): 12}
    finding = next(f for f in run.findings if f.cause is Cause.UNIT_SCALE)
    assert finding.evidence["k"] == pytest.approx(100)


def test_rows_past_their_ttl_are_expired(guard: SkewGuard) -> None:
    late = NOW + timedelta(hours=46)
    run = guard.check("service", as_of=late)
    assert {(f.cause, f.view): f.count for f in run.findings if f.view == "stats"} == {
        (Cause.EXPIRED_BUT_SERVED, "stats"): 24
    }


def test_vectors_are_read_there_too(guard: SkewGuard) -> None:
    table = guard.online("service", [{"shop_id": "b:c", "till_no": 1}, {"shop_id": "none", "till_no": 1}], as_of=NOW)
    assert table.column("sales").to_pylist() == [10.5 + 3 * 7, None]
    assert table.column("tags").to_pylist() == [["a", "t7"], None]
    assert table.column("__status__sales").to_pylist() == ["PRESENT", "NOT_FOUND"]
    assert table.column("euro").to_pylist() == [1.25, 1.25]


def test_what_needs_redis_refuses(guard: SkewGuard) -> None:
    needs: list[Any] = [
        lambda: guard.materialize(as_of=NOW),
        lambda: guard.plan_repair("service", as_of=NOW),
    ]
    for verb in needs:
        with pytest.raises(ConfigurationError, match=r"online_store\.type: got 'sqlite'; expected 'redis'"):
            verb()


def test_a_store_that_cannot_be_read_is_inconclusive(guard: SkewGuard) -> None:
    stored(guard, "DROP TABLE other_stats")
    run = guard.check("service", as_of=NOW)
    parity = next(check for check in run.checks if check.check == "parity")
    assert (parity.status, "online store (sqlite) through Feast" in parity.reason) == ("inconclusive", True)
    assert run.verdict is Verdict.INCONCLUSIVE
    assert json.loads((guard.state.run_directory(run.run_id) / "run.json").read_text())["verdict"] == "inconclusive"


def test_a_comparison_frame_of_such_a_store(guard: SkewGuard) -> None:
    table = guard.comparison("service", "stats")
    assert table.num_rows == len(SHOPS) * 6
    for feature in ("sales", "items", "label", "tags"):
        assert set(table.column(f"stats__{feature}__equal").to_pylist()) == {True}, feature
    stored(guard, "DELETE FROM other_stats WHERE feature_name = 'label'")
    causes = guard.comparison("service", "stats", features=["label"]).column("stats__label__cause")
    assert set(causes.drop_null().to_pylist()) == {"null_default"}  # Feast does not tell absent from null
