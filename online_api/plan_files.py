"""The files that a serving plan depends on, looked at with ``stat``: feature_store.yaml, the registry, the suites."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from skewguard.errors import RepositoryError
from skewguard.expectations.suites import FOLDER

Stamp = tuple[int, int, int] | None
"""A file's modification time in nanoseconds, its size and its inode; None where it is not there."""


def stamp(path: Path) -> Stamp:
    """The stamp of a file; two different ones mean that it was written in between."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@dataclass(frozen=True)
class SourceStamps:
    """feature_store.yaml, the registry and the suites at one moment; of suites, when each was written or put there."""

    config: tuple[int, int, int]
    registry: tuple[int, int, int]
    suites: tuple[tuple[str, int], ...] = ()

    @property
    def newest(self) -> int:
        """When the latest of them was written, in nanoseconds."""
        return max(self.config[0], self.registry[0], *(written for _, written in self.suites))

    def is_newer_than(self, plan: Stamp) -> bool:
        """Must the plan be compiled (again)?"""
        return plan is None or self.newest >= plan[0]


class PlanSources:
    """feature_store.yaml, the registry that it names, and the suites; the YAML is read again when it was written."""

    def __init__(self, repo: Path) -> None:
        self._repo = repo
        self._config = repo / "feature_store.yaml"
        self._suites = repo / FOLDER
        self._read_at: Stamp = None
        self._registry: Path | None = None

    def look(self) -> SourceStamps | None:
        """The stamps now; None where they tell no age: no local registry file, or none that has anything in it.

        Raises RepositoryError where there is no readable feature_store.yaml.
        """
        config = stamp(self._config)
        if config is None or config != self._read_at:
            self._registry = registry_file(self._repo)
            self._read_at = config
        registry = None if self._registry is None else stamp(self._registry)
        if config is None or registry is None or registry[1] == 0:  # Feast empties the file before it writes it
            return None
        return SourceStamps(config, registry, _suite_stamps(self._suites))


def _suite_stamps(folder: Path) -> tuple[tuple[str, int], ...]:
    """The suites in a folder, and the folder itself, which tells that one is gone.

    A copy may keep the time of what it was copied from: what counts is the later of the times of its content and its
    inode.
    """
    try:
        found = [(entry.name, entry.stat()) for entry in os.scandir(folder) if entry.name.endswith(".json")]
        found.append(("", os.stat(folder)))
    except OSError:
        return ()
    return tuple(sorted((name, max(stat.st_mtime_ns, stat.st_ctime_ns)) for name, stat in found))


def registry_file(repo: Path) -> Path | None:
    """The registry of a repository where it is a local file, else None (SQL, object storage, a server).

    Environment variables are filled in as Feast does. Raises RepositoryError.
    """
    config = repo / "feature_store.yaml"
    if not config.is_file():
        raise RepositoryError(f"No feature_store.yaml in {repo}; give the folder of a Feast repository with --repo.")
    try:
        document: Any = yaml.safe_load(os.path.expandvars(config.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise RepositoryError(f"{config}: not readable as YAML: {' '.join(str(error).split())}") from error
    registry = document.get("registry") if isinstance(document, Mapping) else None
    path, kind = registry, "file"
    if isinstance(registry, Mapping):
        path = registry.get("path")
        kind = registry.get("registry_store_type") or registry.get("registry_type", "file")
    if not isinstance(path, str) or kind != "file" or "://" in path or "$" in path:
        return None
    return repo / path
