"""What may be sent in a feature's place: one value that the training set has, typical of it.

The median of numbers and timestamps (the lower one of two, so that it is a value that was there), the mode of
everything else (the smaller one of two as frequent, by its text). Nulls and what is not finite do not count. A feature
that has nothing but those has none, nor has one that holds maps, structs or nested lists.
"""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes


def substitutes(columns: Mapping[str, tuple[str, pa.ChunkedArray]]) -> dict[str, Any]:
    """The value of each column that has one, as responses have it in JSON. ``columns``: name -> dtype, values."""
    found = {name: substitute(dtype, values) for name, (dtype, values) in columns.items()}
    return {name: value for name, value in found.items() if value is not None}


def substitute(dtype: str, values: pa.ChunkedArray) -> Any:
    """The value for one column, None where there is none."""
    values = values.drop_null()
    if dtypes.is_json(dtype) or not len(values):
        return None
    if dtype in dtypes.NUMBERS or dtype == "UNIX_TIMESTAMP":
        return _json(_median(dtype, values))
    counted = Counter(_counts(dtype, values))
    most = max(counted.values())
    return _json(min((value for value, count in counted.items() if count == most), key=repr))


def _median(dtype: str, values: pa.ChunkedArray) -> Any:
    if dtype in dtypes.FLOATS:
        values = values.filter(pc.is_finite(values))
    moments = dtype == "UNIX_TIMESTAMP"
    numbers = values.cast(pa.int64()) if moments else values
    (found,) = pc.quantile(numbers, q=0.5, interpolation="lower")
    return found.cast(values.type).as_py()


def _counts(dtype: str, values: pa.ChunkedArray) -> dict[Any, int]:
    if dtypes.is_list(dtype):
        return Counter(tuple(value) for value in values.to_pylist())
    return {item["values"]: item["counts"] for item in pc.value_counts(values).to_pylist()}


def _json(value: Any) -> Any:
    """As the server writes values: bytes as base64, timestamps as whole seconds since 1970, NaN as text."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime):
        return int(value.timestamp() // 1)
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
