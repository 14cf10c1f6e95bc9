"""Commands that check: check, preflight, nightly, drift."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skewguard.cli.options import (
    HERE,
    VERDICT_EXIT,
    AsOf,
    Json,
    Repo,
    Service,
    Services,
    app,
    open_guard,
    say,
    say_json,
    services_asked,
    show,
    worst_exit,
)

if TYPE_CHECKING:
    from skewguard.guard import SkewGuard


@app.command()
def check(service: Services = None, repo: Repo = HERE, as_of: AsOf = None, json: Json = False) -> None:
    """Run every check of feature services, from preflight to expectations. Exit 0, 1 (block) or 3 (inconclusive)."""
    guard = open_guard(repo, as_of)
    raise typer.Exit(_check_all(guard, service or guard.services(), as_of, json))


@app.command()
def preflight(service: Services = None, repo: Repo = HERE, as_of: AsOf = None, json: Json = False) -> None:
    """See in seconds, without the online store, what will go wrong: schemas, names, TTLs, ties, unapplied changes.

    Exit 0, 1 (block) or 3 (a source cannot be read).
    """
    from skewguard.preflighting import told
    from skewguard.run_json import run_to_dict

    guard = open_guard(repo, as_of)
    runs = [guard.preflight(name, as_of=as_of) for name in services_asked(guard, service)]
    if json:
        say_json([run_to_dict(run) for run in runs])
    else:
        say("\n".join(line for run in runs for line in told(run)))
    raise typer.Exit(worst_exit([run.verdict.value for run in runs]))


@app.command()
def nightly(
    repo: Repo = HERE,
    as_of: AsOf = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin again, where a night was cut off.")] = False,
    data_docs: Annotated[
        bool,
        typer.Option("--data-docs", help="Also write Great Expectations' pages of the suites, the last 30 nights."),
    ] = False,
    json: Json = False,
) -> None:
    """Check every feature service under one lock, so that two nights never overlap. For cron and the like.

    A night that was cut off goes on with the services that it had not finished. Exit code: the worst of all services.
    """
    from skewguard.nightly import Night, only_one
    from skewguard.progress import progress
    from skewguard.report.html import write_index
    from skewguard.workspace import utc

    _end_on_sigterm()
    guard = open_guard(repo, as_of)
    with only_one(guard.state.root):
        moment = None if as_of is None else utc(as_of)
        night = Night(guard, services_asked(guard, None), moment, data_docs)
        result = night.run(progress, fresh=fresh, tell=None if json else lambda run: show(run, guard))
        write_index(guard.state)
    if json:
        say_json(result.to_dict())
    else:
        say("\n".join(result.lines()))
    raise typer.Exit(worst_exit([service.verdict.value for service in result.services]))


def _end_on_sigterm() -> None:
    """Let SIGTERM end a night as Ctrl-C does: locks and stores are given back, and the night can go on."""
    import signal

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)


def _check_all(guard: SkewGuard, services: list[str], as_of: str | None, json: bool) -> int:
    from skewguard.progress import progress
    from skewguard.report.html import write_index
    from skewguard.run_json import run_to_dict

    services = services_asked(guard, services)
    runs = []
    for name in services:
        with progress(f"check {name}") as report:
            runs.append(guard.check(name, as_of=as_of, progress=report))
        if not json:
            show(runs[-1], guard)
    write_index(guard.state)
    if json:
        say_json([run_to_dict(run) for run in runs])
    return worst_exit([run.verdict.value for run in runs])


@app.command()
def drift(
    rows: Annotated[Path, typer.Argument(help="Parquet or CSV: feature vectors, perhaps join keys and a timestamp.")],
    service: Service,
    reference: Annotated[
        Path | None, typer.Option(help="Compare with these vectors. Default: the contract's training set.")
    ] = None,
    repo: Repo = HERE,
    full_feature_names: Annotated[bool, typer.Option("--full-feature-names")] = False,
    json: Json = False,
) -> None:
    """Compare the distributions of feature vectors with the training set's, within the budget of false alarms.

    Exit 0, 1 (policy blocks on drift) or 3 (policy: too_little: block). Nothing is stored.
    """
    from skewguard.drift_command import outcome, told

    guard = open_guard(repo)
    result = guard.drift(rows, service, reference=reference, full_feature_names=full_feature_names)
    data, verdict = outcome(result, guard.policy_for(service))
    say_json(data) if json else say("\n".join(told(result)))
    raise typer.Exit(VERDICT_EXIT[verdict])
