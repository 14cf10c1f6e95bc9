"""Repair: writes the expected values over wrong online rows, and removes rows that should not be there.

Only rows that a comparison found wrong are touched; a newer online value is never overwritten (the writer's
compare-and-set refuses it). What cannot be mended online is listed with the advice of its cause.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from skewguard.causes.catalogue import CATALOGUE
from skewguard.causes.rows import live_sql
from skewguard.compare.comparison import Comparison
from skewguard.compare.sides import ViewSides
from skewguard.config import ServicePolicy
from skewguard.definitions import ViewDef
from skewguard.findings import Cause
from skewguard.sql import CREATED_TS, EVENT_TS, quote

_REMOVED = Cause.EXPIRED_BUT_SERVED.value
_LEFT = (Cause.NOT_MATERIALIZED.value, Cause.AHEAD_OF_OFFLINE.value)


@dataclass(frozen=True)
class ViewRepair:
    """One view's part of a plan.

    ``write``: join keys, features, ``__event_ts``, ``__created_ts`` of the rows due. ``remove``: join keys and
    ``__event_ts`` of the online rows to remove. ``left``: (cause, rows, advice) of what repair cannot mend.
    """

    view: ViewDef
    write: pa.Table
    remove: pa.Table
    left: tuple[tuple[str, int, str], ...]

    @property
    def is_empty(self) -> bool:
        """Nothing to write and nothing to remove."""
        return bool(self.write.num_rows == 0 and self.remove.num_rows == 0)


@dataclass(frozen=True)
class RepairPlan:
    """What a repair would do, view by view; nothing is done until it is applied."""

    service: str
    views: tuple[ViewRepair, ...]

    @property
    def is_empty(self) -> bool:
        """Nothing to do in any view."""
        return all(view.is_empty for view in self.views)

    def lines(self) -> list[str]:
        """The plan in words, one line a step."""
        lines = []
        for view in self.views:
            if view.write.num_rows:
                lines.append(f"{view.view.name}: write the expected values of {view.write.num_rows:,} rows")
            if view.remove.num_rows:
                lines.append(f"{view.view.name}: remove {view.remove.num_rows:,} rows that should not be online")
            lines += [f"{view.view.name}: leave {n:,} rows ({cause}): {advice}" for cause, n, advice in view.left]
        return lines or ["nothing to repair"]


@dataclass(frozen=True)
class ViewOutcome:
    """What a repair did in one view, in rows; ``refused`` rows were newer online than what was due."""

    view: str
    written: int
    removed: int
    refused: int


RowsDue = Callable[[ViewDef, datetime], pa.Table]
"""Gives a view's latest row per entity at or before a moment, with every feature of the view."""


def plan_repair(
    service: str, sides: Sequence[ViewSides], policy: ServicePolicy, rows_due: RowsDue, *, remove_orphans: bool = False
) -> RepairPlan:
    """The plan for what a fresh comparison of ``sides`` finds wrong. A row is written whole, with every feature.

    Orphans are left alone unless ``remove_orphans``: offline cannot tell a deleted entity from one that was pushed.
    """
    return RepairPlan(service, tuple(_plan_view(side, policy, rows_due, remove_orphans) for side in sides))


def _plan_view(sides: ViewSides, policy: ServicePolicy, rows_due: RowsDue, remove_orphans: bool) -> ViewRepair:
    comparison = Comparison(sides, lambda feature: policy.tolerance_for(sides.view.name, feature), policy.memory_limit)
    try:
        skip = ", ".join(f"'{cause}'" for cause in (*_LEFT, _REMOVED))
        wrong = f"d.cause IS NOT NULL AND d.cause NOT IN ({skip})"
        at_watermark = f"{wrong} AND {live_sql('d.e_ts', sides.view.ttl, sides.watermark)} "
        at_watermark += "AND coalesce(d.o_ts <= d.e_ts, true)"
        at_as_of = f"{wrong} AND d.t_live AND d.o_ts = d.t_ts AND coalesce(d.t_ts > d.e_ts, true)"
        write = pa.concat_tables(
            [
                _due_rows(comparison, at_watermark, rows_due, sides.watermark),
                _due_rows(comparison, at_as_of, rows_due, sides.as_of),
            ]
        )
        keys = comparison.key_columns("d")
        expired = comparison.table(
            f"SELECT {keys}d.o_ts AS {EVENT_TS} FROM diff d WHERE d.cause = '{_REMOVED}' ORDER BY d.row_id"
        )
        left = [(cause, count) for cause, count in comparison.row_causes() if cause in _LEFT]
        orphans = comparison.orphans.select([*comparison.keys, EVENT_TS])
    finally:
        comparison.close()
    if not remove_orphans:
        left += [(Cause.ORPHAN_ONLINE.value, orphans.num_rows)] if orphans.num_rows else []
        orphans = orphans.slice(0, 0)
    return ViewRepair(
        view=sides.view,
        write=write,
        remove=pa.concat_tables([expired.cast(orphans.schema), orphans]),
        left=tuple((cause, count, CATALOGUE[Cause(cause)].advice) for cause, count in left),
    )


def _due_rows(comparison: Comparison, where: str, rows_due: RowsDue, at: datetime) -> pa.Table:
    """The rows due at ``at``, whole, of the entities of ``diff`` that the condition names."""
    view = comparison.sides.view
    keys = comparison.key_columns("d")
    due = comparison.table(f"SELECT {keys}d.row_id FROM diff d WHERE {where}")
    rows = rows_due(view, at)
    comparison.con.register("due_keys", due)
    comparison.con.register("due_rows", rows)
    on = " AND ".join(f"r.{quote(k)} = d.{quote(k)}" for k in comparison.keys) or "true"
    return comparison.table(f"SELECT r.* FROM due_rows r SEMI JOIN due_keys d ON {on}").cast(rows.schema)


def apply_repair(plan: RepairPlan, client: Any, project: str, key_ttl_seconds: int | None) -> list[ViewOutcome]:
    """Do what the plan says. Raises StoreUnavailableError where Redis breaks off; running it again goes on."""
    from skewguard.online.materializer import delete_view_rows, write_rows

    outcomes = []
    for part in plan.views:
        written = removed = refused = 0
        if part.write.num_rows:
            rows = part.write.drop_columns([c for c in (CREATED_TS,) if c in part.write.column_names])
            stats = write_rows(client, project, part.view, rows, key_ttl_seconds=key_ttl_seconds)
            refused = stats.skipped_newer
            written = part.write.num_rows - refused
        if part.remove.num_rows:
            removed = delete_view_rows(client, project, part.view, part.remove)
        outcomes.append(ViewOutcome(part.view.name, written, removed, refused))
    return outcomes
