"""POST /get-online-features, as plain ASGI: what a request costs here, every look-up pays."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from online_api.problems import VERDICT_HEADER
from online_api.query import parse, read_body

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
    """Reads the request, asks the feature service, writes the answer. What goes wrong is raised, see ``problems``."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["route"] = ROUTE  # for the metrics, as FastAPI's own routes do
        state = scope["app"].state.api
        limits = state.settings.limits
        body = await read_body(scope, receive, limits.max_body_bytes)
        answer = await state.features.answer(parse(body, limits))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer.body))]
        if answer.verdict is not None:
            headers.append((_VERDICT, answer.verdict.value.encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


_VERDICT = VERDICT_HEADER.lower().encode()
ROUTE = Route(PATH, endpoint=LookupEndpoint(), methods=["POST"])


def install(app: FastAPI) -> None:
    """Put the endpoint first among the app's routes, and into its OpenAPI document."""
    app.router.routes.insert(0, ROUTE)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
            schema["paths"][PATH] = {"post": _OPERATION}
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
