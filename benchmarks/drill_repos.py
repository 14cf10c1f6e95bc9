"""Two generated repositories for drills, of other shapes than the worked example.

``sales``: composite and string keys, several views with a different key each, no TTL, field mapping, lists, texts,
whole numbers, floats and booleans. ``wide``: one INT64 key, a TTL, fifty features, a push source, a view without
entities.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from skewguard.feast_repo import FeastRepo

NOW = datetime(2026, 9, 1, 6, 30, tzinfo=UTC)
SALES, WIDE = "sales_v1", "wide_v1"

_SALES = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Array, Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp

shop = Entity(name="shop", join_keys=["shop_code"], value_type=ValueType.STRING)
article = Entity(name="article", join_keys=["article_no"], value_type=ValueType.INT64)

stock = FeatureView(
    name="stock", entities=[shop, article], ttl=timedelta(0),
    source=FileSource(path="data/stock.parquet", timestamp_field="counted_at", created_timestamp_column="written_at",
                      field_mapping={"Menge": "pieces"}),
    schema=[Field(name="pieces", dtype=Int64), Field(name="price", dtype=Float64), Field(name="cost", dtype=Float64),
            Field(name="margin", dtype=Float32), Field(name="on_offer", dtype=Bool), Field(name="shelf", dtype=String),
            Field(name="label", dtype=String), Field(name="last_sale", dtype=UnixTimestamp),
            Field(name="discount", dtype=Float64), Field(name="serial", dtype=Int64),
            Field(name="weekly", dtype=Array(Float64)), Field(name="tags", dtype=Array(String))],
)
shops = FeatureView(
    name="shops", entities=[shop], ttl=timedelta(0),
    source=FileSource(path="data/shops.parquet", timestamp_field="event_timestamp"),
    schema=[Field(name="area", dtype=Float64), Field(name="staff", dtype=Int32), Field(name="town", dtype=String)],
)
articles = FeatureView(
    name="articles", entities=[article], ttl=timedelta(0),
    source=FileSource(path="data/articles.parquet", timestamp_field="event_timestamp"),
    schema=[Field(name="weight", dtype=Float32), Field(name="vat", dtype=Float64)],
)
sales_v1 = FeatureService(name="sales_v1", features=[stock, shops, articles])
"""

_WIDE = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
from feast.types import Bool, Float32, Float64, Int64, String, UnixTimestamp

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
TYPES = [("f", Float64, 25), ("g", Float32, 5), ("n", Int64, 8), ("b", Bool, 4), ("s", String, 5),
         ("t", UnixTimestamp, 3)]

stats = FeatureView(
    name="stats", entities=[user], ttl=timedelta(days=30),
    source=PushSource(name="stats_push", batch_source=FileSource(
        name="stats_file", path="data/stats.parquet", timestamp_field="ts", created_timestamp_column="created")),
    schema=[Field(name=f"{prefix}{i}", dtype=dtype) for prefix, dtype, count in TYPES for i in range(count)],
)
rates = FeatureView(
    name="rates", entities=[], ttl=timedelta(days=30),
    source=FileSource(path="data/rates.parquet", timestamp_field="ts", created_timestamp_column="created"),
    schema=[Field(name="euro", dtype=Float64), Field(name="mood", dtype=String)],
)
wide_v1 = FeatureService(name="wide_v1", features=[stats, rates])
"""


def write_sales(folder: Path, entities: int, connection_string: str = "127.0.0.1:1") -> Path:
    """Shops times articles, ``entities`` pairs, three rows each; applied."""
    random = np.random.default_rng(17)
    articles = 20 if entities >= 2000 else 10
    shops = [f"Filiale {n:04d}" if n % 2 else f"Zürich-{n}" for n in range(max(2, entities // articles))]
    pairs = pd.DataFrame([(s, a) for s in shops for a in range(1, articles + 1)], columns=["shop_code", "article_no"])
    stock = _history(pairs, random, days=(60, 20, 2), stamp="counted_at")
    size = len(stock)
    stock["written_at"] = stock["counted_at"] + timedelta(minutes=10)
    stock["Menge"] = random.integers(0, 5000, size)
    stock["price"] = random.integers(100, 100_000, size) / 100
    stock["cost"] = random.integers(50, 80_000, size) / 100
    stock["margin"] = random.random(size).astype("float32") * 40
    stock["on_offer"] = random.random(size) < 0.2
    stock["shelf"] = random.choice(["cool", "dry", "fresh", "yard"], size)
    stock["label"] = [f"Lot {n} Äpfel" for n in random.permutation(size)]
    stock["last_sale"] = stock["counted_at"] - pd.to_timedelta(random.integers(0, 10**6, size), unit="s")
    stock["discount"] = np.where(random.random(size) < 0.3, np.nan, random.integers(1, 60, size) / 2)
    stock["serial"] = random.integers(2**54, 2**60, size)
    stock["weekly"] = [list(row) for row in random.integers(0, 50, (size, 3)).astype(float)]
    stock["tags"] = [list(random.choice(["a", "b", "c"], n)) for n in random.integers(0, 3, size)]
    town = _history(pd.DataFrame({"shop_code": shops}), random, days=(90, 5))
    town["area"] = random.integers(500, 90_000, len(town)) / 10
    town["staff"] = random.integers(1, 400, len(town)).astype("int32")
    town["town"] = [f"Town {n}" for n in random.integers(0, 300, len(town))]
    goods = _history(pd.DataFrame({"article_no": range(1, articles + 1)}), random, days=(90, 5))
    goods["weight"] = random.random(len(goods)).astype("float32")
    goods["vat"] = random.choice([0.07, 0.19], len(goods))
    return _write(folder, "sales", _SALES, {"stock": stock, "shops": town, "articles": goods}, connection_string)


def write_wide(folder: Path, entities: int, connection_string: str = "127.0.0.1:1") -> Path:
    """Users with three rows each; a twentieth fell silent before the TTL; applied."""
    random = np.random.default_rng(23)
    users = pd.DataFrame({"user_id": np.arange(10_000_000, 10_000_000 + entities)})
    stats = _history(users, random, days=(50, 12, 1), stamp="ts")
    silent = stats["user_id"] % 20 == 0
    stats = stats[~silent | (stats["ts"] < pd.Timestamp(NOW - timedelta(days=35)))].reset_index(drop=True)
    size = len(stats)
    stats["created"] = stats["ts"] + timedelta(minutes=30)
    columns: dict[str, object] = {f"f{i}": random.normal(50 * i, 10 + i, size) for i in range(25)}
    columns["f3"] = np.where(random.random(size) < 0.2, np.nan, columns["f3"])
    columns |= {f"g{i}": (random.random(size) * 10**i).astype("float32") for i in range(5)}
    columns |= {f"n{i}": random.integers(0, 10 ** (i + 1), size) for i in range(8)}
    columns["n2"] = pd.array(np.where(random.random(size) < 0.1, -1, columns["n2"]), "Int64")
    columns["n2"] = pd.Series(columns["n2"]).mask(columns["n2"] == -1)
    columns |= {f"b{i}": random.random(size) < (i + 1) / 5 for i in range(4)}
    columns |= {f"s{i}": random.choice([f"Kind {n}" for n in range(3 ** (i + 1))], size) for i in range(5)}
    columns |= {f"t{i}": stats["ts"] - pd.to_timedelta(random.integers(0, 10**7, size), unit="s") for i in range(3)}
    stats = pd.concat([stats, pd.DataFrame(columns)], axis=1)
    rates = pd.DataFrame({"ts": [pd.Timestamp(NOW - timedelta(days=d)) for d in (9, 2)], "euro": [1.1, 1.2]})
    rates["created"], rates["mood"] = rates["ts"] + timedelta(hours=1), ["calm", "wild"]
    return _write(folder, "wide", _WIDE, {"stats": stats, "rates": rates}, connection_string)


def _history(
    keys: pd.DataFrame, random: np.random.Generator, days: tuple[int, ...], stamp: str = "event_timestamp"
) -> pd.DataFrame:
    """A row of every key for each of so many days ago, a few hours apart."""
    parts = []
    for day in days:
        part = keys.copy()
        hours = pd.to_timedelta(random.integers(0, 20 * 3600, len(keys)), unit="s")
        part[stamp] = pd.Timestamp(NOW - timedelta(days=day)) + hours
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _write(
    folder: Path, project: str, definitions: str, tables: dict[str, pd.DataFrame], connection_string: str
) -> Path:
    (folder / "data").mkdir(parents=True)
    for name, table in tables.items():
        table.to_parquet(folder / "data" / f"{name}.parquet")
    (folder / "definitions.py").write_text(definitions, encoding="utf-8")
    (folder / "feature_store.yaml").write_text(
        f"project: {project}\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        "offline_store: {type: skewguard.offline.store.SkewguardOfflineStore}\n"
        f"online_store: {{type: redis, connection_string: '{connection_string}'}}\n",
        encoding="utf-8",
    )
    FeastRepo(folder).apply()
    return folder
