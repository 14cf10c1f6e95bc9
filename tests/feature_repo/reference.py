"""What the feature job should write, said again in slow pandas: one customer and one day at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

DAY = pd.Timedelta(days=1)


def weekly_row(purchases: pd.DataFrame, customer: int, monday: pd.Timestamp) -> dict[str, Any] | None:
    """The snapshot of one customer at a naive Monday midnight; None before the first purchase."""
    mine = purchases[(purchases["customer_id"] == customer) & (purchases["purchase_date"] < monday)]
    if mine.empty:
        return None
    recency = (monday - mine["purchase_date"].max()).days
    tenure = (monday - mine["purchase_date"].min()).days
    row: dict[str, Any] = {"recency_days": recency, "tenure_days": tenure}
    for days in (7, 30, 90):
        window = mine[mine["purchase_date"] >= monday - days * DAY]
        spend = round(float(window["amount"].sum()), 2)
        row[f"orders_{days}d"] = len(window)
        row[f"spend_{days}d"] = spend
        row[f"basket_{days}d"] = float(np.float32(spend / len(window))) if len(window) else None
    row["is_repeat_buyer"] = len(mine) >= 2
    if tenure <= 30:
        row["segment"] = "new"
    elif recency <= 30:
        row["segment"] = "active"
    else:
        row["segment"] = "cooling" if recency <= 90 else "lapsed"
    newest = mine.sort_values(["purchase_date", "amount"], ascending=False)
    row["recent_baskets"] = newest["amount"].head(5).tolist()
    return row


def churned(purchases: pd.DataFrame, customer: int, monday: pd.Timestamp) -> int:
    """1 where no purchase lies in the 90 days that begin with ``monday``."""
    dates = purchases.loc[purchases["customer_id"] == customer, "purchase_date"]
    return int(not any(0 <= (date - monday).days < 90 for date in dates))


def first_day(purchases: pd.DataFrame, customer: int) -> pd.DataFrame:
    """The purchases of a customer's first day."""
    mine = purchases[purchases["customer_id"] == customer]
    first: pd.DataFrame = mine[mine["purchase_date"] == mine["purchase_date"].min()]
    return first
