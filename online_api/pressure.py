"""Back-pressure: a worker answers 503 at once when it has too many requests under way, instead of queueing without end.

Plain ASGI: on the way of a request that passes there are a comparison, an addition and a subtraction.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter
from starlette.types import ASGIApp, Receive, Scope, Send

from online_api.problems import OverloadedError, problem_for

ALWAYS_PASS = frozenset({"/health", "/ready", "/metrics"})
"""Probes tell of the load; refusing them would have an orchestrator kill a server that is merely busy."""


class PressureMiddleware:
    """Refuses requests beyond ``limit`` under way. Sits outside of everything, so that a refusal costs next to nothing.

    Attributes: ``in_flight``, the requests under way now (probes not counted).
    """

    def __init__(self, app: ASGIApp, limit: int, retry_after: int, registry: CollectorRegistry) -> None:
        self._app = app
        self._limit = limit
        self._refusal = problem_for(OverloadedError(limit), retry_after)
        self._refused = Counter(
            "skewguard_overload_refusals", "Requests refused because too many were under way.", registry=registry
        )
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 503."""
        if scope["type"] != "http" or scope["path"] in ALWAYS_PASS:
            await self._app(scope, receive, send)
            return
        if self.in_flight >= self._limit:
            self._refused.inc()
            await self._refusal(scope, receive, send)
            return
        self.in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self.in_flight -= 1
