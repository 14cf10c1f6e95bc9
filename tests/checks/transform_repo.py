"""A Feast repository with on-demand views of every mode, one service each: some agree on both engines, some do not."""

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
rate = RequestSource(name="rate", schema=[Field(name="rate", dtype=Float32)])


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


@on_demand_feature_view(sources=[stats], schema=[Field(name="ratio", dtype=Float64)])
def ratio(inputs: pd.DataFrame) -> pd.DataFrame:
    """Two over zero is infinite on both sides."""
    return pd.DataFrame({"ratio": inputs["spend"].astype("float64") / inputs["orders"].astype("float64")})


@on_demand_feature_view(sources=[stats], schema=[Field(name="initial", dtype=String)])
def initial(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"initial": [None if v is None else v[:1] for v in inputs["region"]]})


@on_demand_feature_view(sources=[stats], schema=[Field(name="pair", dtype=String)])
def in_pairs(inputs: pd.DataFrame) -> pd.DataFrame:
    """A null is NaN in training and None alone in a request: told by its text where the region is empty, too."""
    rows = zip(inputs["orders"], inputs["region"])
    return pd.DataFrame({"pair": [str(o) if r == "" and (o is None or o != o) else "x" for o, r in rows]})


@on_demand_feature_view(sources=[stats], schema=[Field(name="left", dtype=Float64)], mode="python")
def leaves(inputs: dict[str, Any]) -> dict[str, Any]:
    if any(v == 0 for v in inputs["orders"]):
        raise SystemExit(3)
    return {"left": [1.0 for _ in inputs["orders"]]}


@on_demand_feature_view(sources=[stats], schema=[Field(name="halvings", dtype=Int64)], mode="python")
def endless(inputs: dict[str, Any]) -> dict[str, Any]:
    """Never done with infinity."""
    found = []
    for value in inputs["spend"]:
        count = 0
        while value is not None and value > 1:
            value, count = value / 2, count + 1
        found.append(count)
    return {"halvings": found}


@on_demand_feature_view(sources=[stats], schema=[Field(name="late", dtype=Float64)], mode="python")
def slow(inputs: dict[str, Any]) -> dict[str, Any]:
    import time

    if len(inputs["spend"]) == 1 and inputs["spend"][0] != 2.5:  # not the value that Feast tries it with
        time.sleep(0.1)
    return {"late": [1.0 for _ in inputs["spend"]]}


@on_demand_feature_view(sources=[stats], schema=[Field(name="kept", dtype=Float64)])
def changes(inputs: pd.DataFrame) -> pd.DataFrame:
    inputs["spend"] = inputs["spend"].astype("float64") + 1
    return pd.DataFrame({"kept": inputs["spend"]})


@on_demand_feature_view(sources=[stats], schema=[Field(name="rows", dtype=Float64)])
def drops(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"rows": inputs["seen"].dropna().astype("float64")})


@on_demand_feature_view(sources=[stats], schema=[Field(name="of_all", dtype=Float64)])
def batchwise(inputs: pd.DataFrame) -> pd.DataFrame:
    values = inputs["spend"].astype("float64")
    return pd.DataFrame({"of_all": values / values.max()})


@on_demand_feature_view(sources=[stats, rate], schema=[Field(name="rated", dtype=Float64)])
def rated(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"rated": inputs["rate"].astype("float64")})


more = [
    FeatureService(name="ratio", features=[stats, ratio]),
    FeatureService(name="initial", features=[stats, initial]),
    FeatureService(name="in_pairs", features=[stats, in_pairs]),
    FeatureService(name="leaves", features=[stats, leaves]),
    FeatureService(name="endless", features=[stats, endless]),
    FeatureService(name="slow", features=[stats, slow]),
    FeatureService(name="changes", features=[stats, changes]),
    FeatureService(name="drops", features=[stats, drops]),
    FeatureService(name="batchwise", features=[stats, batchwise]),
    FeatureService(name="rated", features=[stats, rated]),
]
(ratio_s, initial_s, pairs_s, leaves_s, endless_s, slow_s, changes_s, drops_s, batchwise_s, rated_s) = more
plain_service = FeatureService(name="plain", features=[stats, plain])
python_service = FeatureService(name="in_python", features=[stats, in_python])
absolute_service = FeatureService(name="absolute", features=[stats, absolute])
bits_service = FeatureService(name="by_bits", features=[stats, by_bits])
singly_service = FeatureService(name="singly", features=[stats, singly])
request_service = FeatureService(name="with_request", features=[stats, with_request])
thrown_service = FeatureService(name="thrown", features=[stats, thrown])
stored_service = FeatureService(name="stored", features=[stats])
'''
