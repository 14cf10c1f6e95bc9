"""What the faults of a drill work on: the rows of each view as both stores hold them, and what was hit already."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skewguard.causes.rows import CELL_LEVEL, live_sql
from skewguard.compare.comparison import Comparison
from skewguard.compare.sides import ViewSides, whole
from skewguard.config import ServicePolicy
from skewguard.definitions import FieldDef, ViewDef
from skewguard.digest import row_hashes
from skewguard.errors import BadInputError
from skewguard.findings import Cause
from skewguard.sql import EVENT_TS, ROW_STATE

if TYPE_CHECKING:
    import duckdb

Hashes = npt.NDArray[np.uint64]
NONE: Hashes = np.zeros(0, dtype=np.uint64)
ROW = ""
"""In the place of a feature's name: the row as a whole."""
FEWEST = 3
"""So many rows a fault hits at least, where there are as many: fewer show no relation between two columns."""


@dataclass(frozen=True)
class Injection:
    """A fault that was put in: where, into how many rows, and that the guard must name its cause.

    ``count`` is what the finding must count: the rows, or 1 for the state of a view. ``also`` are other views of the
    service that are hit under the same cause; ``brings``: causes that are rightly found on the view as well.
    """

    cause: Cause
    view: str
    feature: str | None
    rows: int
    count: int
    also: tuple[str, ...] = ()
    brings: tuple[Cause, ...] = ()

    @property
    def where(self) -> str:
        """``view`` or ``view.feature``."""
        return self.view if self.feature is None else f"{self.view}.{self.feature}"

    def line(self) -> str:
        """The injection in words."""
        what = f"{self.rows:,} rows of {self.where}" if self.count == self.rows else f"the view {self.view}"
        return f"{self.cause.value}, put into {what}"

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "cause": self.cause.value, "brings": [cause.value for cause in self.brings]}


class Copy(Protocol):
    """A scratch copy, of which a fault may change more than the online store."""

    def source(self, view: str) -> Path:
        """The view's source file."""
        ...

    def rewrite(self, view: str, con: duckdb.DuckDBPyConnection, sql: str) -> None:
        """Replace the view's source by the rows of a query."""
        ...

    def set_watermark(self, view: str, moment: datetime | None) -> None:
        """Say that the view was materialized up to a moment, or never."""
        ...

    def lengthen_ttl(self, view: str) -> None:
        """Change the view's definition: its TTL by a second."""
        ...


@dataclass(frozen=True)
class ViewGround:
    """One view of the service before a fault.

    ``live``: offline rows inside their TTL whose online row is present. ``silent``: latest offline rows past their TTL
    that are not online. Both have join keys, features, ``__event_ts`` and ``__created_ts``.
    """

    view: ViewDef
    features: tuple[FieldDef, ...]
    as_of: datetime
    watermark: datetime
    live: pa.Table
    silent: pa.Table

    @property
    def keys(self) -> list[str]:
        """Names of the join keys."""
        return [key.name for key in self.view.join_keys]

    def column(self, feature: FieldDef) -> pa.Array:
        """The live rows' values of a feature."""
        return self.live.column(feature.name).combine_chunks()

    @classmethod
    def of(cls, side: ViewSides, con: duckdb.DuckDBPyConnection) -> ViewGround:
        """From both sides of a comparison; the one place here that reads their tables."""
        rows = whole(side.rows)
        present = pc.equal(rows.online.column(ROW_STATE), "present")
        con.register("__truth", rows.truth.append_column("__present", present))
        inside = live_sql(EVENT_TS, side.view.ttl, side.as_of)
        select = "SELECT * EXCLUDE (__present) FROM __truth WHERE"
        try:
            live = con.execute(f"{select} __present AND {inside} ORDER BY ALL").to_arrow_table()
            silent = con.execute(f"{select} NOT __present AND NOT {inside} ORDER BY ALL").to_arrow_table()
        finally:
            con.unregister("__truth")
        return cls(side.view, side.features, side.as_of, side.watermark, live, silent)


@dataclass(frozen=True)
class Fit:
    """A place that a fault can be put into, and how.

    ``rows``: those that it can hit. ``write`` puts it into some of them and tells what other views it hit. ``score``:
    the fit with the highest is taken. ``of``: the share is one of so many rows (of ``rows`` by default). ``evenly``: of
    every value of this column equally many, while there are. ``count``: what the finding counts, where not the rows.
    """

    side: ViewGround
    feature: str | None
    rows: pa.Table
    write: Callable[[Ground, pa.Table], Sequence[str]]
    score: tuple[float, ...] = ()
    of: int | None = None
    minimum: int = FEWEST
    evenly: str | None = None
    count: int | None = None


@dataclass(frozen=True)
class Ground:
    """Everything that a fault may use. ``hit``: by view, and feature or ``ROW``, the entities with something wrong."""

    con: duckdb.DuckDBPyConnection
    client: Any
    project: str
    policy: ServicePolicy
    views: tuple[ViewGround, ...]
    copy: Copy | None = None
    hit: dict[str, dict[str, Hashes]] = field(default_factory=dict)

    def chosen(self, fit: Fit, share: float, slot: float) -> pa.Table:
        """A share of the fit's rows, by entity hash from the place ``slot`` (0 to 1) on: the same ones every time.

        Of rows with nothing wrong first, then of those where neither the row as a whole nor this feature is.
        """
        keys, table = fit.side.keys, fit.rows
        if not keys or table.num_rows == 0:
            return table
        names = {fit.feature or ROW}
        hit = self.hit.setdefault(fit.side.view.name, {})
        hashes: Hashes = row_hashes(table, keys)
        usable = ~np.isin(hashes, np.concatenate([hit.get(name, NONE) for name in {ROW, *names}]))
        if fit.feature is None:  # a row that another fault is in cannot be hit as a whole
            usable &= ~np.isin(hashes, np.concatenate([*hit.values(), NONE]))
        clean = ~np.isin(hashes, np.concatenate([*hit.values(), NONE]))
        order = np.lexsort((hashes - np.uint64(int(slot * 2**63) * 2), ~clean))
        order = order[usable[order]]
        if fit.evenly is not None:
            turn = _turns(table.column(fit.evenly).combine_chunks().take(pa.array(order)))
            order = order[np.lexsort((turn, ~clean[order]))]
        total = table.num_rows if fit.of is None else fit.of
        rows = np.sort(order[: max(fit.minimum, math.ceil(share * total))])
        for name in names:
            hit[name] = np.concatenate([hit.get(name, NONE), hashes[rows]])
        return table.take(pa.array(rows))

    def copy_of(self) -> Copy:
        """The scratch copy; raises BadInputError where the ground is a live store."""
        if self.copy is None:
            raise BadInputError("fault", "one that changes offline rows or definitions", "a scratch copy to change")
        return self.copy

    def mark(self, view: str, keys: pa.Table) -> None:
        """Note that rows of another view were hit as well."""
        hit = self.hit.setdefault(view, {})
        hit[ROW] = np.concatenate([hit.get(ROW, NONE), row_hashes(keys, keys.column_names)])


def _turns(values: pa.Array) -> npt.NDArray[np.int64]:
    """For each value, how many equal ones come before it."""
    codes = np.asarray(values.dictionary_encode().indices)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], codes[order], side="left")
    turns = np.empty(len(codes), dtype=np.int64)
    turns[order] = np.arange(len(codes)) - starts
    return turns


def wrong(side: ViewSides, policy: ServicePolicy) -> dict[str, Hashes]:
    """What a comparison finds wrong before anything was put in, as ``Ground.hit`` has it."""
    keys = [key.name for key in side.view.join_keys]
    if not keys:
        return {}
    comparison = Comparison(side, lambda feature: policy.tolerance_for(side.view.name, feature), policy.memory_limit)
    columns = comparison.key_columns("diff").rstrip(", ")

    def hashes(where: str) -> Hashes:
        return row_hashes(comparison.table(f"SELECT {columns} FROM diff WHERE {where}"), keys)

    try:
        found = {ROW: hashes(f"cause <> '{CELL_LEVEL}' AND state = 'present'")}
        for index, feature in enumerate(side.features):
            found[feature.name] = hashes(f"cause = '{CELL_LEVEL}' AND d_{index}")
        return found
    finally:
        comparison.close()


Fits = Callable[[ViewGround, Ground], Iterator[Fit]]


@dataclass(frozen=True)
class Fault:
    """How one cause is made.

    ``does``: what it does, for the help and the write-up. ``needs``: what a repository must have for it. ``changes``:
    "online" (the online store alone), "offline" (the source) or "definitions". ``check``: the check that must see it.
    ``brings``: causes that are rightly found on the same view as well.
    """

    cause: Cause
    does: str
    needs: str
    fits: Fits
    changes: str = "online"
    check: str = "parity"
    brings: tuple[Cause, ...] = ()

    def best(
        self, ground: Ground, allowed: Callable[[str, str | None], bool] = lambda _view, _feature: True
    ) -> Fit | None:
        """The best of its fits at an allowed (view, feature), None where there is none."""
        found = [fit for fit in self.all(ground) if allowed(fit.side.view.name, fit.feature)]
        return max(found, key=lambda fit: fit.score, default=None)

    def all(self, ground: Ground) -> list[Fit]:
        """Every place in the service that it can be put into."""
        if self.changes != "online" and ground.copy is None:
            return []
        return [fit for side in ground.views for fit in self.fits(side, ground) if fit.rows.num_rows]
