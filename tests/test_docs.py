"""Every cause, policy key, check and command is documented."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from skewguard.alerts.settings import AlertSettings
from skewguard.cli import app
from skewguard.config import DEFAULT_ACTIONS, Drift, ServicePolicy
from skewguard.faults import FAULTS
from skewguard.findings import Cause
from skewguard.gate import BY_SEVERITY
from skewguard.report.words import WORDS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_is_documented_with_its_default(cause: Cause) -> None:
    (line,) = re.findall(rf"^\| `{cause.value}` \|.*$", (DOCS / "causes.md").read_text(), re.MULTILINE)
    default = line.rstrip("| ").rsplit("|", 1)[1].strip()
    assert default == ("by severity" if cause in BY_SEVERITY else DEFAULT_ACTIONS[cause.value])
    assert cause in WORDS


def test_policy_keys_and_their_documentation_agree() -> None:
    documented = set(re.findall(r"^\| `(\w+)` \|", (DOCS / "policy.md").read_text(), re.MULTILINE))
    assert documented == {
        *ServicePolicy.model_fields, *Drift.model_fields, *AlertSettings.model_fields, "version", "services",
    }  # fmt: skip


def test_every_command_is_in_the_generated_reference() -> None:
    reference = (DOCS / "cli.md").read_text()
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        assert f"## `skewguard {name}`" in reference
        for parameter in command.params:
            for option in parameter.opts:
                assert option in reference, f"{name} {option}: run `make docs`"


def test_every_drill_is_documented() -> None:
    table = "".join(re.findall(r"^\|.*$", (DOCS / "drills.md").read_text(), re.MULTILINE))
    assert {name for name in FAULTS if f"`{name}`" not in table} == set()


def test_every_check_has_its_section() -> None:
    text = (DOCS / "checks.md").read_text()
    for module in (ROOT / "skewguard" / "checks").glob("*.py"):
        if module.stem not in ("__init__", "states"):
            assert f"\n## {module.stem}\n" in text
