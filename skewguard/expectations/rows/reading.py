"""Reads plain JSON data into typed values, or says in one error what is wrong and where.

Every reader takes a value and its place (``rules[3].check.low``) and raises ConfigurationError; nothing is guessed,
nothing is left out, and an unknown key is as wrong as a missing one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from skewguard.errors import ConfigurationError, nearest

Scalar = bool | int | float | str | None
Bound = float | int | datetime | None
T = TypeVar("T")
Reader = Callable[[Any, str], Any]


def refuse(place: str, got: Any, expected: str) -> ConfigurationError:
    """The error for a value: where it stands, what came, what would be right."""
    return ConfigurationError(f"{place}: got {got!r:.80}; expected {expected}.")


def mapping(value: Any, place: str, keys: tuple[str, ...]) -> Mapping[str, Any]:
    """An object with just these keys."""
    if not isinstance(value, Mapping):
        raise refuse(place, value, "an object with " + ", ".join(keys))
    for key in value:
        if key not in keys:
            near = nearest(str(key), keys)
            raise ConfigurationError(f"{place}.{key}: unknown key." + (f" Did you mean {near!r}?" if near else ""))
    for key in keys:
        if key not in value:
            raise ConfigurationError(f"{place}.{key}: missing.")
    return value


def text(value: Any, place: str) -> str:
    """Text."""
    if not isinstance(value, str):
        raise refuse(place, value, "text")
    return value


def flag(value: Any, place: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise refuse(place, value, "true or false")
    return value


def count(value: Any, place: str) -> int:
    """A whole number from 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise refuse(place, value, "a whole number from 0")
    return value


def number(value: Any, place: str) -> float | int:
    """A finite number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise refuse(place, value, "a finite number")


def share(value: Any, place: str) -> float:
    """A number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise refuse(place, value, "a number from 0 to 1")
    return float(value)


def scalar(value: Any, place: str) -> Scalar:
    """A JSON scalar; numbers are finite."""
    if value is None or isinstance(value, bool | str):
        return value
    return number(value, place)


def moment(value: Any, place: str) -> datetime:
    """``{"time": ISO 8601 with a zone}``."""
    found = mapping(value, place, ("time",))["time"]
    try:
        read = datetime.fromisoformat(text(found, f"{place}.time"))
    except ValueError as error:
        raise refuse(f"{place}.time", found, "a time in ISO 8601") from error
    if read.tzinfo is None:
        raise refuse(f"{place}.time", found, "a time with its zone")
    return read.astimezone(UTC)


def bound(value: Any, place: str) -> Bound:
    """A number, a moment, or null for no bound."""
    if value is None:
        return None
    return moment(value, place) if isinstance(value, Mapping) else number(value, place)


def member(value: Any, place: str) -> Scalar | datetime:
    """An element of a set: a scalar or a moment."""
    return moment(value, place) if isinstance(value, Mapping) else scalar(value, place)


def pattern(value: Any, place: str) -> str:
    """A regular expression of Python's ``re``."""
    try:
        re.compile(text(value, place))
    except re.error as error:
        raise refuse(place, value, f"a regular expression of Python's re ({error})") from error
    return str(value)


def one_of(*names: str) -> Callable[[Any, str], str]:
    """A reader of one of these names."""

    def read(value: Any, place: str) -> str:
        if value not in names:
            raise refuse(place, value, "one of " + ", ".join(names))
        return str(value)

    return read


def several(reader: Callable[[Any, str], T], least: int = 0) -> Callable[[Any, str], tuple[T, ...]]:
    """A reader of a list of what another reader reads, at least so long."""

    def read(value: Any, place: str) -> tuple[T, ...]:
        if not isinstance(value, list | tuple) or len(value) < least:
            raise refuse(place, value, f"a list of at least {least}" if least else "a list")
        return tuple(reader(item, f"{place}[{index}]") for index, item in enumerate(value))

    return read


def pair(value: Any, place: str) -> tuple[Scalar, Scalar]:
    """A list of two scalars."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise refuse(place, value, "a list of two values")
    return scalar(value[0], f"{place}[0]"), scalar(value[1], f"{place}[1]")


def plain(value: Any) -> Any:
    """The JSON data that the readers above read back into the same value."""
    if isinstance(value, datetime):
        return {"time": value.isoformat()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
