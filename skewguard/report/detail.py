"""How much of a run a page tells: all of it where that fits, less of what is less bad where it does not."""

from __future__ import annotations

from dataclasses import dataclass

LIMIT = 150 * 1024
"""Bytes that a page should not exceed, so that it opens at once and goes through a mail."""


@dataclass(frozen=True)
class Detail:
    """Features or views told in full (worst first), worst rows of each finding, lines of each table, features with a
    small chart in a table, drifted features with a chart; and whether the embedded findings without a panel have their
    evidence. run.json has everything.
    """

    panels: int = 10
    samples: int = 5
    lines: int = 100
    sparks: int = 24
    charts: int = 4
    evidence: bool = True


LEVELS = (
    Detail(),
    Detail(panels=8, sparks=0, evidence=False),
    Detail(panels=6, lines=40, sparks=0, evidence=False),
    Detail(panels=4, samples=3, lines=24, sparks=0, charts=3, evidence=False),
    Detail(panels=3, samples=3, lines=18, sparks=0, charts=2, evidence=False),
    Detail(panels=2, samples=2, lines=12, sparks=0, charts=2, evidence=False),
)
"""The first of which fits."""
