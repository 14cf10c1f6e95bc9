"""What the generated functions call: each does what GX's pandas metric of the same name does to one value."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from skewguard.expectations.rows.fitting import family

GLOBALS: Final[Mapping[str, Any]] = {
    "__builtins__": {},
    "Exception": Exception,
    "length": len,
    "text": str,
    "type": type,
    "NAN": object(),
    "NAT": object(),
}
"""All that a generated function can name, its constants aside."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "bool": (bool,),
    "text": (str,),
    "bytes": (bytes,),
    "time": (datetime,),
    "list": (list, tuple),
    "json": (str, dict, list),
}


def python_types(dtype: str) -> tuple[type, ...]:
    """The types that the values of a dtype have. A whole number may stand in a float column; no boolean is a number."""
    if family(dtype) == "number":
        return (float, int) if dtype in ("DOUBLE", "FLOAT") else (int,)
    return _TYPES[family(dtype)]


def searcher(pattern: str) -> Callable[[str], Any]:
    """Where a regular expression matches a text first, None where nowhere."""
    return re.compile(pattern).search


def parser(name: str, pattern: str) -> Callable[[Any], bool]:
    """Whether a text is JSON ("json"), a date ("dateutil"), or a time in a format ("strftime")."""
    if name == "json":
        return _is_json
    return _is_date() if name == "dateutil" else _is_time(pattern)


def _is_json(value: Any) -> bool:
    try:
        json.loads(value)
    except Exception:  # noqa: BLE001  (as GX has it: whatever goes wrong, it is no JSON)
        return False
    return True


def _is_date() -> Callable[[Any], bool]:
    from dateutil.parser import parse

    def is_date(value: Any) -> bool:
        try:
            parse(value)
        except (ValueError, OverflowError):
            return False
        return True

    return is_date


def _is_time(pattern: str) -> Callable[[Any], bool]:
    def is_time(value: Any) -> bool:
        try:
            datetime.strptime(value, pattern)  # noqa: DTZ007  (only whether it can be read)
        except ValueError:
            return False
        return True

    return is_time
