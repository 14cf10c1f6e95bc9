"""Gathers both sides of a check from the stores: the one place where offline rows and online rows meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import duckdb

from skewguard.compare.sides import ViewSides
from skewguard.definitions import FieldDef, ServiceDef, ViewDef
from skewguard.offline.evidence import SourceEvidence
from skewguard.online.side import OnlineSide
from skewguard.view_rows import Reading, StoredOutside, StoredRows

Progress = Callable[[str, int], None]
"""Called with a step's name and how many rows it has done since the last call."""


@dataclass(frozen=True)
class Collected:
    """Both sides of every view that could be read, and why the others could not."""

    sides: tuple[ViewSides, ...]
    skipped: dict[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    """What cannot be told of this online store."""


@dataclass(frozen=True)
class Collector:
    """Reads one service's views from both stores as of a moment."""

    con: duckdb.DuckDBPyConnection
    side: OnlineSide
    project: str
    as_of: datetime
    sample: float = 1.0
    progress: Progress | None = None
    windows: Mapping[str, tuple[tuple[datetime, datetime], ...]] = field(default_factory=dict)

    def collect(self, service: ServiceDef, watermarks: dict[str, datetime | None]) -> Collected:
        """Every view of the service; the stores are read when the sides are compared, and must be open then."""
        sides: list[ViewSides] = []
        skipped: dict[str, str] = {}
        for view in service.views:
            watermark = watermarks.get(view.name)
            if watermark is None:
                skipped[view.name] = "never materialized, so there is no expected online value"
            elif watermark > self.as_of:
                skipped[view.name] = (
                    f"the as-of time {self.as_of.isoformat()} lies before the watermark {watermark.isoformat()}; "
                    "the online store holds only the present"
                )
            else:
                sides.append(self.view_sides(view, service.features_read(view), watermark))
        return Collected(tuple(sides), skipped, self.side.limits)

    def view_sides(self, view: ViewDef, features: tuple[FieldDef, ...], watermark: datetime) -> ViewSides:
        """Both sides of one view, sampled by entity hash; nothing is read before it is asked for."""
        reading = Reading(
            self.con,
            self.side,
            self.project,
            view,
            features,
            self.as_of,
            watermark,
            self.sample,
            lambda rows: self._report(view.name, rows),
        )
        windows = self.windows.get(view.name, ())
        return ViewSides(
            view=view,
            features=features,
            as_of=self.as_of,
            watermark=watermark,
            rows=StoredRows(reading),
            evidence=SourceEvidence(self.con, view, features, watermark, windows),
            listing=StoredOutside(reading),
            windows=windows,
        )

    def _report(self, step: str, rows: int) -> None:
        if self.progress is not None:
            self.progress(step, rows)
