"""One thing that preflight sees, and how bad it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from skewguard.findings import Cause

Severity = Literal["critical", "warning", "info"]
"""critical: values go silently wrong on the configured stores, or a view cannot be read at all. warning: something
fails loudly, for Feast or on one of its paths, or may well go wrong. info: worth knowing, nothing breaks by it."""


@dataclass(frozen=True)
class Risk:
    """What was seen; ``rule`` is its short name (docs/checks.md lists them), ``count`` of ``compared`` are affected."""

    cause: Cause
    severity: Severity
    rule: str
    message: str
    view: str | None = None
    feature: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    count: int = 1
    compared: int = 1
    samples: tuple[Mapping[str, Any], ...] = ()
    advice: str = ""


@dataclass(frozen=True)
class Stores:
    """What feature_store.yaml names: the types of its stores, as written ("duckdb", "redis", a class path)."""

    offline: str
    online: str

    @property
    def feast_duckdb(self) -> bool:
        """Is Feast's own DuckDB store the offline store?"""
        return self.offline == "duckdb"

    @property
    def ours(self) -> bool:
        """Is the ASOF store of skewguard the offline store?"""
        return self.offline.startswith("skewguard.")


def listed(names: list[str] | tuple[str, ...], limit: int = 5) -> str:
    """A few names in words."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(repr(name) for name in names[:limit]) + more
