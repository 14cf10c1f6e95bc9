"""Commands that change the online store, or what the gates let through: repair, override, drill."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skewguard.cli.options import (
    HERE,
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
)

if TYPE_CHECKING:
    pass


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
    guard = open_guard(repo, as_of)
    plan = guard.plan_repair(service, as_of=as_of, remove_orphans=remove_orphans, run=run)
    if not json:
        say("\n".join(plan.lines()))
    apply = not plan.is_empty and (yes or (sys.stdin.isatty() and not json and typer.confirm("Apply?")))
    outcomes = guard.repair(plan) if apply else []
    if json:
        say_json({**plan.to_dict(), "applied": apply, "outcomes": [asdict(outcome) for outcome in outcomes]})
    elif apply:
        say("\n".join(outcome.line() for outcome in outcomes))
        say(f"Before and after: {guard.state.root / 'repairs'}")
    elif not plan.is_empty:
        say("Nothing was changed. Run again with --yes to apply.")
    if any(outcome.unlike for outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def override(
    service: Annotated[str, typer.Argument(help="Feature service.")],
    how_long: Annotated[str | None, typer.Option("--for", help="For how long, such as 4h or 2d; at most 30d.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the history, told in reports.")] = None,
    gate: Annotated[str, typer.Option(help="serving, training or both.")] = "both",
    end: Annotated[bool, typer.Option("--end", help="End the service's overrides now.")] = False,
    repo: Repo = HERE,
    json: Json = False,
) -> None:
    """Let a feature service through its closed gates for a while; a running server follows within a second.

    What is wrong is found, told and counted all the same.
    """
    from skewguard.errors import BadInputError

    guard = open_guard(repo)
    if end:
        ended = guard.end_override(service)
        lines = [f"Ended: {one.gate} of {service} ({one.reason})" for one in ended]
        say_json([one.told() for one in ended]) if json else say("\n".join(lines) or "No override is in force.")
        return
    for name, value in (("--for", how_long), ("--reason", reason)):
        if value is None:
            raise BadInputError(name, "nothing", "how long, and why: both are recorded (or --end)")
    found = guard.override(service, how_long=how_long or "", reason=reason or "", gate=gate)
    told = f"{found.gate} of {service} is let through until {found.until:%Y-%m-%dT%H:%M:%SZ}: {found.reason}"
    say_json(found.told()) if json else say(told)


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
        say("\n".join(listing()))
        return
    asked_for(causes or [], every)
    shares = share or [0.01]
    if min(shares) <= 0:
        raise BadInputError("--share", f"{min(shares):g}", "more than 0, and at most 1")
    guard = open_guard(repo, as_of)
    moment = utc(as_of, guard.clock)
    if out is None and every:
        out = guard.state.root / "drills" / f"{guard.clock():%Y%m%dT%H%M%S}"
    asked = Asked(causes or [], every, services_asked(guard, service), shares, moment, out)
    lines, data, code = drill_live(guard, asked) if yes_live else drill_copy(guard, asked)
    say_json(data) if json else say("\n".join(lines))
    raise typer.Exit(code)
