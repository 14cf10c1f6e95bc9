"""The table of the command line: what it says, within 100 columns, coloured only when asked."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace

import pytest

from skewguard.findings import Cause
from skewguard.report import render_table
from tests.report import samples


def columns(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


@pytest.mark.parametrize("name", samples.everything())
def test_fits_100_columns_and_has_no_control_characters(name: str) -> None:
    text = render_table(samples.everything()[name])
    assert max(columns(line) for line in text.splitlines()) <= 100
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    assert text.endswith("\n")
    assert not any(line.endswith(" ") for line in text.splitlines())


def test_what_it_says() -> None:
    assert render_table(samples.blocking()).splitlines() == [
        "BLOCKED  churn_v1 as of 1998-03-01 00:00 UTC",
        "  6 findings, 3 of them blocking; 1 check of 5 undecided; 1 ignored; 21,480 rows compared",
        "  - unit_scale on customer_spend.spend_30d: 94.4% of rows, policy blocks over 0.1%",
        "  - not_materialized on customer_activity.orders_7d: 37.8% of rows, policy blocks over 5%",
        "  - stale_watermark on customer_activity: 5 days, policy blocks over 1 day",
        "",
        "cause               view.feature                         count/compared   rate  action",
        "------------------  -----------------------------------  --------------  -----  ------",
        "unit_scale          customer_spend.spend_30d              20,276/21,480  94.4%  block",
        "not_materialized    customer_activity.orders_7d            8,114/21,480  37.8%  block",
        "stale_watermark     customer_activity                               1/1   100%  block",
        "missing_online      customer_spend                            37/21,480   0.2%  warn",
        "expired_but_served  customer_profile.channel                   3/21,480  0.01%  warn",
        "blocked_correction  customer_spend.spend_90d                 212/21,480   1.0%  warn",
        "expectation_failed  customer_profile.first_basket_items        14/2,000   0.7%  ignore",
        "",
        "not decided: replay inconclusive: the serving log holds no request of this day",
    ]
    assert render_table(samples.passing()) == (
        "PASS  churn_v1 as of 1998-03-01 00:00 UTC\n  no findings; 21,480 rows compared\n"
    )


def test_colour_only_when_asked() -> None:
    run = samples.blocking()
    coloured = render_table(run, colour=True)
    assert "\x1b[1;31mBLOCKED\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render_table(run)


def test_many_findings_are_cut_and_counted() -> None:
    run = samples.wide(50, 30)
    lines = render_table(run).splitlines()
    assert lines[-1] == "and 10 more findings, in the report"
    assert sum(line.startswith("unexplained") for line in lines) == 20


def test_a_cause_as_long_as_they_come_still_fits() -> None:
    longest = max(Cause, key=lambda cause: len(cause.value))
    found = replace(samples.block_findings()[0], cause=longest, view="v" * 200, count=10**12, compared=10**12)
    text = render_table(replace(samples.blocking(), findings=(found,)))
    assert max(map(len, text.splitlines())) <= 100
    assert "…" in text
