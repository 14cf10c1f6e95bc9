"""The files around the code: compose, lock, README."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

from skewguard.cli import app

ROOT = Path(__file__).parents[1]


def test_compose_names_commands_and_files_that_exist() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    services = compose["services"]
    assert set(services) == {"redis", "api", "nightly", "prometheus", "grafana"}
    for name in ("prometheus", "grafana"):
        assert services[name]["profiles"] == ["monitoring"]
        mounted = [volume.split(":")[0] for volume in services[name]["volumes"] if volume.startswith("./")]
        assert mounted
        assert all((ROOT / path).exists() for path in mounted)
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    for name in ("api", "nightly"):
        assert services[name]["command"][0] in names
        assert services[name]["environment"]["SKEWGUARD_REDIS"] == "redis:6379"
        assert services[name]["depends_on"]["redis"]["condition"] == "service_healthy"
    assert services["api"]["ports"] == ["127.0.0.1:8080:8080"]
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY"):
            assert all((ROOT / part).exists() for part in line.split()[1:-1])


def test_the_lock_has_plain_pins_with_hashes_and_names_no_index() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?://|--(extra-)?index|--find-links", text)
    pins = re.findall(r"^(\S+)==(\S+)(?: ;.*)? \\$", text, re.MULTILINE)
    assert len(pins) > 80
    assert len(re.findall("--hash=sha256:", text)) >= len(pins)


def test_readme_links_and_commands_exist() -> None:
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target
    for command in re.findall(r"^\$ skewguard ([\w-]+)", text, re.MULTILINE):
        done = subprocess.run(
            [sys.executable, "-m", "skewguard.cli", command, "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done.stderr)
