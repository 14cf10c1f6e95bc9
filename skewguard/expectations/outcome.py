"""What became of one rule, whoever judged it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PARTIAL = 20
"""How many unexpected values a result shows: GX's own number."""


@dataclass(frozen=True)
class Outcome:
    """Success, and ``result`` with the keys of GX's summary format; ``trouble``: what a broken rule raised."""

    success: bool
    result: dict[str, Any] = field(default_factory=dict)
    trouble: str | None = None
