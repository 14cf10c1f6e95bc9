"""Writes of the faults past every protection, and the fits of those that change one feature's values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.causes.equality import equal_sql
from skewguard.definitions import FieldDef
from skewguard.faults.ground import FEWEST, Fit, Ground, ViewGround
from skewguard.online.codec import encode_column
from skewguard.online.key_columns import entity_keys
from skewguard.online.keys import feature_field, timestamp_field
from skewguard.online.timestamps import encode_timestamp
from skewguard.sql import EVENT_TS

NEW = "__new"
_DISTINCT = 1000
"""More distinct values than that make a feature no better a place for a fault."""


def write_raw(side: ViewGround, ground: Ground, rows: pa.Table, features: Sequence[str]) -> None:
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


def write_view(side: ViewGround, ground: Ground, rows: pa.Table) -> tuple[str, ...]:
    """``write_raw`` of every feature that the service reads; hits no other view."""
    write_raw(side, ground, rows, [f.name for f in side.features])
    return ()


def distinct(values: pa.Array | pa.ChunkedArray) -> int:
    """Number of distinct values, nulls apart."""
    return int(pc.count_distinct(values).as_py())


def changed(
    side: ViewGround, ground: Ground, feature: FieldDef, values: pa.Array, *, where: pa.Array | None = None,
    score: Sequence[float] = (), evenly: bool = False, minimum: int = FEWEST,
) -> Iterator[Fit]:  # fmt: skip
    """The fit of other values in a feature, aligned with the live rows, over those (of ``where``) that differ by them.

    None where fewer than three rows would differ.
    """
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    mask = differing(side, ground, feature, values)
    if where is not None:
        mask = pc.and_(mask, where).fill_null(False)
    rows = side.live.append_column(NEW, values).filter(mask)
    if rows.num_rows < FEWEST:
        return
    name = feature.name

    def write(ground: Ground, chosen: pa.Table) -> tuple[str, ...]:
        place = chosen.column_names.index(name)
        write_raw(side, ground, chosen.set_column(place, name, chosen.column(NEW)), [name])
        return ()

    spread = min(_DISTINCT, distinct(rows.column(name)))
    yield Fit(
        side, name, rows, write, (*score, spread, rows.num_rows), side.live.num_rows, minimum, name if evenly else None
    )


def differing(side: ViewGround, ground: Ground, feature: FieldDef, values: pa.Array) -> pa.Array:
    """Which of the live rows the guard would call different, were they to hold these values."""
    tolerance = ground.policy.tolerance_for(side.view.name, feature)
    pairs = {"t": side.column(feature), "o": values, "i": pa.array(range(len(values)), pa.int64())}
    ground.con.register("__pairs", pa.table(pairs))
    try:
        sql = f"SELECT NOT {equal_sql(feature.dtype, 't', 'o', tolerance)} AS differs FROM __pairs ORDER BY i"
        return ground.con.execute(sql).to_arrow_table().column(0).combine_chunks()
    finally:
        ground.con.unregister("__pairs")


def altered_sql(column: str, duck_type: str, dtype: str) -> tuple[str, str] | None:
    """Another value of a column, and whether there is one (SQL); None where its type allows none that is surely other.

    ``duck_type`` is the column's own type, ``dtype`` the declared one.
    """
    kind = duck_type.upper()
    number = kind in ("DOUBLE", "FLOAT") or kind.startswith("DECIMAL") or kind.endswith("INT") or kind == "INTEGER"
    if dtype in dtypes.NUMBERS and number:
        half = f"{column} // 2" if kind.endswith("INT") or kind == "INTEGER" else f"{column} / 2"
        other, there = f"CASE WHEN abs({column}) > 2 THEN {half} ELSE {column} + 3 END", f"isfinite({column}::DOUBLE)"
    elif dtype == "BOOL" and kind == "BOOLEAN":
        other, there = f"NOT {column}", "true"
    elif dtype == "STRING" and kind == "VARCHAR":
        other, there = f"{column} || '~'", "true"
    elif dtype == "UNIX_TIMESTAMP" and kind.startswith("TIMESTAMP"):
        other, there = f"{column}::TIMESTAMPTZ - INTERVAL 1 HOUR", "true"
    elif dtype.endswith("_LIST") and dtypes.is_list(dtype) and kind.endswith("[]"):
        other, there = f"list_concat({column}, {column})", f"len({column}) > 0"
    else:
        return None
    there = f"({column} IS NOT NULL AND {there})"
    return f"CASE WHEN {there} THEN ({other})::{duck_type} ELSE {column} END", there


def stored(side: ViewGround, ground: Ground, rows: pa.Table) -> tuple[list[bytes], list[bytes], list[list[Any]]]:
    """The rows' Redis keys, the view's fields, and what is stored in them."""
    fields = [*(feature_field(side.view.name, f.name) for f in side.view.features), timestamp_field(side.view.name)]
    keys: list[bytes] = entity_keys(ground.project, side.view.join_keys, rows).to_pylist()
    with ground.client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hmget(key, fields)
        return keys, fields, pipe.execute()
