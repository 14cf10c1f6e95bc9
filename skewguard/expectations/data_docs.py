"""Great Expectations' Data Docs of the last nights, for those who want them: ``.skewguard/data_docs``.

The pages are GX's own, rendered from its result objects without a Data Context (which would replace that of whoever
uses GX in the process), and made plain: see ``plain_page``. Our own report stays the front page, with a link to these.
"""

from __future__ import annotations

import copy
import html
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from skewguard.contract import iso
from skewguard.expectations import great_expectations_import
from skewguard.expectations.plain_page import page_of, plain_page
from skewguard.files import file_name, write_atomically

NIGHTS = 30
_NOTE = (
    "Great Expectations' own page of this run, without its scripts, fonts, logo and charts, which it would load from "
    "other hosts. The skewguard report says more."
)


@dataclass(frozen=True)
class DataDocs:
    """A site in ``folder``: ``index.html``, and of each validation ``<night>/<service>.html``, its figures as JSON."""

    folder: Path

    @property
    def index(self) -> Path:
        """The front page of the site."""
        return self.folder / "index.html"

    def add(self, night: str, service: str, as_of: datetime, result: Any) -> Path:
        """Write the page of a GX ExpectationSuiteValidationResult, and the index; all but the last nights are removed.

        ``night`` is a name that sorts by time. A page of the same night and service is replaced. Returns the page.
        """
        folder = self.folder / file_name(night)
        title = f"{service}, {as_of:%Y-%m-%d %H:%M} UTC"
        page = plain_page(_rendered(result, night, as_of), title, _NOTE, "../index.html")
        counts = dict(result.statistics)
        figures = {"service": service, "as_of": iso(as_of), "success": bool(result.success), **counts}
        write_atomically(folder / f"{file_name(service)}.html", page)
        write_atomically(
            folder / f"{file_name(service)}.json", json.dumps(figures, indent=2, ensure_ascii=False) + "\n"
        )
        for old in self._nights()[NIGHTS:]:
            shutil.rmtree(old)
        write_atomically(self.index, self._listed())
        return folder / f"{file_name(service)}.html"

    def _nights(self) -> list[Path]:
        """The folders of the nights, the latest first."""
        return sorted((p for p in self.folder.iterdir() if p.is_dir()), reverse=True)

    def _listed(self) -> str:
        rows = []
        for night in self._nights():
            for file in sorted(night.glob("*.json")):
                found = json.loads(file.read_text(encoding="utf-8"))
                href = f"{quote(night.name)}/{quote(file.stem)}.html"
                bad = found["unsuccessful_expectations"]
                told = "all hold" if not bad else f"{bad} of {found['evaluated_expectations']} do not hold"
                colour = "danger" if bad else "success"
                rows.append(
                    f"<tr><td>{html.escape(found['as_of'])}</td><td>{html.escape(found['service'])}</td>"
                    f'<td class="text-{colour}">{told}</td><td><a href="{href}">page</a></td></tr>'
                )
        head = "<tr><th>As of</th><th>Feature service</th><th>Expectations</th><th>Data Docs</th></tr>"
        note = f'<p class="from"><a href="../index.html">skewguard\'s own reports</a>. {html.escape(_NOTE)}</p>'
        return page_of("Data Docs", f"{note}<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>")


def _rendered(result: Any, night: str, as_of: datetime) -> str:
    """GX's own HTML page of a result."""
    great_expectations_import.load()
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    shown = copy.deepcopy(result)
    shown.meta = {"run_id": {"run_name": night, "run_time": iso(as_of)}, "batch_id": night, **result.meta}
    for one in shown.results:
        _mend(one)
    page: str = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(shown))
    return page


def _mend(one: Any) -> None:
    """What GX's renderer trips over: values that it does not escape, a share or a traceback that is not there."""
    found, trouble = one.result, one.exception_info
    for name in ("partial_unexpected_list", "unexpected_list", "partial_unexpected_counts"):
        if found.get(name):
            found[name] = _escaped(found[name])
    if "unexpected_percent" not in found:
        for name in ("unexpected_count", "partial_unexpected_list"):
            found.pop(name, None)
    if trouble and trouble.get("raised_exception") and trouble.get("exception_traceback") is None:
        trouble["exception_traceback"] = ""


def _escaped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_escaped, value))
    return html.escape(value) if isinstance(value, str) else value
