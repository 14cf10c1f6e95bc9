"""Rules on the table as a whole, and on the declared types of columns: most are judged from the schema alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from typing import Any

import numpy as np
import pyarrow as pa

from skewguard.expectations.outcome import Outcome
from skewguard.expectations.sql.aggregates import limits_of
from skewguard.expectations.sql.asks import First, Judging, both, count
from skewguard.expectations.sql.columns import Column, Kind
from skewguard.expectations.sql.conditions import condition
from skewguard.expectations.sql.context import Compile, Context, NotCompiled, mostly
from skewguard.expectations.sql.outcomes import Counted, between_outcome, map_outcome
from skewguard.expectations.suites import Rule


def _at_once(outcome: Outcome) -> Callable[[], Judging]:
    def judging() -> Judging:
        return outcome
        yield []  # a generator that asks nothing

    return judging


def _row_count(rule: Rule, context: Context) -> Callable[[], Judging]:
    limits, rows = limits_of(rule), count(both(condition(rule, context)))

    def judging() -> Judging:
        return between_outcome((yield [rows])[rows], limits)

    return judging


def _row_count_equal(rule: Rule, context: Context) -> Callable[[], Judging]:
    rows, wanted = count(both(condition(rule, context))), rule.resolved.get("value")

    def judging() -> Judging:
        found = (yield [rows])[rows]
        return Outcome(found == wanted, {"observed_value": found})

    return judging


def _column_count(rule: Rule, context: Context) -> Callable[[], Judging]:
    return _at_once(between_outcome(len(context.columns), limits_of(rule)))


def _column_count_equal(rule: Rule, context: Context) -> Callable[[], Judging]:
    found = len(context.columns)
    return _at_once(Outcome(found == rule.resolved.get("value"), {"observed_value": found}))


def _column_exists(rule: Rule, context: Context) -> Callable[[], Judging]:
    names, wanted, index = list(context.columns), rule.resolved.get("column"), rule.resolved.get("column_index")
    if index:
        return _at_once(Outcome(-len(names) <= index < len(names) and names[index] == wanted, {}))
    return _at_once(Outcome(wanted in names, {}))


def _columns_in_order(rule: Rule, context: Context) -> Callable[[], Judging]:
    found, wanted = list(context.columns), rule.kwargs.get("column_list")
    if not isinstance(wanted, list | tuple):
        raise NotCompiled("the columns are not a list")
    if found == list(wanted):
        return _at_once(Outcome(True, {"observed_value": found}))
    mismatched = [
        {"Expected Column Position": position, "Expected": one, "Found": other}
        for position, (one, other) in enumerate(zip_longest(wanted, found))
        if one != other
    ]
    return _at_once(Outcome(False, {"observed_value": found, "details": {"mismatched": mismatched}}))


def _columns_in_set(rule: Rule, context: Context) -> Callable[[], Judging]:
    found, given = set(context.columns), rule.kwargs.get("column_set")
    if not isinstance(given, list | tuple | set):
        raise NotCompiled("the columns are not a list")
    wanted = set(given)
    result: dict[str, Any] = {"observed_value": sorted(found)}
    sides = {"unexpected": sorted(found - wanted), "missing": sorted(wanted - found)}
    mismatched = {name: names for name, names in sides.items() if names}
    if mismatched:
        result["details"] = {"mismatched": mismatched}
    exact = rule.resolved.get("exact_match")
    return _at_once(Outcome(not (mismatched if exact else sides["missing"]), result))


_NATIVE: dict[str, type] = {
    "bool": bool, "int": int, "long": int, "float": float, "bytes": bytes, "complex": complex, "str": str,
    "string_types": str, "list": list, "dict": dict,
}  # fmt: skip


def _types(name: Any) -> list[Any]:
    """What GX takes a type's name for: NumPy's, pandas' and Python's types. Raises NotCompiled for other names."""
    found: list[Any] = []
    try:
        found += [np.dtype(name).type]
    except (TypeError, ValueError):
        if name == "Timestamp":
            return ["Timestamp"]
        if str(name).lower() not in _NATIVE:
            raise NotCompiled(f"what {name!r} is in pandas is not known here") from None
    native = _NATIVE.get(str(name).lower())
    return found if native is None else [*found, native]


def _numpy(column: Column) -> Any:
    """The NumPy dtype that a declared type has in GX's frame; None where it is objects or timestamps."""
    if column.kind in (Kind.WHOLE, Kind.REAL, Kind.BOOL):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        kind = pa.float32() if pa.types.is_float16(kind) else kind  # frames have none
        return np.dtype(kind.to_pandas_dtype())
    return None


def _of_type(rule: Rule, context: Context) -> Callable[[], Judging]:
    if rule.resolved.get("type_") in ("object", "object_", "O"):
        raise NotCompiled("what is an object is for NumPy to say")
    column, types = context.column(rule), _types(rule.resolved.get("type_"))
    condition(rule, context)  # GX takes no notice of what it says, but breaks where it cannot be asked
    if column.kind is Kind.TIME:
        return _at_once(Outcome("Timestamp" in types, {"observed_value": "Timestamp"}))
    dtype = _numpy(column)
    if dtype is not None:
        return _at_once(Outcome(dtype.type in types, {"observed_value": dtype.type.__name__}))
    return _objects(rule, context, types)


def _in_types(rule: Rule, context: Context) -> Callable[[], Judging]:
    column, names = context.column(rule), rule.resolved.get("type_list")
    if not isinstance(names, list):
        raise NotCompiled("the types are not a list")
    types = [one for name in names for one in _types(name)]
    condition(rule, context)
    if column.kind is Kind.TIME:
        raise NotCompiled("how pandas compares the type of timestamps is left to it")
    dtype = _numpy(column)
    if dtype is not None:
        return _at_once(Outcome(dtype in types, {"observed_value": dtype.type.__name__}))
    return _objects(rule, context, types)


def _objects(rule: Rule, context: Context, types: list[Any]) -> Callable[[], Judging]:
    """GX looks at every object; those of one Arrow type are all of one type in Python."""
    column = context.of_kind(rule, Kind.TEXT)
    fits = any(isinstance(one, type) and issubclass(str, one) for one in types)
    where, share = condition(rule, context), mostly(rule)
    rows, judged = count(both(where)), count(both(where, column.present))
    first = First((column.sql,), both(where, column.present))

    def judging() -> Judging:
        got = yield [rows, judged]
        bad = 0 if fits else got[judged]
        shown = (yield [first])[first] if bad else []
        return map_outcome(Counted(got[rows], got[judged], bad), share, shown)

    return judging


RULES: dict[str, Compile] = {
    "expect_table_row_count_to_be_between": _row_count,
    "expect_table_row_count_to_equal": _row_count_equal,
    "expect_table_column_count_to_be_between": _column_count,
    "expect_table_column_count_to_equal": _column_count_equal,
    "expect_column_to_exist": _column_exists,
    "expect_table_columns_to_match_ordered_list": _columns_in_order,
    "expect_table_columns_to_match_set": _columns_in_set,
    "expect_column_values_to_be_of_type": _of_type,
    "expect_column_values_to_be_in_type_list": _in_types,
}
