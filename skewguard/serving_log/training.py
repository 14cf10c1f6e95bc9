"""Training rows from the serving log: to each label exactly the features that were served, as they were served."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from skewguard.definitions import ServiceDef
from skewguard.errors import BadInputError
from skewguard.offline.entity_rows import EntityRows
from skewguard.serving_log.columns import AS_OF, LOG_TIMESTAMP, REQUEST_ID, ROW, value_column
from skewguard.serving_log.read import LogSpan
from skewguard.sql import quote


def served_features(con: duckdb.DuckDBPyConnection, rows: EntityRows, service: ServiceDef, span: LogSpan,
                    full_feature_names: bool) -> pa.Table:  # fmt: skip
    """The entity rows that were served in the span, in their order, followed by the features that they were served.

    With a column ``__request_id`` (and perhaps ``__row``) an entity row is what that request was answered for its join
    keys; without, what was served last for its join keys at or before its time (as-of times count). Rows that were
    not served are left out. A value that was not sent is null. Raises BadInputError when none was served.
    """
    if not span.segments:
        raise BadInputError("from_log", f"no rows of {service.name!r} from {span.start} to {span.end}", "a logged time")
    names = [key.name for key in service.join_keys]
    outputs = _outputs(service, full_feature_names)
    by_request = REQUEST_ID in rows.table.column_names
    chosen = [REQUEST_ID, ROW] if by_request and ROW in rows.table.column_names else [REQUEST_ID] if by_request else []
    same = " AND ".join(f"e.{quote(name)} = s.{quote(name)}" for name in [*names, *chosen])
    at = f"e.{quote(rows.timestamp_column)}"
    join = f"LEFT JOIN s ON {same}" if by_request else f"ASOF LEFT JOIN s ON {same or 'true'} AND {at} >= s.{AS_OF}"
    partition = ", ".join(quote(name) for name in [*names, *(chosen or [AS_OF])])
    latest = f"QUALIFY row_number() OVER (PARTITION BY {partition} ORDER BY {LOG_TIMESTAMP} DESC, {ROW}) = 1"
    log = list(dict.fromkeys([*names, *(chosen or [AS_OF]), *(column for column, _ in outputs)]))
    selected = ", ".join(f"s.{quote(column)} AS {quote(name)}" for column, name in outputs)
    numbered = rows.table.append_column("__n", pa.array(range(rows.table.num_rows), pa.int64()))
    con.register("__labels", numbered)
    try:
        found = con.execute(
            f"WITH s AS (SELECT {', '.join(map(quote, log))}, true AS __served FROM ({span.sql()}) {latest}) "
            f"SELECT e.__n, {selected} FROM __labels e {join} WHERE s.__served ORDER BY e.__n"
        ).to_arrow_table()
    except duckdb.BinderException as error:
        raise BadInputError(
            "from_log", f"a log without a feature of {service.name!r} ({error})", "a later time"
        ) from error
    finally:
        con.unregister("__labels")
    if not found.num_rows:
        raise BadInputError("from_log", "a log in which none of the entity rows was served", "rows that were served")
    table = rows.table.take(found.column("__n"))
    for _, name in outputs:
        table = table.append_column(name, found.column(name))
    return table


def _outputs(service: ServiceDef, full: bool) -> list[tuple[str, str]]:
    """The log's column and the training set's, for each feature."""
    shown = [
        (value_column(p.name, f.name), p.output_name(f.name, full)) for p in service.projections for f in p.features
    ]
    return shown + [
        (value_column(o.output_prefix, f.name), o.output_name(f.name, full))
        for o in service.on_demand
        for f in o.features
    ]
