"""A generated repository: one view, daily rows of many entities, float features; written twice, for either side."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from typing import Any

import numpy as np
import pandas as pd

from skewguard.feast_repo import FeastRepo, quiet_feast

NOW = datetime(2026, 9, 1, tzinfo=UTC)
DEFINITIONS = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
source = FileSource(path="{path}", timestamp_field="event_timestamp", created_timestamp_column="created")
stats = FeatureView(
    name="stats", entities=[user], ttl=timedelta(days=30), source=source,
    schema=[Field(name=f"f{{i}}", dtype=Float64) for i in range({features})] + [Field(name="user_id", dtype=Int64)],
)
service = FeatureService(name="service", features=[stats])
"""


@dataclass(frozen=True)
class Sizes:
    """How much data: entities, rows an entity, features, entity rows."""

    entities: int
    days: int
    features: int
    entity_rows: int


def write_repo(folder: Path, connection_string: str, sizes: Sizes) -> Path:
    """Write the repository and apply it; ``feature_store.duckdb.yaml`` is the same with Feast's own DuckDB store."""
    folder.mkdir()
    random = np.random.default_rng(0)
    count = sizes.entities * sizes.days
    days = np.tile(np.arange(sizes.days), sizes.entities)
    event = pd.to_datetime(np.datetime64(NOW.replace(tzinfo=None)) - days.astype("timedelta64[D]"), utc=True)
    frame = pd.DataFrame({f"f{i}": random.random(count) for i in range(sizes.features)})
    frame["user_id"] = np.repeat(np.arange(sizes.entities), sizes.days)
    frame["event_timestamp"] = event.as_unit("us")
    frame["created"] = frame["event_timestamp"] + timedelta(hours=1)
    frame.to_parquet(folder / "data.parquet")
    (folder / "definitions.py").write_text(DEFINITIONS.format(features=sizes.features, path=folder / "data.parquet"))
    config = (
        "project: bench\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        f"online_store: {{type: redis, connection_string: '{connection_string}'}}\noffline_store: {{type: %s}}\n"
    )
    (folder / "feature_store.yaml").write_text(config % "skewguard.offline.store.SkewguardOfflineStore")
    (folder / "feature_store.duckdb.yaml").write_text(config % "duckdb")
    FeastRepo(folder).apply()
    return folder


def feast_store(repo: Path, config: str) -> Any:
    """Feast's own store on one of the two configurations."""
    with quiet_feast():
        from feast import FeatureStore

        return FeatureStore(repo_path=str(repo), fs_yaml_file=repo / config)


def entity_rows(sizes: Sizes) -> pd.DataFrame:
    """Entity rows at random times inside the data."""
    random = np.random.default_rng(1)
    hours = random.integers(0, sizes.days * 24, sizes.entity_rows)
    return pd.DataFrame(
        {
            "user_id": random.integers(0, sizes.entities, sizes.entity_rows),
            "event_timestamp": [NOW - timedelta(hours=int(h)) for h in hours],
        }
    )
