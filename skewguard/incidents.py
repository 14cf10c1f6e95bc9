"""Incidents: what is wrong with a service, from the night it is first seen to the night it is gone.

An incident is a finding that policy does not ignore, or a check that could not decide or crashed, under one key. It

- **opens** with the first run that has it;
- **worsens** when policy makes more of it (warn, then block), or its rate is surely higher than when it was last told:
  the whole 95% interval lies above the interval of then;
- **closes** by itself with the first run whose check ran to the end without it.

A run whose check could not decide, crashed or was not made says nothing: it neither opens, worsens nor closes what that
check finds. Too little served data to tell drift is no incident.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from skewguard.findings import CheckResult, Run

RUN = "run"
"""Stands for a check where a service could not be checked at all."""
UNDECIDED = "undecided"
"""The action of an incident that is a check without an answer."""

_WEIGHT = {"ignore": 0, "warn": 1, UNDECIDED: 1, "block": 2}


class EventKind(StrEnum):
    """What happened to an incident."""

    OPENED = "opened"
    WORSENED = "worsened"
    CLOSED = "closed"


@dataclass(frozen=True)
class Incident:
    """One thing wrong, under the key of its finding (``<check>/<status>//`` for a check without an answer).

    ``opened``, ``last_seen`` and ``closed`` are as-of times (UTC) of runs. ``rate`` is of the last run that had it,
    ``worst_rate`` of the worst; ``told_low``, ``told_high`` and ``told_action`` are as they were when it last opened or
    worsened.
    """

    service: str
    key: str
    cause: str
    view: str | None
    feature: str | None
    message: str
    action: str
    rate: float
    worst_rate: float
    opened: datetime
    opened_run: str
    last_seen: datetime
    told_low: float
    told_high: float
    told_action: str
    closed: datetime | None = None

    @property
    def check(self) -> str:
        """The check that sees it."""
        return self.key.split("/", 1)[0]


@dataclass(frozen=True)
class Event:
    """Something that happened to an incident in a run."""

    kind: EventKind
    incident: Incident
    run_id: str
    as_of: datetime


def advance(open_incidents: Mapping[str, Incident], run: Run) -> tuple[list[Incident], list[Event]]:
    """What a run makes of a service's open incidents, by key: those that changed or are new, and what happened.

    Events are in this order: opened, worsened, closed; each as the findings come.
    """
    seen = {one.key: one for one in _seen(run)}
    changed: list[Incident] = []
    events: list[Event] = []
    for key, now in seen.items():
        before = open_incidents.get(key)
        if before is None:
            changed.append(now)
            events.append(Event(EventKind.OPENED, now, run.run_id, run.as_of))
            continue
        merged = replace(
            now, opened=before.opened, opened_run=before.opened_run, worst_rate=max(before.worst_rate, now.rate)
        )
        if _worse(before, now):
            events.append(Event(EventKind.WORSENED, merged, run.run_id, run.as_of))
        else:
            told = (before.told_low, before.told_high, before.told_action)
            merged = replace(merged, told_low=told[0], told_high=told[1], told_action=told[2])
        changed.append(merged)
    for key, gone in open_incidents.items():
        if key not in seen and _is_over(gone, run.checks):
            closed = replace(gone, closed=run.as_of)
            changed.append(closed)
            events.append(Event(EventKind.CLOSED, closed, run.run_id, run.as_of))
    order = list(EventKind)
    return changed, sorted(events, key=lambda event: order.index(event.kind))


def _worse(before: Incident, now: Incident) -> bool:
    return _WEIGHT[now.action] > _WEIGHT[before.told_action] or now.told_low > before.told_high


def _is_over(incident: Incident, checks: Sequence[CheckResult]) -> bool:
    if incident.check == RUN:  # the service could not be checked at all; now some check was made
        return any(check.check != RUN for check in checks)
    found = [check for check in checks if check.check == incident.check]
    if incident.action == UNDECIDED:  # a check without an answer; now it has one, if not about every feature
        return bool(found) and not any(_unanswered(check) for check in found)
    return bool(found) and all(check.decides(incident.view, incident.feature) for check in found)


def _seen(run: Run) -> Iterator[Incident]:
    for finding in run.findings:
        if finding.action in ("", "ignore"):
            continue
        yield Incident(
            service=run.service,
            key=finding.key,
            cause=finding.cause.value,
            view=finding.view,
            feature=finding.feature,
            message=finding.message,
            action=finding.action,
            rate=finding.rate,
            worst_rate=finding.rate,
            opened=run.as_of,
            opened_run=run.run_id,
            last_seen=run.as_of,
            told_low=finding.ci_low,
            told_high=finding.ci_high,
            told_action=finding.action,
        )
    yield from (_without_answer(run, check) for check in run.checks if _unanswered(check))


def _unanswered(check: CheckResult) -> bool:
    """Too little served data to tell drift is an answer, if not one about every feature."""
    return check.status != "ok" and not (check.status == "inconclusive" and check.details.get("too_little"))


def _without_answer(run: Run, check: CheckResult) -> Incident:
    return Incident(
        service=run.service,
        key=f"{check.check}/{check.status}//",
        cause=f"check_{check.status}",
        view=None,
        feature=None,
        message=f"the check {check.check} is {check.status}: {check.reason}",
        action=UNDECIDED,
        rate=0.0,
        worst_rate=0.0,
        opened=run.as_of,
        opened_run=run.run_id,
        last_seen=run.as_of,
        told_low=0.0,
        told_high=1.0,
        told_action=UNDECIDED,
    )
