"""The report in headless Chromium: nothing logged, nothing loaded, no overflow, readable without JavaScript and in the
dark. Screenshots are kept where ``SKEWGUARD_SCREENSHOTS`` names a directory, else in pytest's own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skewguard.report import render_index, write_report
from tests.report import samples
from tests.report.browser import Driver, driver, dump

pytestmark = pytest.mark.browser

RUNS = samples.everything()
WIDTHS = {"desktop": 1200, "phone": 390, "small phone": 320}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    written = {name: write_report(run, folder / name, samples.nights(run)) for name, run in RUNS.items()}
    index = folder / "index.html"
    index.write_text(render_index(list(RUNS.values())), encoding="utf-8")
    return {**written, "index": index}


@pytest.fixture(scope="module")
def browser() -> Iterator[Driver]:
    with driver() as session:
        yield session


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wanted = os.environ.get("SKEWGUARD_SCREENSHOTS")
    folder = Path(wanted) if wanted else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("name", ["block", "hostile"])
def test_nothing_is_logged_and_nothing_is_loaded(pages: dict[str, Path], name: str) -> None:
    document, log = dump(pages[name])
    assert [line for line in log.splitlines() if "CONSOLE" in line] == []
    assert not re.search(r"(src|href)=.?https?://", document)
    assert document.count("<svg") >= 20
    assert "do not train or serve" in document


@pytest.mark.parametrize("name", [*RUNS, "index"])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_horizontal_overflow(browser: Driver, pages: dict[str, Path], name: str, width: str) -> None:
    browser.view(WIDTHS[width])
    browser.open(pages[name].as_uri())
    page, outside = browser.run(
        """const wide = document.documentElement.clientWidth;
        const out = [...document.querySelectorAll("main *")].filter(e => !e.closest(".scroll, svg, details")
          && e.getBoundingClientRect().right > wide + 0.5);
        return [document.documentElement.scrollWidth, out.map(e => e.outerHTML.slice(0, 120))]"""
    )
    assert page <= WIDTHS[width]
    assert outside == []


@pytest.mark.parametrize("name", RUNS)
def test_no_request_leaves_the_page(browser: Driver, pages: dict[str, Path], name: str) -> None:
    browser.view(1200)
    browser.open(pages[name].as_uri())
    assert browser.run("return performance.getEntriesByType('resource').map(e => e.name)") == []
    assert browser.run("return JSON.parse(document.getElementById('run').textContent).run_id") == RUNS[name].run_id
    assert browser.run("return document.querySelectorAll('img, iframe, object').length") == 0


def test_the_verdict_is_seen_without_scrolling(browser: Driver, pages: dict[str, Path]) -> None:
    browser.view(390, 844)
    browser.open(pages["block"].as_uri())
    seen = """const box = document.querySelector(arguments[0]).getBoundingClientRect();
      return [box.top >= 0 && box.bottom <= innerHeight, document.querySelector(arguments[0]).innerText]"""
    assert browser.run(seen, ".word") == [True, "BLOCKED"]
    assert browser.run(seen, "h1") == [True, "churn_v1: do not train or serve"]
    assert browser.run(seen, ".strip")[0] is True


def test_tables_sort_by_a_click_and_by_the_keyboard(browser: Driver, pages: dict[str, Path]) -> None:
    browser.view(1200)
    browser.open(pages["block"].as_uri())
    click = """const table = document.querySelector("table.found");
      const button = [...table.querySelectorAll("th button")].find(b => b.textContent === arguments[0]);
      button.focus(); button.click();
      const at = [...button.closest("tr").cells].indexOf(button.closest("th"));
      return [button.closest("th").getAttribute("aria-sort"), document.activeElement === button,
        [...table.tBodies[0].rows].map(row => row.cells[at].innerText)]"""
    state, focused, rates = browser.run(click, "Rate")
    assert (state, focused) == ("ascending", True)
    assert rates == ["0.01%", "0.2%", "0.7%", "1.0%", "37.8%", "94.4%", "100%"]
    state, _, rows = browser.run(click, "Rows")
    assert [row.split()[0] for row in rows] == ["1", "3", "14", "37", "212", "8,114", "20,276"]
    state, _, rows = browser.run(click, "Rows")
    assert state == "descending"
    assert rows[0] == "20,276 of 21,480"
    assert browser.run(click, "Policy")[2] == ["blocks"] * 3 + ["ignored"] + ["warns"] * 3


def test_everything_is_there_without_javascript(browser: Driver, pages: dict[str, Path]) -> None:
    browser.view(1200)
    browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(pages["block"].as_uri())
        document = browser.devtools("DOM.getDocument", depth=0)["root"]["nodeId"]
        body = browser.devtools("DOM.querySelector", nodeId=document, selector="table.found tbody")
        box = browser.devtools("DOM.getBoxModel", nodeId=body["nodeId"])["model"]
        buttons = browser.devtools("DOM.querySelectorAll", nodeId=document, selector="th button")
    finally:
        browser.devtools("Emulation.setScriptExecutionDisabled", value=False)
    assert box["height"] > 300
    assert buttons["nodeIds"] == []


LUMINANCE = """
const rgb = text => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
  if (c !== "rgba(0, 0, 0, 0)") return rgb(c); } return [255, 255, 255]; };
const low = [];
for (const e of document.querySelectorAll("main *")) {
  if (e.closest("svg") || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
  if (!e.checkVisibility()) continue;
  const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
  const ratio = (a + .05) / (b + .05);
  if (ratio < 4.5) low.push([ratio.toFixed(2), e.className, e.textContent.slice(0, 40)]);
}
return low;
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["pass", "warn", "block", "inconclusive"])
def test_text_has_the_contrast_of_wcag_aa(browser: Driver, pages: dict[str, Path], name: str, dark: bool) -> None:
    browser.view(1200, dark=dark)
    browser.open(pages[name].as_uri())
    assert browser.run(LUMINANCE) == []
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(17, 20, 24)") is dark


def test_accessible_names(browser: Driver, pages: dict[str, Path]) -> None:
    browser.view(1200)
    browser.open(pages["block"].as_uri())
    nodes: list[dict[str, Any]] = browser.devtools("Accessibility.getFullAXTree")["nodes"]
    images = [node for node in nodes if not node["ignored"] and node["role"]["value"] in ("image", "img")]
    assert len(images) > 15
    assert all(node.get("name", {}).get("value") for node in images)
    headings = [node["name"]["value"] for node in nodes if not node["ignored"] and node["role"]["value"] == "heading"]
    assert {"churn_v1: do not train or serve", "What to do", "Checks", "Features"} <= set(headings)
    assert browser.run("return [...document.querySelectorAll('h1')].length") == 1
    assert browser.run("return document.documentElement.lang") == "en"


def test_print_opens_what_is_folded(browser: Driver, pages: dict[str, Path]) -> None:
    browser.view(794, media="print")
    browser.open(pages["block"].as_uri())
    seen = "return document.querySelector('.panel details .pairs').checkVisibility()"
    assert browser.run(seen) is True
    assert browser.run("return getComputedStyle(document.querySelector('nav')).display") == "none"
    browser.view(794)
    assert browser.run(seen) is False


@pytest.mark.parametrize("name", ["pass", "block", "inconclusive", "drift"])
def test_screenshots(browser: Driver, pages: dict[str, Path], shots: Path, name: str) -> None:
    for width in ("desktop", "phone"):
        for dark in (False, True):
            browser.view(WIDTHS[width], dark=dark)
            browser.open(pages[name].as_uri())
            picture = browser.screenshot(
                shots / f"{name}-{width}-{'dark' if dark else 'light'}.png", height=3600 if name == "drift" else 2400
            )
            data = picture.read_bytes()
            assert data[:8] == b"\x89PNG\r\n\x1a\n"
            assert int.from_bytes(data[16:20], "big") == WIDTHS[width]
            assert len(data) > 20_000
