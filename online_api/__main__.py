"""``python -m online_api``: serves the feature services of a Feast repository.

Exit codes: 0 stopped by a signal, 2 wrong use or configuration. Redis need not be up at the start.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import FrameType
from typing import NoReturn

from online_api.compile_plan import compile_in_subprocess, needs_compiling
from online_api.server import STOP_SIGNALS, announcement, bind, run_worker
from online_api.settings import FeatureServing, Limits, ServingPolicy, Settings, tokens_from
from online_api.supervisor import SHARED_COUNTS, run_workers
from skewguard.config import ServicePolicy, load_policy
from skewguard.errors import SkewguardError
from skewguard.findings import Cause
from skewguard.gate import severity_action
from skewguard.plan import load_plan


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line; wrong use ends the process with exit code 2."""
    defaults = Limits()
    parser = argparse.ArgumentParser(prog="python -m online_api", description="Serve features over HTTP from Redis.")
    parser.add_argument("--repo", type=Path, default=Path(), help="Feast repository (folder of feature_store.yaml)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=_port, default=8080, help="port to listen on; 0 picks a free one")
    parser.add_argument("--plan", type=Path, help="serving plan (default: REPO/.skewguard/plan.json)")
    parser.add_argument("--as-of", type=_moment, help="stop the clock that TTLs are counted from, for old data")
    parser.add_argument("--workers", type=_positive, default=1, help="server processes")
    parser.add_argument("--max-body-bytes", type=_positive, default=defaults.max_body_bytes, help="largest body")
    parser.add_argument("--max-entities", type=_positive, default=defaults.max_entities, help="most rows in a request")
    parser.add_argument(
        "--max-in-flight",
        type=_positive,
        default=defaults.max_in_flight,
        help="most requests under way in a worker; more are refused with 503",
    )
    parser.add_argument("--json", action="store_true", help="say when it listens as one line of JSON")
    return parser.parse_args(argv)


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"got {text}; expected 0 to 65535")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {text}; expected at least 1")
    return value


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected ISO 8601 such as 1998-03-01T00:00:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def serving_policy(policy: ServicePolicy) -> ServingPolicy:
    """The part of a service's policy that serving needs."""
    return ServingPolicy(
        serving=policy.serving,
        inconclusive=policy.serving_inconclusive,
        expired=policy.expired,
        verdict_max_age=policy.verdict_max_age,
        log=policy.serving_log.enabled,
        log_sample=policy.serving_log.sample,
        features={name: FeatureServing(own.serving, own.fallback) for name, own in policy.features.items()},
        fallback=policy.fallback,
        fallback_max_age=policy.fallback_max_age,
        severities={
            severity: severity_action(severity, Cause.EXPECTATION_FAILED, policy)
            for severity in ("critical", "warning", "info")
        },
        row_policy=policy.row_policy,
        row_window=policy.row_window,
        row_min_rows=policy.row_min_rows,
    )


def settings_for(options: argparse.Namespace, tokens: tuple[str, ...]) -> Settings:
    """Settings from the command line and skewguard.yaml; compiles the plan where it is missing or too old."""
    repo = options.repo.resolve()
    plan_path = options.plan or repo / ".skewguard" / "plan.json"
    policy = load_policy(repo)
    if needs_compiling(repo, plan_path):
        logging.getLogger("online_api").warning("compiling the serving plan %s, which takes some seconds", plan_path)
        compile_in_subprocess(repo, plan_path)
    plan = load_plan(plan_path)  # so that a broken one is told once, not by each worker
    policy.check_names(*plan.names())

    @cache
    def policy_of(service: str) -> ServingPolicy:
        return serving_policy(policy.for_service(service))

    return Settings.from_repo(
        repo,
        plan=plan_path,
        policy_of=policy_of,
        limits=Limits(
            max_body_bytes=options.max_body_bytes,
            max_entities=options.max_entities,
            max_in_flight=options.max_in_flight,
        ),
        tokens=tokens,
        as_of=options.as_of,
    )


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal; the exit code."""
    options = arguments(sys.argv[1:] if argv is None else argv)
    # until the server takes them; what was started by then, such as a compilation, is ended
    for number in STOP_SIGNALS:
        signal.signal(number, _end)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = settings_for(options, tokens_from(os.environ))
        listener = bind(options.host, options.port)
        line = announcement(listener, options.json)

        def tell() -> None:
            print(line, flush=True)  # noqa: T201  (what the caller waits for)

        os.environ.pop(SHARED_COUNTS, None)  # another program's, such as Feast's
        if options.workers > 1:
            return run_workers(settings, listener, options.workers, tell)
        run_worker(settings, listener, tell)
    except SkewguardError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
