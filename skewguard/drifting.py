"""Brings served rows, nights before, the contract's profile and its kept rows together for the distribution check."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.checks.distribution import Night, check_distribution
from skewguard.collect import Progress
from skewguard.config import Drift
from skewguard.contract import FeatureContract, iso
from skewguard.definitions import FieldDef, ServiceDef
from skewguard.drift.alarms import level_of, rows_to_see
from skewguard.drift.findings import CHECK
from skewguard.drift.joined import joined_rows
from skewguard.drift.joint import FEWEST, JointTest, independent_rows, joint_test
from skewguard.drift.judging import Comparison
from skewguard.drift.nights import NightProfile, baseline, bins_of, nights_before, save_night, unlike_nights
from skewguard.drift.reference import load_reference
from skewguard.drift.vectors import DriftColumn, TableVectors, Vectors, columns_of, profile_vectors
from skewguard.errors import BadInputError, ConfigurationError, nearest
from skewguard.findings import CheckResult, FeatureStats
from skewguard.offline.entity_rows import DEFAULT_TIMESTAMP, moments, read_rows, typed_column
from skewguard.offline.sources import connect
from skewguard.profile import Bins, ColumnProfile
from skewguard.serving_log.columns import AS_OF, value_column
from skewguard.serving_log.folder import LogFolder
from skewguard.serving_log.keeping import keep_log
from skewguard.serving_log.read import log_span
from skewguard.serving_log.served import ServedRows
from skewguard.sql import FAR_FUTURE, literal, quote

if TYPE_CHECKING:
    from skewguard.workspace import Workspace

NIGHT = timedelta(days=1)
"""What was served in so long before the as-of time is tonight's, unless it is too little."""
SLICES = 10
"""Values of an attribute that are slices: those with the most rows."""
_JOINT_ROWS = 20_000


def distribution(
    workspace: Workspace, service: ServiceDef, as_of: datetime, *, save: bool, progress: Progress | None = None
) -> CheckResult:
    """What was served up to ``as_of`` against the contract's training set and the nights before.

    ``save``: keep tonight's profile for the nights to come. Raises OSError, ConfigurationError.
    """
    started = time.perf_counter()
    limits = workspace.policy_for(service.name).drift
    folder = LogFolder.of(workspace.path)
    if not folder.root.is_dir():
        return _nothing(workspace, service, "nothing was logged")
    keep_log(workspace.path)
    span = log_span(folder, service.name, as_of - max(limits.look_back, NIGHT), FAR_FUTURE)
    with connect() as con:
        served = (
            _tonight(lambda since: ServedRows.open(con, span, (since, as_of), service), as_of, limits, service)
            if span.segments
            else None
        )
        if served is None or not served[0].rows:
            return _nothing(
                workspace, service, f"nothing was served in the {_told(limits.look_back)} before {iso(as_of)}"
            )
        rows, since = served
        current = rows.sampled(min(1.0, limits.rows / rows.rows))
        against = _Against.of(workspace, service, since, limits)
        result = _judge(workspace, service, current, against, limits)
        if save:
            night = NightProfile(since, as_of, current.rows, result.profiles, result.renewed)
            save_night(workspace.state.profiles(service.name), night)
    if progress is not None:
        progress(CHECK, current.rows)
    return replace(
        result.check,
        population=rows.rows,
        seconds=time.perf_counter() - started,
        details={**result.check.details, "since": iso(since), "until": iso(as_of)},
    )


def _nothing(workspace: Workspace, service: ServiceDef, reason: str) -> CheckResult:
    """Nothing served: too little where nights before had something, else a service that our server does not serve."""
    if any(workspace.state.profiles(service.name).glob("*.json")):
        return CheckResult(CHECK, "inconclusive", reason=f"{reason}; before, it was", details={"too_little": True})
    return CheckResult(CHECK, "ok", reason=reason)


def training_drift(
    workspace: Workspace, service: ServiceDef, table: pa.Table, timestamp_column: str, full_feature_names: bool
) -> CheckResult:
    """A new training set against the one of the contract in force; "ok" with the reason where there is none."""
    limits = workspace.policy_for(service.name).drift
    against = _Against.of(workspace, service, None, limits)
    if against.contract is None:
        return CheckResult(CHECK, "ok", reason="; ".join(against.missing.values()))
    vectors = TableVectors.of_outputs(table, service, timestamp_column, full_feature_names)
    result = _judge(workspace, service, vectors, against, limits)
    return replace(result.check, population=vectors.rows)


def compare_rows(
    workspace: Workspace, service: ServiceDef, rows: Any, reference: Any, full_feature_names: bool
) -> CheckResult:
    """Feature vectors of the caller's against the contract, or against other vectors; see SkewGuard.drift."""
    limits = workspace.policy_for(service.name).drift
    current = _vectors("rows", rows, service, full_feature_names)
    if reference is None:
        against = _Against.of(workspace, service, None, limits)
        if against.contract is None:
            raise BadInputError("reference", "; ".join(against.missing.values()), "vectors, or a training set first")
    else:
        known = _vectors("reference", reference, service, full_feature_names)
        against = _Against(None, profile_vectors(known, columns_of(service)), known, (), {})
    result = _judge(workspace, service, current, against, limits)
    joined = () if against.kept is None else _joined(workspace, service, against.kept, current)
    return replace(result.check, population=current.rows, features=joined)


def _joined(
    workspace: Workspace, service: ServiceDef, reference: TableVectors, current: TableVectors
) -> tuple[FeatureStats, ...]:
    """The rows that both have, value by value; what is computed from request data only where that is known."""
    policy = workspace.policy_for(service.name)
    request = [field.name for field in service.request_fields]
    known = set(request) <= reference.columns & current.columns
    views = {projection.name for projection in service.projections}
    columns = [column for column in columns_of(service) if known or column.view in views]
    keys = [*(key.name for key in service.join_keys), *(request if known else ())]
    return joined_rows(
        reference, current, columns, keys, lambda c: policy.tolerance_for(c.view, FieldDef(c.feature, c.dtype))
    )


def _vectors(name: str, rows: Any, service: ServiceDef, full_feature_names: bool) -> TableVectors:
    """The caller's rows with features in their declared dtypes; raises BadInputError where there is no feature."""
    keys = (*service.join_keys, *service.request_fields)
    outputs = service.outputs(full_feature_names)
    table = read_rows(rows, [f for f in (*keys, *outputs) if dtypes.arrow_type(f.dtype) == pa.string()], name)
    if not table.num_rows:
        raise BadInputError(name, "no rows", "at least one feature vector")
    known = [field for field in outputs if field.name in table.column_names]
    if not known:
        wanted = ", ".join(f.name for f in outputs[:5])
        others = {field.name for field in service.outputs(not full_feature_names)}
        hint = "without" if full_feature_names else "with"
        more = f"; those are its features {hint} full_feature_names" if others & set(table.column_names) else ""
        shown = ", ".join(table.column_names[:10]) + (", ..." if table.num_columns > 10 else "")
        raise BadInputError(name, f"the columns {shown}", f"features of {service.name!r}, such as {wanted}{more}")
    for field in (*keys, *known):
        if field.name in table.column_names:
            at = table.column_names.index(field.name)
            table = table.set_column(at, field.name, typed_column(table.column(field.name), field))
    # an as-of time is needed for ages alone
    timed = [f.name for f in table.schema if pa.types.is_timestamp(f.type) and f.name not in {o.name for o in outputs}]
    at_time = None
    if DEFAULT_TIMESTAMP in timed or len(timed) == 1:
        at_time = DEFAULT_TIMESTAMP if DEFAULT_TIMESTAMP in timed else timed[0]
        place = table.column_names.index(at_time)
        table = table.set_column(place, at_time, moments(table.column(at_time), at_time))
    return TableVectors.of_outputs(table, service, at_time, full_feature_names)


def _told(span: timedelta) -> str:
    days = span / timedelta(days=1)
    return "day" if days == 1 else f"{days:g} days"


def _tonight(
    served: Callable[[datetime], ServedRows], as_of: datetime, limits: Drift, service: ServiceDef
) -> tuple[ServedRows, datetime]:
    """The rows since the night before, or since as many days as it takes to have enough of them; and since when."""
    columns = max(len(columns_of(service)), 1)
    wanted = rows_to_see(limits.detect, 0.25, level_of(limits.budget, 1) / columns)
    since = as_of - NIGHT
    rows = served(since)
    while rows.rows < wanted and since - NIGHT >= as_of - limits.look_back:
        since -= NIGHT
        rows = served(since)
    return rows, since


@dataclass(frozen=True)
class _Against:
    """What tonight is compared with: the contract and its kept rows, the nights before; and why one is missing."""

    contract: FeatureContract | None
    profiles: Mapping[str, ColumnProfile]
    kept: TableVectors | None
    nights: Sequence[NightProfile]
    missing: dict[str, str]

    @classmethod
    def of(cls, workspace: Workspace, service: ServiceDef, since: datetime | None, limits: Drift) -> _Against:
        """Without ``since`` there are no nights."""
        missing: dict[str, str] = {}
        contract = workspace.state.contract(service.name) if service.name else None
        profiles: dict[str, ColumnProfile] = {}
        kept = None
        if contract is None:
            missing["distribution against the contract"] = "no training set was built yet, so there is no contract"
        else:
            try:
                profiles = {name: ColumnProfile.from_dict(found) for name, found in contract.profile.items()}
            except ConfigurationError as error:
                missing["distribution against the contract"] = f"the contract holds {error}"
                contract = None
        if contract is not None:
            kept = load_reference(workspace.state.reference(service.name), contract.training_set_digest)
        nights = (
            nights_before(workspace.state.profiles(service.name), since, limits.nights) if since is not None else []
        )
        return cls(contract, profiles, kept, nights, missing)

    def bins(self) -> dict[str, Bins]:
        """The bins over which tonight compares with the nights before."""
        return bins_of(self.nights, {name: profile.bins for name, profile in self.profiles.items()})


@dataclass(frozen=True)
class _Result:
    """The check, tonight's profiles over the nights' bins, and over the contract's where these are others."""

    check: CheckResult
    profiles: Mapping[str, ColumnProfile]
    renewed: Mapping[str, ColumnProfile]


def _judge(workspace: Workspace, service: ServiceDef, current: Vectors, against: _Against, limits: Drift) -> _Result:
    columns = [column for column in columns_of(service) if column.keys != ()]
    for column in columns_of(service):
        if column.keys == ():
            why = "its view has no entity, and so one value for all rows; parity compares it"
            against.missing[f"the distribution of {column.view}.{column.feature}"] = why
    over_contract = profile_vectors(current, columns, {name: p.bins for name, p in against.profiles.items()})
    comparisons = list(_whole(columns, against.profiles, over_contract))
    for_nights = {**over_contract}
    bins = against.bins()
    moved = [
        c for c in columns if c.name in over_contract and bins.get(c.name, over_contract[c.name].bins)
        != over_contract[c.name].bins
    ]  # fmt: skip
    for_nights |= profile_vectors(current, moved, bins)
    comparisons += _nightly(columns, against.nights, for_nights)
    comparisons += _sliced(service, current, against, limits)
    joint = _joint(service, current, against, limits) if limits.joint else None
    night = Night(
        comparisons,
        joint,
        services=max(len(workspace.feast.service_names()), 1),
        rows=current.rows,
        details={"nights": len(against.nights), "not_checked": against.missing},
    )
    renewed = {c.name: over_contract[c.name] for c in moved if c.name in against.profiles}
    return _Result(check_distribution(night, limits), for_nights, renewed)


def _whole(
    columns: Sequence[DriftColumn], reference: Mapping[str, ColumnProfile], current: Mapping[str, ColumnProfile],
    slice_: str = "",
) -> Iterator[Comparison]:  # fmt: skip
    for column in columns:
        ours, theirs = reference.get(column.name), current.get(column.name)
        if ours is not None and theirs is not None and ours.rows and theirs.rows:
            yield Comparison(column.view, column.feature, column.dtype, "contract", ours, theirs, slice_)


def _nightly(
    columns: Sequence[DriftColumn], nights: Sequence[NightProfile], tonight: Mapping[str, ColumnProfile]
) -> Iterator[Comparison]:
    for column in columns:
        now = tonight.get(column.name)
        if now is None or not now.rows:
            continue
        alike = [profile for night in nights if (profile := night.over(column.name, now.bins)) is not None]
        before = baseline([profile for profile in alike if profile.rows])
        if before is not None:
            yield Comparison(
                column.view, column.feature, column.dtype, "nights", before.profile, now,
                spread=before.spread, usual=not unlike_nights(before, now),
            )  # fmt: skip


def _sliced(service: ServiceDef, current: Vectors, against: _Against, limits: Drift) -> Iterator[Comparison]:
    """Every slice of both sides that has rows; the contract's side from its kept rows."""
    if against.kept is None or not isinstance(current, ServedRows | TableVectors):
        return
    columns = [column for column in columns_of(service) if column.keys != ()]
    bins = {name: profile.bins for name, profile in against.profiles.items()}
    for attribute in limits.slices:
        name = _attribute(service, attribute)
        if name not in current.columns or name not in against.kept.columns:
            continue
        for value in _commonest(current, name):
            ours = profile_vectors(against.kept.where(_equal(against.kept.table.column(name), value)), columns, bins)
            theirs = profile_vectors(_where(current, name, value), columns, bins)
            others = [column for column in columns if column.name != name]
            yield from _whole(others, ours, theirs, f"{attribute} = {value}")


def _attribute(service: ServiceDef, attribute: str) -> str:
    """The column of ``view:feature``, or of a join key or request data; raises ConfigurationError."""
    features = {f"{c.view}:{c.feature}": c.name for c in columns_of(service)}
    others = {f.name: f.name for f in (*service.join_keys, *service.request_fields)}
    known = features | others
    if attribute not in known:
        near = nearest(attribute, list(known))
        hint = f" Did you mean {near!r}?" if near else ""
        raise ConfigurationError(
            f"drift.slices: {attribute!r} is no feature (view:feature), join key or request data of {service.name!r}."
            f"{hint}"
        )
    return known[attribute]


def _commonest(current: ServedRows | TableVectors, name: str) -> list[str]:
    counted = pc.value_counts(current.read([name]).column(0).combine_chunks().cast(pa.string()).drop_null()).to_pylist()
    ranked = sorted(counted, key=lambda item: (-item["counts"], item["values"]))
    return [item["values"] for item in ranked[:SLICES]]


def _equal(column: pa.ChunkedArray, value: str) -> pa.Array:
    return pc.fill_null(pc.equal(column.combine_chunks().cast(pa.string()), value), False)


def _where(current: ServedRows | TableVectors, name: str, value: str) -> Vectors:
    if isinstance(current, TableVectors):
        return current.where(_equal(current.table.column(name), value))
    return current.where(f"CAST({quote(name)} AS VARCHAR) = {literal(value)}")


def _joint(service: ServiceDef, current: Vectors, against: _Against, limits: Drift) -> JointTest | None:
    """The classifier's test of served rows against the contract's kept ones; what it leaves out is told."""
    if against.kept is None:
        return None
    columns = columns_of(service)
    keys = [key.name for key in service.join_keys]
    wanted = [c.name for c in columns] + keys + [AS_OF]
    if isinstance(current, ServedRows):
        current = current.sampled(min(1.0, _JOINT_ROWS / max(current.rows, 1)))
    now = TableVectors(current.read([name for name in dict.fromkeys(wanted) if name in current.columns]))
    ours, theirs, tested = independent_rows(against.kept, now, columns)
    found = joint_test(ours, theirs, tested, tell=limits.budget)
    if found is None:
        against.missing["the joint distribution"] = f"it takes {FEWEST} entities on each side, each with one row"
    elif left := [f"{column.view}.{column.feature}" for column in columns if column not in tested]:
        why = f"their views have no {FEWEST} entities on each side"
        against.missing[f"{', '.join(left)} in the joint distribution"] = why
    return found


def reference_columns(service: ServiceDef) -> list[str]:
    """The columns of a training set that are kept for later tests."""
    names = [value_column(c.view, c.feature) for c in columns_of(service)]
    names += [f.name for f in (*service.join_keys, *service.request_fields)]
    return list(dict.fromkeys([*names, AS_OF]))
