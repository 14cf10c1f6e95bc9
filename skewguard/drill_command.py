"""What ``skewguard drill`` does: in a scratch copy, or live; prints what was seen and gives the exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skewguard.drill import Proof, known, prove
from skewguard.drilling import DrillReport, Outcome, confusion, drill_services, matrix_lines
from skewguard.errors import BadInputError
from skewguard.faults import FAULTS, NO_FAULT
from skewguard.incident import write_incidents
from skewguard.progress import counted

if TYPE_CHECKING:
    from skewguard.guard import SkewGuard

Say = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """The command line: which causes (``every`` one where that is set), services and shares, and where to write."""

    causes: Sequence[str]
    every: bool
    services: Sequence[str]
    shares: Sequence[float]
    moment: datetime
    output: Path | None


def listing() -> list[str]:
    """Every cause that a drill makes, what it does, and those that none makes."""
    width = max(len(name) for name in (*FAULTS, *NO_FAULT))
    lines = [
        f"{name:<{width}}  {fault.does}" + ("" if fault.changes == "online" else "  (scratch copy only)")
        for name, fault in FAULTS.items()
    ]
    return [*lines, "", "no drill:", *(f"{name:<{width}}  {why}" for name, why in NO_FAULT.items())]


def drill_live(guard: SkewGuard, asked: Asked) -> tuple[list[str], dict[str, Any], int]:
    """Put the faults into the live store: lines to print, the same as data, and the exit code."""
    if asked.every or len(asked.services) != 1 or len(asked.shares) != 1:
        raise BadInputError("--yes-live", "several drills", "named causes, one --service and one --share beside it")
    proof = prove(guard, asked.services[0], *asked.causes, share=asked.shares[0], as_of=asked.moment)
    data = {
        "holds": proof.holds,
        "injected": [
            {**s.injection.to_dict(), "found": None if s.found is None else s.found.message, "counted": s.count}
            for s in proof.seen
        ],
        "others": [f.message for f in proof.others],
    }
    return _proof_lines(proof), data, 0 if proof.holds else 1


def drill_copy(guard: SkewGuard, asked: Asked) -> tuple[list[str], dict[str, Any], int]:
    """The same in a scratch copy of the repository, of which nothing is changed but the folder of write-ups."""
    sets = [[name] for name in FAULTS] if asked.every else [list(asked.causes)]
    with counted("drill", len(sets) * len(asked.services) * len(asked.shares)) as report:
        found = drill_services(guard, asked.services, sets, asked.shares, asked.moment, report)
    if not found.outcomes:
        missing = "; ".join(
            f"{cause} in {service} needs {why}" for (service, cause), why in sorted(found.unfit.items())
        )
        raise BadInputError("cause", ", ".join(dict.fromkeys(c for _, c in found.unfit)), f"one that fits: {missing}")
    lines = _matrix(found) if asked.every else [line for o in found.outcomes for line in _outcome_lines(o)]
    data = found.to_dict()
    if asked.output is not None:
        written = write_incidents(found, asked.output)
        lines.append(f"Written: {written[0]} and {len(written) - 1} write-ups beside it")
        data["written"] = [str(path) for path in written]
    return [*lines, *found.notes], data, 0 if found.holds else 1


def asked_for(causes: Sequence[str], every: bool) -> None:
    """Refuse what names no cause, or names some beside --all; unknown names with the nearest."""
    known(causes)
    if every == bool(causes):
        got = "causes beside --all" if causes else "no cause"
        raise BadInputError("cause", got, f"one or several of {', '.join(FAULTS)}; or --all, or --list")


def _matrix(found: DrillReport) -> list[str]:
    lines = matrix_lines(confusion(found.outcomes))
    lines.append("")
    for outcome in found.outcomes:
        if not outcome.holds:
            lines += _outcome_lines(outcome)
    for (service, cause), why in sorted(found.unfit.items()):
        lines.append(f"not drilled in {service}: {cause} (needs {why})")
    held = sum(outcome.holds for outcome in found.outcomes)
    return [*lines, f"{held} of {len(found.outcomes)} drills hold"]


def _outcome_lines(outcome: Outcome) -> list[str]:
    lines = [f"{outcome.proof.service}, {outcome.proof.share:g} of the rows, in a scratch copy:"]
    lines += [f"  {line}" for line in _proof_lines(outcome.proof)]
    lines += [f"  done: {line}" for line in outcome.mended.done]
    return lines + [f"  still found: {line}" for line in outcome.mended.left]


def _proof_lines(proof: Proof) -> list[str]:
    lines = []
    for seen in proof.seen:
        lines.append(seen.injection.line())
        lines.append("not seen" if seen.found is None else f"seen: {seen.found.message}")
        if seen.found is not None and not seen.holds:
            lines.append(f"counted {seen.count:,} instead of {seen.injection.count:,}")
    return lines + [f"seen too, though nothing was done there: {other.message}" for other in proof.others]
