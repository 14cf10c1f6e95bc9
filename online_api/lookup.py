"""A feature service (or list) prepared for look-ups: which Redis fields to read, and what becomes of the replies.

Row states and statuses: ``_ts`` or field absent -> NOT_FOUND; stored null (empty bytes) -> NULL_VALUE; older than the
view's TTL at the as-of time (age > ttl, so the edge is still valid, as offline) -> OUTSIDE_MAX_AGE; bytes that do not
decode -> INVALID; else PRESENT. One HMGET per distinct entity key reads all views stored under it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, cast

from online_api.decode import INVALID_VALUE, cell, floats, is_float
from online_api.store import Fields, Reply
from online_api.values import EARLIEST_NS, LATEST_NS
from skewguard.definitions import FieldDef, OnDemandDef, Projection, ServiceDef
from skewguard.errors import BadInputError, CorruptValueError
from skewguard.online.keys import KeyEncoder, feature_field, timestamp_field
from skewguard.online.timestamps import decode_timestamp

PRESENT, NULL_VALUE, NOT_FOUND = "PRESENT", "NULL_VALUE", "NOT_FOUND"
OUTSIDE_MAX_AGE, INVALID = "OUTSIDE_MAX_AGE", "INVALID"

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

    @cached_property
    def floats(self) -> Mapping[str, tuple[tuple[str, int], ...]]:
        """By float dtype: names and slots of the features."""
        dtypes = {feature.dtype for feature, _ in self.features if is_float(feature.dtype)}
        return {d: tuple((f.name, slot) for f, slot in self.features if f.dtype == d) for d in sorted(dtypes)}


@dataclass(frozen=True)
class KeyGroup:
    """Views stored under the same entity key: its encoder, the entity-row columns it takes, and the fields to read."""

    encoder: KeyEncoder
    columns: tuple[str, ...]
    fields: Fields


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


@dataclass(slots=True)
class Column:
    """One feature for all rows: JSON-ready values, statuses, and the stored bytes (empty where there is no value).

    ``statuses`` None: every value is PRESENT.
    """

    values: list[Any]
    statuses: list[str] | None
    raw: Sequence[bytes]


@dataclass
class ViewColumns:
    """One view for all rows: event timestamps (nanoseconds since 1970, None where absent) and its features.

    ``stamps``: the event timestamps as they are stored. ``lists``: where every value is PRESENT, the JSON-ready values
    by feature, in order; None otherwise. ``joined``: by float dtype, the stored bytes of all its features, column by
    column, where they were read in one go.
    """

    timestamps: list[int | None]
    stamps: Sequence[bytes | None]
    columns: dict[str, Column] = field(default_factory=dict)
    lists: list[list[Any]] | None = None
    joined: Mapping[str, bytes] = field(default_factory=dict)


class WholeView(ViewColumns):
    """A view whose values are all PRESENT. Its columns are made when somebody asks for them: an answer does not."""

    def __init__(
        self, read: ViewRead, timestamps: list[int | None], turned: Sequence[Any], lists: list[list[Any]], joined: Any
    ) -> None:
        self.timestamps = timestamps
        self.stamps = turned[read.timestamp_slot]
        self.lists = lists
        self.joined = joined
        self._read, self._turned = read, turned

    @cached_property
    def columns(self) -> dict[str, Column]:  # type: ignore[override]
        """By feature."""
        pairs = zip(self._read.features, self.lists or (), strict=True)
        return {feature.name: Column(values, None, self._turned[slot]) for (feature, slot), values in pairs}


def prepare(project: str, service: ServiceDef, full_feature_names: bool) -> Lookup:
    """The look-up for a service of a project.

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
        tuple(_group(project, keys, slots) for keys, slots in groups.items()),
        tuple(reads),
        outputs,
    )


def _group(project: str, keys: Sequence[tuple[FieldDef, str]], slots: Mapping[bytes, int]) -> KeyGroup:
    encoder = KeyEncoder(project, [key for key, _ in keys])
    return KeyGroup(encoder, tuple(column for _, column in keys), Fields(tuple(slots)))


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
    # a key without a hash has no columns to turn: every view of its group goes row by row
    turned = [None if None in rows else list(zip(*rows, strict=True)) for rows in replies]
    views = []
    for read in lookup.reads:
        columns = turned[read.group]
        view = None if columns is None else _whole_view(read, columns, as_of_ns)
        views.append(view or read_rows(read, replies[read.group], as_of_ns, keep_expired))
    return views


def _whole_view(read: ViewRead, columns: Sequence[Sequence[bytes | None]], as_of_ns: int) -> ViewColumns | None:
    """The view where each row has it and it is not expired, which is the common case; None otherwise."""
    stamps = columns[read.timestamp_slot]
    moments = {raw: _moment(raw) for raw in set(stamps)}
    oldest_fresh = EARLIEST_NS if read.ttl_ns is None else as_of_ns - read.ttl_ns
    if any(moment is None or moment < oldest_fresh for moment in moments.values()):
        return None
    timestamps = [moments[raw] for raw in stamps]
    decoded: dict[str, list[Any]] = {}
    joined: dict[str, bytes] = {}
    for dtype, places in read.floats.items():
        found = floats(dtype, [columns[slot] for _, slot in places])
        if found is not None:
            lists, joined[dtype] = found
            if len(places) == len(read.features):
                return WholeView(read, timestamps, columns, lists, joined)
            for (name, _), values in zip(places, lists, strict=True):
                decoded[name] = values
    plain = [decoded.get(feature.name) or _plain_values(columns[slot]) for feature, slot in read.features]
    if None not in plain:
        return WholeView(read, timestamps, columns, cast("list[list[Any]]", plain), joined)
    view = ViewColumns(timestamps, stamps, joined=joined)
    for (feature, slot), some in zip(read.features, plain, strict=True):
        raws = columns[slot]
        view.columns[feature.name] = (
            _column(raws, [PRESENT] * len(raws), keep_expired=False)
            if some is None
            else Column(some, None, cast("Sequence[bytes]", raws))
        )
    return view


def _plain_values(raws: Sequence[bytes | None]) -> list[Any] | None:
    """The values of a column in which every row has one; None for any other column."""
    if None in raws or b"" in raws:
        return None
    values = [cell(raw) for raw in cast("Sequence[bytes]", raws)]
    return None if None in values or INVALID_VALUE in values else values


def read_rows(read: ViewRead, replies: Sequence[Reply], as_of_ns: int, keep_expired: bool = False) -> ViewColumns:
    """One view from its group's replies, row by row."""
    states = [_row_state(read, reply, as_of_ns) for reply in replies]
    stamps = [None if reply is None else reply[read.timestamp_slot] for reply in replies]
    view = ViewColumns([timestamp for _, timestamp in states], stamps)
    row_states = [state for state, _ in states]
    for feature, slot in read.features:
        raws = [None if reply is None else reply[slot] for reply in replies]
        view.columns[feature.name] = _column(raws, row_states, keep_expired)
    return view


def _column(raws: Sequence[bytes | None], row_states: Sequence[str], keep_expired: bool) -> Column:
    column = Column([], [], raw := [])
    statuses: list[str] = []
    for stored, state in zip(raws, row_states, strict=True):
        value, status, kept = _cell(stored, state, keep_expired)
        column.values.append(value)
        statuses.append(status)
        raw.append(kept)
    column.statuses = statuses
    return column


def _row_state(read: ViewRead, reply: Reply, as_of_ns: int) -> tuple[str, int | None]:
    if reply is None:
        return INVALID, None
    raw = reply[read.timestamp_slot]
    if raw is None:
        return NOT_FOUND, None
    timestamp = _moment(raw)
    if timestamp is None:
        return INVALID, None
    expired = read.ttl_ns is not None and as_of_ns - timestamp > read.ttl_ns
    return (OUTSIDE_MAX_AGE if expired else PRESENT), timestamp


@lru_cache(maxsize=4096)
def _moment(raw: bytes | None) -> int | None:
    """Nanoseconds since 1970 of a stored event timestamp; None where there is none, or none that can be read."""
    if raw is None:
        return None
    try:
        timestamp = decode_timestamp(raw)
    except CorruptValueError:
        return None
    return timestamp if EARLIEST_NS <= timestamp <= LATEST_NS else None


def _cell(raw: bytes | None, state: str, keep_expired: bool) -> tuple[Any, str, bytes]:
    """Value, status and bytes of one field of a row in ``state``."""
    if state in (NOT_FOUND, INVALID):
        return None, state, b""
    if raw is None:
        return None, NOT_FOUND, b""
    if state == OUTSIDE_MAX_AGE and not keep_expired:
        return None, OUTSIDE_MAX_AGE, b""
    value = cell(raw) if raw else None
    if value is INVALID_VALUE:
        return None, INVALID, b""
    if value is None:  # also a null written out, as Feast does for a timestamp that is none (NaT)
        return None, NULL_VALUE if state == PRESENT else state, b""
    return value, state, raw


def oldest(inputs: OnDemandDef, views: Mapping[str, ViewColumns], row: int) -> int | None:
    """The event timestamp of an on-demand feature: the oldest of its inputs', None where no input has one."""
    found = [views[p.name].timestamps[row] for p in inputs.inputs if p.name in views]
    return min((timestamp for timestamp in found if timestamp is not None), default=None)
