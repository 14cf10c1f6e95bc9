"""Requests byte by byte: pipelined, chunked, with Expect, broken off; what the gathering protocol must not change."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from skewguard.feast_repo import FeastRepo
from tests.online_api.conftest import AS_OF, copy_repo, serving

BODY = json.dumps({"feature_service": "numbered", "entities": {"slot_no": [5]}}).encode()
HEAD = b"POST /get-online-features HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def url(repo: FeastRepo, bare_plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = copy_repo(repo, tmp_path_factory.mktemp("wire") / "repo", bare_plan)
    with serving(folder, "--as-of", AS_OF.isoformat()) as (address, _):
        yield address


def exchange(url: str, data: bytes) -> bytes:
    """Everything that comes back until the server closes; the last request must ask for that."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(data)
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
    return answer


def request(*headers: bytes, body: bytes = BODY) -> bytes:
    return HEAD + b"".join(header + b"\r\n" for header in headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_pipelined_requests_are_answered_in_order(url: str) -> None:
    bad = request(body=b"{}")
    answer = exchange(url, request() + bad + request(b"Connection: close"))
    assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == [b"200", b"422", b"200"]


def test_a_body_in_chunks(url: str) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:7], BODY[7:])) + b"0\r\n\r\n"
    answer = exchange(url, HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_client_that_waits_to_be_told_to_go_on(url: str) -> None:
    answer = exchange(url, request(b"Expect: 100-continue", b"Connection: close"))
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE"])
def test_other_methods_are_told_which_one_it_is(url: str, method: bytes) -> None:
    answer = exchange(url, method + b" /get-online-features HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 405")
    assert b"allow: post" in answer.lower()


def test_a_client_that_leaves_is_no_failure_of_the_server(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(HEAD + b"Content-Length: 500\r\n\r\nabc")
        time.sleep(0.2)
    line = 'skewguard_http_requests_total{route="/get-online-features",status="499"} 1.0'
    deadline = time.monotonic() + 5
    while line not in httpx.get(url + "/metrics").text and time.monotonic() < deadline:
        time.sleep(0.05)
    text = httpx.get(url + "/metrics").text
    assert line in text
    assert 'status="500"' not in text
