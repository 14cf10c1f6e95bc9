"""Fixtures for every test: a real redis-server."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from skewguard.online.embedded import EmbeddedRedis

# a shell starts a background job with Ctrl-C ignored, and every process that a test starts would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """A redis-server for the whole session: ``host``, ``port``, ``connection_string``, ``settings``, ``client()``.

    What a test writes stays; take ``clean_redis`` for an empty one.
    """
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def clean_redis(redis_server: EmbeddedRedis) -> EmbeddedRedis:
    """The session's redis-server, emptied before the test."""
    redis_server.client().flushall()
    return redis_server
