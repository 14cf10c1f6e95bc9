"""The value-by-value comparison of one view, as SQL over Arrow tables; the parity check turns it into findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from skewguard.causes.equality import equal_sql
from skewguard.causes.keys import DIFFERENCE, STORED
from skewguard.causes.relation import MIN_CELLS, SHARE, Integers
from skewguard.causes.rows import CELL_LEVEL, live_sql, row_cause_sql
from skewguard.causes.windows import Windows
from skewguard.compare.same import Mask, mask, same_rows
from skewguard.compare.sides import Chunk, ViewSides
from skewguard.compare.totals import Totals
from skewguard.config import Tolerance
from skewguard.definitions import FieldDef
from skewguard.findings import Cause
from skewguard.offline.sources import connect
from skewguard.sql import (
    CELL_STATES,
    CREATED_TS,
    EVENT_TS,
    ROW_STATE,
    STATE_PREFIX,
    first_that_differs,
    literal,
    moment,
    quote,
)

POPULATION = 20_000
"""So many offline values of a feature at most are shown to the cell rules, evenly over all compared rows."""
_PLACE = "__place"
_QUARTER, _ZONES = 15 * 60 * 1_000_000, 26 * 4
"""Microseconds; time zones lie whole quarters of an hour apart, and at most 26 hours."""


class Comparison:
    """One view, compared chunk by chunk: table ``diff`` keeps the rows where anything differs, with the row's cause.

    A row of ``diff`` is an entity, with t_i (offline truth inside its TTL), e_i (what was due at the watermark), o_i
    and s_i (online, and its state) for feature i; ``d_i`` says that feature i differs from the offline truth. Columns
    are numbered (k_i the join keys), so that no name of a repository can meet one of ours. What does not differ is
    counted, and forgotten.
    """

    def __init__(
        self, sides: ViewSides, tolerance: Callable[[FieldDef], Tolerance], memory_limit: str | None = None
    ) -> None:
        self.sides = sides
        self.keys = [key.name for key in sides.view.join_keys]
        self.indexes = range(len(sides.features))
        self.con = connect(memory_limit)
        self._tolerance = tolerance
        self._populations: dict[str, pa.Array] = {}
        self._windows = Windows(sides.windows, sides.watermark)
        try:
            self.totals = self._load()
            self._classify()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Free the comparison's memory, and the offline rows."""
        self.con.close()
        self.sides.rows.close()

    def equal(self, index: int, offline: str, online: str) -> str:
        """The equality of feature ``index`` as SQL."""
        feature = self.sides.features[index]
        return equal_sql(feature.dtype, offline, online, self._tolerance(feature))

    def join_on(self, left: str, right: str) -> str:
        """Equal join keys of two relations of this comparison, as SQL."""
        return " AND ".join(f"{left}.k_{i} = {right}.k_{i}" for i in range(len(self.keys))) or "true"

    def key_columns(self, relation: str) -> str:
        """The join keys of a relation under their own names, each followed by a comma."""
        return "".join(f"{relation}.k_{i} AS {quote(name)}, " for i, name in enumerate(self.keys))

    def _register(self, name: str, tables: Mapping[str, pa.Table]) -> None:
        """Tables of the same rows as one relation with numbered columns: k_i, and by prefix p: p_i, p_ts, p_created."""
        columns: dict[str, Any] = {}
        for prefix, table in tables.items():
            names = table.column_names
            for i, key in enumerate(self.keys):
                if key in names and f"k_{i}" not in columns:
                    columns[f"k_{i}"] = table.column(key)
            for i, feature in enumerate(self.sides.features):
                if feature.name in names:
                    columns[f"{prefix}_{i}"] = table.column(feature.name)
                if STATE_PREFIX + feature.name in names:
                    columns[f"s_{i}"] = table.column(STATE_PREFIX + feature.name)
            for own, ours in ((EVENT_TS, f"{prefix}_ts"), (CREATED_TS, f"{prefix}_created"), (ROW_STATE, "state")):
                if own in names:
                    columns[ours] = table.column(own)
            if _PLACE in names:
                columns["row_id"] = table.column(_PLACE)
        self.con.register(name, pa.table(columns))

    def _load(self) -> Totals:
        """Compare every chunk: ``bad`` gets the rows where anything differs, the rest is counted."""
        totals = Totals(self.sides.features, self.sides.rows)
        self.con.execute(f"CREATE TYPE cell_state AS ENUM ({', '.join(map(literal, CELL_STATES))})")
        self._stamped_later = self._late_runs = 0
        for number, chunk in enumerate(self.sides.rows.chunks()):
            live = self._live(chunk.truth)
            same = same_rows(chunk, self.sides.features) & live
            self._compare(chunk, np.flatnonzero(~same), totals.rows, "INSERT INTO" if number else "CREATE TEMP TABLE")
            late = f"created > {moment(self.sides.watermark)} AND t_ts <= {moment(self.sides.watermark)}"
            self._stamped_later += int((same & self._mask(chunk.truth, late)).sum())
            self._count_runs(chunk.truth.column(EVENT_TS), chunk.truth.column(CREATED_TS), same)
            totals.add(chunk, live)
        self.con.execute("DROP TABLE cmp")
        return totals

    def _count_runs(self, event: pa.ChunkedArray, created: pa.ChunkedArray, right: Mask) -> None:
        """After how many runs was a row created at most that is rightly online: so late do rows come as a rule."""
        runs = self._windows.runs(_micros(event)[right], _micros(created)[right])
        self._late_runs = max(self._late_runs, int(runs.max(initial=0)))

    def corrected(self, cells: pa.Table) -> Mask:
        """Of differing cells: those whose offline row was created after its event timestamp had been materialized, and
        more runs later than any row that is rightly online.
        """
        runs = self._windows.runs(_micros(cells.column("event")), _micros(cells.column("created")))
        later: Mask = runs > self._late_runs
        return later

    def _live(self, truth: pa.Table) -> Mask:
        return self._mask(truth, live_sql("t_ts", self.sides.view.ttl, self.sides.as_of))

    def _mask(self, truth: pa.Table, condition: str) -> Mask:
        """Where a condition on ``t_ts`` and ``created`` holds."""
        self.con.register("stamps", pa.table({"t_ts": truth.column(EVENT_TS), "created": truth.column(CREATED_TS)}))
        return mask(self.table(f"SELECT {condition} FROM stamps").column(0))

    def _compare(self, chunk: Chunk, places: Integers, first: int, verb: str) -> None:
        """Put those of some rows of a chunk that differ by the rules into ``bad``; they are numbered from ``first``."""
        rows = pa.array(places)
        truth, online = (t if len(places) == t.num_rows else t.take(rows) for t in (chunk.truth, chunk.online))
        self._register("both_in", {"t": truth.append_column(_PLACE, pa.array(places + first)), "o": online})
        self._register("e_in", {"e": chunk.expected})
        self.con.execute(f"CREATE OR REPLACE TEMP TABLE cmp AS {self._compared()}")
        self.con.execute(
            f"{verb} bad {'AS ' if verb.startswith('CREATE') else ''}"
            f"SELECT *, ({self._bad}) AS differs, ({self._restamped}) AS restamped FROM cmp WHERE differs OR restamped"
        )
        late = f"e_created > {moment(self.sides.watermark)}"
        equal = f"state = 'present' AND o_ts = e_ts AND {late} AND NOT ({self._any_differs})"
        self._stamped_later += self.scalar(f"SELECT count(*) FROM cmp WHERE {equal}")
        right = self.table(f"SELECT t_ts, t_created FROM cmp WHERE o_ts = t_ts AND NOT ({self._bad})")
        self._count_runs(right.column("t_ts"), right.column("t_created"), np.ones(right.num_rows, dtype=bool))

    @property
    def _any_differs(self) -> str:
        return " OR ".join(f"d_{i}" for i in self.indexes) or "false"

    @property
    def _bad(self) -> str:
        """Does anything of a row differ?"""
        any_value = " OR ".join(f"t_{i} IS NOT NULL" for i in self.indexes) or "false"
        live = live_sql("o_ts", self.sides.view.ttl, self.sides.as_of)
        stale = f"state = 'present' AND NOT {live} AND ({any_value})"
        return f"{self._any_differs} OR (t_live AND (state <> 'present' OR ({stale})))"

    @property
    def _restamped(self) -> str:
        """Is it the row that is due, under another event timestamp?"""
        same = " AND ".join(f"{self.equal(i, f'e_{i}', f'o_{i}')}" for i in self.indexes) or "false"
        other = "o_ts IS DISTINCT FROM t_ts AND o_ts IS DISTINCT FROM e_ts"
        return f"coalesce(state = 'present' AND o_ts IS NOT NULL AND e_ts IS NOT NULL AND {other} AND {same}, false)"

    def _compared(self) -> str:
        """The rows of a chunk as SQL."""
        moved = f"t_ts > {moment(self.sides.watermark)}"  # what lies before the watermark is what was due there
        due = "".join(
            f", CASE WHEN {moved} THEN e.e_{name} ELSE t_{name} END AS e_{name}"
            for name in ("ts", "created", *self.indexes)
        )
        cells = "".join(f", CASE WHEN t_live THEN t_{i} END AS t_{i}, o_{i}, s_{i}" for i in self.indexes)
        differs = "".join(
            f", (t_live OR state = 'present') "
            f"AND (s_{i} = 'corrupt' OR NOT {self.equal(i, f't_{i}', f'o_{i}')}) AS d_{i}"
            for i in self.indexes
        )
        keys = "".join(f"b.k_{i}, " for i in range(len(self.keys)))
        live = live_sql("t_ts", self.sides.view.ttl, self.sides.as_of)
        return f"""SELECT *{differs} FROM (
            SELECT b.row_id, {keys}t_ts, t_created, t_live, o_ts, state{cells}{due}
            FROM (SELECT *, {live} AS t_live FROM both_in) b LEFT JOIN e_in e ON {self.join_on("b", "e")})"""

    def _classify(self) -> None:
        sides = self.sides
        keys = self.key_columns("bad")
        differing = self.table(f"SELECT {keys or '1 AS one, '} FROM bad".replace(",  FROM", " FROM"))
        observed = self.table(f"SELECT {keys}o_ts AS {EVENT_TS} FROM bad WHERE o_ts IS NOT NULL")
        missing = self.table(f"SELECT {keys}1 AS one FROM bad WHERE t_live AND state <> 'present'")
        outside = sides.listing.outside(missing.select(self.keys))
        self.orphans = outside.orphans
        self._register("known", {"k": sides.evidence.known(differing)})
        self._register("at_o", {"m": sides.evidence.exists(observed)})
        self._register("lost", {"l": sides.evidence.superseded(differing)})
        self._register_twins(outside.twins)
        self._register_covered()
        # Not where rows created after the watermark are rightly online: a backfill or a load stamped them.
        self.created_tells = self._stamped_later == 0
        k_ts = "k.k_ts" if self.created_tells else "c.e_ts"
        same = " AND ".join(
            f"(NOT d_{i} OR (s_{i} <> 'corrupt' AND {self.equal(i, f'e_{i}', f'o_{i}')}))" for i in self.indexes
        )
        cause = row_cause_sql(sides.view.ttl, sides.as_of, sides.watermark)
        self.con.execute(f"""CREATE TEMP TABLE diff AS SELECT *, {cause} AS cause FROM (
            SELECT c.*, ({same or "true"}) AS e_same, {k_ts} AS k_ts, w.stored IS NOT NULL AS twin, v.covered,
                w.stored AS twin_stored, w.difference AS twin_difference,
                EXISTS (SELECT 1 FROM at_o m WHERE m.m_ts = c.o_ts AND {self.join_on("c", "m")}) AS o_known
            FROM bad c LEFT JOIN known k ON {self.join_on("c", "k")}
            LEFT JOIN twins w ON {self.join_on("c", "w")} JOIN covered v ON v.row_id = c.row_id)""")
        self.con.execute("DROP TABLE bad")
        self.shift = self._shifted()

    def _shifted(self) -> dict[str, Any]:
        """Rows of several moments under event timestamps that are all off by one number of quarters of an hour.

        Those that offline has a row at are not: a row of then is there. Where it holds for nearly all rows with a
        timestamp that offline does not know, they get their cause; the evidence is given, else nothing.
        """
        off = "epoch_us(o_ts) - epoch_us(e_ts)"
        strange = "state = 'present' AND NOT o_known AND o_ts IS DISTINCT FROM t_ts AND o_ts IS DISTINCT FROM e_ts"
        found = self.con.execute(
            f"SELECT {off} AS off, count(*) AS n, count(DISTINCT e_ts) FROM diff WHERE restamped AND NOT o_known "
            "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1"
        ).fetchone()
        shift: dict[str, Any] = {}
        if found is not None:
            total = self.scalar(f"SELECT count(*) FROM diff WHERE {strange}")
            quarters, rest = divmod(found[0], _QUARTER)
            # of rows of one moment, written again an hour later, as a stream does, every one is off by the same
            if rest == 0 and abs(quarters) <= _ZONES and found[2] >= MIN_CELLS and found[1] >= SHARE * total:
                self.con.execute(
                    f"UPDATE diff SET cause = '{Cause.TIMEZONE_SHIFT.value}' "
                    f"WHERE restamped AND NOT o_known AND {off} = {found[0]}"
                )
                shift = {"minutes": quarters * 15, "share": round(found[1] / total, 4), "what": "event timestamps"}
        self.con.execute(
            f"DELETE FROM diff WHERE NOT differs AND cause IS DISTINCT FROM '{Cause.TIMEZONE_SHIFT.value}'"
        )
        return shift

    def _register_twins(self, twins: pa.Table) -> None:
        columns = {f"k_{i}": twins.column(name) for i, name in enumerate(self.keys)}
        self.con.register(
            "twins", pa.table({**columns, "stored": twins.column(STORED), "difference": twins.column(DIFFERENCE)})
        )

    def _register_covered(self) -> None:
        due = self.table("SELECT row_id, e_ts FROM bad")
        covered = pa.array(self._windows.hold(_micros(due.column("e_ts"))))
        self.con.register("covered", pa.table({"row_id": due.column("row_id"), "covered": covered}))

    def scalar(self, sql: str) -> Any:
        """The first value of a query over ``diff``."""
        row = self.con.execute(sql).fetchone()
        return row[0] if row else None

    def table(self, sql: str) -> pa.Table:
        """A query's result over ``diff``."""
        return self.con.execute(sql).to_arrow_table()

    def row_causes(self) -> Iterator[tuple[str, int]]:
        """Row-level causes with their number of rows."""
        yield from self.con.execute(
            f"SELECT cause, count(*) FROM diff WHERE cause <> '{CELL_LEVEL}' GROUP BY 1 ORDER BY 2 DESC, 1"
        ).fetchall()

    def cell_counts(self, where: str) -> dict[str, int]:
        """Differing cells per feature over the rows of ``diff`` where the condition holds."""
        counts = ", ".join(f"count(*) FILTER (WHERE d_{i})" for i in range(len(self.sides.features)))
        row = self.con.execute(f"SELECT {counts} FROM diff WHERE {where}").fetchone() if counts else ()
        return {f.name: n for f, n in zip(self.sides.features, row or (), strict=True) if n}

    def differing_cells(self, index: int) -> pa.Table:
        """The cells of one feature that differ though both sides hold the same row.

        Columns: row_id, offline, online, state, superseded, created_late, stale (the online cell is what was due at
        the watermark; offline has moved on since), event (the online row's timestamp), created (the offline row's).
        """
        same_row = f"l.l_ts = o_ts AND {self.join_on('l', 'd')}"
        equal_lost = self.equal(index, f"l.l_{index}", f"o_{index}")
        watermark = f"TIMESTAMPTZ '{self.sides.watermark.isoformat()}'"
        late = f"created > {watermark} AND o_ts <= {watermark}" if self.created_tells else "false"
        return self.table(f"""SELECT row_id, offline, o_{index} AS online, s_{index}::VARCHAR AS state,
                EXISTS (SELECT 1 FROM lost l WHERE {same_row} AND {equal_lost}) AS superseded,
                coalesce({late}, false) AS created_late,
                (o_ts IS DISTINCT FROM t_ts AND s_{index} <> 'corrupt' AND {self.equal(index, "offline", f"o_{index}")})
                    AS stale, o_ts AS event, created
            FROM (SELECT *, CASE WHEN o_ts = t_ts THEN t_{index} ELSE e_{index} END AS offline,
                    CASE WHEN o_ts = t_ts THEN t_created ELSE e_created END AS created
                FROM diff WHERE cause = '{CELL_LEVEL}' AND d_{index}) d ORDER BY row_id""")

    def population(self, column: str) -> pa.Array:
        """Offline values of a join key or feature inside the TTL, from about ``POPULATION`` of the compared rows."""
        if column not in self._populations:
            self._populations[column] = self.sides.rows.values(column, POPULATION)
        return self._populations[column]

    def samples(self, row_ids: Sequence[int], index: int | None) -> pa.Table:
        """Keys, both values and both timestamps of some rows; of feature ``index``, or the first that differs."""
        features = self.sides.features
        chosen = range(len(features)) if index is None else (index,)
        first = {side: first_that_differs({i: f"{side}_{i}::VARCHAR" for i in chosen}) for side in ("t", "o")}
        name = first_that_differs({i: literal(features[i].name) for i in chosen})
        pick = f"{name} AS feature, {first['t']} AS offline, {first['o']} AS online"
        keys = "".join(f"k_{i}, " for i in range(len(self.keys)))
        ids = ", ".join(str(int(i)) for i in row_ids) or "NULL"
        return self.table(
            f"SELECT {keys}{pick}, state, t_ts AS offline_ts, o_ts AS online_ts FROM diff "
            f"WHERE row_id IN ({ids}) ORDER BY row_id"
        )


def _micros(stamps: pa.ChunkedArray) -> Integers:
    """Timestamps as microseconds since 1970; null is before all of them."""
    whole = stamps.combine_chunks().cast(pa.int64()).fill_null(-(2**63))
    return np.asarray(whole.to_numpy(zero_copy_only=False), dtype=np.int64)
