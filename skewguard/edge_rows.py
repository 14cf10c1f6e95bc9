"""Input rows on which two engines are likely to part: one input, or two, at edges of the dtype, the others as usual."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, combinations, product
from typing import Any

import pyarrow as pa

from skewguard import dtypes
from skewguard.definitions import FieldDef

_TODAY = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_USUAL: Mapping[str, Any] = {
    "INT32": 3, "INT64": 3, "FLOAT": 1.5, "DOUBLE": 1.5, "BOOL": True, "BYTES": b"a", "UNIX_TIMESTAMP": _TODAY,
    "UUID": "8a5d2c6e-0000-4000-8000-000000000001", "TIME_UUID": "8a5d2c6e-0000-1000-8000-000000000001",
    "DECIMAL": "1.5", "ZONED_TIMESTAMP": "2026-01-02T03:04:05+00:00", "STRING": "a",
}  # fmt: skip
_COMMON: Mapping[str, Sequence[Any]] = {
    "INT32": (0,), "INT64": (0,), "FLOAT": (0.0, 2.0), "DOUBLE": (0.0, 2.0), "STRING": ("",), "BYTES": (b"",),
    "BOOL": (False,),
}  # fmt: skip
"""What data hold sooner or later, beside null."""
_RARE: Mapping[str, Sequence[Any]] = {
    "INT32": (1, -1, 2**31 - 1, -(2**31)),
    "INT64": (1, -1, 2**53 + 1, 2**63 - 1, -(2**63)),
    "FLOAT": (-1.5, 0.1, float("nan"), float("inf"), float("-inf"), -0.0, 3.0e38),
    "DOUBLE": (-1.5, 0.1, float("nan"), float("inf"), float("-inf"), -0.0, 1e308, 5e-324),
    "STRING": (" a ", "Ä", "x" * 300),
    "BYTES": (b"\x00\xff",),
    "UNIX_TIMESTAMP": (datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)),
}


PAIRS = 200
"""At most so many rows hold edges of two inputs at once."""


@dataclass(frozen=True)
class EdgeRows:
    """``table``: a column an input. ``labels`` tell each row ("x is null"); ``common``: may real data well hold it?

    ``conditions``: what makes each row an edge, one an input that is at one. ``pairs_left_out``: of ``PAIRS``.
    """

    table: pa.Table
    labels: tuple[str, ...]
    common: tuple[bool, ...]
    conditions: tuple[frozenset[str], ...]
    pairs_left_out: int = 0


def usual(dtype: str) -> Any:
    """A value of a dtype like any other."""
    element = dtypes.element(dtype)
    return [usual(element)] if element is not None else _USUAL.get(dtype, "{}")


_Edge = tuple[str, Any, bool]
"""An input (by column name), a value at an edge of its dtype, whether that is common."""


def edge_rows(inputs: Mapping[str, FieldDef], likely: Mapping[str, Any]) -> EdgeRows:
    """One row for each edge of each input (by column name), all inputs null, all zero or empty, then pairs of edges.

    The other inputs hold their ``likely`` value, or the usual one of their dtype. Rows: about ten an input, and at
    most ``PAIRS`` more: pairs of common edges first, then common beside rare ones, evenly over the inputs.
    """
    base = {name: likely.get(name, usual(field.dtype)) for name, field in inputs.items()}
    edges = {name: [(name, v, common) for v, common in _edges(f.dtype)] for name, f in inputs.items()}
    singles = sorted(chain(*edges.values()), key=lambda edge: not edge[2])  # common ones first: time may run out
    cases: list[tuple[str, Sequence[_Edge]]] = [("", [edge]) for edge in singles]
    if len(inputs) > 1:
        cases.append(("everything is null", [(name, None, True) for name in inputs]))
        firsts = [next((e for e in es if e[2] and e[1] is not None), None) for es in edges.values()]
        cases.append(("everything is zero or empty", [e for e in firsts if e is not None]))
    pairs = _pairs(list(edges.values()))
    cases += [("", pair) for pair in pairs[:PAIRS]]
    features = [field.name for field in inputs.values()]
    shown = {name: f.name if features.count(f.name) == 1 else name for name, f in inputs.items()}
    told = [[_label(shown[name], value) for name, value, _ in case] for _, case in cases]
    columns = {name: [base[name]] * len(cases) for name in inputs}
    for row, (_, case) in enumerate(cases):
        for name, value, _ in case:
            columns[name][row] = value
    return EdgeRows(
        pa.table({name: pa.array(columns[name], dtypes.arrow_type(f.dtype)) for name, f in inputs.items()}),
        tuple(text or " and ".join(labels) for (text, _), labels in zip(cases, told, strict=True)),
        tuple(all(common for _, _, common in case) for _, case in cases),
        tuple(frozenset(labels) for labels in told),
        max(0, len(pairs) - PAIRS),
    )


def _pairs(edges: Sequence[Sequence[_Edge]]) -> list[tuple[_Edge, _Edge]]:
    """Edges of two inputs at once: both common, then one of them; in turn over the pairs of inputs."""
    by_inputs = [list(product(*two)) for two in combinations(edges, 2)]
    found: list[tuple[_Edge, _Edge]] = []
    for common in (2, 1):
        kinds = [[pair for pair in pairs if pair[0][2] + pair[1][2] == common] for pairs in by_inputs]
        found += _in_turn(kinds)
    return found


def _in_turn(lists: Sequence[Sequence[tuple[_Edge, _Edge]]]) -> Iterator[tuple[_Edge, _Edge]]:
    """The first of each, the second of each, and so on."""
    for place in range(max(map(len, lists), default=0)):
        for each in lists:
            if place < len(each):
                yield each[place]


def _edges(dtype: str) -> list[tuple[Any, bool]]:
    """Values and whether they are common."""
    element = dtypes.element(dtype)
    if element is not None:
        return [(None, True), ([], True), ([usual(element)] * 2, True)]
    return [(None, True), *((v, True) for v in _COMMON.get(dtype, ())), *((v, False) for v in _RARE.get(dtype, ()))]


def _label(name: str, value: Any) -> str:
    if value is None:
        return f"{name} is null"
    text = repr(value) if not isinstance(value, datetime) else f"{value:%Y-%m-%d}"
    return f"{name} is {text if len(text) <= 40 else text[:37] + '...'}"
