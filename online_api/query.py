"""Reads a request's body within its limit and turns it into a Query; says what is wrong by field.

Feast's request (``feature_server.py``, GetOnlineFeaturesRequest): ``entities`` (column oriented), ``feature_service``
or ``features`` (the service wins), ``full_feature_names``, ``include_feature_view_version_metadata``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from online_api.problems import MalformedJsonError, TooLargeError
from online_api.settings import Limits
from skewguard.errors import BadInputError, UnknownNameError, nearest

FIELDS = ("entities", "feature_service", "features", "full_feature_names", "include_feature_view_version_metadata")


@dataclass(frozen=True)
class Query:
    """A look-up as asked for: well formed, not yet held against the plan.

    ``service`` is None for a feature list. ``entities`` holds equally long columns; ``rows`` is that length, 1 where
    there are no columns.
    """

    service: str | None
    features: tuple[str, ...]
    entities: Mapping[str, Sequence[Any]]
    rows: int
    full_feature_names: bool
    version_metadata: bool


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body; raises TooLargeError before more than ``limit`` bytes of it were kept."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise TooLargeError("body", f"{int(value):,} bytes", limit, "bytes")
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise TooLargeError("body", f"more than {limit:,} bytes", limit, "bytes")
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def parse(body: bytes, limits: Limits) -> Query:
    """The query in a body.

    Raises:
        MalformedJsonError: not JSON; NaN, Infinity and broken UTF-8 are not JSON either.
        BadInputError: a field is missing or of another type; the columns differ in length.
        TooLargeError: more entity rows or features than the limits allow.
    """
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedJsonError("body", f"what is not JSON ({error})", "a JSON object (RFC 8259)") from error
    if not isinstance(data, dict):
        raise BadInputError("body", describe(data), "a JSON object with the field 'entities'")
    _refuse_typos(data)
    entities, rows = _entities(data, limits)
    service, features = _target(data, limits)
    return Query(
        service,
        features,
        entities,
        rows,
        _flag(data, "full_feature_names"),
        _flag(data, "include_feature_view_version_metadata"),
    )


def describe(value: Any) -> str:
    """What a JSON value is, short enough for a message."""
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = f"the text {value!r}" if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= 80 else text[:77] + "..."


def _refuse_typos(data: Mapping[str, Any]) -> None:
    # as in Feast, fields that a later client may send are passed over; a near miss of a known name is a mistake
    for name in data:
        if name not in FIELDS and nearest(name, FIELDS) is not None:
            raise UnknownNameError("field of the request", name, FIELDS)


def _flag(data: Mapping[str, Any], name: str) -> bool:
    value = data.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadInputError(name, describe(value), "true or false")
    return bool(value)


def _target(data: Mapping[str, Any], limits: Limits) -> tuple[str | None, tuple[str, ...]]:
    service = data.get("feature_service")
    if service is not None:
        if not isinstance(service, str) or not service:
            raise BadInputError("feature_service", describe(service), "the name of a feature service")
        return service, ()
    features = data.get("features")
    if features is None:
        raise BadInputError("feature_service", "nothing", "'feature_service' or 'features' in the request")
    if not isinstance(features, list) or not features:
        got = "an empty list" if features == [] else describe(features)
        raise BadInputError("features", got, "a list of '<feature view>:<feature>'")
    if len(features) > limits.max_features:
        raise TooLargeError("features", f"{len(features):,} features", limits.max_features, "features")
    for index, reference in enumerate(features):
        if not isinstance(reference, str):
            raise BadInputError(f"features[{index}]", describe(reference), "'<feature view>:<feature>'")
    return None, tuple(features)


def _entities(data: Mapping[str, Any], limits: Limits) -> tuple[dict[str, list[Any]], int]:
    entities = data.get("entities")
    if not isinstance(entities, dict):
        got = "nothing" if "entities" not in data else describe(entities)
        raise BadInputError("entities", got, "an object with one list of values for each join key")
    lengths: dict[str, int] = {}
    for name, values in entities.items():
        if not isinstance(values, list):
            raise BadInputError(f"entities.{name}", describe(values), "a list with one value for each row")
        lengths[name] = len(values)
    rows = next(iter(lengths.values()), 1)
    if len(set(lengths.values())) > 1:
        listing = ", ".join(f"{name}: {length}" for name, length in sorted(lengths.items())[:20])
        raise BadInputError("entities", f"columns of different lengths ({listing})", "columns of one length")
    if rows == 0:
        raise BadInputError(f"entities.{next(iter(lengths))}", "an empty list", "at least one value")
    if rows > limits.max_entities:
        raise TooLargeError("entities", f"{rows:,} rows", limits.max_entities, "rows")
    return entities, rows
