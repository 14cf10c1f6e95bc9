"""The command line: each verb is a method of the library; exit codes are a contract.

0 pass (or warn), 1 the guard blocked, 2 wrong use or configuration, 3 could not decide (a store is down, too little
data). Imports of the library stay inside the commands, so that ``skewguard --help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from skewguard.findings import Run
    from skewguard.guard import SkewGuard
    from skewguard.materialize import Materialized

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


def _guard(repo: Path, as_of: str | None = None) -> SkewGuard:
    from skewguard.guard import SkewGuard
    from skewguard.workspace import utc

    utc(as_of)  # refuse a wrong time before any work
    return SkewGuard(repo)


def _print(text: str) -> None:
    typer.echo(text)


def _json(value: Any) -> None:
    from skewguard.run_json import canonical_text

    typer.echo(canonical_text(value))


def _show(run: Run, guard: SkewGuard) -> None:
    from skewguard.report.text import render_table

    _print(render_table(run, colour=sys.stdout.isatty()))
    _print(f"Report: {guard.state.run_directory(run.run_id) / 'report.html'}")


@app.command()
def demo(
    repo: Repo = HERE,
    workdir: Annotated[Path, typer.Option(help="Scratch folder; its content is replaced.")] = Path("demo-run"),
    keep: Annotated[bool, typer.Option("--keep", help="Leave Redis and the server running until Ctrl-C.")] = False,
) -> None:
    """Run the whole path on the worked example: build, train, materialize, serve, check, break, catch, repair."""
    from skewguard.demo import run_demo

    run_demo(repo, workdir, keep=keep)


@app.command()
def apply(repo: Repo = HERE, json: Json = False) -> None:
    """Read the repository's definitions into its registry (feast apply), and compile the serving plan."""
    from skewguard.plan import compile_plan, save_plan

    guard = _guard(repo)
    guard.feast.apply()
    save_plan(compile_plan(guard.feast), guard.state.plan)
    names = {"feature_views": guard.feast.view_names(), "feature_services": guard.feast.service_names()}
    _json(names) if json else _print("\n".join(f"{kind}: {', '.join(found)}" for kind, found in names.items()))


@app.command()
def materialize(
    repo: Repo = HERE,
    as_of: AsOf = None,
    view: Annotated[list[str] | None, typer.Option("--view", help="Feature view; repeat. Default: all online.")] = None,
    start: Annotated[str | None, typer.Option(help="Leave out rows before this time (ISO 8601, UTC).")] = None,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Only what happened or was created since the last run.")
    ] = False,
    look_back: Annotated[
        str | None, typer.Option(help="How far before the last run --incremental looks, for late rows. Default: 1d.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and count; write nothing.")] = False,
    json: Json = False,
) -> None:
    """Write the latest offline row of each entity to Redis, and move the watermark."""
    from skewguard.progress import progress

    guard = _guard(repo, as_of)
    with progress("materialize") as report:
        results = guard.materialize(
            as_of=as_of,
            views=view,
            start=start,
            incremental=incremental,
            look_back=look_back,
            dry_run=dry_run,
            progress=report,
        )
    if json:
        _json([_materialized(r) for r in results])
        return
    for r in results:
        done = "would change" if dry_run else "changed"
        left_out = f", {r.expired:,} past their TTL left out" if r.expired else ""
        _print(
            f"{r.view}: {r.rows:,} rows, {done} {r.stats.changed:,}{left_out}; {_pace(r)}"
            f"watermark {r.watermark:%Y-%m-%dT%H:%M:%SZ}"
        )


def _pace(result: Materialized) -> str:
    seconds = result.stats.seconds
    return f"{result.rows / seconds:,.0f} rows/s; " if result.rows and seconds > 0.1 else ""


def _materialized(result: Materialized) -> dict[str, Any]:
    from dataclasses import asdict

    from skewguard.contract import iso

    counts = asdict(result.stats)
    return {
        "view": result.view,
        "rows": result.rows,
        "expired": result.expired,
        "watermark": iso(result.watermark),
        **{name: count for name, count in counts.items() if name != "seconds"},
    }


@app.command()
def features(
    entity_rows: Annotated[Path, typer.Option(help="Parquet or CSV: join keys, a timestamp; other columns are kept.")],
    service: Service,
    output: Annotated[Path | None, typer.Option(help="Parquet file to write, a part at a time.")] = None,
    repo: Repo = HERE,
    full_feature_names: Annotated[bool, typer.Option("--full-feature-names")] = False,
    filter_by_created_timestamp: Annotated[
        bool, typer.Option("--filter-by-created-timestamp", help="Only rows created by the as-of time of each row.")
    ] = False,
    memory_limit: Annotated[str | None, typer.Option(help="Most memory for the join, such as 2GB.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show the plan of the join and stop.")] = False,
) -> None:
    """Point-in-time features as they are: no checks, no gate, no contract (see training-set for those)."""
    from skewguard.progress import progress

    guard = _guard(repo)
    if explain:
        _print(guard.explain(entity_rows, service, filter_by_created_timestamp=filter_by_created_timestamp))
        return
    if output is None:
        raise typer.BadParameter("give --output FILE.parquet, or --explain", param_hint="--output")
    with progress("features") as report:
        rows = guard.historical_features(
            entity_rows,
            service,
            output=output,
            full_feature_names=full_feature_names,
            filter_by_created_timestamp=filter_by_created_timestamp,
            memory_limit=memory_limit,
            progress=report,
        )
    _print(f"{rows:,} rows: {output}")


@app.command("training-set")
def training_set(
    entity_rows: Annotated[Path, typer.Option(help="Parquet or CSV: join keys, a timestamp, labels.")],
    service: Service,
    output: Annotated[Path, typer.Option(help="Parquet file to write; the contract goes beside it.")],
    repo: Repo = HERE,
    full_feature_names: Annotated[bool, typer.Option("--full-feature-names")] = False,
    filter_by_created_timestamp: Annotated[
        bool, typer.Option("--filter-by-created-timestamp", help="Only rows created by the as-of time of each row.")
    ] = False,
    allow: Annotated[
        str | None, typer.Option(help="Reason for overriding a closed gate; kept in the contract.")
    ] = None,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Build a training set: point-in-time join, expectations, training gate, contract."""
    guard = _guard(repo)
    result = guard.training_set(
        entity_rows,
        service,
        full_feature_names=full_feature_names,
        filter_by_created_timestamp=filter_by_created_timestamp,
        allow=allow,
        as_of=as_of,
    )
    result.save(output)
    summary = {
        "rows": result.table.num_rows,
        "features": len(result.feature_names),
        "verdict": result.decision.verdict.value,
        "reasons": list(result.decision.reasons),
        "contract": result.contract.digest,
        "output": str(output),
    }
    _json(summary) if json else _print("\n".join(f"{key}: {value}" for key, value in summary.items()))


@app.command()
def check(service: Services = None, repo: Repo = HERE, as_of: AsOf = None, json: Json = False) -> None:
    """Run every check of feature services, from preflight to expectations. Exit 0, 1 (block) or 3 (inconclusive)."""
    guard = _guard(repo, as_of)
    raise typer.Exit(_check_all(guard, service or guard.services(), as_of, json))


@app.command()
def preflight(service: Services = None, repo: Repo = HERE, as_of: AsOf = None, json: Json = False) -> None:
    """See in seconds, without the online store, what will go wrong: schemas, names, TTLs, ties, unapplied changes.

    Exit 0, 1 (block) or 3 (a source cannot be read).
    """
    from skewguard.preflighting import told
    from skewguard.run_json import run_to_dict

    guard = _guard(repo, as_of)
    runs = [guard.preflight(name, as_of=as_of) for name in _services(guard, service)]
    if json:
        _json([run_to_dict(run) for run in runs])
    else:
        _print("\n".join(line for run in runs for line in told(run)))
    raise typer.Exit(_worst([run.verdict.value for run in runs]))


@app.command()
def nightly(
    repo: Repo = HERE,
    as_of: AsOf = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin again, where a night was cut off.")] = False,
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
    guard = _guard(repo, as_of)
    with only_one(guard.state.root):
        night = Night(guard, _services(guard, None), None if as_of is None else utc(as_of))
        result = night.run(progress, fresh=fresh, tell=None if json else lambda run: _show(run, guard))
        write_index(guard.state)
    if json:
        _json(result.to_dict())
    else:
        _print("\n".join(result.lines()))
    raise typer.Exit(_worst([service.verdict.value for service in result.services]))


def _end_on_sigterm() -> None:
    """Let SIGTERM end a night as Ctrl-C does: locks and stores are given back, and the night can go on."""
    import signal

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)


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

    guard = _guard(repo)
    try:
        span = parse_duration(how_long)
    except ValueError as error:
        raise BadInputError("--for", repr(how_long), "a duration such as 12h or 3d") from error
    if span is None:
        raise BadInputError("--for", repr(how_long), "a duration such as 12h or 3d")
    now = guard.clock()
    found = SetSilence(service, cause, feature, now, now + span, reason, getpass.getuser())
    add_silence(History(guard.state.history).file, found)
    _print(f"Silent until {found.until:%Y-%m-%dT%H:%M:%SZ}: service {service}, cause {cause}, feature {feature}")


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

    guard = _guard(repo)
    wanted = _services(guard, service)
    found = [i for i in History(guard.state.history).incidents(closed=closed) if i.service in wanted]
    if json:
        _json([encode(incident, Incident, "incident") for incident in found])
        return
    _print("\n".join(incident_lines(found)) if found else "No open incident.")


def _check_all(guard: SkewGuard, services: list[str], as_of: str | None, json: bool) -> int:
    from skewguard.progress import progress
    from skewguard.report.html import write_index
    from skewguard.run_json import run_to_dict

    services = _services(guard, services)
    runs = []
    for name in services:
        with progress(f"check {name}") as report:
            runs.append(guard.check(name, as_of=as_of, progress=report))
        if not json:
            _show(runs[-1], guard)
    write_index(guard.state)
    if json:
        _json([run_to_dict(run) for run in runs])
    return _worst([run.verdict.value for run in runs])


def _services(guard: SkewGuard, asked: list[str] | None) -> list[str]:
    """The feature services asked for, or all; an unknown name is refused before any work."""
    from skewguard.errors import ConfigurationError

    services = asked or guard.services()
    if not services:
        raise ConfigurationError(f"{guard.path} has no feature services; define one and apply, then check it.")
    for name in services:
        guard.service(name)
    return services


def _worst(verdicts: Sequence[str]) -> int:
    """The exit code of several verdicts: a block goes before what could not be decided."""
    codes = {VERDICT_EXIT[verdict] for verdict in verdicts}
    return 1 if 1 in codes else max(codes)


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

    guard = _guard(repo)
    result = guard.drift(rows, service, reference=reference, full_feature_names=full_feature_names)
    data, verdict = outcome(result, guard.policy_for(service))
    _json(data) if json else _print("\n".join(told(result)))
    raise typer.Exit(VERDICT_EXIT[verdict])


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

    guard = _guard(repo)
    guard.service(service)
    history = History(guard.state.history)
    found = history.run(run) if run is not None else history.last_run(service)
    if found is None or found.service != service:
        raise UnknownNameError(f"run of {service!r}", run or "latest", [r.run_id for r in history.runs(service)])
    if output is not None:
        write_atomically(output, render_html(found, history=history.trend(service)))
    if json:
        _json(run_to_dict(found))
    else:
        _show(found, guard)
        if output is not None:
            _print(f"Written: {output}")
    raise typer.Exit(VERDICT_EXIT[found.verdict.value])


@app.command()
def history(service: Service, repo: Repo = HERE, limit: int = 14, json: Json = False) -> None:
    """List the latest runs of a feature service."""
    from skewguard.contract import iso
    from skewguard.history import History

    guard = _guard(repo)
    guard.service(service)
    runs = History(guard.state.history).runs(service, limit=limit)
    if json:
        _json(
            [
                {"run_id": r.run_id, "as_of": iso(r.as_of), "verdict": r.verdict.value, "findings": len(r.findings)}
                for r in runs
            ]
        )
        return
    for r in runs:
        _print(f"{r.run_id}  as of {r.as_of:%Y-%m-%d %H:%M}  {r.verdict.value:<12}  {len(r.findings)} findings")


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

    guard = _guard(repo)
    if output is not None and (service is None or len(service) != 1):
        raise BadInputError("--service", f"{len(service or [])} of them", "one, beside --output")
    spans = [guard.served_span(name, since=since, until=until) for name in service or guard.services()]
    if output is not None:
        written = spans[0].to_parquet(output)
        _json({"output": str(output), "rows": written}) if json else _print(f"{output}: {written:,} rows")
        return
    if json:
        _json(
            [
                {"service": s.service, "since": iso(s.start), "until": iso(s.end), "stored": s.stored,
                 "dropped": s.dropped, "whole": s.whole, "segments": [str(path) for path in s.segments]}
                for s in spans
            ]
        )  # fmt: skip
        return
    for s in spans:
        torn = "" if s.whole else "; a journal was cut off by a crash"
        _print(f"{s.service}: {s.stored:,} rows stored, {s.dropped:,} dropped{torn}")


@app.command()
def repair(
    service: Service,
    repo: Repo = HERE,
    as_of: AsOf = None,
    yes: Annotated[bool, typer.Option("--yes", help="Apply the plan without asking.")] = False,
    remove_orphans: Annotated[
        bool, typer.Option("--remove-orphans", help="Also remove rows of entities that offline does not know.")
    ] = False,
    run: Annotated[str | None, typer.Option(help="Only what is still wrong of this run's findings.")] = None,
    json: Json = False,
) -> None:
    """Show what would be put right online; apply it with --yes (or when asked at a terminal).

    What was written is read back; the rows before and after are kept in .skewguard/repairs. Exit code 1 where they are
    not as they should be.
    """
    guard = _guard(repo, as_of)
    plan = guard.plan_repair(service, as_of=as_of, remove_orphans=remove_orphans, run=run)
    if not json:
        _print("\n".join(plan.lines()))
    apply = not plan.is_empty and (yes or (sys.stdin.isatty() and not json and typer.confirm("Apply?")))
    outcomes = guard.repair(plan) if apply else []
    if json:
        _json({**plan.to_dict(), "applied": apply, "outcomes": [asdict(outcome) for outcome in outcomes]})
    elif apply:
        _print("\n".join(outcome.line() for outcome in outcomes))
        _print(f"Before and after: {guard.state.root / 'repairs'}")
    elif not plan.is_empty:
        _print("Nothing was changed. Run again with --yes to apply.")
    if any(outcome.unlike for outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def drill(
    causes: Annotated[
        list[str] | None, typer.Argument(metavar="[CAUSE]...", help="What to put in; several: at once. See --list.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every cause that fits, one after another.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Tell the causes that a drill makes, and stop.")] = False,
    service: Services = None,
    share: Annotated[
        list[float] | None, typer.Option(help="Share of rows to hit; repeat for several. Default: 0.01.", max=1.0)
    ] = None,
    repo: Repo = HERE,
    as_of: AsOf = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for an incident write-up a drill. Default with --all: .skewguard/drills/<run>."),
    ] = None,
    yes_live: Annotated[
        bool, typer.Option("--yes-live", help="Yes: damage the online store that this repository names.")
    ] = False,
    json: Json = False,
) -> None:
    """Put causes of skew in on purpose, and prove that the guard sees each, as what it is, and nothing else.

    In a scratch copy of the repository with a Redis of its own, so that nothing of yours is changed; with --yes-live in
    the live online store, where `skewguard repair` mends it. Exit code 1 where a drill does not hold.
    """
    from skewguard.drill_command import Asked, asked_for, drill_copy, drill_live, listing
    from skewguard.errors import BadInputError
    from skewguard.workspace import utc

    if list_:
        _print("\n".join(listing()))
        return
    asked_for(causes or [], every)
    shares = share or [0.01]
    if min(shares) <= 0:
        raise BadInputError("--share", f"{min(shares):g}", "more than 0, and at most 1")
    guard = _guard(repo, as_of)
    moment = utc(as_of, guard.clock)
    if out is None and every:
        out = guard.state.root / "drills" / f"{guard.clock():%Y%m%dT%H%M%S}"
    asked = Asked(causes or [], every, _services(guard, service), shares, moment, out)
    lines, data, code = drill_live(guard, asked) if yes_live else drill_copy(guard, asked)
    _json(data) if json else _print("\n".join(lines))
    raise typer.Exit(code)


@app.command()
def plan(repo: Repo = HERE, json: Json = False) -> None:
    """Compile the serving plan from the registry."""
    from skewguard.plan import compile_plan, save_plan

    guard = _guard(repo)
    compiled = compile_plan(guard.feast)
    save_plan(compiled, guard.state.plan)
    summary = {"plan": str(guard.state.plan), "digest": compiled.digest}
    _json(summary) if json else _print("\n".join(f"{key}: {value}" for key, value in summary.items()))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def serve(context: typer.Context, repo: Repo = HERE) -> None:
    """Serve look-ups over HTTP. Options of the server: --host, --port, --workers, --as-of, --plan, --max-in-flight,
    --max-body-bytes, --max-entities, --json; `python -m online_api --help` tells them.
    """
    import os

    os.execv(sys.executable, [sys.executable, "-m", "online_api", "--repo", str(repo), *context.args])  # noqa: S606


def main() -> None:
    """Entry point: the one place that turns our errors into a message and an exit code; bugs keep their traceback."""
    from skewguard.errors import SkewguardError

    try:
        app()
    except SkewguardError as error:
        typer.echo(f"skewguard: {error}", err=True)
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except RuntimeError as error:
        if "query interrupted" in str(error).lower():  # DuckDB's word for Ctrl-C during a query
            raise SystemExit(130) from None
        raise


if __name__ == "__main__":
    main()
