"""Holds what a repair wrote against what is online afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from skewguard.causes.equality import equal_sql
from skewguard.offline.sources import connect
from skewguard.sql import EVENT_TS, PRESENT, ROW_STATE, quote

if TYPE_CHECKING:
    from skewguard.repair import ViewRepair


def unlike(part: ViewRepair, after: pa.Table) -> int:
    """How many rows are neither as the plan has them nor newer.

    ``after`` is what ``read_view`` gives for the plan's entities.
    """
    keys = [key.name for key in part.view.join_keys]
    on = " AND ".join(f"a.{quote(k)} = d.{quote(k)}" for k in keys) or "true"
    same = " AND ".join(
        [
            f"a.{EVENT_TS} = d.{EVENT_TS}",
            *(equal_sql(f.dtype, f"d.{quote(f.name)}", f"a.{quote(f.name)}") for f in part.view.features),
        ]
    )
    there = f"a.{ROW_STATE} = '{PRESENT}'"
    wrong = {
        "write": f"NOT coalesce({there} AND (a.{EVENT_TS} > d.{EVENT_TS} OR ({same})), false)",
        "remove": f"{there} AND NOT coalesce(a.{EVENT_TS} > d.{EVENT_TS}, false)",
    }
    with connect() as con:
        con.register("after_all", after)
        total = 0
        for name, condition in wrong.items():
            con.register("due", getattr(part, name))
            row = con.execute(f"SELECT count(*) FROM due d LEFT JOIN after_all a ON {on} WHERE {condition}").fetchone()
            total += row[0] if row else 0
    return total
