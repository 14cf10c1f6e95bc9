"""``row_condition``, GX's objects, as SQL that is true or false and never NULL.

GX turns them into the text of a pandas query. What such a text means is certain for plain names, and for comparisons of
a column with a value of its own kind; the rest is left to GX.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping
from typing import Any

from skewguard.expectations.frames import EXACT_FLOAT
from skewguard.expectations.sql.asks import both
from skewguard.expectations.sql.columns import NUMBERS, Column, Kind
from skewguard.expectations.sql.context import Context, NotCompiled
from skewguard.expectations.suites import Rule

_ORDERS = frozenset({"<", "<=", ">", ">="})
_RESERVED = frozenset({"index", "columns", "True", "False", "None"})


def condition(rule: Rule, context: Context) -> str | None:
    """The rule's row condition as SQL, None for none. Raises NotCompiled."""
    given = rule.kwargs.get("row_condition")
    return None if given is None else _sql(given, context)


def ordered_columns(rule: Rule, context: Context) -> list[Column]:
    """Columns of whole numbers that the row condition orders: GX breaks where these are wide and have nulls."""
    return [column for column in _ordered(rule.kwargs.get("row_condition"), context) if column.kind is Kind.WHOLE]


def _ordered(given: Any, context: Context) -> Iterator[Column]:
    if isinstance(given, Mapping):
        if given.get("operator") in _ORDERS:
            yield context.columns[given["column"]["name"]]
        for part in given.get("conditions") or ():
            yield from _ordered(part, context)


def _sql(given: Any, context: Context) -> str:
    if not isinstance(given, Mapping):
        raise NotCompiled("the row condition is not one of GX's objects as JSON")
    kind = given.get("type")
    if kind in ("and", "or"):
        parts = [f"({_sql(part, context)})" for part in given.get("conditions") or ()]
        if not parts:
            raise NotCompiled(f"the row condition has an {kind!r} of nothing")
        return f" {kind.upper()} ".join(parts)
    column = _column(given, context)
    if kind == "nullity":
        return column.missing if given.get("is_null") else column.present
    if kind == "comparison":
        return _comparison(column, str(given.get("operator")), given.get("parameter"), context)
    raise NotCompiled(f"the row condition is of type {kind!r}")


def _column(given: Mapping[str, Any], context: Context) -> Column:
    name = str((given.get("column") or {}).get("name"))
    if name not in context.columns:
        raise NotCompiled(f"the row condition names {name!r}")
    if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name) or name in _RESERVED:
        raise NotCompiled(f"pandas reads the name {name!r} in a row condition in its own way")
    return context.named(name)


def _comparison(column: Column, operator: str, parameter: Any, context: Context) -> str:
    several = operator in ("IN", "NOT_IN")
    values = list(parameter) if several and isinstance(parameter, list | tuple) else [parameter]
    if not values or not all(_fits(column, value) for value in values):
        raise NotCompiled(f"the row condition compares {column.name} ({column.type}) with {parameter!r}")
    if operator in _ORDERS and column.kind in NUMBERS:
        return both(column.present, f"{_number(column)} {operator} {context.bind(values[0])}")
    equal = f"{_number(column)} IN ({', '.join(context.bind(value) for value in values)})"
    if operator in ("==", "IN"):
        return both(column.present, equal)
    if operator in ("!=", "NOT_IN"):  # what is missing is unequal to everything, in pandas
        return f"{column.missing} OR NOT ({equal})"
    raise NotCompiled(f"the row condition has {operator!r} on {column.name} ({column.type})")


def _number(column: Column) -> str:
    return column.value if column.kind in NUMBERS else column.sql


def _fits(column: Column, value: Any) -> bool:
    """Whether pandas compares the column with the value as SQL does."""
    if column.kind is Kind.TEXT:
        return isinstance(value, str) and "`" not in value  # which pandas reads as the beginning of a name
    if column.kind is Kind.BOOL:
        return isinstance(value, bool)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return column.kind in NUMBERS and number and -EXACT_FLOAT < value < EXACT_FLOAT
