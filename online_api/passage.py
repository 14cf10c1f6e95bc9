"""The serving gates that a look-up passes: whether it may, and which of its features need another value."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from online_api.settings import Settings
from online_api.verdicts import RECHECK_SECONDS, WORST_FIRST, ServiceVerdict, Verdicts
from skewguard.blocked import Place, blocked_places, places
from skewguard.definitions import ServiceDef
from skewguard.errors import GateBlocked
from skewguard.findings import Verdict
from skewguard.override import Override
from skewguard.plan import ServingPlan


@dataclass(frozen=True)
class Passage:
    """What the gates of a look-up say, until then (monotonic seconds).

    Attributes:
        verdict: the worst one among the services whose gate is not off, for the header; None where there is none.
        contract: the digest of the contract, of a request for one service that has one.
        closed: the service whose gate refuses the request.
        blocked: features that need another value, each with the service that says so.
        overrides: the services of the look-up that are overridden now.
    """

    until: float
    verdict: Verdict | None
    contract: str | None
    closed: ServiceVerdict | None = None
    blocked: Mapping[Place, str] = field(default_factory=dict)
    overrides: Mapping[str, Override] = field(default_factory=dict)


class RequestGate:
    """The gates of one look-up: of a feature service, or of the services that share features with a feature list.

    A list's features are those of the services by view and feature, whatever their aliases.
    """

    def __init__(
        self,
        settings: Settings,
        verdicts: Verdicts,
        request: ServiceDef,
        services: tuple[ServiceDef, ...],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._verdicts = verdicts
        self._places = places(request)
        self._services = services
        self.services = tuple(service.name for service in services)
        self._alone = services[0].name if len(services) == 1 else None
        self._is_list = not request.name
        self._monotonic = monotonic
        self._found: Passage | None = None

    def enter(self) -> Passage:
        """Pass. Raises GateBlocked for the first service whose gate is closed; what was found holds for a second."""
        now = self._monotonic()
        found = self._found
        if found is None or now >= found.until:
            found = self._found = self._passage(now + RECHECK_SECONDS)
        if found.closed is not None:
            closed = found.closed
            raise GateBlocked("serving", closed.service, closed.verdict.value, closed.reasons)
        return found

    def look(self) -> Passage:
        """What the gates say now; nothing is raised."""
        return self._passage(self._monotonic())

    def _passage(self, until: float) -> Passage:
        contract = None if self._alone is None else self._verdicts.contract(self._alone)
        verdicts: list[Verdict] = []
        blocked: dict[Place, str] = {}
        overrides: dict[str, Override] = {}
        for service in self._services:
            policy = self._settings.policy(service.name)
            if policy.is_off:
                continue
            current = self._verdicts.current(service.name)
            verdicts.append(current.verdict)
            override = self._verdicts.override(service.name)
            if override is not None:
                overrides[service.name] = override
                continue
            for place in self._affected(service):
                action = policy.serving_of(place.reference)
                if action == "reject":
                    return Passage(until, current.verdict, contract, current)
                if action == "fallback":
                    blocked.setdefault(place, service.name)
        worst = next((verdict for verdict in WORST_FIRST if verdict in verdicts), None)
        return Passage(until, worst, contract, None, blocked, overrides)

    def _affected(self, service: ServiceDef) -> list[Place]:
        """The features of the look-up that findings on a service block."""
        found = blocked_places(self._verdicts.closing(service.name), service)
        if not self._is_list:
            return [place for place in self._places if place in found]
        references = {place.reference for place in found}
        return [place for place in self._places if place.reference in references]


class ServingGates:
    """The gates of a plan's feature services."""

    def __init__(self, settings: Settings, plan: ServingPlan, verdicts: Verdicts) -> None:
        self._settings = settings
        self._plan = plan
        self._verdicts = verdicts

    def of(self, request: ServiceDef) -> RequestGate:
        """The gate of a feature service, or of a feature list (a service without a name)."""
        names = (request.name,) if request.name else self._plan.services_sharing(request)
        services = tuple(self._plan.service(name) for name in names)
        return RequestGate(self._settings, self._verdicts, request, services)

    def look(self, service: str) -> Passage:
        """What the gate of a service says now."""
        return self.of(self._plan.service(service)).look()
