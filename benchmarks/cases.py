"""What is measured: ours, the peer, and the floor below which nothing can go; in turn, medians of several runs."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Run = Callable[[], float]


@dataclass(frozen=True)
class Case:
    """One figure.

    Attributes:
        name: what the table says.
        unit: of the figures; "req/s" is better when larger, everything else when smaller.
        ours, feast, floor: one run each, giving the figure; None where there is nothing to run.
        target: what is asked for, in words.
        also: further figures of the last runs, by name (such as p99).
    """

    name: str
    unit: str
    ours: Run
    feast: Run | None = None
    floor: Run | None = None
    target: str = ""
    also: dict[str, Any] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    """What to call a side on the screen, where it is not what its place says."""
    rounds: int = 0
    """How many runs of each side at least, where runs are short because sides are close to one another."""


@dataclass(frozen=True)
class Row:
    """A measured case: medians, the ratio to Feast (how many times better), to the floor (how many times its cost).

    A ratio is the median of those of each round, in which the sides ran one after the other: a machine that gets
    slower in the meantime bends it less than the ratio of the medians.
    """

    case: Case
    runs: dict[str, list[float]]

    @property
    def medians(self) -> dict[str, float]:
        """By side."""
        return {side: statistics.median(values) for side, values in self.runs.items()}

    def ratio(self, side: str) -> float | None:
        """How many times better ours is than ``side``; below one where it is worse."""
        if side not in self.runs:
            return None
        pairs = zip(self.runs["ours"], self.runs[side], strict=True)
        more_is_better = self.case.unit == "req/s"
        ratios = [mine / other if more_is_better else other / mine for mine, other in pairs if mine and other]
        return statistics.median(ratios) if ratios else None

    def data(self) -> dict[str, Any]:
        """For the results file."""
        return {
            "name": self.case.name,
            "unit": self.case.unit,
            **self.medians,
            "times_feast": self.ratio("feast"),
            "times_floor": None if (ratio := self.ratio("floor")) is None else 1 / ratio,
            "target": self.case.target,
            "also": self.case.also,
            "named": self.case.named,
            "runs": self.runs,
        }

    def line(self) -> str:
        """For the screen."""
        parts = [f"{self.case.name:<44}"]
        for side, median in self.medians.items():
            name = self.case.named.get(side, side)
            parts.append(
                f"{name} {median:10,.3f} {self.case.unit}"
                if median < 100
                else f"{name} {median:10,.0f} {self.case.unit}"
            )
        if (ratio := self.ratio("feast")) is not None:
            parts.append(f"{ratio:6.1f} x {self.case.named.get('feast', 'Feast')}")
        if (floor := self.ratio("floor")) is not None:
            parts.append(f"{1 / floor:5.2f} x {self.case.named.get('floor', 'floor')}")
        if self.case.target:
            parts.append(f"(asked: {self.case.target})")
        return "  ".join(parts)


def measure(case: Case, repeat: int) -> Row:
    """Run every side in turn, ``repeat`` times, or as often as the case wants."""
    sides = {"ours": case.ours, "feast": case.feast, "floor": case.floor}
    runs: dict[str, list[float]] = {side: [] for side, run in sides.items() if run is not None}
    for _ in range(max(repeat, case.rounds)):
        for side, run in sides.items():
            if run is not None:
                runs[side].append(run())
    return Row(case, runs)
