"""What the demo talks to the server with: plain HTTP, and Feast's own remote online-store client."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from skewguard.errors import StoreUnavailableError

READY_SECONDS = 60


class Server:
    """A real server process on a free loopback port, stopped at the end.

    ``url`` is where it listens; what it logs goes to the file ``log``.
    """

    def __init__(self, repo: Path, as_of: str, log: Path) -> None:
        self.log = log
        self._command = [sys.executable, "-m", "online_api", "--repo", str(repo), "--port", "0", "--as-of", as_of]
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Server:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                self._command, stdout=subprocess.PIPE, stderr=log, text=True
            )
        output = self._process.stdout
        if output is None:
            raise StoreUnavailableError("server", "no output to read its address from")
        for line in output:
            if "http://" in line:
                self.url = "http://" + line.split("http://", 1)[1].split()[0].strip().rstrip("/")
                return self
        code = self._process.wait()
        raise StoreUnavailableError("server", f"did not start (exit code {code}); its log:\n{self.log.read_text()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def look_up(self, service: str, entities: Mapping[str, list[Any]]) -> tuple[int, dict[str, Any]]:
        """POST /get-online-features; the HTTP status and the JSON body, problem details included."""
        body = json.dumps({"feature_service": service, "entities": dict(entities)}).encode()
        request = urllib.request.Request(  # noqa: S310  (our own server on the loopback interface)
            f"{self.url}/get-online-features", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def look_up_until(
        self, expected: int, service: str, entities: Mapping[str, list[Any]], seconds: float = 10
    ) -> tuple[int, dict[str, Any]]:
        """Look up until the expected status comes, for the server notices a new verdict within a moment."""
        deadline = time.monotonic() + seconds
        while True:
            status, body = self.look_up(service, entities)
            if status == expected or time.monotonic() > deadline:
                return status, body
            time.sleep(0.2)


def feast_remote_lookup(repo: Path, url: str, service: str, entities: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The same look-up through Feast's ``remote`` online store, which speaks to our server as to Feast's own."""
    from skewguard.feast_repo import quiet_feast

    config = yaml.safe_load((repo / "feature_store.yaml").read_text(encoding="utf-8"))
    config["online_store"] = {"type": "remote", "path": url}
    if not str(config["registry"]).startswith("/"):
        config["registry"] = str(repo / str(config["registry"]))
    with tempfile.TemporaryDirectory() as folder, quiet_feast():
        from feast import FeatureStore

        (Path(folder) / "feature_store.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        store = FeatureStore(repo_path=folder)
        answer = store.get_online_features(store.get_feature_service(service), entity_rows=_rows(entities))
        result: dict[str, list[Any]] = answer.to_dict()
        return result


def _rows(entities: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(entities, values, strict=True)) for values in zip(*entities.values(), strict=True)]
