"""The HTML report: what it says, that it is safe, small, and the same bytes each time; the files that are written.

The pages under ``snapshots`` are regenerated with ``SKEWGUARD_UPDATE_SNAPSHOTS=1 pytest tests/report``; look at the
difference before you keep it.
"""

from __future__ import annotations

import html
import json
import os
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from skewguard.errors import BadInputError, ConfigurationError
from skewguard.findings import CheckResult, Run, Verdict
from skewguard.history import History, night_of
from skewguard.report import render_html, render_index, write_index, write_report
from skewguard.run_json import dump_run, load_run
from skewguard.state import State
from tests.report import samples

SNAPSHOTS = Path(__file__).parent / "snapshots"
RUNS = samples.everything()
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Elements, attributes and visible text of a page; fails on elements that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.visible: list[str] = []
        self.scripts: dict[str, str] = {}
        self.script = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.script = dict(attrs).get("id") or "code"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.scripts[self.script] = self.scripts.get(self.script, "") + data
        elif "style" not in self.open and "title" not in self.open:
            self.visible.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.visible))


def page_of(run: Run) -> Page:
    return Page(render_html(run, history=samples.nights(run)))


@pytest.mark.parametrize("name", ["pass", "warn", "block", "inconclusive", "drift"])
def test_snapshots(name: str) -> None:
    found = render_html(RUNS[name], history=samples.nights(RUNS[name]))
    path = SNAPSHOTS / f"{name}.html"
    if os.environ.get("SKEWGUARD_UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(found, encoding="utf-8", newline="\n")
    assert found == path.read_text(encoding="utf-8"), "if meant: SKEWGUARD_UPDATE_SNAPSHOTS=1 pytest tests/report"


def test_the_ten_second_answer() -> None:
    text = page_of(RUNS["block"]).text
    for told in (
        "Blocked churn_v1: do not train or serve",
        "As of 1998-03-01 00:00 UTC",
        "6 findings, 3 of them blocking",
        "customer_spend.spend_30d Unit or scale changed 94.4% 20,276 of 21,480 rows",
        "Online is 100 × offline in 20,276 of 20,276 rows that differ",
        "Since 1998-02-25 00:00 UTC (4 days)",
        "One side changed its unit",
        "k = 100.0",
        "skewguard repair --service churn_v1 --repo feature_repo --as-of 1998-03-01T00:00:00Z",
        "Fix the pipeline that writes the online value (its unit changed), then run skewguard repair . "
        "For customer_spend.spend_30d.",
        "skewguard materialize --repo feature_repo --as-of 1998-03-01T00:00:00Z",
        "skewguard check --service churn_v1 --repo feature_repo --as-of 1998-03-01T00:00:00Z",
        "Since the run before (1998-02-28 00:00 UTC, block): 3 new (customer_spend.spend_30d: unit or scale changed, "
        "customer_spend: missing online, customer_profile.channel: expired, still served).",
        "And 3 more in the table of findings",
    ):
        assert told in text


def test_the_tables() -> None:
    text = page_of(RUNS["block"]).text
    for told in (
        "parity ran 21,500 21,480 99.9% 5 4.21 s 20 entity rows have a null join key",
        "replay inconclusive 0 0 n/a 0 0.00 s the serving log holds no request of this day",
        "6 warns customer_spend.spend_90d correction not written parity / blocked_correction 212 of 21,480 1.0%",
        "0.9–1.1%",
        "1998-02-19 00:00 UTC (10 days)",
        "rows compared 21,480 differ 8,114 (37.8%) null offline 240 (1.1%) null online 240 (1.1%)",
        "newer rows not materialized 7,600 (35.4%) row arrived late 390 (1.8%) unexplained 124 (0.6%) agree",
        "customer_id=5133 0.1 1998-02-27 00:00 UTC 0.10000000149011612 1998-02-27 00:00 UTC",
        "customer_id=7000 12.5 1998-02-26 00:00 UTC absent",
        'customer_id=9002 null 1997-02-05 18:00 UTC "shop " 1997-02-05 18:00 UTC',
        "2 more in run.json.",
        "customer_activity.orders_90d INT64 21,480 0 (0%) 240 / 240",
        "the check replay the serving log holds no request of this day",
        "20 of 21,500 rows in parity 20 entity rows have a null join key",
        "sample.share 1.0",
    ):
        assert told in text


def test_an_inconclusive_run_is_never_told_as_a_pass() -> None:
    page = page_of(RUNS["inconclusive"])
    assert "could not be decided" in page.text
    assert "This is not a pass." in page.text
    assert "no findings" not in page.text
    rows = [attributes.get("class") for tag, attributes in page.elements if tag == "tr"]
    assert rows.count("inconclusive") == 1
    assert rows.count("crashed") == 1


@pytest.mark.parametrize("name", RUNS)
def test_well_formed_and_loads_nothing(name: str) -> None:
    text = render_html(RUNS[name], history=samples.nights(RUNS[name]))
    page = Page(text)
    assert not re.search(r"(src|href)\s*=\s*.?https?:", text)
    assert not re.search(r"@import|url\(", text)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"img", "link", "iframe", "object", "embed", "form", "base", "video", "audio"}
    for tag, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on") or key in ("src", "style", "xlink:href")]
        assert (attributes.get("href") or "#").startswith("#")
        if tag == "svg" and "aria-hidden" not in attributes:
            assert attributes["role"] == "img"
            assert attributes["aria-label"]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [str(attributes["href"])[1:] for _, attributes in page.elements if "href" in attributes]
    assert set(links) <= set(ids)
    policy = next(str(a["content"]) for _, a in page.elements if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")


@pytest.mark.parametrize("name", RUNS)
def test_the_json_it_was_drawn_from_is_in_it(name: str) -> None:
    run = RUNS[name]
    scripts = page_of(run).scripts
    assert not re.search("[<>&\u2028\u2029]", scripts["run"] + scripts["history"])
    inside = load_run(scripts["run"])
    assert (inside.run_id, inside.verdict, inside.reasons) == (run.run_id, run.verdict, run.reasons)
    assert [item.key for item in inside.findings] == [item.key for item in run.findings]
    for embedded, whole in zip(inside.checks, run.checks, strict=True):
        assert [replace(s, labels=(), offline=(), online=()) for s in embedded.features] == [
            replace(s, labels=(), offline=(), online=()) for s in whole.features
        ]  # bins that the page does not chart are not in it
    # worst rows and comparisons that the page does not show are not in it either
    more = re.compile(r"\d+( features?)? (more|without a sure difference) in run\.json\. ")
    assert more.sub("", page_of(inside).text) == more.sub("", page_of(run).text)
    assert len(json.loads(scripts["history"])) == 13


@pytest.mark.parametrize("attack", samples.HOSTILE)
def test_hostile_texts_are_shown_and_never_run(attack: str) -> None:
    text = render_html(RUNS["hostile"], history=samples.nights(RUNS["hostile"]))
    assert "<script>alert" not in text
    assert "<img" not in text
    assert "<svg onload" not in text
    assert "\x00" not in text
    assert "\u202e" not in text.split("<script type")[0]
    assert "_".join(["long"] * 120) not in text.split("<script type")[0]
    shown = attack[:60].split("\u202e")[0]
    assert html.escape(shown, quote=True).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in text
    assert len(re.findall("<script", text)) == 3


def test_distributions_are_told_with_budget_effect_and_sizes() -> None:
    page = page_of(RUNS["drift"])
    for told in (
        "7 tests of this service, corrected together: without any drift at most 1.0% of nights bring a false alarm, of "
        "which this service has 1 part in 2. An alarm is a q-value of at most 0.005 and an effect that matters.",
        "Against the contract's training set: 13.2% of rows moved to other values.",
        "customer_spend.spend_30d contract drifted nights: drifted 13.2%",
        "customer_spend.spend_30d where customer_profile:region = EU contract drifted 31.0%",
        "effect 13.2% of rows (counts from 2.0%)",
        "q-value 1.2e-19 (sure up to 0.005)",
        "rows now 21,480, worth 9,310 independent ones",
        "js_distance_base2 0.1552",
        "surely moved, but by less than matters",
        "too little data 1,210 rows would do",
        "AUC 0.551",
    ):
        assert told in page.text, told
    assert page_of(RUNS["pass"]).text.count("Distributions") == 0


def test_same_bytes_for_the_same_input_and_age_only_when_told() -> None:
    run = RUNS["block"]
    assert render_html(run) == render_html(load_run(dump_run(run)))
    later = render_html(run, now=run.finished_at + timedelta(days=3))
    assert "This run ended 3 days before the page was drawn: a newer run is missing." in later
    assert "a newer run is missing" not in render_html(run, now=run.finished_at + timedelta(hours=2))
    assert "drawn</dt>" not in render_html(run)


def test_without_history_nothing_is_said_about_it() -> None:
    text = Page(render_html(RUNS["block"])).text
    assert "No earlier run is known" in text
    assert "This run (no earlier run is known)" in text
    assert "Since the run before" not in text


def test_the_run_itself_and_later_ones_are_not_its_history() -> None:
    run = RUNS["block"]
    nights = samples.nights(run)
    later = replace(night_of(run), run_id="later", finished_at=run.finished_at + timedelta(days=1))
    assert render_html(run, history=[*nights, night_of(run), later]) == render_html(run, history=nights)


def test_a_finding_that_the_run_before_had_is_not_of_this_run() -> None:
    run = RUNS["block"]
    before = replace(night_of(run), run_id="before")  # an earlier run at the same as-of time
    assert "This run" not in Page(render_html(run, history=[before])).text
    assert "Since 1998-03-01 00:00 UTC Why" in Page(render_html(run, history=[before])).text


def test_what_is_gone_and_what_was_not_looked_at() -> None:
    block = RUNS["block"]
    before = [replace(night_of(block), run_id="before")]
    assert "(1998-03-01 00:00 UTC, block): 7 gone (" in Page(render_html(RUNS["pass"], history=before)).text
    assert "6 gone" not in Page(render_html(RUNS["inconclusive"], history=before)).text
    text = Page(render_html(RUNS["inconclusive"], history=before)).text
    assert "1 gone (" in text
    assert "; 6 not looked at again (" in text


def test_an_empty_run_is_still_a_page() -> None:
    bare = samples.run_of(Verdict.INCONCLUSIVE, (), "empty", provenance={})
    text = Page(render_html(bare)).text
    assert "No check ran." in text
    assert "could not be decided" in text
    odd = CheckResult("parity", "exploded", reason="")
    text = Page(render_html(replace(bare, checks=(odd,)))).text
    assert "the check parity it is exploded, without a reason" in text


def test_what_a_check_says_it_did_not_check() -> None:
    details = {"not_checked": {"feature spend_7d": "its view is not online"}}
    run = samples.run_of(Verdict.PASS, (CheckResult("parity", "ok", details=details),), "x")
    text = Page(render_html(run)).text
    assert "feature spend_7d its view is not online" in text
    listed = replace(run.checks[0], details={"not_checked": ["no suite"]})
    text = Page(render_html(replace(run, checks=(listed,)))).text
    assert "no suite" in text


# -- files ------------------------------------------------------------------------------------------------------------


def test_write_report(tmp_path: Path) -> None:
    run = RUNS["block"]
    folder = tmp_path / "runs" / run.run_id
    path = write_report(run, folder, samples.nights(run))
    assert path == folder / "report.html"
    assert path.read_text(encoding="utf-8") == render_html(run, history=samples.nights(run))
    assert load_run((folder / "run.json").read_text(encoding="utf-8")).findings == run.findings
    assert len(json.loads((folder / "history.json").read_text(encoding="utf-8"))) == 13
    assert sorted(item.name for item in folder.iterdir()) == ["history.json", "report.html", "run.json"]
    again = write_report(RUNS["pass"], folder)
    assert "online agrees with offline" in again.read_text(encoding="utf-8")
    assert (folder / "history.json").read_text() == "[]\n"


def test_write_report_where_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match=r"report directory .*cannot be written"):
        write_report(RUNS["pass"], tmp_path / "file")
    bad = replace(RUNS["pass"], provenance={"x": object()})
    with pytest.raises(BadInputError, match=r"provenance\.x"):
        write_report(bad, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_write_index(tmp_path: Path) -> None:
    state = State(tmp_path)
    for name in ("pass", "block"):
        History(state.history).append(RUNS[name])
    path = write_index(state)
    assert path == tmp_path / ".skewguard" / "index.html"
    nights = {"churn_v1": [night_of(RUNS["pass"]), night_of(RUNS["block"])]}
    known = [RUNS["block"], RUNS["pass"]]
    assert path.read_text(encoding="utf-8") == render_index(known, nights, History(state.history).incidents())
    assert write_index(State(tmp_path / "new")).read_text(encoding="utf-8") == render_index([])


def test_index() -> None:
    text = render_index([RUNS["block"], RUNS["pass"], RUNS["hostile"]])
    page = Page(text)
    assert "3 runs" in page.text
    assert "1 pass" in page.text
    assert "2 blocked" in page.text
    assert "unit or scale changed: customer_spend.spend_30d" in page.text
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert links[0] == "runs/19980301-churn_v1-d4e5f6/report.html"
    assert links[2] == "runs/..%2F%3C%2Fscript%3E%3Cimg%20src%3Dx%20onerror%3Dalert%282%29%3E/report.html"
    assert "<img" not in text
    assert "No run yet." in Page(render_index([])).text


def test_the_index_tells_each_service_its_nights_and_what_is_open() -> None:
    from skewguard.incidents import advance

    run = replace(RUNS["block"], service="<b>odd</b>")
    _, events = advance({}, run)
    incidents = [event.incident for event in events]
    page = Page(render_index([run, RUNS["pass"]], {run.service: samples.nights(run), "churn_v1": []}, incidents))
    assert f"{len(incidents)} open incidents, the oldest since 1998-03-01 00:00 UTC" in page.text
    assert incidents[0].message in page.text
    assert "<b>odd</b>" in page.text  # as text
    assert render_index([run], {run.service: samples.nights(run)}).count("<b>") == 0
    assert "nothing open" in render_index([run], {run.service: samples.nights(run)})
