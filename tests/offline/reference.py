"""A point-in-time join told as plainly as possible: loops over dicts, no SQL, no Arrow. Slow on purpose.

Written from the semantics in docs/offline.md, not from the code under test. Times are datetimes in UTC.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class View:
    """A view's rows, with ``event`` and ``created`` among their columns, and how it is used."""

    rows: Sequence[Row]
    keys: Sequence[tuple[str, str]]  # (column of the view, column of the entity row)
    features: Sequence[str]
    all_features: Sequence[str]
    ttl: timedelta | None
    prefix: str = ""
    has_created: bool = True


def join(
    entity_rows: Sequence[Row], time: str, views: Sequence[View], *, as_known: bool = False
) -> list[dict[str, Any]]:
    """Each entity row with the features of each view as of the row's time."""
    result = []
    for entity in entity_rows:
        out = dict(entity)
        for view in views:
            best = newest(view, entity, entity[time], as_known=as_known and view.has_created)
            for name in view.features:
                out[view.prefix + name] = None if best is None else best[name]
        result.append(out)
    return result


def newest(view: View, entity: Row, at: datetime | None, *, as_known: bool) -> Row | None:
    """The row that speaks for an entity at a time, None where there is none or it is past the TTL."""
    if at is None:
        return None
    best: Row | None = None
    for row in view.rows:
        if any(entity[column] is None or row[key] != entity[column] for key, column in view.keys):
            continue
        if row["event"] is None or row["event"] > at:
            continue
        if as_known and (row["created"] is None or row["created"] > at):
            continue
        if best is None or beats(row, best, view.all_features):
            best = row
    if best is not None and view.ttl is not None and at - best["event"] > view.ttl:
        return None
    return best


def beats(row: Row, other: Row, features: Sequence[str]) -> bool:
    """Does ``row`` speak before ``other``? Later event, then later created, then the larger values."""
    if row["event"] != other["event"]:
        return bool(row["event"] > other["event"])
    for name in ("created", *features):
        a, b = weight(row[name]), weight(other[name])
        if a != b:
            return a > b
    return False


def weight(value: Any) -> tuple[Any, ...]:
    """Nulls lowest, NaN above them, then every value by its size."""
    if value is None:
        return (0,)
    if isinstance(value, float) and math.isnan(value):
        return (1,)
    return (2, value)


def latest(view: View, as_of: datetime, start: datetime | None, created_before: datetime | None) -> list[Row]:
    """The latest row of each entity inside [start, as_of], the TTL apart; null keys are an entity as well."""
    best: dict[tuple[Any, ...], Row] = {}
    for row in view.rows:
        if row["event"] is None or row["event"] > as_of or (start is not None and row["event"] < start):
            continue
        if created_before is not None and (row["created"] is None or row["created"] > created_before):
            continue
        entity = tuple(row[key] for key, _ in view.keys)
        if entity not in best or beats(row, best[entity], view.all_features):
            best[entity] = row
    return list(best.values())


def same(left: Any, right: Any) -> bool:
    """Equality in which NaN equals NaN, and nothing else is stretched."""
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left) and math.isnan(right):
        return True
    return bool(left == right) and type(left) is type(right)
