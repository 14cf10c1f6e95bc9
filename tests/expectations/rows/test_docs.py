"""docs/row-validator.md lists every expectation of GX, with what becomes of it on a row."""

from __future__ import annotations

import re
from pathlib import Path

from skewguard.expectations.rows.compile import NIGHTLY
from skewguard.expectations.rows.suite import STATUSES
from tests.expectations.generated import RULES

PAGE = (Path(__file__).parents[3] / "docs" / "row-validator.md").read_text(encoding="utf-8")


def test_every_expectation_is_listed_with_its_status() -> None:
    listed = dict(re.findall(r"^\| `(expect_\w+)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert set(listed) == set(RULES)
    assert {kind for kind, told in listed.items() if told == "`nightly`"} == set(NIGHTLY)


def test_every_status_is_explained() -> None:
    for status in STATUSES:
        assert f"| `{status}` |" in PAGE
