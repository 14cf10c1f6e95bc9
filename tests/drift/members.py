"""A generated repository whose features drift on demand: members with text keys, a view a region, an on-demand view."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd

from skewguard import SkewGuard

START = datetime(2026, 3, 2, 3, tzinfo=UTC)
DAY = timedelta(days=1)
SERVICE = "member_v1"

DEFINITIONS = """
from datetime import timedelta

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Bool, Float32, Float64, Int64, String, UnixTimestamp

member = Entity(name="member", join_keys=["member_id"], value_type=ValueType.STRING)
source = FileSource(path="data/members.parquet", timestamp_field="at")
usage = FeatureView(
    name="usage", entities=[member], ttl=timedelta(days=3), source=source,
    schema=[Field(name="spend", dtype=Float64), Field(name="visits", dtype=Int64), Field(name="score", dtype=Float32),
            Field(name="plan", dtype=String), Field(name="active", dtype=Bool), Field(name="seen", dtype=UnixTimestamp),
            Field(name="basket", dtype=Array(Float64)), Field(name="left", dtype=Float64),
            Field(name="right", dtype=Float64), Field(name="member_id", dtype=String)],
)
now = RequestSource(name="now", schema=[Field(name="hour", dtype=Int64)])


@on_demand_feature_view(sources=[usage, now], schema=[Field(name="per_visit", dtype=Float64)])
def derived(inputs: pd.DataFrame) -> pd.DataFrame:
    out = pd.DataFrame()
    out["per_visit"] = inputs["spend"] / (inputs["visits"] + 1)
    return out


member_v1 = FeatureService(name="member_v1", features=[usage, derived])
"""

Change = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


def unchanged(frame: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    return frame


def day_of(number: int, members: int, change: Change = unchanged, *, seed: int = 0) -> pd.DataFrame:
    """One row a member, an hour before the night that ends ``number`` days after START."""
    random = np.random.default_rng([seed, number])
    at = START + number * DAY - timedelta(hours=1)
    left = random.normal(size=members)
    frame = pd.DataFrame(
        {
            "member_id": [f"m{i:05d}" for i in range(members)],
            "at": at,
            "spend": np.round(random.lognormal(3, 1, members), 2),
            "visits": random.poisson(2.0, members),
            "score": random.normal(size=members).astype("float32"),
            "plan": random.choice(["basic", "plus", "pro"], p=[0.6, 0.3, 0.1], size=members),
            "active": random.random(members) < 0.7,
            "seen": [at - timedelta(minutes=float(m)) for m in random.exponential(600, members)],
            "basket": [list(map(float, range(n))) for n in random.integers(0, 4, members)],
            "left": left,
            "right": 0.8 * left + 0.6 * random.normal(size=members),
        }
    )
    frame["visits"] = frame["visits"].astype("Int64")
    frame.loc[random.random(members) < 0.05, "score"] = None
    return change(frame, random)


def write_days(folder: Path, connection_string: str, days: list[pd.DataFrame]) -> Path:
    """The repository with these days of rows."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    pd.concat(days).to_parquet(folder / "data" / "members.parquet")
    (folder / "definitions.py").write_text(DEFINITIONS)
    (folder / "feature_store.yaml").write_text(
        "project: members\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        "offline_store:\n  type: skewguard.offline.store.SkewguardOfflineStore\n"
        f"online_store:\n  type: redis\n  connection_string: {connection_string}\n"
    )
    return folder


def training_rows(days: list[int], members: int) -> pd.DataFrame:
    """Every member at the end of each day."""
    frames = [
        pd.DataFrame({"member_id": [f"m{i:05d}" for i in range(members)], "event_timestamp": START + d * DAY,
                      "hour": 3, "label": 0})
        for d in days
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def guard_at(repo: Path, night: int) -> SkewGuard:
    return SkewGuard(repo, clock=lambda: START + night * DAY)


@contextmanager
def server(repo: Path, as_of: datetime) -> Iterator[httpx.Client]:
    command = [sys.executable, "-m", "online_api", "--repo", str(repo), "--port", "0", "--json"]
    process = subprocess.Popen(
        [*command, "--as-of", as_of.isoformat()], stdout=subprocess.PIPE, text=True, env={**os.environ},
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdout is not None
    try:
        with httpx.Client(base_url=json.loads(process.stdout.readline())["url"], timeout=60) as client:
            yield client
    finally:
        process.terminate()
        process.communicate(timeout=30)


def serve_night(repo: Path, night: int, members: list[int]) -> None:
    """Materialize as of the night's end, and ask a real server for these members, for that moment."""
    guard_at(repo, night).materialize(as_of=START + night * DAY)
    with server(repo, START + night * DAY) as client:
        for start in range(0, len(members), 500):
            asked = [f"m{i:05d}" for i in members[start : start + 500]]
            body: dict[str, Any] = {
                "feature_service": SERVICE, "entities": {"member_id": asked, "hour": [3] * len(asked)}
            }  # fmt: skip
            answer = client.post("/get-online-features", json=body)
            assert answer.status_code == 200, answer.text
