"""The app factory. It wires the parts; what they do stands in their own modules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from online_api import handlers, pages, problems
from online_api.metrics import Metrics
from online_api.middleware import MetricsMiddleware, TokenMiddleware
from online_api.on_demand import OnDemandViews
from online_api.service import FeatureService
from online_api.settings import Settings
from online_api.state import ApiState
from online_api.store import OnlineStore
from online_api.verdicts import Verdicts
from skewguard.plan import load_plan


def create_app(settings: Settings) -> FastAPI:
    """The HTTP API on the plan at ``settings.plan``. Imports Feast only when the plan has on-demand views.

    Raises ConfigurationError when there is no usable plan, UnknownNameError when it no longer fits the registry.
    """
    plan = load_plan(settings.plan)
    metrics = Metrics(settings.metrics_folder)
    verdicts = Verdicts(settings, plan.fingerprints)
    store = OnlineStore(settings.redis, settings.limits.redis_timeout, metrics)
    computable = any(view.name not in plan.unsupported for view in plan.on_demand)
    on_demand = OnDemandViews(settings.repo, plan) if computable else None
    features = FeatureService(settings, plan, store, verdicts, metrics, on_demand)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await store.close()

    # no /docs: its page would load scripts from elsewhere
    app = FastAPI(title="skewguard", version="1", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.api = ApiState(settings, plan, store, verdicts, metrics, features)
    app.include_router(handlers.router)
    app.include_router(pages.router)
    problems.install(app)
    if settings.tokens:
        app.add_middleware(TokenMiddleware, tokens=settings.tokens)
    app.add_middleware(MetricsMiddleware, metrics=metrics)
    return app
