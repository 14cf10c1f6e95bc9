"""What the server gives to the serving log: a record of each answered look-up, and the log's own life in a process."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from time import time_ns
from typing import Any, NamedTuple

import mmh3

from online_api.fallbacks import Replaced
from online_api.lookup import Column, Lookup, ViewColumns
from online_api.metrics import Metrics
from online_api.settings import Settings
from skewguard.serving_log.folder import LogFolder
from skewguard.serving_log.queue import LogCounts, LogQueue
from skewguard.serving_log.record import STATUS_CODES, LoggedOnDemand, LoggedView, Shape, pack_rows

_ALL = 2**32


class Served(NamedTuple):
    """An answered look-up, as it was bound, read and answered.

    ``columns``: the values of ``Shape.columns``; ``keys``: by group and row; ``computed``: the outputs of on-demand
    views; ``replaced``: what was sent instead of some of it.
    """

    request_id: str
    contract: str | None
    as_of_us: int
    rows: int
    keys: Sequence[Sequence[bytes]]
    columns: list[list[Any]]
    views: Sequence[ViewColumns]
    computed: Sequence[Column]
    replaced: Sequence[Replaced] = ()


class Recorder:
    """Makes the records of one prepared look-up; see ``recorder``."""

    def __init__(self, shape: Shape, sample: float) -> None:
        self.shape = shape
        self._id = shape.id
        self._limit = round(sample * _ALL)
        self._moments = [index for index, (_, dtype, _) in enumerate(shape.columns) if dtype == "UNIX_TIMESTAMP"]
        self._others = lru_cache(maxsize=64)(self._not_joined)

    def record(self, served: Served) -> tuple[bytes, int] | None:
        """The record and its number of rows; None where the sample has none of them."""
        request_id, contract, as_of_us, rows, keys, columns, views, computed, replaced = served
        places: list[int] | None = None
        if self._limit < _ALL:
            places = self._sampled(keys, rows)
            if not places:
                return None
            rows = len(places)
            columns = [_pick(places, column) for column in columns]
        for index in self._moments:
            columns[index] = [_seconds(value) for value in columns[index]]
        odd = None
        parts = []
        for index, view in enumerate(views):
            if view.lists is None and odd is None:
                odd = _odd(views, places)
            parts.append(self._part(index, view, places))
        raws = [column.raw if places is None else _pick(places, column.raw) for column in computed]
        sent = _sent_instead(replaced, places) if replaced else None
        rest = (rows, request_id, contract, time_ns() // 1000, as_of_us, places, columns, parts, odd, raws, sent)
        return pack_rows(self._id, rest), rows

    def _part(self, index: int, view: ViewColumns, places: list[int] | None) -> tuple[Any, ...]:
        """What a record holds of a view: see LoggedRows."""
        if places is None:
            names = self._others(index, tuple(view.joined))
            return view.stamps, view.joined, [view.columns[name].raw for name in names] if names else []
        names = self._others(index, ())
        return _pick(places, view.stamps), {}, [_pick(places, view.columns[name].raw) for name in names]

    def _not_joined(self, index: int, joined: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name, dtype in self.shape.views[index].features if dtype not in joined)

    def _sampled(self, keys: Sequence[Sequence[bytes]], rows: int) -> list[int]:
        limit = self._limit
        whole: Iterable[bytes]
        if len(keys) == 1:
            whole = keys[0]
        else:
            whole = [b"".join(row) for row in zip(*keys, strict=True)] if keys else [b""] * rows
        return [row for row, key in enumerate(whole) if mmh3.hash(key, signed=False) < limit]


def recorder(lookup: Lookup, features: Sequence[str], plan: str, sample: float, keep_expired: bool) -> Recorder:
    """The recorder of a prepared look-up; ``features`` is the list that was asked for where there is no service.

    ``sample``: a row is logged when the 32-bit hash of its entity keys falls into this share of all hashes.
    """
    service = lookup.service
    columns = [(key.name, key.dtype, "key") for key in lookup.key_columns]
    columns += [(field.name, field.dtype, "request") for field in service.request_fields]
    places = {read.name: index for index, read in reversed(list(enumerate(lookup.reads)))}
    shown = len(service.projections)
    shape = Shape(
        service=service.name or f"features~{hashlib.sha256(json.dumps(features).encode()).hexdigest()[:12]}",
        plan=plan,
        columns=tuple(columns),
        views=tuple(
            LoggedView(
                read.name,
                lookup.groups[read.group].columns,
                tuple((feature.name, feature.dtype) for feature, _ in read.features),
                index < shown,
            )
            for index, read in enumerate(lookup.reads)
        ),
        on_demand=tuple(
            LoggedOnDemand(
                view.output_prefix,
                tuple(field.name for field in view.request_fields),
                tuple((feature.name, feature.dtype) for feature in view.features),
                tuple(places[projection.name] for projection in view.inputs if projection.name in places),
            )
            for view in service.on_demand
        ),
        keep_expired=keep_expired,
    )
    return Recorder(shape, sample)


def _pick(places: Sequence[int], values: Sequence[Any]) -> list[Any]:
    return [values[place] for place in places]


def _seconds(value: Any) -> int | None:
    return int(value.timestamp()) if isinstance(value, datetime) else value


def _odd(views: Sequence[ViewColumns], places: Sequence[int] | None) -> dict[int, bytes] | None:
    """Status codes of the features that are not all PRESENT, by their place among those of the answer."""
    found: dict[int, bytes] = {}
    columns = (column for view in views for column in view.columns.values())
    for place, column in enumerate(columns):
        if column.statuses is not None:
            statuses = column.statuses if places is None else _pick(places, column.statuses)
            found[place] = bytes([STATUS_CODES[status] for status in statuses])
    return found or None


def _sent_instead(replaced: Sequence[Replaced], places: Sequence[int] | None) -> dict[int, list[tuple[int, str, Any]]]:
    """By feature of the answer: row, kind and value of what was sent instead; see LoggedRows."""
    found = {}
    for one in replaced:
        rows = one.kinds if places is None else [row for row in places if row in one.kinds]
        at = {row: row for row in rows} if places is None else {row: index for index, row in enumerate(places)}
        found[one.output.index] = [(at[row], one.kinds[row], one.values[row]) for row in rows]
    return found


class ServedLog:
    """The serving log of one server process. Nothing is written before ``open``.

    Call ``start`` once, in the process that serves, and ``close`` when it has answered its last request.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._folder = LogFolder.of(settings.repo)
        self._metrics = metrics
        self._maker: subprocess.Popen[bytes] | None = None
        self._counted = LogCounts()
        self._prefix = os.urandom(6).hex()
        self._requests = 0
        self._queue: LogQueue | None = None
        self._started = False

    def recorder(self, lookup: Lookup, features: Sequence[str], plan: str) -> Recorder | None:
        """The recorder of a prepared look-up; None where policy has it not logged. Raises what ``open`` raises."""
        policy = self._settings.policy(lookup.service.name)
        if not policy.log:
            return None
        self.open()
        return recorder(lookup, features, plan, policy.log_sample, policy.expired == "annotate")

    def open(self) -> None:
        """Begin a journal. Raises ConfigurationError when it cannot be written."""
        if self._queue is None:
            self._queue = LogQueue(self._folder, self._settings.log, self._make_segments, self._count)
            if self._started:
                self._queue.start()

    def start(self) -> None:
        """Start to write what is put."""
        self._started = True
        if self._queue is not None:
            self._queue.start()

    def request_id(self) -> str:
        """A new request id: of this process, and the number of the request."""
        self._requests += 1
        return f"{self._prefix}-{self._requests}"

    def put(self, shape: Shape, record: bytes, rows: int) -> None:
        """Log a record of a recorder. Never waits."""
        if self._queue is not None:
            self._queue.put(shape, record, rows)

    @property
    def problem(self) -> str | None:
        """Why rows are dropped now; None where all is well."""
        return None if self._queue is None else self._queue.problem

    def close(self) -> None:
        """Write what waits, and let nothing run on. Whoever comes next makes segments of the last journal."""
        if self._queue is not None:
            self._queue.close()
        if self._maker is not None and self._maker.poll() is None:
            self._maker.terminate()  # it can be stopped anywhere
            self._maker.wait()

    def _count(self) -> None:
        """Bring the metrics up to date; in the log's thread."""
        if self._queue is None:
            return
        counts = self._queue.counts
        for name in ("sent", "stored", "dropped"):
            before: Mapping[str, int] = getattr(self._counted, name)
            for service, rows in getattr(counts, name).items():
                self._metrics.logged.labels(service, name).inc(rows - before.get(service, 0))
        self._counted = counts

    def _make_segments(self) -> None:
        if self._maker is None or self._maker.poll() is not None:
            # a process, because it imports what a worker does without
            self._maker = subprocess.Popen(  # noqa: S603  (our own module, our own folder)
                [sys.executable, "-m", "skewguard.serving_log", str(self._settings.repo)], stdin=subprocess.DEVNULL
            )
