"""Commands that set a repository up: demo, apply, plan, serve."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skewguard.cli.options import HERE, Json, Repo, app, open_guard, say, say_json

if TYPE_CHECKING:
    from skewguard.plan import ServingPlan


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
    """Read the repository's definitions into its registry (feast apply); compile the serving plan with its suites."""
    from skewguard.planning import write_plan

    guard = open_guard(repo)
    guard.feast.apply()
    compiled = write_plan(guard.feast, guard.state.plan)
    _tell_refused(compiled)
    names = {"feature_views": guard.feast.view_names(), "feature_services": guard.feast.service_names()}
    say_json(names) if json else say("\n".join(f"{kind}: {', '.join(found)}" for kind, found in names.items()))


@app.command()
def plan(repo: Repo = HERE, json: Json = False) -> None:
    """Compile the serving plan: definitions from the registry, and what the suites ask of each row."""
    from skewguard.planning import write_plan

    guard = open_guard(repo)
    compiled = write_plan(guard.feast, guard.state.plan)
    _tell_refused(compiled)
    summary = {"plan": str(guard.state.plan), "digest": compiled.digest}
    say_json(summary) if json else say("\n".join(f"{key}: {value}" for key, value in summary.items()))


def _tell_refused(plan: ServingPlan) -> None:
    """What serving goes on without: on standard error, so that JSON stays JSON."""
    from skewguard.expectations.rows.suite import RowSuite

    for service, rules in plan.row_rules.items():
        if rules.problem is not None:
            typer.echo(f"skewguard: a suite is refused, the one in force stays: {rules.problem}", err=True)
        for rule in () if rules.rules is None else RowSuite.from_document(rules.rules).rules:
            if rule.status == "absent":  # a label, or a slip
                typer.echo(f"skewguard: {service}: {rule.label} is not asked of answers, {rule.reason}", err=True)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def serve(context: typer.Context, repo: Repo = HERE) -> None:
    """Serve look-ups over HTTP. Options of the server: --host, --port, --workers, --as-of, --plan, --max-in-flight,
    --max-body-bytes, --max-entities, --json; `python -m online_api --help` tells them.
    """
    import os

    os.execv(sys.executable, [sys.executable, "-m", "online_api", "--repo", str(repo), *context.args])  # noqa: S606
