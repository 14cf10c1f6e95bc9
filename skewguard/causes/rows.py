"""Row rules: why a whole row of a view is not the one that is due, decided by timestamps and presence alone.

Names in the SQL, all UTC, null where there is no such row:
t_ts     latest offline row at or before the as-of time (offline truth, before its TTL is applied)
t_live   that row is inside the TTL at the as-of time (age == ttl is inside, as in Feast's offline stores)
e_ts     latest offline row at or before the watermark (what a correct online store holds)
covered  a materialized window holds e_ts (where none is known: true)
k_ts     latest offline row at or before the watermark that the materialization could have seen
o_ts     the online row (null where its bytes do not decode); ``state`` is its row state
o_known  offline has a row of this entity at exactly o_ts
e_same   every differing cell holds what was due at the watermark
twin     the row is stored under another key that means the same entity (see ``keys``)
"""

from __future__ import annotations

from datetime import datetime, timedelta

from skewguard.sql import moment
from skewguard.ttl import inside_sql

CELL_LEVEL = "(cells)"
"""Both sides hold the same row: the cell rules decide."""


def live_sql(column: str, ttl: timedelta | None, at: datetime) -> str:
    """Is the row at ``column`` inside the TTL at ``at``?"""
    return f"({column} IS NOT NULL AND {inside_sql(column, moment(at), ttl)})"


def row_cause_sql(ttl: timedelta | None, as_of: datetime, watermark: datetime) -> str:
    """A SQL expression: the row's cause, CELL_LEVEL, or null where an absent row is right or one cannot be judged."""
    observed_live = live_sql("o_ts", ttl, as_of)
    due, known_due = live_sql("e_ts", ttl, watermark), live_sql("k_ts", ttl, watermark)
    return f"""CASE
        WHEN state <> 'present' THEN CASE
            WHEN NOT t_live THEN NULL
            WHEN e_ts IS NULL OR NOT {due} OR NOT covered THEN 'not_materialized'
            WHEN NOT {known_due} THEN 'late_arrival'
            WHEN twin THEN 'entity_key_mismatch'
            ELSE 'missing_online' END
        WHEN o_ts IS NULL THEN 'corrupt_value'
        WHEN NOT t_live AND NOT {observed_live} THEN 'expired_but_served'
        WHEN o_ts = t_ts THEN '{CELL_LEVEL}'
        WHEN NOT o_known AND o_ts > t_ts THEN 'ahead_of_offline'
        WHEN o_ts > {moment(as_of)} THEN NULL
        WHEN e_ts IS NULL THEN 'not_materialized'
        WHEN o_ts = e_ts AND e_same THEN 'not_materialized'
        WHEN o_ts = e_ts THEN '{CELL_LEVEL}'
        WHEN o_ts > e_ts OR NOT {due} OR NOT covered THEN 'not_materialized'
        WHEN NOT {known_due} OR o_ts >= k_ts THEN 'late_arrival'
        ELSE 'out_of_order_write' END"""
