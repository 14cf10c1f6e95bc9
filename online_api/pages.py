"""Reports as pages: the list of runs, and each run's self-contained HTML file, under a policy that loads nothing."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from online_api.state import ApiState
from skewguard.errors import UnknownNameError

RUN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}")
"""What a run id looks like; nothing else is ever joined to a path."""

LISTED = 500
"""Most runs on the index page."""

_SCRIPT_HASH = re.compile(rb"script-src '(sha256-[A-Za-z0-9+/=]{44})'")

router = APIRouter()


@router.get("/reports", response_class=HTMLResponse)
async def list_reports(request: Request) -> Response:
    """The runs that have a report, newest first."""
    state: ApiState = request.app.state.api
    page = await asyncio.to_thread(_index_page, state.settings.state / "runs")
    return _page(page.encode())


@router.get("/reports/{run_id}", response_class=HTMLResponse)
async def show_report(run_id: str, request: Request) -> Response:
    """The report of one run; raises UnknownNameError (404)."""
    state: ApiState = request.app.state.api
    runs = state.settings.state / "runs"
    content = await asyncio.to_thread(_read_report, runs, run_id)
    if content is None:
        raise UnknownNameError("report", run_id, await asyncio.to_thread(_run_ids, runs))
    return _page(content)


def has_report(runs: Path, run_id: str) -> bool:
    """Is there a page for this run?"""
    return _report_path(runs, run_id) is not None


def _page(content: bytes) -> Response:
    # the report's one script is allowed by the hash that the report itself declares; nothing else runs or loads
    declared = _SCRIPT_HASH.search(content[:4096])
    script = f"'{declared.group(1).decode()}'" if declared else "'none'"
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {script}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    return HTMLResponse(content, headers=headers)


def _report_path(runs: Path, run_id: str) -> Path | None:
    if not RUN_ID.fullmatch(run_id):
        return None
    path = (runs / run_id / "report.html").resolve()  # a link that leads out of the folder is no report
    return path if path.is_relative_to(runs.resolve()) and path.is_file() else None


def _read_report(runs: Path, run_id: str) -> bytes | None:
    path = _report_path(runs, run_id)
    return None if path is None else path.read_bytes()


def _run_ids(runs: Path) -> list[str]:
    if not runs.is_dir():
        return []
    found = [(path.stat().st_mtime_ns, path.name) for path in runs.iterdir() if has_report(runs, path.name)]
    return [name for _, name in sorted(found, reverse=True)]


def _index_page(runs: Path) -> str:
    rows = "".join(_index_row(runs, run_id) for run_id in _run_ids(runs)[:LISTED])
    table = f"<table><tr><th>Run</th><th>Feature service</th><th>Verdict</th><th>As of</th></tr>{rows}</table>"
    body = table if rows else "<p>No reports yet: <code>skewguard check</code> writes one.</p>"
    style = (
        "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
        "td,th{text-align:left;padding:.25rem 1rem .25rem 0}"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>skewguard reports</title>'
        f"<style>{style}</style></head><body><h1>Reports</h1>{body}</body></html>"
    )


def _index_row(runs: Path, run_id: str) -> str:
    run = _run_head(runs / run_id / "run.json")
    cells = "".join(f"<td>{html.escape(str(run.get(name, '')))}</td>" for name in ("service", "verdict", "as_of"))
    return f'<tr><td><a href="/reports/{quote(run_id)}">{html.escape(run_id)}</a></td>{cells}</tr>'


def _run_head(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}  # the page of the run is there all the same
    return data if isinstance(data, dict) else {}
