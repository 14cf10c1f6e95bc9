"""Whether a question can be asked of columns of these dtypes, so that the answer is the one that GX gives of one row.

Used twice: when a suite is compiled (a rule that does not fit is listed as unsupported, with the reason), and when a
document is loaded (one that does not fit is refused).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from skewguard import dtypes
from skewguard.expectations.rows import checks
from skewguard.expectations.rows.checks import Node

TEXTS = frozenset({"STRING", "UUID", "TIME_UUID", "DECIMAL", "ZONED_TIMESTAMP"})
_ORDERED = ("==", "!=", "IN", "NOT_IN")


def family(dtype: str) -> str:
    """number, bool, text, bytes, time, list or json."""
    if dtype in dtypes.NUMBERS:
        return "number"
    if dtype in TEXTS:
        return "text"
    named = {"BOOL": "bool", "BYTES": "bytes", "UNIX_TIMESTAMP": "time"}
    return named.get(dtype) or ("list" if dtypes.is_list(dtype) else "json")


def misfit(node: Node, columns: Mapping[str, str]) -> str | None:
    """Why this check or condition cannot be asked of columns of these dtypes; None where it can."""
    for name in node.columns:
        if name not in columns:
            return f"no column {name!r} is served"
    kinds = [family(columns[name]) for name in node.columns]
    if isinstance(node, checks.AnyOf):
        return next((why for part in node.conditions if (why := misfit(part, columns))), None)
    if isinstance(node, checks.Missing):
        return None
    for name, kind in zip(node.columns, kinds, strict=True):
        if kind == "json" and not isinstance(node, checks.OfType):
            return f"{columns[name]} column {name!r} is JSON text in a batch and a structure in the server"
    special = _MISFITS.get(type(node))
    return None if special is None else special(node, kinds, columns)


def _between(node: Any, kinds: Sequence[str], columns: Mapping[str, str]) -> str | None:
    bounds = [value for value in (node.low, node.high) if value is not None]
    if not bounds:
        return "it has no bound"
    times = {isinstance(value, datetime) for value in bounds}
    wanted = {"number": False, "bool": False, "time": True}.get(kinds[0])
    if wanted is None or times != {wanted}:
        return f"GX cannot compare {columns[node.column]} with {'a time' if True in times else 'a number'}"
    if len(bounds) == 2 and node.low > node.high:
        return f"the lower bound {node.low} is above the upper one {node.high}"
    return None


def _members(values: Sequence[Any], kind: str, dtype: str) -> str | None:
    times = {isinstance(value, datetime) for value in values}
    if kind == "list":
        return "a list is in no set"
    if kind == "time" and False in times:
        return "a set for timestamps holds times with their zone only"
    if kind != "time" and True in times:
        return f"no {dtype} value is a time"
    return None


def _in_set(node: Any, kinds: Sequence[str], columns: Mapping[str, str]) -> str | None:
    return _members(node.values, kinds[0], columns[node.column])


def _matches(node: Any, _kinds: Sequence[str], columns: Mapping[str, str]) -> str | None:
    inner = dtypes.element(columns[node.column])
    return "the text of a list of timestamps is pandas' own" if inner == "UNIX_TIMESTAMP" else None


def _length(node: Any, kinds: Sequence[str], columns: Mapping[str, str]) -> str | None:
    if isinstance(node.low, datetime) or isinstance(node.high, datetime):
        return "a length is bounded by numbers"
    if node.low is None and node.high is None:
        return "it has no bound"
    return _matches(node, kinds, columns)


def _parses(node: Any, kinds: Sequence[str], columns: Mapping[str, str]) -> str | None:
    if node.parser != "json" and kinds[0] != "text":
        return f"GX cannot parse {columns[node.column]}, only text"
    return None


def _greater(node: Any, kinds: Sequence[str], columns: Mapping[str, str]) -> str | None:
    if len(set(kinds)) == 1 and kinds[0] in ("number", "text", "time", "bytes"):
        return None
    return f"GX cannot order {columns[node.column_a]} and {columns[node.column_b]}"


def _no_lists(_node: Any, kinds: Sequence[str], _columns: Mapping[str, str]) -> str | None:
    return "lists are compared in a batch only" if "list" in kinds else None


def _sum(node: Any, kinds: Sequence[str], columns: Mapping[str, str]) -> str | None:
    others = sorted({columns[name] for name, kind in zip(node.columns, kinds, strict=True) if kind != "number"})
    return f"{', '.join(others)} cannot be added up row by row" if others else None


def _compare(node: Any, kinds: Sequence[str], columns: Mapping[str, str]) -> str | None:
    if node.operator not in ("IN", "NOT_IN") and len(node.parameters) != 1:
        return f"{node.operator} takes one parameter"
    dtype, kind = columns[node.column], kinds[0]
    kind = "number" if kind == "bool" and node.operator in _ORDERED else kind
    wanted = {"number": (bool, int, float), "text": (str,), "time": (datetime,)}.get(kind)
    if wanted is None or not all(isinstance(value, wanted) for value in node.parameters):
        return f"row condition: {dtype} column {node.column!r} is not compared with {node.parameters!r:.60}"
    return None


_MISFITS: Mapping[type[Node], Callable[[Any, Sequence[str], Mapping[str, str]], str | None]] = {
    checks.Between: _between,
    checks.InSet: _in_set,
    checks.Matches: _matches,
    checks.Length: _length,
    checks.Parses: _parses,
    checks.PairEqual: _no_lists,
    checks.PairGreater: _greater,
    checks.PairInSet: _no_lists,
    checks.SumEquals: _sum,
    checks.AllEqual: _no_lists,
    checks.AllDifferent: _no_lists,
    checks.Compare: _compare,
}
