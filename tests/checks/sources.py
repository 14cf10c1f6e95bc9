"""A Feast repository of one view over a table that a test writes: real Parquet, Feast's own registry and stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, from_value_type

from skewguard import SkewGuard
from skewguard.feast_repo import quiet_feast

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
UTC_US = pa.timestamp("us", "UTC")
FEAST_DUCKDB, ASOF = "duckdb", "skewguard.offline.store.SkewguardOfflineStore"


def hours(count: float) -> datetime:
    """The moment ``count`` hours before NOW."""
    return NOW - timedelta(hours=count)


def moments(*ages: float | None) -> pa.Array:
    """Moments by their age in hours."""
    return pa.array([None if age is None else hours(age) for age in ages], UTC_US)


def columns(**others: Any) -> pa.Table:
    """Two rows of a healthy view, with other columns in place or beside."""
    return pa.table({"k": [1, 2], "f": [1.5, 2.5], "t": moments(5, 4), "c": moments(3, 3)} | others)


@dataclass(frozen=True)
class OneView:
    """A view ``v`` over ``table``, its service ``s``; columns ``k`` (key), ``t`` (event) perhaps ``c`` (created)."""

    table: pa.Table
    features: dict[str, Any] = field(default_factory=lambda: {"f": Float64})
    keys: dict[str, str] = field(default_factory=lambda: {"k": "INT64"})
    ttl: timedelta | None = timedelta(days=30)
    mapping: dict[str, str] = field(default_factory=dict)
    timestamp: str = "t"
    created: str = "c"
    offline: str = ASOF

    def build(self, folder: Path, online: dict[str, Any] | None = None, project: str = "p") -> SkewGuard:
        """Write it, apply it by Feast, open it."""
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(self.table, folder / "v.parquet")
        config = {
            "project": project,
            "provider": "local",
            "registry": "registry.db",
            "entity_key_serialization_version": 3,
            "offline_store": {"type": self.offline},
            "online_store": online or {"type": "sqlite", "path": "online.db"},
        }
        (folder / "feature_store.yaml").write_text(yaml.safe_dump(config))
        with quiet_feast():
            store = FeatureStore(repo_path=str(folder))
            view = self.view(folder)
            entities = [
                Entity(name=f"e_{key}", join_keys=[key], value_type=ValueType[t]) for key, t in self.keys.items()
            ]
            store.apply([*entities, view, FeatureService(name="s", features=[view])])
        return SkewGuard(folder, clock=lambda: NOW)

    def view(self, folder: Path) -> FeatureView:
        """The feature view."""
        entities = [Entity(name=f"e_{key}", join_keys=[key], value_type=ValueType[t]) for key, t in self.keys.items()]
        mapped = {self.mapping.get(name, name) for name in self.table.column_names}
        return FeatureView(
            name="v",
            entities=entities,
            ttl=self.ttl,
            schema=[Field(name=n, dtype=t) for n, t in self.features.items()]
            + [Field(name=n, dtype=from_value_type(ValueType[t])) for n, t in self.keys.items()],
            source=FileSource(
                path=str(folder / "v.parquet"),
                timestamp_field=self.timestamp,
                created_timestamp_column=self.created if self.created in mapped else None,
                field_mapping=self.mapping,
            ),
        )


def rules(guard: SkewGuard) -> set[tuple[str, str]]:
    """What preflight finds: (rule, severity)."""
    run = guard.preflight("s")
    return {(f.evidence["rule"], f.evidence["severity"]) for f in run.findings}


def feast_offline(guard: SkewGuard, features: Sequence[str], **keys: Sequence[Any]) -> pd.DataFrame:
    """Feast's own historical features at NOW."""
    entity_df = pd.DataFrame({**(keys or {"k": [1, 2]}), "event_timestamp": [NOW, NOW]})
    with quiet_feast():
        job = guard.feast.store.get_historical_features(entity_df, [f"v:{name}" for name in features])
        frame: pd.DataFrame = job.to_df()
    return frame


def feast_online(guard: SkewGuard, features: Sequence[str], **keys: Sequence[Any]) -> dict[str, Any]:
    """Feast's own materialization of thirty days, then what it answers."""
    with quiet_feast():
        guard.feast.store.materialize(NOW - timedelta(days=30), NOW)
        given = keys or {"k": [1, 2]}
        rows = [dict(zip(given, values, strict=True)) for values in zip(*given.values(), strict=True)]
        online = guard.feast.store.get_online_features([f"v:{name}" for name in features], rows)
    answer: dict[str, Any] = online.to_dict()
    return answer
