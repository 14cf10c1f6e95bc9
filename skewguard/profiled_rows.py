"""The rows that a first suite is proposed from: a training set, entity rows, or rows made from the sources.

Whatever they come from, they hold the join keys, the as-of time as ``event_timestamp`` where there is one, and the
features under the names that a suite uses; labels and request data are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.collect import Progress
from skewguard.definitions import ServiceDef
from skewguard.errors import BadInputError, nearest
from skewguard.expectations.names import suite_names
from skewguard.offline.asof import point_in_time
from skewguard.offline.entity_rows import (
    DEFAULT_TIMESTAMP,
    EntityRows,
    moments,
    normalise_entity_rows,
    read_rows,
    typed_column,
)
from skewguard.offline.sources import connect, source_sql
from skewguard.offline.through_feast import through_feast
from skewguard.on_demand import add_on_demand, not_at_request
from skewguard.replaying import merged_projections
from skewguard.sampled_entities import sampled_entities
from skewguard.sql import EVENT_TS, moment, quote

if TYPE_CHECKING:
    from skewguard.workspace import Workspace

ROWS = 5000
_TIMES = 5
"""At least so many as-of times an entity, where there are rows enough."""


@dataclass(frozen=True)
class ProfiledRows:
    """``table``: one row a vector, the columns ``keys``, ``as_of`` (None: there is none) and the features.

    ``whole``: is it a training set, and not a sample that was made? ``told``: what was profiled, for people.
    ``left_out``: why a feature is not in it, by name.
    """

    table: pa.Table
    keys: tuple[str, ...]
    as_of: str | None
    whole: bool
    told: str
    left_out: Mapping[str, str]


def from_training_set(service: ServiceDef, training_set: Any) -> ProfiledRows:
    """A training set as it was saved: a Parquet or CSV file, a table or a pandas DataFrame. Raises BadInputError."""
    names = suite_names(service)
    texts = [f for f in (*service.join_keys, *names.values()) if dtypes.arrow_type(f.dtype) == pa.string()]
    table = read_rows(training_set, texts, "training_set")
    renamed = {full: field.name for full, field in names.items() if full in table.column_names}
    table = table.rename_columns([renamed.get(name, name) for name in table.column_names])
    known = [f for f in names.values() if f.name in table.column_names]
    if not known:
        wanted = ", ".join(f.name for f in list(names.values())[:5])
        raise BadInputError(
            "training_set", f"the columns {table.column_names}", f"features of {service.name!r}, such as {wanted}"
        )
    left_out = {f.name: _not_there(f.name, table.column_names) for f in names.values() if f not in known}
    keys = [key for key in service.join_keys if key.name in table.column_names]
    at = _as_of_column(table, {f.name for f in known})
    columns = {f.name: typed_column(table.column(f.name), f) for f in (*keys, *known)}
    if at is not None:
        columns[DEFAULT_TIMESTAMP] = moments(table.column(at), at)
    told = f"{table.num_rows:,} rows of a training set"
    as_of = None if at is None else DEFAULT_TIMESTAMP
    return ProfiledRows(pa.table(columns), tuple(k.name for k in keys), as_of, True, told, left_out)


def from_entity_rows(
    workspace: Workspace, service: ServiceDef, entity_df: Any, progress: Progress | None = None
) -> ProfiledRows:
    """The features of the user's own entity rows, point in time; request data may be among their columns."""
    rows = normalise_entity_rows(entity_df, service, full_feature_names=True)
    told = f"the features of {rows.table.num_rows:,} entity rows, point in time"
    return _joined(workspace, service, rows, progress, (told, True))


def from_sources(
    workspace: Workspace, service: ServiceDef, as_of: datetime, rows: int = ROWS, progress: Progress | None = None
) -> ProfiledRows:
    """About ``rows`` vectors, point in time, of entities that the sources know at ``as_of``, chosen by hash.

    The as-of times of an entity lie evenly between the moment from which every view that knows it has a row, and the
    end of the data: before that, a training set has no business. Raises BadInputError where there are no rows,
    ConfigurationError for a source that cannot be read, StoreUnavailableError for one that Feast cannot.
    """
    with TemporaryDirectory(prefix="skewguard-") as folder, connect() as con:
        every = workspace.policy_for(service.name).offline == "feast"
        readable = through_feast(workspace.feast, service, as_of, Path(folder), every)
        entities, combined = sampled_entities(readable, as_of, con, max(1, rows // _TIMES))
        table = _with_times(con, readable, entities, as_of, rows)
        if table.num_rows == 0:
            raise BadInputError(
                f"the sources of {service.name!r}", f"no rows of an entity at {as_of:%Y-%m-%d %H:%M}",
                "rows; build them, or give entity rows or a training set",
            )  # fmt: skip
        ends = pc.min_max(table.column(DEFAULT_TIMESTAMP)).as_py()
        told = (
            f"{table.num_rows:,} rows made from the sources: {entities.num_rows:,} entities, as-of times from "
            f"{ends['min']:%Y-%m-%d %H:%M} to {ends['max']:%Y-%m-%d %H:%M}"
        )
        told += "; no view holds all join keys, so they were combined" if combined else ""
        normal = normalise_entity_rows(table, readable, full_feature_names=True)
        return _joined(workspace, readable, normal, progress, (told, False))


def _joined(
    workspace: Workspace, service: ServiceDef, rows: EntityRows, progress: Progress | None, about: tuple[str, bool]
) -> ProfiledRows:
    """The join of the views, and those on-demand views that can be computed."""
    if rows.table.num_rows == 0:
        raise BadInputError("entity_df", "no rows", "at least one entity row")
    lacking = _lacking(workspace, service, rows.table.column_names)
    names = suite_names(service)
    computed = replace(service, on_demand=tuple(od for od in service.on_demand if od.name not in lacking))
    with connect() as con:
        table = point_in_time(
            con,
            rows.table,
            merged_projections(service),
            timestamp_column=rows.timestamp_column,
            full_feature_names=True,
            progress=progress,
        )
    table = add_on_demand(table, computed, workspace.feast, True)
    keys = tuple(key.name for key in service.join_keys)
    columns = {key: table.column(key) for key in keys}
    columns[DEFAULT_TIMESTAMP] = table.column(rows.timestamp_column)
    columns |= {names[f.name].name: table.column(f.name) for f in computed.outputs(True)}
    left_out = {
        names[od.output_name(f.name, True)].name: lacking[od.name]
        for od in service.on_demand
        if od.name in lacking
        for f in od.features
    }
    told, whole = about
    return ProfiledRows(pa.table(columns), keys, DEFAULT_TIMESTAMP, whole, told, left_out)


def _lacking(workspace: Workspace, service: ServiceDef, columns: list[str]) -> dict[str, str]:
    """On-demand views that cannot be computed, and why."""
    lacking = not_at_request(workspace.feast, [od.name for od in service.on_demand])
    for on_demand in service.on_demand:
        unknown = [f.name for f in on_demand.request_fields if f.name not in columns]
        if unknown:
            lacking[on_demand.name] = (
                f"its request data ({', '.join(unknown)}) are not in the sources; give rows with it"
            )
    return lacking


def _with_times(
    con: duckdb.DuckDBPyConnection, service: ServiceDef, entities: pa.Table, as_of: datetime, rows: int
) -> pa.Table:
    """Entity rows: the entities, each with as many as-of times as make up ``rows``, at most a hundred."""
    names = [key.name for key in service.join_keys]
    first, last = _spans(con, service, entities, as_of)
    if not len(first) or last is None:
        return pa.table({DEFAULT_TIMESTAMP: pa.array([], dtypes.TIMESTAMP)})
    count = max(1, min(100, rows // len(first)))
    shift = np.random.default_rng(0).random((len(first), count))
    places = (np.arange(count) + shift) / count
    times = first[:, None] + ((last - first)[:, None] * places).astype("int64")
    # what is served is of the end of the data, so that this is always among them
    times[:, -1] = last
    taken = pa.array(np.repeat(np.arange(len(first)), count))
    columns = {name: entities.column(name).take(taken) for name in names}
    made = pa.table({**columns, DEFAULT_TIMESTAMP: pa.array(times.ravel()).cast(dtypes.TIMESTAMP)})
    once = made.group_by(made.column_names).aggregate([])  # an entity whose only row is the last has one moment
    return once.sort_by([(name, "ascending") for name in once.column_names])


def _spans(
    con: duckdb.DuckDBPyConnection, service: ServiceDef, entities: pa.Table, as_of: datetime
) -> tuple[Any, int | None]:
    """From when every view that knows an entity has a row of it, and the last moment of all, up to ``as_of``.

    In microseconds since 1970.
    """
    never = np.iinfo(np.int64).min
    number, firsts, ends = "__entity", [], []
    con.register("__sampled", entities.append_column(number, pa.array(np.arange(entities.num_rows))))
    for projection in merged_projections(service):
        rows = f"SELECT * FROM ({source_sql(projection.view, [])}) WHERE {EVENT_TS} <= {moment(as_of)}"
        on = " AND ".join(f"s.{quote(column)} = r.{quote(key.name)}" for key, column in projection.keys) or "true"
        query = (
            f"SELECT s.{quote(number)} AS n, epoch_us(min(r.{EVENT_TS})) AS first, epoch_us(max(r.{EVENT_TS})) AS last "
            f"FROM __sampled s JOIN ({rows}) r ON {on} GROUP BY 1"
        )
        found = con.execute(query).to_arrow_table()
        one = np.full(entities.num_rows, never)
        one[found.column("n").to_numpy()] = found.column("first").to_numpy()
        # the moments of a view without entities are nobody's first
        firsts += [one] if projection.keys or not service.join_keys else []
        ends += [found.column("last").to_numpy().max()] if found.num_rows else []
    con.unregister("__sampled")
    if not firsts or not ends:
        return np.array([], dtype="int64"), None
    last = int(max(ends))
    first = np.max(firsts, axis=0)
    return np.where(first == never, last, np.minimum(first, last)), last


def _as_of_column(table: pa.Table, features: set[str]) -> str | None:
    if DEFAULT_TIMESTAMP in table.column_names:
        return DEFAULT_TIMESTAMP
    timed = [f.name for f in table.schema if pa.types.is_timestamp(f.type) and f.name not in features]
    return timed[0] if len(timed) == 1 else None


def _not_there(name: str, columns: list[str]) -> str:
    near = nearest(name, columns)
    return "no such column in the training set" + (f"; did you mean {near!r}?" if near else "")
