"""How numbers, times and values are written: degenerate cases first, then values worked by hand."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skewguard.report import figures


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (math.nan, "n/a"),
        (0.0, "0%"),
        (1.0, "100%"),
        (0.5, "50.0%"),
        (0.123, "12.3%"),
        (0.0004, "0.04%"),
        (0.000012, "0.001%"),
        (1e-9, "<0.0001%"),
        (0.9999, "99.99%"),
        (0.99999999, ">99.9999%"),
    ],
)
def test_percent(share: float, text: str) -> None:
    assert figures.percent(share) == text


@settings(deadline=None)
@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_percent_never_rounds_to_nothing_or_everything(share: float) -> None:
    text = figures.percent(share)
    assert text.startswith(("<", ">")) or 0 < float(text.rstrip("%")) < 100


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (1.0, "1.0"),
        (0.10000000149011612, "0.10000000149011612"),
        (2**63, "9223372036854775808"),
        ("web", "web"),
        ("", '""'),
        ("shop ", '"shop "'),
        ("1", '"1"'),
        ("1e5", '"1e5"'),
        ("null", '"null"'),
        ("absent", '"absent"'),
        (b"\x00\xff", "0x00ff"),
        ([1, None, "x "], '[1, null, "x "]'),
        ({"a": [1.5]}, "{a: [1.5]}"),
        (datetime(1998, 3, 1, tzinfo=UTC), "1998-03-01 00:00 UTC"),
        (timedelta(hours=-36), "-36 hours"),
        ("x" * 100, "x" * 79 + "…"),
        (10**200, "1" + "0" * 78 + "…"),
    ],
    ids=str,
)
def test_value_text(value: Any, text: str) -> None:
    assert figures.value_text(value) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain", "plain"),
        ("日本 🦜", "日本 🦜"),
        ("a\x00b\x1b[31m\n", "a\\x00b\\x1b[31m\\x0a"),
        ("\u202eright to left", "\\u202eright to left"),
        ("a\u2028b\ud800", "a\\u2028b\\ud800"),
        ("y" * 65, "y" * 63 + "…"),
        ("y" * 64, "y" * 64),
    ],
)
def test_clean(text: str, shown: str) -> None:
    assert figures.clean(text) == shown


@settings(deadline=None)
@given(st.text(max_size=200))
def test_clean_is_short_and_printable(text: str) -> None:
    shown = figures.clean(text)
    assert len(shown) <= figures.NAME_LENGTH
    shown.encode()
    assert not any(char in shown for char in "\n\r\t\x00\x1b\u202e\u2028")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(0), "0 seconds"),
        (timedelta(seconds=1), "1 second"),
        (timedelta(seconds=0.5), "0.5 seconds"),
        (timedelta(minutes=90), "90 minutes"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(hours=36), "36 hours"),
        (timedelta(days=1), "1 day"),
        (timedelta(days=5, hours=3), "5 days"),
    ],
)
def test_span(value: timedelta, text: str) -> None:
    assert figures.span(value) == text


def test_the_rest() -> None:
    assert figures.when(datetime(1998, 3, 1, 2, 0, 9, tzinfo=UTC)) == "1998-03-01 02:00:09 UTC"
    assert figures.when(datetime(1998, 3, 1)) == "1998-03-01 00:00 UTC"  # noqa: DTZ001  (naive means UTC)
    assert figures.when_text("1998-03-01T01:00:00+01:00") == "1998-03-01 00:00 UTC"
    assert figures.when_text("</time>") == "</time>"
    assert figures.when_text(None) == ""
    assert figures.interval(0.121, 0.15) == "12.1–15.0%"
    assert figures.interval(math.nan, 1.0) == "n/a"
    assert [figures.seconds(value) for value in (0.004, 12.3, 200.0)] == ["0.00 s", "12 s", "3 min 20 s"]
    assert figures.entity_text({"customer_id": 1001, "region": "EU"}) == "customer_id=1001, region=EU"
    assert figures.entity_text({}) == "(no entity)"
    assert figures.entity_text("1001") == '"1001"'
    assert figures.name_of(None, None) == "the service"
    assert figures.name_of("view", None) == "view"
    assert figures.name_of("view", "feature") == "view.feature"
    assert [figures.plural(number, "run") for number in (0, 1, 1200)] == ["0 runs", "1 run", "1,200 runs"]
