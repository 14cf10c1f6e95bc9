"""Arrow tables as pandas frames on NumPy, in the one form in which GX's pandas engine judges them as Arrow means them.

Why not ``table.to_pandas()``: GX takes NaN in a pyarrow-backed frame for a value; whole numbers beside nulls would
become doubles that cannot hold ids above 2^53; a type expectation would then see the wrong dtype; lists would come as
arrays, which no rule on sets or types takes for lists.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import pandas as pd

EXACT_FLOAT = 2**53
"""Below it every whole number is a double of its own."""


def value_frame(table: pa.Table, columns: Iterable[str]) -> pd.DataFrame:
    """The columns for rules about values; null and NaN are both missing, as GX has it.

    Whole numbers keep their dtype where there is no null, else are float64; where a double could not hold them (from
    2^53 on) they are Python integers, which compare with any bound exactly. Floats are float64; booleans with nulls,
    strings, bytes and lists are Python objects; timestamps are datetime64[unit, UTC].
    """
    return _frame(table, columns, _values)


def type_frame(table: pa.Table, columns: Iterable[str]) -> pd.DataFrame:
    """The columns for rules about dtypes: as ``value_frame``, but nulls never change the dtype that Arrow declares."""
    return _frame(table, columns, _typed)


def exact_frame(table: pa.Table, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """The columns (None: all) for rules on both sides: null is not NaN, and whole numbers keep every digit.

    ``table.to_pandas()`` rounds whole numbers above 2^53 in a column with nulls, and makes one of null and NaN.
    """
    import pandas as pd

    chosen = table if columns is None else table.select(list(columns))
    frame: pd.DataFrame = chosen.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def holds_objects(kind: pa.DataType) -> bool:
    """Whether a column of this type is one of Python objects in either frame: text, bytes, lists."""
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    numbers = pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_boolean(inner)
    return not (numbers or pa.types.is_temporal(inner))


def _frame(table: pa.Table, columns: Iterable[str], convert: Any) -> pd.DataFrame:
    import pandas as pd

    data = {name: convert(_flat(table.column(name))) for name in columns}
    return pd.DataFrame(data, index=pd.RangeIndex(table.num_rows), copy=False)


def _flat(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
    elif pa.types.is_date(kind):
        array = array.cast(pa.timestamp("us", tz="UTC"))
    elif pa.types.is_timestamp(kind) and kind.tz is None:
        array = pc.assume_timezone(array, "UTC")  # naive is UTC, as everywhere
    elif pa.types.is_timestamp(kind):
        array = array.cast(pa.timestamp(kind.unit, "UTC"))  # the same moments, told in one zone
    elif pa.types.is_float16(kind):
        array = array.cast(pa.float32())
    return array


def _values(array: pa.Array) -> Any:
    kind = array.type
    if pa.types.is_floating(kind):
        return array.cast(pa.float64()).to_numpy(zero_copy_only=False)
    if pa.types.is_integer(kind):
        if not _is_exact(array):
            return _objects(array)
        return _common(array.cast(pa.float64()) if array.null_count else array)
    if pa.types.is_boolean(kind) and array.null_count:
        return _objects(array)
    return _common(array)


def _is_exact(array: pa.Array) -> bool:
    """Whether doubles hold these whole numbers, each as itself."""
    if array.type.bit_width < 64:
        return True
    span = pc.min_max(array).as_py()
    return span["min"] is None or -EXACT_FLOAT < span["min"] <= span["max"] < EXACT_FLOAT


def _typed(array: pa.Array) -> Any:
    kind = array.type
    if pa.types.is_integer(kind):
        return array.fill_null(0).to_numpy(zero_copy_only=False)
    if pa.types.is_boolean(kind):
        return array.fill_null(False).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(kind):
        return array.to_numpy(zero_copy_only=False)
    return _common(array)


def _common(array: pa.Array) -> Any:
    kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return array.to_numpy(zero_copy_only=False)
    if pa.types.is_timestamp(kind):
        return array.to_pandas()
    return _objects(array)


def _objects(array: pa.Array) -> Any:
    import numpy as np

    out = np.empty(len(array), dtype=object)
    for index, value in enumerate(array.to_pylist()):
        out[index] = value
    return out
