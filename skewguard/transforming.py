"""Runs on-demand views on rows of the data and on edge cases: as training does, and as serving does, a row at a time.

Training hands a view its whole set as one batch; a request holds one entity, as a rule. So rows of the data go offline
together and online one by one, which is where a null somewhere in a column, that makes pandas take its integers for
doubles, tells. Edge cases go one by one on either side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa

from skewguard.checks.transform import Compared, Outcome, TransformRun, check_transform, differ
from skewguard.config import ServicePolicy
from skewguard.definitions import FieldDef, OnDemandDef, ServiceDef
from skewguard.edge_rows import EdgeRows, edge_rows
from skewguard.findings import CheckResult
from skewguard.logged_requests import logged_requests
from skewguard.offline.asof import point_in_time
from skewguard.on_demand import not_at_request
from skewguard.sampled_entities import sampled_entities
from skewguard.transform_engines import Engines, Patience, ViewInputs, differing, kept

if TYPE_CHECKING:
    from skewguard.workspace import Workspace

_AT = "__transform_at"
_AGAIN = 40
"""So many rows of the data, and so many edge cases, are asked for twice."""
_FEAST = 20
"""So many rows of the data, beside common edges, are run as Feast's own server does."""


def transform(
    workspace: Workspace,
    service: ServiceDef,
    as_of: datetime,
    con: duckdb.DuckDBPyConnection,
    patience: Patience = Patience(),  # noqa: B008
) -> CheckResult:
    """Hold both engines of every on-demand view of the service against one another.

    Rows of the data are vectors as of ``as_of`` of entities chosen by hash (policy ``transform_rows``), beside request
    data from the serving log's last day; where nothing was logged, beside usual values.
    """
    policy = workspace.policy_for(service.name)
    reasons = not_at_request(workspace.feast, [od.name for od in service.on_demand])
    not_compared = {od.output_prefix: reasons[od.name] for od in service.on_demand if od.name in reasons}
    runs, undecided = [], {}
    for definition in service.on_demand:
        if definition.output_prefix in not_compared:
            continue
        engines = Engines(workspace.feast, definition, patience)
        rows, asked = _rows(workspace, service, engines.inputs, (as_of, policy.transform_rows), con)
        view = _View(engines, rows, edge_rows(engines.inputs.fields, _likely(engines.inputs.fields, rows)), policy)
        run = view.run(asked)
        runs.append(run)
        if rows.num_rows and not any(not labels for labels in run.rows.labels):
            undecided[definition.output_prefix] = "it took too long on rows of the data"
    return check_transform(runs, policy, not_compared, undecided)


def _rows(
    workspace: Workspace, service: ServiceDef, inputs: ViewInputs, which: tuple[datetime, int],
    con: duckdb.DuckDBPyConnection,
) -> tuple[pa.Table, int]:  # fmt: skip
    """Rows of the data, every input column and join key, and how many combinations of request data were logged."""
    as_of, count = which
    fields = [item for name, item in inputs.others.items() if name in inputs.fields]
    asked = logged_requests(workspace.path, service.name, fields, as_of, count)
    found = pa.table({})
    if count and inputs.projections:
        views = ServiceDef("", tuple(inputs.projections))
        entities, _ = sampled_entities(views, as_of, con, count)
        if entities.num_rows:
            moments = pa.array([as_of] * entities.num_rows, pa.timestamp("us", tz="UTC"))
            found = point_in_time(
                con, entities.append_column(_AT, moments), inputs.projections, timestamp_column=_AT,
                full_feature_names=True,
            )  # fmt: skip
    rows = found.num_rows if inputs.projections else asked.num_rows
    if asked.num_rows:
        again = asked.take(np.arange(rows) % asked.num_rows)
        for item in fields:
            if item.name not in found.column_names:
                found = found.append_column(item.name, again.column(item.name)) if found.num_columns else again
    return inputs.table(found, rows), asked.num_rows


def _likely(fields: Mapping[str, FieldDef], rows: pa.Table) -> dict[str, Any]:
    """Of each input the first value of the data that is there."""
    found = {}
    for name in fields:
        values = rows.column(name).drop_null()
        if len(values):
            found[name] = values[0].as_py()
    return found


@dataclass(frozen=True)
class _View:
    """One view, and the rows on which its engines are held against one another."""

    engines: Engines
    rows: pa.Table
    edges: EdgeRows
    policy: ServicePolicy

    @property
    def definition(self) -> OnDemandDef:
        return self.engines.definition

    def run(self, asked: int) -> TransformRun:
        """Serving goes first: what it has no time for, training is not asked for either."""
        engines = self.engines
        wide = engines.inputs.table(self.edges.table, self.edges.table.num_rows)
        served, edges_served = engines.serving(self.rows), engines.serving(wide)
        online, edges_online = engines.outcome(served), engines.outcome(edges_served)
        in_time = ~_mask(online.left_out)
        data, online = kept(self.rows, online, in_time)
        offline, batch_raised = engines.training(data) if data.num_rows else (online, None)
        data_in_time = ~_mask(offline.left_out) if data.num_rows else np.zeros(0, dtype=bool)
        data, online, offline = (*kept(data, online, data_in_time), kept(data, offline, data_in_time)[1])
        edges_offline = engines.training_singly(wide)
        edges_in_time = ~(_mask(edges_online.left_out) | _mask(edges_offline.left_out))
        unsteady = differing(self.definition, served[:_AGAIN], engines.serving(self.rows.slice(0, _AGAIN)))
        unsteady |= differing(self.definition, edges_served[:_AGAIN], engines.serving(wide.slice(0, _AGAIN)))
        places = np.flatnonzero(edges_in_time).tolist()
        edges, edges_online = kept(wide, edges_online, edges_in_time)
        everything = pa.concat_tables([data, edges])
        compared = Compared(
            inputs=everything.select(list(engines.inputs.fields)),
            labels=[""] * data.num_rows + [self.edges.labels[at] for at in places],
            common=[True] * data.num_rows + [self.edges.common[at] for at in places],
            conditions=[frozenset()] * data.num_rows + [self.edges.conditions[at] for at in places],
            offline=_both(offline, kept(wide, edges_offline, edges_in_time)[1]),
            online=_both(online, edges_online),
        )
        details = {
            "left_out": {"rows": self.rows.num_rows - data.num_rows, "edges": wide.num_rows - edges.num_rows,
                         "pairs": self.edges.pairs_left_out},
            "request_data_logged": asked,
            "training_raises": batch_raised,
            "feast_server": self._as_feast(compared, everything),
        }  # fmt: skip
        return TransformRun(self.definition, compared, unsteady, details)

    def _as_feast(self, compared: Compared, everything: pa.Table) -> dict[str, Any]:
        """Where Feast's own server answers otherwise than training: rows looked at, and by output the rows that differ.

        Told, not judged: nothing here says that the service is served by it.
        """
        real = [at for at, label in enumerate(compared.labels) if not label][:_FEAST]
        single = [at for at, text in enumerate(compared.conditions) if len(text) == 1 and compared.common[at]][:_FEAST]
        places = [*real, *single]
        table, offline = kept(everything, compared.offline, _places(places, everything.num_rows))
        theirs = self.engines.outcome(self.engines.serving_as_feast(table))
        in_time = ~_mask(theirs.left_out)
        chosen = [at for at, ok in zip(places, in_time, strict=True) if ok]
        rows, theirs = kept(table, theirs, in_time)
        offline = kept(table, offline, in_time)[1]
        found = {}
        for feature in self.definition.features:
            tolerance = self.policy.tolerance_for(self.definition.output_prefix, feature)
            bad = np.flatnonzero(differ(offline, theirs, feature, tolerance))
            if len(bad):
                labels = [compared.labels[chosen[at]] for at in bad]
                found[feature.name] = {"rows": labels.count(""), "edges": [label for label in labels if label]}
        return {"compared": rows.num_rows, "differ": found}


def _mask(values: Sequence[bool]) -> Any:
    return np.array(values, dtype=bool)


def _places(places: Sequence[int], rows: int) -> Any:
    mask = np.zeros(rows, dtype=bool)
    mask[list(places)] = True
    return mask


def _both(first: Outcome, second: Outcome) -> Outcome:
    columns = {
        name: pa.chunked_array([column, second.columns[name].cast(column.type)]).combine_chunks()
        for name, column in first.columns.items()
    }
    return Outcome(columns, [*first.raised, *second.raised])
