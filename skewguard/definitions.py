"""Frozen definitions of a Feast repository, and their fingerprints. No Feast import: ``feast_repo`` fills them.

Everything downstream (ASOF SQL, reader, checks, contract, serving plan) speaks these classes only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from skewguard.errors import UnknownNameError


@dataclass(frozen=True)
class FieldDef:
    """A named value with its Feast dtype (``"INT64"``, ``"FLOAT_LIST"``, ...)."""

    name: str
    dtype: str


@dataclass(frozen=True)
class SourceDef:
    """Where a view's rows are. ``kind`` is "parquet" for what the ASOF store reads; ``path`` is absolute or a URI.

    Column names are those *after* ``field_mapping`` (source column -> Feast name) was applied, as Feast has them.
    """

    kind: str
    path: str
    timestamp_field: str
    created_timestamp_column: str | None = None
    field_mapping: tuple[tuple[str, str], ...] = ()

    def column(self, name: str) -> str:
        """The column in the file for a Feast name (field mapping reversed)."""
        for source, mapped in self.field_mapping:
            if mapped == name:
                return source
        return name


@dataclass(frozen=True)
class ViewDef:
    """A feature view. ``join_keys`` is empty for a view without entities; ``ttl`` None means no limit."""

    name: str
    entities: tuple[str, ...]
    join_keys: tuple[FieldDef, ...]
    features: tuple[FieldDef, ...]
    ttl: timedelta | None
    source: SourceDef
    online: bool = True

    def feature(self, name: str) -> FieldDef:
        """The feature of that name; raises UnknownNameError."""
        for item in self.features:
            if item.name == name:
                return item
        raise UnknownNameError(f"feature of view {self.name!r}", name, [f.name for f in self.features])

    def fingerprint_parts(self) -> dict[str, Any]:
        """What the fingerprint covers, by part: entities, join keys, ttl, source, field mapping.

        Features are not in it: a service promises those that it reads, and another one added to the view is no change.
        A local path counts by its last part, so that the same repository in another folder has the same fingerprint.
        """
        source = self.source
        path = source.path if "://" in source.path else source.path.rsplit("/", 1)[-1]
        return {
            "entities": list(self.entities),
            "join_keys": {k.name: k.dtype for k in self.join_keys},
            "ttl_seconds": None if self.ttl is None else self.ttl.total_seconds(),
            "source": {
                "kind": source.kind,
                "path": path,
                "timestamp_field": source.timestamp_field,
                "created_timestamp_column": source.created_timestamp_column,
            },
            "field_mapping": dict(source.field_mapping),
        }


@dataclass(frozen=True)
class Projection:
    """A view as one feature service (or feature list) uses it: some features, perhaps an alias and renamed keys.

    ``join_key_map`` maps a join key of the view to the column of the entity rows that holds it.
    """

    view: ViewDef
    features: tuple[FieldDef, ...]
    alias: str | None = None
    join_key_map: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The name that feature references and full feature names use: alias, else the view's name."""
        return self.alias or self.view.name

    @property
    def keys(self) -> tuple[tuple[FieldDef, str], ...]:
        """Pairs of the view's join key and the entity-row column that holds it."""
        renamed = dict(self.join_key_map)
        return tuple((key, renamed.get(key.name, key.name)) for key in self.view.join_keys)

    def output_name(self, feature: str, full_feature_names: bool) -> str:
        """The column of ``feature`` in a result."""
        return f"{self.name}__{feature}" if full_feature_names else feature


@dataclass(frozen=True)
class OnDemandDef:
    """An on-demand feature view as used: its outputs, inputs and request data, and its source text."""

    name: str
    features: tuple[FieldDef, ...]
    inputs: tuple[Projection, ...]
    request_fields: tuple[FieldDef, ...]
    mode: str
    source_text: str
    alias: str | None = None
    all_features: tuple[FieldDef, ...] = ()
    """Every output of the view, of which ``features`` are the ones asked for."""

    @property
    def output_prefix(self) -> str:
        """Alias, else name: what full feature names begin with."""
        return self.alias or self.name

    def output_name(self, feature: str, full_feature_names: bool) -> str:
        """The column of ``feature`` in a result."""
        return f"{self.output_prefix}__{feature}" if full_feature_names else feature

    def fingerprint_parts(self) -> dict[str, Any]:
        """What the fingerprint covers: mode, source text, outputs, inputs, request data."""
        return {
            "mode": self.mode,
            "source_text": self.source_text,
            "features": {f.name: f.dtype for f in (self.all_features or self.features)},
            "inputs": {p.name: {f.name: f.dtype for f in p.features} for p in self.inputs},
            "request_fields": {f.name: f.dtype for f in self.request_fields},
        }


@dataclass(frozen=True)
class ServiceDef:
    """A feature service (or an ad-hoc feature list, then ``name`` is empty): the unit that is checked and gated.

    ``projections`` are in the order of the definition; ``hidden`` are views read only as inputs of on-demand views.
    """

    name: str
    projections: tuple[Projection, ...]
    on_demand: tuple[OnDemandDef, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def hidden(self) -> tuple[Projection, ...]:
        """Inputs of the on-demand views that are not already projected with those features, merged by name."""
        have = {p.name: {f.name for f in p.features} for p in self.projections}
        missing: dict[str, tuple[Projection, dict[str, FieldDef]]] = {}
        for on_demand in self.on_demand:
            for projection in on_demand.inputs:
                lacking = {f.name: f for f in projection.features if f.name not in have.get(projection.name, set())}
                if lacking:
                    missing.setdefault(projection.name, (projection, {}))[1].update(lacking)
        return tuple(
            Projection(p.view, tuple(features.values()), p.alias, p.join_key_map) for p, features in missing.values()
        )

    @property
    def request_fields(self) -> tuple[FieldDef, ...]:
        """Request data that the on-demand views need, each name once."""
        return tuple({f.name: f for od in self.on_demand for f in od.request_fields}.values())

    @property
    def join_keys(self) -> tuple[FieldDef, ...]:
        """Entity-row columns that a look-up needs, in the order of the views, each once."""
        found: dict[str, FieldDef] = {}
        for projection in (*self.projections, *self.hidden):
            for key, column in projection.keys:
                found.setdefault(column, FieldDef(column, key.dtype))
        return tuple(found.values())

    @property
    def views(self) -> tuple[ViewDef, ...]:
        """Every view that is read, each once."""
        return tuple({p.view.name: p.view for p in (*self.projections, *self.hidden)}.values())

    def features_read(self, view: ViewDef) -> tuple[FieldDef, ...]:
        """The features of a view that the service reads, as outputs or as inputs of on-demand views."""
        names = {f.name for p in (*self.projections, *self.hidden) if p.view.name == view.name for f in p.features}
        return tuple(f for f in view.features if f.name in names)

    def read_parts(self) -> dict[str, Any]:
        """How the service reads its views: per projection the view, the features with dtypes, and the join key map."""
        return {
            p.name: {
                "view": p.view.name,
                "features": {f.name: f.dtype for f in p.features},
                "join_key_map": dict(p.join_key_map),
            }
            for p in self.projections
        }

    def outputs(self, full_feature_names: bool = False) -> tuple[FieldDef, ...]:
        """The features of a vector in their stable order: views in order, then on-demand views."""
        columns = [
            FieldDef(p.output_name(f.name, full_feature_names), f.dtype) for p in self.projections for f in p.features
        ]
        columns += [
            FieldDef(od.output_name(f.name, full_feature_names), f.dtype) for od in self.on_demand for f in od.features
        ]
        return tuple(columns)

    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of each view's and on-demand view's definition, by name."""
        parts: dict[str, Any] = {v.name: v.fingerprint_parts() for v in self.views}
        parts |= {od.name: od.fingerprint_parts() for od in self.on_demand}
        return {name: digest(value) for name, value in parts.items()}

    def fingerprint_parts(self) -> dict[str, dict[str, Any]]:
        """The parts under the fingerprints, by view name: kept in the contract so that a change can be named."""
        parts = {v.name: v.fingerprint_parts() for v in self.views}
        return parts | {od.name: od.fingerprint_parts() for od in self.on_demand}


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no blanks: the same text for the same value, anywhere."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def as_dict(definition: Any) -> dict[str, Any]:
    """A definition as plain data (timedeltas stay timedeltas)."""
    return asdict(definition)
