"""Which row of a source counts: ties decided, among the rows that a join found, on the few columns that it takes.

Ties of (entity, event timestamp) go to the latest created timestamp, then to the larger values, so that the answer
never depends on the order of a file, nor on which features are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skewguard.definitions import FieldDef, ViewDef
from skewguard.dtypes import FLOATS
from skewguard.sql import CREATED_TS, ROW_ID, quote


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


def ranked_fields(view: ViewDef, columns: Mapping[str, str]) -> list[FieldDef]:
    """What ties are ranked by: all the view's features that its file has, whichever of them are asked for.

    So a tie is decided alike for every selection of features, and as materialization decides it.
    """
    return [f for f in view.features if view.source.column(f.name) in columns]


def best_sql(
    sources: tuple[str, str], by: Sequence[tuple[str, str]], found: tuple[str, str], ranked: Sequence[FieldDef]
) -> str:
    """Every row of a tie (``tied``), and the one that wins it (``best``), by number.

    ``sources``: the source's keys, times and row numbers, and the same with the features that are ``ranked``; ``by``:
    what ties, in the source and in the relation of found rows; ``found``: that relation and its column of row numbers.
    Only the ties of found rows are looked for, by reading the source again past a hash table of them. Feature values
    are read where created timestamps leave a tie undecided. Without ties, nothing is sorted, and no value is read.
    """
    thin, wide = sources
    relation, number = found
    columns = ", ".join(ours for ours, _ in by)
    to_found = " AND ".join(f"s.{ours} = m.{theirs}" for ours, theirs in by)
    to_tied = " AND ".join(f"s.{ours} = t.{ours}" for ours, _ in by)
    return (
        f"WITH s AS NOT MATERIALIZED ({thin}), t AS MATERIALIZED (SELECT {columns} FROM s "
        f"SEMI JOIN {relation} m ON {to_found} AND s.{ROW_ID} <> m.{number}), "
        f"c AS MATERIALIZED (SELECT * FROM s SEMI JOIN t ON {to_tied}), "
        f"q AS (SELECT {ROW_ID} FROM c QUALIFY count(*) OVER (PARTITION BY {columns}, {CREATED_TS}) > 1), "
        f"v AS (SELECT {ROW_ID}, row_number() OVER (PARTITION BY {columns} ORDER BY {ranking(ranked)}) AS rank "
        f"FROM ({wide}) SEMI JOIN q USING ({ROW_ID})) "
        f"SELECT c.{ROW_ID} AS tied, first_value(c.{ROW_ID}) OVER (PARTITION BY {columns} "
        f"ORDER BY c.{CREATED_TS} DESC NULLS LAST, v.rank) AS best FROM c LEFT JOIN v ON c.{ROW_ID} = v.{ROW_ID}"
    )
