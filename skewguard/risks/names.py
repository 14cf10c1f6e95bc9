"""Names that break a store, hide one value behind another, or mean two things.

What Feast's DuckDB store does with names is in ``point_in_time_join`` (feast/infra/offline_stores/ibis.py of Feast
0.67): it drops every column that ends in ``_y``, and adds columns of its own. Each rule here is held against it by a
test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from skewguard.definitions import Projection, ServiceDef, ViewDef
from skewguard.findings import Cause
from skewguard.risks.risk import Risk, Severity, Stores, listed
from skewguard.risks.source import SourceFacts
from skewguard.sql import CREATED_TS, EVENT_TS, ROW_ID, ROW_STATE

_OURS = frozenset({EVENT_TS, CREATED_TS, ROW_STATE, ROW_ID})
_OUR_PREFIXES = ("__state__", "__status__", "__event_ts__")
_LOGGED = ("__timestamp", "__status")
_DUCKDB_FEATURES = {"entity_row_id", "rn", "event_timestamp"}
_GLOB_LENGTHS = {ord(char): char for char in "*?[\\"}


def view_name_risks(facts: SourceFacts, features: Sequence[str], stores: Stores) -> list[Risk]:
    """What the names of one view's columns break; ``features`` are those that the service reads."""
    view = facts.view
    return [
        *_reserved(view, features),
        *_only_case(facts, features),
        *_mapped_over(facts, stores),
        *_duckdb_join(facts, features, stores),
        *_glob_lengths(view, stores),
        *_references(view, features),
    ]


def _risk(severity: Severity, rule: str, message: str, view: str | None, advice: str, names: Iterable[str]) -> Risk:
    found = sorted(names)
    feature = found[0] if len(found) == 1 else None
    return Risk(Cause.DEFINITION_RISK, severity, rule, message, view, feature, {"names": found}, advice=advice)


_RENAME = "Rename the column, or give it another Feast name by field_mapping on the source."


def _reserved(view: ViewDef, features: Sequence[str]) -> Iterator[Risk]:
    names = [*(key.name for key in view.join_keys), *features]
    ours = [name for name in names if name in _OURS or name.startswith(_OUR_PREFIXES)]
    if ours:
        message = f"{view.name}: {listed(ours)}: the guard gives these names to columns of its own"
        yield _risk("critical", "reserved_name", message, view.name, _RENAME, ours)
    logged = [f"{name}{end}" for name in features for end in _LOGGED if f"{name}{end}" in features]
    if logged:
        message = (
            f"{view.name}: {listed(logged)}: a serving log, Feast's or ours, has a column of this name for the time or "
            "the status of another feature"
        )
        yield _risk("warning", "log_column", message, view.name, _RENAME, logged)


def _only_case(facts: SourceFacts, features: Sequence[str]) -> Iterator[Risk]:
    """DuckDB tells no case apart: of two columns the second gets another name."""
    view = facts.view
    names = [*(key.name for key in view.join_keys), *features]
    twice = same_but_for_case(names)
    if twice:
        message = f"{view.name}: {listed(twice)} differ only in case, which DuckDB does not tell apart"
        yield _risk("critical", "case", message, view.name, _RENAME, twice)
    times = [view.source.timestamp_field, view.source.created_timestamp_column or ""]
    used = {view.source.column(name) for name in [*names, *times] if name}
    beside = [name for name in same_but_for_case(facts.written) if name not in used]
    shadowed = [name for name in beside if name.lower() in {other.lower() for other in used}]
    if shadowed and not twice:
        message = (
            f"{view.name}: the file's {listed(shadowed)} differ only in case from columns that the view reads; "
            "DuckDB renames the one that comes second"
        )
        yield _risk("warning", "case", message, view.name, _RENAME, shadowed)


def same_but_for_case(names: Iterable[str]) -> list[str]:
    """The names that are another one's, but for case."""
    distinct = list(dict.fromkeys(names))
    often = Counter(name.lower() for name in distinct)
    return [name for name in distinct if often[name.lower()] > 1]


def _mapped_over(facts: SourceFacts, stores: Stores) -> Iterator[Risk]:
    if not stores.feast_duckdb:
        return
    over = [new for old, new in facts.view.source.field_mapping if old != new and {old, new} <= set(facts.columns)]
    if over:
        message = (
            f"{facts.view.name}: field_mapping gives {listed(over)} to another column, and the file has columns of "
            "these names too; Feast's DuckDB store may read those offline, and materializes the mapped ones"
        )
        yield _risk("critical", "mapped_over", message, facts.view.name, "Drop or rename the file's own column.", over)


def _duckdb_join(facts: SourceFacts, features: Sequence[str], stores: Stores) -> Iterator[Risk]:
    """What the join of Feast's DuckDB store cannot carry."""
    if not stores.feast_duckdb:
        return
    view, source = facts.view, facts.view.source
    times = [source.timestamp_field, *([source.created_timestamp_column] if source.created_timestamp_column else [])]
    dropped = [name for name in (*features, *times) if name.endswith("_y")]
    if dropped:
        message = (
            f"{view.name}: Feast's DuckDB store drops {listed(dropped)} in its join (names that end in _y), and fails"
        )
        yield _risk("warning", "ends_in_y", message, view.name, _RENAME, dropped)
    mapped = dict(source.field_mapping)
    held = {mapped.get(name, name) for name in facts.columns}
    taken = sorted(({"entity_row_id"} & held) | (_DUCKDB_FEATURES & set(features)))
    beside = [f"{key.name}_y" for key in view.join_keys if f"{key.name}_y" in held]
    clashing = [name for name in (*taken, *beside) if name not in dropped]
    if clashing:
        message = (
            f"{view.name}: {listed(clashing)}: Feast's DuckDB store has columns of these names in its join, and fails"
        )
        yield _risk("warning", "join_column", message, view.name, _RENAME, clashing)
    if "event_expire_timestamp" in features and view.ttl is not None:
        message = (
            f"{view.name}: 'event_expire_timestamp': Feast's DuckDB store gives the time of expiry for this feature"
        )
        yield _risk("critical", "join_column", message, view.name, _RENAME, ["event_expire_timestamp"])


def _glob_lengths(view: ViewDef, stores: Stores) -> Iterator[Risk]:
    """The pattern of Feast's deletions holds the raw bytes of the join keys' lengths and names."""
    if stores.online != "redis":
        return
    names = [key.name for key in view.join_keys]
    marked = [name for name in names if len(name.encode()) in _GLOB_LENGTHS or set(name) & set(_GLOB_LENGTHS.values())]
    if marked:
        message = (
            f"{view.name}: the join key {listed(marked)} puts a wildcard into the pattern by which Feast deletes from "
            "Redis (names of 42, 63, 91 or 92 bytes, or with one of * ? [ \\)"
        )
        advice = "Rename the join key, or never let Feast delete this view or tear the store down."
        yield _risk("warning", "key_pattern", message, view.name, advice, marked)


def _references(view: ViewDef, features: Sequence[str]) -> Iterator[Risk]:
    split = [name for name in features if ":" in name]
    if split:
        message = f"{view.name}: {listed(split)}: a colon parts view and feature in Feast's references"
        yield _risk("warning", "colon", message, view.name, _RENAME, split)


def service_name_risks(service: ServiceDef) -> list[Risk]:
    """Names that mean two things in the vectors of one feature service."""
    return [*_twice(service), *_keys(service), *_requests(service)]


def _outputs(service: ServiceDef, full: bool) -> list[str]:
    return [field.name for field in service.outputs(full)]


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _twice(service: ServiceDef) -> Iterator[Risk]:
    short, full = _repeated(_outputs(service, False)), _repeated(_outputs(service, True))
    if short and full:
        message = (
            f"{service.name}: {listed(full)} more than once, under full feature names too; no request can be answered"
        )
        yield _risk("critical", "same_name", message, None, "Give one of the views another name by with_name().", full)
    elif short:
        message = f"{service.name}: several views have {listed(short)}; a request without full_feature_names is refused"
        advice = "Ask for full_feature_names always, or rename the features."
        yield _risk("warning", "same_name", message, None, advice, short)
    elif full:
        message = (
            f"{service.name}: {listed(full)} is the full name of two features ('__' inside a name); Feast's online "
            "answer shows one of them"
        )
        yield _risk("warning", "same_full_name", message, None, "Rename a view or a feature.", full)


def _keys(service: ServiceDef) -> Iterator[Risk]:
    keys = [key.name for key in service.join_keys]
    for full in (False, True):
        names = [*_outputs(service, full), *(f.name for p in service.hidden for f in p.features if not full)]
        hidden = sorted(set(keys) & set(names))
        if hidden:
            how = "under full feature names" if full else "without full_feature_names"
            message = (
                f"{service.name}: {listed(hidden)} names a join key and a feature; {how} Feast's online answer "
                "shows one of them"
            )
            advice = "Rename the feature, or map the join key to another column by with_join_key_map()."
            yield _risk("warning", "feature_is_key", message, None, advice, hidden)
    twice = same_but_for_case(keys)
    if twice:
        message = f"{service.name}: the join keys {listed(twice)} differ only in case, which DuckDB does not tell apart"
        yield _risk(
            "critical", "case", message, None, "Map one of them to another column by with_join_key_map().", twice
        )


def _requests(service: ServiceDef) -> Iterator[Risk]:
    projections: tuple[Projection, ...] = (*service.projections, *service.hidden)
    keys = {column for projection in projections for _, column in projection.keys}
    both = sorted(keys & {field.name for field in service.request_fields})
    if both:
        message = (
            f"{service.name}: {listed(both)} is a join key and request data of an on-demand view; Feast's online read "
            "raises KeyError, its offline one does not"
        )
        yield _risk("warning", "request_is_key", message, None, "Give the request field another name.", both)


def project_risks(project: str, others: Iterable[str], stores: Stores) -> list[Risk]:
    """Projects of the same registry whose keys Feast cannot tell from this one's when it deletes."""
    if stores.online != "redis":
        return []
    ours = sorted(name for name in others if name != project and name.endswith(project))
    theirs = sorted(name for name in others if name != project and project.endswith(name))
    found = []
    for inner, outer in [(project, name) for name in ours] + [(name, project) for name in theirs]:
        message = (
            f"Project {inner!r} is the end of {outer!r}: in one Redis database, Feast's teardown and deletions of "
            f"{inner!r} delete the keys of {outer!r} too"
        )
        advice = "Give each project a Redis database of its own, or a name that ends no other."
        found.append(_risk("warning", "project_name", message, None, advice, [inner, outer]))
    return found
