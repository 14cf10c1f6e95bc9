"""The short table that the command line prints."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from skewguard.findings import CheckResult, Run, Verdict
from skewguard.incidents import Incident
from skewguard.report import words
from skewguard.report.figures import TEXT_LENGTH, clean, count, name_of, percent, plural, when
from skewguard.report.model import override_lines, summary

WIDTH = 100
"""Columns of a terminal that the table fits."""
MOST_ROWS = 20
"""Findings printed; the report has all of them."""

_COLOURS = {Verdict.PASS: "32", Verdict.WARN: "33", Verdict.BLOCK: "31", Verdict.INCONCLUSIVE: "35"}
_ACTION_COLOURS = {"block": "31", "warn": "33"}
_COLUMNS = ("cause", "view.feature", "count/compared", "rate", "action")


def render_table(run: Run, *, colour: bool = False) -> str:
    """Verdict line, the reasons, the findings and the checks that could not decide, as plain text.

    At most 100 columns (wide East Asian characters count as two), ends with a line feed.

    Args:
        run: The run to show.
        colour: Colour verdict and actions with ANSI codes; only for a terminal.
    """
    paint = _paint if colour else _plain
    word = words.VERDICTS[run.verdict].word.upper()
    head = f"{clean(run.service, 40)} as of {when(run.as_of)}"
    lines = [paint(word, _COLOURS[run.verdict]) + "  " + _fit(head, WIDTH - len(word) - 2), "  " + summary(run)]
    lines += [_fit(f"  - {clean(reason, 400)}", WIDTH) for reason in run.reasons]
    lines += [_fit(f"  {line}", WIDTH) for line in override_lines(run)]
    if run.findings:
        lines += ["", *_findings(run, colour)]
    undecided = [check for check in run.checks if check.status != "ok"]
    if undecided:
        lines.append("")
        for check in undecided:
            lines.append(_fit(f"not decided: {clean(check.check)} {check.status}: {clean(check.reason, 400)}", WIDTH))
    if limits := [limit for check in run.checks for limit in _limits(check)]:
        lines += ["", *(_fit(f"not told: {limit}", WIDTH) for limit in limits)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _limits(check: CheckResult) -> list[str]:
    """What parity says that it cannot tell of this online store."""
    told = check.details.get("not_checked") if check.check == "parity" else None
    return [clean(limit, 400) for limit in told] if isinstance(told, list | tuple) else []


def _findings(run: Run, colour: bool) -> list[str]:
    rows = [
        (
            item.cause.value,
            name_of(item.view, item.feature),
            f"{count(item.count)}/{count(item.compared)}",
            percent(item.rate),
            item.action or "-",
        )
        for item in run.findings[:MOST_ROWS]
    ]
    fixed = {index: max(len(_COLUMNS[index]), *(len(row[index]) for row in rows)) for index in (0, 2, 3, 4)}
    room = WIDTH - sum(fixed.values()) - 8
    named = min(max(len(_COLUMNS[1]), *(_width(row[1]) for row in rows)), room)
    widths = [fixed[0], named, fixed[2], fixed[3], fixed[4]]
    lines = [_line(_COLUMNS, widths), _line(tuple("-" * width for width in widths), widths)]
    for row in rows:
        line = _line(row, widths)
        code = _ACTION_COLOURS.get(row[4])
        if colour and code:
            bare = line.rstrip()
            line = bare[: -len(row[4])] + _paint(row[4], code)
        lines.append(line)
    if len(run.findings) > MOST_ROWS:
        lines.append(f"and {plural(len(run.findings) - MOST_ROWS, 'more finding')}, in the report")
    return lines


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    cause, name, counts, rate, action = cells
    return "  ".join(
        (
            cause.ljust(widths[0]),
            _pad(_fit(name, widths[1]), widths[1]),
            counts.rjust(widths[2]),
            rate.rjust(widths[3]),
            action.ljust(widths[4]),
        )
    )


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) == "Cf":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _width(text: str) -> int:
    return sum(_char_width(char) for char in text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _fit(text: str, width: int) -> str:
    """The text cut to so many columns, with an ellipsis where something was cut."""
    if _width(text) <= width:
        return text
    used, kept = 0, ""
    for char in text:
        used += _char_width(char)
        if used > width - 1:
            break
        kept += char
    return kept + "…"


def _paint(text: str, code: str) -> str:
    return f"\x1b[1;{code}m{text}\x1b[0m"


def _plain(text: str, code: str) -> str:  # noqa: ARG001  (same shape as _paint)
    return text


def incident_lines(incidents: Sequence[Incident]) -> Iterator[str]:
    """A line an incident: what policy makes of it, since when, its service and message."""
    for incident in incidents:
        over = "" if incident.closed is None else f", over since {when(incident.closed)}"
        worst = f", at worst {percent(incident.worst_rate)}" if incident.worst_rate else ""
        yield (
            f"{incident.action:<10} since {when(incident.opened)}{over}{worst}  {clean(incident.service)}: "
            f"{clean(incident.message, TEXT_LENGTH)}"
        )
