"""Input rows on which two engines are likely to part: each input at the edges of its dtype, the others as usual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
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
    "INT32": (-1, 2**31 - 1, -(2**31)),
    "INT64": (-1, 2**53 + 1, 2**63 - 1, -(2**63)),
    "FLOAT": (-1.5, 0.1, float("nan"), float("inf"), float("-inf"), -0.0, 3.0e38),
    "DOUBLE": (-1.5, 0.1, float("nan"), float("inf"), float("-inf"), -0.0, 1e308, 5e-324),
    "STRING": (" a ", "Ä", "x" * 300),
    "BYTES": (b"\x00\xff",),
    "UNIX_TIMESTAMP": (datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)),
}


@dataclass(frozen=True)
class EdgeRows:
    """``table``: a column an input. ``labels`` tell each row ("x is null"); ``common``: may real data well hold it?"""

    table: pa.Table
    labels: tuple[str, ...]
    common: tuple[bool, ...]


def usual(dtype: str) -> Any:
    """A value of a dtype like any other."""
    element = dtypes.element(dtype)
    return [usual(element)] if element is not None else _USUAL.get(dtype, "{}")


def edge_rows(inputs: Mapping[str, FieldDef], likely: Mapping[str, Any]) -> EdgeRows:
    """One row for each edge of each input (by column name), then all inputs null, and all zero or empty.

    The other inputs hold their ``likely`` value, or the usual one of their dtype. Rows: about ten an input.
    """
    base = {name: likely.get(name, usual(field.dtype)) for name, field in inputs.items()}
    rows: list[tuple[str, bool, dict[str, Any]]] = []
    for name, field in inputs.items():
        for value, common in _edges(field.dtype):
            rows.append((_label(field.name, value), common, {**base, name: value}))
    if len(inputs) > 1:
        rows.append(("everything is null", True, dict.fromkeys(inputs)))
        firsts = {name: next((v for v, common in _edges(f.dtype) if common and v is not None), base[name])
                  for name, f in inputs.items()}  # fmt: skip
        rows.append(("everything is zero or empty", True, firsts))
    table = {
        name: pa.array([row[name] for _, _, row in rows], dtypes.arrow_type(field.dtype))
        for name, field in inputs.items()
    }
    return EdgeRows(pa.table(table), tuple(label for label, _, _ in rows), tuple(common for _, common, _ in rows))


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
