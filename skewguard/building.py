"""Builds a training set in steps: entity rows, point-in-time join, on-demand features, training checks, contract."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from skewguard.checks.leakage import JoinedRows, check_leakage
from skewguard.contract import iso
from skewguard.definitions import Projection, ServiceDef
from skewguard.drift.reference import save_reference
from skewguard.drift.vectors import TableVectors
from skewguard.drifting import reference_columns, training_drift
from skewguard.errors import BadInputError, StoreUnavailableError, UnknownNameError
from skewguard.findings import CheckResult, Run, Verdict
from skewguard.gate import Decision
from skewguard.offline.asof import point_in_time
from skewguard.offline.entity_rows import EntityRows, normalise_entity_rows
from skewguard.offline.sources import connect
from skewguard.on_demand import add_on_demand
from skewguard.replaying import merged_projections
from skewguard.running import check_service, guarded
from skewguard.serving_log.training import served_features
from skewguard.training_set import TrainingInputs, TrainingSet, library_versions, write_contract

if TYPE_CHECKING:
    from skewguard.serving_log.read import LogSpan
    from skewguard.workspace import Workspace

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How a training set is built; see SkewGuard.training_set."""

    full_feature_names: bool = False
    filter_by_created_timestamp: bool = False
    from_log: LogSpan | None = None
    seeds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Built:
    """A training set before the gate."""

    table: pa.Table
    service: ServiceDef
    entity_columns: tuple[str, ...]
    timestamp_column: str
    options: Options
    suite_digest: str | None = None
    not_served: int = 0
    began: datetime | None = None
    joined: pa.Table | None = None
    """What the join gave, with the event and created timestamps of each view; None where the log was read."""


def build(workspace: Workspace, entity_df: Any, service: ServiceDef, options: Options) -> Built:
    """Join the features point in time and add the on-demand ones; or take them all from the serving log."""
    from skewguard.suite_checks import suite_digest

    rows = normalise_entity_rows(entity_df, service, full_feature_names=options.full_feature_names)
    if rows.table.num_rows == 0:
        raise BadInputError("entity_df", "no rows", "at least one entity row")
    names = tuple(rows.table.column_names)
    digest, began = suite_digest(workspace, service), workspace.clock()
    if options.from_log is not None:
        with connect() as con:
            served = served_features(con, rows, service, options.from_log, options.full_feature_names)
        left_out = rows.table.num_rows - served.num_rows
        return Built(served, service, names, rows.timestamp_column, options, digest, left_out, began)
    joined = join(rows, service, options)
    table = add_on_demand(joined, service, workspace.feast, options.full_feature_names)
    outputs = [f.name for f in service.outputs(options.full_feature_names)]
    kept = table.select([*names, *outputs])
    return Built(kept, service, names, rows.timestamp_column, options, digest, began=began, joined=joined)


def join(rows: EntityRows, service: ServiceDef, options: Options) -> pa.Table:
    """The features of the views, point in time, with the event and created timestamps that the leakage check reads."""
    with connect() as con:
        return point_in_time(
            con,
            rows.table,
            merged_projections(service),
            timestamp_column=rows.timestamp_column,
            full_feature_names=options.full_feature_names,
            filter_by_created_timestamp=options.filter_by_created_timestamp,
            with_event_timestamps=True,
            with_created_timestamps=True,
        )


def leakage(
    workspace: Workspace, service: ServiceDef, joined: pa.Table, timestamp_column: str, options: Options
) -> CheckResult:
    """The leakage check of a join: rows that hold what was created later are joined once more, as known then."""
    projections = merged_projections(service)

    def as_known(rows: pa.Table, asked: Sequence[Projection]) -> pa.Table:
        with connect() as con:
            return point_in_time(
                con,
                rows,
                asked,
                timestamp_column=timestamp_column,
                full_feature_names=options.full_feature_names,
                filter_by_created_timestamp=True,
                with_event_timestamps=True,
            )

    policy = workspace.policy_for(service.name)
    shape = JoinedRows(joined, timestamp_column, options.full_feature_names, options.filter_by_created_timestamp)
    return check_leakage(shape, projections, as_known, policy)


def training_checks(workspace: Workspace, built: Built, as_of: datetime) -> tuple[list[CheckResult], dict[str, Any]]:
    """The checks before ``fit``: the suite on these rows, and what the guard last saw of the online store."""
    from skewguard.suite_checks import check_training

    service = built.service
    checks = [guarded("expectations", lambda: check_training(workspace, service, built.table, built.timestamp_column))]
    joined = built.joined
    if joined is not None:
        at, options = built.timestamp_column, built.options
        checks.append(guarded("leakage", lambda: leakage(workspace, service, joined, at, options)))
    if not service.name:
        return checks, {"skew": "a feature list has no verdict of its own"}
    if workspace.policy_for(service.name).drift.enabled:
        at, full = built.timestamp_column, built.options.full_feature_names
        checks.append(guarded("distribution", lambda: training_drift(workspace, service, built.table, at, full)))
    skew_checks, provenance = _skew(workspace, service, as_of)
    return [*checks, *skew_checks], provenance


def _skew(workspace: Workspace, service: ServiceDef, as_of: datetime) -> tuple[list[CheckResult], dict[str, Any]]:
    """The checks of the latest run, of a new one where there is none; nothing where nothing was ever materialized."""
    from skewguard.history import History

    run: Run
    policy = workspace.policy_for(service.name)
    state = workspace.state.gate(service.name)
    if state is None:
        watermarks = workspace.feast.watermarks()
        if all(watermarks.get(view.name) is None for view in service.views):
            return [], {"skew": "nothing is materialized yet, so there is nothing online to compare with"}
        _LOG.info("no verdict for %s yet: checking now", service.name)
        run = check_service(workspace, service.name, as_of)
    else:
        age = workspace.clock() - state.finished_at
        if policy.verdict_max_age is not None and age > policy.verdict_max_age:
            old, most = (timedelta(seconds=round(span.total_seconds())) for span in (age, policy.verdict_max_age))
            reason = f"the last verdict is {old} old, verdict_max_age is {most}; run `skewguard check` first"
            return [CheckResult("skew", "inconclusive", reason=reason)], {"run_id": state.run_id}
        try:
            run = History(workspace.state.history).run(state.run_id)
        except (UnknownNameError, StoreUnavailableError) as error:
            reason = f"the run behind the last verdict cannot be read: {error}; run `skewguard check` first"
            return [CheckResult("skew", "inconclusive", reason=reason)], {"run_id": state.run_id}
    provenance = {"run_id": run.run_id, "verdict": run.verdict.value, "as_of": iso(run.as_of)}
    # this training set writes a new contract, and its own rows are compared with the old one's
    checks = [check for check in run.checks if check.check not in ("definition", "distribution")]
    if run.verdict is Verdict.INCONCLUSIVE and all(check.status == "ok" for check in checks):
        checks.append(CheckResult("skew", "inconclusive", reason="; ".join(run.reasons)))
    return checks, provenance


def finish(built: Built, decision: Decision, provenance: Mapping[str, Any]) -> TrainingSet:
    """Write the contract of a training set that passed, and hand both over."""
    contract = write_contract(
        TrainingInputs(
            service=built.service,
            table=built.table,
            entity_columns=built.entity_columns,
            timestamp_column=built.timestamp_column,
            full_feature_names=built.options.full_feature_names,
            created_cutoff=built.options.filter_by_created_timestamp,
            seeds=built.options.seeds,
            suite_digest=built.suite_digest,
        )
    ).with_provenance(
        versions=library_versions(),
        verdict=decision.verdict.value,
        **_origin(built),
        **provenance,
        **_overridden(built, decision, provenance),
    )
    names = tuple(f.name for f in built.service.outputs(built.options.full_feature_names))
    return TrainingSet(built.table, built.service, names, contract, decision)


def keep(workspace: Workspace, result: TrainingSet, built: Built) -> None:
    """Make the training set's contract the service's, with some of its rows beside it for later tests of drift."""
    service, path = built.service, workspace.state.reference(built.service.name)
    vectors = TableVectors.of_outputs(built.table, service, built.timestamp_column, built.options.full_feature_names)
    save_reference(path, vectors, reference_columns(service), result.contract.training_set_digest)
    result.contract.save(workspace.state.contract_path(service.name))


def checked_reason(allow: str | None) -> None:
    """Refuse a reason that says nothing. Raises BadInputError."""
    if allow is not None and not allow.strip():
        raise BadInputError("allow", repr(allow), "the reason for which a closed gate is overridden, in words")


def _overridden(built: Built, decision: Decision, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What a reason was given over, and when; nothing where none was given, or nothing spoke against the rows."""
    given = provenance.get("allowed") is not None or provenance.get("override") is not None
    if not given or decision.verdict is Verdict.PASS:
        return {}
    at = None if built.began is None else iso(built.began)
    return {"overridden": {"at": at, "verdict": decision.verdict.value, "reasons": list(decision.reasons)}}


def _origin(built: Built) -> dict[str, Any]:
    """Where the features come from, if not from a point-in-time join."""
    span = built.options.from_log
    if span is None:
        return {}
    return {
        "from_log": {
            "since": iso(span.start),
            "until": iso(span.end),
            "rows_not_served": built.not_served,
            "rows_dropped_by_the_log": span.dropped,
        }
    }
