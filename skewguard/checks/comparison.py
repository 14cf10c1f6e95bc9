"""The value-by-value comparison of one view, as SQL over Arrow tables; the parity check turns it into findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol

import duckdb
import pyarrow as pa

from skewguard.causes.equality import equal_sql
from skewguard.causes.keys import DIFFERENCE, STORED
from skewguard.causes.relation import Integers
from skewguard.causes.rows import CELL_LEVEL, live_sql, row_cause_sql
from skewguard.config import Tolerance
from skewguard.definitions import FieldDef, ViewDef
from skewguard.sql import CREATED_TS, EVENT_TS, ROW_STATE, literal, quote


class OfflineEvidence(Protocol):
    """What the classification asks of the offline store, for the differing entities only.

    ``keys`` holds the join-key columns of the view, one row an entity.
    """

    def known(self, keys: pa.Table) -> pa.Table:
        """Join keys and ``__event_ts``: the latest row that a materialization up to the watermark could have seen."""
        ...

    def exists(self, rows: pa.Table) -> pa.Table:
        """Of ``rows`` (join keys and ``__event_ts``), those whose entity has an offline row at that very moment."""
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
    ``orphans``: online rows whose entity has no offline row, with their join keys. ``twins``: join keys of entities
    that are stored under another key that means the same, with ``__stored`` and ``__difference`` (see causes.keys).
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
    twins: pa.Table | None = None


POPULATION = 20_000
"""So many offline values of a feature at most are shown to the cell rules, evenly over all compared rows."""
_JOIN_KEY = " (join key)"


class Comparison:
    """One view, compared: table ``cmp`` has a row an entity, with t_i, e_i, o_i, s_i, d_i for feature i.

    ``d_i`` says that feature i differs from the offline truth; ``diff`` holds the rows where anything does, with the
    row's cause. Columns are numbered (k_i the join keys), so that no name of a repository can meet one of ours.
    """

    def __init__(self, sides: ViewSides, tolerance: Callable[[str], Tolerance]) -> None:
        self.sides = sides
        self.keys = [key.name for key in sides.view.join_keys]
        self.indexes = range(len(sides.features))
        self.con = duckdb.connect()
        self.con.execute("SET TimeZone = 'UTC'")
        self._tolerance = tolerance
        self._populations: dict[str, pa.Array] = {}
        self._load()
        self._classify()

    def close(self) -> None:
        """Free the comparison's memory."""
        self.con.close()

    def equal(self, index: int, offline: str, online: str) -> str:
        """The equality of feature ``index`` as SQL."""
        feature = self.sides.features[index]
        return equal_sql(feature.dtype, offline, online, self._tolerance(feature.name))

    def join_on(self, left: str, right: str) -> str:
        """Equal join keys of two relations of this comparison, as SQL."""
        return " AND ".join(f"{left}.k_{i} = {right}.k_{i}" for i in range(len(self.keys))) or "true"

    def key_columns(self, relation: str) -> str:
        """The join keys of a relation under their own names, each followed by a comma."""
        return "".join(f"{relation}.k_{i} AS {quote(name)}, " for i, name in enumerate(self.keys))

    def register(self, name: str, table: pa.Table, prefix: str) -> None:
        """A table as a relation with numbered columns: k_i, <prefix>_i, <prefix>_ts and <prefix>_created."""
        columns = {f"k_{i}": table.column(k) for i, k in enumerate(self.keys) if k in table.column_names}
        for i, feature in enumerate(self.sides.features):
            if feature.name in table.column_names:
                columns[f"{prefix}_{i}"] = table.column(feature.name)
            if f"__state__{feature.name}" in table.column_names:
                columns[f"s_{i}"] = table.column(f"__state__{feature.name}")
        for own, ours in ((EVENT_TS, f"{prefix}_ts"), (CREATED_TS, f"{prefix}_created"), (ROW_STATE, "state")):
            if own in table.column_names:
                columns[ours] = table.column(own)
        columns["row_id"] = pa.array(range(table.num_rows), pa.int64())
        self.con.register(name, pa.table(columns))

    def _load(self) -> None:
        sides = self.sides
        self.register("t_in", sides.truth, "t")
        self.register("o_in", sides.online, "o")
        self.register("e_in", sides.expected, "e")
        keys = "".join(f"t.k_{i}, " for i in range(len(self.keys)))
        cells = "".join(f", CASE WHEN t_live THEN t_{i} END AS t_{i}, e_{i}, o_{i}, s_{i}" for i in self.indexes)
        differs = "".join(
            f", (t_live OR state = 'present') "
            f"AND (s_{i} = 'corrupt' OR NOT {self.equal(i, f't_{i}', f'o_{i}')}) AS d_{i}"
            for i in self.indexes
        )
        live = live_sql("t_ts", sides.view.ttl, sides.as_of)
        self.con.execute(f"""CREATE TEMP TABLE cmp AS SELECT *{differs} FROM (
            SELECT t.row_id, {keys}t_ts, t_created, {live} AS t_live, e_ts, e_created, o_ts, state{cells}
            FROM t_in t JOIN o_in o ON t.row_id = o.row_id LEFT JOIN e_in e ON {self.join_on("t", "e")})""")

    def _classify(self) -> None:
        sides = self.sides
        any_differs = " OR ".join(f"d_{i}" for i in self.indexes) or "false"
        any_value = " OR ".join(f"t_{i} IS NOT NULL" for i in self.indexes) or "false"
        stale = f"state = 'present' AND NOT {live_sql('o_ts', sides.view.ttl, sides.as_of)} AND ({any_value})"
        self.con.execute(
            f"CREATE TEMP TABLE bad AS SELECT * FROM cmp "
            f"WHERE {any_differs} OR (t_live AND (state <> 'present' OR ({stale})))"
        )
        keys = self.key_columns("bad")
        differing = self.table(f"SELECT {keys or '1 AS one, '} FROM bad".replace(",  FROM", " FROM"))
        observed = self.table(f"SELECT {keys}o_ts AS {EVENT_TS} FROM bad WHERE o_ts IS NOT NULL")
        self.register("known", sides.evidence.known(differing), "k")
        self.register("at_o", sides.evidence.exists(observed), "m")
        self.register("lost", sides.evidence.superseded(differing), "l")
        self._register_twins(differing)
        self.created_tells = self._created_tells(any_differs)
        k_ts = "k.k_ts" if self.created_tells else "c.e_ts"
        same = " AND ".join(
            f"(NOT d_{i} OR (s_{i} <> 'corrupt' AND {self.equal(i, f'e_{i}', f'o_{i}')}))" for i in self.indexes
        )
        cause = row_cause_sql(sides.view.ttl, sides.as_of, sides.watermark)
        self.con.execute(f"""CREATE TEMP TABLE diff AS SELECT *, {cause} AS cause FROM (
            SELECT c.*, ({same or "true"}) AS e_same, {k_ts} AS k_ts, w.stored IS NOT NULL AS twin,
                w.stored AS twin_stored, w.difference AS twin_difference,
                EXISTS (SELECT 1 FROM at_o m WHERE m.m_ts = c.o_ts AND {self.join_on("c", "m")}) AS o_known
            FROM bad c LEFT JOIN known k ON {self.join_on("c", "k")}
            LEFT JOIN twins w ON {self.join_on("c", "w")})""")

    def _register_twins(self, differing: pa.Table) -> None:
        twins = self.sides.twins
        if twins is None or not self.keys:
            twins = differing.slice(0, 0)
            for name in (STORED, DIFFERENCE):
                twins = twins.append_column(name, pa.array([], pa.string()))
        columns = {f"k_{i}": twins.column(name) for i, name in enumerate(self.keys)}
        self.con.register(
            "twins", pa.table({**columns, "stored": twins.column(STORED), "difference": twins.column(DIFFERENCE)})
        )

    def _created_tells(self, any_differs: str) -> bool:
        """Do created timestamps tell what a materialization could see?

        Not where rows created after the watermark are rightly online: a backfill or a load stamped them.
        """
        after = f"e_created > TIMESTAMPTZ '{self.sides.watermark.isoformat()}'"
        sql = f"SELECT count(*) FROM cmp WHERE state = 'present' AND o_ts = e_ts AND {after} AND NOT ({any_differs})"
        return bool(self.scalar(sql) == 0)

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
        same_row = f"l.l_ts = o_ts AND {self.join_on('l', 'd')}"
        equal_lost = self.equal(index, f"l.l_{index}", f"o_{index}")
        watermark = f"TIMESTAMPTZ '{self.sides.watermark.isoformat()}'"
        late = f"created > {watermark} AND o_ts <= {watermark}" if self.created_tells else "false"
        return self.table(f"""SELECT row_id, offline, o_{index} AS online, s_{index} AS state,
                EXISTS (SELECT 1 FROM lost l WHERE {same_row} AND {equal_lost}) AS superseded,
                coalesce({late}, false) AS created_late,
                (o_ts IS DISTINCT FROM t_ts AND s_{index} <> 'corrupt' AND {self.equal(index, "offline", f"o_{index}")})
                    AS stale
            FROM (SELECT *, CASE WHEN o_ts = t_ts THEN t_{index} ELSE e_{index} END AS offline,
                    CASE WHEN o_ts = t_ts THEN t_created ELSE e_created END AS created
                FROM diff WHERE cause = '{CELL_LEVEL}' AND d_{index}) d ORDER BY row_id""")

    def population(self, column: str) -> pa.Array:
        """A column of ``cmp`` (t_i, k_i) inside its TTL, from at most ``POPULATION`` of the compared rows."""
        if column not in self._populations:
            step = max(1, self.sides.truth.num_rows // POPULATION)
            table = self.table(f"SELECT {column} AS value FROM cmp WHERE t_live AND row_id % {step} = 0")
            self._populations[column] = table.column("value").combine_chunks()
        return self._populations[column]

    @cached_property
    def present(self) -> int:
        """The number of compared rows that are online."""
        return int(self.scalar("SELECT count(*) FROM cmp WHERE t_live AND state = 'present'"))

    def samples(self, row_ids: Sequence[int], index: int | None) -> pa.Table:
        """Keys, both values and both timestamps of some rows; of feature ``index``, or the first that differs."""
        features = self.sides.features
        chosen = range(len(features)) if index is None else (index,)
        first = {side: _first({i: f"{side}_{i}::VARCHAR" for i in chosen}) for side in ("t", "o")}
        name = _first({i: literal(features[i].name) for i in chosen})
        pick = f"{name} AS feature, {first['t']} AS offline, {first['o']} AS online"
        keys = "".join(f"k_{i}, " for i in range(len(self.keys)))
        ids = ", ".join(str(int(i)) for i in row_ids) or "NULL"
        return self.table(
            f"SELECT {keys}{pick}, state, t_ts AS offline_ts, o_ts AS online_ts FROM diff "
            f"WHERE row_id IN ({ids}) ORDER BY row_id"
        )


@dataclass(frozen=True)
class OtherFeatures:
    """The columns of a view beside feature ``index``, over the rows of its differing cells (``OtherColumns``).

    ``row_ids`` are those of the cells, ascending.
    """

    comparison: Comparison
    index: int
    row_ids: Integers

    @cached_property
    def _columns(self) -> dict[str, tuple[str, str, str]]:
        """Name -> dtype, offline value and online value as SQL over ``diff``."""
        sides = self.comparison.sides
        columns = {
            f.name: (f.dtype, f"CASE WHEN o_ts = t_ts THEN t_{i} ELSE e_{i} END", f"o_{i}")
            for i, f in enumerate(sides.features)
            if i != self.index
        }
        keys = {k.name + _JOIN_KEY: (k.dtype, f"k_{i}", f"k_{i}") for i, k in enumerate(sides.view.join_keys)}
        return columns | keys

    @property
    def dtypes(self) -> Mapping[str, str]:
        """The dtype of every column, by name; join keys say in their name that they are one."""
        return {name: dtype for name, (dtype, _, _) in self._columns.items()}

    def offline(self, names: Sequence[str], cells: Integers) -> list[pa.Array]:
        """Offline values of the rows that the cell rules compare."""
        return self._read([self._columns[name][1] for name in names], cells)

    def online(self, names: Sequence[str], cells: Integers) -> list[pa.Array]:
        """Online values of these rows."""
        return self._read([self._columns[name][2] for name in names], cells)

    def population(self, name: str) -> pa.Array:
        """Offline values of a column from at most ``POPULATION`` of the compared rows."""
        sides = self.comparison.sides
        keys = [key.name + _JOIN_KEY for key in sides.view.join_keys]
        at = [f.name for f in sides.features].index(name) if name not in keys else keys.index(name)
        return self.comparison.population(f"{'k' if name in keys else 't'}_{at}")

    def _read(self, values: Sequence[str], cells: Integers) -> list[pa.Array]:
        if not values:
            return []
        con = self.comparison.con
        con.register("__cells", pa.table({"row_id": pa.array(self.row_ids[cells], pa.int64())}))
        selected = ", ".join(f"{value} AS c_{i}" for i, value in enumerate(values))
        try:
            table = self.comparison.table(
                f"SELECT {selected} FROM diff SEMI JOIN __cells USING (row_id) ORDER BY row_id"
            )
        finally:
            con.unregister("__cells")
        return [table.column(i).combine_chunks() for i in range(len(values))]


def _first(values: Mapping[int, str]) -> str:
    """The value of the first feature that differs."""
    cases = " ".join(f"WHEN d_{i} THEN {value}" for i, value in values.items())
    return f"CASE {cases} END" if cases else "NULL"
