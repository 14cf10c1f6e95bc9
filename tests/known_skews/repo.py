"""A Feast repository for known skews: one view and one service a case, all applied at once, Feast's own stores.

A view ``v`` has the join key ``k``, an event timestamp ``t``, perhaps a created timestamp ``c``, and its service is
named ``v`` too. Offline is Feast's DuckDB store, online is Redis; everything is written by Feast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, PushSource, ValueType
from feast.types import Float64, Int64, String

from skewguard import SkewGuard
from skewguard.feast_repo import quiet_feast
from skewguard.findings import Run
from skewguard.online.embedded import EmbeddedRedis
from tests.checks.sources import NOW, hours, moments

Row = tuple[Any, ...]
"""(key, hours before NOW, created hours before NOW, value...)"""
Found = dict[tuple[str, str | None], int]
"""(cause, or ``rule`` of preflight; feature) -> count."""
HEALTHY: list[Row] = [(k, 4.0, 3.5, k + 0.25) for k in (11, 12, 13)]
"""Entities beside the one that goes wrong."""


@dataclass(frozen=True)
class Case:
    """A view: its rows, features, what Parquet holds where that is not the declared dtype, its TTL."""

    rows: Sequence[Row]
    features: Mapping[str, Any] = field(default_factory=lambda: {"f": Float64})
    parquet: Mapping[str, pa.DataType] = field(default_factory=dict)
    ttl: timedelta | None = timedelta(days=30)
    created: bool = True
    key: str = "INT64"

    def table(self, rows: Sequence[Row]) -> pa.Table:
        """The rows as Parquet holds them."""
        columns: dict[str, Any] = {"k": [r[0] for r in rows], "t": moments(*(r[1] for r in rows))}
        if self.created:
            columns["c"] = moments(*(r[2] for r in rows))
        for i, name in enumerate(self.features):
            columns[name] = pa.array([r[3 + i] for r in rows], self.parquet.get(name))
        columns["k"] = pa.array(columns["k"], pa.int64() if self.key == "INT64" else pa.string())
        return pa.table(columns)


@dataclass
class Repo:
    """The repository; ``store`` is Feast, ``guard()`` a fresh SkewGuard whose clock stands at NOW."""

    folder: Path
    redis: EmbeddedRedis
    cases: dict[str, Case]
    project: str
    online: Mapping[str, Any] = field(default_factory=dict)
    service: Mapping[str, Any] = field(default_factory=dict)
    more: Callable[[Mapping[str, FeatureView]], Sequence[Any]] | None = None
    """Further objects to apply, from the views by name."""

    def build(self) -> Repo:
        """Write Parquet and configuration, and apply."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = {
            "project": self.project,
            "provider": "local",
            "registry": "registry.db",
            "entity_key_serialization_version": 3,
            "offline_store": {"type": "duckdb"},
            "online_store": {"type": "redis", "connection_string": self.redis.connection_string, **self.online},
        }
        (self.folder / "feature_store.yaml").write_text(yaml.safe_dump(config))
        for name, case in self.cases.items():
            self.write(name, case.rows)
        self.apply()
        return self

    def apply(self) -> None:
        """``feast apply`` of all cases as they are now."""
        with quiet_feast():
            self.store = FeatureStore(repo_path=str(self.folder))
            parts = [part for name, case in self.cases.items() for part in self.parts(name, case)]
            views = {part.name: part for part in parts if isinstance(part, FeatureView)}
            self.store.apply([*parts, *(self.more(views) if self.more else ())])

    def parts(self, name: str, case: Case) -> list[Any]:
        """Entity, push source, view and service of a case."""
        entity = Entity(name=f"e_{case.key}", join_keys=["k"], value_type=ValueType[case.key])
        source = FileSource(
            name=f"{name}_file",
            path=str(self.folder / f"{name}.parquet"),
            timestamp_field="t",
            created_timestamp_column="c" if case.created else "",
        )
        view = FeatureView(
            name=name,
            entities=[entity],
            ttl=case.ttl,
            schema=[Field(name=n, dtype=t) for n, t in case.features.items()]
            + [Field(name="k", dtype=Int64 if case.key == "INT64" else String)],
            source=PushSource(name=f"{name}_push", batch_source=source),
        )
        return [entity, view, FeatureService(name=name, features=[view], **self.service)]

    def write(self, name: str, rows: Sequence[Row]) -> None:
        """What the source of a case holds from now on."""
        pq.write_table(self.cases[name].table(rows), self.folder / f"{name}.parquet")

    def frame(self, name: str, rows: Sequence[Row]) -> pd.DataFrame:
        """Rows as a push takes them."""
        frame: pd.DataFrame = self.cases[name].table(rows).to_pandas()
        return frame

    def materialize(self, *names: str, end: datetime = NOW, start: datetime | None = None) -> None:
        """Feast's own materialization, by default of all cases and 100 days."""
        with quiet_feast():
            self.store.materialize(start or end - timedelta(days=100), end, feature_views=list(names or self.cases))

    def push(self, name: str, rows: Sequence[Row]) -> None:
        """Feast's own push, to the online store."""
        with quiet_feast():
            self.store.push(f"{name}_push", self.frame(name, rows))

    def guard(self, policy: str = "") -> SkewGuard:
        """The guard, under a policy."""
        (self.folder / "skewguard.yaml").write_text(policy)
        return SkewGuard(self.folder, clock=lambda: NOW)

    def run(self, name: str, as_of: datetime = NOW, ignore: Sequence[str] = ()) -> Run:
        """A whole check of a case, not stored, under a policy that ignores some causes.

        Nobody trained here, so a contract is not asked for.
        """
        causes = dict.fromkeys(["contract_missing", *ignore], "ignore")
        return self.guard(yaml.safe_dump({"causes": causes})).check(name, as_of=as_of, save=False)

    def found(self, name: str, as_of: datetime = NOW, of: set[Any] | None = None) -> Found:
        """What a check finds, whatever policy makes of it; ``of`` are the entities that parity may name, and no other.

        By default that is entity 1, the one that goes wrong.
        """
        run = self.run(name, as_of)
        named = {sample["entity"]["k"] for f in run.findings if f.check == "parity" for sample in f.samples}
        assert named <= (of or {1}), named
        return counts(run)

    def feast_online(self, name: str, *keys: Any) -> dict[str, list[Any]]:
        """What Feast itself answers."""
        features = [f"{name}:{f}" for f in self.cases[name].features]
        with quiet_feast():
            answer = self.store.get_online_features(features, [{"k": key} for key in keys])
        found: dict[str, list[Any]] = answer.to_dict()
        return found

    def feast_offline(self, name: str, *keys: Any, at: datetime = NOW) -> dict[Any, dict[str, Any]]:
        """What Feast itself says of history, by key."""
        frame = pd.DataFrame({"k": list(keys), "event_timestamp": [at] * len(keys)})
        features = [f"{name}:{f}" for f in self.cases[name].features]
        with quiet_feast():
            table = self.store.get_historical_features(frame, features).to_arrow()
        return {row["k"]: row for row in table.to_pylist()}


def counts(run: Run) -> Found:
    """Every finding but the missing contract; those of preflight by their rule."""
    assert all(check.status == "ok" for check in run.checks), run.reasons
    found: Found = {}
    for f in run.findings:
        if f.cause.value != "contract_missing":
            key = (f.evidence.get("rule", f.cause.value), f.feature)
            found[key] = found.get(key, 0) + f.count
    return found


__all__ = ["HEALTHY", "NOW", "Case", "Found", "Repo", "Row", "counts", "hours"]
