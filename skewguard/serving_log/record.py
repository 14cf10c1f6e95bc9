"""What the log keeps of an answered look-up: its rows as Redis gave them, and the shape that says what they mean.

A record is one ``marshal`` document (format 2, which has not changed since Python 2.5): of all that the standard
library has it is the cheapest to write on the way of a request. Journals are read on the machine that wrote them.
"""

from __future__ import annotations

import hashlib
import json
import marshal
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

_FORMAT = 2
SHAPE, ROWS, DROPPED = 0, 1, 2
"""The first item of a record: what it is."""

STATUS_CODES = {"INVALID": 0, "PRESENT": 1, "NULL_VALUE": 2, "NOT_FOUND": 3, "OUTSIDE_MAX_AGE": 4}
"""Feast's FieldStatus (``ServingService.proto``), which its logging schema keeps as int32."""


@dataclass(frozen=True)
class LoggedView:
    """A view of a look-up: the slots of its event timestamp and features in the replies of one group of entity keys.

    ``shown``: its features were part of the answer; otherwise it was read as input of an on-demand view.
    """

    name: str
    group: int
    timestamp_slot: int
    features: tuple[tuple[str, str, int], ...]  # name, dtype, slot
    shown: bool


@dataclass(frozen=True)
class LoggedOnDemand:
    """An on-demand view of a look-up: its outputs (name, dtype), and the places of the views that it reads."""

    name: str
    features: tuple[tuple[str, str], ...]
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class Shape:
    """What the records of one feature service (or list), under one plan, consist of.

    Attributes:
        service: name of the feature service; ``features~<digest>`` for a feature list.
        plan: digest of the serving plan.
        columns: entity-row columns: name, dtype, and "key" or "request".
        group_fields: number of fields in a reply, by group.
        views: the views in the order in which they are read.
        on_demand: the on-demand views, in order.
        keep_expired: values past their TTL were sent.
    """

    service: str
    plan: str
    columns: tuple[tuple[str, str, str], ...]
    group_fields: tuple[int, ...]
    views: tuple[LoggedView, ...]
    on_demand: tuple[LoggedOnDemand, ...]
    keep_expired: bool

    @cached_property
    def text(self) -> str:
        """As JSON."""
        return json.dumps([
            self.service, self.plan, self.columns, self.group_fields,
            [[v.name, v.group, v.timestamp_slot, v.features, v.shown] for v in self.views],
            [[o.name, o.features, o.inputs] for o in self.on_demand], self.keep_expired,
        ])  # fmt: skip

    @cached_property
    def id(self) -> bytes:
        """Eight bytes that tell it from others."""
        return hashlib.blake2b(self.text.encode(), digest_size=8).digest()

    @classmethod
    def parse(cls, text: str) -> Shape:
        """From its JSON."""
        service, plan, columns, group_fields, views, on_demand, keep_expired = json.loads(text)
        return cls(
            service,
            plan,
            tuple((name, dtype, kind) for name, dtype, kind in columns),
            tuple(group_fields),
            tuple(LoggedView(v[0], v[1], v[2], tuple((f[0], f[1], f[2]) for f in v[3]), v[4]) for v in views),
            tuple(LoggedOnDemand(o[0], tuple((f[0], f[1]) for f in o[1]), tuple(o[2])) for o in on_demand),
            keep_expired,
        )


class LoggedRows(NamedTuple):
    """One answered look-up.

    Attributes:
        request_id: what the answer's ``X-Request-ID`` said.
        contract: digest of the service's contract; None without one.
        time_us, as_of_us: time of the request and as-of time of its vectors, microseconds since 1970 UTC.
        rows: number of entity rows.
        places: their places in the request, where not all of them are here.
        columns: values of ``Shape.columns``, by column and row; timestamps as whole seconds since 1970.
        replies: by group and row, the stored bytes field by field; None where the key held no hash.
        odd: status codes by row of the features (in the order of the shown views) that are not all PRESENT.
        computed: stored bytes of the outputs of on-demand views, by output and row; empty for null.
    """

    request_id: str
    contract: str | None
    time_us: int
    as_of_us: int
    rows: int
    places: list[int] | None
    columns: list[list[Any]]
    replies: list[list[Any]]
    odd: dict[int, bytes] | None
    computed: list[list[bytes]]


def pack_rows(shape: Shape, rows: LoggedRows) -> bytes:
    """The record of an answered look-up."""
    return marshal.dumps((ROWS, shape.id, *rows), _FORMAT)


def pack_shape(shape: Shape) -> bytes:
    """The record that comes before the first one of a shape in each journal."""
    return marshal.dumps((SHAPE, shape.text), _FORMAT)


def pack_dropped(rows: dict[str, int]) -> bytes:
    """The record of rows that were not written, by service."""
    return marshal.dumps((DROPPED, rows), _FORMAT)


def unpack(data: bytes) -> tuple[Any, ...]:
    """The items of a record, behind one of SHAPE, ROWS, DROPPED. ``data`` must be what ``pack_...`` gave."""
    record: tuple[Any, ...] = marshal.loads(data)  # noqa: S302  (the block that it came in has the right checksum)
    return record
