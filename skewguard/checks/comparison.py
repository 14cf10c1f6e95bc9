"""The value-by-value comparison of one view, as SQL over Arrow tables; the parity check turns it into findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import duckdb
import pyarrow as pa

from skewguard.causes.equality import equal_sql
from skewguard.causes.rows import CELL_LEVEL, live_sql, row_cause_sql
from skewguard.config import Tolerance
from skewguard.definitions import FieldDef, ViewDef

EVENT_TS, CREATED_TS, ROW_STATE = "__event_ts", "__created_ts", "__row_state"
ROW = "__row"


class OfflineEvidence(Protocol):
    """What the classification asks of the offline store, for the differing entities only.

    ``keys`` holds the join-key columns of the view, one row an entity.
    """

    def known(self, keys: pa.Table) -> pa.Table:
        """Join keys and ``__event_ts``: the latest row at or before the watermark that was created by then."""
        ...

    def newest(self, keys: pa.Table) -> pa.Table:
        """Join keys and ``__event_ts``: the latest row of all time."""
        ...

    def superseded(self, keys: pa.Table) -> pa.Table:
        """Join keys, features, ``__event_ts``: rows that lost a created-timestamp tie at their event timestamp."""
        ...


@dataclass(frozen=True)
class ViewSides:
    """Both sides of one view.

    ``truth``: latest offline row per entity at or before the as-of time (join keys, features, ``__event_ts``,
    ``__created_ts``), TTL not applied. ``expected``: the same at the watermark. ``online``: what the store holds for
    the entities of ``truth``, row by row (features, ``__event_ts``, ``__row_state``, ``__state__<feature>``).
    ``orphans``: online rows whose entity has no offline row, with their join keys.
    """

    view: ViewDef
    features: tuple[FieldDef, ...]
    as_of: datetime
    watermark: datetime
    truth: pa.Table
    expected: pa.Table
    online: pa.Table
    orphans: pa.Table
    evidence: OfflineEvidence


def quote(name: str) -> str:
    """A SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


class Comparison:
    """One view, compared: table ``cmp`` has a row an entity, with t_i, e_i, o_i, s_i, d_i for feature i.

    ``d_i`` says that feature i differs from the offline truth; ``cause`` is the row's cause where anything differs.
    """

    def __init__(self, sides: ViewSides, tolerance: Callable[[str], Tolerance]) -> None:
        self.sides = sides
        self.keys = [key.name for key in sides.view.join_keys]
        self.con = duckdb.connect()
        self.con.execute("SET TimeZone = 'UTC'")
        self._tolerance = tolerance
        self._load()
        self._classify()

    def close(self) -> None:
        """Free the comparison's memory."""
        self.con.close()

    def equal(self, index: int, offline: str, online: str) -> str:
        """The equality of feature ``index`` as SQL."""
        feature = self.sides.features[index]
        return equal_sql(feature.dtype, offline, online, self._tolerance(feature.name))

    def _join_on(self, left: str, right: str) -> str:
        return " AND ".join(f"{left}.{quote(k)} = {right}.{quote(k)}" for k in self.keys) or "true"

    def _load(self) -> None:
        sides = self.sides
        number = pa.array(range(sides.truth.num_rows), pa.int64())
        self.con.register("t_in", sides.truth.append_column(ROW, number))
        self.con.register("o_in", sides.online.append_column(ROW, number))
        self.con.register("e_in", sides.expected)
        keys = "".join(f"t.{quote(k)}, " for k in self.keys)
        cells = "".join(
            f", CASE WHEN t_live THEN t.{quote(f.name)} END AS t_{i}, e.{quote(f.name)} AS e_{i}, "
            f"o.{quote(f.name)} AS o_{i}, o.{quote('__state__' + f.name)} AS s_{i}"
            for i, f in enumerate(sides.features)
        )
        differs = "".join(
            f", (t_live OR state = 'present') "
            f"AND (s_{i} = 'corrupt' OR NOT {self.equal(i, f't_{i}', f'o_{i}')}) AS d_{i}"
            for i in range(len(sides.features))
        )
        live = live_sql(f"t.{EVENT_TS}", sides.view.ttl, sides.as_of)
        self.con.execute(f"""CREATE TEMP TABLE cmp AS SELECT *{differs} FROM (
            SELECT t.{ROW} AS row_id, {keys}t.{EVENT_TS} AS t_ts, t.{CREATED_TS} AS t_created, {live} AS t_live,
                e.{EVENT_TS} AS e_ts, e.{CREATED_TS} AS e_created, o.{EVENT_TS} AS o_ts, o.{ROW_STATE} AS state{cells}
            FROM t_in t JOIN o_in o USING ({ROW}) LEFT JOIN e_in e ON {self._join_on("t", "e")})""")

    def _classify(self) -> None:
        any_differs = " OR ".join(f"d_{i}" for i in range(len(self.sides.features))) or "false"
        keys = ", ".join(["row_id", *(quote(k) for k in self.keys)])
        self.con.execute(
            f"CREATE TEMP TABLE bad AS SELECT {keys} FROM cmp WHERE {any_differs} OR (t_live AND state <> 'present')"
        )
        entities = self.con.execute("SELECT * EXCLUDE (row_id) FROM bad" if self.keys else "SELECT 1 AS one FROM bad")
        differing = entities.to_arrow_table()
        evidence = self.sides.evidence
        for name, ask in (("known", evidence.known), ("newest", evidence.newest), ("lost", evidence.superseded)):
            self.con.register(name, ask(differing))
        cause = row_cause_sql(self.sides.view.ttl, self.sides.as_of, self.sides.watermark)
        same = " AND ".join(
            f"(NOT d_{i} OR (s_{i} <> 'corrupt' AND {self.equal(i, f'e_{i}', f'o_{i}')}))"
            for i in range(len(self.sides.features))
        )
        self.con.execute(f"""CREATE TEMP TABLE diff AS SELECT *, {cause} AS cause FROM (
            SELECT c.*, ({same or "true"}) AS e_same, k.{EVENT_TS} AS k_ts, m.{EVENT_TS} AS m_ts
            FROM cmp c JOIN bad b ON c.row_id = b.row_id
            LEFT JOIN known k ON {self._join_on("c", "k")} LEFT JOIN newest m ON {self._join_on("c", "m")})""")

    def scalar(self, sql: str) -> Any:
        """The first value of a query over ``cmp`` and ``diff``."""
        row = self.con.execute(sql).fetchone()
        return row[0] if row else None

    def table(self, sql: str) -> pa.Table:
        """A query's result over ``cmp`` and ``diff``."""
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
        the watermark; offline has moved on since).
        """
        same_row = f"l.{EVENT_TS} = o_ts AND {self._join_on('l', 'd')}"
        equal_lost = self.equal(index, f"l.{quote(self.sides.features[index].name)}", f"o_{index}")
        wm = f"TIMESTAMPTZ '{self.sides.watermark.isoformat()}'"
        return self.table(f"""SELECT row_id, offline, o_{index} AS online, s_{index} AS state,
                EXISTS (SELECT 1 FROM lost l WHERE {same_row} AND {equal_lost}) AS superseded,
                coalesce(created > {wm}, false) AS created_late,
                (o_ts IS DISTINCT FROM t_ts AND s_{index} <> 'corrupt' AND {self.equal(index, "offline", f"o_{index}")})
                    AS stale
            FROM (SELECT *, CASE WHEN o_ts = t_ts THEN t_{index} ELSE e_{index} END AS offline,
                    CASE WHEN o_ts = t_ts THEN t_created ELSE e_created END AS created
                FROM diff WHERE cause = '{CELL_LEVEL}' AND d_{index}) d ORDER BY row_id""")

    def samples(self, row_ids: Sequence[int], index: int | None) -> pa.Table:
        """Keys, both values and both timestamps of some rows; of feature ``index``, or the first that differs."""
        features = self.sides.features
        chosen = range(len(features)) if index is None else (index,)
        first = {side: _first({i: f"{side}_{i}::VARCHAR" for i in chosen}) for side in ("t", "o")}
        name = _first({i: _literal(features[i].name) for i in chosen})
        pick = f"{name} AS feature, {first['t']} AS offline, {first['o']} AS online"
        keys = "".join(f"{quote(k)}, " for k in self.keys)
        ids = ", ".join(str(int(i)) for i in row_ids) or "NULL"
        return self.table(
            f"SELECT {keys}{pick}, state, t_ts AS offline_ts, o_ts AS online_ts FROM diff "
            f"WHERE row_id IN ({ids}) ORDER BY row_id"
        )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _first(values: Mapping[int, str]) -> str:
    """The value of the first feature that differs."""
    cases = " ".join(f"WHEN d_{i} THEN {value}" for i, value in values.items())
    return f"CASE {cases} END" if cases else "NULL"
