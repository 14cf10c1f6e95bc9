"""GX, SQL and the row validator agree on random suites and tables, but for deviations with a name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.expectations.generated import Case, case, cases
from tests.expectations.three_ways import DEVIATIONS, compare

DOCS = Path(__file__).parents[2] / "docs" / "row-validator.md"


@pytest.mark.parametrize("block", range(4))
def test_seeded_cases(block: int) -> None:
    """The first cases of ``python -m benchmarks.suite_parity``."""
    for seed in range(block * 15, block * 15 + 15):
        compared = compare(case(seed))
        assert not compared.unexplained, f"case {seed}: " + "\n".join(map(str, compared.unexplained))
        assert compared.judged["gx"] == 10


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_any_case(generated: Case) -> None:
    compared = compare(generated)
    assert not compared.unexplained, "\n".join(map(str, compared.unexplained))


def test_every_deviation_is_documented() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for name in DEVIATIONS:
        assert f"| {name} |" in text, name
