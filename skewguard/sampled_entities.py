"""Entity rows for a check that looks at some vectors only: chosen by hash, the same in every run."""

from __future__ import annotations

from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa

from skewguard.definitions import ServiceDef
from skewguard.digest import row_hashes
from skewguard.offline.asof import latest_rows


def sampled_entities(
    service: ServiceDef, as_of: datetime, con: duckdb.DuckDBPyConnection, rows: int
) -> tuple[pa.Table, bool]:
    """At most ``rows`` entity rows, by entity hash; True where no view holds all keys and they were combined."""
    wanted = [key.name for key in service.join_keys]
    sampled: dict[str, pa.Array] = {}
    for projection in sorted(service.projections, key=lambda p: -len(p.keys)):
        names = [key.name for key, _ in projection.keys]
        if not names or all(column in sampled for _, column in projection.keys):
            continue
        keys = latest_rows(con, projection.view, as_of, features=[]).select(names)
        for name in names:
            keys = keys.filter(keys.column(name).is_valid())
        keys = keys.take(np.argsort(row_hashes(keys, names), kind="stable")[:rows])
        for key, column in projection.keys:
            sampled.setdefault(column, keys.column(key.name).combine_chunks())
        if set(wanted) <= set(sampled) and len(names) == len(wanted):
            return pa.table({column: sampled[column] for column in wanted}), False
    if not wanted:
        return pa.table({"__entityless": pa.array([True])}), False
    count = 0 if any(not len(column) for column in sampled.values()) else max(len(c) for c in sampled.values())
    return pa.table({c: sampled[c].take(np.arange(count) % max(len(sampled[c]), 1)) for c in wanted}), True
