"""Around every request: bearer tokens before anything is read, and the request metrics. Plain ASGI, no wrappers."""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from online_api.metrics import Metrics
from online_api.problems import UnauthorizedError, problem_for

CLIENT_GONE = 499
"""Status in the metrics of a request whose client left before it was answered (nginx has the number for this)."""

OPEN_PATHS = frozenset({"/health", "/ready"})
"""What answers without a token: the probes of an orchestrator."""


class MetricsMiddleware:
    """Counts requests and times them, by route template (so that paths with names in them stay one label)."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and record it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = CLIENT_GONE

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except BaseException:
            status = 500
            raise
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            self._metrics.count_request(route, status, time.perf_counter() - started)


class TokenMiddleware:
    """Asks for a bearer token on every path but the probes, before the router or the body is looked at."""

    def __init__(self, app: ASGIApp, tokens: Iterable[str]) -> None:
        self._app = app
        self._tokens = tuple(token.encode() for token in tokens)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._is_known(Request(scope)):
            await self._app(scope, receive, send)
            return
        given = Request(scope).headers.get("authorization")
        got = "no Authorization header" if given is None else "a token that is not known"
        error = UnauthorizedError(f"Authorization: got {got}; expected 'Bearer <token>'.")
        await problem_for(error)(scope, receive, send)

    def _is_known(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = token.strip().encode("utf-8", "replace")
        # every token is compared, so that the time tells nothing about which one it was
        matches = [hmac.compare_digest(given, known) for known in self._tokens]
        return scheme.lower() == "bearer" and any(matches)
