"""Expectation suites: JSON files in GX 1.x's own format, one a feature service, read and checked whole before any run.

GX itself logs an expectation that it cannot read and goes on without it; here the file is refused, with every problem
that it has.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from skewguard.definitions import digest
from skewguard.errors import SuiteError, nearest
from skewguard.expectations.rules import Problem, columns_of, resolve

FOLDER = "expectations"
_TOP_LEVEL = ("name", "id", "expectations", "meta", "notes", "suite_parameters")
_RULE_KEYS = ("type", "kwargs", "meta", "id", "description", "notes", "severity", "rendered_content")
SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True)
class Rule:
    """One expectation of a suite.

    ``type`` is GX's name in snake case; ``kwargs`` what it runs with (times carry their zone); ``resolved`` the same
    with every default written out; ``severity`` is critical, warning or info; ``position`` its place in the file, from
    0.
    """

    type: str
    kwargs: Mapping[str, Any]
    severity: str = "critical"
    notes: str = ""
    position: int = 0
    resolved: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that must be there for the rule to run, row condition included; empty for a rule on the table."""
        return columns_of(self.type, self.kwargs)

    @property
    def label(self) -> str:
        """The rule in an error message: its number in the file, from 1, its type and its columns."""
        where = f" on {', '.join(map(repr, self.columns))}" if self.columns else ""
        return f"expectation {self.position + 1} ({self.type}{where})"


@dataclass(frozen=True)
class Suite:
    """A checked suite; ``origin`` is the file it was read from, for messages."""

    name: str
    rules: tuple[Rule, ...]
    origin: str = "suite"

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what the suite demands: types, severities, arguments with GX's defaults written out.

        Order, notes, ids and names do not count.
        """
        rules = [{"type": r.type, "severity": r.severity, "kwargs": r.resolved} for r in self.rules]
        return digest(sorted(rules, key=digest))

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that a rule needs, in order of first use."""
        return tuple(dict.fromkeys(column for rule in self.rules for column in rule.columns))

    def restrict(self, columns: Iterable[str]) -> tuple[Suite, tuple[Rule, ...]]:
        """The suite of the rules that can run on these columns, and the rules left out. Rules on the table stay."""
        have = set(columns)
        fitting = tuple(rule for rule in self.rules if have.issuperset(rule.columns))
        left_out = tuple(rule for rule in self.rules if not have.issuperset(rule.columns))
        return replace(self, rules=fitting), left_out


def suite_path(repo: Path, service: str) -> Path:
    """Where the suite of a feature service is: ``<repo>/expectations/<service>.json``; never in another folder."""
    return repo / FOLDER / f"{service.replace('/', '%2F')}.json"


def load_suite(path: Path) -> Suite:
    """Read and check a suite. Imports GX.

    Raises SuiteError naming the file and, for each problem, the expectation and the fix: not JSON, unknown expectation
    or argument, bounds the wrong way round, a regular expression that does not compile, a row condition as text.
    """
    return parse_suite(read_json(path), str(path))


def read_json(path: Path) -> Any:
    """The JSON value in a file; raises SuiteError naming it where it cannot be read, or is none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise SuiteError(f"{path}: not JSON: {error}") from error


def parse_suite(document: Any, origin: str = "suite") -> Suite:
    """A suite from its JSON document; raises SuiteError with every problem, each on a line of its own."""
    if not isinstance(document, Mapping):
        raise SuiteError(f"{origin}: got {type(document).__name__}; expected a mapping with name and expectations.")
    problems = _unknown_keys(document, _TOP_LEVEL, "")
    name = document.get("name")
    if not isinstance(name, str) or not name:
        problems.append(f"name: got {name!r}; expected the suite's name.")
    if document.get("suite_parameters"):
        problems.append("suite_parameters: not supported; write the values into the expectations.")
    entries = document.get("expectations")
    if not isinstance(entries, list) or not entries:
        problems.append(f"expectations: got {entries!r}; expected a list with at least one expectation.")
        entries = []
    rules = []
    for position, entry in enumerate(entries):
        try:
            rules.append(_rule(entry, position))
        except _EntryError as error:
            problems += error.lines
        except RecursionError:
            problems.append(f"expectation {position + 1}: values within values, too deep to be read; expected fewer.")
    if problems:
        raise SuiteError(f"{origin}:\n" + "\n".join(f"  - {line}" for line in problems))
    return Suite(str(name), tuple(rules), origin)


class _EntryError(Exception):
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        super().__init__("\n".join(lines))


def _rule(entry: Any, position: int) -> Rule:
    number = f"expectation {position + 1}"
    if not isinstance(entry, Mapping):
        raise _EntryError([f"{number}: got {type(entry).__name__}; expected a mapping with type and kwargs."])
    lines = _unknown_keys(entry, _RULE_KEYS, f"{number}: ")
    kind, kwargs = entry.get("type"), entry.get("kwargs", {})
    severity, notes = entry.get("severity") or "critical", entry.get("notes") or ""
    if severity not in SEVERITIES:
        lines.append(f"{number}: severity: got {severity!r}; expected one of {', '.join(SEVERITIES)}.")
    if not isinstance(kind, str) or not isinstance(kwargs, Mapping):
        lines.append(f"{number}: got type {kind!r} and kwargs {kwargs!r}; expected a name and a mapping.")
        raise _EntryError(lines)
    try:
        used, resolved = resolve(kind, kwargs)
    except Problem as problem:
        bare = Rule(kind, kwargs, position=position)
        raise _EntryError(lines + [f"{bare.label}: {line}" for line in problem.lines]) from problem
    if lines:
        raise _EntryError(lines)
    text = "\n".join(notes) if isinstance(notes, list) else str(notes)
    return Rule(kind, used, severity, text, position, resolved)


def _unknown_keys(document: Mapping[str, Any], known: tuple[str, ...], prefix: str) -> list[str]:
    lines = []
    for key in document:
        if key not in known:
            near = nearest(str(key), known)
            lines.append(f"{prefix}{key}: unknown key." + (f" Did you mean {near!r}?" if near else ""))
    return lines


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} twice in one mapping")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value; write a number or null")
