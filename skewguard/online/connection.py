"""Where the online store is, and connections to it: feature_store.yaml read as Feast reads it, without Feast.

Source: ``RedisOnlineStoreConfig``, ``_parse_connection_string`` and ``_get_client`` in
``feast/infra/online_stores/redis.py``, and ``load_repo_config`` in ``feast/repo_config.py`` of Feast 0.67.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
import yaml
from redis import exceptions
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from skewguard.errors import ConfigurationError, StoreUnavailableError, nearest

KINDS = ("redis", "redis_cluster", "redis_sentinel")
REDIS_TYPES = ("redis", "feast.infra.online_stores.redis.RedisOnlineStore")
_TIMEOUT_SECONDS = 5.0
_SECRETS = ("password", "username")
_RETRIES = 1


@dataclass(frozen=True)
class RedisSettings:
    """Where and how to reach the online store.

    Attributes:
        kind: "redis", "redis_cluster" or "redis_sentinel".
        nodes: (host, port) of the server, the cluster's start nodes or the sentinels.
        params: arguments of the Redis client from the connection string; not shown, as there may be a password.
        sentinel_master: the name of the master, for Sentinel.
        key_ttl_seconds: Feast's setting of that name; None where keys do not expire.
    """

    kind: str = "redis"
    nodes: tuple[tuple[str, int], ...] = (("localhost", 6379),)
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    sentinel_master: str = "mymaster"
    key_ttl_seconds: int | None = None

    @property
    def label(self) -> str:
        """The store in words, without secrets: for messages."""
        nodes = ",".join(f"{host}:{port}" for host, port in self.nodes)
        kind = "Redis" if self.kind == "redis" else f"Redis ({self.kind.removeprefix('redis_')})"
        return f"{kind} at {nodes}"


def settings_from_repo(repo_path: str | os.PathLike[str]) -> RedisSettings:
    """The online store of a Feast repository, from its feature_store.yaml; environment variables are filled in.

    Raises ConfigurationError: no such file, not YAML, an online store other than Redis, a variable that is not set,
    a connection string that Feast cannot read, or key and field names of a version that is not read here.
    """
    path = Path(repo_path) / "feature_store.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; expected the folder of a Feast repository.") from error
    try:
        config = yaml.safe_load(os.path.expandvars(text))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not YAML: {error}") from error
    if not isinstance(config, dict):
        raise ConfigurationError(f"{path}: got {type(config).__name__}; expected keys and values.")
    _check_layout(config, path)
    store = config.get("online_store")
    store = {"type": store} if isinstance(store, str) else store or {}
    return _settings(store, path)


def _check_layout(config: Mapping[str, Any], path: Path) -> None:
    version = config.get("entity_key_serialization_version", 3)
    if version != 3:
        raise ConfigurationError(f"{path}: entity_key_serialization_version: got {version!r}; expected 3.")
    registry = config.get("registry")
    if isinstance(registry, dict) and registry.get("enable_online_feature_view_versioning"):
        raise ConfigurationError(
            f"{path}: registry.enable_online_feature_view_versioning: got true; expected false "
            "(field names with a version are not read)."
        )


def _settings(store: Mapping[str, Any], path: Path) -> RedisSettings:
    kind = store.get("type", "redis")
    if kind not in REDIS_TYPES:
        raise ConfigurationError(
            f"{path}: online_store.type: got {kind!r}; expected 'redis'. Another store is checked, and "
            "written with `feast materialize`; what was asked for reads or writes Redis itself."
        )
    redis_type = store.get("redis_type", "redis")
    if redis_type not in KINDS:
        hint = nearest(str(redis_type), KINDS)
        maybe = f" Did you mean {hint!r}?" if hint else ""
        raise ConfigurationError(
            f"{path}: online_store.redis_type: got {redis_type!r}; expected one of {', '.join(KINDS)}.{maybe}"
        )
    ttl = store.get("key_ttl_seconds")
    if ttl is not None and (not isinstance(ttl, int) or isinstance(ttl, bool) or ttl < 0):
        raise ConfigurationError(f"{path}: online_store.key_ttl_seconds: got {ttl!r}; expected whole seconds.")
    nodes, params = parse_connection_string(str(store.get("connection_string", "localhost:6379")), str(path))
    return RedisSettings(redis_type, nodes, params, str(store.get("sentinel_master", "mymaster")), ttl or None)


def parse_connection_string(text: str, where: str = "") -> tuple[tuple[tuple[str, int], ...], dict[str, Any]]:
    """Nodes and client arguments of Feast's ``host:port,host:port,name=value`` form.

    Values are JSON where they can be, as in Feast; a password or user name stays the text that it is. Raises
    ConfigurationError, without quoting values.
    """
    prefix = f"{where}: online_store.connection_string" if where else "connection_string"
    nodes, params = [], {}
    for place, part in enumerate(text.split(","), start=1):
        name, equals, value = part.partition("=")
        unset = re.search(r"\$\{(\w+)\}" if equals else r"\$\{?(\w+)\}?", value if equals else part)
        if unset:
            raise ConfigurationError(f"{prefix}: the environment variable {unset.group(1)} is not set; set it.")
        if equals:
            params[name.strip()] = _parameter(name.strip(), value)
            continue
        host, _, port = part.strip().rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            # not quoted: it may be what follows a comma in a password
            raise ConfigurationError(
                f"{prefix}: part {place} is neither host:port nor name=value; expected host:port "
                "(no value may contain a comma)."
            )
        nodes.append((host, int(port)))
    if not nodes:
        raise ConfigurationError(f"{prefix}: got no server; expected host:port.")
    return tuple(nodes), params


def _parameter(name: str, value: str) -> Any:
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    # Feast would log in with 1000.0 where the password is 1e3
    return value if name in _SECRETS and not isinstance(parsed, str) else parsed


def connect(settings: RedisSettings) -> Any:
    """A redis-py client (Redis, RedisCluster or a Sentinel master) that has answered a PING; replies are bytes.

    Connecting and reading time out after five seconds each, unless the connection string says otherwise. Close it.
    Raises StoreUnavailableError, and ConfigurationError for arguments that redis-py does not know.
    """
    with guarded(settings.label):
        client = _client(settings, redis, Retry)
        try:
            client.ping()
        except BaseException:
            client.close()
            raise
    return client


def connect_async(settings: RedisSettings) -> Any:
    """The same client of redis.asyncio, not yet connected: it connects when it is first used, within its event loop."""
    from redis import asyncio
    from redis.asyncio.retry import Retry as AsyncRetry

    return _client(settings, asyncio, AsyncRetry)


def _client(settings: RedisSettings, module: Any, retry: Any) -> Any:
    # redis-py by itself retries for seconds before it says that a server is down
    arguments = {
        "socket_connect_timeout": _TIMEOUT_SECONDS,
        "socket_timeout": _TIMEOUT_SECONDS,
        "retry": retry(ExponentialBackoff(cap=0.5, base=0.05), _RETRIES),
        **settings.params,
        "decode_responses": False,
    }
    try:
        if settings.kind == "redis_cluster":
            nodes = [module.cluster.ClusterNode(host, port) for host, port in settings.nodes]
            return module.RedisCluster(startup_nodes=nodes, **arguments)
        if settings.kind == "redis_sentinel":
            # by itself redis-py hands on the timeouts to the sentinels' own connections, but not the retries
            handed_on = {
                name: value for name, value in arguments.items() if name.startswith("socket_") or name == "retry"
            }
            sentinels = module.Sentinel(list(settings.nodes), **{"sentinel_kwargs": handed_on, **arguments})
            return sentinels.master_for(settings.sentinel_master)
        host, port = settings.nodes[0]
        return module.Redis(host=host, port=port, **arguments)
    except TypeError as error:
        raise ConfigurationError(f"connection_string of {settings.label}: {error}; see redis-py.") from error
    except exceptions.RedisClusterException as error:
        if "in cluster mode" in str(error):
            raise ConfigurationError(f"connection_string of {settings.label}: {error}") from error
        raise


def label_of(client: Any) -> str:
    """A client's store in words, without secrets."""
    manager = getattr(client, "nodes_manager", None)
    if manager is not None:
        return f"Redis (cluster) at {','.join(sorted(manager.startup_nodes))}"
    pool = client.connection_pool
    service = getattr(pool, "service_name", None)
    if service is not None:
        return f"Redis (sentinel) master {service}"
    known = pool.connection_kwargs
    return f"Redis at {known.get('path') or '{}:{}'.format(known.get('host'), known.get('port'))}"


@contextlib.contextmanager
def guarded(store: Any) -> Iterator[None]:
    """Turn every failure of Redis into StoreUnavailableError with the reason and what to do.

    ``store`` is a client or a label. No message holds a password: redis-py's own do not, and the label does not.
    """
    try:
        yield
    except (exceptions.RedisError, exceptions.RedisClusterException, OSError) as error:
        if isinstance(error, StoreUnavailableError):
            raise
        label = store if isinstance(store, str) else label_of(store)
        reason, advice = _explained(error)
        raise StoreUnavailableError(label, reason, advice) from error


_EXPLAINED: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    (
        (exceptions.AuthenticationError, exceptions.AuthenticationWrongNumberOfArgsError),
        "refused the credentials",
        "Check username and password in online_store.connection_string.",
    ),
    ((exceptions.NoPermissionError,), "this user may not do that", "Give it read, write and scripting rights."),
    ((exceptions.BusyLoadingError,), "is still loading its data", "Try again in a moment."),
    ((exceptions.TimeoutError, TimeoutError), "did not answer in time", "Is it overloaded, or behind a firewall?"),
    ((exceptions.ReadOnlyError,), "is a read-only replica", "Point online_store.connection_string at the master."),
    ((exceptions.OutOfMemoryError,), "is out of memory", "Raise maxmemory or free some; then run again."),
    ((exceptions.ClusterDownError,), "the cluster is down", "See CLUSTER INFO on one of its nodes."),
)


def _explained(error: Exception) -> tuple[str, str]:
    detail = str(error).strip().rstrip(".")
    for kinds, reason, advice in _EXPLAINED:
        if isinstance(error, kinds):
            return f"{reason} ({detail or type(error).__name__})", advice
    if detail.startswith(("NOAUTH", "WRONGPASS")):
        return f"refused the credentials ({detail})", _EXPLAINED[0][2]
    unreachable = isinstance(error, exceptions.RedisClusterException) and "cannot be connected" in detail
    if unreachable or isinstance(error, exceptions.ConnectionError | OSError):
        return f"not reachable ({detail or type(error).__name__})", "Is it running, and is the address right?"
    return f"{type(error).__name__}: {detail}", "Run again; what was written stays, what was not is written then."


_REPLY_ERRORS: Mapping[str, type[Exception]] = {
    "LOADING": exceptions.BusyLoadingError,
    "NOAUTH": exceptions.AuthenticationError,
    "WRONGPASS": exceptions.AuthenticationError,
    "NOPERM": exceptions.NoPermissionError,
    "READONLY": exceptions.ReadOnlyError,
    "OOM": exceptions.OutOfMemoryError,
}


def reply_error(text: str) -> Exception:
    """An error that Redis answered, as the class that redis-py gives it; for replies that are read without redis-py."""
    code, _, rest = text.partition(" ")
    return _REPLY_ERRORS[code](rest) if code in _REPLY_ERRORS else exceptions.ResponseError(text)


_PLAIN = frozenset({"db", "username", "password", "socket_timeout", "socket_connect_timeout"})


def is_plain(settings: RedisSettings) -> bool:
    """Whether the store is one server that needs no more than a login and a database number."""
    return settings.kind == "redis" and set(settings.params) <= _PLAIN


def login(params: Mapping[str, Any]) -> list[tuple[bytes, ...]]:
    """What a new connection says first: AUTH and SELECT, where they are asked for."""
    commands: list[tuple[bytes, ...]] = []
    if params.get("password") is not None:
        user = [str(params["username"]).encode()] if params.get("username") else []
        commands.append((b"AUTH", *user, str(params["password"]).encode()))
    if params.get("db"):
        commands.append((b"SELECT", str(params["db"]).encode()))
    return commands
