"""Columns of a pandas frame as Arrow: what is null, NaN, exact or rounded is kept apart where the frame can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.errors import BadInputError

if TYPE_CHECKING:
    import pandas as pd

_EXACT_FLOAT = 2**53
_SCALARS = (
    (pa.types.is_boolean, "BOOL"),
    (pa.types.is_float64, "DOUBLE"),
    (pa.types.is_floating, "FLOAT"),
    (lambda kind: kind in (pa.int64(), pa.uint64(), pa.uint32()), "INT64"),
    (pa.types.is_integer, "INT32"),
    (lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind), "STRING"),
    (lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind), "BYTES"),
    (lambda kind: pa.types.is_timestamp(kind) or pa.types.is_date(kind), "UNIX_TIMESTAMP"),
    (pa.types.is_decimal, "DECIMAL"),
)
_WIDER = {
    frozenset({"INT32", "INT64"}): "INT64",
    **{frozenset({"DOUBLE", other}): "DOUBLE" for other in ("FLOAT", "INT32", "INT64")},
    **{frozenset({"FLOAT", other}): "DOUBLE" for other in ("INT32", "INT64")},
}


def to_arrow(series: pd.Series[Any], name: str) -> pa.Array:
    """A column as Arrow, whatever pandas keeps it in; categories as their values, times in UTC.

    Raises BadInputError for a column of several types.
    """
    try:
        # NaN stays NaN where the column can tell it from null; NumPy's floats cannot
        array = pa.array(series, from_pandas=series.dtype.kind == "f" and isinstance(series.dtype, np.dtype))
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        try:
            array = pa.array(series, from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise BadInputError(f"column {name!r}", f"values of several types ({error})", "values of one") from error
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_timestamp(array.type) and array.type.tz is None:
        array = pc.assume_timezone(array, "UTC")  # naive is UTC, as everywhere
    return array


def dtype_of(array: pa.Array) -> str | None:
    """The Feast dtype that fits an Arrow column, None for one that is all null; BadInputError for one that has none."""
    kind = array.type
    if pa.types.is_null(kind):
        return None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = dtype_of(pa.nulls(0, kind.value_type)) or "DOUBLE"
        return f"{inner}_LIST"
    for test, name in _SCALARS:
        if test(kind):
            return name
    raise BadInputError("column", f"the type {kind}", "numbers, text, bytes, booleans, times or lists; else JSON text")


def common_dtype(offline: pa.Array, online: pa.Array) -> str | None:
    """The dtype under which two columns are compared; None where no value of one can equal one of the other."""
    ours, theirs = dtype_of(offline), dtype_of(online)
    if ours is None or theirs is None or ours == theirs:
        return ours or theirs or "DOUBLE"
    return _WIDER.get(frozenset({ours, theirs}))


def declared(array: pa.Array, dtype: str, name: str) -> pa.Array:
    """The column in the Arrow type of a Feast dtype; raises BadInputError where its values are none."""
    wanted = dtypes.arrow_type(dtype)
    if pa.types.is_floating(array.type) and dtype in dtypes.INTEGERS:
        array = _whole_numbers(array, name)
    if pa.types.is_list(wanted) and wanted.value_type == dtypes.TIMESTAMP:
        return array.cast(wanted, safe=False)
    try:
        return array.cast(wanted, safe=not (pa.types.is_timestamp(wanted) or dtype in dtypes.FLOATS))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadInputError(f"column {name!r}", f"{array.type} ({error})", f"values of {dtype}") from error


def _whole_numbers(array: pa.Array, name: str) -> pa.Array:
    """Whole numbers that pandas made doubles of, because they stand beside nulls."""
    values = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    largest = pc.max(pc.abs(values)).as_py()
    if largest is not None and largest > _EXACT_FLOAT:
        raise BadInputError(
            f"column {name!r}", "whole numbers above 2^53 as doubles, which round them", "a frame of exact_frame(table)"
        )
    return values
