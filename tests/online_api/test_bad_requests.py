"""What a caller gets wrong: the status, the problem's shape, and the names in it. And nothing they send is a 500."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.online_api.conftest import Ask, columns

PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "pattern": "^urn:skewguard:problems/[a-z-]+$"},
        "title": {"type": "string", "minLength": 1},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "minLength": 1},
        "field": {"type": "string"},
        "got": {"type": "string"},
        "expected": {"type": "string"},
        "kind": {"type": "string"},
        "name": {"type": "string"},
        "known": {"type": "array", "items": {"type": "string"}, "maxItems": 50},
        "suggestion": {"type": ["string", "null"]},
        "limit": {"type": "integer"},
        "service": {"type": "string"},
        "verdict": {"enum": ["block", "inconclusive"]},
        "failed": {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": 50},
        "reasons": {"type": "array", "items": {"type": "string"}},
        "store": {"type": "string"},
        "reason": {"type": "string"},
    },
    "additionalProperties": False,
}


def problem(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """Assert that a response is a problem of this kind; its members."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    jsonschema.validate(body, PROBLEM)
    assert body["status"] == status
    assert body["type"] == f"urn:skewguard:problems/{slug}"
    assert "Traceback" not in response.text
    return body


def post(client: httpx.Client, content: Any) -> httpx.Response:
    if isinstance(content, bytes):
        return client.post("/get-online-features", content=content)
    return client.post("/get-online-features", json=content)


UNKNOWN = [
    ({"feature_service": "driver", "entities": {"driver_id": [1]}}, "feature service", "driver", "drivers"),
    ({"features": ["stat:trips"], "entities": {"driver_id": [1]}}, "feature view", "stat", "stats"),
    ({"features": ["stats:trip"], "entities": {"driver_id": [1]}}, "feature of view 'stats'", "trip", "trips"),
    ({"features": ["ratios:per_tripp"], "entities": {}}, "feature of view 'ratios'", "per_tripp", "per_trip"),
    ({"features": ["stats:trips"], "entities": {"drivr_id": [1]}}, "column of entities", "drivr_id", "driver_id"),
    (
        {"features": ["stats:trips"], "entities": {"driver_id": [1], "zzzz": [1]}},
        "column of entities",
        "zzzz",
        None,
    ),
]


@pytest.mark.parametrize(("body", "kind", "name", "suggestion"), UNKNOWN)
def test_unknown_names_are_404_with_the_nearest_name(
    client: httpx.Client, body: Any, kind: str, name: str, suggestion: str | None
) -> None:
    found = problem(post(client, body), 404, "unknown-name")

    assert (found["kind"], found["name"], found["suggestion"]) == (kind, name, suggestion)
    assert name not in found["known"]
    assert suggestion is None or suggestion in found["known"]


ONE = {"driver_id": [1]}
BAD_INPUT: dict[str, tuple[Any, str]] = {
    "not an object": ([1], "body"),
    "text": ("x", "body"),
    "no entities": ({"features": ["stats:trips"]}, "entities"),
    "entities null": ({"features": ["stats:trips"], "entities": None}, "entities"),
    "entities a list": ({"features": ["stats:trips"], "entities": [{"driver_id": 1}]}, "entities"),
    "column no list": ({"features": ["stats:trips"], "entities": {"driver_id": 1}}, "entities.driver_id"),
    "empty list": ({"features": ["stats:trips"], "entities": {"driver_id": []}}, "entities.driver_id"),
    "ragged": (
        {"feature_service": "drivers", "entities": {"driver_id": [1, 2], "shop_code": ["x"]}},
        "entities",
    ),
    "no target": ({"entities": ONE}, "feature_service"),
    "empty service": ({"feature_service": "", "entities": ONE}, "feature_service"),
    "service no text": ({"feature_service": 3, "entities": ONE}, "feature_service"),
    "empty features": ({"features": [], "entities": ONE}, "features"),
    "features no list": ({"features": "stats:trips", "entities": ONE}, "features"),
    "feature no text": ({"features": ["stats:trips", 4], "entities": ONE}, "features[1]"),
    "no view": ({"features": ["trips"], "entities": ONE}, "features[0]"),
    "no feature": ({"features": ["stats:"], "entities": ONE}, "features[0]"),
    "versioned": ({"features": ["stats@v2:trips"], "entities": ONE}, "features[0]"),
    "flag no bool": ({"features": ["stats:trips"], "entities": ONE, "full_feature_names": "yes"}, "full_feature_names"),
    "same short name": (
        {"features": ["stats:score", "facts:score"], "entities": {"driver_id": [1], "shop_code": ["x"]}},
        "full_feature_names",
    ),
    "alias collision": ({"feature_service": "pairs", "entities": {}}, "full_feature_names"),
    "missing key": ({"feature_service": "drivers", "entities": ONE}, "entities.shop_code"),
    "missing request data": ({"features": ["ratios:per_trip"], "entities": ONE}, "entities.at"),
    "null id": ({"features": ["stats:trips"], "entities": {"driver_id": [1, None]}}, "entities.driver_id[1]"),
    "fraction": ({"features": ["stats:trips"], "entities": {"driver_id": [1.5]}}, "entities.driver_id[0]"),
    "text for number": ({"features": ["stats:trips"], "entities": {"driver_id": ["one"]}}, "entities.driver_id[0]"),
    "blank": ({"features": ["stats:trips"], "entities": {"driver_id": [" "]}}, "entities.driver_id[0]"),
    "list id": ({"features": ["stats:trips"], "entities": {"driver_id": [[1]]}}, "entities.driver_id[0]"),
    "too big": ({"features": ["stats:trips"], "entities": {"driver_id": [2**63]}}, "entities.driver_id[0]"),
    "huge": ({"features": ["stats:trips"], "entities": {"driver_id": [10**30]}}, "entities.driver_id[0]"),
    "inexact": ({"features": ["stats:trips"], "entities": {"driver_id": [1e17]}}, "entities.driver_id[0]"),
    "int32": ({"feature_service": "numbered", "entities": {"slot_no": [5, 2**31]}}, "entities.slot_no[1]"),
    "null text": ({"features": ["facts:city"], "entities": {"shop_code": [None]}}, "entities.shop_code[0]"),
    "object text": ({"features": ["facts:city"], "entities": {"shop_code": [{}]}}, "entities.shop_code[0]"),
    "request data type": (
        {"features": ["ratios:per_trip"], "entities": {**ONE, "distance": ["far"], "at": [0]}},
        "entities.distance[0]",
    ),
    "request data time": (
        {"features": ["ratios:per_trip"], "entities": {**ONE, "distance": [1], "at": ["noon"]}},
        "entities.at[0]",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_wrong_values_are_422_and_name_the_field(client: httpx.Client, case: str) -> None:
    body, field = BAD_INPUT[case]

    found = problem(post(client, body), 422, "bad-input")

    assert found["field"] == field
    assert found["got"]
    assert found["expected"]


def test_a_typo_in_a_field_is_refused_and_a_strange_field_passed_over(client: httpx.Client, ask: Ask) -> None:
    typo = {"feature_servce": "numbered", "entities": {"slot_no": [5]}}

    found = problem(post(client, typo), 404, "unknown-name")

    assert found["suggestion"] == "feature_service"
    body = ask(feature_service="numbered", entities={"slot_no": [5]}, query_id="from a later client")
    assert columns(body)["capacity"] == [9]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"entities": {"driver_id": [NaN]}, "features": ["stats:trips"]}',
        b'{"entities": {"driver_id": [Infinity]}, "features": ["stats:trips"]}',
        b'{"entities": {"driver_id": [1e999]}, "features": ["stats:trips"]}',
        b'{"entities": {"shop_code": ["\\ud800"]}, "features": ["facts:city"]}',
        b'{"entities": {"shop_code": ["\xff"]}, "features": ["facts:city"]}',
        b"[" * 100_000,
        b'{"entities":' * 5_000,
    ],
    ids=["empty", "cut", "nan", "infinity", "overflow", "surrogate", "not utf-8", "deep list", "deep object"],
)
def test_what_is_not_json_is_400(client: httpx.Client, content: bytes) -> None:
    assert problem(post(client, content), 400, "malformed-json")["field"] == "body"


def test_null_bytes_and_rare_unicode_in_keys_are_values_like_others(ask: Ask) -> None:
    keys = ["\u0000", "\U0010ffff", "e\u0301", "\u202e", " x"]
    body = ask(features=["facts:city"], entities={"shop_code": keys})

    assert columns(body) == {"shop_code": keys, "city": [None] * 5}
    assert columns(body, "statuses")["city"] == ["NOT_FOUND"] * 5


def test_too_many_rows_are_413_with_the_limit(client: httpx.Client) -> None:
    body = {"features": ["stats:trips"], "entities": {"driver_id": [1] * 10_001}}

    found = problem(post(client, body), 413, "too-large")

    assert (found["field"], found["limit"]) == ("entities", 10_000)


def test_too_many_features_are_413_with_the_limit(client: httpx.Client) -> None:
    found = problem(post(client, {"features": ["stats:trips"] * 2_001, "entities": ONE}), 413, "too-large")

    assert (found["field"], found["limit"]) == ("features", 2_000)


def test_a_large_body_is_413_before_it_is_sent(server_url: str) -> None:
    """Only the head goes out: the answer comes from Content-Length alone."""
    address = urlsplit(server_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    connection.putrequest("POST", "/get-online-features")
    connection.putheader("Content-Length", str(1024 * 1024 + 1))
    connection.endheaders()
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()

    assert (response.status, body["limit"]) == (413, 1024 * 1024)
    assert response.headers["Connection"] == "close"


def test_a_large_chunked_body_is_413_without_reading_it_all(client: httpx.Client) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 200 * 1024 * 1024:
            sent += 65536
            yield b" " * 65536

    try:
        response = client.post("/get-online-features", content=endless())
    except httpx.WriteError:
        response = None  # the server hung up while we were still sending: it did not wait for the end

    assert sent < 100 * 1024 * 1024
    if response is not None:
        assert problem(response, 413, "too-large")["field"] == "body"


def test_a_body_of_exactly_the_limit_is_read(client: httpx.Client) -> None:
    body = b'{"features": ["stats:trips"], "entities": {"driver_id": [1]}}'
    padded = body + b" " * (1024 * 1024 - len(body))

    assert client.post("/get-online-features", content=padded).status_code == 200
    assert problem(client.post("/get-online-features", content=padded + b" "), 413, "too-large")


def test_wrong_method_and_path_are_problems(client: httpx.Client) -> None:
    found = client.get("/get-online-features")

    problem(found, 405, "method-not-allowed")
    assert found.headers["allow"] == "POST"
    problem(client.get("/nowhere"), 404, "not-found")
    problem(client.get("/%ff%00"), 404, "not-found")


def test_a_function_that_raises_is_a_problem_without_a_stack_trace(client: httpx.Client) -> None:
    found = problem(
        post(client, {"feature_service": "breakable", "entities": {"driver_id": [99]}}), 500, "transform-failed"
    )

    assert "fragile" in found["detail"]
    assert "TypeError" in found["detail"]
    assert "definitions.py" not in found["detail"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(["1", "stats:trips", "driver_id", "stats", "x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["driver_id", "shop_code", "slot_no", "distance", "at", "origin_id", "target_id", "nonsense"])
SERVICES = ["drivers", "shops", "typed", "live", "singles", "pairs", "numbered", "nope"]
FEATURES = ["stats:trips", "facts:score", "world:rate", "moments:days", "ratios:rounded", "sums:sum", "a:b", "c"]
BODIES = st.fixed_dictionaries(
    {"entities": st.dictionaries(NAMES, st.lists(JSON, max_size=3), max_size=5) | JSON},
    optional={
        "feature_service": st.sampled_from(SERVICES) | JSON,
        "features": st.lists(st.sampled_from(FEATURES), max_size=4) | JSON,
        "full_feature_names": st.booleans() | JSON,
        "include_feature_view_version_metadata": st.booleans(),
    },
)
SCALARS = st.integers(-5, 9) | st.sampled_from(["1", "x", "", 2.0, True]) | JSON
PLAUSIBLE = st.integers(1, 3).flatmap(
    lambda rows: st.fixed_dictionaries(
        {
            "entities": st.fixed_dictionaries(
                {
                    "driver_id": st.lists(st.integers(-2, 9), min_size=rows, max_size=rows),
                    "shop_code": st.lists(st.text(max_size=3), min_size=rows, max_size=rows),
                    "distance": st.lists(st.floats(-1e308, 1e308) | st.none(), min_size=rows, max_size=rows),
                    "at": st.lists(st.integers(-(10**10), 10**10) | SCALARS, min_size=rows, max_size=rows),
                }
            ),
            "feature_service": st.sampled_from(["drivers", "shops", "live", "singles", "typed"]),
            "full_feature_names": st.booleans(),
        }
    )
)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=BODIES | PLAUSIBLE | JSON)
def test_no_body_is_a_500(client: httpx.Client, body: Any) -> None:
    content = json.dumps(body).encode()

    response = client.post("/get-online-features", content=content)

    assert response.status_code in (200, 400, 404, 413, 422), response.text
    if response.status_code == 200:
        answer = response.json()
        assert len(answer["results"]) == len(answer["metadata"]["feature_names"])
        lengths = {len(part) for result in answer["results"] for part in result.values()}
        assert len(lengths) == 1
    else:
        jsonschema.validate(response.json(), PROBLEM)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=200))
def test_no_bytes_are_a_500(client: httpx.Client, content: bytes) -> None:
    response = client.post("/get-online-features", content=content)

    assert response.status_code in (400, 422)
    jsonschema.validate(response.json(), PROBLEM)
