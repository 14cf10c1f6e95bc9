"""Arguments of the skew expectations: checked when one is made, each message naming the argument and what is right."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from great_expectations.compatibility import pydantic
from great_expectations.core.suite_parameters import is_suite_parameter

from skewguard import dtypes
from skewguard.config import Tolerance
from skewguard.errors import BadInputError, ConfigurationError, nearest
from skewguard.profile import ColumnProfile

Number = float | dict[str, Any]
"""A number, or GX's suite parameter in its place."""

_OTHER_DTYPES = ("JSON", "MAP", "STRUCT", "SCALAR_MAP", "VALUE", "PDF_BYTES", "IMAGE_BYTES")
DTYPES = tuple(
    name + ending for name in (*dtypes.scalars(), *_OTHER_DTYPES) for ending in ("", "_LIST", "_SET")
)  # fmt: skip


def checked(*names: str, by: Callable[[Any], Any]) -> Any:
    """A validator of these arguments; a suite parameter is checked when its value is known."""

    def check(cls: Any, value: Any) -> Any:  # noqa: ARG001  (pydantic gives the class)
        return value if value is None or is_suite_parameter(value) else by(value)

    return pydantic.validator(*names, pre=True, allow_reuse=True)(check)


def share(value: Any) -> float:
    """From 0 to 1."""
    return _number(value, "a share from 0 to 1", lambda number: 0 <= number <= 1)


def above_zero_below_one(value: Any) -> float:
    """Above 0 and below 1."""
    return _number(value, "a share above 0 and below 1", lambda number: 0 < number < 1)


def at_least_zero(value: Any) -> float:
    """0 or more."""
    return _number(value, "a number of 0 or more", lambda number: number >= 0)


def count(value: Any) -> int:
    """1 or more."""
    number = _number(value, "a whole number of 1 or more", lambda number: number >= 1 and float(number).is_integer())
    return int(number)


def dtype(value: Any) -> str:
    """A Feast dtype, by the name of its ValueType."""
    if not isinstance(value, str) or value not in DTYPES:
        near = nearest(str(value), DTYPES)
        hint = f" Did you mean {near!r}?" if near else ""
        raise ValueError(f"got {value!r}; expected a Feast dtype such as DOUBLE or INT64_LIST.{hint}")
    return value


def profile(value: Any) -> dict[str, Any]:
    """A column's profile as a contract holds it."""
    if not isinstance(value, Mapping):
        raise ValueError(f"got {type(value).__name__}; expected a column's profile, as a contract holds it under one")
    try:
        ColumnProfile.from_dict(value)
    except ConfigurationError as error:
        raise ValueError(f"got {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"got no profile of a column ({type(error).__name__}: {error})") from error
    return dict(value)


def promise(value: Any) -> dict[str, Any]:
    """What a contract says of definitions."""
    parts = {"definitions", "projections", "features"}
    if not isinstance(value, Mapping) or set(value) != parts:
        got = sorted(value) if isinstance(value, Mapping) else type(value).__name__
        raise ValueError(f"got {got}; expected a contract's promise, with {', '.join(sorted(parts))}")
    return dict(value)


def number(value: Number) -> float:
    """The number of an argument; raises BadInputError where it is a suite parameter that was given no value."""
    if isinstance(value, dict):
        raise BadInputError("suite parameter", repr(value), "its value in expectation_parameters")
    return value


def tolerance(relative: Number | None, absolute: Number | None) -> Tolerance:
    """The library's tolerance of these arguments."""
    return Tolerance(
        relative=None if relative is None else number(relative),
        absolute=None if absolute is None else number(absolute),
    )


def _number(value: Any, expected: str, fits: Callable[[float], bool]) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not fits(value):
        raise ValueError(f"got {value!r}; expected {expected}")
    return value
