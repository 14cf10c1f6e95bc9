"""`skewguard init`: a first policy file and a first suite for each feature service; later, what a new profile changes.

Nothing that people wrote is ever overwritten: a suite that exists gets a diff, and ``apply`` takes of it only what
touches no edit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skewguard.config import POLICY_FILE
from skewguard.errors import SuiteError
from skewguard.expectations.author import propose_suite
from skewguard.expectations.gx_context import read_context
from skewguard.expectations.merge import PROFILED, Change, compare, merged, profiled_rows, with_record
from skewguard.expectations.names import strangers
from skewguard.expectations.rules import SKEW_RULES
from skewguard.expectations.suites import load_suite, parse_suite, suite_path
from skewguard.files import write_atomically
from skewguard.first_policy import FIRST_POLICY
from skewguard.profiled_rows import ProfiledRows

if TYPE_CHECKING:
    from skewguard.workspace import Workspace


@dataclass(frozen=True)
class Proposal:
    """What is proposed for the suite of a feature service.

    ``document``: the proposed suite as JSON data, every argument written out. ``changes``: against the suite that is
    there; empty where there is none. ``own``: does it count as people's own (taken over from elsewhere)? ``told``: what
    was profiled or read; ``remarks``: what is left out, and what cannot be judged everywhere.
    """

    service: str
    path: Path
    document: Mapping[str, Any]
    changes: tuple[Change, ...] = ()
    exists: bool = False
    own: bool = False
    told: str = ""
    remarks: tuple[str, ...] = ()
    written: bool = False
    _read: bytes | None = None

    def save(self, *, apply: bool = False) -> Proposal:
        """Write the suite where there is none; else, with ``apply``, take the changes that touch no edit.

        Whole or not at all. Raises SuiteError where the file changed since it was read, or nothing would be left in it.
        """
        if self.exists and not (apply and any(change.applicable for change in self.changes)):
            return self
        if _bytes(self.path) != self._read:
            raise SuiteError(f"{self.path}: changed while it was compared; nothing was written, run it again.")
        if self._read is None:
            document = dict(self.document) if self.own else with_record(self.document)
        else:
            document = merged(json.loads(self._read), self.document, self.changes, own=self.own)
        parse_suite(document, str(self.path))
        write_atomically(self.path, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        return replace(self, written=True)

    def lines(self) -> list[str]:
        """What a person is told."""
        lines = [f"{self.service}: {self.told}"]
        lines += [f"  {remark}" for remark in self.remarks]
        count = len(self.document["expectations"])
        if not self.exists:
            return [*lines, f"  {self.path}: {'written' if self.written else 'not written'}, {count} expectations"]
        lines += [f"  {change.line()}" for change in self.changes]
        taken, kept = (sum(c.applicable is wanted for c in self.changes) for wanted in (True, False))
        told = f"{taken} proposals" + (f", {kept} differences that are yours and stay" if kept else "")
        if not self.changes:
            told = "nothing new"
        elif taken:
            told += "; taken" if self.written else "; --apply takes them"
        return [*lines, f"  {self.path}: {told}"]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {
            "service": self.service,
            "suite": str(self.path),
            "profiled": self.told,
            "remarks": list(self.remarks),
            "existed": self.exists,
            "written": self.written,
            "changes": [change.to_dict() for change in self.changes],
            "proposed": self.document,
        }


def first_policy(repo: Path) -> bool:
    """Write a commented skewguard.yaml where there is none; True if so."""
    path = repo / POLICY_FILE
    if path.exists():
        return False
    write_atomically(path, FIRST_POLICY)
    return True


def propose(workspace: Workspace, service: str, rows: ProfiledRows) -> Proposal:
    """A suite from profiled rows, beside the one that is there. Raises SuiteError where that cannot be used."""
    document = propose_suite(rows.table, service, keys=rows.keys, as_of=rows.as_of, whole=rows.whole)
    document["meta"][PROFILED] = rows.table.num_rows
    remarks = tuple(f"left out: {name}: {reason}" for name, reason in rows.left_out.items())
    path = suite_path(workspace.path, service)
    return _beside(Proposal(service, path, document, told=rows.told, remarks=remarks))


def take_over(workspace: Workspace, service: str, source: Path, name: str | None) -> Proposal:
    """A suite of an existing GX 1.x file context as the service's. Raises SuiteError with every problem that it has."""
    document, origin = read_context(source, name)
    rules = [rule for rule in parse_suite(document, origin).rules if rule.type not in SKEW_RULES]
    found = [(rule.label, strangers(workspace.feast.service(service), rule)) for rule in rules]
    remarks = tuple(
        f"{label}: {told}; it is judged on training sets, and refused on one without it"
        for label, told in found
        if told
    )
    told = f"the suite of {origin}, every argument written out"
    path = suite_path(workspace.path, service)
    return _beside(Proposal(service, path, {**document, "name": service}, own=True, told=told, remarks=remarks))


def _beside(proposal: Proposal) -> Proposal:
    """The proposal with its differences from the suite that is there."""
    read = _bytes(proposal.path)
    if read is None:
        return proposal
    load_suite(proposal.path)  # refuses what is no suite, with every problem
    present = json.loads(read)
    changes = compare(present, proposal.document, str(proposal.path))
    before, now = profiled_rows(present), profiled_rows(proposal.document)
    remarks = proposal.remarks
    if changes and before is not None and now is not None and now < before:
        remarks += (
            f"{now:,} rows, after {before:,} the last time: fewer rows show less of the data, so that a change may be "
            "chance. Profile as many before you take it.",
        )
    return replace(proposal, changes=changes, exists=True, remarks=remarks, _read=read)


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
