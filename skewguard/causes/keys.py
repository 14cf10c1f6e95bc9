"""Twin keys: an entity that is absent under its own key, and stored under another that means the same.

Two keys mean the same when their *canonical texts* are equal: the value as text in Unicode form NFC, without blanks
around it, in lower case; of a whole number without leading zeros, plus sign and zero decimals; of a UUID without
hyphens and braces; of a timestamp the seconds since 1970. Every part of a composite key has to agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from skewguard.definitions import FieldDef
from skewguard.sql import literal, quote

STORED, DIFFERENCE = "__stored", "__difference"
DTYPE_PREFIX = "__dtype__"
"""Before a join key's name: the column of a strays table that holds the dtype under which it is stored."""


@dataclass(frozen=True)
class Twins:
    """``rows``: join keys of entities with a twin, ``__stored`` (the twin as text), ``__difference`` (in what).

    ``orphans``: positions of the orphans that are such twins, and so no orphans.
    """

    rows: pa.Table
    orphans: pa.Array


def match_twins(join_keys: Sequence[FieldDef], missing: pa.Table, strays: pa.Table, orphans: pa.Table) -> Twins:
    """The twins of ``missing`` entities (join keys, one row an entity).

    ``strays`` are keys stored under other dtypes: each join key as text, and its dtype in ``__dtype__<join key>``.
    ``orphans`` are keys of the declared dtypes that offline does not know. A stray is preferred to an orphan.
    """
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.register("missing_in", missing.append_column("__id", pa.array(range(missing.num_rows), pa.int64())))
        con.register("strays_in", strays.append_column("__id", pa.nulls(strays.num_rows, pa.int64())))
        con.register("orphans_in", orphans.append_column("__id", pa.array(range(orphans.num_rows), pa.int64())))
        stored = " UNION ALL ".join(_side(join_keys, name) for name in ("strays_in", "orphans_in"))
        same = " AND ".join(f"m.c_{i} = s.c_{i}" for i in range(len(join_keys)))
        found = con.execute(
            f"SELECT m.__id AS missing, s.__id AS orphan, {_text(join_keys)} AS {STORED}, "
            f"{_difference(join_keys)} AS {DIFFERENCE} "
            f"FROM ({_side(join_keys, 'missing_in')}) m JOIN ({stored}) s ON {same} "
            f"QUALIFY row_number() OVER (PARTITION BY m.__id ORDER BY s.__id NULLS FIRST, {STORED}) = 1 ORDER BY m.__id"
        ).to_arrow_table()
    rows = missing.select([key.name for key in join_keys]).take(found.column("missing"))
    for name in (STORED, DIFFERENCE):
        rows = rows.append_column(name, found.column(name))
    return Twins(rows, pc.unique(found.column("orphan").drop_null()))


def _side(join_keys: Sequence[FieldDef], table: str) -> str:
    """SQL: canonical text c_i, text x_i and dtype d_i of every join key, and ``__id``."""
    columns = []
    for i, key in enumerate(join_keys):
        foreign = table == "strays_in"
        text = quote(key.name) if foreign else _as_text(key)
        dtype = quote(DTYPE_PREFIX + key.name) if foreign else literal(key.dtype)
        columns.append(f"{_canonical(key, text)} AS c_{i}, {text} AS x_{i}, {dtype} AS d_{i}")
    return f"SELECT __id, {', '.join(columns)} FROM {table}"


def _as_text(key: FieldDef) -> str:
    column = quote(key.name)
    if key.dtype == "UNIX_TIMESTAMP":
        return f"(epoch_us({column}) // 1000000)::VARCHAR"
    if key.dtype == "BYTES":
        return f"coalesce(TRY(decode({column})), hex({column}))"
    return f"{column}::VARCHAR"


def _trimmed(text: str) -> str:
    return rf"regexp_replace({text}, '^[\s\p{{Z}}\x00]+|[\s\p{{Z}}\x00]+$', '', 'g')"


def _canonical(key: FieldDef, text: str) -> str:
    folded = f"lower({_trimmed(f'nfc_normalize({text})')})"
    if key.dtype in ("UUID", "TIME_UUID"):
        return f"regexp_replace({folded}, '[-{{}}]', '', 'g')"
    return rf"regexp_replace(regexp_replace({folded}, '^\+?0*(\d+)(\.0*)?$', '\1'), '^-0*(\d+)(\.0*)?$', '-\1')"


def _text(join_keys: Sequence[FieldDef]) -> str:
    parts = [f"s.d_{i} || ' ''' || s.x_{i} || ''''" for i in range(len(join_keys))]
    if len(parts) == 1:
        return parts[0]
    return " || ', ' || ".join(
        f"{literal(key.name + ' ')} || {part}" for key, part in zip(join_keys, parts, strict=True)
    )


def _difference(join_keys: Sequence[FieldDef]) -> str:
    """What differs, join key by join key; equal ones are left out."""
    cases = []
    for i, key in enumerate(join_keys):
        name = literal("" if len(join_keys) == 1 else key.name + ": ")
        own, theirs = f"m.x_{i}", f"s.x_{i}"
        cases.append(
            f"CASE WHEN s.d_{i} <> {literal(key.dtype)} THEN {name} || {literal(key.dtype + ' stored as ')} || s.d_{i} "
            f"WHEN {own} = {theirs} THEN NULL "
            f"WHEN {_trimmed(own)} = {_trimmed(theirs)} THEN {name} || 'blanks' "
            f"WHEN lower({_trimmed(own)}) = lower({_trimmed(theirs)}) THEN {name} || 'case' "
            f"WHEN regexp_full_match({_trimmed(own)}, '[+-]?[0-9.]+') THEN {name} || 'padding' "
            f"ELSE {name} || 'text form' END"
        )
    return f"concat_ws('; ', {', '.join(cases)})"
