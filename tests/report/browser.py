"""Headless Chromium for the tests: one-shot runs, and a session over the W3C WebDriver protocol. No package needed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def find(*names: str) -> str:
    """The first of these programs on PATH; without one the page tests are skipped, but fail in CI."""
    for name in names:
        if (path := shutil.which(name)) is not None:
            return path
    missing = f"none of {', '.join(names)} is on PATH; install chromium and chromium-driver (apt-get install both)"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def chromium() -> str:
    return find("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def dump(page: Path, *flags: str) -> tuple[str, str]:
    """Open a file once: the document after loading, and what the browser logged."""
    with tempfile.TemporaryDirectory(prefix="skewguard-chromium-") as profile:
        done = subprocess.run(
            [
                chromium(),
                *FLAGS,
                f"--user-data-dir={profile}",
                "--enable-logging=stderr",
                "--virtual-time-budget=3000",
                *flags,
                "--dump-dom",
                page.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=90,
            check=True,
        )
    return done.stdout, done.stderr


class Driver:
    """A browser session: the few commands that the tests need."""

    def __init__(self, base: str, session: str) -> None:
        self.root = f"{base}/session/{session}"

    def open(self, url: str) -> None:
        _call("POST", f"{self.root}/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a function body of JavaScript."""
        return _call("POST", f"{self.root}/execute/sync", {"script": script, "args": list(arguments)})

    def devtools(self, command: str, **parameters: Any) -> Any:
        return _call("POST", f"{self.root}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def view(self, width: int, height: int = 900, *, dark: bool = False, media: str = "screen") -> None:
        """Set the viewport and the preferred colours."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def screenshot(self, path: Path, top: int = 0, height: int | None = None) -> Path:
        """The page from ``top`` down, all of it unless ``height`` says otherwise."""
        size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
        assert top < size["height"], "nothing is left of the page there"
        clip = {
            "x": 0,
            "y": top,
            "width": size["width"],
            "height": min(height or size["height"], size["height"] - top),
            "scale": 1,
        }
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))
        return path


@contextmanager
def driver() -> Iterator[Driver]:
    """A chromedriver on a free loopback port, with one browser."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    binary = chromium()
    base = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="skewguard-chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [find("chromedriver"), f"--port={port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait(base)
            options = {"binary": binary, "args": [*FLAGS, f"--user-data-dir={profile}"]}
            wanted = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
            session = _call("POST", f"{base}/session", {"capabilities": wanted})["sessionId"]
            try:
                yield Driver(base, session)
            finally:
                _call("DELETE", f"{base}/session/{session}")
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # the browser too, should the session not have ended well
            process.wait(timeout=20)


def _wait(base: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            if _call("GET", f"{base}/status")["ready"]:
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _call(method: str, url: str, body: Any = None) -> Any:
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{method} {url}: {error.read().decode(errors='replace')[:2000]}") from error
