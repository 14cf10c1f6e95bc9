"""On-demand views on both engines, from a real Feast repository with views of every mode."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from skewguard import SkewGuard
from skewguard.config import Policy, ServicePolicy
from skewguard.findings import Finding
from skewguard.gate import decide
from skewguard.offline.sources import connect
from skewguard.online.embedded import EmbeddedRedis
from skewguard.transforming import transform

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
DEFINITIONS = '''
from datetime import timedelta
from typing import Any

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float32, Float64, Int64, String

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
stats = FeatureView(
    name="stats", entities=[user], ttl=timedelta(days=30),
    source=FileSource(path="data/stats.parquet", timestamp_field="ts"),
    schema=[Field(name="spend", dtype=Float64), Field(name="orders", dtype=Int64), Field(name="region", dtype=String),
            Field(name="score", dtype=Float32), Field(name="seen", dtype=Int64)],
)
asked = RequestSource(name="asked", schema=[Field(name="amount", dtype=Float64)])


@on_demand_feature_view(sources=[stats], schema=[Field(name="double_spend", dtype=Float64)])
def plain(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"double_spend": pd.to_numeric(inputs["spend"]).astype("float64") * 2})


@on_demand_feature_view(sources=[stats], schema=[Field(name="per_order", dtype=Float64)], mode="python")
def in_python(inputs: dict[str, Any]) -> dict[str, Any]:
    spend, orders = inputs["spend"], inputs["orders"]
    return {"per_order": [s / o if s is not None and o else None for s, o in zip(spend, orders)]}


@on_demand_feature_view(sources=[stats], schema=[Field(name="size", dtype=Float64)])
def absolute(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"size": inputs["spend"].abs()})


@on_demand_feature_view(sources=[stats], schema=[Field(name="parity", dtype=Int64)])
def by_bits(inputs: pd.DataFrame) -> pd.DataFrame:
    """A whole number with a null somewhere in its column is a double in training: odd ones above 2^53 become even."""
    return pd.DataFrame({"parity": [int(v) % 2 if v == v and v is not None else 0 for v in inputs["seen"]]})


@on_demand_feature_view(sources=[stats], schema=[Field(name="shout", dtype=String)], mode="python", singleton=True)
def singly(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"shout": inputs["region"].upper()}


@on_demand_feature_view(sources=[stats, asked], schema=[Field(name="share", dtype=Float64)])
def with_request(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"share": inputs["amount"].astype("float64") + inputs["spend"].astype("float64")})


@on_demand_feature_view(sources=[stats], schema=[Field(name="dice", dtype=Float64)], mode="python")
def thrown(inputs: dict[str, Any]) -> dict[str, Any]:
    import random

    return {"dice": [random.random() for _ in inputs["spend"]]}


plain_service = FeatureService(name="plain", features=[stats, plain])
python_service = FeatureService(name="in_python", features=[stats, in_python])
absolute_service = FeatureService(name="absolute", features=[stats, absolute])
bits_service = FeatureService(name="by_bits", features=[stats, by_bits])
singly_service = FeatureService(name="singly", features=[stats, singly])
request_service = FeatureService(name="with_request", features=[stats, with_request])
thrown_service = FeatureService(name="thrown", features=[stats, thrown])
stored_service = FeatureService(name="stored", features=[stats])
'''


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory, redis_server: EmbeddedRedis) -> SkewGuard:
    folder = tmp_path_factory.mktemp("transform")
    (folder / "data").mkdir()
    count = 60
    frame = pd.DataFrame(
        {
            "user_id": np.arange(count),
            "spend": np.linspace(1, 90, count),
            "orders": np.arange(1, count + 1),
            "region": [f"r{n % 5}" for n in range(count)],
            "score": np.linspace(0, 1, count, dtype=np.float32),
            "seen": pd.array([2**53 + 1 if n % 3 else n for n in range(count)], dtype="Int64"),
            "ts": pd.Timestamp(NOW - timedelta(days=1)),
        }
    )
    frame.loc[7, "seen"] = pd.NA
    frame.to_parquet(folder / "data" / "stats.parquet")
    (folder / "definitions.py").write_text(DEFINITIONS)
    (folder / "feature_store.yaml").write_text(
        "project: transform\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        f"online_store: {{type: redis, connection_string: '{redis_server.connection_string}'}}\n"
        "offline_store: {type: skewguard.offline.store.SkewguardOfflineStore}\n"
    )
    opened = SkewGuard(folder, clock=lambda: NOW)
    opened.feast.apply()
    opened.materialize(as_of=NOW)
    return opened


def found(guard: SkewGuard, service: str, policy: ServicePolicy | None = None) -> list[Finding]:
    with connect() as con:
        result = transform(guard, guard.service(service), NOW, con)
    assert result.status == "ok"
    assert result.compared == result.population > 0
    return list(decide([result], policy or ServicePolicy()).findings)


def test_a_view_that_answers_alike_has_no_finding(guard: SkewGuard) -> None:
    assert found(guard, "plain") == []


def test_nan_is_null_online_and_python_answers_null_for_either(guard: SkewGuard) -> None:
    assert found(guard, "in_python") == []


def test_a_null_alone_in_a_request_is_no_number_to_pandas(guard: SkewGuard) -> None:
    """No row of the data has one, so it only warns: training would see NaN, a request fails."""
    (finding,) = found(guard, "absolute")
    assert (finding.cause.value, finding.view, finding.feature) == ("transform_divergence", "absolute", "size")
    assert (finding.evidence["rows_differ"], finding.evidence["edges_differ"][0]) == (0, "spend is null")
    assert "TypeError" in finding.evidence["raises"]["online"]
    assert (finding.evidence["severity"], finding.action) == ("warning", "warn")
    assert "edge cases" in finding.message
    assert "(when spend is null" in finding.message
    assert finding.samples[0]["online"].startswith("(raises TypeError")


def test_a_null_somewhere_in_training_makes_whole_numbers_doubles(guard: SkewGuard) -> None:
    (finding,) = found(guard, "by_bits")
    assert finding.evidence["rows_differ"] == finding.count == 39
    assert (finding.action, finding.evidence["severity"]) == ("block", "critical")
    sample = finding.samples[0]
    assert (sample["entity"]["stats__seen"], sample["offline"], sample["online"]) == (2**53 + 1, 0, 1)


def test_views_of_one_row_answer_in_training_too_and_raising_on_either_side_is_alike(guard: SkewGuard) -> None:
    """``None.upper()`` fails wherever it is called."""
    assert found(guard, "singly") == []
    frame = pd.DataFrame({"user_id": [3, 4], "event_timestamp": [NOW, NOW]})
    table = guard.historical_features(frame, "singly")
    assert isinstance(table, pa.Table)
    assert table.column("shout").to_pylist() == ["R3", "R4"]


def test_request_data_take_part(guard: SkewGuard) -> None:
    findings = found(guard, "with_request")
    assert all(f.evidence["rows_differ"] == 0 for f in findings)
    with connect() as con:
        details = transform(guard, guard.service("with_request"), NOW, con).details["views"]["with_request"]
    assert details["rows"] == 60
    assert details["edges"] > 10


def test_what_is_not_deterministic_is_named_so(guard: SkewGuard) -> None:
    (finding,) = found(guard, "thrown")
    assert finding.evidence["not_deterministic"] is True
    assert (finding.action, "asked again" in finding.message) == ("warn", True)


def test_it_is_part_of_a_check_where_there_are_on_demand_views(guard: SkewGuard) -> None:
    by_service = {
        name: [c.check for c in guard.check(name, as_of=NOW, save=False).checks] for name in ("plain", "stored")
    }
    assert "transform" in by_service["plain"]
    assert "transform" not in by_service["stored"]


def test_rows_are_as_many_as_policy_says(guard: SkewGuard) -> None:
    few = SkewGuard(guard.path, policy=Policy({"transform_rows": 5}), clock=lambda: NOW)
    none = SkewGuard(guard.path, policy=Policy({"transform_rows": 0}), clock=lambda: NOW)
    rows: dict[str, Any] = {}
    for name, opened in (("few", few), ("none", none)):
        with connect() as con:
            rows[name] = transform(opened, opened.service("plain"), NOW, con).details["views"]["plain"]["rows"]
    assert rows == {"few": 5, "none": 0}
