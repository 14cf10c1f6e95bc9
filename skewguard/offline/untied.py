"""Which row of a source counts: ties decided, on the few columns that it takes; the values are fetched by row later.

Ties of (entity, event timestamp) go to the latest created timestamp, then to the larger values, so that the answer
never depends on the order of a file, nor on which features are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from skewguard.definitions import FieldDef, ViewDef
from skewguard.dtypes import FLOATS
from skewguard.offline.sources import source_columns, source_sql
from skewguard.sql import CREATED_TS, EVENT_TS, ROW_ID, quote


def key_names(view: ViewDef) -> list[str]:
    """The view's join keys, quoted."""
    return [quote(key.name) for key in view.join_keys]


def ranking(fields: Sequence[FieldDef]) -> str:
    """The order within ties: latest created first, unknown created last, then by value, nulls and NaN last."""
    return ", ".join([f"{CREATED_TS} DESC NULLS LAST", *(largest_first(f.name, f.dtype in FLOATS) for f in fields)])


def largest_first(name: str, floating: bool) -> str:
    """An ORDER BY term: larger values first, nulls last, NaN (which DuckDB holds for the largest) just before them."""
    column = quote(name)
    if not floating:
        return f"{column} DESC NULLS LAST"
    return f"CASE WHEN NOT isnan({column}) THEN {column} END DESC NULLS LAST, isnan({column}) DESC NULLS LAST"


def ranked_fields(view: ViewDef) -> list[FieldDef]:
    """What ties are ranked by: all the view's features that its file has, whichever of them are asked for.

    So a tie is decided alike for every selection of features, and as materialization decides it.
    """
    columns = source_columns(view)
    return [f for f in view.features if view.source.column(f.name) in columns]


def moment(at: datetime) -> str:
    """A time as SQL."""
    return f"TIMESTAMPTZ '{at.isoformat()}'"


def untied_sql(view: ViewDef, prefix: str, where: Sequence[str], *, created: bool = False) -> list[str]:
    """CTEs that end in ``<prefix>``: keys, times and row ids, one row per entity and event timestamp.

    With ``created``, one row per entity, event and created timestamp. ``where`` are further conditions on the source's
    rows. Rows of an unknown key or time are left out: they match nothing, and DuckDB's ASOF join is not to be asked.
    Feature values are read of tied rows only; without ties, none are.
    """
    by = [*key_names(view), EVENT_TS, *([CREATED_TS] if created else [])]
    partition = ", ".join(by)
    same = " AND ".join(f"s.{c} = d.{c}" for c in by)
    conditions = " AND ".join([*(f"{c} IS NOT NULL" for c in by), *where])
    columns = ", ".join(f"s.{c}" for c in [*key_names(view), EVENT_TS, CREATED_TS, ROW_ID])
    ranked = ranked_fields(view)
    wide = source_sql(view, [f.name for f in ranked], row_ids=True)
    return [
        f"{prefix}_s AS NOT MATERIALIZED (SELECT * FROM ({source_sql(view, [], row_ids=True)}) WHERE {conditions})",
        f"{prefix}_d AS MATERIALIZED (SELECT {partition} FROM {prefix}_s GROUP BY {partition} HAVING count(*) > 1)",
        f"{prefix} AS (SELECT {columns} FROM {prefix}_s s ANTI JOIN {prefix}_d d ON {same} UNION ALL "
        f"SELECT {columns} FROM (SELECT * FROM ({wide}) WHERE {conditions}) s SEMI JOIN {prefix}_d d ON {same} "
        f"QUALIFY row_number() OVER (PARTITION BY {partition} ORDER BY {ranking(ranked)}) = 1)",
    ]
