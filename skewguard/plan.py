"""The compiled serving plan: everything that a look-up needs from the Feast registry, loaded without importing Feast.

``compile_plan`` needs Feast (through a FeastRepo); ``load_plan`` and every method of ServingPlan need the standard
library only. The plan holds names, dtypes, keys and TTLs. It holds no source paths, no source code and no secrets; what
stands there of those are the fingerprints of the definitions (see ``definitions.ServiceDef.fingerprints``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skewguard.definitions import FieldDef, OnDemandDef, Projection, ServiceDef, SourceDef, ViewDef, digest
from skewguard.errors import BadInputError, ConfigurationError, UnknownNameError
from skewguard.files import write_atomically
from skewguard.row_rules import ServiceRules

if TYPE_CHECKING:
    from skewguard.feast_repo import FeastRepo

PLAN_FORMAT = 2
"""Version of the file's layout; a file with another one is refused."""

KEY_VERSION = 3
"""The only entity-key serialization that Feast 0.67 writes."""

_NO_SOURCE = SourceDef(kind="", path="", timestamp_field="")


@dataclass(frozen=True)
class ServingPlan:
    """A Feast repository as serving sees it. Compile with ``compile_plan``, keep with ``save_plan``.

    Attributes:
        project: Feast's project name (part of every Redis key).
        services: every feature service; their views' ``source`` is blank, on-demand views have no source text.
        views: every feature view with all its features, as a projection without alias, for feature lists.
        on_demand: every on-demand feature view with all its outputs, for feature lists.
        versions: version number of each view (0 where Feast keeps none), for the version metadata of a response.
        fingerprints: SHA-256 of each view's full definition, by name.
        unsupported: on-demand views that cannot be served from here, by name, with the reason.
        row_rules: what expectation suites ask of each row, by feature service.
        entity_key_version: Feast's entity-key serialization version.
    """

    project: str
    services: tuple[ServiceDef, ...]
    views: tuple[Projection, ...]
    on_demand: tuple[OnDemandDef, ...] = ()
    versions: Mapping[str, int] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    unsupported: Mapping[str, str] = field(default_factory=dict)
    entity_key_version: int = KEY_VERSION
    row_rules: Mapping[str, ServiceRules] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the definitions in the plan, without its row rules: the same on any machine."""
        return digest(_to_data(self))

    @cached_property
    def rules_digest(self) -> str:
        """SHA-256 (hex) of the row rules."""
        return digest(_rules_data(self))

    @cached_property
    def key_columns(self) -> Mapping[str, FieldDef]:
        """Every entity-row column that some service or view uses as a join key, renamed ones included, by name."""
        found: dict[str, FieldDef] = {}
        projections = [*self.views, *(p for service in self.services for p in service.projections)]
        for projection in projections:
            for key, column in projection.keys:
                found.setdefault(column, FieldDef(column, key.dtype))
        return found

    @cached_property
    def request_columns(self) -> Mapping[str, FieldDef]:
        """Every request field of some on-demand view, by name."""
        return {f.name: f for view in self.on_demand for f in view.request_fields}

    @cached_property
    def _services(self) -> Mapping[str, ServiceDef]:
        return {service.name: service for service in self.services}

    @cached_property
    def _views(self) -> Mapping[str, Projection | OnDemandDef]:
        views: dict[str, Projection | OnDemandDef] = {projection.view.name: projection for projection in self.views}
        views.update({view.name: view for view in self.on_demand})
        return views

    def service_names(self) -> list[str]:
        """Names of the feature services, sorted."""
        return sorted(self._services)

    def names(self) -> tuple[dict[str, dict[str, list[str]]], dict[str, dict[str, list[str]]]]:
        """By service the features of each view, and the outputs of each on-demand view: what policy may name."""
        stored = {s.name: {v.name: [f.name for f in v.features] for v in s.views} for s in self.services}
        computed = {s.name: {od.name: [f.name for f in od.features] for od in s.on_demand} for s in self.services}
        return stored, computed

    def service(self, name: str) -> ServiceDef:
        """The feature service of that name; raises UnknownNameError."""
        if name not in self._services:
            raise UnknownNameError("feature service", name, self.service_names())
        return self._services[name]

    def feature_list(self, features: Sequence[str]) -> ServiceDef:
        """``view:feature`` references as a nameless service: views in the order of first mention, repeats once.

        Raises:
            BadInputError: an empty list, or a reference that is not ``view:feature`` (versions are refused).
            UnknownNameError: no such view, or no such feature in it.
        """
        if not features:
            raise BadInputError("features", "an empty list", "at least one '<feature view>:<feature>'")
        asked: dict[str, list[FieldDef]] = {}
        for index, reference in enumerate(features):
            view, item = self._reference(reference, index)
            if item not in asked.setdefault(view, []):
                asked[view].append(item)
        projections, on_demand = [], []
        for name, items in asked.items():
            definition = self._views[name]
            if isinstance(definition, Projection):
                projections.append(replace(definition, features=tuple(items)))
            else:
                on_demand.append(replace(definition, features=tuple(items)))
        return ServiceDef("", tuple(projections), tuple(on_demand))

    def services_sharing(self, request: ServiceDef) -> tuple[str, ...]:
        """Names of the feature services that have at least one feature of ``request`` among their own."""
        wanted = _feature_ids(request)
        return tuple(name for name in self.service_names() if wanted & _feature_ids(self._services[name]))

    def _reference(self, reference: str, index: int) -> tuple[str, FieldDef]:
        view, separator, feature = reference.partition(":")
        if not separator or not view or not feature or "@" in view:
            raise BadInputError(
                f"features[{index}]", repr(reference[:200]), "'<feature view>:<feature>' without a version"
            )
        if view not in self._views:
            raise UnknownNameError("feature view", view, self._views)
        for item in self._views[view].features:
            if item.name == feature:
                return view, item
        raise UnknownNameError(f"feature of view {view!r}", feature, [f.name for f in self._views[view].features])


def compile_plan(repo: FeastRepo) -> ServingPlan:
    """The serving plan of an opened Feast repository.

    Raises:
        ConfigurationError: the repository stores keys or view names in a way that this server does not read.
        UnknownNameError: a feature service or on-demand view names a view that is not in the registry.
    """
    from skewguard.on_demand import not_at_request  # with Arrow, which the server does not need

    config = repo.store.config
    key_version = int(config.entity_key_serialization_version)
    if key_version != KEY_VERSION:
        raise ConfigurationError(
            f"feature_store.yaml: entity_key_serialization_version: got {key_version}; expected {KEY_VERSION}."
        )
    if getattr(config.registry, "enable_online_feature_view_versioning", False):
        raise ConfigurationError(
            "feature_store.yaml: registry.enable_online_feature_view_versioning: got true; expected false, "
            "as versioned view names in the online store are not read here."
        )
    on_demand_names = sorted(view.name for view in repo.store.list_on_demand_feature_views())
    everything = repo.feature_list(
        [f"{view.name}:{f.name}" for view in sorted(repo.views(), key=lambda view: view.name) for f in view.features]
        + [f"{name}:{f.name}" for name in on_demand_names for f in repo.feast_on_demand(name).features]
    )
    services = [repo.service(name) for name in repo.service_names()]
    names = [projection.view.name for projection in everything.projections]
    fingerprints: dict[str, str] = {}
    for service in (everything, *services):
        fingerprints.update(service.fingerprints())
    return ServingPlan(
        project=repo.project,
        services=tuple(_bare_service(service) for service in services),
        views=tuple(_bare(projection) for projection in everything.projections),
        on_demand=tuple(_bare_on_demand(view) for view in everything.on_demand),
        versions={name: int(getattr(repo.feast_view(name), "current_version_number", 0) or 0) for name in names},
        fingerprints=dict(sorted(fingerprints.items())),
        unsupported=not_at_request(repo, on_demand_names),
        entity_key_version=key_version,
    )


def save_plan(plan: ServingPlan, path: str | os.PathLike[str]) -> None:
    """Write the plan as JSON: to a temporary file beside ``path``, then renamed, so that no reader sees half of it."""
    rules = {"row_rules": _rules_data(plan), "rules_digest": plan.rules_digest}
    data = {**_to_data(plan), "digest": plan.digest, **rules}
    write_atomically(Path(path), json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def load_plan(path: str | os.PathLike[str]) -> ServingPlan:
    """The plan that ``save_plan`` wrote.

    Raises:
        ConfigurationError: no such file, not JSON, another format, incomplete, or changed by hand (digest).
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot read the serving plan: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: not a serving plan: {error}. Delete it to compile it anew.") from error
    found = data.get("format") if isinstance(data, dict) else None
    if found != PLAN_FORMAT:
        raise ConfigurationError(
            f"{path}: format: got {found!r}; expected {PLAN_FORMAT}. Delete the file to compile it anew."
        )
    try:
        plan = _from_data(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"{path}: incomplete serving plan ({type(error).__name__}: {error}). Delete it to compile it anew."
        ) from error
    for name, expected in (("digest", plan.digest), ("rules_digest", plan.rules_digest)):
        if data.get(name) != expected:
            raise ConfigurationError(
                f"{path}: {name}: got {data.get(name)!r}; expected {expected!r}. "
                "The file was changed by hand; delete it to compile it anew."
            )
    return plan


def is_older_format(path: Path) -> bool:
    """Did an earlier version write the plan? False for what is no plan at all."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("format")
    except (OSError, ValueError, AttributeError):
        return False
    return isinstance(found, int) and found < PLAN_FORMAT


def _feature_ids(service: ServiceDef) -> set[tuple[str, str]]:
    ids = {(p.view.name, f.name) for p in (*service.projections, *service.hidden) for f in p.features}
    return ids | {(view.name, f.name) for view in service.on_demand for f in view.features}


# -- without sources and source text ----------------------------------------------------------------------------------


def _bare(projection: Projection) -> Projection:
    return replace(projection, view=replace(projection.view, source=_NO_SOURCE))


def _bare_on_demand(view: OnDemandDef) -> OnDemandDef:
    # the registry keeps a view's sources in a protobuf map, which has no order of its own: sorted, so that it has one
    return replace(
        view,
        inputs=tuple(_bare(projection) for projection in sorted(view.inputs, key=lambda p: p.name)),
        request_fields=tuple(sorted(view.request_fields, key=lambda f: f.name)),
        source_text="",
        all_features=view.all_features or view.features,
    )


def _bare_service(service: ServiceDef) -> ServiceDef:
    return ServiceDef(
        service.name,
        tuple(_bare(projection) for projection in service.projections),
        tuple(_bare_on_demand(view) for view in service.on_demand),
    )


# -- JSON -------------------------------------------------------------------------------------------------------------


def _to_data(plan: ServingPlan) -> dict[str, Any]:
    views = {p.view.name: p.view for p in plan.views}
    for service in plan.services:
        views.update({view.name: view for view in service.views})
    return {
        "format": PLAN_FORMAT,
        "project": plan.project,
        "entity_key_version": plan.entity_key_version,
        "views": [
            {
                "name": view.name,
                "entities": list(view.entities),
                "join_keys": _fields_data(view.join_keys),
                "features": _fields_data(view.features),
                "ttl_seconds": None if view.ttl is None else view.ttl.total_seconds(),
                "online": view.online,
            }
            for view in views.values()
        ],
        "lists": {
            "projections": [_projection_data(p) for p in plan.views],
            "on_demand": [_on_demand_data(od) for od in plan.on_demand],
        },
        "services": [
            {
                "name": service.name,
                "projections": [_projection_data(p) for p in service.projections],
                "on_demand": [_on_demand_data(od) for od in service.on_demand],
            }
            for service in plan.services
        ],
        "versions": dict(plan.versions),
        "fingerprints": dict(plan.fingerprints),
        "unsupported": dict(plan.unsupported),
    }


def _rules_data(plan: ServingPlan) -> dict[str, Any]:
    return {name: rules.to_data() for name, rules in sorted(plan.row_rules.items())}


def _fields_data(fields: Sequence[FieldDef]) -> list[list[str]]:
    return [[f.name, f.dtype] for f in fields]


def _projection_data(projection: Projection) -> dict[str, Any]:
    return {
        "view": projection.view.name,
        "features": _fields_data(projection.features),
        "alias": projection.alias,
        "join_key_map": [list(pair) for pair in projection.join_key_map],
    }


def _on_demand_data(view: OnDemandDef) -> dict[str, Any]:
    return {
        "name": view.name,
        "features": _fields_data(view.features),
        "inputs": [_projection_data(p) for p in view.inputs],
        "request_fields": _fields_data(view.request_fields),
        "mode": view.mode,
        "alias": view.alias,
        "all_features": _fields_data(view.all_features),
    }


def _from_data(data: Mapping[str, Any]) -> ServingPlan:
    views = {
        item["name"]: ViewDef(
            name=item["name"],
            entities=tuple(item["entities"]),
            join_keys=_fields(item["join_keys"]),
            features=_fields(item["features"]),
            ttl=None if item["ttl_seconds"] is None else timedelta(seconds=item["ttl_seconds"]),
            source=_NO_SOURCE,
            online=item["online"],
        )
        for item in data["views"]
    }
    return ServingPlan(
        project=data["project"],
        services=tuple(
            ServiceDef(
                item["name"],
                tuple(_projection(p, views) for p in item["projections"]),
                tuple(_on_demand(od, views) for od in item["on_demand"]),
            )
            for item in data["services"]
        ),
        views=tuple(_projection(p, views) for p in data["lists"]["projections"]),
        on_demand=tuple(_on_demand(od, views) for od in data["lists"]["on_demand"]),
        versions=dict(data["versions"]),
        fingerprints=dict(data["fingerprints"]),
        unsupported=dict(data["unsupported"]),
        row_rules={name: ServiceRules.from_data(item) for name, item in data["row_rules"].items()},
        entity_key_version=data["entity_key_version"],
    )


def _fields(data: Sequence[Sequence[str]]) -> tuple[FieldDef, ...]:
    return tuple(FieldDef(name, dtype) for name, dtype in data)


def _projection(data: Mapping[str, Any], views: Mapping[str, ViewDef]) -> Projection:
    pairs = tuple((key, column) for key, column in data["join_key_map"])
    return Projection(views[data["view"]], _fields(data["features"]), data["alias"], pairs)


def _on_demand(data: Mapping[str, Any], views: Mapping[str, ViewDef]) -> OnDemandDef:
    return OnDemandDef(
        name=data["name"],
        features=_fields(data["features"]),
        inputs=tuple(_projection(p, views) for p in data["inputs"]),
        request_fields=_fields(data["request_fields"]),
        mode=data["mode"],
        source_text="",
        alias=data["alias"],
        all_features=_fields(data["all_features"]),
    )
