"""Definitions: files that were changed and not applied, a plan that is older than the registry, TTLs that fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from skewguard.definitions import ServiceDef, ViewDef
from skewguard.errors import ConfigurationError
from skewguard.findings import Cause
from skewguard.risks.risk import Risk, Severity, Stores
from skewguard.risks.source import SourceFacts

if TYPE_CHECKING:
    from skewguard.feast_repo import Unapplied
    from skewguard.workspace import Workspace

_YEAR = timedelta(days=365)
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
_DUCKDB_END = timedelta(days=290_000 * 365)
"""DuckDB's time ends in the year 294247; Feast's store adds the TTL to an event timestamp."""


def _risk(severity: Severity, rule: str, message: str, view: str | None, advice: str, **evidence: Any) -> Risk:
    return Risk(Cause.DEFINITION_RISK, severity, rule, message, view, evidence=evidence, advice=advice)


def ttl_risks(facts: SourceFacts, stores: Stores, now: datetime) -> list[Risk]:
    """TTLs on which a store fails, or which mean something else in another place."""
    return [*_ttl(facts.view, facts.oldest, stores, now)]


def _ttl(view: ViewDef, oldest: datetime | None, stores: Stores, now: datetime) -> Iterator[Risk]:
    ttl = view.ttl
    if ttl is None:
        if oldest is not None and oldest < now - _YEAR:
            message = (
                f"{view.name} has no TTL and rows from {oldest:%Y-%m-%d}: the first materialize_incremental of Feast "
                "begins a year back and leaves older rows out"
            )
            advice = "Materialize the whole range once, with `skewguard materialize` or `feast materialize`."
            yield _risk("info", "ttl", message, view.name, advice, oldest=oldest.isoformat())
        return
    seconds = ttl.total_seconds()
    if ttl < timedelta(0):
        message = f"{view.name} has a negative TTL ({ttl}): no row is ever inside it, so training gets nulls only"
        yield _risk("critical", "ttl", message, view.name, "Give it a TTL of zero (no limit) or more.", seconds=seconds)
        return
    if stores.feast_duckdb and ttl.days and (ttl.seconds or ttl.microseconds):
        message = (
            f"{view.name} has a TTL of {ttl}: Feast's DuckDB store raises on days and a rest (ibis: mixed units), "
            "so it gives no historical features"
        )
        advice = "Give the TTL in whole days, or less than one, or use the ASOF store."
        yield _risk("warning", "ttl", message, view.name, advice, seconds=seconds)
    if stores.feast_duckdb and ttl > _DUCKDB_END:
        message = f"{view.name} has a TTL of {ttl.days:,} days: Feast's DuckDB store adds it to a time, and overflows"
        yield _risk(
            "warning", "ttl", message, view.name, "Give it a TTL of zero, which means no limit.", seconds=seconds
        )
    if ttl > now - _BEGINNING:
        message = f"{view.name} has a TTL of {ttl.days:,} days: Feast's first materialize_incremental overflows on it"
        yield _risk(
            "warning", "ttl", message, view.name, "Give it a TTL of zero, which means no limit.", seconds=seconds
        )


_DONE = {"create": "is in the files, not in the registry", "delete": "is in the registry, not in the files"}


def unapplied_risks(found: Iterable[Unapplied], service: ServiceDef) -> list[Risk]:
    """What an apply would change of a service: itself, its views, its on-demand views, its entities."""
    entities = {name for view in service.views for name in view.entities}
    names = {service.name, *(v.name for v in service.views), *(od.name for od in service.on_demand), *entities}
    views = {v.name for v in service.views} | {od.name for od in service.on_demand}
    risks = []
    for item in found:
        if item.problem:
            message = (
                f"The definitions in the repository's files cannot be read, so they were not compared: {item.problem}"
            )
            risks.append(_risk("info", "not_parsed", message, None, "See `feast plan`."))
        elif item.name in names:
            does = _DONE.get(item.action, f"differs between files and registry: {', '.join(item.changes) or 'unsaid'}")
            message = f"{item.kind} {item.name} {does}; training and serving go by the registry"
            advice = "Run `skewguard apply`, or bring the files back."
            view = item.name if item.name in views else None
            risks.append(
                _risk("warning", "not_applied", message, view, advice, action=item.action, changes=dict(item.changes))
            )
    return risks


def plan_risks(workspace: Workspace) -> list[Risk]:
    """A compiled serving plan that is not what the registry says; a registry that processes cache for ever."""
    from skewguard.plan import compile_plan, load_plan

    risks = []
    path = workspace.state.plan
    if path.is_file():
        advice = "Run `skewguard plan`; see why the server, if it runs, did not."
        try:
            stale = load_plan(path).digest != compile_plan(workspace.feast).digest
        except ConfigurationError as error:
            risks.append(_risk("warning", "plan", f"The serving plan cannot be used: {error}", None, advice))
        else:
            if stale:
                message = "The compiled serving plan is not what the registry says: serving may go by old definitions"
                risks.append(_risk("warning", "plan", message, None, advice, plan=str(path)))
    if workspace.feast.registry_cache_seconds == 0:
        message = (
            "registry.cache_ttl_seconds is 0: Feast's processes keep the definitions that they start with for ever"
        )
        risks.append(_risk("info", "registry_cache", message, None, "Set it to some seconds."))
    return risks
