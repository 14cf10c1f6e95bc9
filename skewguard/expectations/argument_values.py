"""Values of an expectation's arguments that GX takes without a word, and that no value can be as expected by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

EXACT_FLOAT = 2**53
"""Up to which every whole number is a double."""

_NEED_A_MEMBER = frozenset(
    {
        "expect_column_values_to_be_in_set",
        "expect_column_most_common_value_to_be_in_set",
        "expect_column_pair_values_to_be_in_set",
    }
)
_OF_ONE_TYPE = frozenset({"expect_column_values_to_be_of_type", "expect_column_type_to_be"})


def value_problems(kind: str, kwargs: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the values of an expectation's arguments, a line each."""
    yield from _bounds(kwargs)
    if isinstance(kwargs.get("mostly"), str | bool):
        yield f"mostly: got {kwargs['mostly']!r}; expected a number from 0 to 1."
    if kind in _NEED_A_MEMBER:
        for key in ("value_set", "value_pairs_set"):
            if isinstance(kwargs.get(key), list | tuple) and not kwargs[key]:
                yield f"{key}: got nothing; expected one value at least, since no value is in an empty set."
    if kind in _OF_ONE_TYPE and isinstance(kwargs.get("type_"), str) and not _is_type(kwargs["type_"]):
        yield (
            f"type_: got {kwargs['type_']!r}, which is no type to GX on pandas; expected a name of NumPy's, pandas' or "
            "Python's, such as float64, int64, bool, str or Timestamp."
        )


def _is_type(name: str) -> bool:
    """Whether GX finds a type by the name, as ``ExpectColumnValuesToBeOfType`` looks for it on pandas."""
    import numpy as np
    import pandas as pd
    import pandas.core.dtypes.dtypes as extensions
    from great_expectations.expectations.type_comparison import native_type_type_map

    try:
        np.dtype(name)
    except (TypeError, ValueError, SyntaxError):
        named = (getattr(module, name, None) for module in (pd, extensions))
        return any(isinstance(one, type) for one in named) or native_type_type_map(name) is not None
    return True


def _bounds(kwargs: Mapping[str, Any]) -> Iterator[str]:
    for key in ("min_value", "max_value"):
        value = kwargs.get(key)
        if isinstance(value, bool):
            yield f"{key}: got {value!r}; expected a number or a time."
        elif isinstance(value, int) and not _is_double(value):
            yield f"{key}: got {value}; GX keeps bounds as doubles, which hold whole numbers up to {EXACT_FLOAT} only."
    pairs = [("min_value", "max_value", kwargs.get("min_value"), kwargs.get("max_value"))]
    quantiles = kwargs.get("quantile_ranges")
    ranges = quantiles.get("value_ranges") if isinstance(quantiles, Mapping) else None
    asked = quantiles.get("quantiles") if isinstance(quantiles, Mapping) else None
    for quantile in asked if isinstance(asked, list) else ():
        if isinstance(quantile, int | float) and not 0 <= quantile <= 1:
            yield f"quantile_ranges.quantiles: got {quantile}; expected shares from 0 to 1."
    for index, pair in enumerate(ranges if isinstance(ranges, list) else ()):
        if isinstance(pair, list) and len(pair) == 2:
            pairs.append((f"value_ranges[{index}][0]", f"value_ranges[{index}][1]", *pair))
    for low_name, high_name, low, high in pairs:
        low, high = _comparable(low), _comparable(high)
        if low is None or high is None or type(low) is not type(high):
            continue
        if low > high:
            yield f"{low_name} {low} is above {high_name} {high}; swap them."
        elif low == high and low_name == "min_value" and (kwargs.get("strict_min") or kwargs.get("strict_max")):
            yield f"{low_name} and {high_name} are both {low}, which nothing lies strictly between; move one of them."


def _is_double(value: int) -> bool:
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def _comparable(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value) if isinstance(value, float) or _is_double(value) else None
    return as_moment(value)


def as_moment(value: Any) -> datetime | None:
    """A time from ISO 8601 text (naive means UTC, a date its midnight); None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
