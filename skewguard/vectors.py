"""Online feature vectors for the SDK: Redis to Arrow, with event timestamps and true statuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard.definitions import Projection, ServiceDef
from skewguard.errors import BadInputError
from skewguard.offline.entity_rows import typed_column
from skewguard.on_demand import add_on_demand, not_at_request
from skewguard.sql import EVENT_TS, ROW_STATE
from skewguard.ttl import oldest_inside

if TYPE_CHECKING:
    from skewguard.feast_repo import FeastRepo
    from skewguard.online.side import OnlineSide

PRESENT, NULL_VALUE, NOT_FOUND, OUTSIDE_MAX_AGE = "PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"


def online_vectors(
    repo: FeastRepo,
    service: ServiceDef,
    entity_rows: Sequence[Mapping[str, Any]] | pa.Table,
    as_of: datetime,
    *,
    full_feature_names: bool = False,
    keep_expired: bool = False,
) -> pa.Table:
    """Vectors of a service for entity rows (join keys and request data), in their order; see SkewGuard.online."""
    from skewguard.online.side import online_side

    for name, reason in not_at_request(repo, [od.name for od in service.on_demand]).items():
        raise BadInputError("features", f"on-demand view {name!r}", f"views that a request computes: {reason}")
    rows = _entity_table(entity_rows, service)
    with online_side(repo) as side:
        table = rows
        extras: dict[str, pa.Array] = {}
        for projection in (*service.projections, *service.hidden):
            table, added = _add_view(table, projection, side, (as_of, full_feature_names, keep_expired))
            extras |= added
    table = add_on_demand(table, service, repo, full_feature_names)
    wanted = [*rows.column_names, *(f.name for f in service.outputs(full_feature_names))]
    table = table.select(wanted)
    for name, column in extras.items():
        if name.startswith("__event_ts__") or name.removeprefix("__status__") in wanted:
            table = table.append_column(name, column)
    return table


def _entity_table(entity_rows: Sequence[Mapping[str, Any]] | pa.Table, service: ServiceDef) -> pa.Table:
    if not isinstance(entity_rows, pa.Table):
        names = list(dict.fromkeys(name for row in entity_rows for name in row))
        entity_rows = pa.table({name: _column(name, [row.get(name) for row in entity_rows]) for name in names})
    if entity_rows.num_rows == 0:
        raise BadInputError("entity rows", "no rows", "at least one")
    for field in (*service.join_keys, *service.request_fields):
        if field.name not in entity_rows.column_names:
            raise BadInputError(f"entity rows, {field.name!r}", "no such column", f"a column of {field.dtype}")
        index = entity_rows.column_names.index(field.name)
        column = typed_column(entity_rows.column(index), field)
        if column.null_count and field in service.join_keys:
            raise BadInputError(
                f"entity rows, {field.name!r}", f"{column.null_count} nulls", f"a {field.dtype} in every row"
            )
        entity_rows = entity_rows.set_column(index, field.name, column)
    return entity_rows


def _column(name: str, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise BadInputError(f"entity rows, {name!r}", repr(values[:3]), "values of one type") from error


def _add_view(
    table: pa.Table, projection: Projection, side: OnlineSide, options: tuple[datetime, bool, bool]
) -> tuple[pa.Table, dict[str, pa.Array]]:
    as_of, full_feature_names, keep_expired = options
    view = projection.view
    names = [f.name for f in projection.features]
    columns = {key.name: column for key, column in projection.keys}
    read = side.read(view, table, names, columns)
    stamps = read.column(EVENT_TS).combine_chunks()
    present = np.asarray(read.column(ROW_STATE).to_pylist()) == "present"
    expired = _expired(stamps, view.ttl, as_of) & present
    extras: dict[str, pa.Array] = {f"__event_ts__{projection.name}": stamps}
    for name in names:
        output = projection.output_name(name, full_feature_names)
        column = read.column(name).combine_chunks()
        states = np.asarray(read.column(f"__state__{name}").to_pylist())
        status = np.where(states == "null", NULL_VALUE, PRESENT)
        status = np.where(expired, OUTSIDE_MAX_AGE, status)
        status = np.where(~present | (states == "absent"), NOT_FOUND, status)
        if expired.any() and not keep_expired:
            column = pc.if_else(pa.array(~expired), column, pa.scalar(None, column.type))
        table = table.append_column(output, column)
        extras[f"__status__{output}"] = pa.array(status)
    return table, extras


def _expired(stamps: pa.Array, ttl: timedelta | None, as_of: datetime) -> np.ndarray[Any, np.dtype[np.bool_]]:
    oldest = oldest_inside(as_of, ttl)
    if oldest is None:
        return np.zeros(len(stamps), dtype=bool)
    older = pc.less(stamps, pa.scalar(oldest, stamps.type)).fill_null(False)
    return np.asarray(older.to_numpy(zero_copy_only=False), dtype=bool)
