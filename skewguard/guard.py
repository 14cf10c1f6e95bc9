"""SkewGuard: the SDK's front door. Each verb opens what it needs, does one thing, and leaves the rest to its module."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from skewguard.config import Policy, parse_duration
from skewguard.definitions import ServiceDef
from skewguard.errors import BadInputError, ConfigurationError
from skewguard.gate import decide_training, enforce_training
from skewguard.suite_verbs import SuiteVerbs
from skewguard.workspace import Clock, utc, wall_clock

if TYPE_CHECKING:
    from skewguard.collect import Progress
    from skewguard.findings import CheckResult, Run
    from skewguard.materialize import Materialized
    from skewguard.offline.retrieve import Retrieval
    from skewguard.override import Override
    from skewguard.repair import RepairPlan, ViewOutcome
    from skewguard.running import CheckedRun
    from skewguard.serving_log.read import LogSpan
    from skewguard.training_set import TrainingSet


class SkewGuard(SuiteVerbs):
    """A Feast repository under guard.

    ``repo`` is the folder with feature_store.yaml; ``policy`` replaces its skewguard.yaml; ``clock`` gives the moment
    that counts as now wherever no as-of time is given. Raises RepositoryError, PolicyError.
    """

    def __init__(
        self,
        repo: str | os.PathLike[str],
        *,
        policy: Policy | None = None,
        clock: Clock = wall_clock,
    ) -> None:
        super().__init__(repo, policy, clock)

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
        from_log: tuple[datetime | str | None, datetime | str | None] | None = None,
        seeds: Mapping[str, int] | None = None,
        allow: str | None = None,
        as_of: datetime | str | None = None,
    ) -> TrainingSet:
        """Point-in-time features for ``entity_df``, validated, gated and under contract.

        ``entity_df``: a pandas DataFrame, an Arrow table, or the path of a Parquet or CSV file, with the join keys, the
        request data of on-demand views, and a timestamp column; every other column (labels) is kept. ``allow`` is a
        reason for which a closed gate is overridden; it is kept in the contract,
        with what spoke against the training set. ``as_of`` is the moment for which
        the skew gate checks the online store where no verdict is stored yet.
        ``from_log`` (since, until; as in ``served``) takes the features from the serving log instead: exactly what was
        served, to the request of an entity row (column ``__request_id``, perhaps ``__row``) or else what was served
        last for its join keys by its time. Rows that were not served are left out; the contract says how many.
        Raises GateBlocked (with the findings), BadInputError, UnknownNameError.
        """
        from skewguard import building

        building.checked_reason(allow)
        self.check_policy()
        service = self.service(features)
        span = None if from_log is None else self.served_span(service.name, since=from_log[0], until=from_log[1])
        options = building.Options(full_feature_names, filter_by_created_timestamp, span, seeds or {})
        built = building.build(self, entity_df, service, options)
        policy = self.policy.for_service(service.name)
        checks, skew = building.training_checks(self, built, utc(as_of, self.clock))
        decision = decide_training(checks, policy, service)
        override = self.state.override(service.name, "training", self.clock()) if service.name else None
        if allow is None and override is None:
            enforce_training(service.name or "feature list", decision, policy)
        told = None if override is None else override.told()
        result = building.finish(built, decision, {"skew": skew, "allowed": allow, "override": told})
        if service.name:
            building.keep(self, result, built)
        return result

    def leakage(
        self, entity_df: Any, features: str | Sequence[str], *, full_feature_names: bool = False
    ) -> CheckResult:
        """Which features of a training set would hold values created after their as-of time, and by how much they
        differ from what was known then (docs/checks.md). Nothing is stored.

        ``entity_df`` as in ``training_set``. Raises BadInputError, UnknownNameError, ConfigurationError.
        """
        from skewguard import building
        from skewguard.offline.entity_rows import normalise_entity_rows

        service = self.service(features)
        rows = normalise_entity_rows(entity_df, service, full_feature_names=full_feature_names)
        options = building.Options(full_feature_names)
        joined = building.join(rows, service, options)
        return building.leakage(self, service, joined, rows.timestamp_column, options)

    def historical_features(
        self,
        entity_df: Any,
        features: str | Sequence[str],
        *,
        output: str | os.PathLike[str] | None = None,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        memory_limit: str | None = None,
        progress: Progress | None = None,
    ) -> pa.Table | int:
        """Point-in-time features for ``entity_df`` (see ``training_set``), without its checks, gate and contract.

        With ``output`` they go into that Parquet file a part at a time, and the number of rows is returned; else the
        table. ``memory_limit`` bounds DuckDB ("2GB"): what does not fit goes to temporary files, on a source of any
        size. Raises BadInputError, UnknownNameError, ConfigurationError.
        """
        retrieval = self._retrieval(entity_df, features, full_feature_names, filter_by_created_timestamp, memory_limit)
        return retrieval.table(progress) if output is None else retrieval.to_parquet(Path(output), progress)

    def explain(
        self, entity_df: Any, features: str | Sequence[str], *, filter_by_created_timestamp: bool = False
    ) -> str:
        """DuckDB's plan of a point-in-time join, as text."""
        return self._retrieval(entity_df, features, False, filter_by_created_timestamp, None).explain()

    def _retrieval(
        self, entity_df: Any, features: str | Sequence[str], full: bool, created: bool, memory_limit: str | None
    ) -> Retrieval:
        from skewguard.offline.retrieve import Retrieval
        from skewguard.offline.statement import JoinOptions

        options = JoinOptions(full_feature_names=full, filter_by_created_timestamp=created)
        return Retrieval.of(self.feast, self.service(features), entity_df, options, memory_limit)

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
        incremental: bool = False,
        look_back: timedelta | str | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> list[Materialized]:
        """Write the latest row per entity at or before ``as_of`` to the online store, and move the watermark there.

        All online views by default; rows past their TTL at ``as_of`` are left out. With ``start``, rows before it are.
        ``incremental`` reads only what happened after a view's watermark less ``look_back`` (a timedelta, or text such
        as "36h"; a day by default) or, where the source has a created timestamp, was created after it: a row that
        comes later than that, without one, is missed until a run that is not incremental.
        """
        from skewguard.materialize import materialize

        end = utc(as_of, self.clock)
        begin = None if start is None else utc(start, self.clock)
        if begin is not None and begin > end:
            raise BadInputError("start", begin.isoformat(), f"a time at or before the as-of time {end.isoformat()}")
        names = list(views) if views is not None else [v.name for v in self.feast.views() if v.online]
        if not names:
            raise ConfigurationError(
                f"{self.path}: no online feature views in the registry; run `skewguard apply` first."
            )
        if look_back is not None and not incremental:
            raise BadInputError("look_back", str(look_back), "incremental=True beside it")
        return materialize(
            self.feast,
            names,
            end,
            start=begin,
            look_back=_look_back(look_back) if incremental else None,
            dry_run=dry_run,
            progress=progress,
        )

    def check(
        self,
        service: str,
        *,
        as_of: datetime | str | None = None,
        save: bool = True,
        progress: Progress | None = None,
    ) -> CheckedRun:
        """Every check of one feature service, judged by the policy; by default stored, reported and published.

        A check that cannot run is part of the result ("inconclusive" or "crashed") and never hides the others.
        Raises UnknownNameError, BadInputError.
        """
        from skewguard import running

        return running.check_service(self, service, utc(as_of, self.clock), save=save, progress=progress)

    def comparison(
        self,
        service: str,
        view: str | None = None,
        *,
        as_of: datetime | str | None = None,
        features: Sequence[str] | None = None,
        sample: float | None = None,
    ) -> pa.Table:
        """Both sides of one view row by row, with what the parity check makes of every cell: docs/skew-expectations.md.

        ``view`` may be left out where the service reads one only; ``features`` are names in it (all that the service
        reads, if None); ``sample`` is a share of its entities, by hash (policy's, if None). Everything is in memory.
        Raises UnknownNameError, BadInputError, StoreUnavailableError; ConfigurationError where the view was never
        materialized, or the as-of time lies before its watermark.
        """
        from skewguard.comparing import compare_view

        self.feast.refresh()
        return compare_view(self, self.service(service), view, utc(as_of, self.clock), features, sample)

    def drift(self, rows: Any, service: str, *, reference: Any = None, full_feature_names: bool = False) -> CheckResult:
        """Feature vectors against the training set of the service's contract, or against ``reference`` (docs/drift.md).

        ``rows`` and ``reference``: a pandas DataFrame, an Arrow table, or a Parquet or CSV file, with features under
        their output names; join keys tell which rows are one entity's, a column ``event_timestamp`` the ages of
        timestamps. The result's ``drift`` has every column, its ``findings`` the alarms. Nothing is stored. Raises
        BadInputError, UnknownNameError, ConfigurationError.
        """
        from skewguard.drifting import compare_rows

        return compare_rows(self, self.feast.service(service), rows, reference, full_feature_names)

    def override(
        self, service: str, *, how_long: timedelta | str, reason: str, gate: str = "both", by: str | None = None
    ) -> Override:
        """Let a service through its closed gates ("serving", "training" or "both") from now on for so long.

        It ends by itself, is recorded in the history before it is in force, and is told in reports, in contracts and by
        the server. ``by`` is who decided it: the user of this process unless told. Raises BadInputError.
        """
        from skewguard.overriding import set_override

        self.feast.service(service)
        return set_override(self, service, how_long, reason, gate, by)

    def end_override(self, service: str, *, by: str | None = None) -> list[Override]:
        """End the overrides of a service now; gives those that were in force."""
        from skewguard.overriding import end_override

        self.feast.service(service)
        return end_override(self, service, by)

    def preflight(self, service: str | Sequence[str], *, as_of: datetime | str | None = None) -> CheckedRun:
        """What can be seen of a feature service in seconds, without the online store (docs/checks.md): a run of one
        check, judged by the policy. Nothing is stored or published. Raises UnknownNameError, BadInputError.
        """
        from skewguard import running

        self.feast.refresh()
        return running.run_preflight(self, self.service(service), utc(as_of, self.clock))

    def served(
        self, service: str, *, since: datetime | str | None = None, until: datetime | str | None = None
    ) -> pa.Table:
        """What the HTTP server answered for a feature service, by the time of the answer; docs/serving-log.md.

        From ``since`` (default: 24 hours before ``until``) to before ``until`` (default: now); without columns where
        nothing was logged. Raises UnknownNameError, BadInputError.
        """
        from skewguard.offline.sources import connect

        with connect() as con:
            return self.served_span(service, since=since, until=until).table(con)

    def served_span(
        self, service: str, *, since: datetime | str | None = None, until: datetime | str | None = None
    ) -> LogSpan:
        """Where the rows of ``served`` lie, and how many were stored and dropped; for logs larger than memory."""
        from skewguard.serving_log.folder import LogFolder
        from skewguard.serving_log.keeping import keep_log
        from skewguard.serving_log.read import log_span

        self.feast.service(service)
        end = utc(until, self.clock)
        start = end - timedelta(days=1) if since is None else utc(since, self.clock)
        if start >= end:
            raise BadInputError("since", start.isoformat(), f"a time before {end.isoformat()}")
        keep_log(self.path)
        return log_span(LogFolder.of(self.path), service, start, end)

    def plan_repair(
        self,
        service: str,
        *,
        as_of: datetime | str | None = None,
        remove_orphans: bool = False,
        run: Run | str | None = None,
    ) -> RepairPlan:
        """What a repair of one feature service would do now, over all entities. Changes nothing.

        Rows of entities that offline does not know stay, unless ``remove_orphans``. With ``run`` (or its id), only what
        is still wrong of that run's findings. Raises UnknownNameError for a run that is not stored.
        """
        from skewguard import running
        from skewguard.history import History
        from skewguard.offline.asof import latest_rows
        from skewguard.repair import Asked, RepairPlan, plan_repair

        definition, policy = self.feast.service(service), self.policy.for_service(service)
        moment = utc(as_of, self.clock)
        found = History(self.state.history).run(run) if isinstance(run, str) else run
        if found is not None and found.service != service:
            raise BadInputError("run", f"{found.run_id} of {found.service!r}", f"a run of {service!r}")
        asked = Asked(None if found is None else found.findings, remove_orphans)
        with running.stores(self, policy.memory_limit) as (con, client):
            collected = running.collect(self, definition, moment, con, client, sample=1.0)
            views = plan_repair(collected.sides, policy, lambda view, at: latest_rows(con, view, at), asked)
        return RepairPlan(service, moment, views, None if found is None else found.run_id)

    def repair(self, plan: RepairPlan) -> list[ViewOutcome]:
        """Apply a plan, and read back what was written. Never overwrites a newer online value.

        The plan, the touched rows before and after, and the outcome are kept in ``.skewguard/repairs``. Raises
        StoreUnavailableError; running again goes on.
        """
        from skewguard import running
        from skewguard.repair import apply_repair
        from skewguard.repair_log import RepairLog

        if plan.is_empty:
            return []
        log = RepairLog.begin(self.state, plan, self.clock())
        with running.stores(self) as (_, client):
            outcomes = apply_repair(plan, client, self.feast.project, running.key_ttl(self.path), log.keep)
        log.end(outcomes, self.clock())
        return outcomes


def _look_back(value: timedelta | str | None) -> timedelta:
    try:
        found = parse_duration("1d" if value is None else value)
    except ValueError as error:
        raise BadInputError("look_back", repr(value), "a duration such as 36h or 7d") from error
    if found is None or found < timedelta(0):
        raise BadInputError("look_back", repr(value), "a duration of zero or more")
    return found
