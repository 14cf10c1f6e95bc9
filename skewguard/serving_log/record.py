"""What the log keeps of an answered look-up: the stored bytes of what was sent, and the shape that says what they mean.

A record is one ``marshal`` document (format 2, which has not changed since Python 2.5): of all that the standard
library has it is the cheapest to write on the way of a request. Journals are read on the machine that wrote them.
"""

from __future__ import annotations

import hashlib
import json
import marshal
from collections.abc import Sequence
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
    """A view of a look-up, the entity-row columns that hold its join keys, and its features (name, dtype).

    ``shown``: its features were part of the answer; otherwise they were read as inputs of an on-demand view.
    """

    name: str
    keys: tuple[str, ...]
    features: tuple[tuple[str, str], ...]
    shown: bool


@dataclass(frozen=True)
class LoggedOnDemand:
    """An on-demand view of a look-up: its request data, outputs (name, dtype), and the places of the views it reads."""

    name: str
    request: tuple[str, ...]
    features: tuple[tuple[str, str], ...]
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class Shape:
    """What the records of one feature service (or list), under one plan, consist of.

    Attributes:
        service: name of the feature service; ``features~<digest>`` for a feature list.
        plan: digest of the serving plan.
        columns: entity-row columns: name, dtype, and "key" or "request".
        views: the views in the order in which they are read, those that are shown first.
        on_demand: the on-demand views, in order.
        keep_expired: values past their TTL were sent.
    """

    service: str
    plan: str
    columns: tuple[tuple[str, str, str], ...]
    views: tuple[LoggedView, ...]
    on_demand: tuple[LoggedOnDemand, ...]
    keep_expired: bool

    @cached_property
    def text(self) -> str:
        """As JSON."""
        return json.dumps([
            self.service, self.plan, self.columns, [[v.name, v.keys, v.features, v.shown] for v in self.views],
            [[o.name, o.request, o.features, o.inputs] for o in self.on_demand], self.keep_expired,
        ])  # fmt: skip

    @cached_property
    def id(self) -> bytes:
        """Eight bytes that tell it from others."""
        return hashlib.blake2b(self.text.encode(), digest_size=8).digest()

    @classmethod
    def parse(cls, text: str) -> Shape:
        """From its JSON."""
        service, plan, columns, views, on_demand, keep_expired = json.loads(text)
        return cls(
            service,
            plan,
            tuple((name, dtype, kind) for name, dtype, kind in columns),
            tuple(LoggedView(v[0], tuple(v[1]), tuple((f[0], f[1]) for f in v[2]), v[3]) for v in views),
            tuple(LoggedOnDemand(o[0], tuple(o[1]), tuple((f[0], f[1]) for f in o[2]), tuple(o[3])) for o in on_demand),
            keep_expired,
        )


class LoggedRows(NamedTuple):
    """One answered look-up.

    Attributes:
        rows: number of entity rows.
        request_id: what the answer's ``X-Request-ID`` said.
        contract: digest of the service's contract; None without one.
        time_us, as_of_us: time of the request and as-of time of its vectors, microseconds since 1970 UTC.
        places: the rows' places in the request, where not all of them are here.
        columns: values of ``Shape.columns``, by column and row; timestamps as whole seconds since 1970.
        views: for each of ``Shape.views`` its stored event timestamps by row (None: absent); by float dtype, all
            features of that dtype as one piece, column by column, each value as long as the others; and the stored
            bytes by row of the other features, in order. Bytes are empty where no value was sent.
        odd: status codes by row of the features (in the order of the views) that are not all PRESENT.
        computed: stored bytes of the outputs of on-demand views, by output and row; empty for null.
        sent: by feature of the answer (in its order) row, kind and JSON value of what was sent instead; None in most
            records, and in those that were written before anything was.
    """

    rows: int
    request_id: str
    contract: str | None
    time_us: int
    as_of_us: int
    places: list[int] | None
    columns: list[list[Any]]
    views: list[tuple[Sequence[bytes | None], dict[str, bytes], list[Sequence[bytes]]]]
    odd: dict[int, bytes] | None
    computed: list[Sequence[bytes]]
    sent: dict[int, list[tuple[int, str, Any]]] | None = None


def pack_rows(shape_id: bytes, rows: tuple[Any, ...]) -> bytes:
    """The record of an answered look-up; ``rows`` holds the values of a LoggedRows."""
    return marshal.dumps((ROWS, shape_id, rows), _FORMAT)


def pack_shape(shape: Shape) -> bytes:
    """The record that comes before the first one of a shape in each journal."""
    return marshal.dumps((SHAPE, shape.text), _FORMAT)


def pack_dropped(rows: dict[str, int]) -> bytes:
    """The record of rows that were not written, by service."""
    return marshal.dumps((DROPPED, rows), _FORMAT)


def unpack(data: bytes | memoryview) -> tuple[Any, ...]:
    """(SHAPE, text), (ROWS, shape id, values of a LoggedRows) or (DROPPED, rows by service)."""
    record: tuple[Any, ...] = marshal.loads(data)  # noqa: S302  (the block that it came in has the right checksum)
    return record
