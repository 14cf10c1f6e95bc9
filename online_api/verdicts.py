"""The serving gate: reads each service's latest verdict from its file and says whether requests may pass.

The guard writes ``.skewguard/gate/<service>.json``. A verdict that is missing, unreadable, for another service or older
than policy allows is inconclusive, never a pass.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from online_api.settings import Settings
from skewguard.errors import GateBlockedError
from skewguard.findings import Verdict
from skewguard.gate import is_closed

RECHECK_SECONDS = 1.0
"""A verdict file is looked at again after this time at the earliest."""

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


@dataclass
class _Cached:
    verdict: ServiceVerdict
    looked_at: float
    stamp: tuple[int, int, int] | None
    finished: datetime | None = field(default=None)


class Verdicts:
    """The latest verdicts, re-read when their files change (a ``stat`` at most every second and service)."""

    def __init__(self, settings: Settings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._cache: dict[str, _Cached] = {}

    def current(self, service: str) -> ServiceVerdict:
        """The verdict of a service now; inconclusive with the reason where there is none that counts."""
        cached = self._cached(service)
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

    def enter(self, services: Sequence[str]) -> Verdict | None:
        """Pass the gates of the services that a request stands for.

        Returns the worst verdict among those whose gate is not off (None where there is none), for the header.
        Raises GateBlockedError for the first service whose gate is closed.
        """
        found: list[Verdict] = []
        for service in services:
            policy = self._settings.policy(service)
            if policy.serving == "off":
                continue
            current = self.current(service)
            if is_closed(current.verdict, policy.serving, policy.inconclusive):
                raise GateBlockedError("serving", service, current.verdict.value, current.reasons)
            found.append(current.verdict)
        return next((verdict for verdict in _WORST_FIRST if verdict in found), None)

    def _cached(self, service: str) -> _Cached:
        now = self._monotonic()
        cached = self._cache.get(service)
        if cached is not None and now - cached.looked_at < RECHECK_SECONDS:
            return cached
        path = self._path(service)
        stamp = _stamp(path)
        if cached is not None and stamp == cached.stamp:
            cached.looked_at = now
            return cached
        verdict, finished = _read(path, service) if stamp else (_never(service), None)
        fresh = _Cached(verdict, now, stamp, finished)
        self._cache[service] = fresh
        return fresh

    def _path(self, service: str) -> Path:
        # a service name is a file name here; one that cannot be has no verdict
        name = service if "/" not in service and "\0" not in service and service not in ("", ".", "..") else "_"
        return self._settings.state / "gate" / f"{name}.json"


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


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
