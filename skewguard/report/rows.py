"""Findings and checks of a run as the texts that a page shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from skewguard.findings import Cause, CheckResult, Finding, Run
from skewguard.history import Night
from skewguard.report import svg, words
from skewguard.report.detail import Detail
from skewguard.report.figures import (
    TEXT_LENGTH,
    clean,
    count,
    entity_text,
    interval,
    name_of,
    percent,
    seconds,
    span,
    value_text,
    when,
    when_text,
)

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")

Subject = tuple[str | None, str | None]
"""View and feature that a finding is about; both None for the whole service."""
Anchors = dict[Subject, str]
"""The place in the page of each subject, in the order of its worst finding."""


@dataclass(frozen=True)
class SampleRow:
    """One of the worst rows: entity, both values and both event timestamps, as text."""

    entity: str
    offline: str
    online: str
    offline_time: str
    online_time: str


@dataclass(frozen=True)
class FindingRow:
    """A finding as text. ``action`` is the raw word for styling, ``action_word`` the one for people."""

    number: int
    check: str
    cause: str
    cause_word: str
    meaning: str
    why: str
    todo: str
    name: str
    anchor: str
    message: str
    count: str
    compared: str
    many: bool
    rate: str
    interval: str
    dot: Markup
    action: str
    action_word: str
    since: str
    new: bool
    evidence: tuple[tuple[str, str], ...]
    gist: str
    advice: tuple[tuple[str, bool], ...]
    samples: tuple[SampleRow, ...]
    more_samples: int


@dataclass(frozen=True)
class CheckRow:
    """A check as text; ``status_class`` is for styling, ``took`` for sorting."""

    check: str
    status_word: str
    population: str
    compared: str
    coverage: str
    seconds: str
    findings: str
    reason: str
    status_class: str
    took: float
    details: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Told:
    """What a page tells of a run: the run, the nights before it, how much of it, and the places of its panels."""

    run: Run
    earlier: Sequence[Night]
    detail: Detail
    anchors: Anchors

    @classmethod
    def of(cls, run: Run, earlier: Sequence[Night], detail: Detail) -> Told:
        """With charts and worst rows for the subjects of the worst findings."""
        subjects = list(dict.fromkeys((item.view, item.feature) for item in run.findings))[: detail.panels]
        return cls(run, earlier, detail, {subject: f"p{index}" for index, subject in enumerate(subjects, start=1)})


def finding_row(number: int, item: Finding, told: Told) -> FindingRow:
    """A finding as text; ``anchor`` is empty where its subject has no panel."""
    run, earlier, most = told.run, told.earlier, told.detail.samples
    cause = words.words_for(item.cause.value)
    known_before = bool(earlier) and item.key in earlier[-1].rates
    return FindingRow(
        number=number,
        check=clean(item.check),
        cause=item.cause.value,
        cause_word=cause.short,
        meaning=cause.meaning,
        why=cause.why,
        todo=cause.todo,
        name=name_of(item.view, item.feature),
        anchor=told.anchors.get((item.view, item.feature), ""),
        message=_sentence(clean(item.message or cause.meaning, TEXT_LENGTH)),
        count=count(item.count),
        compared=count(item.compared),
        many=item.compared > 1,
        rate=percent(item.rate),
        interval=interval(item.ci_low, item.ci_high),
        dot=svg.rate_dot(item.rate, item.ci_low, item.ci_high),
        action=item.action,
        action_word=words.ACTIONS.get(item.action, clean(item.action)),
        since=_since(item, run, earlier),
        new=bool(earlier) and not known_before,
        evidence=pairs(item.evidence),
        gist=_gist({name: value for name, value in item.evidence.items() if value is not None}),
        advice=tuple(code_parts(clean(item.advice, TEXT_LENGTH))),
        samples=tuple(_sample(row, item.cause) for row in item.samples[:most]),
        more_samples=max(len(item.samples) - most, 0),
    )


def _since(item: Finding, run: Run, earlier: Sequence[Night]) -> str:
    """``1998-02-26 00:00 UTC (3 days)``, or that this run is the first to see it."""
    known = bool(earlier) and item.key in earlier[-1].rates
    if item.first_seen is None or (item.first_seen >= run.as_of and not known):
        return "This run" if earlier else "This run (no earlier run is known)"
    lasted = run.as_of - item.first_seen
    return when(item.first_seen) + (f" ({span(lasted)})" if lasted.total_seconds() > 0 else "")


def _gist(evidence: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} = {value}" for name, value in pairs(evidence)[:3] if len(value) <= 40)


def _told(value: Any) -> str:
    """A value as text; ISO 8601 timestamps, which evidence may hold as text, as all other times of the page."""
    return when_text(value) if isinstance(value, str) and _TIMESTAMP.match(value) else value_text(value, 160)


def _sentence(text: str) -> str:
    """With a capital at its start, unless it starts with what may be a name."""
    first = text.split(" ", 1)[0]
    return text[0].upper() + text[1:] if first.isalpha() and first.islower() else text


def code_parts(text: str) -> Iterable[tuple[str, bool]]:
    """Text cut at back ticks: (part, whether it is code). An unpaired back tick stays text."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        yield text, False
        return
    yield from ((part, index % 2 == 1) for index, part in enumerate(parts) if part)


def _sample(row: Mapping[str, Any], cause: Cause) -> SampleRow:
    """A worst row. A value that is not there says "absent" where the cause says so, and is never shown as null."""
    absent_online = cause in (Cause.MISSING_ONLINE, Cause.FIELD_NEVER_WRITTEN)
    absent_offline = cause is Cause.ORPHAN_ONLINE

    def side(name: str, absent: bool) -> str:
        value = row.get(name)
        return "absent" if value is None and (absent or name not in row) else value_text(value)

    return SampleRow(
        entity=entity_text(row.get("entity", {})),
        offline=side("offline", absent_offline),
        online=side("online", absent_online),
        offline_time=when_text(row.get("offline_event_timestamp")),
        online_time=when_text(row.get("online_event_timestamp")),
    )


def pairs(values: Mapping[str, Any], prefix: str = "") -> tuple[tuple[str, str], ...]:
    """Names and values as text, nested mappings with dotted names, by name."""
    found: list[tuple[str, str]] = []
    for key, value in sorted(values.items(), key=lambda pair: str(pair[0])):
        name = f"{prefix}{clean(key)}"
        if key == "not_checked" and not prefix:
            continue  # has its own section
        if isinstance(value, Mapping) and value and prefix.count(".") < 2:
            found.extend(pairs(value, f"{name}."))
        else:
            found.append((name, _told(value)))
    return tuple(found)


def check_row(check: CheckResult, found: int) -> CheckRow:
    """A check as text; ``found`` of the run's findings are its own. Where nothing exists there is no coverage."""
    return CheckRow(
        check=clean(check.check),
        status_word=words.STATUSES.get(check.status, clean(check.status)),
        population=count(check.population),
        compared=count(check.compared),
        coverage=percent(check.coverage) if check.population else "n/a",
        seconds=seconds(check.seconds),
        findings=count(found),
        reason=clean(check.reason, TEXT_LENGTH),
        status_class=check.status if check.status in words.STATUSES else "crashed",
        took=round(check.seconds, 6),
        details=pairs(check.details),
    )
