"""How one feature came through the latest runs: its mismatch rate, and how far and how surely it drifted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skewguard.contract import iso
from skewguard.definitions import ServiceDef
from skewguard.drift.vectors import columns_of
from skewguard.errors import UnknownNameError
from skewguard.findings import Run


@dataclass(frozen=True)
class TrendPoint:
    """One run: None for what it did not compare. ``drift`` is the status of ``DriftStats`` against the contract, where
    there was none against the nights before.
    """

    run_id: str
    as_of: str
    verdict: str
    mismatch: float | None
    drift: str | None
    effect: float | None
    q_value: float | None

    def line(self) -> str:
        """As text."""
        mismatch = "-" if self.mismatch is None else f"{self.mismatch:.2%}"
        drift = "-" if self.drift is None else f"{self.drift}, effect {self.effect:.1%}, q = {self.q_value:.2g}"
        return f"{self.as_of}  {self.verdict:<12}  mismatch {mismatch:<8}  drift {drift}"


def feature_trend(service: ServiceDef, feature: str, runs: Sequence[Run]) -> list[TrendPoint]:
    """One point a run, in the order given. ``feature``: ``view:feature``; raises UnknownNameError."""
    names = {f"{column.view}:{column.feature}": (column.view, column.feature) for column in columns_of(service)}
    if feature not in names:
        raise UnknownNameError("feature", feature, names)
    return [_point(run, *names[feature]) for run in runs]


def _point(run: Run, view: str, feature: str) -> TrendPoint:
    stats = [s for check in run.checks for s in check.features if (s.view, s.feature) == (view, feature)]
    own = [d for check in run.checks for d in check.drift if (d.view, d.feature, d.slice) == (view, feature, "")]
    drift = sorted(own, key=lambda d: d.against != "contract")
    return TrendPoint(
        run_id=run.run_id,
        as_of=iso(run.as_of),
        verdict=run.verdict.value,
        mismatch=stats[0].differing / stats[0].compared if stats and stats[0].compared else None,
        drift=drift[0].status if drift else None,
        effect=drift[0].effect if drift else None,
        q_value=drift[0].q_value if drift else None,
    )
