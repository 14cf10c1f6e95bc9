"""The differing cells of one feature from two plain columns, as a comparison gives them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from skewguard import dtypes
from skewguard.causes.cells import DifferingCells, explain
from skewguard.causes.relation import Integers

Column = tuple[str, Sequence[Any], Sequence[Any]]
"""dtype, offline values, online values."""


class PlainColumns:
    """OtherColumns of plain columns; ``rows`` are those of the cells."""

    def __init__(self, columns: Mapping[str, Column], rows: Integers) -> None:
        self.rows = rows
        self.dtypes = {name: dtype for name, (dtype, _, _) in columns.items()}
        self.sides = {
            name: tuple(pa.array(list(side), dtypes.arrow_type(dtype)) for side in sides)
            for name, (dtype, *sides) in columns.items()
        }

    def offline(self, names: Sequence[str], cells: Integers) -> list[pa.Array]:
        return [self.sides[name][0].take(pa.array(self.rows[cells])) for name in names]

    def online(self, names: Sequence[str], cells: Integers) -> list[pa.Array]:
        return [self.sides[name][1].take(pa.array(self.rows[cells])) for name in names]

    def population(self, name: str) -> pa.Array:
        return self.sides[name][0]


def _differ(a: Any, b: Any) -> bool:
    nan = [isinstance(value, float) and math.isnan(value) for value in (a, b)]
    return not (a == b or all(nan))


def differing(
    dtype: str, offline: Sequence[Any], online: Sequence[Any], others: Mapping[str, Column] | None = None
) -> DifferingCells:
    """The cells in which two columns differ, with the whole offline column as the population."""
    kind = dtypes.arrow_type(dtype)
    rows = np.array([i for i, pair in enumerate(zip(offline, online, strict=True)) if _differ(*pair)], dtype=np.int64)
    return DifferingCells(
        dtype=dtype,
        offline=pa.array([offline[i] for i in rows], kind),
        online=pa.array([online[i] for i in rows], kind),
        states=np.full(len(rows), "value"),
        superseded=np.zeros(len(rows), dtype=bool),
        created_late=np.zeros(len(rows), dtype=bool),
        population=pa.array(list(offline), kind),
        rows=len(offline),
        others=PlainColumns(others or {}, rows),
    )


def named(
    dtype: str, offline: Sequence[Any], online: Sequence[Any], others: Mapping[str, Column] | None = None
) -> dict[str, int]:
    """Cause -> cells; proves on the way that every cell has exactly one cause."""
    cells = differing(dtype, offline, online, others)
    found = explain(cells)
    assert np.array_equal(sum((e.mask.astype(int) for e in found), np.zeros(len(cells.offline), int)),
                          np.ones(len(cells.offline), int))  # fmt: skip
    counts: dict[str, int] = {}
    for item in found:
        counts[item.cause.value] = counts.get(item.cause.value, 0) + int(item.mask.sum())
    return counts


def evidence(
    dtype: str, offline: Sequence[Any], online: Sequence[Any], others: Mapping[str, Column] | None = None
) -> dict[str, Any]:
    """The evidence of the only cause."""
    (only,) = explain(differing(dtype, offline, online, others))
    return only.evidence
