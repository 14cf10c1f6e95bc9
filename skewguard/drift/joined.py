"""Where rows of two samples can be joined, how many of them differ, exactly: what no test of distributions can see."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from skewguard.causes.equality import equal_sql
from skewguard.config import Tolerance
from skewguard.drift.vectors import DriftColumn, TableVectors
from skewguard.findings import FeatureStats
from skewguard.offline.sources import connect
from skewguard.profile import make_bins, profile_column
from skewguard.serving_log.columns import AS_OF
from skewguard.sql import quote


def joined_rows(
    reference: TableVectors,
    current: TableVectors,
    columns: Sequence[DriftColumn],
    keys: Sequence[str],
    tolerance: Callable[[DriftColumn], Tolerance],
) -> tuple[FeatureStats, ...]:
    """Each column over the rows that both have once: the same join keys ``keys`` and as-of time (where both have one).

    "offline" is the reference's side. Nothing where a key is missing, where one side alone has as-of times, or where no
    row is in both.
    """
    shared = reference.columns & current.columns
    if not keys or not set(keys) <= shared or (AS_OF in reference.columns) != (AS_OF in current.columns):
        return ()
    by = [*keys, *([AS_OF] if AS_OF in shared else [])]
    with connect() as con:
        for name, side in (("__ours", reference), ("__theirs", current)):
            numbered = side.table.select(by).append_column("__place", pa.array(range(side.rows), pa.int64()))
            con.register(name, numbered)
        once = "(SELECT {by}, any_value(__place) AS __place FROM {side} GROUP BY ALL HAVING count(*) = 1)"
        listed = ", ".join(map(quote, by))
        ours, theirs = (once.format(by=listed, side=side) for side in ("__ours", "__theirs"))
        same = " AND ".join(f"a.{quote(name)} = b.{quote(name)}" for name in by)
        places = con.execute(
            f"SELECT a.__place AS ours, b.__place AS theirs FROM {ours} a JOIN {theirs} b ON {same} ORDER BY ours"
        ).to_arrow_table()
        if not places.num_rows:
            return ()
        found = []
        for column in columns:
            if column.name not in shared:
                continue
            pair = [
                side.table.column(column.name).combine_chunks().take(places.column(own).combine_chunks())
                for side, own in ((reference, "ours"), (current, "theirs"))
            ]
            con.register("__pair", pa.table({"ours": pair[0], "theirs": pair[1]}))
            equal = equal_sql(column.dtype, "ours", "theirs", tolerance(column))
            ((differing,),) = con.execute(f"SELECT count(*) FILTER (WHERE NOT {equal}) FROM __pair").fetchall()
            found.append(_stats(column, pair, differing))
    return tuple(found)


def _stats(column: DriftColumn, pair: Sequence[pa.Array], differing: int) -> FeatureStats:
    bins = make_bins(pair[0])
    ours, theirs = (profile_column(side, bins) for side in pair)
    return FeatureStats(
        view=column.view,
        feature=column.feature,
        dtype=column.dtype,
        compared=len(pair[0]),
        differing=differing,
        offline_nulls=ours.nulls,
        online_nulls=theirs.nulls,
        labels=bins.labels(),
        offline=ours.counts,
        online=theirs.counts,
    )
