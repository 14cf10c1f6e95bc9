"""A repository as every verb finds it: Feast's registry, the policy, the guard's own files, and the clock."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from skewguard.config import Policy, ServicePolicy, load_policy
from skewguard.errors import BadInputError, UnknownNameError
from skewguard.feast_repo import FeastRepo
from skewguard.state import State

Clock = Callable[[], datetime]


def wall_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def utc(moment: datetime | str | None, clock: Clock = wall_clock) -> datetime:
    """A moment in UTC: a datetime (naive means UTC), ISO 8601 text, or ``clock()`` for None. Raises BadInputError."""
    if moment is None:
        return clock()
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as error:
            raise BadInputError("as_of", repr(moment), "an ISO 8601 time such as 2026-01-31T06:00:00Z") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Workspace:
    """Attributes: ``path``, ``feast`` (FeastRepo), ``policy``, ``state`` (files under .skewguard), ``clock`` (UTC)."""

    def __init__(self, repo: str | os.PathLike[str], policy: Policy | None, clock: Clock) -> None:
        self.path = Path(repo).resolve()
        self.feast = FeastRepo(self.path)
        self.policy = policy if policy is not None else load_policy(self.path)
        self.state = State(self.path)
        self.clock = clock

    def policy_for(self, service: str) -> ServicePolicy:
        """The policy of one feature service."""
        return self.policy.for_service(service)

    def check_policy(self) -> None:
        """Refuse names in the policy that the registry does not hold; not before, since apply may bring them."""
        services: dict[str, dict[str, list[str]]] = {}
        computed: dict[str, dict[str, list[str]]] = {}
        for name in self.feast.service_names():
            try:
                service = self.feast.service(name)
            except UnknownNameError:
                services[name] = {}  # a broken service is reported by the verb that uses it
            else:
                services[name] = {v.name: [f.name for f in v.features] for v in service.views}
                computed[name] = {od.name: [f.name for f in od.features] for od in service.on_demand}
        self.policy.check_names(services, computed)
