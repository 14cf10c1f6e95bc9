"""What was sent instead of stored values, put into the columns of a log."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from skewguard import dtypes
from skewguard.online.values import json_text
from skewguard.serving_log.record import STATUS_CODES, LoggedRows

FALLBACK = "__fallback"
Array = npt.NDArray[Any]


class SentInstead:
    """What was sent instead in the rows of some records; ``counts`` are the rows of each."""

    def __init__(self, records: Sequence[LoggedRows], counts: Array) -> None:
        self._rows = int(counts.sum())
        self._found: dict[int, list[tuple[int, str, Any]]] = {}
        self._kinds: dict[int, dict[str, str]] = {}
        for start, record in zip((np.cumsum(counts) - counts).tolist(), records, strict=True):
            for place, cells in (record.sent or {}).items():
                self._found.setdefault(place, []).extend((start + row, kind, value) for row, kind, value in cells)

    def put(self, place: int, column: str, dtype: str, values: pa.Array, codes: Array) -> tuple[pa.Array, Array]:
        """The values and status codes of a feature as they were sent. ``place``: its own in the answer."""
        cells = self._found.get(place)
        if not cells:
            return values, codes
        rows = np.array([row for row, _, _ in cells])
        sent = pa.array([as_arrow(dtype, value) for _, _, value in cells], dtypes.arrow_type(dtype))
        order = np.arange(self._rows)
        order[rows] = self._rows + np.arange(len(cells))
        statuses = codes.copy()
        statuses[rows] = [STATUS_CODES["NULL_VALUE" if value is None else "PRESENT"] for _, _, value in cells]
        for row, kind, _ in cells:
            self._kinds.setdefault(row, {})[column] = kind
        both = pa.chunked_array([values.cast(sent.type), sent])
        return both.take(pa.array(order)).combine_chunks(), statuses

    def column(self) -> pa.Array:
        """By row the kinds by column as JSON text, null where nothing was; call it last."""
        kinds = [self._kinds.get(row) for row in range(self._rows)] if self._kinds else [None] * self._rows
        return pa.array([None if found is None else json_text(found) for found in kinds], pa.string())


def replaced_cells(rows: pa.Table) -> dict[str, Array]:
    """Of some rows of a log: by column where another value was sent. Shape of each (rows,), bool."""
    found: dict[str, Array] = {}
    if FALLBACK not in rows.column_names:
        return found
    for row, text in enumerate(rows.column(FALLBACK).to_pylist()):
        for column in json.loads(text) if text else ():
            found.setdefault(column, np.zeros(rows.num_rows, dtype=bool))[row] = True
    return found


def as_arrow(dtype: str, value: Any) -> Any:
    """A value as a response has it in JSON, as ``pa.array`` takes it for the dtype."""
    inner = dtypes.element(dtype)
    if value is None:
        return None
    if inner is not None:
        return [as_arrow(inner, item) for item in value]
    if dtypes.is_json(dtype):
        return value if isinstance(value, str) else json_text(value)
    if dtype in dtypes.FLOATS:
        return float(value)
    if dtype == "BYTES":
        return base64.b64decode(value)
    return value * 1_000_000 if dtype == "UNIX_TIMESTAMP" else value
