"""Builds the feature tables of this repository, and the entity rows with their label, from the purchase history.

    python build_features.py [--data-dir data]

Reads ``cdnow_purchases.parquet`` and writes, beside it:

- ``customer_activity_daily.parquet``: a row per customer and day with a purchase, known from the end of that day on;
- ``customer_rolling_weekly.parquet``: a row per Monday and customer acquired before it, over the days before it;
- ``customer_first_basket.parquet``: a row per customer, known from the end of the first day on;
- ``churn_entity_rows.parquet``: sampled customers at some Mondays, with the label ``churned``.

A row at time T is made from purchases of days before T and nothing else. The file has days but no hours: a purchase
of Monday counts as made after Monday 00:00, so it is in no feature of that Monday, and in its label.

The warts stay in, because the file cannot say which of them are mistakes. It has no order number, so an exact
duplicate (255 rows) may be the same basket bought twice: each row is one order. Further orders of a customer on one
day (2,068 rows) become one row of that day with ``orders`` > 1. Amounts of zero (80 rows) are orders with no spend:
they count in ``orders``, lower the average basket, end a customer's silence.

Money is summed as whole cents, and every row has its place, so the same purchases give the same bytes whatever the
number of threads.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

SOURCE = "cdnow_purchases.parquet"
WINDOWS = (7, 30, 90)
CHURN_DAYS = 90

# position: the n-th purchase of its customer. Rows that differ in nothing but the tie are equal, so it is stable.
PURCHASES = """
CREATE TEMP TABLE purchases AS
SELECT customer_id, purchase_date::DATE AS day, quantity, round(amount * 100)::BIGINT AS cents,
       row_number() OVER (PARTITION BY customer_id ORDER BY purchase_date, amount, quantity) AS position
FROM read_parquet($1)
"""

DAYS = """
CREATE TEMP TABLE days AS
SELECT customer_id, day, count(*) AS orders, sum(quantity)::BIGINT AS quantity, sum(cents)::BIGINT AS cents
FROM purchases GROUP BY customer_id, day
"""

CUSTOMERS = """
CREATE TEMP TABLE customers AS
SELECT customer_id, min(day) AS first_day, arg_min(orders, day) AS orders, arg_min(quantity, day) AS quantity,
       arg_min(cents, day) AS cents
FROM days GROUP BY customer_id
"""

DAILY = """
SELECT customer_id,
       (day + 1)::TIMESTAMPTZ AS event_timestamp,
       (day + 1)::TIMESTAMPTZ + INTERVAL 3 HOUR AS created_timestamp,
       orders,
       quantity,
       cents / 100.0 AS spend,
       (cents / 100.0 / orders)::FLOAT AS average_basket,
       day::TIMESTAMPTZ AS last_purchase_at
FROM days ORDER BY event_timestamp, customer_id
"""


def _windowed(expression: str) -> str:
    return ",\n       ".join(expression.format(n=n) for n in WINDOWS)


WEEKLY = f"""
WITH mondays AS (
    SELECT unnest(generate_series(date_trunc('week', min(day)), max(day) + 1, INTERVAL 7 DAY))::DATE AS monday
    FROM purchases
), sums AS (
    SELECT c.customer_id, m.monday,
           any_value(c.first_day) AS first_day,
           max(p.day) AS last_day,
           count(*) AS orders,
           {_windowed("count(*) FILTER (p.day >= m.monday - {n}) AS orders_{n}d")},
           {_windowed("coalesce(sum(p.cents) FILTER (p.day >= m.monday - {n}), 0)::BIGINT AS cents_{n}d")},
           max_by(p.cents, p.position, 5) AS recent_cents
    FROM customers c
    JOIN mondays m ON c.first_day < m.monday
    JOIN purchases p ON p.customer_id = c.customer_id AND p.day < m.monday
    GROUP BY c.customer_id, m.monday
)
SELECT customer_id,
       monday::TIMESTAMPTZ AS event_timestamp,
       monday::TIMESTAMPTZ + INTERVAL 3 HOUR AS created_timestamp,
       (monday - last_day)::BIGINT AS recency_days,
       (monday - first_day)::BIGINT AS tenure_days,
       {_windowed("orders_{n}d")},
       {_windowed("cents_{n}d / 100.0 AS spend_{n}d")},
       {_windowed("(cents_{n}d / 100.0 / nullif(orders_{n}d, 0))::FLOAT AS basket_{n}d")},
       orders > 1 AS is_repeat_buyer,
       CASE WHEN monday - first_day <= 30 THEN 'new'
            WHEN monday - last_day <= 30 THEN 'active'
            WHEN monday - last_day <= 90 THEN 'cooling'
            ELSE 'lapsed' END AS segment,
       list_transform(recent_cents, lambda cents: cents / 100.0) AS recent_baskets
FROM sums ORDER BY event_timestamp, customer_id
"""

FIRST_BASKET = """
SELECT customer_id,
       (first_day + 1)::TIMESTAMPTZ AS event_timestamp,
       (first_day + 1)::TIMESTAMPTZ + INTERVAL 3 HOUR AS created_timestamp,
       first_day::TIMESTAMPTZ AS first_purchase_at,
       orders AS first_orders,
       quantity AS first_quantity,
       cents / 100.0 AS first_spend,
       strftime(first_day, '%Y-%m') AS cohort,
       cents = 0 AS first_was_free
FROM customers ORDER BY customer_id
"""

# Every fourth Monday, 06:00, when the snapshot of that Monday is three hours old. The label of Monday D looks at the
# days D to D + 89 and no further; a Monday is used only where the file covers all of them. One customer in ten, by a
# digest, so that the sample is the same everywhere and other rows never move it. Newest first.
ENTITY_ROWS = f"""
WITH mondays AS (
    SELECT unnest(generate_series(DATE '1997-05-05', DATE '1998-02-28', INTERVAL 28 DAY))::DATE AS monday
), observed AS (
    SELECT monday FROM mondays WHERE monday + {CHURN_DAYS} <= (SELECT max(day) + 1 FROM purchases)
)
SELECT c.customer_id,
       o.monday::TIMESTAMPTZ + INTERVAL 6 HOUR AS event_timestamp,
       o.monday::TIMESTAMPTZ + INTERVAL 6 HOUR AS requested_at,
       (NOT EXISTS (
           SELECT 1 FROM days d
           WHERE d.customer_id = c.customer_id AND d.day >= o.monday AND d.day < o.monday + {CHURN_DAYS}
       ))::BIGINT AS churned
FROM observed o JOIN customers c ON c.first_day < o.monday
WHERE md5(concat(c.customer_id, ' ', o.monday)) < '1999999a'
ORDER BY event_timestamp DESC, customer_id
"""

# unit: what the timestamps of the file count in. Nanoseconds with a zone are what pandas writes by default; Feast's
# own materialize raises on them, so the example has a file that does it.
TABLES = (
    ("customer_activity_daily", DAILY, "ns"),
    ("customer_rolling_weekly", WEEKLY, "us"),
    ("customer_first_basket", FIRST_BASKET, "us"),
    ("churn_entity_rows", ENTITY_ROWS, "us"),
)


def build(data_dir: Path) -> dict[str, int]:
    """Write all tables into ``data_dir`` (which holds the purchases); returns rows by table.

    Each file is replaced whole or not at all. Raises FileNotFoundError where the purchases are missing.
    """
    source = data_dir / SOURCE
    if not source.is_file():
        raise FileNotFoundError(f"{source}: the purchase history is not there; give its folder with --data-dir")
    rows = {}
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(PURCHASES, [str(source)])
        con.execute(DAYS)
        con.execute(CUSTOMERS)
        for name, query, unit in TABLES:
            table = _in_unit(con.execute(query).to_arrow_table(), unit)
            _write(table, data_dir / f"{name}.parquet")
            rows[name] = table.num_rows
    return rows


def _in_unit(table: pa.Table, unit: str) -> pa.Table:
    fields = [f.with_type(pa.timestamp(unit, tz="UTC")) if pa.types.is_timestamp(f.type) else f for f in table.schema]
    return table.cast(pa.schema(fields))


def _write(table: pa.Table, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        pq.write_table(table, temporary, compression="zstd", row_group_size=131_072)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Build the feature tables from the purchase history.")
    default = Path(__file__).parent / "data"
    parser.add_argument("--data-dir", type=Path, default=default, help="folder with the purchases (default: data)")
    arguments = parser.parse_args()
    try:
        rows = build(arguments.data_dir)
    except FileNotFoundError as error:
        sys.exit(str(error))
    for name, count in rows.items():
        sys.stdout.write(f"{name}: {count:,} rows\n")


if __name__ == "__main__":
    main()
