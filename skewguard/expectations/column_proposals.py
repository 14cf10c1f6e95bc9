"""What a column of a training table gives reason to expect: type, filled share, range or set or length.

Every entry comes with the reason in its notes. What a column gives no reason for is not proposed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

MAX_CATEGORIES = 30
HEAD_ROOM = 0.1
_RARE = 0.01
_HALF = 0.5
_LEAST_ROOM = timedelta(days=1)


def expectation(kind: str, severity: str, notes: str, **kwargs: Any) -> dict[str, Any]:
    """An entry of a suite, in GX's own format."""
    return {"type": kind, "kwargs": kwargs, "meta": {}, "severity": severity, "notes": notes}


def column_entries(name: str, column: pa.ChunkedArray) -> Iterator[dict[str, Any]]:
    """The entries of one feature: its type, how often it is filled, and what its values are.

    Numbers get their range, strings a set or their lengths, timestamps the earliest day. No entry bounds a timestamp
    from above (time goes on), nor the length of a list (GX would measure its text). NaN counts as missing.
    """
    kind = column.type
    type_name = _type_name(kind)
    if type_name is not None:
        notes = f"The declared type ({type_name}); another one means that a cast happened on the way."
        yield expectation("expect_column_values_to_be_of_type", "critical", notes, column=name, type_=type_name)
    values = column.drop_null()
    if pa.types.is_floating(kind):
        values = values.filter(pc.invert(pc.is_nan(values)))
    yield from _filled(name, len(values), len(column))
    if len(values) == 0:
        return
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        yield from _range(name, values)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield _set(name, values) or _lengths(name, values)
    elif pa.types.is_timestamp(kind):
        yield _earliest(name, values)


def _type_name(kind: pa.DataType) -> str | None:
    """What GX's pandas engine calls a type; None where it has no name that holds."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return str(kind.to_pandas_dtype().__name__)
    names = (
        (pa.types.is_boolean, "bool"),
        (pa.types.is_string, "str"),
        (pa.types.is_large_string, "str"),
        (pa.types.is_timestamp, "Timestamp"),
        (pa.types.is_list, "list"),
        (pa.types.is_large_list, "list"),
    )
    return next((name for test, name in names if test(kind)), None)


def _filled(name: str, filled: int, rows: int) -> Iterator[dict[str, Any]]:
    """Always filled: the share that so many rows show (rule of three); else what was seen less sampling error and 5
    points. Nothing of a column of which less than half would have to be filled.

    Never critical: a look-up of an entity that is new has no values, and would be refused for it.
    """
    share = filled / rows
    if share == 1:
        floor = min(0.99, math.floor((1 - 3 / rows) * 100) / 100)
        notes = f"Filled in all of the {rows:,} rows. Critical would refuse look-ups of entities that are new."
    else:
        error = 3 * math.sqrt(share * (1 - share) / rows)
        floor = math.floor((share - 0.05 - error) * 100) / 100
        notes = f"Filled in {share:.2%} of {rows:,} rows; less three standard errors and five points."
    if floor >= _HALF:
        yield expectation("expect_column_values_to_not_be_null", "warning", notes, column=name, mostly=floor)


def _range(name: str, values: pa.ChunkedArray) -> Iterator[dict[str, Any]]:
    finite = values.filter(pc.is_finite(values.cast(pa.float64(), safe=False)))
    if len(finite) == 0:
        return
    span = pc.min_max(finite).as_py()
    low, high = float(span["min"]), float(span["max"])
    whole = pa.types.is_integer(values.type)
    room = HEAD_ROOM * (high - low) or HEAD_ROOM * abs(high) or 1.0
    below = low - room
    notes = f"Seen from {low:g} to {high:g}; a tenth of the span is head-room."
    if low >= 0 > below:
        below = 0.0  # what was never negative has no reason to become so
        notes += " Never below zero."
    yield expectation(
        "expect_column_values_to_be_between",
        "warning",
        notes,
        column=name,
        min_value=_bound(below, math.floor, whole),
        max_value=_bound(high + room, math.ceil, whole),
        mostly=0.99,
    )


def _bound(value: float, towards: Callable[[float], int], whole: bool) -> float:
    rounded = _rounded(value, towards)
    return float(towards(rounded)) if whole else rounded


def _rounded(value: float, towards: Callable[[float], int]) -> float:
    """Three significant digits, away from the data."""
    if value == 0:
        return 0.0
    digits = math.floor(math.log10(abs(value))) - 2
    rounded = float(f"{towards(value / 10.0**digits)}e{digits}") if digits > -300 else value
    return rounded if math.isfinite(rounded) else value


def _set(name: str, values: pa.ChunkedArray) -> dict[str, Any] | None:
    """The set of a few values that come again: values seen once tell how many were not seen (Good and Turing)."""
    counts = pc.value_counts(values)
    if len(counts) > MAX_CATEGORIES or pc.sum(pc.equal(counts.field("counts"), 1)).as_py() > _RARE * len(values):
        return None
    notes = f"The {len(counts)} values seen; a new one is not known to the model."
    value_set = sorted(counts.field("values").to_pylist())
    kind = "expect_column_values_to_be_in_set"
    return expectation(kind, "critical", notes, column=name, value_set=value_set, mostly=0.99)


def _lengths(name: str, values: pa.ChunkedArray) -> dict[str, Any]:
    span = pc.min_max(pc.utf8_length(values)).as_py()
    notes = f"Seen with {span['min']} to {span['max']} characters; half the longest is head-room."
    if span["min"] > 0:
        notes += " Never empty."
    return expectation(
        "expect_column_value_lengths_to_be_between",
        "warning",
        notes,
        column=name,
        min_value=min(span["min"], 1),
        max_value=math.ceil(span["max"] * 1.5) or 1,
        mostly=0.99,
    )


def _earliest(name: str, values: pa.ChunkedArray) -> dict[str, Any]:
    # through microseconds: Python has no nanoseconds
    span = pc.min_max(values.cast(pa.timestamp("us", values.type.tz), safe=False)).as_py()
    first, last = (_utc(span[end]) for end in ("min", "max"))
    below = first - max((last - first) * HEAD_ROOM, _LEAST_ROOM)
    notes = (
        f"The first is of {first:%Y-%m-%d}, the last of {last:%Y-%m-%d}; a tenth of the span is head-room, to midnight."
        " An earlier one is a default such as 1970, or of another unit. No bound above: time goes on."
    )
    return expectation(
        "expect_column_values_to_be_between",
        "warning",
        notes,
        column=name,
        min_value=below.replace(hour=0, minute=0, second=0, microsecond=0).isoformat(),
        max_value=None,
        mostly=0.99,
    )


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
