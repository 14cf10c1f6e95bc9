"""The serving gate: reads each service's latest verdict from its file and says whether requests may pass.

The guard writes ``.skewguard/gate/<service>.json``, training ``.skewguard/contracts/<service>.json``. A verdict that is
missing, unreadable, for another service or older than policy allows is inconclusive, never a pass.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from online_api.plan_files import Stamp, stamp
from online_api.promises import Promise, check_promise
from online_api.settings import Settings
from skewguard.errors import GateBlocked
from skewguard.findings import Verdict
from skewguard.gate import is_closed
from skewguard.state import State

RECHECK_SECONDS = 1.0
"""A verdict file is looked at again after this time at the earliest."""

_REMEMBERED = 4096
_WORST_FIRST = (Verdict.BLOCK, Verdict.INCONCLUSIVE, Verdict.WARN, Verdict.PASS)


@dataclass(frozen=True)
class ServiceVerdict:
    """The verdict that holds for a service now. ``run_id``, ``as_of``, ``finished_at`` are empty when never checked."""

    service: str
    verdict: Verdict
    reasons: tuple[str, ...]
    run_id: str = ""
    as_of: str = ""
    finished_at: str = ""


@dataclass(frozen=True)
class Passage:
    """What the gates of a request say, until then (monotonic seconds).

    Attributes:
        verdict: the worst one among the services whose gate is not off, for the header; None where there is none.
        contract: the digest of the contract, of a request for one service that has one.
        closed: the service whose gate refuses the request.
    """

    until: float
    verdict: Verdict | None
    contract: str | None
    closed: ServiceVerdict | None = None


@dataclass
class _Cached:
    verdict: ServiceVerdict
    promise: Promise
    looked_at: float
    stamps: tuple[Stamp, Stamp]
    finished: datetime | None = field(default=None)


class Verdicts:
    """The latest verdicts, re-read when their files change (a ``stat`` at most every second and service)."""

    def __init__(
        self,
        settings: Settings,
        fingerprints: Mapping[str, str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._files = State(settings.repo)
        self._fingerprints = fingerprints
        self._monotonic = monotonic
        self._cache: dict[str, _Cached] = {}
        self._passages: dict[tuple[str, ...], Passage] = {}

    def current(self, service: str) -> ServiceVerdict:
        """The verdict of a service now; inconclusive with the reason where there is none that counts.

        A contract that the serving plan does not keep blocks, whatever the last check said.
        """
        cached = self._cached(service)
        checked = self._checked(service, cached)
        worst = next(v for v in _WORST_FIRST if v in (checked.verdict, cached.promise.verdict))
        if cached.promise.verdict is Verdict.PASS:
            return checked
        return replace(checked, verdict=worst, reasons=(*cached.promise.reasons, *checked.reasons))

    def _checked(self, service: str, cached: _Cached) -> ServiceVerdict:
        limit = self._settings.policy(service).verdict_max_age
        if cached.finished is not None and limit is not None:
            age = self._settings.clock() - cached.finished
            if age > limit:
                reason = f"the last check finished at {cached.verdict.finished_at}; policy lets a verdict hold {limit}"
                found = cached.verdict
                return ServiceVerdict(
                    service, Verdict.INCONCLUSIVE, (reason,), found.run_id, found.as_of, found.finished_at
                )
        return cached.verdict

    def is_closed(self, service: str) -> bool:
        """Does the serving gate of a service refuse requests now?"""
        policy = self._settings.policy(service)
        return is_closed(self.current(service).verdict, policy.serving, policy.inconclusive)

    def enter(self, services: tuple[str, ...]) -> Passage:
        """Pass the gates of the services that a request stands for.

        Raises GateBlocked for the first service whose gate is closed. What was found holds for RECHECK_SECONDS.
        """
        now = self._monotonic()
        found = self._passages.get(services)
        if found is None or now >= found.until:
            if len(self._passages) >= _REMEMBERED:
                self._passages.clear()
            found = self._passages[services] = self._passage(services, now + RECHECK_SECONDS)
        if found.closed is not None:
            closed = found.closed
            raise GateBlocked("serving", closed.service, closed.verdict.value, closed.reasons)
        return found

    def _passage(self, services: tuple[str, ...], until: float) -> Passage:
        contract = self._cached(services[0]).promise.contract if len(services) == 1 else None
        verdicts: list[Verdict] = []
        for service in services:
            policy = self._settings.policy(service)
            if policy.serving == "off":
                continue
            current = self.current(service)
            if is_closed(current.verdict, policy.serving, policy.inconclusive):
                return Passage(until, current.verdict, contract, current)
            verdicts.append(current.verdict)
        return Passage(until, next((verdict for verdict in _WORST_FIRST if verdict in verdicts), None), contract)

    def _cached(self, service: str) -> _Cached:
        now = self._monotonic()
        cached = self._cache.get(service)
        if cached is not None and now - cached.looked_at < RECHECK_SECONDS:
            return cached
        path, contract = self._files.gate_path(service), self._files.contract_path(service)
        stamps = (stamp(path), stamp(contract))
        if cached is not None and stamps == cached.stamps:
            cached.looked_at = now
            return cached
        verdict, finished = _read(path, service) if stamps[0] else (_never(service), None)
        fresh = _Cached(verdict, check_promise(contract, self._fingerprints), now, stamps, finished)
        self._cache[service] = fresh
        return fresh


def _never(service: str) -> ServiceVerdict:
    return ServiceVerdict(service, Verdict.INCONCLUSIVE, ("the service was never checked",))


def _read(path: Path, service: str) -> tuple[ServiceVerdict, datetime | None]:
    try:
        data: Any = json.loads(path.read_bytes())
        if data["service"] != service:
            raise ValueError(f"it is about service {data['service']!r}")
        finished = datetime.fromisoformat(data["finished_at"])
        finished = finished.replace(tzinfo=UTC) if finished.tzinfo is None else finished
        verdict = ServiceVerdict(
            service,
            Verdict(data["verdict"]),
            tuple(str(reason) for reason in data["reasons"]),
            str(data["run_id"]),
            str(data["as_of"]),
            str(data["finished_at"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"its verdict file cannot be used ({type(error).__name__}: {error})"
        return ServiceVerdict(service, Verdict.INCONCLUSIVE, (reason,)), None
    return verdict, finished
