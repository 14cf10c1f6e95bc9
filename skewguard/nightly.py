"""The night: every check of every feature service, one service after the other, one night at a time.

A night that was cut off goes on where it was: services that it had finished are not run again. Its state is one small
file, ``.skewguard/night.json``, written whole after each service; only summaries stay in memory, so that a night takes
no more of it than its largest service.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skewguard.alerts.outbox import Delivery, Outbox
from skewguard.alerts.settings import environment
from skewguard.alerts.silences import silences_at
from skewguard.errors import ConfigurationError, SkewguardError, StoreUnavailableError
from skewguard.files import write_atomically
from skewguard.findings import Verdict
from skewguard.history import History
from skewguard.incidents import Event
from skewguard.run_json import decode, encode

if TYPE_CHECKING:
    import pyarrow as pa

    from skewguard.collect import Progress
    from skewguard.expectations.suites import Suite
    from skewguard.guard import SkewGuard
    from skewguard.running import CheckedRun
    from skewguard.suite_checks import Judged

_LOG = logging.getLogger(__name__)

RESUMED_WITHIN = timedelta(hours=12)
"""A night that began longer ago is over, finished or not."""


@contextlib.contextmanager
def only_one(state: Path) -> Iterator[None]:
    """Hold the nightly lock (freed on death); raises StoreUnavailableError where another night holds it."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "nightly.lock").open("w", encoding="ascii") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreUnavailableError(
                str(state / "nightly.lock"), "another nightly run holds the lock", "Wait for it to end, or stop it."
            ) from error
        yield


@dataclass(frozen=True)
class ServiceNight:
    """What a night made of a service. ``run_id`` is empty where not even a run came of it; ``reasons`` say why."""

    service: str
    verdict: Verdict
    run_id: str
    reasons: tuple[str, ...]
    resumed: bool = False
    """It was finished before the night was cut off."""


@dataclass(frozen=True)
class NightState:
    """What is kept of a night: when it began, the as-of time that was asked for, and the services that are finished."""

    night: str
    began: datetime
    as_of: datetime | None
    done: tuple[ServiceNight, ...] = ()
    finished: bool = False

    def continues(self, as_of: datetime | None, now: datetime) -> bool:
        """May a run that was asked for ``as_of`` go on with this night?"""
        return not self.finished and self.as_of == as_of and timedelta(0) <= now - self.began < RESUMED_WITHIN


@dataclass(frozen=True)
class NightResult:
    """A finished night: its services, and what happened to incidents in its runs."""

    night: str
    services: tuple[ServiceNight, ...]
    events: tuple[Event, ...] = field(default=())
    deliveries: tuple[Delivery, ...] = field(default=())

    def lines(self) -> Iterator[str]:
        """What a person is told at the end."""
        for service in self.services:
            told = f"{service.service}: {service.verdict.value}"
            told += " (finished before the night was cut off)" if service.resumed else ""
            yield told if service.run_id else f"{told}: {'; '.join(service.reasons)}"
        for event in self.events:
            yield f"incident {event.kind.value}: {event.incident.service}: {event.incident.message}"
        for one in self.deliveries:
            reason = f": {one.reason}; it is tried again the next night" if one.reason else ""
            yield f"alert to {one.target} ({len(one.message.events)} events): {one.outcome}{reason}"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON data; runs by their ids, incidents by what happened to them."""
        told = {kind: [e for e in self.events if e.kind.value == kind] for kind in ("opened", "worsened", "closed")}
        return {
            "night": self.night,
            "services": [encode(service, ServiceNight, "service") for service in self.services],
            "incidents": {kind: [_incident(event) for event in events] for kind, events in told.items()},
            "alerts": [
                {
                    "target": d.target,
                    "id": d.message.id,
                    "events": len(d.message.events),
                    "outcome": d.outcome,
                    "reason": d.reason,
                }
                for d in self.deliveries
            ],
        }


def _incident(event: Event) -> dict[str, Any]:
    incident = event.incident
    return {
        "service": incident.service,
        "key": incident.key,
        "cause": incident.cause,
        "action": incident.action,
        "message": incident.message,
        "opened": encode(incident.opened, datetime, "opened"),
    }


Tell = Callable[["CheckedRun"], None]
Reporter = Callable[[str], AbstractContextManager["Progress"]]
"""Opens the progress of a service, whose title it is given."""


@dataclass(frozen=True)
class Night:
    """One night of a repository: the services asked for, and the as-of time (None: of each, the moment of its run).

    ``data_docs``: also write GX's pages of it (``skewguard.expectations.data_docs``).
    """

    guard: SkewGuard
    services: Sequence[str]
    as_of: datetime | None = None
    data_docs: bool = False

    def run(self, reporter: Reporter, *, fresh: bool = False, tell: Tell | None = None) -> NightResult:
        """Run what is not finished yet; ``fresh`` begins again. ``tell`` is given each run as it ends.

        The caller holds the lock (``only_one``). What a service raises is told as its verdict "inconclusive" and as a
        run with a crashed check, and never keeps the others from being run.
        """
        state = self._begin(fresh)
        for number, name in enumerate(self.services, start=1):
            if any(one.service == name for one in state.done):
                continue
            with reporter(f"{number} of {len(self.services)}: {name}") as progress:
                found = self._one(name, state.night, progress, tell)
            state = NightState(state.night, state.began, state.as_of, (*state.done, found))
            self._keep(state)
        history = History(self.guard.state.history)
        events = history.events([one.run_id for one in state.done if one.run_id])
        services = tuple(one for one in state.done if one.service in self.services)
        deliveries = tell_alerts(self.guard, history)
        self._keep(NightState(state.night, state.began, state.as_of, state.done, finished=True))
        return NightResult(state.night, services, tuple(events), tuple(deliveries))

    def _one(self, name: str, night: str, progress: Progress, tell: Tell | None) -> ServiceNight:
        from skewguard.running import check_service

        moment = self.as_of or self.guard.clock()
        seen: list[tuple[str, pa.Table, Suite]] = []
        judged: Judged | None = (lambda *what: seen.append(what)) if self.data_docs else None
        try:
            run = check_service(self.guard, name, moment, progress=progress, judged=judged)
        except Exception as error:  # noqa: BLE001
            # whatever kept a service from being checked, the others must still be heard
            if not isinstance(error, SkewguardError):
                _LOG.exception("service %s could not be checked", name)
            return self._failed(name, error, tell)
        if tell is not None:
            tell(run)
        self._document(night, moment, seen)
        return ServiceNight(name, run.verdict, run.run_id, run.reasons)

    def _document(self, night: str, as_of: datetime, seen: Sequence[tuple[str, pa.Table, Suite]]) -> None:
        """Write GX's page of what was judged. What comes in the way is logged: it says nothing about the data."""
        from skewguard.expectations.data_docs import DataDocs
        from skewguard.expectations.gx_results import validate_gx

        for name, table, suite in seen:
            try:
                DataDocs(self.guard.state.data_docs).add(night, name, as_of, validate_gx(table, suite))
            except Exception:  # noqa: BLE001  (a disk, a setting, GX's own pages: the night has its verdict already)
                _LOG.exception("the Data Docs of %s could not be written", name)

    def _failed(self, name: str, error: Exception, tell: Tell | None) -> ServiceNight:
        from skewguard.running import crashed_run, is_interrupt

        if is_interrupt(error):
            raise KeyboardInterrupt from error
        reason = f"{type(error).__name__}: {error}"
        try:
            run = crashed_run(self.guard, name, self.as_of or self.guard.clock(), reason)
        except Exception as second:  # noqa: BLE001
            # history, disk or registry are gone: what is left is to say so, here and by the exit code
            _LOG.exception("the failure of service %s could not be stored", name)
            return ServiceNight(name, Verdict.INCONCLUSIVE, "", (reason, f"not stored: {second}"))
        if tell is not None:
            tell(run)
        return ServiceNight(name, Verdict.INCONCLUSIVE, run.run_id, run.reasons)

    def _begin(self, fresh: bool) -> NightState:
        now = self.guard.clock()
        known = None if fresh else load_night_state(self.path)
        if known is not None and known.continues(self.as_of, now):
            done = tuple(ServiceNight(o.service, o.verdict, o.run_id, o.reasons, True) for o in known.done)
            return NightState(known.night, known.began, known.as_of, done)
        state = NightState(f"{now:%Y%m%dT%H%M%S}", now, self.as_of)
        self._keep(state)
        return state

    def _keep(self, state: NightState) -> None:
        write_atomically(self.path, json.dumps(encode(state, NightState, "night"), indent=2, ensure_ascii=False) + "\n")

    @property
    def path(self) -> Path:
        """The night's state."""
        return self.guard.state.root / "night.json"


def tell_alerts(guard: SkewGuard, history: History) -> list[Delivery]:
    """Tell the policy's targets what happened to incidents since they were last told."""
    settings, now = guard.policy.alerting, guard.clock()
    if not settings.alerts:
        return []
    silences = [*settings.silences, *silences_at(history.file, now)]
    return Outbox(history.file, settings, silences, environment()).deliver(now)


def load_night_state(path: Path) -> NightState | None:
    """The state of the last night; None where there is none, or it cannot be read (the night is then run whole)."""
    try:
        state: NightState = decode(json.loads(path.read_text(encoding="utf-8")), NightState, "night")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ConfigurationError) as error:
        _LOG.warning("%s cannot be read (%s): the night is run whole", path, error)
        return None
    return state
