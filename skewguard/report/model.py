"""From a run to what a page or a table shows: texts and charts, no markup of the page and no new figures.

Everything here is computed from the run and the nights before it, which is what ``run.json`` and ``history.json`` hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from markupsafe import Markup

from skewguard.findings import DRIFTS, Finding, Run, Verdict
from skewguard.history import Night, night_of
from skewguard.report import svg, words
from skewguard.report.detail import Detail
from skewguard.report.drift import DriftSection, build_drift
from skewguard.report.figures import TEXT_LENGTH, clean, count, name_of, plural, seconds, span, when, when_text
from skewguard.report.panels import STRIP, FeatureRow, Panel, build_others, build_panels, count_others
from skewguard.report.rows import CheckRow, FindingRow, Told, check_row, code_parts, finding_row, pairs

SHOWN_REASONS = 5
"""Reasons of the verdict at the top of the page; more of them are findings and checks, which follow."""
SHOWN_CARDS = 3
"""Findings told in full at the top of the page; all are in the table."""
REPAIRABLE = "Mend the online store from offline; the plan is shown before anything is written."
BEHIND = "Bring the online store up to date."
MOVED = "See since when it moves; then whether the world changed (train again on new data) or a pipeline did (mend it)."
UNDECIDED = "Remove what kept these checks from an answer; the reasons stand beside them below."
STALE = timedelta(hours=36)
"""A report drawn this long after its run says so: a nightly run is missing."""


Parts = tuple[tuple[str, bool], ...]
"""A text in parts: (part, whether it is code)."""


@dataclass(frozen=True)
class Step:
    """One thing to do: in words, the command to paste (or empty), what it mends, and notes (advice, for what)."""

    text: Parts
    command: str
    fixes: str
    notes: tuple[tuple[Parts, str], ...] = ()


@dataclass(frozen=True)
class Page:
    """Everything that the report's template prints."""

    verdict: str
    verdict_word: str
    headline: str
    consequence: str
    summary: str
    icon: Markup
    strip: Markup
    nights: str
    changed: str
    service: str
    run_id: str
    as_of: str
    finished: str
    took: str
    drawn: str
    stale: str
    overrides: tuple[str, ...]
    reasons: tuple[str, ...]
    more_reasons: int
    cards: tuple[FindingRow, ...]
    more_cards: int
    steps: tuple[Step, ...]
    checks: tuple[CheckRow, ...]
    findings: tuple[FindingRow, ...]
    more_findings: int
    panels: tuple[Panel, ...]
    others: tuple[FeatureRow, ...]
    more_others: int
    drift: DriftSection | None
    not_checked: tuple[tuple[str, str], ...]
    provenance: tuple[tuple[str, str], ...]


def build_page(run: Run, history: Sequence[Night], now: datetime | None, detail: Detail) -> Page:
    """The page of a run. ``history`` are nights, oldest first; of them only those before the run are shown."""
    earlier = nights_before(run, history)
    nights = [*earlier, night_of(run)][-STRIP:]
    told = Told.of(run, earlier, detail)
    rows = tuple(finding_row(index, item, told) for index, item in enumerate(run.findings, start=1))
    cards = tuple(row for row in rows if row.action != "ignore")
    others = build_others(told)
    verdict = words.VERDICTS[run.verdict]
    return Page(
        verdict=run.verdict.value,
        verdict_word=verdict.word,
        headline=_headline(run).format(service=clean(run.service)),
        consequence=verdict.consequence,
        summary=summary(run),
        icon=svg.verdict_icon(run.verdict),
        strip=svg.verdict_strip([(night.as_of.date().isoformat(), night.verdict) for night in nights], STRIP),
        nights=_nights(nights),
        changed=_changed(run, earlier),
        service=clean(run.service),
        run_id=clean(run.run_id),
        as_of=when(run.as_of),
        finished=when(run.finished_at),
        took=seconds((run.finished_at - run.started_at).total_seconds()),
        drawn="" if now is None else when(now),
        stale=_stale(run, now),
        overrides=tuple(override_lines(run)),
        reasons=tuple(clean(reason, TEXT_LENGTH) for reason in run.reasons[:SHOWN_REASONS]),
        more_reasons=max(len(run.reasons) - SHOWN_REASONS, 0),
        cards=cards[:SHOWN_CARDS],
        more_cards=max(len(cards) - SHOWN_CARDS, 0),
        steps=_steps(run),
        checks=tuple(
            check_row(check, len([item for item in run.findings if item.check == check.check])) for check in run.checks
        ),
        findings=rows[: detail.lines],
        more_findings=len(rows[detail.lines :]),
        panels=build_panels(told, rows, nights),
        others=others,
        more_others=count_others(told) - len(others),
        drift=build_drift(told, nights),
        not_checked=tuple(not_checked(run)),
        provenance=pairs({name: value for name, value in run.provenance.items() if name != "overrides"}),
    )


def override_lines(run: Run) -> Iterator[str]:
    """The overrides that were in force at the run, or since the one before it: which gates, by whom, how long, why."""
    for one in run.provenance.get("overrides", ()):
        gates = "serving and training" if one["gate"] == "both" else one["gate"]
        ended = f", ended by {clean(one['ended_by'])}" if one.get("ended_by") else ""
        times = f"from {when_text(one['set_at'])} to {when_text(one['until'])}{ended}"
        yield f"Overridden for {gates} by {clean(one['by'])}, {times}: {clean(one['reason'], TEXT_LENGTH)}"


def _headline(run: Run) -> str:
    """The verdict in words: of a warning, whether values are wrong, or other than they were, or just too few."""
    causes = {item.cause for item in run.findings if item.action != "ignore"}
    if run.verdict is Verdict.WARN and causes <= DRIFTS:
        return words.DRIFTED if causes else words.UNSURE
    return words.VERDICTS[run.verdict].headline


def nights_before(run: Run, history: Sequence[Night]) -> list[Night]:
    """The nights that ended before the run did, without the run itself; as many as the strip shows beside it."""
    before = [night for night in history if night.run_id != run.run_id and night.finished_at <= run.finished_at]
    return before[-(STRIP - 1) :]


def summary(run: Run) -> str:
    """One line: how many findings, what policy makes of them, and how many rows were compared."""
    acted = [item for item in run.findings if item.action != "ignore"]
    undecided = [check for check in run.checks if check.status != "ok"]
    parts = []
    if acted:
        blocking = sum(item.action == "block" for item in acted)
        told = "" if not blocking else ", blocking" if len(acted) == 1 else f", {count(blocking)} of them blocking"
        parts.append(plural(len(acted), "finding") + told.replace(f"{count(len(acted))} of them", "all"))
    elif not undecided:
        parts.append("no findings")
    if undecided:
        parts.append(f"{plural(len(undecided), 'check')} of {count(len(run.checks))} undecided")
    if ignored := len(run.findings) - len(acted):
        parts.append(f"{count(ignored)} ignored")
    compared = max((check.compared for check in run.checks), default=0)
    parts.append(f"{plural(compared, 'row')} compared")
    return "; ".join(parts)


def not_checked(run: Run) -> Iterable[tuple[str, str]]:
    """What the run did not check, and why: (what, why).

    From checks that did not run to the end or had nothing to look at, rows that could not be compared, and what a check
    leaves under ``not_checked`` in its ``details`` and a run in its ``provenance``: a mapping (what -> why) or a list
    of texts.
    """
    for check in run.checks:
        name = clean(check.check)
        if check.status != "ok":
            yield f"the check {name}", clean(check.reason or f"it is {check.status}, without a reason", TEXT_LENGTH)
        elif not check.population and check.reason:
            yield f"nothing in the check {name}", clean(check.reason, TEXT_LENGTH)
        elif check.compared < check.population:
            missing = check.population - check.compared
            told = f"{count(missing)} of {count(check.population)} rows in {name}"
            yield told, clean(check.reason or "they could not be compared", TEXT_LENGTH)
        yield from _declared(check.details)
    yield from _declared(run.provenance)


def _declared(source: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    declared = source.get("not_checked")
    if isinstance(declared, Mapping):
        for what, why in sorted(declared.items(), key=lambda pair: str(pair[0])):
            yield clean(what, 120), clean(why, TEXT_LENGTH)
    elif isinstance(declared, list | tuple):
        for what in declared:
            yield clean(what, TEXT_LENGTH), ""


def _changed(run: Run, earlier: Sequence[Night]) -> str:
    """What is new, higher or gone since the run before, by name; empty without one."""
    if not earlier:
        return ""
    last = earlier[-1]
    ours = {item.key: item for item in run.findings}
    absent = [key for key in last.rates if key not in ours]
    gone = [key for key in absent if _decided(run, key)]
    unseen = [key for key in absent if key not in gone]
    new = [key for key in ours if key not in last.rates]
    higher = [key for key, item in ours.items() if key in last.rates and item.ci_low > last.rates[key]]
    parts = [_counted(keys, word) for keys, word in ((new, "new"), (higher, "higher"), (gone, "gone"))]
    parts.append(_counted(unseen, "not looked at again"))
    told = "; ".join(part for part in parts if part)
    before = f"Since the run before ({when(last.as_of)}, {last.verdict.value})"
    return f"{before}: {told}." if told else f"{before}: no finding is new, none is gone."


def _decided(run: Run, key: str) -> bool:
    """Did the check of a finding's key come to an answer about its feature?"""
    check, _, view, feature = key.split("/", 3) if key.count("/") >= 3 else (key, "", "", "")
    return any(one.decides(view or None, feature or None) for one in run.checks if one.check == check)


def _counted(keys: Sequence[str], word: str) -> str:
    """``2 new (view.feature: cause, ...)``; empty without any."""
    if not keys:
        return ""
    names = []
    for key in keys:
        _, cause, view, feature = key.split("/", 3) if key.count("/") >= 3 else ("", key, "", "")
        names.append(f"{name_of(view or None, feature or None)}: {words.words_for(cause).short}")
    return f"{count(len(keys))} {word} ({_listing(names, 3)})"


def _nights(nights: Sequence[Night]) -> str:
    first, last = (night.as_of.date().isoformat() for night in (nights[0], nights[-1]))
    return f"Last {plural(len(nights), 'run')}, {first} to {last}" if len(nights) > 1 else "No earlier run is known"


def _stale(run: Run, now: datetime | None) -> str:
    if now is None or now - run.finished_at < STALE:
        return ""
    return f"This run ended {span(now - run.finished_at)} before the page was drawn: a newer run is missing."


def _steps(run: Run) -> tuple[Step, ...]:
    """What to do, each command once, in the order of the findings that need it; last, how to see that it helped."""
    commands: dict[str, list[Finding]] = {}
    others: dict[str, list[Finding]] = {}
    for item in run.findings:
        if item.action != "ignore":
            # the trend of the furthest feature; of others it is asked for in the same way
            known = next((key for key, found in commands.items() if item.cause is found[0].cause in DRIFTS), None)
            command = known or words.command_for(item, run)
            by, key = (commands, command) if command else (others, _advice(item))
            by.setdefault(key, []).append(item)
    told = [_step(command, found) for command, found in commands.items()]
    told += [Step(tuple(code_parts(text)), "", _names(found)) for text, found in others.items()]
    undecided = [check.check for check in run.checks if check.status != "ok"]
    if undecided:
        told.insert(
            0 if run.verdict is Verdict.INCONCLUSIVE else len(told),
            Step(((UNDECIDED, False),), "", _listing(undecided)),
        )
    if told:
        told.append(Step((("Check again.", False),), words.fill(words.CHECK, run), ""))
    return tuple(told)


def _step(command: str, found: list[Finding]) -> Step:
    if found[0].cause in DRIFTS:
        return Step(((MOVED, False),), command, _names(found))
    if found[0].repairable or command.startswith("skewguard materialize"):
        text = REPAIRABLE if found[0].repairable else BEHIND
        return Step(((text, False),), command, _names(found), _notes(found))
    return Step(tuple(code_parts(_advice(found[0]))), command, _names(found))


def _advice(item: Finding) -> str:
    return clean(item.advice or words.words_for(item.cause.value).todo, TEXT_LENGTH)


def _notes(found: Sequence[Finding]) -> tuple[tuple[Parts, str], ...]:
    """What is advised for findings that one command mends, each advice once, with what it is for."""
    advice: dict[str, list[Finding]] = {}
    for item in found:
        advice.setdefault(_advice(item), []).append(item)
    return tuple((tuple(code_parts(text)), _names(items)) for text, items in advice.items())


def _names(found: Sequence[Finding]) -> str:
    return _listing(list(dict.fromkeys(name_of(item.view, item.feature) for item in found)))


def _listing(names: Sequence[str], most: int = 4) -> str:
    shown = [clean(name) for name in names[:most]]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")


def verdict_counts(runs: Sequence[Run]) -> dict[Verdict, int]:
    """How many runs ended in each verdict, every verdict named."""
    return {verdict: sum(run.verdict is verdict for run in runs) for verdict in Verdict}
