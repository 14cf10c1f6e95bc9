"""A generated Feast repository of another shape than the worked example.

Composite keys (a string and an int), several views, one without TTL, one with a field mapping, one without entities,
an on-demand view with request data, a service with an alias and a renamed join key.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

AS_OF = datetime(2026, 9, 1, 12, tzinfo=UTC)

DEFINITIONS = """
from datetime import timedelta

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Bool, Float32, Float64, Int64, String, UnixTimestamp

shop = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.STRING)
till = Entity(name="till", join_keys=["till_no"], value_type=ValueType.INT64)

till_source = FileSource(path="data/till.parquet", timestamp_field="at", created_timestamp_column="made")
shop_source = FileSource(
    path="data/shop.parquet", timestamp_field="event_timestamp", field_mapping={"Umsatz": "turnover"}
)
rate_source = FileSource(path="data/rate.parquet", timestamp_field="event_timestamp")

till_stats = FeatureView(
    name="till_stats", entities=[shop, till], ttl=timedelta(hours=36), source=till_source,
    schema=[Field(name="sales", dtype=Float64), Field(name="items", dtype=Int64), Field(name="share", dtype=Float32),
            Field(name="label", dtype=String), Field(name="open", dtype=Bool), Field(name="last", dtype=UnixTimestamp),
            Field(name="baskets", dtype=Array(Float64)), Field(name="shop_id", dtype=String),
            Field(name="till_no", dtype=Int64)],
)
shop_stats = FeatureView(
    name="shop_stats", entities=[shop], ttl=timedelta(0), source=shop_source,
    schema=[Field(name="turnover", dtype=Float64), Field(name="shop_id", dtype=String)],
)
rates = FeatureView(name="rates", entities=[], ttl=timedelta(days=30), source=rate_source,
                    schema=[Field(name="euro", dtype=Float64)])

now = RequestSource(name="now", schema=[Field(name="amount", dtype=Float64)])


@on_demand_feature_view(sources=[till_stats, now], schema=[Field(name="per_sale", dtype=Float64)])
def derived(inputs: pd.DataFrame) -> pd.DataFrame:
    out = pd.DataFrame()
    out["per_sale"] = inputs["amount"] / inputs["sales"]
    return out


till_v1 = FeatureService(name="till_v1", features=[till_stats, shop_stats, rates, derived])
shop_v1 = FeatureService(
    name="shop_v1", features=[shop_stats.with_name("home").with_join_key_map({"shop_id": "home_shop"})]
)
"""


def write_repo(folder: Path, connection_string: str) -> Path:
    """Write the repository into ``folder``: data, definitions, feature_store.yaml."""
    data = folder / "data"
    data.mkdir(parents=True)
    random = np.random.default_rng(7)
    rows = []
    for shop in ("Äpfel", "b:c", "", "dd"):
        for till in range(24):
            for age in (60, 30, 10, 2):
                at = AS_OF - timedelta(hours=age + till / 30)
                if till >= 20 and age < 60:
                    continue  # tills that fell silent: their rows are past the TTL
                rows.append((shop, till, at, at + timedelta(minutes=5), *_values(random, at)))
    columns = ["shop_id", "till_no", "at", "made", "sales", "items", "share", "label", "open", "last", "baskets"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["items"] = frame["items"].astype("Int64")
    frame["share"] = frame["share"].astype("float32")
    frame.to_parquet(data / "till.parquet")  # timezone-aware nanoseconds, as pandas writes by default
    shops = [(s, 100.5 * n + 7, AS_OF - timedelta(days=n)) for n in range(1, 4) for s in ("Äpfel", "b:c", "", "dd")]
    pd.DataFrame(shops, columns=["shop_id", "Umsatz", "event_timestamp"]).to_parquet(data / "shop.parquet")
    rates = pd.DataFrame({"euro": [1.1, 1.2], "event_timestamp": [AS_OF - timedelta(days=d) for d in (3, 1)]})
    rates.to_parquet(data / "rate.parquet")
    (folder / "definitions.py").write_text(DEFINITIONS, encoding="utf-8")
    (folder / "feature_store.yaml").write_text(
        "project: other\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        "offline_store:\n  type: skewguard.offline.store.SkewguardOfflineStore\n"
        f"online_store:\n  type: redis\n  connection_string: {connection_string}\n",
        encoding="utf-8",
    )
    return folder


def _values(random: np.random.Generator, at: datetime) -> tuple[object, ...]:
    return (
        float(random.integers(100, 10_000)) / 100,
        None if random.random() < 0.2 else int(random.integers(2**53, 2**60)),
        float(random.random()),
        random.choice(["A", "ß", ""]),
        bool(random.random() < 0.5),
        at - timedelta(hours=1),
        [float(x) for x in random.integers(0, 9, size=int(random.integers(0, 4)))],
    )


def entity_rows(count: int = 20) -> pd.DataFrame:
    """Entity rows for the till service: keys, request data, a label, times around the rows (some naive midnight)."""
    random = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "shop_id": random.choice(["Äpfel", "b:c", "", "dd", "unknown"], size=count),
            "till_no": random.integers(0, 26, size=count),
            "amount": random.random(count) * 10,
            "event_timestamp": [AS_OF - timedelta(hours=float(h)) for h in random.integers(0, 50, size=count)],
            "target": random.integers(0, 2, size=count),
        }
    )
