"""The faults of the drills: each writes one kind of wrong rows into the online store, past every protection."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.causes.rows import CELL_LEVEL, live_sql
from skewguard.compare.comparison import Comparison
from skewguard.compare.sides import ViewSides, whole
from skewguard.config import Tolerance
from skewguard.definitions import FieldDef
from skewguard.digest import row_hashes
from skewguard.findings import Cause
from skewguard.offline.sources import source_sql
from skewguard.online.codec import encode_column
from skewguard.online.key_columns import entity_keys
from skewguard.online.keys import feature_field, timestamp_field
from skewguard.online.timestamps import encode_timestamp
from skewguard.sql import CREATED_TS, EVENT_TS, ROW_STATE, quote

if TYPE_CHECKING:
    import duckdb

SCALE = 100
Hashes = npt.NDArray[np.uint64]
_NONE: Hashes = np.zeros(0, dtype=np.uint64)
_CATEGORIES, _EACH = 50, 8
"""A feature is one of categories up to so many; a renaming takes so many rows of each to be told from accident."""
_OTHER_KEY = {"INT64": "STRING", "INT32": "INT64", "STRING": "BYTES"}
"""Under which dtype a careless writer would store a join key."""


@dataclass(frozen=True)
class Injection:
    """A fault that was put in: where, into how many rows, and the cause that the guard must name."""

    fault: str
    view: str
    feature: str | None
    rows: int
    expected: Cause
    also: tuple[str, ...] = ()
    """Other views of the service that the fault hits as well, under the same cause."""

    def line(self) -> str:
        """The injection in words."""
        where = self.view if self.feature is None else f"{self.view}.{self.feature}"
        return f"{self.fault}: {self.rows:,} rows of {where}; must be seen as {self.expected.value}"

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "expected": self.expected.value}


_ROW = ""
"""In the place of a feature's name: the row as a whole."""


@dataclass(frozen=True)
class Ground:
    """What a fault works on. ``hit``: by view, and feature or ``_ROW``, the hashes of entities with something wrong."""

    con: duckdb.DuckDBPyConnection
    client: Any
    project: str
    share: float
    slot: int
    sides: Sequence[ViewSides]
    hit: dict[str, dict[str, Hashes]]

    def chosen(
        self, side: ViewSides, table: pa.Table, features: Sequence[str] = (_ROW,), *, of: int | None = None,
        minimum: int = 3, evenly: str | None = None,
    ) -> pa.Table:  # fmt: skip
        """This fault's share of the table's rows (of ``of`` rows, where the table holds those that can be hit).

        At least ``minimum`` where there are as many; of rows with nothing wrong first, then of those where neither the
        row as a whole nor ``features`` are. ``evenly``: of every value of this column equally many, while there are.
        """
        keys = _keys(side)
        hit = self.hit.setdefault(side.view.name, {})
        if not keys or table.num_rows == 0:
            return table
        hashes: Hashes = row_hashes(table, keys)
        usable = ~np.isin(hashes, np.concatenate([hit.get(name, _NONE) for name in {_ROW, *features}]))
        clean = ~np.isin(hashes, np.concatenate([*hit.values(), _NONE]))
        offset = hashes - np.uint64(self.slot * (2**64 // len(FAULTS)))
        order = np.lexsort((offset, ~clean))
        order = order[usable[order]]
        if evenly is not None:
            turn = _turns(table.column(evenly).combine_chunks().take(pa.array(order)))
            order = order[np.lexsort((turn, ~clean[order]))]
        total = table.num_rows if of is None else of
        rows = np.sort(order[: max(minimum, math.ceil(self.share * total))])
        for name in features:
            hit[name] = np.concatenate([hit.get(name, _NONE), hashes[rows]])
        return table.take(pa.array(rows))


def _turns(values: pa.Array) -> npt.NDArray[np.int64]:
    """For each value, how many equal ones come before it."""
    codes = np.asarray(values.dictionary_encode().indices)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], codes[order], side="left")
    turns = np.empty(len(codes), dtype=np.int64)
    turns[order] = np.arange(len(codes)) - starts
    return turns


def wrong(side: ViewSides) -> dict[str, Hashes]:
    """What a comparison finds wrong before anything was put in."""
    keys = _keys(side)
    if not keys:
        return {}
    comparison = Comparison(side, lambda _: Tolerance())
    try:
        hashes: Hashes = row_hashes(whole(side.rows).truth, keys)
        entire = comparison.table(f"SELECT row_id FROM diff WHERE cause <> '{CELL_LEVEL}' AND state = 'present'")
        wrong = {_ROW: hashes[entire.column(0).to_numpy()]}
        for index, feature in enumerate(side.features):
            cells = comparison.table(f"SELECT row_id FROM diff WHERE cause = '{CELL_LEVEL}' AND d_{index}")
            wrong[feature.name] = hashes[cells.column(0).to_numpy()]
        return wrong
    finally:
        comparison.close()


def ranked(fault: str, sides: Sequence[ViewSides], ground: Ground) -> list[ViewSides]:
    """The views by how many rows the fault can hit, most first."""
    count = {"stale_view": _previous, "expired_row": _expired}.get(fault, lambda side, _: _live(side, ground))
    return sorted(sides, key=lambda side: -count(side, ground).num_rows)


def _keys(side: ViewSides) -> list[str]:
    return [key.name for key in side.view.join_keys]


def _with_presence(side: ViewSides) -> pa.Table:
    """The latest offline rows, and whether each is online."""
    rows = whole(side.rows)
    return rows.truth.append_column("__present", pc.equal(rows.online.column(ROW_STATE), "present"))


def _live(side: ViewSides, ground: Ground) -> pa.Table:
    """Offline rows inside their TTL whose online row is present."""
    ground.con.register("__truth", _with_presence(side))
    live = live_sql(EVENT_TS, side.view.ttl, side.as_of)
    return ground.con.execute(
        f"SELECT * EXCLUDE (__present) FROM __truth WHERE __present AND {live} ORDER BY ALL"
    ).to_arrow_table()


def _expired(side: ViewSides, ground: Ground) -> pa.Table:
    """Latest offline rows past their TTL that are not online."""
    ground.con.register("__truth", _with_presence(side))
    live = live_sql(EVENT_TS, side.view.ttl, side.as_of)
    return ground.con.execute(
        f"SELECT * EXCLUDE (__present) FROM __truth WHERE NOT __present AND NOT {live} ORDER BY ALL"
    ).to_arrow_table()


def _previous(side: ViewSides, ground: Ground) -> pa.Table:
    """For live entities: the latest offline row before the one that is due, where its values differ."""
    ground.con.register("__live", _live(side, ground))
    on = " AND ".join(f"s.{quote(k)} = l.{quote(k)}" for k in _keys(side)) or "true"
    differs = " OR ".join(f"s.{quote(f.name)} IS DISTINCT FROM l.{quote(f.name)}" for f in side.features) or "false"
    partition = ", ".join(f"s.{quote(k)}" for k in _keys(side)) or "1"
    source = source_sql(side.view, [f.name for f in side.features])
    known = f"coalesce(l.{CREATED_TS} <= TIMESTAMPTZ '{side.watermark.isoformat()}', true)"
    return ground.con.execute(
        f"SELECT * EXCLUDE (__differs) FROM (SELECT s.*, ({differs}) AS __differs FROM ({source}) s JOIN __live l "
        f"ON {on} AND s.{EVENT_TS} < l.{EVENT_TS} AND {known} "
        f"QUALIFY row_number() OVER (PARTITION BY {partition} ORDER BY s.{EVENT_TS} DESC, s.{CREATED_TS} DESC) = 1) "
        "WHERE __differs ORDER BY ALL"
    ).to_arrow_table()


def _write_raw(side: ViewSides, ground: Ground, rows: pa.Table, features: Sequence[str]) -> None:
    """HSET without any check: what a careless writer does."""
    view = side.view
    keys = entity_keys(ground.project, view.join_keys, rows).to_pylist()
    columns = {
        feature_field(view.name, name): encode_column(view.feature(name).dtype, rows.column(name)).to_pylist()
        for name in features
    }
    stamps = pc.cast(rows.column(EVENT_TS), pa.int64()).to_pylist()
    with ground.client.pipeline(transaction=False) as pipe:
        for index, key in enumerate(keys):
            values = {field: cells[index] for field, cells in columns.items()}
            pipe.hset(key, mapping={**values, timestamp_field(view.name): encode_timestamp(stamps[index] * 1000)})
        pipe.execute()


def _all_features(side: ViewSides) -> list[str]:
    return [f.name for f in side.features]


def _stale_view(side: ViewSides, ground: Ground) -> Injection | None:
    rows = ground.chosen(side, _previous(side, ground))
    if not rows.num_rows:
        return None
    _write_raw(side, ground, rows, _all_features(side))
    return Injection("stale_view", side.view.name, None, rows.num_rows, Cause.OUT_OF_ORDER_WRITE)


def _unit_change(side: ViewSides, ground: Ground) -> Injection | None:
    """Another unit in the float feature that it changes most."""
    live = _live(side, ground)
    candidates = {f.name: _nonzero(live, f.name) for f in side.features if f.dtype in dtypes.FLOATS}
    name = max(candidates, key=lambda n: candidates[n].num_rows, default=None)
    if name is None or pc.count_distinct(candidates[name].column(name)).as_py() < 3:
        return None
    rows = ground.chosen(side, candidates[name], [name], of=live.num_rows)
    scaled = pc.multiply(rows.column(name), pa.scalar(SCALE, rows.column(name).type))
    return _write_column(side, ground, rows, name, scaled, ("unit_change", Cause.UNIT_SCALE))


def _write_column(
    side: ViewSides, ground: Ground, rows: pa.Table, name: str, values: pa.Array, fault: tuple[str, Cause]
) -> Injection | None:
    """Other values in one feature of some rows; None where there are no rows."""
    if not rows.num_rows:
        return None
    _write_raw(side, ground, rows.set_column(rows.column_names.index(name), name, values), [name])
    return Injection(fault[0], side.view.name, name, rows.num_rows, fault[1])


def _nonzero(rows: pa.Table, name: str) -> pa.Table:
    column = rows.column(name)
    return rows.filter(pc.and_(pc.is_finite(column), pc.not_equal(column, 0)).fill_null(False))


def _lost_key(side: ViewSides, ground: Ground) -> Injection | None:
    """The whole key is gone, and with it the rows of every view with these join keys."""
    rows = ground.chosen(side, _live(side, ground))
    if not rows.num_rows:
        return None
    with ground.client.pipeline(transaction=False) as pipe:
        for key in entity_keys(ground.project, side.view.join_keys, rows).to_pylist():
            pipe.unlink(key)
        pipe.execute()
    also = [s.view.name for s in ground.sides if s is not side and set(s.view.join_keys) == set(side.view.join_keys)]
    for view in also:
        hit = ground.hit.setdefault(view, {})
        hit[_ROW] = np.concatenate([hit.get(_ROW, _NONE), row_hashes(rows, _keys(side))])
    return Injection("lost_key", side.view.name, None, rows.num_rows, Cause.MISSING_ONLINE, tuple(also))


def _expired_row(side: ViewSides, ground: Ground) -> Injection | None:
    rows = ground.chosen(side, _expired(side, ground))
    if side.view.ttl is None or not rows.num_rows:
        return None
    _write_raw(side, ground, rows, _all_features(side))
    return Injection("expired_row", side.view.name, None, rows.num_rows, Cause.EXPIRED_BUT_SERVED)


def _entity_key_mismatch(side: ViewSides, ground: Ground) -> Injection | None:
    """The view's row under a key whose first part that allows it has another dtype; other views stay where they are."""
    view = side.view
    declared = list(view.join_keys)
    at = next((i for i, key in enumerate(declared) if key.dtype in _OTHER_KEY), None)
    if at is None:
        return None
    rows = ground.chosen(side, _live(side, ground))
    name, other = declared[at].name, _OTHER_KEY[declared[at].dtype]
    index = rows.column_names.index(name)
    moved = rows.set_column(index, name, rows.column(name).cast(dtypes.arrow_type(other)))
    declared[at] = FieldDef(name, other)
    own = entity_keys(ground.project, view.join_keys, rows).to_pylist()
    twins = entity_keys(ground.project, declared, moved).to_pylist()
    fields = [*(feature_field(view.name, f.name) for f in view.features), timestamp_field(view.name)]
    with ground.client.pipeline(transaction=False) as pipe:
        for key in own:
            pipe.hmget(key, fields)
        stored = pipe.execute()
        for key, twin, values in zip(own, twins, stored, strict=True):
            pipe.hset(twin, mapping={f: v for f, v in zip(fields, values, strict=True) if v is not None})
            pipe.hdel(key, *fields)
        pipe.execute()
    return Injection("entity_key_mismatch", view.name, None, rows.num_rows, Cause.ENTITY_KEY_MISMATCH)


def _column_swap(side: ViewSides, ground: Ground) -> Injection | None:
    """Another column's values in a feature: of two of one dtype, or two floats, the one with the most distinct ones."""
    live = _live(side, ground)
    pairs = [
        (a.dtype == b.dtype, pc.count_distinct(live.column(b.name)).as_py(), a.name, b.name)
        for a in side.features
        for b in side.features
        if a != b
        and ((a.dtype == b.dtype and a.dtype in ("STRING", *dtypes.NUMBERS)) or {a.dtype, b.dtype} <= dtypes.FLOATS)
    ]
    for _, distinct, name, other in sorted(pairs, reverse=True):
        taken = live.column(other).cast(live.column(name).type, safe=False)
        there = pc.and_(pc.is_valid(taken), pc.is_valid(live.column(name)))
        differs = pc.and_(there, pc.not_equal(taken, live.column(name))).fill_null(False)
        if distinct < 3 or not pc.any(differs).as_py():
            continue
        rows = ground.chosen(side, live.filter(differs), [name], of=live.num_rows)
        if rows.num_rows:
            values = rows.column(other).cast(rows.column(name).type, safe=False)
            return _write_column(side, ground, rows, name, values, ("column_swap", Cause.COLUMN_SWAP))
    return None


def _category_recode(side: ViewSides, ground: Ground) -> Injection | None:
    """Texts become the codes c0, c1, ... that an encoder would give them; the feature with the fewest categories."""
    live = _live(side, ground)
    texts = [f.name for f in side.features if f.dtype == "STRING"]
    sizes = {name: pc.count_distinct(live.column(name)).as_py() for name in texts}
    name = min((n for n in texts if 2 <= sizes[n] <= _CATEGORIES), key=lambda n: sizes[n], default=None)
    if name is None:
        return None
    rows = ground.chosen(
        side, live.filter(live.column(name).is_valid()), [name], of=live.num_rows, minimum=_EACH * sizes[name],
        evenly=name,
    )  # fmt: skip
    known = sorted(pc.unique(live.column(name).drop_null()).to_pylist())
    prefix = next(p for p in ("c" * n for n in range(1, 100)) if not any(f"{p}{i}" in known for i in range(len(known))))
    codes = pa.array([f"{prefix}{i}" for i in range(len(known))])
    values = codes.take(pc.index_in(rows.column(name).combine_chunks(), pa.array(known, pa.string())))
    return _write_column(side, ground, rows, name, values, ("category_recode", Cause.CATEGORY_RECODE))


def _string_normalization(side: ViewSides, ground: Ground) -> Injection | None:
    """Upper case, lower case or a blank behind: whichever changes most texts into ones that the feature has not."""
    live = _live(side, ground)
    best: tuple[int, str, pa.Array] | None = None
    for feature in side.features:
        if feature.dtype != "STRING":
            continue
        column = live.column(feature.name).combine_chunks()
        for changed in (pc.utf8_upper(column), pc.utf8_lower(column), pc.binary_join_element_wise(column, " ", "")):
            new = pc.invert(pc.is_in(changed, column)).fill_null(False)
            new = pc.and_(new, pc.is_valid(column))
            count = pc.sum(new).as_py() or 0
            if count > (best[0] if best else 0):
                table = live.append_column("__changed", changed).filter(new)
                best = (count, feature.name, table)
    if best is None:
        return None
    rows = ground.chosen(side, best[2], [best[1]], of=live.num_rows)
    fault = ("string_normalization", Cause.STRING_NORMALIZATION)
    return _write_column(side, ground, rows.drop_columns("__changed"), best[1], rows.column("__changed"), fault)


FAULTS: dict[str, Callable[[ViewSides, Ground], Injection | None]] = {
    "stale_view": _stale_view,
    "unit_change": _unit_change,
    "lost_key": _lost_key,
    "expired_row": _expired_row,
    "entity_key_mismatch": _entity_key_mismatch,
    "column_swap": _column_swap,
    "category_recode": _category_recode,
    "string_normalization": _string_normalization,
}
