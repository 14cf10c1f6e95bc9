"""Gathers what the replay check compares: the serving log of a day, and offline's answer for each of its rows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard.causes.catalogue import CATALOGUE
from skewguard.causes.equality import equal_sql
from skewguard.checks.replay import CHECK, SAMPLES, Replayed, ViewReplay
from skewguard.collect import Progress
from skewguard.config import ServicePolicy, Tolerance
from skewguard.contract import iso
from skewguard.definitions import FieldDef, OnDemandDef, Projection, ServiceDef
from skewguard.findings import Cause, CheckResult, Finding
from skewguard.offline.asof import point_in_time
from skewguard.offline.sources import connect, source_sql
from skewguard.on_demand import add_on_demand
from skewguard.plain import plain
from skewguard.serving_log.columns import AS_OF, REQUEST_ID, value_column
from skewguard.serving_log.folder import LogFolder
from skewguard.serving_log.keeping import keep_log
from skewguard.serving_log.read import log_span
from skewguard.serving_log.sent_instead import FALLBACK, replaced_cells
from skewguard.serving_log.served import ServedRows
from skewguard.sql import CREATED_TS, EVENT_TS, FAR_FUTURE, quote
from skewguard.stats import wilson_interval

if TYPE_CHECKING:
    from skewguard.feast_repo import FeastRepo
    from skewguard.workspace import Workspace

SPAN = timedelta(days=1)
"""What was served in so long before the as-of time is replayed."""


def replay(workspace: Workspace, service: ServiceDef, as_of: datetime, progress: Progress | None = None) -> CheckResult:
    """Compare what was served for moments in the day up to ``as_of`` with offline as of those very moments.

    Population: rows logged and dropped; compared: rows that were read, by policy's ``replay_rows`` a sample of them by
    entity hash. Without a log nothing is compared, and the result says so. Raises OSError, ConfigurationError.
    """
    started = time.perf_counter()
    folder = LogFolder.of(workspace.path)
    if not folder.root.is_dir():
        return CheckResult(CHECK, "ok", reason="nothing was logged")
    keep_log(workspace.path)
    span = log_span(folder, service.name, as_of - SPAN, FAR_FUTURE)
    policy = workspace.policy_for(service.name)
    with connect() as log:
        source = ServedRows.open(log, span, (as_of - SPAN, as_of), service) if span.segments else None
        if source is None or not source.rows:
            return CheckResult(CHECK, "ok", reason=f"nothing was served in the day before {iso(as_of)}")
        checked = _replay(workspace.feast, service, source, policy, progress)
    reasons = [*checked.problems, *([] if span.whole else ["a journal of the serving log was cut off by a crash"])]
    return CheckResult(
        check=CHECK,
        status="inconclusive" if checked.problems else "ok",
        findings=tuple(checked.findings),
        population=source.rows + span.dropped,
        compared=source.rows if checked.share < 1 else checked.compared,
        seconds=time.perf_counter() - started,
        reason="; ".join(reasons),
        details={**checked.details, "dropped": span.dropped, "sampled": checked.share, "compared": checked.compared},
    )


@dataclass
class _Checked:
    compared: int
    share: float
    findings: list[Finding]
    problems: list[str]
    details: dict[str, Any]


def merged_projections(service: ServiceDef) -> list[Projection]:
    """The views that a service reads, each name once: what it shows and what its on-demand views take in."""
    found = {projection.name: projection for projection in service.projections}
    for hidden in service.hidden:
        have = found.get(hidden.name)
        found[hidden.name] = hidden if have is None else replace(have, features=(*have.features, *hidden.features))
    return list(found.values())


def _logged(projection: Projection, columns: frozenset[str]) -> Projection:
    """Only the features that the log has."""
    kept = tuple(f for f in projection.features if value_column(projection.name, f.name) in columns)
    return replace(projection, features=kept)


def _replay(
    feast: FeastRepo, service: ServiceDef, log: ServedRows, policy: ServicePolicy, progress: Progress | None
) -> _Checked:
    windows = feast.windows()
    projections = [p for p in (_logged(p, log.columns) for p in merged_projections(service)) if p.features]

    def tolerance_of(view: str) -> Callable[[FieldDef], Tolerance]:
        return lambda feature: policy.tolerance_for(view, feature)

    views = [ViewReplay(p, tolerance_of(p.view.name), windows.get(p.view.name, ())) for p in projections]
    transforms = [_TransformReplay(od) for od in service.on_demand if _has_all(od, log.columns)]
    share = min(1.0, policy.replay_rows / log.rows)
    compared = 0
    replaced: Counter[str] = Counter()
    with connect() as con:
        names = [*_columns(service, projections, transforms), *([FALLBACK] if FALLBACK in log.columns else [])]
        for part in log.sampled(share).batches(names):
            joined = _offline(con, part, service, projections)
            cells = replaced_cells(part)
            replaced.update({column: int(rows.sum()) for column, rows in cells.items()})
            differing = {}
            for view in views:
                name = view.projection.name
                flags = view.add(_side_by_side(con, view.projection, (part, joined, cells), compared))
                for index, feature in enumerate(view.features):
                    moved = flags.column(f"d_{index}").combine_chunks()
                    # the function was given what is stored, which is not in the log: it may have differed
                    sent = cells.get(value_column(name, feature.name))
                    differing[name, feature.name] = moved if sent is None else pc.or_(moved, pa.array(sent))
            for transform in transforms:
                transform.add(feast, service, (part, joined, cells), differing)
            compared += part.num_rows
            if progress is not None:
                progress("replay", part.num_rows)
    return _Checked(
        compared,
        share,
        [f for view in views for f in view.findings()] + [f for od in transforms for f in od.findings()],
        [transform.problem for transform in transforms if transform.problem],
        {
            "views": {view.projection.name: view.details() for view in views},
            "on_demand": {transform.definition.output_prefix: transform.details() for transform in transforms},
            "sent_instead": dict(replaced),
        },
    )


def _has_all(definition: OnDemandDef, columns: frozenset[str]) -> bool:
    return all(value_column(definition.output_prefix, f.name) in columns for f in definition.features)


def _columns(
    service: ServiceDef, projections: Sequence[Projection], transforms: Sequence[_TransformReplay]
) -> list[str]:
    names = [key.name for key in service.join_keys] + [f.name for f in service.request_fields]
    names += [AS_OF, REQUEST_ID]
    for projection in projections:
        columns = [value_column(projection.name, f.name) for f in projection.features]
        names += [f"{columns[0]}__timestamp", *columns, *(f"{column}__status" for column in columns)]
    for transform in transforms:
        names += [value_column(transform.definition.output_prefix, f.name) for f in transform.definition.features]
    return list(dict.fromkeys(names))


def _offline(
    con: duckdb.DuckDBPyConnection, part: pa.Table, service: ServiceDef, projections: Sequence[Projection]
) -> pa.Table:
    """Offline's answer for the rows, under full feature names, with event timestamps."""
    wanted = [key.name for key in service.join_keys] + [f.name for f in service.request_fields] + [AS_OF]
    return point_in_time(
        con,
        part.select(list(dict.fromkeys(wanted))),
        projections,
        timestamp_column=AS_OF,
        full_feature_names=True,
        with_event_timestamps=True,
    )


_Part = tuple[pa.Table, pa.Table, Mapping[str, Any]]
"""Some logged rows, offline's answer for them, and by column where another value was sent than the stored one."""


def _side_by_side(con: duckdb.DuckDBPyConnection, projection: Projection, rows: _Part, first: int) -> Replayed:
    part, joined, cells = rows
    columns: dict[str, Any] = {
        "n": pa.array(np.arange(first, first + part.num_rows)),
        "as_of": part.column(AS_OF),
        "request_id": part.column(REQUEST_ID),
        "t_ts": joined.column(f"__event_ts__{projection.name}"),
        "s_ts": part.column(f"{value_column(projection.name, projection.features[0].name)}__timestamp"),
    }
    columns |= {f"k_{i}": part.column(column) for i, (_, column) in enumerate(projection.keys)}
    for i, feature in enumerate(projection.features):
        name = value_column(projection.name, feature.name)
        columns |= {
            f"t_{i}": joined.column(name),
            f"s_{i}": part.column(name),
            f"c_{i}": _compared(part.column(f"{name}__status"), cells.get(name)),
        }
    return Replayed(pa.table(columns), lambda rows: _versions(con, projection, rows))


def _compared(statuses: pa.ChunkedArray, replaced: Any) -> pa.ChunkedArray:
    """The statuses of what is compared: what was sent instead of a stored value is not."""
    return statuses if replaced is None else pc.if_else(pa.array(replaced), None, statuses)


def _versions(con: duckdb.DuckDBPyConnection, projection: Projection, rows: pa.Table) -> pa.Table:
    names = [key.name for key in projection.view.join_keys]
    on = " AND ".join(f"s.{quote(name)} = r.{quote(name)}" for name in [*names, EVENT_TS])
    features = [f.name for f in projection.features]
    selected = ", ".join(f"s.{quote(name)}" for name in [*names, EVENT_TS, CREATED_TS, *features])
    con.register("__replayed", rows)
    try:
        return con.execute(
            f"SELECT {selected} FROM ({source_sql(projection.view, features)}) s SEMI JOIN __replayed r ON {on}"
        ).to_arrow_table()
    finally:
        con.unregister("__replayed")


@dataclass
class _TransformReplay:
    """An on-demand view: its outputs as served against those that Feast's offline engine gives for offline inputs.

    An output that differs because an input does is counted apart (``follows``): the input's finding says why.
    """

    definition: OnDemandDef
    compared: int = 0
    diverging: Counter[str] = field(default_factory=Counter)
    follows: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    problem: str = ""

    def add(
        self, feast: FeastRepo, service: ServiceDef, rows: _Part, differing: Mapping[tuple[str, str], pa.Array]
    ) -> None:
        """Compare some rows; ``differing`` says of each input in which rows it was not served as offline has it."""
        if self.problem:
            return
        part, joined, cells = rows
        try:
            computed = add_on_demand(joined, replace(service, on_demand=(self.definition,)), feast, True)
        except Exception as error:  # noqa: BLE001  (the function is the repository's own code: it may raise anything)
            self.problem = (
                f"on-demand view {self.definition.name!r} fails on offline values: {type(error).__name__}: {error}"
            )
            return
        inputs = [(p.name, f.name) for p in self.definition.inputs for f in p.features]
        moved = pa.array(np.zeros(part.num_rows, dtype=bool))
        for place in inputs:
            if place in differing:
                moved = pc.or_(moved, differing[place])
        self.compared += part.num_rows
        for feature in self.definition.features:
            column = value_column(self.definition.output_prefix, feature.name)
            offline, served = computed.column(column), part.column(column)
            different = _different(feature.dtype, offline, served)
            if column in cells:
                different = pc.and_(different, pa.array(~cells[column]))
            alone = pc.and_(different, pc.invert(moved))
            self.follows[feature.name] += pc.sum(pc.and_(different, moved)).as_py() or 0
            self.diverging[feature.name] += pc.sum(alone).as_py() or 0
            self._keep(feature.name, part, offline, served, np.flatnonzero(np.asarray(alone)))

    def _keep(self, feature: str, part: pa.Table, offline: Any, served: Any, rows: Any) -> None:
        kept = self.samples.setdefault(feature, [])
        for row in rows[: SAMPLES - len(kept)].tolist():
            kept.append(
                {
                    "entity": {
                        name: plain(part.column(name)[row].as_py())
                        for name in (f.name for f in self.definition.request_fields)
                    },
                    "feature": feature,
                    "offline": plain(offline[row].as_py()),
                    "online": plain(served[row].as_py()),
                    "offline_event_timestamp": None,
                    "online_event_timestamp": None,
                    "as_of": plain(part.column(AS_OF)[row].as_py()),
                    "request_id": part.column(REQUEST_ID)[row].as_py(),
                }
            )

    def findings(self) -> list[Finding]:
        """Outputs that differ though every input was served as offline has it."""
        info = CATALOGUE[Cause.TRANSFORM_DIVERGENCE]
        name = self.definition.output_prefix
        found = []
        for feature, count in self.diverging.items():
            if count:
                low, high = wilson_interval(count, self.compared)
                message = f"{name}.{feature}: {count:,} of {self.compared:,} served rows {info.says}"
                evidence = {"inputs": "equal", "mode": self.definition.mode}
                found.append(
                    Finding(CHECK, Cause.TRANSFORM_DIVERGENCE, name, feature, count, self.compared, low, high, message,
                            evidence, tuple(self.samples[feature]), advice=info.advice)
                )  # fmt: skip
        return found

    def details(self) -> dict[str, Any]:
        """Rows compared, and by feature how many differ alone, and how many because an input does."""
        return {
            "compared": self.compared,
            "diverging": dict(self.diverging),
            "different_because_an_input_is": dict(self.follows),
        }


def _different(dtype: str, offline: Any, served: Any) -> pa.Array:
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.register("pairs", pa.table({"n": np.arange(len(served)), "t": offline, "s": served}))
        sql = f"SELECT NOT {equal_sql(dtype, 't', 's')} AS d FROM pairs ORDER BY n"
        return con.execute(sql).to_arrow_table().column("d").combine_chunks()
