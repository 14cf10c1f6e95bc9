"""Errors over HTTP: one mapper from exception class to RFC 9457 problem details, one JSON shape for all of them.

A problem has ``type`` (a stable URN), ``title``, ``status`` and ``detail``, and what a program can use: ``field``,
``got``, ``expected``, ``kind``, ``name``, ``known``, ``suggestion``, ``limit``, ``service``, ``verdict``, ``reasons``.
Stack traces go to the log, never to the client.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from online_api.row_checks import ExpectationsFailedError
from skewguard.errors import (
    BadInputError,
    ConfigurationError,
    GateBlocked,
    SkewguardError,
    StoreUnavailableError,
    UnknownNameError,
)

MEDIA_TYPE = "application/problem+json"
PROBLEMS = "urn:skewguard:problems/"
MAX_KNOWN = 50
"""Most names that a problem lists under ``known``."""

VERDICT_HEADER = "X-Skewguard-Verdict"
OVERRIDE_HEADER = "X-Skewguard-Override"
FALLBACKS_HEADER = "X-Skewguard-Fallbacks"
EXPECTATIONS_HEADER = "X-Skewguard-Expectations"

log = logging.getLogger("online_api")


class MalformedJsonError(BadInputError):
    """The body is not JSON (NaN and Infinity are not JSON either)."""


class TooLargeError(BadInputError):
    """The request is larger than a limit of the settings; ``limit`` is that limit."""

    def __init__(self, field: str, got: str, limit: int, unit: str) -> None:
        self.limit = limit
        super().__init__(field, got, f"at most {limit:,} {unit}")


class UnauthorizedError(SkewguardError):
    """No bearer token, or a wrong one."""


class TransformFailedError(SkewguardError):
    """The function of an on-demand feature view raised, or gave something that is not its declared output."""


class UnsupportedFeatureError(SkewguardError):
    """A definition that this server cannot serve."""


class NotReadyError(SkewguardError):
    """The server cannot answer look-ups now; ``reasons`` say why."""

    def __init__(self, reasons: list[str]) -> None:
        self.reasons = reasons
        super().__init__("; ".join(reasons) + ".")


class OverloadedError(SkewguardError):
    """More requests are under way in this worker than ``limit`` allows."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"{limit:,} requests are under way in this worker, which is its limit; try again later.")


@dataclass(frozen=True)
class Kind:
    """What an exception class becomes: the last part of ``type``, the title, the status."""

    slug: str
    title: str
    status: int
    retry: bool = False


# The first class that fits wins, so subclasses stand before their bases.
KINDS: tuple[tuple[type[Exception], Kind], ...] = (
    (MalformedJsonError, Kind("malformed-json", "The body is not JSON", 400)),
    (UnauthorizedError, Kind("unauthorized", "A valid bearer token is needed", 401)),
    (UnknownNameError, Kind("unknown-name", "A name that is not in the serving plan", 404)),
    (TooLargeError, Kind("too-large", "The request is larger than a limit", 413)),
    (BadInputError, Kind("bad-input", "A value of the request is wrong", 422)),
    (UnsupportedFeatureError, Kind("unsupported", "A definition that this server cannot serve", 501)),
    (ExpectationsFailedError, Kind("expectations-failed", "Values fail expectations", 503, retry=True)),
    (GateBlocked, Kind("gate-blocked", "The serving gate is closed", 503, retry=True)),
    (StoreUnavailableError, Kind("store-unavailable", "The online store cannot be read", 503, retry=True)),
    (OverloadedError, Kind("overloaded", "Too many requests are under way", 503, retry=True)),
    (NotReadyError, Kind("not-ready", "The server is not ready", 503, retry=True)),
    (TransformFailedError, Kind("transform-failed", "An on-demand feature view failed", 500)),
    (ConfigurationError, Kind("configuration", "The server's configuration is wrong", 500)),
    (SkewguardError, Kind("internal-error", "The server failed", 500)),
)
INTERNAL = Kind("internal-error", "The server failed", 500)


def problem_response(kind: Kind, detail: str, extra: Mapping[str, Any], headers: Mapping[str, str]) -> Response:
    """A problem-details response."""
    body = {"type": PROBLEMS + kind.slug, "title": kind.title, "status": kind.status, "detail": detail, **extra}
    # surrogates cannot be encoded; they reach us only through names in percent-encoded paths
    text = orjson.dumps(_encodable(body))
    return Response(text, kind.status, {"Cache-Control": "no-store", **headers}, MEDIA_TYPE)


def problem_for(error: Exception, retry_after: int = 5) -> Response:
    """The response for an exception; anything that is not one of ours becomes a 500 that tells nothing."""
    for exception_class, kind in KINDS:
        if isinstance(error, exception_class):
            headers = _headers(error, kind, retry_after)
            detail = str(error) if kind.slug != "internal-error" else "See the server's log."
            return problem_response(kind, detail, _members(error), headers)
    return problem_response(INTERNAL, "See the server's log.", {}, {})


def _headers(error: Exception, kind: Kind, retry_after: int) -> dict[str, str]:
    headers = {"Retry-After": str(retry_after)} if kind.retry else {}
    if isinstance(error, UnauthorizedError):
        headers["WWW-Authenticate"] = 'Bearer realm="skewguard"'
    if isinstance(error, GateBlocked):
        headers[VERDICT_HEADER] = error.verdict
    if isinstance(error, ExpectationsFailedError):
        headers[EXPECTATIONS_HEADER] = f"failed={len(error.failed)}"
    if isinstance(error, TooLargeError):
        headers["Connection"] = "close"  # the rest of the body was not read
    return headers


def _members(error: Exception) -> dict[str, Any]:
    if isinstance(error, UnknownNameError):
        known = sorted(error.known)[:MAX_KNOWN]
        return {"kind": error.kind, "name": error.name, "known": known, "suggestion": error.suggestion}
    if isinstance(error, BadInputError):
        members: dict[str, Any] = {"field": error.field, "got": error.got, "expected": error.expected}
        return {**members, "limit": error.limit} if isinstance(error, TooLargeError) else members
    if isinstance(error, GateBlocked):
        return {"service": error.service, "verdict": error.verdict, "reasons": list(error.reasons)}
    if isinstance(error, ExpectationsFailedError):
        failed = error.failed[:MAX_KNOWN]
        return {"service": failed[0].use.service, "failed": [one.told() for one in failed]}
    if isinstance(error, OverloadedError):
        return {"limit": error.limit}
    if isinstance(error, NotReadyError):
        return {"reasons": error.reasons}
    if isinstance(error, StoreUnavailableError):
        return {"store": error.store, "reason": error.reason}
    return {}


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {key: _encodable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    return value


async def on_skewguard_error(request: Request, error: Exception) -> Response:
    """Handler of every SkewguardError."""
    response = problem_for(error, request.app.state.api.settings.limits.retry_after)
    if response.status_code >= 500 and (left_out := _repeated.left_out(str(error))) is not None:
        more = f" (and {left_out:,} more like it)" if left_out else ""
        failed = response.status_code == 500
        log.warning("%s %s: %s%s", request.method, request.url.path, error, more, exc_info=failed)
    return response


class _Repeated:
    """Keeps an outage from flooding the log: each message at most once a second, with how often it came in between."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, int]] = {}

    def left_out(self, message: str) -> int | None:
        """How many were left out before this one; None where this one is to be left out as well."""
        now = time.monotonic()
        told, count = self._seen.get(message, (-1.0, 0))
        if now - told < 1 and told >= 0:
            self._seen[message] = (told, count + 1)
            return None
        if len(self._seen) > 1000:
            self._seen.clear()
        self._seen[message] = (now, 0)
        return count


_repeated = _Repeated()


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Handler of what the router raises: unknown paths and wrong methods."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    title = HTTPStatus(status).phrase
    slug = title.lower().replace(" ", "-")
    detail = f"{request.method} {request.url.path}: {title.lower()}."
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if status == HTTPStatus.METHOD_NOT_ALLOWED and "Allow" in headers:
        detail = f"{request.method} {request.url.path}: got {request.method}; expected {headers['Allow']}."
    return problem_response(Kind(slug, title, status), detail, {}, headers)


async def on_bug(request: Request, error: Exception) -> Response:
    """Handler of everything else: a bug. The server's log gets the stack trace."""
    log.error("%s %s: %s", request.method, request.url.path, type(error).__name__, exc_info=error)
    return problem_for(error)


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(SkewguardError, on_skewguard_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(Exception, on_bug)
