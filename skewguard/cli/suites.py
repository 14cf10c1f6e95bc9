"""Commands about suites of expectations: init."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skewguard.cli.options import HERE, AsOf, Json, Repo, Services, app, open_guard, say, say_json, services_asked

if TYPE_CHECKING:
    from skewguard.collect import Progress
    from skewguard.guard import SkewGuard
    from skewguard.initialising import Proposal


@app.command()
def init(
    service: Services = None,
    repo: Repo = HERE,
    entity_rows: Annotated[
        Path | None, typer.Option(help="Profile the features of these rows: join keys, a timestamp, request data.")
    ] = None,
    training_set: Annotated[Path | None, typer.Option(help="Profile this training set (Parquet or CSV).")] = None,
    rows: Annotated[
        int, typer.Option(help="About so many vectors are made from the sources, without the above.")
    ] = 5000,
    from_gx: Annotated[
        Path | None, typer.Option(help="Take over a suite of a GX 1.x file context: its folder, or a suite's file.")
    ] = None,
    suite: Annotated[str | None, typer.Option(help="Name of the suite in that context.")] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Of a suite that is there, take the proposals that touch no edit.")
    ] = False,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Write a first policy file and, for each feature service, a first suite of expectations.

    Where a suite is there, show what a new profile would change in it. What people edited is never overwritten. Exit
    code 3 or 2 where a service could not be profiled; the others are.
    """
    from skewguard.errors import ConfigurationError, SkewguardError
    from skewguard.initialising import first_policy
    from skewguard.progress import progress

    guard = open_guard(repo, as_of)
    services = services_asked(guard, service)
    if (entity_rows or training_set or from_gx) and len(services) > 1:
        raise ConfigurationError(
            f"{', '.join(services)}: name one with --service; these rows or this suite are of one."
        )
    policy = first_policy(guard.path)
    done, failed = [], {}
    for name in services:
        try:
            with progress(f"init {name}") as report:
                found = _proposal(guard, name, (entity_rows, training_set, from_gx, suite), rows, as_of, report)
            done.append(found.save(apply=apply))
        except SkewguardError as error:
            failed[name] = error
    if json:
        told = {"policy_written": policy, "services": [one.to_dict() for one in done]}
        say_json({**told, "failed": {name: str(error) for name, error in failed.items()}})
    else:
        lines = [f"{guard.path / 'skewguard.yaml'}: written, the defaults as comments"] if policy else []
        lines += [line for one in done for line in one.lines()]
        say("\n".join(lines))
        for name, reason in failed.items():
            typer.echo(f"{name}: no proposal: {reason}", err=True)
    raise typer.Exit(max((reason.exit_code for reason in failed.values()), default=0))


def _proposal(
    guard: SkewGuard, name: str, given: tuple[Path | None, Path | None, Path | None, str | None], rows: int,
    as_of: str | None, report: Progress,
) -> Proposal:  # fmt: skip
    entity_rows, training_set, from_gx, suite = given
    if from_gx is not None:
        return guard.take_over_suite(name, from_gx, suite)
    return guard.propose_suite(
        name, entity_df=entity_rows, training_set=training_set, rows=rows, as_of=as_of, progress=report
    )
