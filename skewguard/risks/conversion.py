"""What becomes of a Parquet column on its way online, by its DuckDB type and its declared dtype.

Feast's side is a table of what its ``python_values_to_proto_values`` does (feast/type_map.py of Feast 0.67): a test
holds it against that function. Ours is ``declared_sql``.
"""

from __future__ import annotations

from enum import StrEnum

from skewguard import dtypes

INTS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"})
FLOATS = frozenset({"FLOAT", "DOUBLE"})
MOMENTS = frozenset(
    {"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "DATE"}
)  # fmt: skip
_TEXTS = frozenset({"VARCHAR", "ENUM", "UUID"})
_NESTED = frozenset({"LIST", "STRUCT", "MAP"})


class Conversion(StrEnum):
    """What Feast's materialization makes of a column."""

    KEPT = "kept"
    CHANGED = "changed"
    """Written, as another value or of another type than offline gives."""
    PRECISION = "precision"
    """Written as float32, while Feast's offline stores give the file's double."""
    GARBAGE = "garbage"
    """Written as another moment, without a word."""
    NULL = "null"
    """Written as null, without a word."""
    RAISES = "raises"
    UNKNOWN = "unknown"


_KEPT = {
    "INT32": INTS,
    "INT64": INTS,
    "FLOAT": INTS | {"FLOAT"},
    "DOUBLE": frozenset({"DOUBLE", "BIGINT"}),
    "BOOL": frozenset({"BOOLEAN"}),
    "STRING": _TEXTS,
    "UUID": _TEXTS,
    "TIME_UUID": _TEXTS,
    "DECIMAL": frozenset({"DECIMAL", "VARCHAR"}),
    "BYTES": frozenset({"BLOB"}),
    "UNIX_TIMESTAMP": MOMENTS,
}
_CHANGED = {
    "INT32": FLOATS | {"BOOLEAN", "DECIMAL", "VARCHAR"},
    "INT64": FLOATS | {"BOOLEAN", "DECIMAL", "VARCHAR"},
    "FLOAT": frozenset({"DECIMAL", "VARCHAR", "BOOLEAN"}),
    "DOUBLE": frozenset({"DECIMAL"}),
    "BOOL": frozenset({"BIGINT"}),
    "STRING": INTS | FLOATS | MOMENTS | {"BOOLEAN", "DECIMAL", "BLOB", "TIME", "HUGEINT"},
    "UNIX_TIMESTAMP": INTS | {"BOOLEAN", "DECIMAL", "VARCHAR"},
}
_ELEMENTS = {
    "INT32": INTS,
    "INT64": INTS,
    "FLOAT": FLOATS,
    "DOUBLE": FLOATS,
    "BOOL": frozenset({"BOOLEAN"}),
    "STRING": _TEXTS,
    "BYTES": frozenset({"BLOB"}),
    "UNIX_TIMESTAMP": MOMENTS - {"DATE"},
}


def kind_of(duck_type: str) -> str:
    """A DuckDB type without its parameters: ``DECIMAL(18,3)`` is DECIMAL, ``BIGINT[]`` is LIST."""
    kind = duck_type.upper()
    if kind.endswith("]"):
        return "LIST"
    return kind.split("(", 1)[0].strip()


def feast_conversion(duck_type: str, dtype: str) -> Conversion:
    """What Feast writes online for a column of a DuckDB type under a declared dtype."""
    kind = kind_of(duck_type)
    inner = dtypes.element(dtype)
    if inner is not None:
        return _of_list(duck_type, kind, inner)
    if dtype not in _KEPT:
        return Conversion.UNKNOWN
    if kind in _KEPT[dtype]:
        return Conversion.KEPT
    if kind in _NESTED:
        return Conversion.NULL
    if (dtype, kind) == ("FLOAT", "DOUBLE"):
        return Conversion.PRECISION
    if dtype == "UNIX_TIMESTAMP" and kind in FLOATS:
        return Conversion.GARBAGE
    return Conversion.CHANGED if kind in _CHANGED.get(dtype, frozenset()) else Conversion.RAISES


def _of_list(duck_type: str, kind: str, inner: str) -> Conversion:
    if inner not in _ELEMENTS:
        return Conversion.UNKNOWN
    # JSON text becomes a list; of other text Feast makes letters, or raises; of a struct, the names of its fields
    if kind == "VARCHAR" or (kind, inner) == ("STRUCT", "STRING"):
        return Conversion.CHANGED
    if kind != "LIST":
        return Conversion.RAISES
    item = kind_of(duck_type[: duck_type.rindex("[")])
    if item in _ELEMENTS[inner]:
        return Conversion.KEPT
    return Conversion.CHANGED if inner == "UNIX_TIMESTAMP" and item in INTS else Conversion.RAISES


def refused_sql(column: str, duck_type: str, dtype: str) -> str | None:
    """SQL: is this value one that ``declared_sql`` refuses? None where the types alone answer."""
    kind = kind_of(duck_type)
    target = dtypes.duckdb_type(dtype)
    if kind == "VARCHAR" and dtype in dtypes.INTEGERS:
        whole = f"regexp_full_match(trim({column}), '[+-]?[0-9]+')"
        return f"({column} IS NOT NULL AND (NOT {whole} OR TRY_CAST(trim({column}) AS {target}) IS NULL))"
    if kind in FLOATS and dtype in dtypes.INTEGERS:
        return f"(isfinite({column}) AND TRY_CAST(trunc({column}) AS {target}) IS NULL)"
    if dtype == "UNIX_TIMESTAMP":
        return f"({column} IS NOT NULL AND {moment_sql(column, duck_type)} IS NULL)" if kind in _FALLIBLE else None
    narrow = kind == "DECIMAL" or kind in INTS
    if (narrow and dtype in dtypes.INTEGERS) or (kind == "VARCHAR" and dtype in ("DOUBLE", "FLOAT", "BOOL")):
        return f"({column} IS NOT NULL AND TRY_CAST({column} AS {target}) IS NULL)"
    return None


def fraction_sql(column: str, duck_type: str, dtype: str) -> str | None:
    """SQL: does this value lose a fraction as a whole number? None where it cannot have one."""
    kind = kind_of(duck_type)
    if dtype not in dtypes.INTEGERS or (kind not in FLOATS and kind != "DECIMAL"):
        return None
    finite = f"isfinite({column}) AND " if kind in FLOATS else ""
    return f"({finite}{column} <> trunc({column}))"


def gap_sql(column: str, duck_type: str, dtype: str) -> str | None:
    """SQL: is this a list of whole numbers with a null inside? None where it cannot be one.

    Feast's materialization reads such a list as floats, which its protobuf refuses (feast/type_map.py).
    """
    if kind_of(duck_type) != "LIST" or dtypes.element(dtype) not in ("INT32", "INT64"):
        return None
    return f"(list_count({column}) < len({column}))"


_FALLIBLE = INTS | FLOATS | {"VARCHAR", "DECIMAL", "HUGEINT"}
_MAX_SECONDS = 253_402_300_799


def moment_sql(column: str, duck_type: str) -> str:
    """``timestamp_sql`` that gives null for what is no moment, so that such values can be counted."""
    kind = kind_of(duck_type)
    if kind == "TIMESTAMP WITH TIME ZONE":
        return column
    if kind in MOMENTS:
        return f"{column}::TIMESTAMP::TIMESTAMPTZ"
    if kind in _FALLIBLE and kind != "VARCHAR":
        seconds = f"TRY_CAST({column} AS DOUBLE)"
        return f"CASE WHEN isfinite({seconds}) AND abs({seconds}) <= {_MAX_SECONDS} THEN to_timestamp({seconds}) END"
    return f"TRY_CAST({column} AS TIMESTAMPTZ)"
