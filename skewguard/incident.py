"""The incident write-up of a drill, as Markdown: what happened, how it was seen, since when, what was done.

Every figure is from the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from skewguard.contract import iso
from skewguard.drill import Seen
from skewguard.drilling import DrillReport, Outcome, confusion, matrix_lines
from skewguard.faults import FAULTS
from skewguard.files import write_atomically
from skewguard.findings import Finding
from skewguard.run_json import canonical_text

_SAMPLES = 2


def write_incidents(report: DrillReport, folder: Path) -> list[Path]:
    """One file a drill, and ``index.md`` and ``drills.json`` for all; returns the paths, the index first."""
    paths = []
    for number, outcome in enumerate(report.outcomes, start=1):
        causes = "-".join(seen.injection.cause.value for seen in outcome.proof.seen)
        path = folder / f"{number:03d}-{causes[:100]}.md"
        write_atomically(path, incident(outcome))
        paths.append(path)
    index = folder / "index.md"
    write_atomically(index, _index(report, paths))
    write_atomically(folder / "drills.json", canonical_text(report.to_dict()) + "\n")
    return [index, *paths]


def incident(outcome: Outcome) -> str:
    """The write-up of one drill."""
    proof = outcome.proof
    lines = [f"# Drill: {proof.name.replace(' ', ', ')}", ""]
    lines += [
        f"Feature service `{proof.service}`, in a scratch copy, as of {iso(outcome.as_of)} (watermark "
        f"{iso(outcome.watermark)}); {proof.share:g} of the rows.",
        "",
        f"**{'Seen as what it is, and nothing else' if proof.holds else 'Not proven'}**, in {outcome.seconds:.1f} s.",
        "",
        "## What happened",
        "",
        *(f"- {_what(seen)}" for seen in proof.seen),
        "",
        "## How it was seen",
        "",
    ]
    for seen in proof.seen:
        lines += _seen(seen)
    for finding in proof.others:
        lines += [f"Seen too, though nothing was done there: {finding.message}.", ""]
    lines += ["## Since when", ""]
    for seen in proof.seen:
        lines += [f"- {line}" for line in _since(seen, outcome)]
    lines += ["", "## What was done", "", *_done(outcome), ""]
    return "\n".join(lines)


def _what(seen: Seen) -> str:
    item = seen.injection
    also = f"; the views {', '.join(f'`{v}`' for v in item.also)} share the keys" if item.also else ""
    return f"{item.line()}: {FAULTS[item.cause.value].does}{also}."


def _seen(seen: Seen) -> Iterator[str]:
    finding = seen.found
    if finding is None:
        yield from (f"`{seen.injection.cause.value}` on `{seen.injection.where}` was **not seen**.", "")
        return
    yield f"Check `{finding.check}`, cause `{finding.cause.value}`: {finding.message}."
    yield ""
    yield (
        f"{seen.count:,} more than before the drill; {finding.count:,} of {finding.compared:,} compared, "
        f"{finding.rate:.4%} (95% interval {finding.ci_low:.4%} to {finding.ci_high:.4%})."
    )
    yield ""
    if finding.evidence:
        yield from (
            "```json",
            json.dumps(_plain(finding.evidence), indent=1, ensure_ascii=False, default=str),
            "```",
            "",
        )
    if finding.samples:
        yield from _samples(finding)


def _plain(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """The evidence with its long lists cut."""
    return {k: v[:_SAMPLES] if isinstance(v, list | tuple) else v for k, v in evidence.items()}


def _samples(finding: Finding) -> Iterator[str]:
    columns = ("entity", "feature", "offline", "online", "offline_event_timestamp", "online_event_timestamp")
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for sample in finding.samples[:_SAMPLES]:
        yield "| " + " | ".join(_cell(sample.get(column)) for column in columns) + " |"
    yield ""


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        value = ", ".join(f"{k}={v}" for k, v in value.items())
    text = "" if value is None else str(value)
    return text.replace("|", "\\|").replace("\n", " ").replace("`", "'")


def _since(seen: Seen, outcome: Outcome) -> Iterator[str]:
    finding = seen.found
    cause = seen.injection.cause.value
    if finding is None:
        yield f"`{cause}`: nothing was seen, so nothing tells"
        return
    for side in ("offline", "online"):
        stamps = sorted(str(s[f"{side}_event_timestamp"]) for s in finding.samples if s.get(f"{side}_event_timestamp"))
        if stamps:
            yield f"`{cause}`: {side} rows of the samples are of {stamps[0]} to {stamps[-1]}"
    watermark = finding.evidence.get("watermark", iso(outcome.watermark))
    yield f"`{cause}`: the view's watermark is {watermark}; seen as of {iso(outcome.as_of)}"
    behind = finding.evidence.get("behind_offline_seconds_median")
    if behind:
        yield f"`{cause}`: the online rows are {behind:,.0f} s behind offline (median)"


def _done(outcome: Outcome) -> Iterator[str]:
    mended = outcome.mended
    for line in mended.done:
        yield f"- {line}"
    if mended.done:
        after = "; ".join(mended.left) if mended.left else "the guard found nothing of it any more"
        yield f"- afterwards: {after}"
    advice = {s.found.cause.value: s.found.advice for s in outcome.proof.seen if s.found is not None and s.found.advice}
    for cause, text in advice.items():
        yield f"- {'the advice' if mended.done else 'it is mended elsewhere; the advice'} (`{cause}`): {text}"
    yield "- the scratch copy was put back"


def _index(report: DrillReport, paths: Sequence[Path]) -> str:
    held = sum(outcome.holds for outcome in report.outcomes)
    lines = [
        "# Drills", "", f"As of {iso(report.as_of)}: {held} of {len(report.outcomes)} hold.", "", "```",
        *matrix_lines(confusion(report.outcomes)), "```", "", "| drill | service | share | rows | holds | mended |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for outcome, path in zip(report.outcomes, paths, strict=True):
        proof = outcome.proof
        rows = sum(seen.injection.rows for seen in proof.seen)
        lines.append(
            f"| [{proof.name}]({path.name}) | {proof.service} | {proof.share:g} | {rows:,} | "
            f"{'yes' if outcome.holds else '**no**'} | {outcome.mended.says} |"
        )
    if report.unfit:
        lines += ["", "Not drilled, since the service cannot have it:", ""]
        lines += [f"- {service}, `{cause}`: it needs {why}" for (service, cause), why in sorted(report.unfit.items())]
    lines += ["", *(f"- {note}" for note in report.notes)] if report.notes else []
    return "\n".join(lines) + "\n"
