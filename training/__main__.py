"""``python -m training``: train a model on a feature service, with its contract beside it.

Exit codes: 0 done, 1 the training gate is closed, 2 wrong use or configuration, 3 a store is down.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from skewguard.errors import SkewguardError


def moment(text: str) -> datetime:
    """An ISO 8601 time; naive means UTC."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"got {text!r}; expected an ISO 8601 time such as 2026-01-31T06:00:00Z"
        raise argparse.ArgumentTypeError(message) from error
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m training", description="Train a model on a feature service.")
    made.add_argument("--repo", type=Path, required=True, help="folder of the Feast repository")
    made.add_argument("--service", required=True, help="feature service")
    made.add_argument("--entity-rows", type=Path, required=True, help="Parquet: join keys, a time, the label")
    made.add_argument("--label", required=True, help="column of the entity rows with 0 and 1")
    made.add_argument("--out", type=Path, required=True, help="folder for model.joblib, contract.json, metrics.json")
    made.add_argument("--model", default="boosting", help="boosting (default) or logistic")
    made.add_argument("--seed", type=int, default=0, help="seed of the model (default 0)")
    made.add_argument("--threads", type=int, default=1, help="threads to fit with; 1 (default) is reproducible")
    made.add_argument("--timestamp-column", help="as-of times in the entity rows (default: event_timestamp)")
    made.add_argument("--as-of", type=moment, help="the moment that counts as now (default: the wall clock)")
    when = made.add_mutually_exclusive_group()
    when.add_argument("--test-after", type=moment, help="test on the rows at or after this time")
    when.add_argument("--test-share", type=float, default=0.25, help="test on the latest share of rows (default 0.25)")
    made.add_argument(
        "--test-gap-days", type=float, default=0.0, help="drop training rows this close to the test (default 0)"
    )
    made.add_argument("--allow", metavar="REASON", help="override a closed gate; the reason goes into the contract")
    made.add_argument("--json", action="store_true", help="print metrics.json instead of a summary")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; returns the exit code."""
    given = parser().parse_args(arguments)

    def say(text: str) -> None:
        if not given.json:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    try:
        metrics = _run(given, say)
    except SkewguardError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    if given.json:
        sys.stdout.write(json.dumps(metrics, indent=2, sort_keys=True) + "\n")
    else:
        say("\n".join(summary(metrics, given.out)))
    return 0


def _run(given: argparse.Namespace, say: Any) -> dict[str, Any]:
    # scikit-learn takes a second to import: --help answers without it
    from training.dataset import SplitRule
    from training.job import Job, run

    job = Job(
        repo=given.repo,
        service=given.service,
        entity_rows=given.entity_rows,
        label=given.label,
        out=given.out,
        model=given.model,
        seed=given.seed,
        threads=given.threads,
        split=SplitRule(given.test_after, given.test_share, timedelta(days=given.test_gap_days)),
        timestamp=given.timestamp_column,
        as_of=given.as_of,
        allow=given.allow,
    )
    return run(job, say)


def summary(metrics: dict[str, Any], out: Path) -> list[str]:
    """The result in a few lines."""
    test = metrics["test"]

    def shown(value: float | None) -> str:
        return "not defined" if value is None else f"{value:.3f}"

    return [
        f"test: AUC {shown(test['auc'])}, average precision {shown(test['average_precision'])}, "
        f"Brier {test['brier']:.3f} (constant guess {test['brier_baseline']:.3f})",
        f"model {metrics['model_sha256'][:12]}, contract {metrics['contract_digest'][:12]}: {out}",
    ]


if __name__ == "__main__":
    sys.exit(main())
