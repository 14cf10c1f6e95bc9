"""The HTML report of a run and the index of nights: one self-contained file each, the same bytes for the same input."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from skewguard.errors import ConfigurationError
from skewguard.files import write_atomically
from skewguard.findings import Run
from skewguard.history import History, Night, dump_nights
from skewguard.incidents import Incident
from skewguard.report import svg, words
from skewguard.report.detail import LEVELS, LIMIT, Detail
from skewguard.report.embedded import embedded_nights, embedded_run
from skewguard.report.figures import TEXT_LENGTH, clean, count, name_of, plural, when
from skewguard.report.model import build_page, nights_before, summary, verdict_counts
from skewguard.report.panels import STRIP
from skewguard.report.rows import Told
from skewguard.run_json import dump_run

if TYPE_CHECKING:
    from skewguard.state import State

MOST_OPEN = 3
"""Open incidents of a service in the index page, the oldest ones."""
LISTED = 100
"""Runs in the index page."""


def render_html(run: Run, *, history: Sequence[Night] = (), now: datetime | None = None) -> str:
    """The report as one HTML document that loads nothing.

    Args:
        run: The run to show.
        history: Nights, oldest first (``History.trend``). Those that ended after the run, and itself, are left out.
        now: When the page is drawn (UTC). Shown, and used to say that a newer run is missing; without it the page
            tells no age, and equal input gives equal bytes on any day.

    Returns:
        HTML of at most 150 KiB (``report.detail``) with the JSON that it was drawn from in
        ``<script type="application/json" id="run">`` and ``id="history"`` (``report.embedded``): what the page shows of
        the run and the nights. ``run.json`` and ``history.json`` beside it are whole.

    Raises:
        BadInputError: the run holds a value that JSON cannot carry.
    """
    text = ""
    for detail in LEVELS:
        text = _render(run, history, now, detail)
        if len(text.encode()) < LIMIT:
            break
    return text


def _render(run: Run, history: Sequence[Night], now: datetime | None, detail: Detail) -> str:
    script = _script()
    told = Told.of(run, nights_before(run, history), detail)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            page=build_page(run, history, now, detail),
            run_json=_for_script(dump_run(embedded_run(told))),
            history_json=_for_script(dump_nights(embedded_nights(told))),
            script=Markup(script),  # noqa: S704  (our own file, beside the template)
            script_hash=_hash(script),
        )
    )


def write_report(
    run: Run, directory: str | Path, history: Sequence[Night] = (), *, now: datetime | None = None
) -> Path:
    """Write ``report.html``, ``run.json`` and ``history.json`` into a directory, which is made where it is missing.

    Each file appears whole or not at all, the page last. Returns the path of the page.

    Raises:
        ConfigurationError: the directory cannot be made or written.
        BadInputError: the run holds a value that JSON cannot carry; then nothing is written.
    """
    folder = Path(directory)
    files = {
        "run.json": dump_run(run) + "\n",
        "history.json": dump_nights(nights_before(run, history)) + "\n",
        "report.html": render_html(run, history=history, now=now),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_atomically(folder / name, text)
    except OSError as error:
        raise _unwritable("report directory", folder, error) from error
    return folder / "report.html"


def render_index(
    runs: Sequence[Run],
    nights: Mapping[str, Sequence[Night]] | None = None,
    incidents: Sequence[Incident] = (),
    data_docs: str | None = None,
) -> str:
    """An index page: each service's last nights and open incidents, then the runs in the order given (newest first).

    Args:
        runs: The runs to list, with links to ``runs/<id>/report.html``.
        nights: By service, its last nights, oldest first.
        incidents: The open incidents of all services, the oldest first.
        data_docs: Link to Great Expectations' pages, where there are some.
    """
    rows = []
    seen: set[str] = set()
    for run in runs:
        worst = next((item for item in run.findings if item.action != "ignore"), None)
        rows.append(
            {
                "href": f"runs/{quote(run.run_id, safe='')}/report.html",
                "run_id": clean(run.run_id),
                "service": clean(run.service),
                "as_of": when(run.as_of),
                "verdict": run.verdict.value,
                "word": words.VERDICTS[run.verdict].word,
                "summary": summary(run),
                "worst": "" if worst is None else _worst(worst.cause.value, worst.view, worst.feature),
                "anchor": "" if run.service in seen else f"s-{_anchor(run.service)}",
            }
        )
        seen.add(run.service)
    counts = [
        (verdict.value, words.VERDICTS[verdict].word, count(found)) for verdict, found in verdict_counts(runs).items()
    ]
    title = plural(len(runs), "run")
    services = [_service_row(name, found, incidents) for name, found in sorted((nights or {}).items()) if found]
    page = _environment().get_template("index.html.j2")
    return page.render(rows=rows, counts=counts, title=title, services=services, data_docs=data_docs)


def _anchor(service: str) -> str:
    return hashlib.sha256(service.encode()).hexdigest()[:12]


def _service_row(service: str, nights: Sequence[Night], incidents: Sequence[Incident]) -> dict[str, Any]:
    """A service in a line: its verdict now, the strip of its nights, what is open and since when."""
    own = [incident for incident in incidents if incident.service == service]
    oldest = f"{plural(len(own), 'open incident')}, the oldest since {when(own[0].opened)}" if own else "nothing open"
    last = nights[-1]
    return {
        "service": clean(service),
        "anchor": f"s-{_anchor(service)}",
        "verdict": last.verdict.value,
        "word": words.VERDICTS[last.verdict].word,
        "as_of": when(last.as_of),
        "strip": svg.verdict_strip([(night.as_of.date().isoformat(), night.verdict) for night in nights], STRIP),
        "open": oldest,
        "href": f"runs/{quote(last.run_id, safe='')}/report.html",
        "messages": [clean(incident.message, TEXT_LENGTH) for incident in own[:MOST_OPEN]],
    }


def write_index(state: State) -> Path:
    """Write ``index.html`` beside the ``runs`` of a repository's state: the latest 100 runs, newest first.

    Returns the path of the page.

    Raises:
        StoreUnavailableError: the history is damaged or being written.
        ConfigurationError: the directory cannot be written.
    """
    path = state.root / "index.html"
    history = History(state.history)
    nights = {service: history.trend(service, STRIP) for service in history.services()}
    data_docs = "data_docs/index.html" if (state.data_docs / "index.html").is_file() else None
    text = render_index(history.runs(limit=LISTED), nights, history.incidents(), data_docs)
    try:
        state.root.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        raise _unwritable("index directory", state.root, error) from error
    return path


def _unwritable(what: str, folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{what} {folder}: cannot be written ({error.strerror}); expected a directory that this user may write to."
    )


def _worst(cause: str, view: str | None, feature: str | None) -> str:
    return f"{words.words_for(cause).short}: {name_of(view, feature)}"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("skewguard.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


@cache
def _script() -> str:
    """The table sorter, the only script of the page; the policy of the page allows its hash and nothing else."""
    return (Path(__file__).parent / "templates" / "sort.js").read_text(encoding="utf-8")


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _for_script(text: str) -> Markup:
    """JSON that may stand inside a script element: nothing in it can end the element or begin a comment."""
    for char in "<>&\u2028\u2029":
        text = text.replace(char, json.dumps(char)[1:-1] if ord(char) > 127 else f"\\u{ord(char):04x}")
    return Markup(text)  # noqa: S704  (escaped for this very place)
