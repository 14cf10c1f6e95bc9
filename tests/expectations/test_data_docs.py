"""GX's Data Docs pages load nothing, run nothing, and show values as they are; ours links to them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from skewguard.expectations import great_expectations_import
from skewguard.expectations.data_docs import NIGHTS, DataDocs
from skewguard.expectations.plain_page import plain_page
from skewguard.report import render_index
from tests.expectations.builders import between, entry
from tests.report.browser import driver, dump

AS_OF = datetime(2026, 9, 1, 6, tzinfo=UTC)
HOSTILE = "<script>document.title = 'ran'</script><img src=https://example.org/x onerror=alert(1)>"


def result_of(frame: pd.DataFrame, *entries: dict[str, Any]) -> Any:
    """GX's own result of a suite."""
    from great_expectations.core import ExpectationSuiteValidationResult

    gx = great_expectations_import.load()
    engine = gx.Engine()
    engine.load_batch_data("t", frame)
    configurations = [gx.Configuration(**{**e, "meta": {"notes": e.get("notes")}}) for e in entries]
    results = gx.Validator(execution_engine=engine).graph_validate(
        configurations, {"result_format": {"result_format": "SUMMARY"}, "catch_exceptions": True}
    )
    good = sum(bool(r.success) for r in results)
    counts = {
        "evaluated_expectations": len(results), "successful_expectations": good,
        "unsuccessful_expectations": len(results) - good, "success_percent": 100 * good / len(results),
    }  # fmt: skip
    return ExpectationSuiteValidationResult(
        success=good == len(results), results=results, suite_name="till_v1", suite_parameters={}, statistics=counts,
        meta={"great_expectations_version": "1.24.1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def result() -> Any:
    frame = pd.DataFrame({"spend": [1.0, 2.0, None, 9.0], "town <b>": ["a", "b", HOSTILE, "c"]})
    return result_of(
        frame,
        between("spend", min_value=0, max_value=5),
        entry("expect_column_values_to_be_in_set", column="town <b>", value_set=["a", "b", "<u>c"]),
        entry("expect_column_distinct_values_to_be_in_set", column="town <b>", value_set=["a"]),
        entry("expect_column_mean_to_be_between", column="town <b>", min_value=1),
        entry("expect_column_kl_divergence_to_be_less_than", column="spend", threshold=1, partition_object=None),
        entry("expect_table_row_count_to_equal", value=4),
    )


@pytest.fixture
def site(tmp_path: Path, result: Any) -> DataDocs:
    docs = DataDocs(tmp_path / "data_docs")
    docs.add("20260901T060000", "till/v1", AS_OF, result)
    return docs


def page(site: DataDocs) -> Path:
    (found,) = site.folder.glob("*/*.html")
    return found


def test_nothing_loads_and_nothing_runs(site: DataDocs) -> None:
    for file in (page(site), site.index):
        text = file.read_text(encoding="utf-8")
        assert "default-src 'none'" in text
        assert not re.search(r"<(script|img|link|iframe|form|base|object|svg)\b", text)
        assert not re.search(r"(https?:|//)", re.sub(r"(?s)<main>.*", "", text))
        assert not re.search(r"(src|onclick|onerror|style|action)=(?!https)", re.sub(r"&[lg]t;.*?&gt;", "", text))
        assert re.findall(r'href="(?!#|\.\./index|2026)[^"]*"', text) == []


def test_it_says_what_gx_says(site: DataDocs) -> None:
    text = page(site).read_text(encoding="utf-8")
    assert "till/v1, 2026-09-01 06:00 UTC" in text
    assert re.search(r"values must be greater than or equal to <span[^>]*>0.0</span> and less than", text)
    assert "1 unexpected values found. ≈33.33% of 4 total rows." in text
    assert "raised an exception" in text
    assert re.search(r"town <b>\s*</b></h5>", text)  # GX escapes no heading: what it opens is closed
    assert "&lt;script&gt;document.title" in text  # as GX has it, this would run
    assert "without its scripts" in text


def test_the_results_stay_as_they_were(site: DataDocs, result: Any) -> None:
    lists = [one.result.get("partial_unexpected_list", []) for one in result.results]
    assert HOSTILE in [value for values in lists for value in values]
    assert "run_id" not in result.meta


@pytest.mark.browser
def test_no_request_leaves_the_page_in_a_browser(site: DataDocs) -> None:
    document, log = dump(page(site))
    assert [line for line in log.splitlines() if "CONSOLE" in line] == []
    assert "ran</title>" not in document
    with driver() as browser:
        for file in (page(site), site.index):
            browser.view(1200)
            browser.open(file.as_uri())
            assert browser.run("return performance.getEntriesByType('resource').map(e => e.name)") == []
            assert browser.run("return document.title").endswith(("UTC", "Data Docs"))
        browser.run("document.querySelector('td a').click()")
        assert browser.run("return location.pathname").endswith("till%252Fv1.html")
        browser.run("document.querySelector('p.from a').click()")
        assert browser.run("return document.querySelectorAll('tbody tr').length") == 1


def test_the_last_nights_are_kept(tmp_path: Path, result: Any) -> None:
    docs = DataDocs(tmp_path / "docs")
    for night in range(NIGHTS + 2):
        at = AS_OF + timedelta(days=night)
        docs.add(f"{at:%Y%m%dT%H%M%S}", "a", at, result)
    again = f"{at:%Y%m%dT%H%M%S}"
    docs.add(again, "b", at, result)
    docs.add(again, "b", at, result)  # a night that goes on: once all the same
    names = sorted(p.name for p in docs.folder.iterdir() if p.is_dir())
    assert (len(names), names[0]) == (NIGHTS, "20260903T060000")
    text = docs.index.read_text(encoding="utf-8")
    assert text.count("<tr><td>") == NIGHTS + 1
    assert text.index("2026-10-02") < text.index("2026-09-03")
    assert "4 of 6 do not hold" in text


def test_our_index_links_to_it_and_stays_the_front_page() -> None:
    assert "Data Docs" not in render_index([])
    assert '<a href="data_docs/index.html">' in render_index([], data_docs="data_docs/index.html")


PAGE = "<html><head><title>t</title></head><body>{}</body></html>"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("<p>a</p>", "<p>a</p>"),
        ("<p onclick='x()' style='background:url(https://x)'>a</p>", "<p>a</p>"),
        ("<script>a<b</script>c", "c"),
        ("<a href='https://x.org'>a</a><a href='#s'>b</a>", '<a>a</a><a href="#s">b</a>'),
        ("<a href='javascript:alert(1)'>a</a>", "<a>a</a>"),
        ("<img src=x onerror=alert(1)>a", "a"),
        ("a &lt;b&gt; &amp; c", "a &lt;b&gt; &amp; c"),
        ("<div><b>open</div><p>next</p>", "<div><b>open</b></div><p>next</p>"),
        ("</div></p>a", "a"),
        ("<svg><script>x</script><p>y</p></svg>z", "z"),
        ("<div class='modal'><div>how to</div></div><p>a</p>", "<p>a</p>"),
        ("<p title='\"><script>'>a</p>", '<p title="&quot;&gt;&lt;script&gt;">a</p>'),
        ("<!-- <script>x</script> -->a", "a"),
        ("<meta http-equiv=refresh content='0;url=https://x'>a", "a"),
        ("<iframe srcdoc='<script>x</script>'></iframe>a", "a"),
        ("<textarea><p>x</p></textarea>a", "a"),
    ],
)
def test_what_is_kept_of_a_page(given: str, kept: str) -> None:
    text = plain_page(PAGE.format(given), "T", "N", "b")
    assert text.split("N</p>")[1].split("</main>")[0] == kept
