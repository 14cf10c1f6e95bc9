"""Drills: faults put in on purpose, past every protection, to prove that the guard sees them, and as what they are.

A drill works on a scratch copy of the repository (``scratch``), or on its live online store where that was asked for.
A fault picks its view and feature from the service's definitions, and its entities by hash, from a place of its own on:
the same ones in every run. Several at once hit different entities.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from skewguard import running
from skewguard.causes.relation import MIXED_CELLS
from skewguard.checks.definition import check_definition
from skewguard.checks.parity import check_parity
from skewguard.contracts_in_use import contracts_in_use
from skewguard.digest import cell_hashes
from skewguard.errors import BadInputError, UnknownNameError
from skewguard.faults import FAULTS, NO_FAULT, Fault, Fit, Ground, Injection, ViewGround, wrong
from skewguard.findings import CheckResult, Finding
from skewguard.preflighting import preflight
from skewguard.scratch import Scratch
from skewguard.workspace import utc

if TYPE_CHECKING:
    from skewguard.guard import SkewGuard
    from skewguard.workspace import Workspace

__all__ = ["FAULTS", "NO_FAULT", "Drills", "Injection", "Proof", "Seen", "inject", "inject_all", "known", "prove"]

_BESIDE_OTHERS = MIXED_CELLS + 1
"""So many rows a fault hits at least beside others: a relation that holds for a part of the cells takes more."""
Findings = dict[str, Finding]
"""By ``Finding.key``, and the rule of preflight."""


@dataclass(frozen=True)
class Seen:
    """One injection, and what the guard made of it: ``found`` is its finding, None where there is none.

    ``count``: how many rows (or states) the finding counts more than before.
    """

    injection: Injection
    found: Finding | None
    count: int

    @property
    def holds(self) -> bool:
        """Found under its cause, on its view and feature, and counted to the row."""
        return self.found is not None and self.count == self.injection.count


@dataclass(frozen=True)
class Proof:
    """What the guard made of one or several faults at once. ``others`` are new findings where nothing was done."""

    service: str
    share: float
    seen: tuple[Seen, ...]
    others: tuple[Finding, ...]
    new: tuple[tuple[Finding, int], ...]
    """Every finding that is new or counts another number than before, and by how many rows more."""

    @property
    def holds(self) -> bool:
        """Every fault was seen, named, counted to the row, and nothing else was."""
        return all(seen.holds for seen in self.seen) and not self.others

    @property
    def name(self) -> str:
        """The causes, as on the command line."""
        return " ".join(seen.injection.cause.value for seen in self.seen)


def known(names: Sequence[str]) -> list[Fault]:
    """The faults of these causes. Raises UnknownNameError; BadInputError for a cause that no drill makes."""
    for name in names:
        if name in NO_FAULT:
            raise BadInputError("cause", repr(name), f"one that a drill makes: of this one not, for {NO_FAULT[name]}")
        if name not in FAULTS:
            raise UnknownNameError("cause to drill", name, FAULTS)
    return [FAULTS[name] for name in names]


class Drills:
    """A service that faults are put into: in a scratch copy (``scratch``), or live where there is none.

    ``prove`` leaves the faults in; ``scratch.restore()`` takes them out.
    """

    def __init__(
        self, guard: SkewGuard | Workspace, service: str, as_of: datetime, scratch: Scratch | None = None
    ) -> None:
        self.guard: Workspace = guard if scratch is None else scratch.guard
        self.service = service
        self.as_of = as_of if scratch is None else scratch.as_of
        self.scratch = scratch
        self._before: dict[str, Findings] = {}
        self._views: tuple[ViewGround, ...] | None = None
        self._wrong: dict[str, dict[str, object]] = {}

    def inject(self, shares: Mapping[str, float], fits: Mapping[str, Fit] | None = None) -> list[Injection]:
        """Put faults in (cause -> share of rows), each into other entities; at the best places, or at ``fits``.

        Raises BadInputError where nothing fits a fault.
        """
        faults = known(list(shares))
        with self._ground() as ground:
            places = {}
            for fault in faults:
                name = fault.cause.value
                fit = fits[name] if fits is not None else fault.best(ground)
                if fit is None:
                    raise BadInputError(
                        "cause", repr(name), f"one that {self.service!r} can have; it needs {fault.needs}"
                    )
                several = max(fit.minimum, _BESIDE_OTHERS)
                places[name] = fit if len(faults) == 1 else replace(fit, minimum=several)
            return [_put_in(fault, places[fault.cause.value], ground, shares[fault.cause.value]) for fault in faults]

    def places(self, names: Sequence[str]) -> dict[str, list[Fit]]:
        """Every place in the service where each of the faults fits."""
        with self._ground() as ground:
            return {fault.cause.value: fault.all(ground) for fault in known(names)}

    def prove(self, names: Sequence[str], share: float, fits: Mapping[str, Fit] | None = None) -> Proof:
        """Put faults in at once, each into a share of the rows, and look whether the guard sees each, and only these.

        Several share the rows evenly where their shares add up to more than all. Findings from before do not count.
        """
        checks = _checks(names)
        before = self._findings_before(checks)
        each = min(share, 1 / len(names))
        injections = self.inject(dict.fromkeys(names, each), fits)
        after = self.findings(checks)
        return _judged(self.service, share, injections, before, after)

    def findings(self, checks: Sequence[str]) -> Findings:
        """What these checks find now."""
        found: list[Finding] = []
        for check in checks:
            found += self._check(check).findings
        return {f"{f.key}/{f.evidence.get('rule', '')}": f for f in found}

    def findings_before(self, proof: Proof) -> Findings:
        """What the checks of a proof found before its faults."""
        return self._findings_before(_checks([seen.injection.cause.value for seen in proof.seen]))

    def findings_of(self, proof: Proof) -> Findings:
        """What the checks of a proof find now."""
        return self.findings(_checks([seen.injection.cause.value for seen in proof.seen]))

    def guard_of_copy(self) -> SkewGuard:
        """The scratch copy; raises BadInputError where the drills are of a live store."""
        if self.scratch is None:
            raise BadInputError("drills", "those of a live store", "those of a scratch copy")
        return self.scratch.guard

    def _findings_before(self, checks: tuple[str, ...]) -> Findings:
        if self.scratch is None:
            return self.findings(checks)
        for check in checks:  # a scratch copy is always the same before a fault
            if check not in self._before:
                self._before[check] = self.findings([check])
        return {key: f for check in checks for key, f in self._before[check].items()}

    def _check(self, check: str) -> CheckResult:
        guard = self.guard
        definition = guard.feast.service(self.service)
        if check == "definition":
            return check_definition(definition, contracts_in_use(guard, self.service))
        if check == "preflight":
            return preflight(guard, definition, self.as_of)
        with running.stores(guard) as (con, client):
            if check == "freshness":
                return running.freshness(guard, definition, self.as_of, con)
            if check == "leakage":
                return self._leakage()
            collected = running.collect(guard, definition, self.as_of, con, client, sample=1.0)
            return check_parity(collected.sides, guard.policy_for(self.service), collected.skipped)

    def _leakage(self) -> CheckResult:
        """The leakage check of a training set of every live entity as of the watermark, view by view, as one result."""
        guard = self.guard_of_copy()
        findings: list[Finding] = []
        for side in self.views:
            if not side.features or not side.live.num_rows:
                continue
            keys = side.live.select(side.keys)
            moment = pa.scalar(side.watermark, pa.timestamp("us", tz="UTC"))
            rows = keys.append_column("event_timestamp", pa.repeat(moment, side.live.num_rows))
            names = [f"{side.view.name}:{f.name}" for f in side.features]
            findings += guard.leakage(rows, names).findings
        return CheckResult("leakage", "ok", tuple(findings))

    @property
    def views(self) -> tuple[ViewGround, ...]:
        """The service's views as they were before any fault (in a scratch copy), or are now."""
        if self._views is None or self.scratch is None:
            with running.stores(self.guard) as (con, client):
                definition = self.guard.feast.service(self.service)
                sides = running.collect(self.guard, definition, self.as_of, con, client, sample=1.0).sides
                policy = self.guard.policy_for(self.service)
                self._wrong = {side.view.name: dict(wrong(side, policy)) for side in sides}
                self._views = tuple(ViewGround.of(side, con) for side in sides)
        return self._views

    @contextlib.contextmanager
    def _ground(self) -> Iterator[Ground]:
        views = self.views
        hit = {view: dict(found) for view, found in self._wrong.items()}
        with running.stores(self.guard) as (con, client):
            policy = self.guard.policy_for(self.service)
            yield Ground(con, client, self.guard.feast.project, policy, views, self.scratch, hit)  # type: ignore[arg-type]


def _checks(names: Sequence[str]) -> tuple[str, ...]:
    """The checks that look at these faults. Leakage is seen in training, so it stands alone."""
    checks = {fault.check for fault in known(names)}
    if "leakage" not in checks:
        return tuple(sorted(checks | {"parity", "freshness", "definition"}))
    if len(names) > 1:
        raise BadInputError("cause", "'leakage' among several", "it alone: it is seen in training, not online")
    return ("leakage",)


def _put_in(fault: Fault, fit: Fit, ground: Ground, share: float) -> Injection:
    slot = list(FAULTS).index(fault.cause.value) / len(FAULTS)
    rows = ground.chosen(fit, share, slot)
    if not rows.num_rows:
        raise BadInputError("share", f"{share:g}", "less: no rows are left that another fault is not in")
    also = fit.write(ground, rows)
    view = fit.side.view.name
    count = rows.num_rows if fit.count is None else fit.count
    return Injection(fault.cause, view, fit.feature, rows.num_rows, count, tuple(also), fault.brings)


def _judged(service: str, share: float, injections: Sequence[Injection], before: Findings, after: Findings) -> Proof:
    counts = {key: f.count - (before[key].count if key in before else 0) for key, f in after.items()}
    new = {key: f for key, f in after.items() if counts[key] or key not in before}
    seen, mine = [], set()
    for item in injections:
        place = (item.cause, item.view, item.feature)
        own = next((key for key, f in new.items() if (f.cause, f.view, f.feature) == place), None)
        seen.append(Seen(item, None if own is None else new[own], 0 if own is None else counts[own]))
        mine |= {own}
        alike = {(item.cause, view, None) for view in item.also} | {(cause, item.view, None) for cause in item.brings}
        mine |= {key for key, f in new.items() if (f.cause, f.view, f.feature) in alike}
    others = tuple(f for key, f in new.items() if key not in mine)
    return Proof(service, share, tuple(seen), others, tuple((f, counts[key]) for key, f in new.items()))


def inject(
    workspace: Workspace, service: str, fault: str, *, share: float = 0.01, as_of: datetime | str | None = None
) -> Injection:
    """Put one fault into the live online store. Raises UnknownNameError, BadInputError where nothing fits the fault."""
    return inject_all(workspace, service, {fault: share}, as_of=as_of)[0]


def inject_all(
    workspace: Workspace, service: str, shares: Mapping[str, float], *, as_of: datetime | str | None = None
) -> list[Injection]:
    """Put several faults (cause -> share of rows) into the live online store, each into other entities."""
    refuse_offline(known(list(shares)))
    return Drills(workspace, service, utc(as_of, workspace.clock)).inject(shares)


def prove(
    workspace: Workspace, service: str, *faults: str, share: float = 0.01, as_of: datetime | str | None = None
) -> Proof:
    """Put faults into the live online store at once, and look whether the guard sees each of them, and nothing else.

    Nothing is stored in the history, and the faults stay in. Raises as ``inject``.
    """
    refuse_offline(known(faults))
    return Drills(workspace, service, utc(as_of, workspace.clock)).prove(faults, share)


def refuse_offline(faults: Sequence[Fault]) -> None:
    """Raise BadInputError for faults that change more than an online store: a drill never writes a user's source."""
    for fault in faults:
        if fault.changes != "online":
            what = (
                f"{fault.cause.value}, which changes {'offline rows' if fault.changes == 'offline' else 'definitions'}"
            )
            raise BadInputError(
                "--yes-live", what, "a fault of the online store; leave the flag out to drill in a copy"
            )


def on_one_feature(places: Mapping[str, Sequence[Fit]]) -> dict[str, Fit] | None:
    """A place for each fault such that all are on one feature (a fault of rows: on its view); None where none is."""
    best: tuple[int, dict[str, Fit]] | None = None
    targets = {(fit.side.view.name, fit.feature) for fits in places.values() for fit in fits if fit.feature is not None}
    for view, feature in sorted(targets):
        chosen: dict[str, Fit] = {}
        for name, fits in places.items():
            here = [f for f in fits if f.side.view.name == view and f.feature in (feature, None)]
            if here:
                chosen[name] = max(here, key=lambda f: f.score)
        if len(chosen) == len(places):
            score = min(_shows(fit) for fit in chosen.values())
            if best is None or score > best[0]:
                best = (score, chosen)
    return None if best is None else best[1]


def _shows(fit: Fit) -> int:
    """How well a fit tells its cause: the distinct values that it takes the place of, as many as a drill may hit."""
    return fit.rows.num_rows if fit.feature is None else _distinct(fit.rows.column(fit.feature))


def _distinct(column: pa.ChunkedArray) -> int:
    return len(np.unique(cell_hashes(column.combine_chunks())))


def on_different_features(places: Mapping[str, Sequence[Fit]]) -> dict[str, Fit] | None:
    """A place for each fault such that no two are on one feature; None where there are too few."""
    chosen: dict[str, Fit] = {}
    taken: set[tuple[str, str]] = set()
    for name, fits in sorted(places.items(), key=lambda item: len(item[1])):
        free = [f for f in fits if f.feature is None or (f.side.view.name, f.feature) not in taken]
        if not free:
            return None
        chosen[name] = max(free, key=lambda f: f.score)
        feature = chosen[name].feature
        if feature is not None:
            taken.add((chosen[name].side.view.name, feature))
    return {name: chosen[name] for name in places}
