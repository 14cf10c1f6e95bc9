"""Feast definitions over the tables that ``build_features.py`` writes: the worked example.

Three feature views about one customer, each with its own rhythm and time to live, an on-demand view that needs the time
of the request, and two feature services.
"""

from datetime import timedelta

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Bool, Float32, Float64, Int64, String, UnixTimestamp

customer = Entity(
    name="customer",
    join_keys=["customer_id"],
    value_type=ValueType.INT64,
    description="A customer of the shop.",
)


def table(name: str) -> FileSource:
    """A table that the feature job writes; the path is relative to this repository."""
    return FileSource(
        name=name,
        path=f"data/{name}.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )


customer_activity_daily = FeatureView(
    name="customer_activity_daily",
    description="The last day with a purchase, known from the end of that day on.",
    entities=[customer],
    ttl=timedelta(days=90),
    schema=[
        Field(name="orders", dtype=Int64),
        Field(name="quantity", dtype=Int64),
        Field(name="spend", dtype=Float64),
        Field(name="average_basket", dtype=Float32),
        Field(name="last_purchase_at", dtype=UnixTimestamp),
    ],
    source=table("customer_activity_daily"),
)

customer_rolling_weekly = FeatureView(
    name="customer_rolling_weekly",
    description="Recency, frequency, spend and basket over the days before each Monday.",
    entities=[customer],
    ttl=timedelta(days=14),
    schema=[
        Field(name="recency_days", dtype=Int64),
        Field(name="tenure_days", dtype=Int64),
        *(Field(name=f"orders_{days}d", dtype=Int64) for days in (7, 30, 90)),
        *(Field(name=f"spend_{days}d", dtype=Float64) for days in (7, 30, 90)),
        *(Field(name=f"basket_{days}d", dtype=Float32) for days in (7, 30, 90)),
        Field(name="is_repeat_buyer", dtype=Bool),
        Field(name="segment", dtype=String),
        Field(name="recent_baskets", dtype=Array(Float64)),
    ],
    source=table("customer_rolling_weekly"),
)

customer_first_basket = FeatureView(
    name="customer_first_basket",
    description="The first day with a purchase; written once and never changed.",
    entities=[customer],
    ttl=timedelta(days=730),
    schema=[
        Field(name="first_purchase_at", dtype=UnixTimestamp),
        Field(name="first_orders", dtype=Int64),
        Field(name="first_quantity", dtype=Int64),
        Field(name="first_spend", dtype=Float64),
        Field(name="cohort", dtype=String),
        Field(name="first_was_free", dtype=Bool),
    ],
    source=table("customer_first_basket"),
)

request = RequestSource(name="request", schema=[Field(name="requested_at", dtype=UnixTimestamp)])


@on_demand_feature_view(  # type: ignore[untyped-decorator]
    sources=[customer_activity_daily, customer_rolling_weekly, request],
    schema=[
        Field(name="days_since_last_purchase", dtype=Float64),
        Field(name="spend_per_order", dtype=Float64),
    ],
    mode="pandas",
)
def purchase_recency(inputs: pd.DataFrame) -> pd.DataFrame:
    """Days from the last purchase to the request, and the spend per order of the last 90 days.

    What is missing, and what would divide by zero, is NaN.
    """

    # Feast stores this function alone, so what it calls is inside. The same moment comes as a timestamp from Parquet,
    # as whole seconds in a request, as an object beside None from Redis.
    def moments(column: pd.Series) -> pd.Series:
        in_seconds = pd.api.types.infer_dtype(column, skipna=True) in ("integer", "floating", "mixed-integer-float")
        return pd.to_datetime(column, unit="s" if in_seconds else None, utc=True)

    orders = pd.to_numeric(inputs["orders_90d"]).astype("float64")
    spend = pd.to_numeric(inputs["spend_90d"]).astype("float64")
    elapsed = moments(inputs["requested_at"]) - moments(inputs["last_purchase_at"])
    output = pd.DataFrame(index=inputs.index)
    output["days_since_last_purchase"] = elapsed.dt.total_seconds() / 86400
    output["spend_per_order"] = spend / orders.where(orders > 0)
    return output


churn_v1 = FeatureService(
    name="churn_v1",
    description="Will this customer buy within the next 90 days?",
    features=[customer_activity_daily, customer_rolling_weekly, customer_first_basket, purchase_recency],
)

spend_v1 = FeatureService(
    name="spend_v1",
    description="What this customer spent lately.",
    features=[customer_rolling_weekly],
)
