"""Keeps the served plan up to date without a restart: loads a plan file that changed, compiles one that is too old.

Once a second it asks the file system for the times of three files and does nothing else while they stay. A new plan is
taken into service by replacing ``app.state.api`` in one assignment between two requests. A plan that cannot be used
leaves the old one serving and is told by ``plan_problem``, the log (once) and a metric.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from prometheus_client import CollectorRegistry, Counter, Gauge

from online_api.compile_plan import compile_in_background
from online_api.compile_turn import next_wait, take_turn
from online_api.plan_files import PlanSources, SourceStamps, Stamp, stamp
from online_api.state import ApiState, build_state
from skewguard.errors import ConfigurationError, SkewguardError
from skewguard.online.connection import settings_from_repo
from skewguard.plan import ServingPlan, load_plan

LOOK_SECONDS = 1.0
"""Time between two looks at the files. What two looks in a row find the same is no longer being written."""

log = logging.getLogger("online_api")


def tell_suites(plan: ServingPlan, before: ServingPlan | None = None) -> None:
    """Say in the log which suites are refused, name columns that may be misspelt, or are gone since the plan before."""
    for service, rules in plan.row_rules.items():
        if rules.problem is not None:
            in_force = "there is none in force" if rules.rules is None else "the one before it stays in force"
            log.warning("the suite of %s is refused, %s: %s", service, in_force, " ".join(rules.problem.split()))
        for rule in rules.absent():
            if "did you mean" in rule["reason"]:
                log.warning("the suite of %s: %s is not asked: %s", service, rule["label"], rule["reason"])
    for service in before.row_rules if before is not None else ():
        if service not in plan.row_rules:
            log.warning("%s has no suite any more; its expectations are no longer asked", service)


class PlanMetrics:
    """What the watcher counts, in the server's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.changes = Counter(
            "skewguard_plan_changes",
            "Plans that were swapped in, refused, compiled or failed to compile.",
            ["result"],
            registry=registry,
        )
        self.problem = Gauge(
            "skewguard_plan_problem",
            "1 while a newer plan is not served because it cannot be used.",
            registry=registry,
            multiprocess_mode="livemax",
        )


class PlanWatcher:
    """The watcher of one server process.

    Args:
        current: gives the snapshot that serves now.
        publish: puts another one in its place.
        loaded: the stamp of the plan file, taken before it was loaded.
        metrics: what to count with.
        seconds: time between two looks.
    """

    def __init__(
        self,
        current: Callable[[], ApiState],
        publish: Callable[[ApiState], None],
        loaded: Stamp,
        metrics: PlanMetrics,
        seconds: float = LOOK_SECONDS,
    ) -> None:
        self._current = current
        self._publish = publish
        self._metrics = metrics
        self._seconds = seconds
        self._settings = current().settings
        self._sources = PlanSources(self._settings.repo)
        self._seen = loaded
        self._last: SourceStamps | None = None
        self._load_problem: str | None = None
        self._compile_problem: str | None = None
        self._failed_loads = 0
        self._load_again_at = 0.0

    async def run(self) -> None:
        """Look, for ever; ends when it is cancelled."""
        while True:
            await asyncio.sleep(self._seconds)
            await self.look()

    async def look(self) -> None:
        """One look at the files, and what follows from it."""
        found = stamp(self._settings.plan)
        waited = self._load_problem is not None and time.monotonic() >= self._load_again_at
        if found is not None and (found != self._seen or waited):
            await self._load(found)
        try:
            await self._compile_if_due(found)
        except (SkewguardError, OSError) as error:
            self._compile_problem = str(error)
        self._tell()

    async def _load(self, found: Stamp) -> None:
        self._seen = found
        try:
            await self._swap()
        except SkewguardError as error:
            self._metrics.changes.labels("refused").inc()
            self._failed_loads += 1
            self._load_again_at = time.monotonic() + next_wait(self._failed_loads)
            self._load_problem = str(error)
        else:
            self._failed_loads = 0
            self._load_problem = None

    async def _swap(self) -> None:
        plan = await asyncio.to_thread(load_plan, self._settings.plan)
        state = self._current()
        if settings_from_repo(self._settings.repo) != self._settings.redis:
            raise ConfigurationError(
                "feature_store.yaml: online_store is no longer what this server reads; restart it to serve from there."
            )
        # a materialization changes the registry, not the plan
        if (plan.digest, plan.rules_digest) == (state.plan.digest, state.plan.rules_digest):
            return
        fresh = await asyncio.to_thread(build_state, self._settings, plan, state.store, state.metrics, state.log)
        self._publish(fresh)
        self._metrics.changes.labels("swapped").inc()
        log.info("serving plan %s now, before it %s", plan.digest[:12], state.plan.digest[:12])
        tell_suites(plan, state.plan)

    async def _compile_if_due(self, plan: Stamp) -> None:
        sources = self._sources.look()
        settled, self._last = sources == self._last, sources
        if sources is None or not settled:
            return
        if not sources.is_newer_than(plan):
            self._compile_problem = None
            return
        with take_turn(self._settings.plan) as turn:
            if turn is None or not sources.is_newer_than(stamp(self._settings.plan)):
                return
            failure = turn.failure(sources)
            if failure is None or not failure.waits_at(time.time()):
                try:
                    await compile_in_background(self._settings.repo, self._settings.plan)
                except SkewguardError as error:
                    self._metrics.changes.labels("compile_failed").inc()
                    failure = turn.failed(sources, str(error), time.time())
                else:
                    self._metrics.changes.labels("compiled").inc()
                    turn.succeeded()
                    failure = None
            self._compile_problem = None if failure is None else failure.reason

    def _tell(self) -> None:
        problem = self._load_problem or self._compile_problem
        state = self._current()
        if problem == state.plan_problem:
            return
        if problem is None:
            log.warning("the serving plan is up to date again")
        else:
            log.warning("still serving plan %s: %s", state.plan.digest[:12], problem)
        self._metrics.problem.set(0 if problem is None else 1)
        self._publish(replace(state, plan_problem=problem))
