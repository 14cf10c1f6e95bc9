"""The replay check: what was served against what offline says of that very moment, row by row and value by value.

For every logged row the features are computed again, point in time, as of the moment that the vector was for. Rates are
over rows compared, so that neither a sample nor a dropped row dilutes them; nulls are counted apart. Besides, for every
feature: the symmetric mean absolute percentage error, mean of 2 |a - b| / (|a| + |b|) over pairs of finite numbers (0
where both are 0; 2 at most), as Chronon's ``CompareMetrics`` has it, and for lists the mean edit distance: insertions
and deletions that turn the offline list into the served one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol

import duckdb
import numpy as np
import pyarrow as pa

from skewguard import dtypes
from skewguard.causes.catalogue import CATALOGUE
from skewguard.causes.cells import DifferingCells, explain
from skewguard.causes.equality import equal_sql
from skewguard.causes.rows import CELL_LEVEL
from skewguard.config import Tolerance
from skewguard.definitions import FieldDef, Projection
from skewguard.findings import Cause, Finding
from skewguard.plain import plain
from skewguard.sql import CREATED_TS, EVENT_TS, first_that_differs, quote
from skewguard.stats import wilson_interval
from skewguard.ttl import inside_sql

CHECK = "replay"
SAMPLES = 10
_CREATED_LATER = "created_later"
"""Served as offline has it, from a row that was created after the moment: told as SERVED_BEFORE_KNOWN."""
_EDITED = 10_000
"""Differing lists at most whose edit distance is counted."""


class Versions(Protocol):
    """What the check asks of the offline source, for a few rows."""

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Source rows at the (join keys, ``__event_ts``) of ``rows``: these columns, ``__created_ts``, features."""
        ...


@dataclass(frozen=True)
class Replayed:
    """Some logged rows of one view, beside what offline says.

    Attributes:
        rows: ``n`` (number of the row in the whole check), ``as_of``, ``request_id``, ``s_ts`` and ``t_ts`` (event
            timestamps served and offline, null where there is none), ``k_i`` (join keys, in the view's order), and for
            feature i ``s_i``, ``t_i`` (values) and ``c_i`` (status as Feast's code).
        versions: the offline source.
    """

    rows: pa.Table
    versions: Versions


@dataclass
class ViewReplay:
    """The replay of one projection, a part of the rows after the other; then ``findings`` and ``details``."""

    projection: Projection
    tolerance: Callable[[FieldDef], Tolerance]
    windows: Sequence[tuple[datetime, datetime]]
    compared: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    cells: dict[int, list[pa.Table]] = field(default_factory=dict)
    by_cause: dict[str, Counter[str]] = field(default_factory=dict)
    nulls: dict[str, Counter[str]] = field(default_factory=dict)
    errors: dict[str, list[float]] = field(default_factory=dict)

    @cached_property
    def features(self) -> tuple[FieldDef, ...]:
        """The features that are compared."""
        return self.projection.features

    def equal(self, index: int, offline: str, served: str) -> str:
        """The equality of a feature as SQL."""
        feature = self.features[index]
        return equal_sql(feature.dtype, offline, served, self.tolerance(feature))

    def add(self, part: Replayed) -> pa.Table:
        """Compare some rows. Gives ``n`` and one boolean ``d_i`` a feature: does it differ?"""
        with duckdb.connect() as con:
            con.execute("SET TimeZone = 'UTC'")
            con.register("part", part.rows)
            self._load(con)
            self._known(con, part)
            self._classify(con)
            self._take(con)
            columns = ", ".join(["n", *(f"d_{i}" for i in range(len(self.features)))])
            return con.execute(f"SELECT {columns} FROM cmp ORDER BY n").to_arrow_table()

    def _load(self, con: duckdb.DuckDBPyConnection) -> None:
        """``cmp``: the rows with d_i, and whether the served row was inside its TTL. A value not sent is null."""
        indexes = range(len(self.features))
        keys = [f"k_{i}" for i in range(len(self.projection.view.join_keys))]
        values = [column for i in indexes for column in (f"t_{i}", f"c_{i}")]
        plain = ", ".join(["n", "as_of", "request_id", "s_ts", "t_ts", *keys, *values])
        sent = "".join(f", CASE WHEN c_{i} = 1 THEN s_{i} END AS s_{i}" for i in indexes)
        live = f"(s_ts IS NOT NULL AND {inside_sql('s_ts', 'as_of', self.projection.view.ttl)})"
        # a value without a status is not compared: logged before the service had it, or sent instead of another
        differs = "".join(
            f", c_{i} IS NOT NULL AND (t_ts IS NOT NULL OR s_ts IS NOT NULL) "
            f"AND (c_{i} = 0 OR NOT {self.equal(i, f't_{i}', f's_{i}')}) AS d_{i}"
            for i in indexes
        )
        con.execute(
            f"CREATE TEMP TABLE cmp AS SELECT *{differs} FROM (SELECT {plain}{sent}, {live} AS s_live FROM part)"
        )

    def _known(self, con: duckdb.DuckDBPyConnection, part: Replayed) -> None:
        """``versions``: the source rows behind the rows that differ, or whose values may not have been known."""
        names = [key.name for key in self.projection.view.join_keys]
        keys = "".join(f"k_{i} AS {quote(name)}, " for i, name in enumerate(names))
        asked = con.execute(
            f"SELECT DISTINCT {keys}t_ts AS {EVENT_TS} FROM cmp "
            f"WHERE t_ts IS NOT NULL AND ({self._any()} OR s_ts = t_ts)"
        ).to_arrow_table()
        found = part.versions(asked)
        columns = {f"k_{i}": found.column(name) for i, name in enumerate(names)}
        columns |= {"v_ts": found.column(EVENT_TS), "v_created": found.column(CREATED_TS)}
        columns |= {f"v_{i}": found.column(f.name) for i, f in enumerate(self.features)}
        con.register("versions_in", pa.table(columns))
        con.execute("CREATE TEMP TABLE versions AS SELECT * FROM versions_in")

    def _any(self) -> str:
        return "(" + (" OR ".join(f"d_{i}" for i in range(len(self.features))) or "false") + ")"

    def _on(self, left: str, right: str) -> str:
        pairs = [f"{left}.k_{i} = {right}.k_{i}" for i in range(len(self.projection.view.join_keys))]
        return " AND ".join([*pairs, "true"])

    def _classify(self, con: duckdb.DuckDBPyConnection) -> None:
        """``diff``: rows with a cause. See docs/checks.md for what each case says."""
        keys = "".join(f"k_{i}, " for i in range(len(self.projection.view.join_keys)))
        spans = ", ".join(f"(TIMESTAMPTZ '{a.isoformat()}', TIMESTAMPTZ '{b.isoformat()}')" for a, b in self.windows)
        windows = f"(VALUES {spans}) w(a, b)" if spans else "(SELECT NULL::TIMESTAMPTZ a, NULL::TIMESTAMPTZ b) w"
        due = f"(SELECT max(w.b) FROM {windows} WHERE w.b <= c.as_of AND c.t_ts BETWEEN w.a AND w.b)"
        corrupt = " OR ".join(f"c_{i} = 0" for i in range(len(self.features))) or "false"
        con.execute(f"""CREATE TEMP TABLE diff AS SELECT *, CASE
                WHEN s_ts > as_of THEN '{Cause.SERVED_BEFORE_KNOWN}'
                WHEN s_ts = t_ts AND first_created > as_of AND NOT {self._any()} THEN '{_CREATED_LATER}'
                WHEN NOT {self._any()} THEN NULL
                WHEN {corrupt} OR s_ts = t_ts THEN '{CELL_LEVEL}'
                WHEN s_live AND (t_ts IS NULL OR s_ts > t_ts) THEN '{Cause.AHEAD_OF_OFFLINE}'
                WHEN due IS NULL THEN '{Cause.NOT_MATERIALIZED}'
                WHEN last_created > due THEN '{Cause.LATE_ARRIVAL}'
                WHEN s_ts IS NULL THEN '{Cause.MISSING_ONLINE}'
                ELSE '{Cause.OUT_OF_ORDER_WRITE}' END AS cause
            FROM (SELECT c.*, v.first_created, v.last_created, {due} AS due FROM cmp c LEFT JOIN (
                SELECT {keys}v_ts, min(v_created) AS first_created, max(v_created) AS last_created FROM versions
                GROUP BY {keys}v_ts) v ON v.v_ts = c.t_ts AND {self._on("c", "v")})""")
        con.execute("DELETE FROM diff WHERE cause IS NULL")

    def _take(self, con: duckdb.DuckDBPyConnection) -> None:
        """Keep what the findings are made of."""
        self.compared += con.execute("SELECT count(*) FROM cmp").fetchall()[0][0]
        for cause, count in con.execute(
            f"SELECT cause, count(*) FROM diff WHERE cause <> '{CELL_LEVEL}' GROUP BY 1 ORDER BY 1"
        ).fetchall():
            self.causes[cause] += count
            self._count_cells(con, cause)
            self._keep_samples(con, cause, None, f"cause = '{cause}'")
        for index, feature in enumerate(self.features):
            self._measure(con, index, feature)
            where = f"cause = '{CELL_LEVEL}' AND d_{index}"
            cells = self._differing(con, index, where)
            if cells.num_rows:
                self.cells.setdefault(index, []).append(cells)
                self._keep_samples(con, "cells", index, where)

    def _count_cells(self, con: duckdb.DuckDBPyConnection, cause: str) -> None:
        counts = ", ".join(f"count(*) FILTER (WHERE d_{i})" for i in range(len(self.features)))
        if counts:
            row = con.execute(f"SELECT {counts} FROM diff WHERE cause = '{cause}'").fetchall()[0]
            found = self.by_cause.setdefault(cause, Counter())
            found.update({f.name: n for f, n in zip(self.features, row, strict=True) if n})

    def _differing(self, con: duckdb.DuckDBPyConnection, index: int, where: str) -> pa.Table:
        same = self.equal(index, f"v.v_{index}", f"d.s_{index}")
        lost = f"EXISTS (SELECT 1 FROM versions v WHERE v.v_ts = d.s_ts AND {self._on('v', 'd')} AND {same})"
        state = f"CASE c_{index} WHEN 0 THEN 'corrupt' WHEN 1 THEN 'value' WHEN 3 THEN 'absent' ELSE 'null' END"
        return con.execute(
            f"SELECT n, t_{index} AS offline, s_{index} AS online, {state} AS state, {lost} AS superseded "
            f"FROM diff d WHERE {where} ORDER BY n"
        ).to_arrow_table()

    def _measure(self, con: duckdb.DuckDBPyConnection, index: int, feature: FieldDef) -> None:
        t, s = f"t_{index}", f"s_{index}"
        both, offline, served = con.execute(
            f"SELECT count(*) FILTER ({t} IS NULL AND {s} IS NULL), count(*) FILTER ({t} IS NULL AND {s} IS NOT NULL), "
            f"count(*) FILTER ({t} IS NOT NULL AND {s} IS NULL) FROM cmp WHERE c_{index} IS NOT NULL"
        ).fetchall()[0]
        self.nulls.setdefault(feature.name, Counter()).update(both=both, offline_only=offline, served_only=served)
        if feature.dtype in dtypes.NUMBERS:
            total = self.errors.setdefault(feature.name, [0.0, 0.0])
            a, b = f"{t}::DOUBLE", f"{s}::DOUBLE"
            error = f"CASE WHEN {a} = {b} THEN 0 ELSE 2 * abs({a} - {b}) / (abs({a}) + abs({b})) END"
            finite = f"isfinite({a}) AND isfinite({b})"
            count, error_sum = con.execute(
                f"SELECT count(*) FILTER ({finite}), coalesce(sum({error}) FILTER ({finite}), 0) FROM cmp"
            ).fetchall()[0]
            total[0] += count
            total[1] += error_sum

    def _keep_samples(self, con: duckdb.DuckDBPyConnection, what: str, index: int | None, where: str) -> None:
        name = what if index is None else f"{what}/{index}"
        kept = self.samples.setdefault(name, [])
        if len(kept) >= SAMPLES:
            return
        indexes = range(len(self.features)) if index is None else (index,)
        first = {side: first_that_differs({i: f"{side}_{i}::VARCHAR" for i in indexes}) for side in ("t", "s")}
        label = first_that_differs({i: f"'{i}'" for i in indexes})
        keys = "".join(f"k_{i}, " for i in range(len(self.projection.view.join_keys)))
        rows = con.execute(
            f"SELECT {keys}n, {label} AS feature, {first['t']} AS offline, {first['s']} AS served, t_ts, s_ts, as_of, "
            f"request_id FROM diff WHERE {where} ORDER BY n LIMIT {SAMPLES - len(kept)}"
        ).to_arrow_table()
        for row in rows.to_pylist():
            kept.append(
                {
                    "n": row["n"],
                    "entity": {k.name: plain(row[f"k_{i}"]) for i, k in enumerate(self.projection.view.join_keys)},
                    "feature": None if row["feature"] is None else self.features[int(row["feature"])].name,
                    "offline": row["offline"],
                    "online": row["served"],
                    "offline_event_timestamp": plain(row["t_ts"]),
                    "online_event_timestamp": plain(row["s_ts"]),
                    "as_of": plain(row["as_of"]),
                    "request_id": row["request_id"],
                }
            )

    @property
    def created_tells(self) -> bool:
        """Do created timestamps tell what was known? Not where a load stamped most rows after they were served."""
        return self.causes[_CREATED_LATER] * 2 <= self.compared

    # -- at the end ---------------------------------------------------------------------------------------------------

    def findings(self) -> list[Finding]:
        """What differs, and why."""
        found = []
        for cause, count in self.causes.most_common():
            if cause != _CREATED_LATER:
                evidence: dict[str, Any] = {"cells": dict(self.by_cause[cause])}
                found.append(self._finding(Cause(cause), None, count, evidence, self.samples[cause]))
            elif self.created_tells:
                evidence = {"offline_row_was": "created after the moment that it was served for"}
                found.append(
                    self._finding(Cause.SERVED_BEFORE_KNOWN, None, count, evidence, self.samples[_CREATED_LATER])
                )
        for index, parts in sorted(self.cells.items()):
            found += self._cell_findings(index, pa.concat_tables(parts))
        return found

    def _cell_findings(self, index: int, cells: pa.Table) -> list[Finding]:
        superseded = np.asarray(cells.column("superseded").combine_chunks().to_numpy(zero_copy_only=False), dtype=bool)
        differing = DifferingCells(
            dtype=self.features[index].dtype,
            offline=cells.column("offline").combine_chunks(),
            online=cells.column("online").combine_chunks(),
            states=np.array(cells.column("state").to_pylist(), dtype=np.str_),
            superseded=superseded,
            created_late=np.zeros(len(superseded), dtype=bool),
            rows=self.compared,
        )
        merged: dict[Cause, tuple[int, dict[str, Any]]] = {}
        for item in explain(differing):
            count, evidence = merged.get(item.cause, (0, item.evidence))
            merged[item.cause] = count + int(item.mask.sum()), evidence
        name = self.features[index].name
        samples = self.samples[f"cells/{index}"]
        return [self._finding(cause, name, count, evidence, samples) for cause, (count, evidence) in merged.items()]

    def _finding(
        self, cause: Cause, feature: str | None, count: int, evidence: Mapping[str, Any], samples: Sequence[Any]
    ) -> Finding:
        low, high = wilson_interval(count, self.compared)
        where = self.projection.name if feature is None else f"{self.projection.name}.{feature}"
        info = CATALOGUE[cause]
        return Finding(
            check=CHECK,
            cause=cause,
            view=self.projection.name,
            feature=feature,
            count=count,
            compared=self.compared,
            ci_low=low,
            ci_high=high,
            message=f"{where}: {count:,} of {self.compared:,} served rows {info.says}",
            evidence=evidence,
            samples=tuple({name: value for name, value in sample.items() if name != "n"} for sample in samples),
            advice=info.advice,
        )

    def details(self) -> dict[str, Any]:
        """Per feature: nulls on both sides and on one, the mean error of numbers, the mean edit distance of lists."""
        found: dict[str, Any] = {}
        for index, feature in enumerate(self.features):
            measures: dict[str, Any] = {"nulls": dict(self.nulls.get(feature.name, {}))}
            if feature.name in self.errors:
                count, total = self.errors[feature.name]
                measures["smape"] = total / count if count else None
            if dtypes.is_list(feature.dtype) and self.compared:
                cells = pa.concat_tables(self.cells[index]) if index in self.cells else None
                measures["edit_distance"] = self._edits(cells) / self.compared
            found[feature.name] = measures
        return {"compared": self.compared, "created_timestamps_tell": self.created_tells, "features": found}

    @staticmethod
    def _edits(cells: pa.Table | None) -> float:
        """Edit operations over all differing lists, scaled up where there are more than are counted."""
        if cells is None or not cells.num_rows:
            return 0.0
        some = cells.slice(0, _EDITED)
        pairs = zip(some.column("offline").to_pylist(), some.column("online").to_pylist(), strict=True)
        edits = sum(edit_distance(a or [], b or []) for a, b in pairs)
        return edits * (int(cells.num_rows) / int(some.num_rows))


def edit_distance(left: Sequence[Any], right: Sequence[Any]) -> int:
    """Insertions and deletions that turn one list into the other (a replaced element costs two)."""
    before = list(range(len(right) + 1))
    for i, a in enumerate(left, start=1):
        row = [i]
        for j, b in enumerate(right, start=1):
            row.append(before[j - 1] if a == b else 1 + min(before[j], row[j - 1]))
        before = row
    return before[-1]
