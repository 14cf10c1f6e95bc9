"""Answers a query: names against the plan, values against dtypes, the gate, Redis, on-demand views, the response.

Everything here is told what it needs; nothing knows HTTP.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson

from online_api.coerce import key_column, request_column
from online_api.lookup import PRESENT, Column, Lookup, ViewColumns, oldest, prepare, read_views
from online_api.metrics import Metrics
from online_api.on_demand import OnDemandViews
from online_api.problems import UnsupportedFeatureError
from online_api.query import Query
from online_api.served_log import Recorder, Served, ServedLog
from online_api.settings import Settings
from online_api.store import OnlineStore
from online_api.values import EPOCH_TEXT, json_value, timestamp_text
from online_api.verdicts import Passage, Verdicts
from skewguard.definitions import FieldDef, OnDemandDef
from skewguard.errors import BadInputError, GateBlocked, UnknownNameError
from skewguard.findings import Verdict
from skewguard.plan import ServingPlan

PREPARED = 1024
"""Look-ups kept prepared: one for each distinct service or feature list."""

INLINE_CELLS = 20_000
"""A request with more values is worked on in a thread, so that the others go on."""

_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Answer:
    """The body of a response, and the verdict that its header tells (None: no gate was in the way)."""

    body: bytes
    verdict: Verdict | None


@dataclass(frozen=True)
class _Prepared:
    """A look-up and what every one of its requests needs; worked out once.

    Attributes:
        guarded_by: the services whose gates it passes.
        recorder: makes its records; None where it is not logged.
        needed, wanted: its join keys and its request data, by entity-row column.
        known: the columns that a request may have: these, and the join keys and request data of other services.
        keep_expired: values past their TTL are sent.
        names: the metadata of an answer to a request without further columns, as JSON.
    """

    lookup: Lookup
    guarded_by: tuple[str, ...]
    recorder: Recorder | None
    needed: Mapping[str, FieldDef]
    wanted: Mapping[str, FieldDef]
    known: frozenset[str]
    keep_expired: bool
    names: orjson.Fragment


@dataclass(frozen=True)
class _Bound:
    """A query held against its look-up: columns to echo, request data, and each group's keys by row."""

    echoed: Mapping[str, list[Any]]
    request_data: Mapping[str, list[Any]]
    keys: Sequence[Sequence[bytes]]


_Under = tuple[str, str | None]
"""Request id, and digest of the contract."""


class FeatureService:
    """Look-ups of one plan. Share one instance among all requests of a process."""

    def __init__(
        self,
        settings: Settings,
        plan: ServingPlan,
        store: OnlineStore,
        verdicts: Verdicts,
        metrics: Metrics,
        on_demand: OnDemandViews | None,
        log: ServedLog,
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._store = store
        self._verdicts = verdicts
        self._metrics = metrics
        self._on_demand = on_demand
        self._log = log
        self._prepared = lru_cache(maxsize=PREPARED)(self._prepare)

    async def answer(self, query: Query, request_id: str) -> Answer:
        """The answer to a query; it goes to the serving log under ``request_id``.

        Raises:
            UnknownNameError, BadInputError: the query does not fit the plan.
            UnsupportedFeatureError: an on-demand view that this server cannot compute.
            GateBlocked: a serving gate is closed.
            StoreUnavailableError: Redis.
            TransformFailedError: an on-demand view.
        """
        prepared = self._prepared(query.service, query.features, query.full_feature_names)
        lookup = prepared.lookup
        inline = query.rows * len(lookup.outputs) <= INLINE_CELLS
        bound = self._bind(prepared, query) if inline else await asyncio.to_thread(self._bind, prepared, query)
        passage = self._enter(prepared.guarded_by)
        as_of = self._settings.now()
        replies = await self._read(lookup, bound.keys)
        under = (request_id, passage.contract)
        if inline and not lookup.service.on_demand:
            body, record = self._respond(prepared, query, bound, replies, as_of, under)
        else:
            body, record = await asyncio.to_thread(self._respond, prepared, query, bound, replies, as_of, under)
        if record is not None and prepared.recorder is not None:
            self._log.put(prepared.recorder.shape, *record)
        return Answer(body, passage.verdict)

    def _prepare(self, service: str | None, features: tuple[str, ...], full: bool) -> _Prepared:
        if service is not None:
            definition = self._plan.service(service)
            guarded_by: tuple[str, ...] = (service,)
        else:
            definition = self._plan.feature_list(features)
            guarded_by = self._plan.services_sharing(definition)
        for view in definition.on_demand:
            if view.name in self._plan.unsupported:
                reason = self._plan.unsupported[view.name]
                raise UnsupportedFeatureError(f"On-demand feature view {view.name!r} cannot be served: {reason}.")
        lookup = prepare(self._plan.project, definition, full)
        needed = {column.name: column for column in lookup.key_columns}
        wanted = {field.name: field for field in definition.request_fields}
        return _Prepared(
            lookup,
            guarded_by,
            self._log.recorder(lookup, features, self._plan.digest),
            needed,
            wanted,
            frozenset([*needed, *wanted, *self._plan.key_columns, *self._plan.request_columns]),
            self._settings.policy(service or "").expired == "annotate",
            orjson.Fragment(orjson.dumps({"feature_names": [*needed, *lookup.outputs]})),
        )

    def _enter(self, services: tuple[str, ...]) -> Passage:
        try:
            return self._verdicts.enter(services)
        except GateBlocked as error:
            self._metrics.refusals.labels(error.service).inc()
            raise

    # -- before Redis -------------------------------------------------------------------------------------------------

    def _bind(self, prepared: _Prepared, query: Query) -> _Bound:
        lookup, needed, wanted = prepared.lookup, prepared.needed, prepared.wanted
        entities = query.entities
        for name in entities:
            if name not in prepared.known:
                raise UnknownNameError("column of entities", name, sorted(prepared.known))
        missing = [name for names in (needed, wanted) for name in names if name not in entities]
        if missing:
            sent = ", ".join(sorted(entities)[:20]) or "no columns"
            raise BadInputError(
                f"entities.{missing[0]}", f"nothing (sent: {sent})", f"the columns {', '.join(missing)} in 'entities'"
            )
        echoed = {name: key_column(key, query.entities[name]) for name, key in needed.items()}
        # as Feast, a join key that this request does not need is checked and sent back
        for name in query.entities:
            if name not in echoed and name not in wanted and name in self._plan.key_columns:
                echoed[name] = key_column(self._plan.key_columns[name], query.entities[name])
        request_data = {name: request_column(f, query.entities[name]) for name, f in wanted.items()}
        keys = []
        for group in lookup.groups:
            encoded = group.encoder.encode([echoed[column] for column in group.columns], query.rows)
            keys.append([key for key in encoded if key is not None])  # nulls were refused above
        return _Bound(echoed, request_data, keys)

    async def _read(self, lookup: Lookup, keys: Sequence[Sequence[bytes]]) -> list[list[Any]]:
        """Replies by group and row; each distinct key is read once."""
        distinct = [list(dict.fromkeys(column)) for column in keys]
        asked = [(group.fields, column) for group, column in zip(lookup.groups, distinct, strict=True)]
        replies = await self._store.read(asked)
        by_group = []
        start = 0
        for once, column in zip(distinct, keys, strict=True):
            part = replies[start : start + len(once)]
            start += len(once)
            if len(once) < len(column):
                place = {key: index for index, key in enumerate(once)}
                part = [part[place[key]] for key in column]
            by_group.append(part)
        return by_group

    # -- after Redis --------------------------------------------------------------------------------------------------

    def _respond(
        self,
        prepared: _Prepared,
        query: Query,
        bound: _Bound,
        replies: Any,
        as_of: datetime,
        under: tuple[str, str | None],
    ) -> tuple[bytes, tuple[bytes, int] | None]:
        """The body, and the record for the serving log (``under`` request id and contract) with its number of rows."""
        lookup = prepared.lookup
        as_of_us = (as_of - _EPOCH) // _MICROSECOND
        views = read_views(lookup, replies, as_of_us * 1_000, prepared.keep_expired)
        epoch = _constant(EPOCH_TEXT, query.rows)
        present = _constant(PRESENT, query.rows)
        results = [_vector([json_value(v) for v in values], present, epoch) for values in bound.echoed.values()]
        statuses: Counter[tuple[str, str]] = Counter()
        for read, view in zip(lookup.reads[: len(lookup.service.projections)], views, strict=False):
            texts = orjson.Fragment(orjson.dumps([timestamp_text(timestamp) for timestamp in view.timestamps]))
            if view.lists is not None:
                results += [{"values": values, "statuses": present, "event_timestamps": texts} for values in view.lists]
                statuses[read.view, PRESENT] += len(view.lists) * query.rows
                continue
            whole = 0
            for column in view.columns.values():
                if column.statuses is None:
                    whole += 1
                    results.append({"values": column.values, "statuses": present, "event_timestamps": texts})
                else:
                    results.append(_vector(column.values, column.statuses, texts))
                    _count(statuses, read.view, column.statuses)
            if whole:
                statuses[read.view, PRESENT] += whole * query.rows
        computed: list[Column] = []
        if lookup.service.on_demand:
            vectors, computed = self._on_demand_vectors(lookup, bound, views, query.rows, statuses)
            results += vectors
        self._metrics.count_statuses(statuses)
        metadata: Any = prepared.names
        if query.version_metadata or len(bound.echoed) > len(prepared.needed):
            metadata = {"feature_names": [*bound.echoed, *lookup.outputs]}
            if query.version_metadata:
                metadata["feature_view_metadata"] = self._versions(lookup)
        body = orjson.dumps({"results": results, "metadata": metadata})
        if prepared.recorder is None:
            return body, None
        columns = [bound.echoed[key.name] for key in lookup.key_columns]
        if bound.request_data:
            columns += bound.request_data.values()
        served = Served(*under, as_of_us, query.rows, bound.keys, columns, views, computed)
        return body, prepared.recorder.record(served)

    def _on_demand_vectors(
        self, lookup: Lookup, bound: _Bound, views: Sequence[ViewColumns], rows: int, statuses: Counter[tuple[str, str]]
    ) -> tuple[list[dict[str, Any]], list[Column]]:
        if self._on_demand is None:
            raise UnsupportedFeatureError("The server was started without on-demand feature views; start it again.")
        by_name: dict[str, ViewColumns] = {}
        for read, view in zip(lookup.reads, views, strict=True):
            by_name.setdefault(read.name, ViewColumns(view.timestamps, view.stamps)).columns.update(view.columns)
        others = {**bound.echoed, **bound.request_data}
        results, columns = [], []
        for definition in lookup.service.on_demand:
            outputs = self._on_demand.run(definition, _inputs(definition, by_name), others, rows)
            texts = [timestamp_text(oldest(definition, by_name, row)) for row in range(rows)]
            for feature in definition.features:
                column = outputs[feature.name]
                columns.append(column)
                results.append(_vector(column.values, column.statuses, texts))
                _count(statuses, definition.name, column.statuses or [])
        return results, columns

    def _versions(self, lookup: Lookup) -> list[dict[str, Any]]:
        found = []
        for name, view in {read.name: read.view for read in lookup.reads}.items():
            version = self._plan.versions.get(view, 0)
            found.append({"name": name, "version": version} if version else {"name": name})
        return found


def _inputs(definition: OnDemandDef, views: Mapping[str, ViewColumns]) -> dict[tuple[str, str], Sequence[bytes]]:
    return {(p.name, f.name): views[p.name].columns[f.name].raw for p in definition.inputs for f in p.features}


@lru_cache(maxsize=64)
def _constant(text: str, rows: int) -> orjson.Fragment:
    """A list of the same text so many times, as JSON."""
    return orjson.Fragment(orjson.dumps([text] * rows))


def _vector(values: list[Any], statuses: Any, timestamps: Any) -> dict[str, Any]:
    return {"values": values, "statuses": statuses, "event_timestamps": timestamps}


def _count(counts: Counter[tuple[str, str]], view: str, statuses: Sequence[str]) -> None:
    for status, number in Counter(statuses).items():
        counts[view, status] += number
