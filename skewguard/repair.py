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
from skewguard.checks.comparison import CREATED_TS, EVENT_TS, Comparison, ViewSides, quote
from skewguard.config import ServicePolicy
from skewguard.definitions import ViewDef
from skewguard.findings import Cause

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


def plan_repair(service: str, sides: Sequence[ViewSides], policy: ServicePolicy, rows_due: RowsDue) -> RepairPlan:
    """The plan for what a fresh comparison of ``sides`` finds wrong. A row is written whole, with every feature."""
    return RepairPlan(service, tuple(_plan_view(side, policy, rows_due) for side in sides))


def _plan_view(sides: ViewSides, policy: ServicePolicy, rows_due: RowsDue) -> ViewRepair:
    comparison = Comparison(sides, lambda feature: policy.tolerance_for(sides.view.name, feature))
    try:
        keys = "".join(f"d.{quote(k)}, " for k in comparison.keys)
        join = " AND ".join(f"d.{quote(k)} = e.{quote(k)}" for k in comparison.keys) or "true"
        skip = ", ".join(f"'{cause}'" for cause in (*_LEFT, _REMOVED))
        due = live_sql(f"e.{EVENT_TS}", sides.view.ttl, sides.watermark)
        newer = "coalesce(d.o_ts > e.e_due, false)"
        due_keys = comparison.table(
            f"SELECT {keys}d.row_id FROM diff d JOIN (SELECT *, {EVENT_TS} AS e_due FROM e_in) e ON {join} "
            f"WHERE d.cause IS NOT NULL AND d.cause NOT IN ({skip}) AND {due} AND NOT {newer} ORDER BY d.row_id"
        )
        expired = comparison.table(
            f"SELECT {keys}d.o_ts AS {EVENT_TS} FROM diff d WHERE d.cause = '{_REMOVED}' ORDER BY d.row_id"
        )
        write = sides.expected.slice(0, 0)
        if due_keys.num_rows:
            comparison.con.register("due_keys", due_keys)
            comparison.con.register("due_rows", rows_due(sides.view, sides.watermark))
            on = " AND ".join(f"r.{quote(k)} = d.{quote(k)}" for k in comparison.keys) or "true"
            write = comparison.table(f"SELECT r.* FROM due_rows r SEMI JOIN due_keys d ON {on} ORDER BY ALL")
        left = [(cause, count) for cause, count in comparison.row_causes() if cause in _LEFT]
    finally:
        comparison.close()
    orphans = sides.orphans.select([*comparison.keys, EVENT_TS])
    return ViewRepair(
        view=sides.view,
        write=write,
        remove=pa.concat_tables([expired.cast(orphans.schema), orphans]),
        left=tuple((cause, count, CATALOGUE[Cause(cause)].advice) for cause, count in left),
    )


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
