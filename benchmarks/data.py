"""A generated repository: one view, daily rows of many entities, float features; written twice, for either side."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

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
    """How much data: entities, daily rows of each, features."""

    entities: int
    days: int
    features: int


def write_repo(folder: Path, connection_string: str, sizes: Sizes, project: str = "bench") -> Path:
    """Write the repository and apply it; ``feature_store.duckdb.yaml`` is the same with Feast's own DuckDB store."""
    folder.mkdir()
    names = range(sizes.features)
    values = ", ".join(f"hash(user_id * 1000003 + day * 101 + {i}) / 18446744073709551616.0 AS f{i}" for i in names)
    sql = f"""
        COPY (
            SELECT user_id, TIMESTAMPTZ '{NOW.isoformat()}' - INTERVAL 1 DAY * day AS event_timestamp,
                event_timestamp + INTERVAL 1 HOUR AS created, {values}
            FROM range({sizes.entities}) u(user_id), range({sizes.days}) d(day) ORDER BY user_id, day
        ) TO '{folder / "data.parquet"}'
    """
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(sql)
    (folder / "definitions.py").write_text(DEFINITIONS.format(features=sizes.features, path=folder / "data.parquet"))
    config = (
        f"project: {project}\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
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
