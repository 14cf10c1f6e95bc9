"""A feature service (or list) prepared for look-ups: which Redis fields to read, and what becomes of the replies.

Row states and statuses: ``_ts`` or field absent -> NOT_FOUND; stored null (empty bytes) -> NULL_VALUE; older than the
view's TTL at the as-of time (age > ttl, so the edge is still valid, as offline) -> OUTSIDE_MAX_AGE; bytes that do not
decode -> INVALID; else PRESENT. One HMGET per distinct entity key reads all views stored under it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from online_api.values import EARLIEST_NS, LATEST_NS, json_value
from skewguard.definitions import FieldDef, OnDemandDef, Projection, ServiceDef
from skewguard.errors import BadInputError, CorruptValueError
from skewguard.online.codec import decode_timestamp, decode_value
from skewguard.online.keys import feature_field, timestamp_field

PRESENT, NULL_VALUE, NOT_FOUND = "PRESENT", "NULL_VALUE", "NOT_FOUND"
OUTSIDE_MAX_AGE, INVALID = "OUTSIDE_MAX_AGE", "INVALID"

Reply = Sequence[bytes | None] | None
"""What Redis answered for one entity key, field by field; None where the key does not hold a hash."""

_US = 1_000


@dataclass(frozen=True)
class ViewRead:
    """One view as a look-up reads it: the slots of its fields in its group's replies, and its TTL in nanoseconds."""

    view: str
    name: str
    group: int
    ttl_ns: int | None
    timestamp_slot: int
    features: tuple[tuple[FieldDef, int], ...]


@dataclass(frozen=True)
class KeyGroup:
    """Views stored under the same entity key: pairs of join key and entity-row column, and the fields to read."""

    keys: tuple[tuple[FieldDef, str], ...]
    fields: tuple[bytes, ...]


@dataclass(frozen=True)
class Lookup:
    """A service prepared for look-ups with short or full feature names. Build with ``prepare``.

    Attributes:
        service: what was asked for.
        key_columns: entity-row columns that are needed as join keys.
        groups: what to read from Redis.
        reads: the projected views in order, then those read only as inputs of on-demand views.
        outputs: names of the features in an answer, in order.
    """

    service: ServiceDef
    key_columns: tuple[FieldDef, ...]
    groups: tuple[KeyGroup, ...]
    reads: tuple[ViewRead, ...]
    outputs: tuple[str, ...]


@dataclass
class Column:
    """One feature for all rows: JSON-ready values, statuses, and the stored bytes (empty where there is no value)."""

    values: list[Any]
    statuses: list[str]
    raw: list[bytes]


@dataclass
class ViewColumns:
    """One view for all rows: event timestamps (nanoseconds since 1970, None where absent) and its features."""

    timestamps: list[int | None]
    columns: dict[str, Column] = field(default_factory=dict)


def prepare(service: ServiceDef, full_feature_names: bool) -> Lookup:
    """The look-up for a service.

    Raises BadInputError when two columns of the answer would have the same name.
    """
    visible = {projection.name: projection for projection in service.projections}
    # Feast reads the inputs of on-demand views through the projection of the same name, where there is one
    projections = [(p, p.keys) for p in service.projections]
    projections += [(p, visible.get(p.name, p).keys) for p in service.hidden]
    key_columns: dict[str, FieldDef] = {}
    groups: dict[tuple[tuple[FieldDef, str], ...], dict[bytes, int]] = {}
    reads = []
    for projection, keys in projections:
        for key, column in keys:
            key_columns.setdefault(column, FieldDef(column, key.dtype))
        slots = groups.setdefault(tuple(sorted(keys, key=lambda pair: pair[0].name)), {})
        group = list(groups).index(tuple(sorted(keys, key=lambda pair: pair[0].name)))
        reads.append(_view_read(projection, group, slots))
    outputs = tuple(output.name for output in service.outputs(full_feature_names))
    _refuse_collisions((*key_columns, *outputs), full_feature_names)
    return Lookup(
        service,
        tuple(key_columns.values()),
        tuple(KeyGroup(keys, tuple(slots)) for keys, slots in groups.items()),
        tuple(reads),
        outputs,
    )


def _view_read(projection: Projection, group: int, slots: dict[bytes, int]) -> ViewRead:
    view = projection.view
    timestamp_slot = slots.setdefault(timestamp_field(view.name), len(slots))
    features = tuple((f, slots.setdefault(feature_field(view.name, f.name), len(slots))) for f in projection.features)
    ttl_ns = None if view.ttl is None else round(view.ttl.total_seconds() * 1e6) * _US
    return ViewRead(view.name, projection.name, group, ttl_ns, timestamp_slot, features)


def _refuse_collisions(names: Sequence[str], full_feature_names: bool) -> None:
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        expected = "names that differ" if full_feature_names else "full_feature_names: true, or features that differ"
        raise BadInputError("full_feature_names", f"the same name more than once: {', '.join(repeated)}", expected)


def read_views(
    lookup: Lookup, replies: Sequence[Sequence[Reply]], as_of_ns: int, keep_expired: bool
) -> list[ViewColumns]:
    """The views of a look-up, one for each of ``lookup.reads``, from the replies (by group, then by row)."""
    return [_read_view(read, replies[read.group], as_of_ns, keep_expired) for read in lookup.reads]


def _read_view(read: ViewRead, replies: Sequence[Reply], as_of_ns: int, keep_expired: bool) -> ViewColumns:
    states = [_row_state(read, reply, as_of_ns) for reply in replies]
    view = ViewColumns([timestamp for _, timestamp in states])
    for feature, slot in read.features:
        column = Column([], [], [])
        for reply, (state, _) in zip(replies, states, strict=True):
            value, status, raw = _cell(None if reply is None else reply[slot], state, keep_expired)
            column.values.append(value)
            column.statuses.append(status)
            column.raw.append(raw)
        view.columns[feature.name] = column
    return view


def _row_state(read: ViewRead, reply: Reply, as_of_ns: int) -> tuple[str, int | None]:
    if reply is None:
        return INVALID, None
    raw = reply[read.timestamp_slot]
    if raw is None:
        return NOT_FOUND, None
    try:
        timestamp = decode_timestamp(raw)
    except CorruptValueError:
        return INVALID, None
    if not EARLIEST_NS <= timestamp <= LATEST_NS:
        return INVALID, None
    expired = read.ttl_ns is not None and as_of_ns - timestamp > read.ttl_ns
    return (OUTSIDE_MAX_AGE if expired else PRESENT), timestamp


def _cell(raw: bytes | None, state: str, keep_expired: bool) -> tuple[Any, str, bytes]:
    """Value, status and bytes of one field of a row in ``state``."""
    if state in (NOT_FOUND, INVALID):
        return None, state, b""
    if raw is None:
        return None, NOT_FOUND, b""
    if state == OUTSIDE_MAX_AGE and not keep_expired:
        return None, OUTSIDE_MAX_AGE, b""
    if not raw:
        return None, NULL_VALUE if state == PRESENT else state, b""
    try:
        value = json_value(decode_value(raw))
    except CorruptValueError:
        return None, INVALID, b""
    if value is None:  # null written out, as Feast does for a timestamp that is none (NaT)
        return None, NULL_VALUE if state == PRESENT else state, b""
    return value, state, raw


def oldest(inputs: OnDemandDef, views: Mapping[str, ViewColumns], row: int) -> int | None:
    """The event timestamp of an on-demand feature: the oldest of its inputs', None where no input has one."""
    found = [views[p.name].timestamps[row] for p in inputs.inputs if p.name in views]
    return min((timestamp for timestamp in found if timestamp is not None), default=None)
