"""Request data as it was really asked with: the serving log is the only place that has any."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa

from skewguard import dtypes
from skewguard.definitions import FieldDef
from skewguard.offline.sources import connect
from skewguard.serving_log.columns import AS_OF
from skewguard.serving_log.folder import LogFolder
from skewguard.serving_log.keeping import keep_log
from skewguard.serving_log.read import log_span
from skewguard.sql import FAR_FUTURE, quote

SPAN = timedelta(days=1)
"""Requests for moments in so long before the as-of time are drawn from."""


def logged_requests(repo: Path, service: str, fields: Sequence[FieldDef], as_of: datetime, rows: int) -> pa.Table:
    """At most ``rows`` different combinations of request data, by their hash: the same in every run over the same log.

    A column a field, in its declared dtype; null where another dtype was logged that does not fit. No rows where
    nothing was logged, or not these fields.
    """
    nothing = pa.table({f.name: pa.array([], dtypes.arrow_type(f.dtype)) for f in fields})
    folder = LogFolder.of(repo)
    if not fields or not rows or not folder.root.is_dir():
        return nothing
    keep_log(repo)
    span = log_span(folder, service, as_of - SPAN, FAR_FUTURE)
    if not span.segments:
        return nothing
    with connect() as con:
        logged = {row[0] for row in con.execute(f"DESCRIBE {span.sql()}").fetchall()}
        if not logged >= {f.name for f in fields}:
            return nothing
        names = ", ".join(quote(f.name) for f in fields)
        cast = ", ".join(
            f"TRY_CAST({quote(f.name)} AS {dtypes.duckdb_type(f.dtype)}) AS {quote(f.name)}" for f in fields
        )
        since, until = (f"TIMESTAMPTZ '{moment.isoformat()}'" for moment in (as_of - SPAN, as_of))
        found = con.execute(
            f"SELECT DISTINCT {cast} FROM ({span.sql()}) WHERE {quote(AS_OF)} > {since} AND {quote(AS_OF)} <= {until} "
            f"ORDER BY hash({names}), {names} LIMIT {rows}"
        ).to_arrow_table()
    return pa.table({f.name: found.column(f.name).cast(dtypes.arrow_type(f.dtype)) for f in fields})
