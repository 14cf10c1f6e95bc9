"""The TTL rule, in one place: a row is inside its TTL while its age is at most the TTL, the edge included.

As Feast's offline stores have it (``event + ttl >= as-of``, feast/infra/offline_stores/ibis.py); online it has none.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_FIRST = datetime(1, 1, 1, tzinfo=UTC)


def inside_sql(event: str, at: str, ttl: timedelta | None) -> str:
    """SQL: is a row at the TIMESTAMPTZ ``event`` inside the TTL at the TIMESTAMPTZ ``at``? Null where one is null."""
    microseconds = None if ttl is None else ttl // timedelta(microseconds=1)
    if microseconds is None or microseconds >= 2**63:  # timedelta reaches further than DuckDB's time does
        return "true"
    return f"epoch_us({at}) - epoch_us({event}) <= {microseconds}"


def oldest_inside(at: datetime, ttl: timedelta | None) -> datetime | None:
    """The oldest event timestamp that is inside the TTL at ``at``; None where there is no limit."""
    if ttl is None or ttl > at - _FIRST:
        return None
    return at - ttl
