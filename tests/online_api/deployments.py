"""Real Redis deployments to serve from: plain, with users, TLS, Sentinel with a replica, a cluster of three."""

from __future__ import annotations

import contextlib
import ipaddress
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from skewguard.errors import StoreUnavailableError
from skewguard.online.embedded import EmbeddedRedis, free_port, server_binary
from tests.online.test_cluster import CLI, cluster_info, port_with_bus


@dataclass(frozen=True)
class Deployment:
    """``online_store`` of feature_store.yaml for reading and for writing, and the servers behind it."""

    kind: str
    store: Mapping[str, str]
    servers: tuple[EmbeddedRedis, ...]
    writing: Mapping[str, str] = field(default_factory=dict)


class NotPossibleHereError(Exception):
    """The redis-server at hand cannot do it."""


def wait_until(what: str, true: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@contextlib.contextmanager
def plain(_: Path) -> Iterator[Deployment]:
    with EmbeddedRedis() as server:
        yield Deployment("plain", {"connection_string": f"{server.host}:{server.port},db=3"}, (server,))


@contextlib.contextmanager
def users(_: Path) -> Iterator[Deployment]:
    """The server logs in as a user that may do no more than a look-up needs."""
    with EmbeddedRedis() as server:
        admin = server.client()
        # a password that Feast would take for a number is part of the test
        admin.execute_command("ACL", "SETUSER", "reader", "on", ">1e3", "~*", "-@all", "+hmget", "+ping")
        admin.execute_command("ACL", "SETUSER", "writer", "on", ">w-1", "~*", "&*", "+@all")
        admin.execute_command("ACL", "SETUSER", "default", "off")
        address = f"{server.host}:{server.port}"
        yield Deployment(
            "users",
            {"connection_string": f"{address},username=reader,password=1e3"},
            (server,),
            {"connection_string": f"{address},username=writer,password=w-1"},
        )


@contextlib.contextmanager
def tls(folder: Path) -> Iterator[Deployment]:
    """Both sides show a certificate. Raises NotPossibleHereError where redis-server was built without TLS."""
    write_certificates(folder)
    port = free_port()
    config = {
        "tls-port": str(port),
        "tls-cert-file": f'"{folder / "server.crt"}"',
        "tls-key-file": f'"{folder / "server.key"}"',
        "tls-ca-cert-file": f'"{folder / "ca.crt"}"',
        "tls-auth-clients": "yes",
    }
    server = EmbeddedRedis(config=config)
    try:
        server.start()
    except StoreUnavailableError as error:
        if "tls" in str(error):
            raise NotPossibleHereError(f"{server_binary()} knows no TLS") from error
        raise
    with server:
        options = f"ssl=true,ssl_ca_certs={folder / 'ca.crt'}"
        own = f"ssl_certfile={folder / 'client.crt'},ssl_keyfile={folder / 'client.key'}"
        yield Deployment("tls", {"connection_string": f"127.0.0.1:{port},{options},{own}"}, (server,))


@contextlib.contextmanager
def sentinel(folder: Path) -> Iterator[Deployment]:
    """A master, a replica that has caught up, and one sentinel that decides alone."""
    with EmbeddedRedis() as master, EmbeddedRedis(config={"replicaof": f"127.0.0.1 {master.port}"}) as replica:
        port = free_port()
        config = folder / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor features 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds features 500\nsentinel failover-timeout features 3000\n"
        )
        process = subprocess.Popen([server_binary(), str(config), "--sentinel"], stdout=subprocess.DEVNULL)
        try:
            with contextlib.closing(redis.Redis(port=port, decode_responses=True)) as client:
                wait_until("the sentinel to know the replica", lambda: knows_replica(client))
            store = {
                "redis_type": "redis_sentinel",
                "sentinel_master": "features",
                "connection_string": f"127.0.0.1:{port}",
            }
            yield Deployment("sentinel", store, (master, replica))
        finally:
            process.terminate()
            process.wait(10)


def knows_replica(client: redis.Redis) -> bool:
    try:
        replicas = client.execute_command("SENTINEL", "REPLICAS", "features")
    except redis.exceptions.RedisError:
        return False
    return "master-link-status" in str(replicas) and "'ok'" in str(replicas)


@contextlib.contextmanager
def cluster(_: Path) -> Iterator[Deployment]:
    with contextlib.ExitStack() as stack:
        config = {"cluster-enabled": "yes", "cluster-node-timeout": "2000"}
        nodes = [stack.enter_context(EmbeddedRedis(port=port_with_bus(), config=config)) for _ in range(3)]
        addresses = [f"{node.host}:{node.port}" for node in nodes]
        subprocess.run([CLI, "--cluster", "create", *addresses, "--cluster-yes"], check=True, capture_output=True)
        wait_until("the cluster", lambda: all(b"cluster_state:ok" in cluster_info(node) for node in nodes))
        store = {"redis_type": "redis_cluster", "connection_string": ",".join(addresses[:2])}
        yield Deployment("cluster", store, tuple(nodes))


KINDS = {"plain": plain, "users": users, "tls": tls, "sentinel": sentinel, "cluster": cluster}


# -- certificates -----------------------------------------------------------------------------------------------------


def write_certificates(folder: Path) -> None:
    """``ca``, ``server``, ``client`` and ``stranger`` (an authority that signed none of them): .crt and .key files."""
    authority = ec.generate_private_key(ec.SECP256R1())
    write_certificate(folder, "ca", authority, authority, "ca")
    stranger = ec.generate_private_key(ec.SECP256R1())
    write_certificate(folder, "stranger", stranger, stranger, "stranger")
    for name in ("server", "client"):
        write_certificate(folder, name, ec.generate_private_key(ec.SECP256R1()), authority, "ca")


def write_certificate(
    folder: Path, name: str, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey, issuer: str
) -> None:
    now = datetime.now(UTC)
    is_authority = name == issuer
    public, signer = key.public_key(), issuer_key.public_key()
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
        .add_extension(address, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
