"""What the guard last said of each service: its verdict, its contract, its overrides, read from their files.

The guard writes ``.skewguard/gate/<service>.json``, training ``.skewguard/contracts/<service>.json``, and
``skewguard override`` ``.skewguard/gate/<service>.override.json``. A verdict that is missing, unreadable, for another
service or older than policy allows is inconclusive, never a pass.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from online_api.plan_files import Stamp, stamp
from online_api.promises import Promise, check_promise
from online_api.settings import Settings
from skewguard.blocked import Blocked
from skewguard.errors import ConfigurationError
from skewguard.findings import Verdict
from skewguard.gate import closes
from skewguard.override import Override
from skewguard.state import State, read_overrides

log = logging.getLogger("online_api")

RECHECK_SECONDS = 1.0
"""A verdict file is looked at again after this time at the earliest."""

EVERYTHING = (Blocked(None, None),)
WORST_FIRST = (Verdict.BLOCK, Verdict.INCONCLUSIVE, Verdict.WARN, Verdict.PASS)


@dataclass(frozen=True)
class ServiceVerdict:
    """The verdict that holds for a service now. ``run_id``, ``as_of``, ``finished_at`` are empty when never checked.

    ``blocked``: what the findings that block are about, where the verdict is "block".
    """

    service: str
    verdict: Verdict
    reasons: tuple[str, ...]
    run_id: str = ""
    as_of: str = ""
    finished_at: str = ""
    blocked: tuple[Blocked, ...] = EVERYTHING


@dataclass
class _Cached:
    verdict: ServiceVerdict
    promise: Promise
    overrides: Mapping[str, Override]
    looked_at: float
    stamps: tuple[Stamp, Stamp, Stamp]
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

    def current(self, service: str) -> ServiceVerdict:
        """The verdict of a service now; inconclusive with the reason where there is none that counts.

        A contract that the serving plan does not keep blocks, whatever the last check said.
        """
        cached = self._cached(service)
        checked = self._checked(service, cached)
        worst = next(v for v in WORST_FIRST if v in (checked.verdict, cached.promise.verdict))
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

    def closing(self, service: str) -> tuple[Blocked, ...]:
        """What closes the serving gate of a service, as far as policy lets it; nothing where it is open."""
        cached = self._cached(service)
        checked = self._checked(service, cached)
        inconclusive = self._settings.policy(service).inconclusive
        if closes(cached.promise.verdict, inconclusive) or (
            checked.verdict is not Verdict.BLOCK and closes(checked.verdict, inconclusive)
        ):
            return EVERYTHING
        return checked.blocked if checked.verdict is Verdict.BLOCK else ()

    def override(self, service: str, gate: str = "serving") -> Override | None:
        """The override of a gate that is in force now."""
        found = self._cached(service).overrides.get(gate)
        return found if found is not None and found.set_at <= self._settings.clock() < found.until else None

    def contract(self, service: str) -> str | None:
        """The digest of the service's contract, where it has one."""
        return self._cached(service).promise.contract

    def defaults(self, service: str) -> Mapping[str, Any]:
        """What the service's contract gives in place of features, by full feature name."""
        return self._cached(service).promise.defaults

    def _cached(self, service: str) -> _Cached:
        now = self._monotonic()
        cached = self._cache.get(service)
        if cached is not None and now - cached.looked_at < RECHECK_SECONDS:
            return cached
        path, contract = self._files.gate_path(service), self._files.contract_path(service)
        override = self._files.override_path(service)
        stamps = (stamp(path), stamp(contract), stamp(override))
        if cached is not None and stamps == cached.stamps:
            cached.looked_at = now
            return cached
        verdict, finished = self._verdict(path, service, cached) if stamps[0] else (_never(service), None)
        if cached is not None and stamps[0] is None and cached.stamps[0] is not None:
            log.warning("the verdict of %s is gone (%s): it counts as never checked", service, path)
        promise = check_promise(contract, self._fingerprints)
        fresh = _Cached(verdict, promise, _overrides(override, service), now, stamps, finished)
        self._cache[service] = fresh
        return fresh

    def _verdict(self, path: Path, service: str, cached: _Cached | None) -> tuple[ServiceVerdict, datetime | None]:
        """What a file says. One that cannot be used is inconclusive, but a block that it was before: that one stays."""
        try:
            return _read(path, service)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"its verdict file cannot be used ({type(error).__name__}: {error})"
            log.warning("%s: %s", service, reason)
            if cached is None or cached.verdict.verdict is not Verdict.BLOCK:
                return ServiceVerdict(service, Verdict.INCONCLUSIVE, (reason,)), None
            verdict = cached.verdict
            return replace(verdict, reasons=tuple(dict.fromkeys((reason, *verdict.reasons)))), cached.finished


def _never(service: str) -> ServiceVerdict:
    return ServiceVerdict(service, Verdict.INCONCLUSIVE, ("the service was never checked",))


def _overrides(path: Path, service: str) -> Mapping[str, Override]:
    """None where the file cannot be read: what nobody can read lets nothing through."""
    try:
        return read_overrides(path, service)
    except ConfigurationError as error:
        log.warning("nothing is overridden: %s", error)
        return {}


def _blocked(listed: Any) -> tuple[Blocked, ...]:
    """What a verdict file says is blocked: everything where it says nothing, or was written before it could."""
    found = tuple(Blocked(_name(item["view"]), _name(item["feature"])) for item in listed or ())
    return found or EVERYTHING


def _name(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"blocked: {value!r} is no name")
    return value


def _read(path: Path, service: str) -> tuple[ServiceVerdict, datetime]:
    """Raises OSError, ValueError, KeyError, TypeError for what is no verdict of the service."""
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
        _blocked(data.get("blocked")),
    )
    return verdict, finished
