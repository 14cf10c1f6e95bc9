"""Drills of whole services: every fault that fits, one after another in a scratch copy; what was seen, and mended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from skewguard.contract import iso
from skewguard.drill import Drills, Findings, Proof, known
from skewguard.errors import BadInputError
from skewguard.faults import FAULTS
from skewguard.findings import Cause
from skewguard.scratch import Scratch

if TYPE_CHECKING:
    from skewguard.guard import SkewGuard

_BY_MATERIALIZING = (Cause.NOT_MATERIALIZED, Cause.NEVER_MATERIALIZED, Cause.STALE_WATERMARK)


@dataclass(frozen=True)
class Mended:
    """What was done about a fault in the scratch copy.

    ``done``: lines in words; empty where nothing can be done there. ``left``: what the guard still found afterwards.
    """

    done: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        """In a word: "mended", "not mended", or "elsewhere" where the online store cannot be mended by itself."""
        return "elsewhere" if not self.done else "not mended" if self.left else "mended"


@dataclass(frozen=True)
class Outcome:
    """One drill: its proof, what was done, the watermark and the as-of time in the copy, and how long it took."""

    proof: Proof
    mended: Mended
    watermark: datetime
    as_of: datetime
    seconds: float

    @property
    def holds(self) -> bool:
        """Seen as what it is and nothing else; and nothing was left of it where it was mended."""
        return self.proof.holds and not self.mended.left

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        proof = self.proof
        return {
            "service": proof.service,
            "share": proof.share,
            "holds": self.holds,
            "injected": [
                {**s.injection.to_dict(), "found": None if s.found is None else s.found.message, "counted": s.count}
                for s in proof.seen
            ],
            "others": [f.message for f in proof.others],
            "mended": self.mended.says,
            "done": list(self.mended.done),
            "left": list(self.mended.left),
            "seconds": round(self.seconds, 3),
        }


@dataclass
class DrillReport:
    """Every drill of a run. ``unfit``: (service, cause) -> why the service cannot have it. ``notes``: see Scratch."""

    as_of: datetime
    outcomes: list[Outcome] = field(default_factory=list)
    unfit: dict[tuple[str, str], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """There were drills, and every one holds."""
        return bool(self.outcomes) and all(outcome.holds for outcome in self.outcomes)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "as_of": iso(self.as_of),
            "holds": self.holds,
            "matrix": confusion(self.outcomes),
            "drills": [outcome.to_dict() for outcome in self.outcomes],
            "unfit": [{"service": s, "cause": c, "needs": why} for (s, c), why in sorted(self.unfit.items())],
            "notes": self.notes,
        }


def drill_services(
    guard: SkewGuard, services: Sequence[str], sets: Sequence[Sequence[str]], shares: Sequence[float], moment: datetime,
    report: Callable[[str], None] = lambda _step: None,
) -> DrillReport:  # fmt: skip
    """Drill every set of causes (one, or several at once) in every service at every share, each in a fresh copy.

    Nothing of the repository is changed. Raises UnknownNameError, BadInputError, ConfigurationError.
    """
    for names in sets:
        known(names)
    found = DrillReport(moment)
    for service in services:
        guard.service(service)
        with Scratch(guard, service, moment) as scratch:
            found.notes += [f"{service}: {note}" for note in scratch.notes]
            drills = Drills(guard, service, moment, scratch)
            if not any(side.live.num_rows for side in drills.views):
                raise BadInputError("as_of", iso(moment), f"a moment at which rows of {service!r} are inside their TTL")
            for names in sets:
                for share in shares:
                    report(f"{service}, {' '.join(names)}, {share:g}")
                    lacking = _lacking(drills, names)
                    if lacking:
                        found.unfit |= {(service, name): FAULTS[name].needs for name in lacking}
                        continue
                    found.outcomes.append(drill_once(drills, names, share))
    return found


def _lacking(drills: Drills, names: Sequence[str]) -> list[str]:
    return [name for name, fits in drills.places(names).items() if not fits]


def drill_once(drills: Drills, names: Sequence[str], share: float, *, mending: bool = True) -> Outcome:
    """One drill in a scratch copy, which is as before afterwards."""
    scratch = drills.scratch
    if scratch is None:
        raise BadInputError("drills", "those of a live store", "those of a scratch copy, which can be restored")
    started = time.perf_counter()
    try:
        proof = drills.prove(names, share)
        mended = mend(drills, proof) if mending else Mended()
    finally:
        scratch.restore()
    return Outcome(proof, mended, scratch.watermark, scratch.as_of, time.perf_counter() - started)


def mend(drills: Drills, proof: Proof) -> Mended:
    """Repair, or materialize, where the cause can be mended so; then look again."""
    guard, as_of = drills.guard_of_copy(), drills.as_of
    done: list[str] = []
    findings = [seen.found for seen in proof.seen if seen.found is not None]
    late = [f for f in findings if f.cause in _BY_MATERIALIZING]
    if late:
        views = sorted({f.view for f in late if f.view is not None})
        results = guard.materialize(as_of=as_of, views=views)
        done += [f"materialized {r.view}: {r.rows:,} rows, {r.stats.changed:,} changed" for r in results]
    if any(f.repairable for f in findings):
        plan = guard.plan_repair(drills.service, as_of=as_of, remove_orphans=True)
        done += [f"plan: {line}" for line in plan.lines()]
        for view in guard.repair(plan):
            if view.written or view.removed or view.refused:
                words = f"{view.written:,} rows written, {view.removed:,} removed, {view.refused:,} refused"
                done.append(f"repaired {view.view}: {words}")
    if not done:
        return Mended()
    causes = {f.cause for f in findings if f.cause in _BY_MATERIALIZING or f.repairable}
    return Mended(tuple(done), tuple(_left(drills, proof, causes)))


def _left(drills: Drills, proof: Proof, causes: set[Cause]) -> Iterator[str]:
    before: Findings = drills.findings_before(proof)
    for key, finding in drills.findings_of(proof).items():
        if finding.cause in causes and (key not in before or finding.count > before[key].count):
            yield finding.message


Matrix = dict[str, dict[str, int]]


def confusion(outcomes: Sequence[Outcome]) -> Matrix:
    """Injected cause -> cause found -> rows (or states), of drills of one cause; "rows" are those injected.

    "elsewhere" counts the new findings on views and features that nothing was done to.
    """
    matrix: Matrix = {}
    for outcome in sorted(outcomes, key=lambda o: list(FAULTS).index(o.proof.seen[0].injection.cause.value)):
        proof = outcome.proof
        if len(proof.seen) != 1:
            continue
        injection = proof.seen[0].injection
        row = matrix.setdefault(injection.cause.value, {"rows": 0, "elsewhere": 0})
        row["rows"] += injection.count
        own = {(injection.view, injection.feature)} | {(view, None) for view in injection.also}
        for finding, count in proof.new:
            if (finding.view, finding.feature) not in own:
                row["elsewhere"] += 1
            elif finding.view == injection.view:
                row[finding.cause.value] = row.get(finding.cause.value, 0) + count
    return matrix


def matrix_lines(matrix: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The matrix as text: columns are numbered as the rows are, causes that were not injected come after them."""
    found = {cause for row in matrix.values() for cause in row} - {"rows", "elsewhere"}
    columns = [*matrix, *sorted(found - set(matrix))]
    width = max([len(name) for name in columns] or [0]) + 3
    sizes = [
        max(len(str(n + 1)), *(len(str(row.get(name, 0))) for row in matrix.values())) for n, name in enumerate(columns)
    ]
    head = " ".join(f"{n + 1:>{size}}" for n, size in enumerate(sizes))
    lines = [f"{'injected':<{width}} {'rows':>8}  {head}  elsewhere"]
    for number, (cause, row) in enumerate(matrix.items(), start=1):
        cells = " ".join(f"{row.get(name) or '.':>{size}}" for name, size in zip(columns, sizes, strict=True))
        lines.append(f"{f'{number} {cause}':<{width}} {row['rows']:>8,}  {cells}  {row['elsewhere'] or '.':>9}")
    lines += [f"{n + 1} = {name}" for n, name in enumerate(columns) if name not in matrix]
    return lines
