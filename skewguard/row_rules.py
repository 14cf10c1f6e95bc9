"""The rules of suites that hold row by row, compiled for serving, as the serving plan keeps them.

What is kept beside a service's rules is the suite that they come from: where the file of a suite is refused, the suite
in force stays in force, and is compiled anew when the features change. Compiling imports Great Expectations; nothing
else here does, and a suite that did not change is not compiled again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skewguard.definitions import ServiceDef, digest
from skewguard.errors import ConfigurationError, SuiteError

if TYPE_CHECKING:
    from skewguard.expectations.suites import Suite
    from skewguard.plan import ServingPlan


@dataclass(frozen=True)
class ServiceRules:
    """The row rules of a feature service.

    Attributes:
        suite: the suite in force, as its file has it; None where there was none that could be used.
        rules: the same compiled, ``RowSuite.to_document()``.
        columns: digest of the columns that it was compiled for.
        file: SHA-256 (hex) of the file that was looked at last.
        problem: why that file is not in force; None where it is.
    """

    suite: Mapping[str, Any] | None
    rules: Mapping[str, Any] | None
    columns: str
    file: str
    problem: str | None = None

    def absent(self) -> list[dict[str, Any]]:
        """The rules that name a column which is not served: a label, or a misspelt one."""
        found: list[dict[str, Any]] = [] if self.rules is None else self.rules["rules"]
        return [rule for rule in found if rule["status"] == "absent"]

    def told(self) -> dict[str, Any]:
        """What is in force, as JSON data: the suite's digest, how many rules are asked of a row, and what is not."""
        rules = [] if self.rules is None else self.rules["rules"]
        return {
            "suite": None if self.rules is None else self.rules["suite_digest"],
            "asked": sum(rule["status"] == "row" for rule in rules),
            "not_served": [f"{rule['label']}: {rule['reason']}" for rule in self.absent()],
            "problem": self.problem,
        }

    def to_data(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> ServiceRules:
        """From JSON data; raises TypeError, ValueError for anything else."""
        found = cls(**data)
        documents_fit = all(value is None or isinstance(value, dict) for value in (found.suite, found.rules))
        texts_fit = all(isinstance(value, str) for value in (found.columns, found.file, found.problem or ""))
        if not documents_fit or not texts_fit:
            raise TypeError("row_rules: a document or a digest is of another type")
        return found


def served_columns(service: ServiceDef) -> dict[str, str]:
    """The columns of an answer by every name that a suite may use for them, with dtypes.

    Features under their short names, where no two have the same, and under their full names; join keys; request data.
    """
    short = [f.name for f in service.outputs()]
    found = {f.name: f.dtype for f in (*service.request_fields, *service.join_keys)}
    found |= {f.name: f.dtype for f in service.outputs(full_feature_names=True)}
    return found | {f.name: f.dtype for f in service.outputs() if short.count(f.name) == 1}


def compile_row_rules(
    repo: Path, plan: ServingPlan, before: Mapping[str, ServiceRules] | None = None
) -> dict[str, ServiceRules]:
    """The row rules of every feature service that has a suite. ``before``: what was in force until now."""
    found = {}
    for service in plan.services:
        rules = _of_service(repo, service, (before or {}).get(service.name))
        if rules is not None:
            found[service.name] = rules
    return found


def _of_service(repo: Path, service: ServiceDef, before: ServiceRules | None) -> ServiceRules | None:
    from skewguard.expectations.suites import load_suite, parse_suite, suite_path

    path = suite_path(repo, service.name)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return _refused(before, "", f"{path}: cannot be read: {error.strerror}.")
    file, columns = hashlib.sha256(content).hexdigest(), digest(served_columns(service))
    if before is not None and (before.file, before.columns) == (file, columns) and _loads(before.rules):
        return before
    try:
        suite = load_suite(path)
        found = ServiceRules(json.loads(content), _compiled(suite, service), columns, file)
        json.dumps(
            found.to_data(), ensure_ascii=False
        ).encode()  # a plan is UTF-8, which half a character has no place in
        return found
    except (SuiteError, RecursionError, UnicodeEncodeError) as error:
        problem = str(error) if isinstance(error, SuiteError) else f"{path}: {type(error).__name__}: {error}."
        if before is None or before.suite is None:
            return ServiceRules(None, None, columns, file, problem)
        kept = _compiled(parse_suite(before.suite, str(path)), service)
        return ServiceRules(before.suite, kept, columns, file, problem)


def _refused(before: ServiceRules | None, columns: str, problem: str) -> ServiceRules:
    if before is None:
        return ServiceRules(None, None, columns, "", problem)
    return ServiceRules(before.suite, before.rules, before.columns, "", problem)


def _compiled(suite: Suite, service: ServiceDef) -> dict[str, Any]:
    from skewguard.expectations.rows.compile import compile_rows

    return compile_rows(suite, served_columns(service)).to_document()


def _loads(document: Mapping[str, Any] | None) -> bool:
    """Is a compiled document one that this version reads?"""
    from skewguard.expectations.rows.suite import RowSuite

    if document is None:
        return True
    try:
        RowSuite.from_document(document)
    except ConfigurationError:
        return False
    return True
