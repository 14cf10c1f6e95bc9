"""Repair: writes the expected values over wrong online rows, and removes rows that should not be there.

Only rows that a comparison found wrong are touched; a newer online value is never overwritten (the writer's
compare-and-set refuses it). What cannot be mended online, or not for long, is listed with where to mend it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from skewguard.causes.catalogue import CATALOGUE
from skewguard.causes.rows import CELL_LEVEL, live_sql
from skewguard.checks.parity import compared_findings
from skewguard.compare.comparison import Comparison
from skewguard.compare.sides import ViewSides
from skewguard.config import ServicePolicy
from skewguard.contract import iso
from skewguard.definitions import ViewDef
from skewguard.findings import Cause, Finding
from skewguard.sql import CREATED_TS, EVENT_TS, literal, quote

_REMOVED = Cause.EXPIRED_BUT_SERVED
_LEFT = (Cause.NOT_MATERIALIZED, Cause.AHEAD_OF_OFFLINE)


@dataclass(frozen=True)
class ViewRepair:
    """One view's part of a plan.

    ``write``: join keys, features, ``__event_ts``, ``__created_ts`` of the rows due. ``remove``: join keys and
    ``__event_ts`` of the online rows to remove. ``left``: findings that repair cannot mend. ``again``: those that it
    mends until the next write, because whoever writes the online value makes it wrong.
    """

    view: ViewDef
    write: pa.Table
    remove: pa.Table
    left: tuple[Finding, ...]
    again: tuple[Finding, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing to write and nothing to remove."""
        return bool(self.write.num_rows == 0 and self.remove.num_rows == 0)

    @property
    def keys(self) -> pa.Table:
        """The join keys of every entity that is touched, each once."""
        names = [key.name for key in self.view.join_keys]
        both = pa.concat_tables([self.write.select(names), self.remove.select(names)], promote_options="permissive")
        if not names:
            return self.write.slice(0, 1).select([]) if self.write.num_rows else self.remove.slice(0, 1).select([])
        return both.group_by(names, use_threads=False).aggregate([])


@dataclass(frozen=True)
class RepairPlan:
    """What a repair would do, view by view; nothing is done until it is applied. ``run_id``: of that run's findings."""

    service: str
    as_of: datetime
    views: tuple[ViewRepair, ...]
    run_id: str | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing to do in any view."""
        return all(view.is_empty for view in self.views)

    def lines(self) -> list[str]:
        """The plan in words, one line a step; then where to mend what comes back, or cannot be mended online."""
        lines = []
        for part in self.views:
            if part.write.num_rows:
                lines.append(f"{part.view.name}: write the expected values of {part.write.num_rows:,} rows")
            if part.remove.num_rows:
                lines.append(f"{part.view.name}: remove {part.remove.num_rows:,} rows that should not be online")
            lines += [f"{_where(f)}: leave {f.count:,} rows ({f.cause.value}): {f.advice}" for f in part.left]
            lines += [
                f"{_where(f)}: {f.count:,} rows ({f.cause.value}) go wrong again with the next write: {f.advice}"
                for f in part.again
            ]
        return lines or ["nothing to repair"]

    def to_dict(self) -> dict[str, Any]:
        """As plain data, without the rows."""
        return {
            "service": self.service,
            "as_of": iso(self.as_of),
            "run": self.run_id,
            "plan": self.lines(),
            "views": {p.view.name: {"write": p.write.num_rows, "remove": p.remove.num_rows} for p in self.views},
        }


def _where(finding: Finding) -> str:
    return f"{finding.view}.{finding.feature}" if finding.feature else str(finding.view)


RowsDue = Callable[[ViewDef, datetime], pa.Table]
"""Gives a view's latest row per entity at or before a moment, with every feature of the view."""


@dataclass(frozen=True)
class Asked:
    """What a repair is asked for: everything wrong, or what these findings name; orphans only where it is said."""

    findings: Sequence[Finding] | None = None
    remove_orphans: bool = False

    def has(self, view: str, cause: Cause) -> bool:
        """Is a cause of whole rows asked for?"""
        return self.findings is None or any((f.view, f.cause) == (view, cause) for f in self.findings)

    def sql(self, comparison: Comparison) -> str:
        """A condition on ``diff``: the rows that are asked for."""
        if self.findings is None:
            return "true"
        view = comparison.sides.view.name
        mine = [f for f in self.findings if f.view == view]
        rows = ", ".join(literal(f.cause.value) for f in mine if f.feature is None) or "NULL"
        names = {f.feature for f in mine}
        cells = [f"d.d_{i}" for i, f in enumerate(comparison.sides.features) if f.name in names]
        named = f"d.cause = '{CELL_LEVEL}' AND ({' OR '.join(cells) or 'false'})"
        return f"coalesce(d.cause IN ({rows}) OR ({named}), false)"


def plan_repair(
    sides: Sequence[ViewSides], policy: ServicePolicy, rows_due: RowsDue, asked: Asked
) -> tuple[ViewRepair, ...]:
    """What a fresh comparison of ``sides`` finds wrong and is asked for. A row is written whole, with every feature.

    Orphans are left alone unless asked for: offline cannot tell a deleted entity from one that was pushed.
    """
    return tuple(_plan_view(side, policy, rows_due, asked) for side in sides)


def _plan_view(sides: ViewSides, policy: ServicePolicy, rows_due: RowsDue, asked: Asked) -> ViewRepair:
    comparison = Comparison(sides, lambda feature: policy.tolerance_for(sides.view.name, feature), policy.memory_limit)
    try:
        skip = ", ".join(f"'{cause.value}'" for cause in (*_LEFT, _REMOVED))
        wrong = f"d.cause IS NOT NULL AND d.cause NOT IN ({skip}) AND {asked.sql(comparison)}"
        at_watermark = f"{wrong} AND {live_sql('d.e_ts', sides.view.ttl, sides.watermark)} "
        at_watermark += "AND coalesce(d.o_ts <= d.e_ts, true)"
        at_as_of = f"{wrong} AND d.t_live AND d.o_ts = d.t_ts AND coalesce(d.t_ts > d.e_ts, true)"
        write = pa.concat_tables(
            [
                _due_rows(comparison, at_watermark, rows_due, sides.watermark),
                _due_rows(comparison, at_as_of, rows_due, sides.as_of),
            ]
        )
        expired = comparison.table(
            f"SELECT {comparison.key_columns('d')}d.o_ts AS {EVENT_TS} FROM diff d "
            f"WHERE d.cause = '{_REMOVED.value}' AND {asked.sql(comparison)} ORDER BY d.row_id"
        )
        findings = [f for f in compared_findings(comparison)[0] if asked.findings is None or _among(f, asked.findings)]
        orphans = comparison.orphans.select([*comparison.keys, EVENT_TS])
    finally:
        comparison.close()
    left = [f for f in findings if f.cause in _LEFT or _is_ahead(f)]
    if not asked.remove_orphans or not asked.has(sides.view.name, Cause.ORPHAN_ONLINE):
        orphans = orphans.slice(0, 0)
        left += [f for f in findings if f.cause is Cause.ORPHAN_ONLINE]
    return ViewRepair(
        view=sides.view,
        write=write,
        remove=pa.concat_tables([expired.cast(orphans.schema), orphans]),
        left=tuple(left),
        again=tuple(f for f in findings if CATALOGUE[f.cause].comes_back and not _is_ahead(f)),
    )


def _is_ahead(finding: Finding) -> bool:
    """Rows under later event timestamps than their own: nothing that is due may be written over them."""
    return finding.cause is Cause.TIMEZONE_SHIFT and finding.feature is None and finding.evidence["minutes"] > 0


def _among(finding: Finding, others: Sequence[Finding]) -> bool:
    return finding.key in {other.key for other in others}


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


@dataclass(frozen=True)
class ViewOutcome:
    """What a repair did in one view, in rows.

    ``refused`` rows were newer online than what was due, and stay. ``unlike``: rows that were read back afterwards and
    are neither what was due nor newer (0, unless somebody writes at the same time).
    """

    view: str
    written: int
    removed: int
    refused: int
    unlike: int = 0

    def line(self) -> str:
        """The outcome in words."""
        proof = "read back, as they should be" if not self.unlike else f"read back: {self.unlike:,} are still wrong"
        did = f"{self.written:,} written, {self.removed:,} removed, {self.refused:,} refused (newer online)"
        return f"{self.view}: {did}; {proof}"


Keep = Callable[[str, Mapping[str, pa.Table]], None]
"""Keeps tables by name, under the name of a view: how the rows were ``before``, and ``after``."""


def apply_repair(
    plan: RepairPlan, client: Any, project: str, key_ttl_seconds: int | None, keep: Keep
) -> list[ViewOutcome]:
    """Do what the plan says, and read it back. Raises StoreUnavailableError where Redis breaks off; again goes on.

    ``keep`` gets the rows of every touched entity before anything is done, and after.
    """
    from skewguard.online.materializer import delete_view_rows, write_rows
    from skewguard.online.reader import read_view
    from skewguard.read_back import unlike

    outcomes = []
    for part in plan.views:
        if part.is_empty:
            continue
        written = removed = refused = 0
        keep(part.view.name, {"before": read_view(client, project, part.view, part.keys)})
        if part.write.num_rows:
            rows = part.write.drop_columns([c for c in (CREATED_TS,) if c in part.write.column_names])
            stats = write_rows(client, project, part.view, rows, key_ttl_seconds=key_ttl_seconds)
            refused = stats.skipped_newer
            written = part.write.num_rows - refused
        if part.remove.num_rows:
            removed = delete_view_rows(client, project, part.view, part.remove)
        after = read_view(client, project, part.view, part.keys)
        keep(part.view.name, {"after": after})
        outcomes.append(ViewOutcome(part.view.name, written, removed, refused, unlike(part, after)))
    return outcomes
