"""Regular expressions and JSON schemas in a suite: what does not compile, may never end, or reaches out of the file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from skewguard.expectations.backtracking import trouble


def pattern_problems(kwargs: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the patterns in an expectation's arguments, a line each."""
    if "regex" in kwargs:
        yield from _regex("regex", kwargs["regex"])
    several = kwargs.get("regex_list")
    for index, pattern in enumerate(several if isinstance(several, list) else ()):
        yield from _regex(f"regex_list[{index}]", pattern)
    yield from _schema("json_schema", kwargs.get("json_schema"))


def _regex(key: str, pattern: Any) -> Iterator[str]:
    if not isinstance(pattern, str):
        yield f"{key}: got {pattern!r}; expected a text."
        return
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        yield f"{key}: got {pattern!r}; expected a regular expression of Python's re ({error})."
        return
    why = trouble(pattern)
    if why is not None:
        shown = pattern if len(pattern) <= 100 else f"{pattern[:100]}..."
        hint = "It is searched for, so that what reads anything at its ends can go."
        yield f"{key}: got {shown!r}, which may take for ever on some texts: {why}. {hint}"


def _schema(where: str, value: Any) -> Iterator[str]:
    """The regular expressions of a JSON schema, and its references: those to elsewhere would be fetched."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _schema(f"{where}[{index}]", item)
    if not isinstance(value, Mapping):
        return
    for key, item in value.items():
        at = f"{where}.{key}"
        if key == "pattern" and isinstance(item, str):
            yield from _regex(at, item)
        elif key in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(item, str) and not item.startswith("#"):
            yield f"{at}: got {item!r}; expected a reference within the schema, such as '#/$defs/name'."
        elif key == "patternProperties" and isinstance(item, Mapping):
            for pattern in item:
                yield from _regex(f"{at}[{pattern!r}]", str(pattern))
        yield from _schema(at, item)
