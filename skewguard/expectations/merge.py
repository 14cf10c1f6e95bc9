"""A new proposal against the suite that people have edited since the last one: what changed, and what may be taken.

The suite itself keeps what was proposed before, in its ``meta``: for each proposed expectation a digest of the whole
entry. So what differs from that digest was edited, what is gone was removed, and both stay as people left them,
wherever the file has travelled. Suite and record are one file, so that one is never newer than the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from skewguard.definitions import canonical_json, digest
from skewguard.expectations.suites import Rule, parse_suite

RECORD = "skewguard_proposal"
"""In a suite's ``meta``: key of each expectation that was proposed -> digest of its entry as it was proposed."""
PROFILED = "skewguard_profiled_rows"
"""In a suite's ``meta``: how many rows its last proposal was made from."""
Kind = Literal["new", "changed", "gone", "edited", "removed"]
APPLICABLE = ("new", "changed", "gone")

_Entry = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One expectation on which the suite and the proposal differ. ``before`` and ``after`` are entries, or None.

    ``kind``: "new", "changed" and "gone" (the data give no reason for it any more) touch nothing that people wrote;
    "edited" (people say otherwise than the proposal) and "removed" (people took it out) are theirs, and stay.
    ``key`` tells the expectation: its type, its columns, its row condition.
    """

    kind: Kind
    key: str
    before: _Entry | None
    after: _Entry | None

    @property
    def applicable(self) -> bool:
        """May the proposal be taken without touching an edit?"""
        return self.kind in APPLICABLE

    def line(self) -> str:
        """The change as one line: a sign, the expectation, its arguments on both sides, the reason."""
        sign = {"new": "+", "changed": "~", "gone": "-", "edited": "=", "removed": "x"}[self.kind]
        told = {
            "new": _told(self.after),
            "changed": f"{_told(self.before, self.after)} -> {_told(self.after, self.before)}",
            "gone": "the data give no reason for it any more",
            "edited": f"yours, {_told(self.before, self.after)}, stays; proposed: {_told(self.after, self.before)}",
            "removed": "you removed it; it stays out",
        }[self.kind]
        reason = f"  ({self.after['notes']})" if self.after and self.after.get("notes") else ""
        return f"{sign} {self.key}: {told}{reason}"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {"kind": self.kind, "key": self.key, "before": self.before, "after": self.after}


def compare(document: Mapping[str, Any], proposal: Mapping[str, Any], origin: str = "suite") -> tuple[Change, ...]:
    """What a proposal would make of a suite, in the order of the proposal; what is gone comes last.

    Both are JSON documents. Raises SuiteError where the suite cannot be used.
    """
    present, proposed = _by_key(document, origin), _by_key(proposal, "proposal")
    record = recorded(document)
    changes = []
    for key, (found,) in proposed.items():
        kind, before = _judged(key, found, present.get(key, []), record)
        if kind is not None:
            changes.append(Change(kind, key, None if before is None else before.entry, found.entry))
    for key, founds in present.items():
        untouched = [one for one in founds if one.digest == record.get(key)]
        if key not in proposed and untouched:
            changes.append(Change("gone", key, untouched[0].entry, None))
    return tuple(changes)


def merged(
    document: Mapping[str, Any], proposal: Mapping[str, Any], changes: Sequence[Change], *, own: bool = False
) -> dict[str, Any]:
    """The suite with every applicable change taken, and a record of what was proposed. Edits stay as they are.

    New entries come after the last one on the same column, else at the end. ``own``: what is added counts as people's
    own from now on, and no later proposal touches it.
    """
    taken = {change.key: change for change in changes if change.applicable}
    proposed = _by_key(proposal, "proposal")
    record, entries = recorded(document), list(document["expectations"])
    for key, founds in _by_key(document).items():
        change = taken.get(key)
        if change is not None and change.before is not None:
            place = next(one.position for one in founds if one.digest == record.get(key))
            entries[place] = change.after
    for change in taken.values():
        if change.kind == "new" and change.after is not None:
            entries.insert(_place(entries, change.after), change.after)
    for key, change in taken.items():
        if change.after is None:
            del record[key]
        elif not own:
            record[key] = proposed[key][0].digest
    entries = [entry for entry in entries if entry is not None]
    meta = {**(document.get("meta") or {}), RECORD: record}
    rows = profiled_rows(proposal)
    return {**document, "expectations": entries, "meta": meta if rows is None else {**meta, PROFILED: rows}}


def with_record(proposal: Mapping[str, Any]) -> dict[str, Any]:
    """A proposal as the first suite of its service: everything in it is recorded as proposed."""
    record = {key: found.digest for key, (found,) in _by_key(proposal, "proposal").items()}
    return {**proposal, "meta": {**proposal["meta"], RECORD: record}}


def recorded(document: Mapping[str, Any]) -> dict[str, str]:
    """What was proposed before; empty for a suite that was never proposed."""
    meta = document.get("meta")
    record = meta.get(RECORD) if isinstance(meta, Mapping) else None
    return {str(k): str(v) for k, v in record.items()} if isinstance(record, Mapping) else {}


def profiled_rows(document: Mapping[str, Any]) -> int | None:
    """From how many rows a suite was proposed last; None where that is not known."""
    meta = document.get("meta")
    rows = meta.get(PROFILED) if isinstance(meta, Mapping) else None
    return rows if isinstance(rows, int) and not isinstance(rows, bool) else None


@dataclass(frozen=True)
class _Found:
    """An entry of a suite, its place, what it demands (for "is that news?") and all of it (for "is that edited?")."""

    entry: _Entry
    position: int
    demand: str
    digest: str


def _judged(key: str, new: _Found, present: Sequence[_Found], record: Mapping[str, str]) -> tuple[Kind | None, Any]:
    if not present:
        return ("removed" if key in record else "new"), None
    if any(one.demand == new.demand for one in present):
        return None, None
    untouched = next((one for one in present if one.digest == record.get(key)), None)
    return ("edited", present[0]) if untouched is None else ("changed", untouched)


def _by_key(document: Mapping[str, Any], origin: str = "suite") -> dict[str, list[_Found]]:
    found: dict[str, list[_Found]] = {}
    for entry, rule in zip(document["expectations"], parse_suite(document, origin).rules, strict=True):
        demand = {"severity": rule.severity, "kwargs": rule.resolved}
        # everything that people may have edited: not its id, its meta, or GX's rendering of it
        whole = {**demand, "notes": rule.notes, "description": entry.get("description")}
        found.setdefault(_key(rule), []).append(_Found(dict(entry), rule.position, digest(demand), digest(whole)))
    return found


def _key(rule: Rule) -> str:
    own = [rule.kwargs[name] for name in ("column", "column_A", "column_B") if name in rule.kwargs]
    own += list(rule.kwargs.get("column_list") or ())
    condition = rule.resolved.get("row_condition")
    where = "" if condition is None else f" where {canonical_json(condition)}"
    return f"{rule.type}({', '.join(map(str, own))}){where}"


def _place(entries: Sequence[_Entry | None], new: _Entry) -> int:
    column = new["kwargs"].get("column") or new["kwargs"].get("column_B")
    places = [n for n, e in enumerate(entries) if e is not None and column and _column(e) == column]
    return places[-1] + 1 if places else len(entries)


def _column(entry: Mapping[str, Any]) -> Any:
    kwargs = entry.get("kwargs", {})
    return kwargs.get("column") or kwargs.get("column_B")


_SUBJECT = ("column", "column_A", "column_B", "column_list", "row_condition", "condition_parser")


def _told(entry: Mapping[str, Any] | None, other: Mapping[str, Any] | None = None) -> str:
    """The arguments of an entry and its severity; beside another entry, those that differ."""
    if entry is None:
        return ""
    sides = [
        {**(e or {}).get("kwargs", {}), "severity": (e or {}).get("severity") or "critical"} for e in (entry, other)
    ]
    parts = [
        f"{key}={value!r}"
        for key, value in sides[0].items()
        if key not in _SUBJECT and (other is None or value != sides[1].get(key, ...)) and value not in (None, False)
    ]
    return ", ".join(parts) or "the rest as it was"
