"""Commands that tell what was found: report, history, incidents, silence, metrics, log."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skewguard.cli.options import (
    HERE,
    VERDICT_EXIT,
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
)

if TYPE_CHECKING:
    pass


@app.command()
def report(
    service: Service,
    repo: Repo = HERE,
    run: Annotated[str | None, typer.Option(help="Run id. Default: the latest.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write the HTML report here.")] = None,
    json: Json = False,
) -> None:
    """Show a stored run, and write its HTML report. Exit code as the run's verdict."""
    from skewguard.errors import UnknownNameError
    from skewguard.files import write_atomically
    from skewguard.history import History
    from skewguard.report.html import render_html
    from skewguard.run_json import run_to_dict

    guard = open_guard(repo)
    guard.service(service)
    history = History(guard.state.history)
    found = history.run(run) if run is not None else history.last_run(service)
    if found is None or found.service != service:
        raise UnknownNameError(f"run of {service!r}", run or "latest", [r.run_id for r in history.runs(service)])
    if output is not None:
        write_atomically(output, render_html(found, history=history.trend(service)))
    if json:
        say_json(run_to_dict(found))
    else:
        show(found, guard)
        if output is not None:
            say(f"Written: {output}")
    raise typer.Exit(VERDICT_EXIT[found.verdict.value])


@app.command()
def history(
    service: Service,
    repo: Repo = HERE,
    limit: int = 14,
    feature: Annotated[str | None, typer.Option(help="view:feature: how it differed and drifted, run by run.")] = None,
    json: Json = False,
) -> None:
    """List the latest runs of a feature service, or how one feature came through them."""
    from skewguard.contract import iso
    from skewguard.feature_trend import feature_trend
    from skewguard.history import History

    guard = open_guard(repo)
    guard.service(service)
    runs = History(guard.state.history).runs(service, limit=limit)
    if feature is not None:
        points = feature_trend(guard.service(service), feature, runs)
        say_json([asdict(point) for point in points]) if json else say("\n".join(point.line() for point in points))
        return
    if json:
        say_json(
            [
                {"run_id": r.run_id, "as_of": iso(r.as_of), "verdict": r.verdict.value, "findings": len(r.findings)}
                for r in runs
            ]
        )
        return
    for r in runs:
        say(f"{r.run_id}  as of {r.as_of:%Y-%m-%d %H:%M}  {r.verdict.value:<12}  {len(r.findings)} findings")


@app.command()
def incidents(
    service: Services = None,
    repo: Repo = HERE,
    closed: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    json: Json = False,
) -> None:
    """List what is wrong and since when: open incidents, of all feature services or some."""
    from skewguard.history import History
    from skewguard.incidents import Incident
    from skewguard.report.text import incident_lines
    from skewguard.run_json import encode

    guard = open_guard(repo)
    wanted = services_asked(guard, service)
    found = [i for i in History(guard.state.history).incidents(closed=closed) if i.service in wanted]
    if json:
        say_json([encode(incident, Incident, "incident") for incident in found])
        return
    say("\n".join(incident_lines(found)) if found else "No open incident.")


@app.command()
def silence(
    service: Annotated[str, typer.Argument(help="Feature service, or a pattern such as '*'.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")],
    how_long: Annotated[str, typer.Option("--for", help="For how long, such as 12h or 3d.")] = "1d",
    cause: Annotated[str, typer.Option(help="Cause, or a pattern.")] = "*",
    feature: Annotated[str, typer.Option(help="Feature or view:feature, or a pattern.")] = "*",
    repo: Repo = HERE,
) -> None:
    """Keep incidents from being told for a while. They are checked and kept all the same.

    One that is still open when the silence ends is told then.
    """
    import getpass

    from skewguard.alerts.silences import SetSilence, add_silence
    from skewguard.config import parse_duration
    from skewguard.errors import BadInputError
    from skewguard.history import History

    guard = open_guard(repo)
    try:
        span = parse_duration(how_long)
    except ValueError as error:
        raise BadInputError("--for", repr(how_long), "a duration such as 12h or 3d") from error
    if span is None:
        raise BadInputError("--for", repr(how_long), "a duration such as 12h or 3d")
    now = guard.clock()
    found = SetSilence(service, cause, feature, now, now + span, reason, getpass.getuser())
    add_silence(History(guard.state.history).file, found)
    say(f"Silent until {found.until:%Y-%m-%dT%H:%M:%SZ}: service {service}, cause {cause}, feature {feature}")


@app.command()
def metrics(
    repo: Repo = HERE,
    output: Annotated[
        Path | None, typer.Option(help="Write them here, for node_exporter's textfile collector.")
    ] = None,
) -> None:
    """Print the metrics of the latest runs in Prometheus' text format. A running server tells them at /metrics."""
    from skewguard.files import write_atomically
    from skewguard.run_metrics import render_run_metrics
    from skewguard.state import State

    text = render_run_metrics(State(repo).metrics)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_atomically(output, text)


@app.command()
def log(
    service: Services = None,
    repo: Repo = HERE,
    since: Annotated[
        str | None, typer.Option(help="From this time on (ISO 8601, UTC). Default: a day before --until.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Up to this time (ISO 8601, UTC). Default: now.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the rows of the one --service into this Parquet file.")
    ] = None,
    json: Json = False,
) -> None:
    """Tell how many rows the server logged and dropped; write them to a file."""
    from skewguard.contract import iso
    from skewguard.errors import BadInputError

    guard = open_guard(repo)
    if output is not None and (service is None or len(service) != 1):
        raise BadInputError("--service", f"{len(service or [])} of them", "one, beside --output")
    spans = [guard.served_span(name, since=since, until=until) for name in service or guard.services()]
    if output is not None:
        written = spans[0].to_parquet(output)
        say_json({"output": str(output), "rows": written}) if json else say(f"{output}: {written:,} rows")
        return
    if json:
        say_json(
            [
                {"service": s.service, "since": iso(s.start), "until": iso(s.end), "stored": s.stored,
                 "dropped": s.dropped, "whole": s.whole, "segments": [str(path) for path in s.segments]}
                for s in spans
            ]
        )  # fmt: skip
        return
    for s in spans:
        torn = "" if s.whole else "; a journal was cut off by a crash"
        say(f"{s.service}: {s.stored:,} rows stored, {s.dropped:,} dropped{torn}")
