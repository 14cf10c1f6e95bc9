"""Opens a Feast repository and turns its registry into frozen definitions. The one place that reads Feast's objects.

Feast takes seconds to import, so every import of it stays inside the functions.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skewguard.definitions import FieldDef, OnDemandDef, Projection, ServiceDef, SourceDef, ViewDef
from skewguard.errors import BadInputError, RepositoryError, UnknownNameError

if TYPE_CHECKING:
    from feast import FeatureStore, OnDemandFeatureView


def _field(field: Any) -> FieldDef:
    return FieldDef(field.name, field.dtype.to_value_type().name)


def source_def(source: Any, repo_path: Path) -> SourceDef:
    """A Feast data source as a SourceDef; ``kind`` is "parquet" for Parquet files, else the class's name.

    A push or stream source counts by its batch source. Relative paths are relative to ``repo_path``.
    """
    source = getattr(source, "batch_source", None) or source
    kind, path = type(source).__name__, ""
    if kind == "FileSource":
        path = source.file_options.uri
        file_format = type(source.file_format).__name__ if source.file_format is not None else ""
        if file_format in ("", "ParquetFormat"):
            kind = "parquet"
        if "://" not in path:
            path = str((repo_path / path).resolve())
        elif path.startswith("file://"):
            path = path.removeprefix("file://")
    return SourceDef(
        kind=kind,
        path=path or source.name,
        timestamp_field=source.timestamp_field or "",
        created_timestamp_column=source.created_timestamp_column or None,
        field_mapping=tuple(sorted((source.field_mapping or {}).items())),
    )


def view_def(view: Any, repo_path: Path) -> ViewDef:
    """A Feast FeatureView (batch or stream) as a ViewDef. A ttl of zero means no limit, as it does in Feast offline."""
    from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_NAME

    join_keys = tuple(_field(column) for column in view.entity_columns if column.name != DUMMY_ENTITY_ID)
    key_names = {key.name for key in join_keys}
    if view.batch_source is None:
        raise RepositoryError(f"Feature view {view.name!r} has no batch source; add one, so that it can be compared.")
    return ViewDef(
        name=view.name,
        entities=tuple(name for name in view.entities if name != DUMMY_ENTITY_NAME),
        join_keys=join_keys,
        features=tuple(_field(f) for f in view.features if f.name not in key_names),
        ttl=view.ttl or None,
        source=source_def(view.batch_source, repo_path),
        online=bool(view.online),
    )


@dataclass(frozen=True)
class Unapplied:
    """What `feast apply` would do to one object: ``action`` "create", "update" or "delete"; ``kind`` in Feast's words.

    ``changes``: of an update, the fields, with a short text of both sides where there is one. ``problem``: why the
    files could not be compared at all; then there is nothing else.
    """

    kind: str = ""
    name: str = ""
    action: str = ""
    changes: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


class FeastRepo:
    """A Feast repository, opened once: the registry as definitions, Feast's own objects where a library needs them.

    Attributes: ``path`` (folder with feature_store.yaml), ``store`` (feast.FeatureStore), ``project``.
    Raises RepositoryError when there is no feature_store.yaml, or it or the registry cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).resolve()
        self.store = _open_store(self.path)
        self.project: str = self.store.project

    def refresh(self) -> None:
        """Read the registry again: others may have applied or materialized since."""
        self.store.refresh_registry()

    def view_names(self) -> list[str]:
        """Names of the materializable feature views (batch and stream)."""
        return [view.name for view in self._feast_views()]

    def service_names(self) -> list[str]:
        """Names of the feature services."""
        return sorted(service.name for service in self.store.list_feature_services())

    def views(self) -> tuple[ViewDef, ...]:
        """Every feature view that has rows of its own (not on-demand)."""
        return tuple(view_def(view, self.path) for view in self._feast_views())

    def view(self, name: str) -> ViewDef:
        """One feature view; raises UnknownNameError."""
        return view_def(self.feast_view(name), self.path)

    def service(self, name: str) -> ServiceDef:
        """One feature service; raises UnknownNameError."""
        for service in self.store.list_feature_services():
            if service.name == name:
                return self._service_def(name, service.feature_view_projections, dict(service.tags))
        raise UnknownNameError("feature service", name, self.service_names())

    def feature_list(self, features: Sequence[str]) -> ServiceDef:
        """A list of ``view:feature`` references as a nameless service; raises UnknownNameError, BadInputError."""
        import copy

        views = {view.name: view for view in (*self._feast_views(), *self._feast_on_demand())}
        grouped: dict[str, list[str]] = {}
        for reference in features:
            view_name, separator, feature = reference.partition(":")
            if not separator or not feature or "@" in view_name:
                raise BadInputError("features", repr(reference), "'<feature view>:<feature>' without a version")
            if view_name not in views:
                raise UnknownNameError("feature view", view_name, views)
            known = [f.name for f in views[view_name].features]
            if feature not in known:
                raise UnknownNameError(f"feature of view {view_name!r}", feature, known)
            if feature not in grouped.setdefault(view_name, []):
                grouped[view_name].append(feature)
        projections = []
        for view_name, names in grouped.items():
            projection = copy.copy(views[view_name].projection)
            by_name = {f.name: f for f in views[view_name].features}
            projection.features = [by_name[name] for name in names]
            projections.append(projection)
        return self._service_def("", projections, {})

    def watermarks(self) -> dict[str, datetime | None]:
        """Per view: the end of its last materialization (UTC), None where it never ran."""
        return {view.name: _utc(view.most_recent_end_time) for view in self._feast_views()}

    def windows(self) -> dict[str, tuple[tuple[datetime, datetime], ...]]:
        """Per view: the materialized windows (start, end; UTC, both ends in)."""
        return {
            view.name: tuple((_utc_of(start), _utc_of(end)) for start, end in view.materialization_intervals)
            for view in self._feast_views()
        }

    def record_materialization(self, view: str, start: datetime, end: datetime) -> None:
        """Put a materialized window into the registry, so that Feast and the guard see the same watermark."""
        registry = self.store.registry
        registry.apply_materialization(self.feast_view(view), self.project, start, end)
        self.store.refresh_registry()

    def apply(self) -> None:
        """``feast apply``: read the definitions in the repository's Python files into the registry."""
        from feast.repo_config import load_repo_config
        from feast.repo_operations import apply_total

        with quiet_feast():
            config = load_repo_config(self.path, self.path / "feature_store.yaml")
            with contextlib.chdir(self.path), _definition_modules(self.path):
                apply_total(config, self.path, skip_source_validation=False)
        self.store = _open_store(self.path)

    def unapplied(self) -> tuple[Unapplied, ...]:
        """What the repository's Python files define otherwise than the registry, as `feast plan` tells it.

        Nothing where they define nothing. The files are imported, as apply does.
        """
        from feast import FeatureStore
        from feast.repo_operations import parse_repo

        with quiet_feast():
            try:
                with contextlib.chdir(self.path), _definition_modules(self.path):
                    found = parse_repo(self.path)
                    if not (found.feature_views or found.stream_feature_views or found.feature_services):
                        return ()
                    difference, _, _ = FeatureStore(repo_path=str(self.path)).plan(found)
            except (Exception, SystemExit) as error:  # noqa: BLE001  (anybody's code, and Feast's, which raises anything)
                return (Unapplied(problem=f"{type(error).__name__}: {error}"),)
        return tuple(sorted(_unapplied(difference), key=lambda item: (item.kind, item.name)))

    @property
    def stores(self) -> tuple[str, str]:
        """The types of the offline and the online store, as feature_store.yaml has them."""
        config = self.store.config
        return str(config.offline_store.type), str(getattr(config.online_store, "type", ""))

    def projects(self) -> list[str]:
        """Names of the projects in the registry."""
        return sorted(project.name for project in self.store.registry.list_projects())

    @property
    def registry_cache_seconds(self) -> int:
        """How long Feast's own processes keep the registry that they read; 0 means for ever."""
        return int(self.store.config.registry.cache_ttl_seconds)

    def feast_view(self, name: str) -> Any:
        """Feast's own FeatureView object; raises UnknownNameError."""
        for view in self._feast_views():
            if view.name == name:
                return view
        raise UnknownNameError("feature view", name, self.view_names())

    def feast_on_demand(self, name: str) -> OnDemandFeatureView:
        """Feast's own OnDemandFeatureView object; raises UnknownNameError."""
        found = {view.name: view for view in self._feast_on_demand()}
        if name not in found:
            raise UnknownNameError("on-demand feature view", name, found)
        return found[name]

    def _feast_views(self) -> list[Any]:
        return [*self.store.list_batch_feature_views(), *self.store.list_stream_feature_views()]

    def _feast_on_demand(self) -> list[Any]:
        return list(self.store.list_on_demand_feature_views())

    def _service_def(self, name: str, feast_projections: Iterable[Any], tags: dict[str, str]) -> ServiceDef:
        views = {view.name: view for view in self._feast_views()}
        on_demand_views = {view.name: view for view in self._feast_on_demand()}
        projections: list[Projection] = []
        on_demand: list[OnDemandDef] = []
        for item in feast_projections:
            if item.name in views:
                projections.append(self._projection(item, views[item.name]))
            elif item.name in on_demand_views:
                on_demand.append(self._on_demand(item, on_demand_views[item.name], views))
            else:
                raise UnknownNameError(f"feature view of service {name!r}", item.name, [*views, *on_demand_views])
        return ServiceDef(name, tuple(projections), tuple(on_demand), tags)

    def _projection(self, item: Any, view: Any) -> Projection:
        definition = view_def(view, self.path)
        key_names = {key.name for key in definition.join_keys}
        features = tuple(_field(f) for f in item.features if f.name not in key_names)
        return Projection(definition, features, item.name_alias, tuple(sorted(item.join_key_map.items())))

    def _on_demand(self, item: Any, view: Any, views: dict[str, Any]) -> OnDemandDef:
        inputs = []
        # Feast keeps both in protobuf maps, whose order changes from process to process
        for _, source in sorted(view.source_feature_view_projections.items()):
            if source.name not in views:
                raise UnknownNameError(f"input view of on-demand view {view.name!r}", source.name, views)
            inputs.append(self._projection(source, views[source.name]))
        requests = [f for _, source in sorted(view.source_request_sources.items()) for f in source.schema]
        transformation = view.feature_transformation
        return OnDemandDef(
            name=view.name,
            features=tuple(_field(f) for f in item.features),
            inputs=tuple(inputs),
            request_fields=tuple(_field(f) for f in requests),
            mode=str(getattr(view.mode, "value", view.mode)),
            source_text=str(getattr(transformation, "udf_string", "") or ""),
            alias=item.name_alias,
            all_features=tuple(_field(f) for f in view.features),
        )


_OWN_ENTITY = "__dummy"
_SHORT = 120


def _unapplied(difference: Any) -> Iterator[Unapplied]:
    for item in difference.feast_object_diffs:
        action = item.transition_type.name.lower()
        kind = item.feast_object_type.value
        if action == "unchanged" or item.name == _OWN_ENTITY or kind in ("project", "permission", "data source"):
            continue
        changes = {}
        for change in item.feast_object_property_diffs:
            name = change.property_name
            both = [getattr(side, name, None) for side in (item.current_feast_object, item.new_feast_object)]
            if name == "batch_source" and both[0] == both[1]:
                continue  # its times of creation differ, and nothing else
            texts = [" ".join(str(value).split()) for value in (change.val_existing, change.val_declared)]
            short = all(len(text) <= _SHORT for text in texts)
            changes[name] = f"registry {texts[0] or 'none'!r}, files {texts[1] or 'none'!r}" if short else "differs"
        if changes or action != "update":
            yield Unapplied(kind, item.name, action, changes)


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else _utc_of(moment)


def _utc_of(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _open_store(path: Path) -> FeatureStore:
    config_file = path / "feature_store.yaml"
    if not config_file.is_file():
        raise RepositoryError(f"No feature_store.yaml in {path}; give the folder of a Feast repository with --repo.")
    with quiet_feast():
        from feast import FeatureStore

        try:
            store = FeatureStore(repo_path=str(path))
            store.list_feature_services()  # reads the registry, which Feast otherwise puts off
        except Exception as error:  # Feast raises anything here; all of it means the same to the user
            raise RepositoryError(
                f"Feast cannot open {config_file} or its registry: {type(error).__name__}: {error}"
            ) from error
    return store


@contextlib.contextmanager
def _definition_modules(path: Path) -> Iterator[None]:
    """Let Feast import the repository's Python files afresh, whatever other repository this process read before."""
    names = {file.stem for file in path.glob("**/*.py")}
    stale = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in names}
    for name in stale:
        del sys.modules[name]
    linecache.clearcache()  # Feast takes an on-demand view's source text from there
    sys.path.insert(0, str(path))
    try:
        yield
    finally:
        sys.path.remove(str(path))
        for name in [name for name in sys.modules if name.partition(".")[0] in names]:
            del sys.modules[name]
        sys.modules.update(stale)


@contextlib.contextmanager
def quiet_feast() -> Iterator[None]:
    """Keep Feast's own prints and deprecation warnings off the terminal while it works."""
    import warnings

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
