"""The application, the options that commands share, and how they print."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from skewguard.findings import Run
    from skewguard.guard import SkewGuard

app = typer.Typer(
    name="skewguard",
    help="A feature store with a training-serving skew guard.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Repo = Annotated[Path, typer.Option("--repo", help="Folder of the Feast repository (with feature_store.yaml).")]
AsOf = Annotated[
    str | None, typer.Option("--as-of", help="The moment that counts as now, ISO 8601, UTC. Default: the wall clock.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of text.")]
Service = Annotated[str, typer.Option("--service", help="Feature service.")]
Services = Annotated[
    list[str] | None, typer.Option("--service", help="Feature service; repeat for several. Default: all.")
]
HERE = Path("feature_repo")
VERDICT_EXIT = {"pass": 0, "warn": 0, "block": 1, "inconclusive": 3}


def open_guard(repo: Path, as_of: str | None = None) -> SkewGuard:
    """The repository under guard; a wrong as-of time is refused before any work."""
    from skewguard.guard import SkewGuard
    from skewguard.workspace import utc

    utc(as_of)
    return SkewGuard(repo)


def say(text: str) -> None:
    """Print a text."""
    typer.echo(text)


def say_json(value: Any) -> None:
    """Print JSON, the same text for the same value."""
    from skewguard.run_json import canonical_text

    typer.echo(canonical_text(value))


def show(run: Run, guard: SkewGuard) -> None:
    """Print a run as a table, and where its report is."""
    from skewguard.report.text import render_table

    say(render_table(run, colour=sys.stdout.isatty()))
    say(f"Report: {guard.state.run_directory(run.run_id) / 'report.html'}")


def services_asked(guard: SkewGuard, asked: list[str] | None) -> list[str]:
    """The feature services asked for, or all; an unknown name is refused before any work."""
    from skewguard.errors import ConfigurationError

    services = asked or guard.services()
    if not services:
        raise ConfigurationError(f"{guard.path} has no feature services; define one and apply, then check it.")
    for name in services:
        guard.service(name)
    return services


def worst_exit(verdicts: Sequence[str]) -> int:
    """The exit code of several verdicts: a block goes before what could not be decided."""
    codes = {VERDICT_EXIT[verdict] for verdict in verdicts}
    return 1 if 1 in codes else max(codes)
