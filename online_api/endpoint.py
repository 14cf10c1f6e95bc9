"""POST /get-online-features, as plain ASGI: what a request costs here, every look-up pays."""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from online_api import problems
from online_api.problems import EXPECTATIONS_HEADER, FALLBACKS_HEADER, OVERRIDE_HEADER, VERDICT_HEADER
from online_api.query import parse, read_body
from skewguard.errors import SkewguardError
from skewguard.findings import Verdict

PATH = "/get-online-features"
_EXAMPLE = {"feature_service": "my_service", "entities": {"driver_id": [1001, 1002]}, "full_feature_names": False}
_OPERATION: dict[str, Any] = {
    "summary": "Get Online Features",
    "description": "Feature vectors for entity rows, in Feast's request and response shape.",
    "operationId": "get_online_features",
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["entities"],
                    "properties": {
                        "entities": {"type": "object", "additionalProperties": {"type": "array", "minItems": 1}},
                        "feature_service": {"type": ["string", "null"]},
                        "features": {"type": ["array", "null"], "items": {"type": "string"}},
                        "full_feature_names": {"type": "boolean", "default": False},
                        "include_feature_view_version_metadata": {"type": "boolean", "default": False},
                    },
                },
                "example": _EXAMPLE,
            }
        },
    },
    "responses": {"200": {"description": "Successful Response", "content": {"application/json": {"schema": {}}}}},
}


class LookupEndpoint:
    """Reads the request, asks the feature service, writes the answer; everything else goes to the app behind it.

    It stands before FastAPI's own layers, which cost as much as Redis does.
    """

    def __init__(self, app: ASGIApp, api: FastAPI) -> None:
        self._app = app
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        scope["route"] = ROUTE  # for the metrics, as FastAPI's own routes do
        try:
            await self._answer(receive, scope, send)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001  (a bug must become an answer, as behind FastAPI's layers)
            scope["app"] = self._api
            handler = problems.on_skewguard_error if isinstance(error, SkewguardError) else problems.on_bug
            response = await handler(Request(scope), error)
            await response(scope, receive, send)

    async def _answer(self, receive: Receive, scope: Scope, send: Send) -> None:
        state = self._api.state.api
        limits = state.settings.limits
        body = await read_body(scope, receive, limits.max_body_bytes)
        request_id = _given_id(scope) or state.log.request_id()
        answer = await state.features.answer(parse(body, limits), request_id)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(answer.body)),
            (_REQUEST_ID, request_id.encode()),
        ]
        if answer.verdict is not None:
            headers.append(_VERDICTS[answer.verdict])
        if answer.overridden is not None:
            headers.append((_OVERRIDE, answer.overridden.isoformat().replace("+00:00", "Z").encode()))
        if answer.replaced:
            headers.append((_FALLBACKS, b"%d" % answer.replaced))
        if answer.outcome is not None and (told := answer.outcome.summary()):
            headers.append((_EXPECTATIONS, told.encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


def _given_id(scope: Scope) -> str | None:
    """The client's own request id, where it sent one that is fit for a header and a log."""
    for name, value in scope["headers"]:
        if name == _REQUEST_ID:
            return value.decode() if _ID.fullmatch(value) else None
    return None


async def _wrong_method(_: Request) -> Response:
    raise HTTPException(405, headers={"Allow": "POST"})


_REQUEST_ID = b"x-request-id"
_OVERRIDE, _FALLBACKS, _EXPECTATIONS = (
    name.lower().encode() for name in (OVERRIDE_HEADER, FALLBACKS_HEADER, EXPECTATIONS_HEADER)
)
_ID = re.compile(rb"[!-~]{1,128}")
_VERDICTS = {verdict: (VERDICT_HEADER.lower().encode(), verdict.value.encode()) for verdict in Verdict}
ROUTE = Route(PATH, endpoint=_wrong_method, methods=["POST"])
"""What the router knows of the path: its name in the metrics, and that no other method will do."""


def document(app: FastAPI) -> None:
    """Put the endpoint among the app's routes, and into its OpenAPI document."""
    app.router.routes.append(ROUTE)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
            schema["paths"][PATH] = {"post": _OPERATION}
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
