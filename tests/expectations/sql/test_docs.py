"""docs/expectations-engine.md and the compiler agree on every expectation that GX has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from skewguard.expectations import great_expectations_import
from skewguard.expectations.sql.plan import BY_GX, FAMILIES, REFUSED

PAGE = Path(__file__).parents[3] / "docs" / "expectations-engine.md"
ROWS = {
    name: (judged, told)
    for name, judged, told in re.findall(r"^\| `(\w+)` \| (sql|gx|refused) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
}


def of_gx() -> set[str]:
    """GX's own expectations, without those that others have registered in the process."""
    gx = great_expectations_import.load()
    from great_expectations.expectations.registry import get_expectation_impl

    return {name for name in gx.known() if get_expectation_impl(name).__module__.startswith("great_expectations.")}


def test_every_expectation_of_gx_is_in_the_table_and_nothing_else() -> None:
    assert set(ROWS) == of_gx()
    assert len(ROWS) == 59


def test_the_compiler_has_a_way_for_each_and_only_one() -> None:
    assert of_gx() == {*FAMILIES, *BY_GX, *REFUSED}
    assert len(FAMILIES) + len(BY_GX) + len(REFUSED) == 59


@pytest.mark.parametrize("name", sorted(ROWS))
def test_the_table_says_what_the_compiler_does(name: str) -> None:
    judged, told = ROWS[name]
    assert judged == ("sql" if name in FAMILIES else "gx" if name in BY_GX else "refused")
    if name in BY_GX:
        assert told == BY_GX[name]
    if name in REFUSED:
        assert told.startswith("GX has no pandas implementation")
