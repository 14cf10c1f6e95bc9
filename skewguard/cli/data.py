"""Commands that move features: materialize, features, training-set."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skewguard.cli.options import HERE, AsOf, Json, Repo, Service, app, open_guard, say, say_json

if TYPE_CHECKING:
    from skewguard.materialize import Materialized


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

    guard = open_guard(repo, as_of)
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
        say_json([_materialized(r) for r in results])
        return
    for r in results:
        done = "would change" if dry_run else "changed"
        left_out = f", {r.expired:,} past their TTL left out" if r.expired else ""
        say(
            f"{r.view}: {r.rows:,} rows, {done} {r.stats.changed:,}{left_out}; {_pace(r)}"
            f"watermark {r.watermark:%Y-%m-%dT%H:%M:%SZ}"
        )


def _pace(result: Materialized) -> str:
    seconds = result.stats.seconds
    return f"{result.rows / seconds:,.0f} rows/s; " if result.rows and seconds > 0.1 else ""


def _materialized(result: Materialized) -> dict[str, Any]:

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

    guard = open_guard(repo)
    if explain:
        say(guard.explain(entity_rows, service, filter_by_created_timestamp=filter_by_created_timestamp))
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
    say(f"{rows:,} rows: {output}")


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
    guard = open_guard(repo)
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
    say_json(summary) if json else say("\n".join(f"{key}: {value}" for key, value in summary.items()))
