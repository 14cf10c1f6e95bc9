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
from online_api.fallbacks import Answered, Replaced, Wanted, counted
from online_api.lookup import PRESENT, Column, Lookup, ViewColumns, oldest, read_views
from online_api.metrics import Metrics
from online_api.on_demand import OnDemandViews
from online_api.passage import Passage, RequestGate
from online_api.prepared import PREPARED, Prepared, Preparing
from online_api.problems import UnsupportedFeatureError
from online_api.query import Query
from online_api.row_checks import Outcome
from online_api.served_log import Served, ServedLog
from online_api.settings import Settings
from online_api.store import OnlineStore
from online_api.values import EPOCH_TEXT, json_value, timestamp_text
from online_api.verdicts import Verdicts
from skewguard.definitions import OnDemandDef
from skewguard.errors import BadInputError, GateBlocked, UnknownNameError
from skewguard.expectations.rows.suite import RowSuite
from skewguard.findings import Verdict
from skewguard.plan import ServingPlan

INLINE_CELLS = 20_000
"""A request with more values is worked on in a thread, so that the others go on."""

_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Answer:
    """The body of a response, and what its headers tell.

    Attributes:
        verdict: the worst of the gates that were in the way; None where there was none.
        overridden: until when a gate in the way is overridden; None where none is.
        replaced: number of values that were sent instead of those that are stored.
        outcome: what became of the expectations on it; None where all is well.
    """

    body: bytes
    verdict: Verdict | None
    overridden: datetime | None = None
    replaced: int = 0
    outcome: Outcome | None = None


@dataclass(frozen=True)
class _Bound:
    """A query held against its look-up: columns to echo, request data, and each group's keys by row."""

    echoed: Mapping[str, list[Any]]
    request_data: Mapping[str, list[Any]]
    keys: Sequence[Sequence[bytes]]


@dataclass(frozen=True)
class _Asked:
    """A query on its way: what the gates said, its id, and the as-of time in microseconds since 1970."""

    query: Query
    bound: _Bound
    passage: Passage
    request_id: str
    as_of_us: int


class FeatureService:
    """Look-ups of one plan. Share one instance among all requests of a process."""

    def __init__(
        self,
        settings: Settings,
        plan: ServingPlan,
        store: OnlineStore,
        verdicts: Verdicts,
        on_demand: OnDemandViews | None,
        log: ServedLog,
        metrics: Metrics,
        rules: Mapping[str, RowSuite],
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._store = store
        self._metrics = metrics
        self._on_demand = on_demand
        self._log = log
        self._preparing = Preparing(settings, plan, verdicts, log, rules)
        self._prepared = lru_cache(maxsize=PREPARED)(self._preparing.prepare)

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
        passage = self._enter(prepared.gate)
        as_of = self._settings.now()
        replies = await self._read(lookup, bound.keys)
        asked = _Asked(query, bound, passage, request_id, (as_of - _EPOCH) // _MICROSECOND)
        if inline and not lookup.service.on_demand:
            answer, record = self._respond(prepared, asked, replies)
        else:
            answer, record = await asyncio.to_thread(self._respond, prepared, asked, replies)
        if record is not None and prepared.recorder is not None:
            self._log.put(prepared.recorder.shape, *record)
        return answer

    def show_alarms(self) -> None:
        """Set the gauges of the rules whose share of values as expected is too low."""
        for service, window in self._preparing.windows():
            for state in window.state():
                self._metrics.show_alarm(service, state.rule, state.alarm)

    def _enter(self, gate: RequestGate) -> Passage:
        try:
            return gate.enter()
        except GateBlocked as error:
            self._metrics.refusals.labels(error.service).inc()
            raise

    # -- before Redis -------------------------------------------------------------------------------------------------

    def _bind(self, prepared: Prepared, query: Query) -> _Bound:
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
        self, prepared: Prepared, asked: _Asked, replies: list[list[Any]]
    ) -> tuple[Answer, tuple[bytes, int] | None]:
        """The answer, and the record for the serving log with its number of rows."""
        lookup, query, bound, passage = prepared.lookup, asked.query, asked.bound, asked.passage
        views = read_views(lookup, replies, asked.as_of_us * 1_000, prepared.keep_expired)
        epoch = _constant(EPOCH_TEXT, query.rows)
        present = _constant(PRESENT, query.rows)
        results = [_vector([json_value(v) for v in values], present, epoch) for values in bound.echoed.values()]
        statuses: Counter[tuple[str, str]] = Counter()
        results += _stored_vectors(lookup, views, query.rows, present, statuses)
        computed: list[tuple[Column, list[str]]] = []
        if lookup.service.on_demand:
            computed = self._on_demand_columns(lookup, bound, views, query.rows, statuses)
            results += [_vector(column.values, column.statuses, texts) for column, texts in computed]
        self._metrics.count_statuses(statuses)
        outcome = self._judge(prepared, asked, views, computed) if prepared.checks else None
        replaced: list[Replaced] = []
        if passage.blocked or outcome is not None or prepared.keeps_good:
            answered = Answered(query.rows, bound.keys, replies, views, computed, asked.as_of_us * 1_000)
            replaced = self._replace(prepared, passage, outcome, answered)
            for one in replaced:
                results[len(bound.echoed) + one.output.index] = one.vector()
        metadata = self._metadata(prepared, asked, outcome, replaced)
        body = orjson.dumps({"results": results, "metadata": metadata})
        until = min((one.until for one in passage.overrides.values()), default=None)
        answer = Answer(body, passage.verdict, until, sum(len(one.kinds) for one in replaced), outcome)
        if prepared.recorder is None:
            return answer, None
        columns = [bound.echoed[key.name] for key in lookup.key_columns]
        if bound.request_data:
            columns += bound.request_data.values()
        under = (asked.request_id, passage.contract, asked.as_of_us, query.rows)
        served = Served(*under, bound.keys, columns, views, [column for column, _ in computed], replaced)
        return answer, prepared.recorder.record(served)

    def _judge(
        self, prepared: Prepared, asked: _Asked, views: Sequence[ViewColumns], computed: Sequence[tuple[Column, Any]]
    ) -> Outcome | None:
        """What became of the row rules, None where all is well. Raises ExpectationsFailedError."""
        outcome: Outcome | None = None
        bound, rows = asked.bound, asked.query.rows
        for check in prepared.checks:
            masks = check.masks(rows, views, computed, bound.echoed, bound.request_data)
            self._metrics.count_judged(check.service, rows)
            if masks or (check.window is not None and check.window.alarms):
                outcome = outcome or Outcome()
                check.explain(masks, check.service in asked.passage.overrides, outcome)
                outcome.alarms += check.alarms()
        if outcome is not None:
            self._metrics.count_outcome(outcome)
            outcome.refuse()
        return outcome

    def _replace(
        self, prepared: Prepared, passage: Passage, outcome: Outcome | None, answered: Answered
    ) -> list[Replaced]:
        """The features that need other values, with them; good rows are kept for later."""
        wanted = {} if outcome is None else outcome.wanted()
        for output in prepared.fallbacks.outputs if passage.blocked else ():
            service = passage.blocked.get(output.place)
            if service is not None:
                wanted[output.index] = Wanted(service, "verdict", set(range(answered.rows)))
        if prepared.keeps_good:
            prepared.fallbacks.keep(answered, () if outcome is None else outcome.bad_rows, passage.blocked)
        if not wanted:
            return []
        replaced = prepared.fallbacks.replace(wanted, answered)
        self._metrics.count_fallbacks(counted(replaced))
        return replaced

    def _metadata(
        self, prepared: Prepared, asked: _Asked, outcome: Outcome | None, replaced: Sequence[Replaced]
    ) -> Any:
        query, bound = asked.query, asked.bound
        told = {} if outcome is None else outcome.told()
        if replaced:
            told["fallbacks"] = [one.told(query.rows) for one in replaced]
        if not query.version_metadata and not told and len(bound.echoed) <= len(prepared.needed):
            return prepared.names
        metadata: dict[str, Any] = {"feature_names": [*bound.echoed, *prepared.lookup.outputs]}
        if query.version_metadata:
            metadata["feature_view_metadata"] = self._versions(prepared.lookup)
        return {**metadata, "skewguard": told} if told else metadata

    def _on_demand_columns(
        self, lookup: Lookup, bound: _Bound, views: Sequence[ViewColumns], rows: int, statuses: Counter[tuple[str, str]]
    ) -> list[tuple[Column, list[str]]]:
        if self._on_demand is None:
            raise UnsupportedFeatureError("The server was started without on-demand feature views; start it again.")
        by_name: dict[str, ViewColumns] = {}
        for read, view in zip(lookup.reads, views, strict=True):
            by_name.setdefault(read.name, ViewColumns(view.timestamps, view.stamps)).columns.update(view.columns)
        others = {**bound.echoed, **bound.request_data}
        columns = []
        for definition in lookup.service.on_demand:
            outputs = self._on_demand.run(definition, _inputs(definition, by_name), others, rows)
            texts = [timestamp_text(oldest(definition, by_name, row)) for row in range(rows)]
            for feature in definition.features:
                column = outputs[feature.name]
                columns.append((column, texts))
                _count(statuses, definition.name, column.statuses or [])
        return columns

    def _versions(self, lookup: Lookup) -> list[dict[str, Any]]:
        found = []
        for name, view in {read.name: read.view for read in lookup.reads}.items():
            version = self._plan.versions.get(view, 0)
            found.append({"name": name, "version": version} if version else {"name": name})
        return found


def _stored_vectors(
    lookup: Lookup, views: Sequence[ViewColumns], rows: int, present: Any, statuses: Counter[tuple[str, str]]
) -> list[dict[str, Any]]:
    """The features of the views as a response has them; adds up their statuses."""
    results: list[dict[str, Any]] = []
    for read, view in zip(lookup.reads[: len(lookup.service.projections)], views, strict=False):
        texts = orjson.Fragment(orjson.dumps([timestamp_text(timestamp) for timestamp in view.timestamps]))
        if view.lists is not None:
            results += [{"values": values, "statuses": present, "event_timestamps": texts} for values in view.lists]
            statuses[read.view, PRESENT] += len(view.lists) * rows
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
            statuses[read.view, PRESENT] += whole * rows
    return results


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
