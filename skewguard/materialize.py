"""Materialization: the latest offline row per entity goes online, and the watermark moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from skewguard.errors import BadInputError
from skewguard.offline.asof import latest_rows
from skewguard.offline.sources import connect as connect_offline
from skewguard.online.connection import connect, settings_from_repo
from skewguard.online.materializer import WriteStats, write_rows
from skewguard.sql import CREATED_TS, EVENT_TS
from skewguard.ttl import oldest_inside

if TYPE_CHECKING:
    from skewguard.collect import Progress
    from skewguard.feast_repo import FeastRepo


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Materialized:
    """One view's run: rows read, rows left out as past their TTL, what the writer did, and the watermark after it."""

    view: str
    rows: int
    expired: int
    stats: WriteStats
    watermark: datetime


def materialize(
    repo: FeastRepo,
    views: Sequence[str],
    end: datetime,
    *,
    start: datetime | None = None,
    look_back: timedelta | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> list[Materialized]:
    """Materialize ``views`` up to ``end`` (inclusive, UTC); see SkewGuard.materialize.

    With ``look_back`` only what happened or was created after the watermark less so much is read; a view that was
    never materialized is read whole. The watermark moves only after a view's rows are written, so a run that is killed
    and started again converges.
    """
    definitions = [repo.view(name) for name in views]
    for view in definitions:
        if not view.online:
            raise BadInputError("views", repr(view.name), "views that are online (this one says online=False)")
    settings = settings_from_repo(repo.path)
    con = connect_offline()
    client = connect(settings)
    watermarks = repo.watermarks() if look_back is not None else {}
    results = []
    try:
        for view in definitions:
            since = _since(watermarks.get(view.name), look_back)
            rows = latest_rows(con, view, end, start=start, changed_since=since)
            live = _inside_ttl(rows, view.ttl, end).drop_columns([CREATED_TS])

            def report(done: int, step: str = view.name) -> None:
                if progress is not None:
                    progress(step, done)

            stats = write_rows(
                client,
                repo.project,
                view,
                live,
                key_ttl_seconds=settings.key_ttl_seconds,
                dry_run=dry_run,
                progress=report,
            )
            if not dry_run:
                begin = start or since or _EPOCH
                repo.record_materialization(view.name, min(begin, end), end)
            results.append(Materialized(view.name, live.num_rows, rows.num_rows - live.num_rows, stats, end))
    finally:
        client.close()
        con.close()
    return results


def _since(watermark: datetime | None, look_back: timedelta | None) -> datetime | None:
    if watermark is None or look_back is None:
        return None
    return watermark - min(look_back, watermark - _FIRST)


def _inside_ttl(rows: pa.Table, ttl: timedelta | None, at: datetime) -> pa.Table:
    """The rows whose age at ``at`` is at most the TTL."""
    oldest = oldest_inside(at, ttl)
    if oldest is None:
        return rows
    return rows.filter(pc.greater_equal(rows.column(EVENT_TS), pa.scalar(oldest, rows.schema.field(EVENT_TS).type)))
