"""The app factory. It wires the parts; what they do stands in their own modules."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from online_api import endpoint, handlers, pages, plan_page, problems
from online_api.metrics import Metrics
from online_api.middleware import MetricsMiddleware, TokenMiddleware
from online_api.plan_files import stamp
from online_api.plan_watch import PlanMetrics, PlanWatcher, tell_suites
from online_api.pressure import PressureMiddleware
from online_api.served_log import ServedLog
from online_api.settings import Settings
from online_api.state import ApiState, build_state
from online_api.store import OnlineStore
from skewguard.plan import load_plan

_log = logging.getLogger("online_api")


def create_app(settings: Settings) -> FastAPI:
    """The HTTP API on the plan at ``settings.plan``. Imports Feast only when the plan has on-demand views.

    While the app runs (its lifespan) it watches the plan and the registry, and swaps a new plan in.
    Raises ConfigurationError when there is no usable plan or the serving log cannot be written, UnknownNameError when
    the plan no longer fits the registry.
    """
    loaded = stamp(settings.plan)
    plan = load_plan(settings.plan)
    tell_suites(plan)
    metrics = Metrics(settings.metrics_folder, settings.state / "metrics")
    store = OnlineStore(settings.redis, settings.limits.redis_timeout, metrics)
    log = ServedLog(settings, metrics)
    if any(settings.policy(service).log for service in ("", *plan.service_names())):
        log.open()

    @contextlib.asynccontextmanager
    async def lifespan(served: FastAPI) -> AsyncIterator[None]:
        def publish(state: ApiState) -> None:
            served.state.api = state

        watcher = PlanWatcher(lambda: served.state.api, publish, loaded, plan_metrics)
        watching = asyncio.create_task(watcher.run())
        watching.add_done_callback(_tell_end)
        log.start()
        yield
        watching.cancel()
        await asyncio.wait([watching])
        await store.close()
        await asyncio.to_thread(log.close)

    # no /docs: its page would load scripts from elsewhere
    app = Api(title="skewguard", version="1", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.api = build_state(settings, plan, store, metrics, log)
    plan_metrics = PlanMetrics(metrics.registry)
    app.include_router(plan_page.router)
    app.include_router(handlers.router)
    app.include_router(pages.router)
    problems.install(app)
    endpoint.document(app)
    front: ASGIApp = endpoint.LookupEndpoint(app.behind, app)
    if settings.tokens:
        front = TokenMiddleware(front, settings.tokens)
    limits = settings.limits
    app.front = PressureMiddleware(
        MetricsMiddleware(front, metrics), limits.max_in_flight, limits.retry_after, metrics.registry
    )
    return app


class Api(FastAPI):
    """FastAPI with layers of our own before its own: ``front`` is called first and passes on to ``behind``."""

    front: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await self.front(scope, receive, send)

    async def behind(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What is not a look-up."""
        await super().__call__(scope, receive, send)


def _tell_end(watching: asyncio.Task[None]) -> None:
    if not watching.cancelled() and (error := watching.exception()) is not None:
        _log.error("the plan is no longer watched; restart the server", exc_info=error)
