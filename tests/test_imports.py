"""The pure core stays pure, the front door costs nothing, and the public names are the ones that exist."""

import subprocess
import sys

import pytest

import skewguard

PURE = ["causes.cells", "causes.rows", "causes.equality", "causes.catalogue", "checks.parity", "checks.freshness",
        "checks.definition", "compare.comparison", "compare.frame", "profile", "gate", "contract", "findings",
        "history", "config", "definitions", "digest", "run_json", "state",
        "expectations.rows.validator", "expectations.rows.rate"]  # fmt: skip
HEAVY = {"feast", "redis", "fastapi", "great_expectations", "pandas", "sklearn"}


def loaded_by(code: str) -> set[str]:
    script = f"import sys; {code}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_the_pure_core_imports_nothing_heavy() -> None:
    found = loaded_by("; ".join(f"import skewguard.{name}" for name in PURE)) & HEAVY
    # pyarrow brings in pandas by itself only where it is asked to convert
    assert found == set()


@pytest.mark.parametrize("code", ["import skewguard", "import skewguard.cli"])
def test_the_front_door_is_light(code: str) -> None:
    assert loaded_by(code) & (HEAVY | {"pyarrow", "duckdb", "numpy"}) == set()


def test_public_names_exist_and_are_all_of_them() -> None:
    for name in skewguard.__all__:
        assert getattr(skewguard, name).__name__ in (name, f"{name}Error")
    assert set(skewguard.__all__) == set(skewguard._HOMES)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = skewguard.nothing
