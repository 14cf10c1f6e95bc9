"""How numbers, times, names and values are written in reports: one function each, no markup, no locale."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

NAME_LENGTH = 64
"""Longest name shown, in characters; longer ones end in an ellipsis (run.json has them whole)."""
VALUE_LENGTH = 80
"""Longest value shown, in characters."""
TEXT_LENGTH = 400
"""Longest sentence shown, in characters."""

# Characters that change how their neighbours are drawn (bidirectional controls) are shown as their code points.
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def clean(text: Any, limit: int = NAME_LENGTH) -> str:
    """Text that is safe to look at: control and reordering characters as escapes, cut at ``limit`` characters."""
    shown = "".join(_visible(char) for char in str(text)[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _visible(char: str) -> str:
    if char in _REORDERING or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp"):
        return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"
    return char


def count(value: int) -> str:
    """A whole number with commas between thousands."""
    return f"{value:,}"


def plural(value: int, noun: str, nouns: str = "") -> str:
    """``1 finding``, ``2 findings``."""
    return f"{count(value)} {noun if value == 1 else nouns or noun + 's'}"


def percent(share: float) -> str:
    """A share as a percentage that never rounds to 0% or 100% unless it is exactly that."""
    if math.isnan(share):
        return "n/a"
    if share in (0.0, 1.0):
        return f"{share:.0%}"
    for digits in (1, 2, 3, 4):
        text = f"{share * 100:.{digits}f}"
        if float(text) not in (0.0, 100.0):
            return f"{text}%"
    return "<0.0001%" if share < 0.5 else ">99.9999%"


def interval(low: float, high: float) -> str:
    """A 95% interval of a share, such as ``12.1–15.0%``."""
    if math.isnan(low) or math.isnan(high):
        return "n/a"
    return f"{percent(low).rstrip('%')}–{percent(high)}"


def when(value: datetime) -> str:
    """``1998-03-01 00:00 UTC``; seconds where there are any."""
    aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    pattern = "%H:%M" if aware.second == 0 and aware.microsecond == 0 else "%H:%M:%S"
    return f"{aware.date().isoformat()} {aware.strftime(pattern)} UTC"


def when_text(value: Any) -> str:
    """A timestamp that a sample holds as text, datetime or nothing, as ``when`` writes it; other text as it is."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return when(value)
    try:
        return when(datetime.fromisoformat(str(value)))
    except ValueError:
        return clean(value)


def seconds(value: float) -> str:
    """A duration: ``0.42 s``, ``12 s``, ``3 min 20 s``."""
    if value < 10:
        return f"{value:.2f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{int(value // 60)} min {int(value % 60)} s"


def span(value: timedelta) -> str:
    """A length of time in its largest sensible unit, rounded down: ``1 day``, ``36 hours``, ``90 minutes``."""
    total = abs(value.total_seconds())
    for size, noun in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if total >= size and (total % size == 0 or total >= 3 * size):
            return plural(int(total // size), noun)
    return plural(int(total), "second") if total == int(total) else f"{total:g} seconds"


def value_text(value: Any, limit: int = VALUE_LENGTH) -> str:
    """A feature value or key, so that no two different values look alike.

    Floats as Python's shortest form that reads back the same; text bare unless it could be taken for something else
    (a number, null, blanks at an end), then in quotes; lists and maps as JSON.
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(repr(value), repr(value))
    if isinstance(value, int):
        return clean(value, limit)
    if isinstance(value, str):
        return clean(json.dumps(value, ensure_ascii=False) if _ambiguous(value) else value, limit)
    if isinstance(value, bytes):
        return clean("0x" + value.hex(), limit)
    if isinstance(value, datetime):
        return when(value)
    if isinstance(value, timedelta):
        return span(value) if value >= timedelta(0) else f"-{span(value)}"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{clean(key)}: {value_text(item)}" for key, item in list(value.items())[:limit])
        return clean("{" + inner + "}", limit)
    if isinstance(value, list | tuple):
        return clean("[" + ", ".join(value_text(item) for item in value[:limit]) + "]", limit)
    return clean(value, limit)


def _ambiguous(text: str) -> bool:
    if text != text.strip() or text == "" or text in ("null", "true", "false", "absent"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def entity_text(entity: Any) -> str:
    """Join keys of a sample: ``customer_id=1001, region=EU``."""
    if not isinstance(entity, Mapping):
        return value_text(entity)
    if not entity:
        return "(no entity)"
    return ", ".join(f"{clean(key, 40)}={value_text(item, 60)}" for key, item in list(entity.items())[:8])


def name_of(view: str | None, feature: str | None) -> str:
    """``view.feature``, the view alone, or "the service"."""
    if view is None and feature is None:
        return "the service"
    return clean(".".join(part for part in (view, feature) if part is not None), 2 * NAME_LENGTH)
