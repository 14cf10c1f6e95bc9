"""A Feast repository with one of everything that serving must get right. Copied into a temporary folder by conftest."""

from datetime import timedelta
from typing import Any

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    Map,
    Set,
    String,
    UnixTimestamp,
    Uuid,
)

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
shop = Entity(name="shop", join_keys=["shop_code"], value_type=ValueType.STRING)
slot = Entity(name="slot", join_keys=["slot_no"], value_type=ValueType.INT32)


def source(name: str) -> FileSource:
    return FileSource(name=name, path=f"data/{name}.parquet", timestamp_field="event_timestamp")


stats = FeatureView(
    name="stats",
    entities=[driver],
    ttl=timedelta(days=1),
    schema=[
        Field(name="trips", dtype=Int64),
        Field(name="rating", dtype=Float32),
        Field(name="score", dtype=Float64),
        Field(name="seen", dtype=UnixTimestamp),
    ],
    source=source("stats"),
)
tariff = FeatureView(
    name="tariff",
    entities=[driver, shop],
    ttl=timedelta(0),
    schema=[Field(name="price", dtype=Float64)],
    source=source("tariff"),
)
facts = FeatureView(
    name="facts",
    entities=[shop],
    ttl=timedelta(hours=6),
    schema=[Field(name="city", dtype=String), Field(name="open", dtype=Bool), Field(name="score", dtype=Float64)],
    source=source("facts"),
)
slots = FeatureView(
    name="slots",
    entities=[slot],
    ttl=timedelta(days=1),
    schema=[Field(name="capacity", dtype=Int32)],
    source=source("slots"),
)
world = FeatureView(
    name="world",
    entities=[],
    ttl=timedelta(days=2),
    schema=[Field(name="rate", dtype=Float64), Field(name="label", dtype=String)],
    source=source("world"),
)
kinds = FeatureView(
    name="kinds",
    entities=[driver],
    ttl=timedelta(days=3650),
    schema=[
        Field(name="k_bytes", dtype=Bytes),
        Field(name="k_string", dtype=String),
        Field(name="k_int32", dtype=Int32),
        Field(name="k_int64", dtype=Int64),
        Field(name="k_float32", dtype=Float32),
        Field(name="k_float64", dtype=Float64),
        Field(name="k_bool", dtype=Bool),
        Field(name="k_time", dtype=UnixTimestamp),
        Field(name="k_uuid", dtype=Uuid),
        Field(name="k_decimal", dtype=Decimal),
        Field(name="k_json", dtype=Json),
        Field(name="k_map", dtype=Map),
        Field(name="k_bytes_list", dtype=Array(Bytes)),
        Field(name="k_string_list", dtype=Array(String)),
        Field(name="k_int32_list", dtype=Array(Int32)),
        Field(name="k_int64_list", dtype=Array(Int64)),
        Field(name="k_float32_list", dtype=Array(Float32)),
        Field(name="k_float64_list", dtype=Array(Float64)),
        Field(name="k_bool_list", dtype=Array(Bool)),
        Field(name="k_time_list", dtype=Array(UnixTimestamp)),
        Field(name="k_int64_set", dtype=Set(Int64)),
        Field(name="k_nested", dtype=Array(Array(Int64))),
    ],
    source=source("kinds"),
)

trip = RequestSource(name="trip", schema=[Field(name="distance", dtype=Float64), Field(name="at", dtype=UnixTimestamp)])


@on_demand_feature_view(
    sources=[stats, trip],
    schema=[Field(name="per_trip", dtype=Float64), Field(name="rounded", dtype=Int64)],
    mode="pandas",
)
def ratios(inputs: pd.DataFrame) -> pd.DataFrame:
    outputs = pd.DataFrame()
    outputs["rounded"] = (inputs["trips"] * 2).astype("Int64")
    outputs["per_trip"] = inputs["distance"] / inputs["trips"]
    return outputs


@on_demand_feature_view(
    sources=[stats[["seen"]], facts[["city"]], trip],
    schema=[Field(name="days", dtype=Float64), Field(name="place", dtype=String)],
    mode="python",
)
def moments(inputs: dict[str, Any]) -> dict[str, Any]:
    pairs = zip(inputs["at"], inputs["seen"], strict=True)
    return {
        "days": [None if seen is None or at is None else (at - seen).total_seconds() / 86400 for at, seen in pairs],
        "place": [None if city is None else city.upper() for city in inputs["city"]],
    }


@on_demand_feature_view(sources=[stats, facts], schema=[Field(name="sum", dtype=Float64)], mode="python")
def sums(inputs: dict[str, Any]) -> dict[str, Any]:
    pairs = zip(inputs["stats__score"], inputs["facts__score"], strict=True)
    return {"sum": [None if left is None or right is None else left + right for left, right in pairs]}


@on_demand_feature_view(sources=[stats], schema=[Field(name="doubled", dtype=Int64)], mode="python", singleton=True)
def single(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"doubled": None if inputs["trips"] is None else inputs["trips"] * 2}


@on_demand_feature_view(sources=[stats], schema=[Field(name="inverse", dtype=Float64)], mode="python")
def fragile(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"inverse": [1 / trips for trips in inputs["trips"]]}


drivers = FeatureService(name="drivers", features=[stats, tariff])
shops = FeatureService(name="shops", features=[facts[["open", "city"]], world])
typed = FeatureService(name="typed", features=[kinds])
live = FeatureService(name="live", features=[stats[["score", "trips"]], ratios, moments[["place", "days"]]])
singles = FeatureService(name="singles", features=[single])
breakable = FeatureService(name="breakable", features=[fragile])
pairs = FeatureService(
    name="pairs",
    features=[
        stats[["trips", "score"]].with_name("origin").with_join_key_map({"driver_id": "origin_id"}),
        stats[["trips"]].with_name("target").with_join_key_map({"driver_id": "target_id"}),
    ],
)
numbered = FeatureService(name="numbered", features=[slots])
