"""Runs on-demand views on rows of the data and on edge cases: as training does, and as serving does, a row at a time.

Training hands a view its whole set as one batch; a request holds one entity, as a rule. So rows of the data go offline
together and online one by one, which is where a null somewhere in a column, that makes pandas take its integers for
doubles, tells. Edge cases go one by one on either side.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from skewguard import dtypes
from skewguard.checks.transform import Compared, Outcome, TransformRun, check_transform
from skewguard.definitions import FieldDef, OnDemandDef, ServiceDef
from skewguard.edge_rows import EdgeRows, edge_rows, usual
from skewguard.findings import CheckResult
from skewguard.offline.asof import point_in_time
from skewguard.on_demand import add_on_demand, not_at_request
from skewguard.online.codec import decode_column, encode_column
from skewguard.replaying import merged_projections
from skewguard.sampled_entities import sampled_entities

if TYPE_CHECKING:
    from skewguard.feast_repo import FeastRepo
    from skewguard.online.on_demand import OnDemandEngine
    from skewguard.workspace import Workspace

_AT = "__transform_at"
_AGAIN = 20
"""So many rows are asked for twice."""


def transform(
    workspace: Workspace, service: ServiceDef, as_of: datetime, con: duckdb.DuckDBPyConnection
) -> CheckResult:
    """Hold both engines of every on-demand view of the service against one another.

    Rows of the data are vectors as of ``as_of`` of entities chosen by hash (policy ``transform_rows``); request data,
    of which offline has none, hold usual values there (what was really asked, replay compares).
    """
    from skewguard.online.on_demand import OnDemandEngine

    policy = workspace.policy_for(service.name)
    feast = workspace.feast
    reasons = not_at_request(feast, [od.name for od in service.on_demand])
    not_compared = {od.output_prefix: reasons[od.name] for od in service.on_demand if od.name in reasons}
    runs = []
    for definition in service.on_demand:
        if definition.output_prefix in not_compared:
            continue
        engines = _Engines(feast, definition, OnDemandEngine(feast, [definition]))
        rows = engines.rows(con, as_of, policy.transform_rows)
        edges = edge_rows(engines.fields, _likely(engines.fields, rows))
        runs.append(TransformRun(definition, engines.compared(rows, edges), engines.unsteady(rows, edges.table)))
    return check_transform(runs, policy, not_compared)


def _likely(fields: Mapping[str, FieldDef], rows: pa.Table) -> dict[str, Any]:
    """Of each input the first value of the data that is there."""
    found = {}
    for name in fields:
        values = rows.column(name).drop_null()
        if len(values):
            found[name] = values[0].as_py()
    return found


class _Engines:
    """Both engines of one view. ``fields``: its inputs by their column: ``<projection>__<feature>``, join keys and
    request data under their own names.
    """

    def __init__(self, feast: FeastRepo, definition: OnDemandDef, serving: OnDemandEngine) -> None:
        self.feast, self.definition, self._serving = feast, definition, serving
        self._service = ServiceDef("", (), (definition,))
        self._projections = merged_projections(self._service)
        self._stored = {p.output_name(f.name, True): (p.name, f) for p in self._projections for f in p.features}
        keys = {column: key for p in self._projections for key, column in p.keys}
        self._others = {name: replace(key, name=name) for name, key in keys.items()}
        self._others |= {f.name: f for f in definition.request_fields}
        self.fields = {name: item for name, (_, item) in self._stored.items()}
        self.fields |= {f.name: f for f in definition.request_fields}

    def rows(self, con: duckdb.DuckDBPyConnection, as_of: datetime, count: int) -> pa.Table:
        """Rows of the data: every input column, and the join keys."""
        service = ServiceDef("", tuple(self._projections))
        if not count or not self._projections:
            return self._finished(pa.table({}), 0)
        entities, _ = sampled_entities(service, as_of, con, count)
        if not entities.num_rows:
            return self._finished(pa.table({}), 0)
        moments = pa.array([as_of] * entities.num_rows, pa.timestamp("us", tz="UTC"))
        joined = point_in_time(
            con, entities.append_column(_AT, moments), self._projections, timestamp_column=_AT, full_feature_names=True
        )
        return self._finished(joined, joined.num_rows)

    def _finished(self, table: pa.Table, rows: int) -> pa.Table:
        """With every column: what is not there holds usual values."""
        columns = {}
        for name, item in (self.fields | self._others).items():
            kind = dtypes.arrow_type(item.dtype)
            there = name in table.column_names
            columns[name] = table.column(name).cast(kind) if there else pa.array([usual(item.dtype)] * rows, kind)
        return pa.table(columns)

    def compared(self, rows: pa.Table, edges: EdgeRows) -> Compared:
        """What both make of all rows."""
        wide = self._finished(edges.table, edges.table.num_rows)
        offline = [self._training(rows), *(self._training(wide.slice(i, 1)) for i in range(wide.num_rows))]
        online = [self._answered(part.slice(i, 1)) for part in (rows, wide) for i in range(part.num_rows)]
        return Compared(
            pa.concat_tables([rows, wide]).select(list(self.fields)),
            [""] * rows.num_rows + list(edges.labels),
            [True] * rows.num_rows + list(edges.common),
            self._joined(offline),
            self._joined(online),
        )

    def unsteady(self, rows: pa.Table, edges: pa.Table) -> frozenset[str]:
        """Outputs that serving gives otherwise when it is asked again."""
        some = (rows if rows.num_rows else self._finished(edges, edges.num_rows)).slice(0, _AGAIN)
        first, second = [self._joined([self._answered(some.slice(i, 1)) for i in range(some.num_rows)]) for _ in "12"]
        return frozenset(
            f.name
            for f in self.definition.features
            if encode_column(f.dtype, first.columns[f.name]) != encode_column(f.dtype, second.columns[f.name])
        )

    def _training(self, table: pa.Table) -> Outcome:
        """All rows as one batch; where that raises, the halves, down to the rows that raise."""
        if not table.num_rows:
            return Outcome({f.name: pa.array([], dtypes.arrow_type(f.dtype)) for f in self.definition.features}, ())
        try:
            result = add_on_demand(table, self._service, self.feast, True)
        except Exception as error:  # noqa: BLE001  (the function is the repository's own code: it may raise anything)
            if table.num_rows == 1:
                return self._raised(error)
            half = table.num_rows // 2
            return self._joined([self._training(table.slice(0, half)), self._training(table.slice(half))])
        columns = {
            f.name: result.column(self.definition.output_name(f.name, True)).combine_chunks()
            for f in self.definition.features
        }
        return Outcome(columns, [None] * table.num_rows)

    def _answered(self, row: pa.Table) -> Outcome:
        """One row, as a request of its own."""
        inputs = {
            (projection, item.name): encode_column(item.dtype, row.column(name)).to_pylist()
            for name, (projection, item) in self._stored.items()
        }
        others = {
            name: [(_asked if name in self.fields else _key)(row.column(name)[0].as_py())] for name in self._others
        }
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # user code in pandas warns about itself; it is not ours to fail on
                outputs = self._serving.run(self.definition, inputs, others, 1)
        except Exception as error:  # noqa: BLE001  (as above)
            return self._raised(error)
        columns = {f.name: decode_column(f.dtype, outputs[f.name])[0] for f in self.definition.features}
        return Outcome(columns, [None])

    def _raised(self, error: Exception) -> Outcome:
        nothing = {f.name: pa.nulls(1, dtypes.arrow_type(f.dtype)) for f in self.definition.features}
        return Outcome(nothing, [f"{type(error).__name__}: {str(error)[:200]}"])

    def _joined(self, parts: list[Outcome]) -> Outcome:
        columns = {}
        for f in self.definition.features:
            kind = dtypes.arrow_type(f.dtype)
            chunks = [part.columns[f.name].cast(kind) for part in parts]
            columns[f.name] = pa.chunked_array(chunks, kind).combine_chunks()
        return Outcome(columns, [text for part in parts for text in part.raised])


def _key(value: Any) -> Any:
    """A join key as a look-up has it: times as whole seconds since 1970."""
    return int(value.timestamp()) if isinstance(value, datetime) else value


def _asked(value: Any) -> Any:
    """Request data as a request brings them: times in whole seconds."""
    return value.replace(microsecond=0) if isinstance(value, datetime) else value
