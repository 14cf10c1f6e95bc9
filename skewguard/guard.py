"""SkewGuard: the SDK's front door. Each verb opens what it needs, does one thing, and leaves the rest to its module."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from skewguard.config import Policy, ServicePolicy, load_policy
from skewguard.definitions import ServiceDef
from skewguard.errors import BadInputError, UnknownNameError
from skewguard.feast_repo import FeastRepo
from skewguard.findings import Run
from skewguard.gate import decide, enforce_training
from skewguard.state import State

if TYPE_CHECKING:
    from skewguard.collect import Progress
    from skewguard.materialize import Materialized
    from skewguard.repair import RepairPlan, ViewOutcome
    from skewguard.training_set import TrainingSet


def utc(moment: datetime | str | None, clock: Callable[[], datetime]) -> datetime:
    """A moment in UTC: a datetime (naive means UTC), ISO 8601 text, or ``clock()`` for None. Raises BadInputError."""
    if moment is None:
        return clock()
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as error:
            raise BadInputError("as_of", repr(moment), "an ISO 8601 time such as 2026-01-31T06:00:00Z") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class SkewGuard:
    """A Feast repository under guard.

    ``repo`` is the folder with feature_store.yaml; ``policy`` replaces its skewguard.yaml; ``clock`` gives the moment
    that counts as now wherever no as-of time is given. Raises RepositoryError, PolicyError.
    """

    def __init__(
        self,
        repo: str | os.PathLike[str],
        *,
        policy: Policy | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.path = Path(repo).resolve()
        self.feast = FeastRepo(self.path)
        self.policy = policy if policy is not None else load_policy(self.path)
        self.state = State(self.path)
        self.clock = clock

    def services(self) -> list[str]:
        """Names of the feature services."""
        return self.feast.service_names()

    def service(self, features: str | Sequence[str]) -> ServiceDef:
        """A feature service by name, or a list of ``view:feature`` references. Raises UnknownNameError."""
        if isinstance(features, str):
            return self.feast.service(features)
        return self.feast.feature_list(features)

    def training_set(
        self,
        entity_df: Any,
        features: str | Sequence[str],
        *,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        seeds: Mapping[str, int] | None = None,
        allow: str | None = None,
    ) -> TrainingSet:
        """Point-in-time features for ``entity_df``, validated, gated and under contract.

        ``entity_df``: a pandas DataFrame, an Arrow table, or the path of a Parquet or CSV file, with the join keys, the
        request data of on-demand views, and a timestamp column; every other column (labels) is kept. ``allow`` is a
        reason for which a closed gate is overridden; it is written into the contract.
        Raises GateBlockedError (with the findings), BadInputError, UnknownNameError.
        """
        from skewguard import building

        self._check_policy()
        service = self.service(features)
        built = building.build(
            self, entity_df, service, building.Options(full_feature_names, filter_by_created_timestamp, seeds or {})
        )
        policy = self.policy.for_service(service.name)
        checks, skew = building.training_checks(self, service, built, policy)
        decision = decide(checks, policy)
        if allow is None:
            enforce_training(service.name or "feature list", decision, policy)
        result = building.finish(built, decision, {"skew": skew, "allowed": allow})
        if service.name:
            result.contract.save(self.state.contract_path(service.name))
        return result

    def online(
        self,
        features: str | Sequence[str],
        entity_rows: Sequence[Mapping[str, Any]] | pa.Table,
        *,
        as_of: datetime | str | None = None,
        full_feature_names: bool = False,
    ) -> pa.Table:
        """Online feature vectors: entity columns, features, then ``__event_ts__<view>`` and ``__status__<feature>``.

        Values older than the TTL at ``as_of`` are null with status OUTSIDE_MAX_AGE, unless policy says ``annotate``.
        Raises StoreUnavailableError, BadInputError, UnknownNameError.
        """
        from skewguard.vectors import online_vectors

        service = self.service(features)
        policy = self.policy.for_service(service.name)
        return online_vectors(
            self.feast,
            service,
            entity_rows,
            utc(as_of, self.clock),
            full_feature_names=full_feature_names,
            keep_expired=policy.expired == "annotate",
        )

    def materialize(
        self,
        *,
        as_of: datetime | str | None = None,
        views: Sequence[str] | None = None,
        start: datetime | str | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> list[Materialized]:
        """Write the latest row per entity at or before ``as_of`` to the online store, and move the watermark there.

        All online views by default; rows past their TTL at ``as_of`` are left out. With ``start``, rows before it are.
        """
        from skewguard.materialize import materialize

        end = utc(as_of, self.clock)
        begin = None if start is None else utc(start, self.clock)
        if begin is not None and begin > end:
            raise BadInputError("start", begin.isoformat(), f"a time at or before the as-of time {end.isoformat()}")
        names = list(views) if views is not None else [v.name for v in self.feast.views() if v.online]
        return materialize(self.feast, names, end, start=begin, dry_run=dry_run, progress=progress)

    def check(
        self,
        service: str,
        *,
        as_of: datetime | str | None = None,
        save: bool = True,
        progress: Progress | None = None,
    ) -> Run:
        """Every check of one feature service, judged by the policy; by default stored, reported and published.

        A check that cannot run is part of the result ("inconclusive" or "crashed") and never hides the others.
        Raises UnknownNameError, BadInputError.
        """
        from skewguard import running

        self._check_policy()
        definition = self.feast.service(service)
        started = self.clock()
        moment = utc(as_of, self.clock)
        run_id = f"{started:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
        run = running.run_checks(self, definition, running.RunContext(run_id, moment, started, progress))
        return running.store_run(self, run) if save else run

    def plan_repair(self, service: str, *, as_of: datetime | str | None = None) -> RepairPlan:
        """What a repair of one feature service would do now. Changes nothing."""
        from skewguard import running
        from skewguard.offline.asof import latest_rows
        from skewguard.repair import plan_repair

        definition = self.feast.service(service)
        with running.stores(self) as (con, client):
            collected = running.collect(self, definition, utc(as_of, self.clock), con, client)
            policy = self.policy.for_service(service)
            return plan_repair(service, collected.sides, policy, lambda view, at: latest_rows(con, view, at))

    def repair(self, plan: RepairPlan) -> list[ViewOutcome]:
        """Apply a plan. Never overwrites a newer online value. Raises StoreUnavailableError; running again goes on."""
        from skewguard import running
        from skewguard.repair import apply_repair

        with running.stores(self) as (_, client):
            return apply_repair(plan, client, self.feast.project, running.key_ttl(self.path))

    def policy_for(self, service: str) -> ServicePolicy:
        """The policy of one feature service."""
        return self.policy.for_service(service)

    def _check_policy(self) -> None:
        """Refuse names in the policy that the registry does not hold; not before, since apply may bring them."""
        services: dict[str, dict[str, list[str]]] = {}
        for name in self.feast.service_names():
            try:
                views = self.feast.service(name).views
            except UnknownNameError:
                services[name] = {}  # a broken service is reported by the verb that uses it
            else:
                services[name] = {v.name: [f.name for f in v.features] for v in views}
        self.policy.check_names(services)
