"""The feature contract: what was true when a training set was built, frozen beside it as JSON and checked ever after.

Its digest covers everything that decides the training set and nothing that differs between machines or moments:
``provenance`` (library versions, run id, verdict, override, time) is kept in the file but not in the digest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from skewguard.definitions import ServiceDef, canonical_json, digest
from skewguard.errors import ConfigurationError
from skewguard.files import write_atomically

CONTRACT_VERSION = 1


@dataclass(frozen=True)
class FeatureContract:
    """The promise a model was trained under. All fields are plain JSON data.

    ``features``, ``join_keys``, ``request_fields``: (name, dtype) pairs in order. ``projections``: alias or view ->
    the view, its features and its join key map. ``definitions``: view -> parts under
    its fingerprint. ``time_range``: first and last as-of time (ISO 8601, UTC) or None for no rows.
    ``created_cutoff``: True where only rows created by the as-of time counted. ``profile``: full
    feature name -> profile of the training set's column. ``defaults``: full feature name -> what serving may send in
    its place, as JSON (``skewguard.substitutes``); empty in contracts that were written before there were any.
    """

    service: str
    features: tuple[tuple[str, str], ...]
    join_keys: tuple[tuple[str, str], ...]
    request_fields: tuple[tuple[str, str], ...]
    projections: Mapping[str, Any]
    fingerprints: Mapping[str, str]
    definitions: Mapping[str, Mapping[str, Any]]
    entity_frame_digest: str
    training_set_digest: str
    row_count: int
    time_range: tuple[str, str] | None
    created_cutoff: bool
    seeds: Mapping[str, int]
    profile: Mapping[str, Mapping[str, Any]]
    suite_digest: str | None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    version: int = CONTRACT_VERSION

    @property
    def promise(self) -> dict[str, Any]:
        """What it says of the service's definitions, in the form of ``service_promise``."""
        return {
            "definitions": dict(self.definitions),
            "projections": dict(self.projections),
            "features": [list(pair) for pair in self.features],
        }

    @property
    def view_profiles(self) -> dict[str, Mapping[str, Any]]:
        """Profiles by view and feature, ``<view>__<feature>``, whatever alias the service uses for the view."""
        found: dict[str, Mapping[str, Any]] = {}
        for alias, reads in self.projections.items():
            for feature in reads["features"]:
                if f"{alias}__{feature}" in self.profile:
                    found.setdefault(f"{reads['view']}__{feature}", self.profile[f"{alias}__{feature}"])
        return found

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of everything but ``provenance``."""
        covered = asdict(self)
        del covered["provenance"]
        if not self.defaults:  # a contract without any has the digest that it always had
            del covered["defaults"]
        return digest(covered)

    def with_provenance(self, **items: Any) -> FeatureContract:
        """The same contract with more provenance; the digest stays."""
        return replace(self, provenance={**self.provenance, **items})

    def to_json(self) -> str:
        """The file's text: indented JSON with sorted keys, the digest in it."""
        return json.dumps({**asdict(self), "digest": self.digest}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, origin: str = "contract") -> FeatureContract:
        """Read a contract; raises ConfigurationError where it is not one, or its digest does not fit its content."""
        try:
            data = json.loads(text)
            stated = data.pop("digest")
            if data.get("version") != CONTRACT_VERSION:
                raise ConfigurationError(f"{origin}: version {data.get('version')!r}; expected {CONTRACT_VERSION}.")
            data["time_range"] = tuple(data["time_range"]) if data["time_range"] else None
            for name in ("features", "join_keys", "request_fields"):
                data[name] = tuple((item, dtype) for item, dtype in data[name])
            contract = cls(**data)
        except ConfigurationError:
            raise
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigurationError(f"{origin}: not a feature contract: {type(error).__name__}: {error}") from error
        if contract.digest != stated:
            raise ConfigurationError(f"{origin}: its content has digest {contract.digest}, but it states {stated}.")
        return contract

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        write_atomically(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> FeatureContract:
        """Read the file; raises ConfigurationError."""
        try:
            return cls.from_json(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path}: cannot be read: {error}") from error


def definition_parts(service: ServiceDef) -> dict[str, dict[str, Any]]:
    """The parts of every view's definition, as they read back from JSON."""
    parts: dict[str, dict[str, Any]] = json.loads(canonical_json(service.fingerprint_parts()))
    return parts


def service_promise(service: ServiceDef) -> dict[str, Any]:
    """What a contract promises of a service's definitions, as it reads back from JSON.

    ``definitions`` (see ``definition_parts``), ``projections`` (how the service reads its views), ``features`` (name
    and dtype of each output, in order).
    """
    projections = json.loads(canonical_json(service.read_parts()))
    features = [[field.name, field.dtype] for field in service.outputs()]
    return {"definitions": definition_parts(service), "projections": projections, "features": features}


def changed_parts(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Where two definitions differ: (dotted path, before, after), None for what is not there."""
    changes: list[tuple[str, Any, Any]] = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            changes += changed_parts(old, new, f"{prefix}{name}.")
        elif old != new or (name in before) != (name in after):
            changes.append((f"{prefix}{name}", old, new))
    return changes


def iso(moment: datetime) -> str:
    """ISO 8601 with microseconds where there are any, "+00:00" as "Z"."""
    return moment.isoformat().replace("+00:00", "Z")
