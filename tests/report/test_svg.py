"""The charts: well-formed, told in words, drawn to scale, whatever comes in."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from skewguard.findings import Verdict
from skewguard.report import svg
from tests.report.samples import HOSTILE


def parse(image: Markup) -> ElementTree.Element:
    """The image as XML; it has its role and its words."""
    root = ElementTree.fromstring(str(image))
    assert root.tag == "svg"
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert root.findtext("title")
    assert "nan" not in re.sub('<title>.*?</title>|aria-label=".*?"', "", str(image)).lower()
    return root


def paths(image: Markup, css: str) -> list[str]:
    return [node.get("d", "") for node in parse(image).iter("path") if css in node.get("class", "").split()]


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize(
    ("labels", "offline", "online"),
    [
        (("a",), (0,), (0,)),
        (("a",), (5,), (0,)),
        (("a",), (0,), (5,)),
        (("a", "b"), (1, 2), (1,)),
        (tuple(str(i) for i in range(300)), tuple(range(300)), tuple(reversed(range(300)))),
        (HOSTILE, (1,) * len(HOSTILE), (2,) * len(HOSTILE)),
        (("a", "b"), (10**18, 1), (1, 10**18)),
    ],
)
def test_histogram_is_well_formed(
    labels: tuple[str, ...], offline: tuple[int, ...], online: tuple[int, ...], small: bool
) -> None:
    clean = tuple(re.sub("[\x00\x1b]", "", label) for label in labels)
    parse(svg.histogram("view.feature", clean, offline, online, small=small))


def test_no_bins_no_image() -> None:
    assert svg.histogram("f", (), (), ()) == ""
    assert svg.cause_split("f", (), 0) == ""


def test_histogram_is_drawn_to_scale() -> None:
    image = svg.histogram("spend", ("low", "high"), (75, 25), (1, 1))
    # 480 wide, the base at 128, the highest share (75%) at 14; 25% is a third of it, 50% two thirds
    assert paths(image, "off") == ["M0 128V14h239V128zM240 128V90h239V128z"]
    assert paths(image, "on") == ["M0 128V52H480V128"]
    assert parse(image).get("aria-label") == "spend: offline 100, online 2 values in 2 bins"
    assert [node.text for node in parse(image).iter("text")] == ["75.0%", "low", "high"]


def test_equal_sides_are_one_path_when_small() -> None:
    assert len(parse(svg.histogram("f", ("a", "b"), (1, 3), (10, 30), small=True)).findall("path")) == 1
    assert len(parse(svg.histogram("f", ("a", "b"), (1, 3), (3, 1), small=True)).findall("path")) == 2


def test_many_bins_name_only_the_ends() -> None:
    labels = tuple(f"{i} to {i + 1}" for i in range(30))
    texts = [node.text for node in parse(svg.histogram("f", labels, (1,) * 30, (1,) * 30)).iter("text")]
    assert texts == ["3.3%", "0 to 1", "29 to 30"]


def test_cause_split_is_drawn_to_scale_and_nothing_is_invisible() -> None:
    root = parse(svg.cause_split("f", [("unit", 50), ("lost", 1), ("never", 0)], 1000))
    widths = [(node.get("class"), float(node.get("width", "0"))) for node in root.iter("rect")]
    assert widths == [("agree", 480.0), ("c0", 24.0), ("c1", 3.0)]
    assert root.get("aria-label") == "f: unit 5.0%, lost 0.1%"


def test_cause_split_never_overflows() -> None:
    root = parse(svg.cause_split("f", [(f"cause {i}", 1) for i in range(400)], 10))
    assert sum(float(node.get("width", "0")) for node in root.iter("rect")) - 480 < 480 + 20
    assert {node.get("class") for node in root.iter("rect")} == {"agree", *(f"c{i}" for i in range(8))}


def test_verdict_strip_has_its_slots_and_ends_with_the_latest() -> None:
    nights = [(f"1998-02-{day:02d}", list(Verdict)[day % 4]) for day in range(1, 21)]
    root = parse(svg.verdict_strip(nights))
    cells = [node.get("class") for node in root.iter("rect")]
    assert len(cells) == 14
    assert cells[-1] == f"v-{nights[-1][1].value} now"
    assert [node.text for node in root.iter("text")][-1] == {"pass": "✓", "warn": "!", "block": "✕"}.get(
        nights[-1][1].value, "?"
    )
    short = [node.get("class") for node in parse(svg.verdict_strip(nights[:2])).iter("rect")]
    assert short[:12] == ["none"] * 12
    parse(svg.verdict_strip([]))


def test_rate_strip_tells_unknown_from_nothing() -> None:
    image = svg.rate_strip("f", [None, 0.0, 0.5, 1.0])
    assert paths(image, "zero") == ["M136 26h3"]
    assert paths(image, "rate") == ["M145 27V15h9V27zM157 27V3h9V27z"]
    assert str(parse(image).get("aria-label")).endswith("unknown, 0%, 50.0%, 100%")
    parse(svg.rate_strip("f", []))


@pytest.mark.parametrize(("rate", "x"), [(0.0, "5"), (1.0, "99"), (0.5, "52")])
def test_rate_dot(rate: float, x: str) -> None:
    circle = parse(svg.rate_dot(rate, 0.0, 1.0)).find("circle")
    assert circle is not None
    assert circle.get("cx") == x
    parse(svg.rate_dot(rate, math.nan, math.nan))


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_has_its_own_icon(verdict: Verdict) -> None:
    parse(svg.verdict_icon(verdict))
    assert len({str(svg.verdict_icon(each)) for each in Verdict}) == 4
