"""Columns of a declared dtype in Arrow, and Feast's stored bytes (``feast.types.Value``), without Feast."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.errors import BadInputError, CorruptValueError
from skewguard.online import columns
from skewguard.online.columns import Cells
from skewguard.online.encoding import encode_value
from skewguard.online.timestamps import SECONDS, decode_timestamp, in_range
from skewguard.online.values import BY_DTYPE, decode_typed, json_text
from skewguard.sql import CELL_STATES, VALUE

_FIXED: Final = {"DOUBLE": (0x29, "<f8"), "FLOAT": (0x35, "<f4")}
_VARINTS: Final = {"INT32": 0x18, "INT64": 0x20, "BOOL": 0x38, "UNIX_TIMESTAMP": 0x40}
_TEXTS: Final = {"BYTES": 0x0A, "STRING": 0x12}
_NUMPY: Final = {
    "DOUBLE": "<f8",
    "FLOAT": "<f4",
    "INT32": "<i4",
    "INT64": "<i8",
    "BOOL": "?",
    "UNIX_TIMESTAMP": "<i8",
}


def encode_column(dtype: str, values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The stored bytes of every value of a column, as a binary array; nulls, and NaN in a scalar column, are ``b""``.

    The column may have any type that casts to ``dtypes.arrow_type(dtype)`` without loss (timestamps: cut down to the
    second). Raises BadInputError where it does not.
    """
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    array = declared(dtype, values)
    if dtype in _FIXED:
        tag, numpy_dtype = _FIXED[dtype]
        numbers = np.asarray(array.fill_null(math.nan), dtype=numpy_dtype)
        return _blank(columns.write_fixed(tag, numbers), np.isnan(numbers))
    if dtype in _VARINTS:
        nulls = np.asarray(array.is_null())
        return _blank(columns.write_varints(_VARINTS[dtype], _integers(dtype, array)), nulls)
    if dtype in _TEXTS:
        texts = array.cast(pa.binary()).fill_null(b"")
        return _blank(columns.write_texts(_TEXTS[dtype], texts), np.asarray(array.is_null()))
    if dtypes.element(dtype) == "UNIX_TIMESTAMP":
        array = array.cast(pa.list_(pa.int64()))
        seconds = (None if v is None else _list_seconds(v) for v in array.to_pylist())
        return pa.array([encode_value(dtype, value) for value in seconds], pa.binary())
    return pa.array([encode_value(dtype, value) for value in array.to_pylist()], pa.binary())


def _list_seconds(microseconds: Sequence[int | None]) -> list[int | None]:
    return [None if value is None else value // 1_000_000 for value in microseconds]


def _blank(encoded: pa.Array, nulls: columns.Bools) -> pa.Array:
    return pc.if_else(pa.array(nulls), pa.scalar(b"", pa.binary()), encoded) if nulls.any() else encoded


def vectorised(dtype: str) -> bool:
    """Whether ``encode_column`` takes this dtype without a Python object for each value."""
    return dtype in _FIXED or dtype in _VARINTS or dtype in _TEXTS


def declared(dtype: str, values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The column in the Arrow type of its dtype; raises BadInputError."""
    if dtype not in BY_DTYPE:
        raise BadInputError("dtype", repr(dtype), f"one of {', '.join(BY_DTYPE)}")
    target = dtypes.arrow_type(dtype)
    if values.type == target or dtype in ("PDF_BYTES", "IMAGE_BYTES"):
        return values
    if pa.types.is_nested(values.type) and not pa.types.is_nested(target):
        return values  # a map or struct column under a dtype that travels as JSON: Python values encode as well
    # a timestamp finer than microseconds loses nothing that Feast would keep
    unsafe = pa.types.is_timestamp(values.type) or dtypes.element(dtype) == "UNIX_TIMESTAMP" or dtype == "FLOAT"
    try:
        return values.cast(target, safe=not unsafe)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadInputError(f"a {dtype} column", str(values.type), f"{target} ({error})") from error


def _integers(dtype: str, array: pa.Array) -> columns.Array:
    if dtype == "UNIX_TIMESTAMP":
        micros = np.asarray(array.cast(pa.int64()).fill_null(0))
        return np.asarray(micros // 1_000_000, dtype=np.int64)
    return np.asarray(array.fill_null(False if dtype == "BOOL" else 0), dtype=np.int64)


def decode_column(dtype: str, raws: Cells | Sequence[bytes | None]) -> tuple[pa.Array, pa.Array]:
    """A column of stored bytes as ``dtypes.arrow_type(dtype)``, and the state of each (``CELL_STATES``), as strings.

    None is "absent", ``b""`` and Feast's null timestamp are "null". A value stored under another dtype is "value"
    where the declared dtype holds the same value (integers of another width, whole doubles, 0 and 1 for BOOL, a
    double rounded to FLOAT, seconds for UNIX_TIMESTAMP, a text for a text-like dtype, list for set), else "corrupt",
    as are bytes that do not decode. Only "value" is not null in the column.
    """
    cells = raws if isinstance(raws, Cells) else Cells.of(raws)
    codes = np.clip(cells.sizes + 1, 0, 2).astype(np.int8)
    array = _DECODERS.get(dtype, _decode_slowly)(dtype, cells, codes)
    # not at import: making an Arrow array from Python imports pandas where it is installed
    if len(codes) and (codes == 2).all():
        return array, pa.repeat(pa.scalar(VALUE), len(codes))
    return array, pa.array(CELL_STATES).take(pa.array(codes))


def event_micros(stamps: Cells) -> pa.Array:
    """Microseconds since 1970 of stored event timestamps; null where there are none. Rows share few of them."""
    encoded = stamps.binary().dictionary_encode()
    distinct = [_event_micros(raw) for raw in encoded.dictionary.to_pylist()]
    return pa.array(distinct, pa.int64()).take(encoded.indices)


def _event_micros(raw: bytes) -> int | None:
    try:
        return decode_timestamp(raw) // 1000
    except CorruptValueError:
        return None


def _slow(dtype: str, raw: bytes) -> tuple[int, Any]:
    """State code and value of one stored value."""
    try:
        stored, value = decode_typed(raw)
        if stored is None:
            return 1, None
        return 2, _convert(dtype, stored, value)
    except (CorruptValueError, _MismatchError):
        return 3, None


def _decode_numbers(dtype: str, cells: Cells, codes: columns.Array) -> pa.Array:
    if dtype in _FIXED:
        numbers, fits = columns.read_fixed(_FIXED[dtype][0], cells, _FIXED[dtype][1])
    else:
        numbers, fits = columns.read_varints(_VARINTS[dtype], cells)
    if dtype == "UNIX_TIMESTAMP":
        fits &= (numbers >= SECONDS[0]) & (numbers <= SECONDS[1])
    full = (
        np.where(fits, numbers, 0).astype(_NUMPY[dtype])
        if not fits.all()
        else numbers.astype(_NUMPY[dtype], copy=False)
    )
    for place, value in _exceptions(dtype, cells, codes, fits):
        full[place] = 0 if value is None else value
    if dtype == "UNIX_TIMESTAMP":
        return pa.array(full * 1_000_000, mask=codes != 2).cast(dtypes.TIMESTAMP)
    return pa.array(full, type=dtypes.arrow_type(dtype), mask=None if (codes == 2).all() else codes != 2)


def _exceptions(dtype: str, cells: Cells, codes: columns.Array, fits: columns.Bools) -> Iterator[tuple[int, Any]]:
    """Places and values of the stored values that are not the usual bytes of the dtype; sets their codes."""
    for place in np.flatnonzero((codes == 2) & ~fits).tolist():
        codes[place], value = _slow(dtype, cells.raw(place) or b"")
        yield place, value


def _decode_texts(dtype: str, cells: Cells, codes: columns.Array) -> pa.Array:
    array, fits = columns.read_texts(_TEXTS[dtype], cells)
    odd = dict(_exceptions(dtype, cells, codes, fits))
    if odd:
        values = array.to_pylist()
        for place, value in odd.items():
            values[place] = value.encode() if isinstance(value, str) else value
        array = pa.array(values, pa.binary())
    if not (codes == 2).all():
        array = pc.if_else(pa.array(codes == 2), array, pa.scalar(None, pa.binary()))
    if dtype == "BYTES":
        return array
    try:
        return array.cast(pa.string())
    except pa.ArrowInvalid:  # a text that is not UTF-8 is among them
        return _decode_slowly(dtype, cells, codes)


def _decode_slowly(dtype: str, cells: Cells, codes: columns.Array) -> pa.Array:
    values: list[Any] = [None] * len(codes)
    for place, value in _exceptions(dtype, cells, codes, np.zeros(len(codes), dtype=np.bool_)):
        values[place] = value
    if dtypes.element(dtype) == "UNIX_TIMESTAMP":
        micros = [None if v is None else [None if s is None else s * 1_000_000 for s in v] for v in values]
        return pa.array(micros, pa.list_(pa.int64())).cast(dtypes.arrow_type(dtype))
    return pa.array(values, dtypes.arrow_type(dtype))


_DECODERS: dict[str, Callable[[str, Cells, columns.Array], pa.Array]] = {
    **dict.fromkeys([*_FIXED, *_VARINTS], _decode_numbers),
    **dict.fromkeys(_TEXTS, _decode_texts),
}


class _MismatchError(Exception):
    """The stored value is not one of the declared dtype."""


_TEXT_LIKE = frozenset({"STRING", "JSON", "UUID", "TIME_UUID", "DECIMAL"})
_INTEGER_BITS = {"INT32": 31, "INT64": 63}


def _convert(dtype: str, stored: str, value: Any) -> Any:
    """A decoded value for a declared dtype; raises _MismatchError where that would change it."""
    inner, stored_inner = dtypes.element(dtype), dtypes.element(stored)
    if inner is not None:
        if stored_inner is None:
            raise _MismatchError
        return [None if item is None else _convert_scalar(inner, stored_inner, item) for item in value]
    if not dtypes.is_json(dtype):
        return _convert_scalar(dtype, stored, value)
    if dtype == "JSON" and stored in _TEXT_LIKE:
        return _canonical(value)
    if dtype == "JSON_LIST" and stored in ("JSON_LIST", "STRING_LIST"):
        return "[" + ",".join(map(_canonical, value)) + "]"
    if _family(dtype) != _family(stored):
        raise _MismatchError
    return json_text(value)


def _family(dtype: str) -> str:
    """Dtypes with the same values: a struct is stored as a map is, a nested set as a nested list, a PDF as bytes."""
    same = {"STRUCT": "MAP", "STRUCT_LIST": "MAP_LIST", "VALUE_SET": "VALUE_LIST"}
    return same.get(dtype, "BYTES" if dtype.endswith("_BYTES") else dtype)


def _canonical(text: str) -> str:
    try:
        return json_text(json.loads(text))
    except ValueError as error:
        raise _MismatchError from error


def _convert_scalar(dtype: str, stored: str, value: Any) -> Any:
    if dtype == "UNIX_TIMESTAMP" and stored in ("UNIX_TIMESTAMP", "INT32", "INT64"):
        return value if in_range(value) else _mismatch()
    if dtype == stored:
        return value
    number = isinstance(value, bool | int | float)
    if dtype in _INTEGER_BITS and number:
        whole = not isinstance(value, float) or value.is_integer()
        limit = 2 ** _INTEGER_BITS[dtype]
        return int(value) if whole and -limit <= value < limit else _mismatch()
    if dtype in dtypes.FLOATS and number:
        return _as_float(dtype, value)
    if dtype == "BOOL" and number and value in (0, 1):
        return bool(value)
    if dtype in _TEXT_LIKE and stored in _TEXT_LIKE:
        return value
    return _mismatch()


def _as_float(dtype: str, value: Any) -> float:
    number = float(value)
    if isinstance(value, int) and int(number) != value:
        return float(_mismatch())
    if dtype == "FLOAT" and math.isfinite(number) and abs(number) > float(np.finfo(np.float32).max):
        return float(_mismatch())
    return number


def _mismatch() -> Any:
    raise _MismatchError
