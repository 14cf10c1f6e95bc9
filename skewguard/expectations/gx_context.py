"""Suites of other places: of an existing GX 1.x file context, read as files, and of GX's own Python objects.

A context is never opened: that would run its configuration, and replace the context of whoever uses GX in the process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from skewguard.errors import SuiteError, UnknownNameError
from skewguard.expectations.author import explicit
from skewguard.expectations.suites import Suite, parse_suite, read_json

_CONFIG = "great_expectations.yml"
_IN_FILES = "TupleFilesystemStoreBackend"


def from_gx(suite: Any) -> Suite:
    """A ``great_expectations.ExpectationSuite`` as a checked suite. Raises SuiteError with every problem."""
    return parse_suite(suite.to_json_dict(), f"GX suite {suite.name!r}")


def from_context(path: Path, name: str | None = None) -> Suite:
    """A suite of a GX 1.x file context; see ``read_context``."""
    document, origin = read_context(path, name)
    return parse_suite(document, origin)


def read_context(path: Path, name: str | None = None) -> tuple[dict[str, Any], str]:
    """A suite of a context as a JSON document with every argument written out, and the file that it was read from.

    ``path``: the context's folder, the project with a folder ``gx`` in it, a folder of suites, or a suite's file.
    ``name`` may be left out where there is one suite. Raises SuiteError, UnknownNameError.
    """
    found = dict(_suites(path))
    if not found:
        raise SuiteError(f"{path}: no suite there; expected a GX 1.x context, a folder of suites or a suite's file.")
    if name is None and len(found) > 1:
        raise SuiteError(f"{path}: {len(found)} suites; name one with --suite: {', '.join(sorted(found))}.")
    if name is not None and name not in found:
        raise UnknownNameError(f"suite in {path}", name, found)
    file, document = found[name] if name is not None else next(iter(found.values()))
    return explicit(document, str(file)), str(file)


def _suites(path: Path) -> Iterator[tuple[str, tuple[Path, Mapping[str, Any]]]]:
    """Every suite by name; a file that is no suite is an error, for it may be the one that is meant."""
    files = [path] if path.is_file() else sorted(_folder(path).rglob("*.json"))
    for file in files:
        document = read_json(file)
        if not isinstance(document, Mapping):
            raise SuiteError(f"{file}: got {type(document).__name__}; expected a suite with name and expectations.")
        if "expectation_suite_name" in document:
            raise SuiteError(
                f"{file}: a suite of GX 0.x ('expectation_suite_name', 'expectation_type'); load it with GX 1.x and "
                "save it, or rename the keys to 'name' and 'type'."
            )
        yield str(document.get("name") or file.stem), (file, document)


def _folder(path: Path) -> Path:
    """The folder of suites below a path, as the context's configuration has it."""
    if not path.is_dir():
        raise SuiteError(f"{path}: no such file or folder; expected a GX 1.x context.")
    for root in (path, path / "gx"):
        if (root / _CONFIG).is_file():
            return _configured(root)
    return path


def _configured(root: Path) -> Path:
    file = root / _CONFIG
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        store = config["stores"][config["expectations_store_name"]]
        backend = store.get("store_backend") or {"class_name": _IN_FILES, "base_directory": "expectations"}
        kind, folder = str(backend.get("class_name")), str(backend.get("base_directory", "expectations"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise SuiteError(
            f"{file}: where its suites are cannot be read ({type(error).__name__}: {error}); give their folder."
        ) from error
    if kind != _IN_FILES:
        raise SuiteError(
            f"{file}: its suites are in a {kind}, not in files; load the suite with GX in Python, and give it to "
            "skewguard.expectations.gx_context.from_gx."
        )
    return root / folder
