"""As any user of GX has them: suites saved and loaded, checkpoints with actions, Data Docs, two threads at once."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
import pyarrow as pa
import pytest
from great_expectations.checkpoint import UpdateDataDocsAction
from great_expectations.expectations.row_conditions import Column

from skewguard.compare.frame import Request, comparison_frame
from skewguard.config import Tolerance
from skewguard.definitions import FieldDef
from skewguard.expectations import great_expectations_import
from skewguard.expectations.rules import SKEW_RULES
from skewguard.expectations.suites import parse_suite
from skewguard.profile import profile_column
from tests.checks.builders import Online, Row, hours, sides, view
from tests.expectations.skew.builders import context, definition, skew
from tests.expectations.skew.test_drift import PROMISE, carrying

COLUMN = "v__<b>spend</b>"
A, B = f"{COLUMN}__offline", f"{COLUMN}__online"
REFERENCE = pa.array([float(n % 50) for n in range(2000)])


def frame(factor: float = 1.0, rows: int = 400) -> pd.DataFrame:
    """A comparison frame of one feature; every tenth online value times ``factor``."""
    offline = [float(n % 50) for n in range(rows)]
    online = [value * (factor if n % 10 == 0 else 1.0) for n, value in enumerate(offline)]
    stamps = pd.date_range("2026-09-01", periods=rows, freq="s", tz="UTC")
    found = pd.DataFrame({"shop": [f"<i>{n}</i>" for n in range(rows)], A: offline, B: online})
    found["__event_ts_online"], found["__as_of"] = stamps, pd.Timestamp("2026-09-01T01:00:00Z")
    found["__definitions"] = carrying(PROMISE, rows)["__definitions"]
    return found


def every() -> list[Any]:
    """One of each, all of which hold of ``frame()``."""
    entity = {"entity_columns": ["shop"]}
    return [
        skew.ExpectOnlineToMatchOffline(column_A=A, column_B=B, mostly=0.95, severity="warning", **entity),
        skew.ExpectMismatchRateToBeBelow(column_A=A, column_B=B, max_rate=0.05, judged_by="lower_bound", **entity),
        skew.ExpectNullRateSkewToBeBelow(column_A=A, column_B=B, max_skew=0.01, **entity),
        skew.ExpectFreshnessToBeBelow(column_A="__event_ts_online", column_B="__as_of", max_lag_seconds=3600, **entity),
        skew.ExpectDriftNotToBeSignificant(column=B, profile=profile_column(REFERENCE).to_dict(), tests=3),
        skew.ExpectDefinitionsUnchanged(column="__definitions", promise=PROMISE),
    ]


def test_the_names_that_rules_know_are_those_that_are_registered() -> None:
    assert {type(expectation).expectation_type for expectation in every()} == SKEW_RULES
    assert set(great_expectations_import.load().known()) >= SKEW_RULES
    assert {name for name in skew.__all__ if name.startswith("Expect")} == {type(e).__name__ for e in every()}


def test_a_suite_is_loaded_again_by_another_process(tmp_path: Path) -> None:
    """Saved by a file context, loaded by a process that imports skewguard's part alone, and run there."""
    made = context(tmp_path)
    definition(made, *every())
    frame().to_parquet(tmp_path / "frame.parquet")
    script = f"""
import skewguard.expectations.skew
import great_expectations as gx, pandas as pd
found = gx.get_context(mode="file", project_root_dir={str(tmp_path)!r})
result = found.validation_definitions.get("s").run(
    batch_parameters={{"dataframe": pd.read_parquet({str(tmp_path / "frame.parquet")!r})}})
print(result.success, len(result.results))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "6"]


def test_a_suite_is_the_same_after_a_round_trip() -> None:
    suite = gx.ExpectationSuite("s", expectations=every())
    document = json.loads(json.dumps(suite.to_json_dict()))
    again = gx.ExpectationSuite(**{key: document[key] for key in ("name", "expectations", "meta", "notes", "id")})
    assert again == suite
    ours = parse_suite(document)
    assert [rule.type for rule in ours.rules] == [type(e).expectation_type for e in every()]
    assert ours.rules[0].columns == (A, B, "shop")
    assert ours.rules[0].severity == "warning"


def test_our_own_suites_refuse_what_is_wrong_in_one() -> None:
    entry = {"type": "expect_mismatch_rate_to_be_below", "kwargs": {"column_A": "a", "column_B": "b", "max_rat": 2}}
    with pytest.raises(Exception, match=r"max_rat: unknown argument. Did you mean 'max_rate'\?"):
        parse_suite({"name": "s", "expectations": [entry]})


class _Alarm(gx.checkpoint.ValidationAction):  # type: ignore[misc]
    """An action as a user writes one: keeps what it was told in a file."""

    type: Any = "alarm"
    path: str

    def run(self, checkpoint_result: Any, action_context: Any = None) -> dict[str, Any]:
        (found,) = checkpoint_result.run_results.values()
        Path(self.path).write_text(str(found.get_max_severity_failure()))
        return {}


def docs_of(folder: Path, data: pd.DataFrame, expectations: list[Any]) -> tuple[Any, str]:
    """A checkpoint with actions run on the data, and the page of Data Docs that it writes."""
    made = context(folder)
    checked = definition(made, *expectations)
    actions = [UpdateDataDocsAction(name="docs"), _Alarm(name="alarm", path=str(folder / "alarm"))]
    checkpoint = made.checkpoints.add(
        gx.Checkpoint(name="c", validation_definitions=[checked], actions=actions,
                      result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["shop"]})
    )  # fmt: skip
    result = checkpoint.run(batch_parameters={"dataframe": data})
    (page,) = (folder / "gx" / "uncommitted" / "data_docs").glob("local_site/validations/**/*.html")
    return result, page.read_text()


def words(page: str) -> str:
    """The page's text, without markup."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_a_checkpoint_with_actions_and_its_pages(tmp_path: Path) -> None:
    changed = frame(100.0)
    changed["__event_ts_online"] -= pd.Timedelta(hours=2)
    changed.loc[:200, B] = None
    changed["__definitions"] = '{"definitions": {}, "projections": {}, "features": []}'
    result, page = docs_of(tmp_path, changed, every())
    assert result.success is False
    assert (tmp_path / "alarm").read_text() == "FailureSeverity.CRITICAL"
    text = words(page)
    for told in (
        f"{B} must match {A} , in at least 95 % of the rows.",
        f"{B} may differ from {A} in at most 5 % of the rows , unless it is surely above",
        f"{A} and {B} may lack a value in shares of the rows at most 1 % apart.",
        "__event_ts_online must lie at most 3,600 seconds before __as_of , in every row.",
        f"{B} must not have drifted from the contract's profile",
        "(false alarms: 1 %, shared by 3 tests) of 2 % of the rows or more.",
        "The service's definitions ( __definitions ) must be those of the contract.",
        "217 of 400 rows differ (54.25 %)",
        "of 400 rows",
        "0 % offline, 50.25 % online: +50.25",
        "longest lag 10,800 s, median 10,600 s, 400 rows too old",
        "drifted: 50.25 % of rows gained or lost their value",
        "3 changed: v, features, projections.v",
        "<i>0</i> 0.0 null",  # the entity, as text
    ):
        assert squeezed(told) in squeezed(text), told
    assert "<i>0" not in page  # a key is no markup
    markup = re.findall(r"<b>spend</b>\S*", page)
    assert markup == ["<b>spend</b>__online"] * 2  # of GX's own: its table of contents, and the heading it leads to


def squeezed(text: str) -> str:
    """Without blanks, of which markup leaves more or less."""
    return re.sub(r"\s+", "", text)


def test_the_page_of_what_holds(tmp_path: Path) -> None:
    result, page = docs_of(tmp_path, frame(), every())
    assert result.success is True
    text = squeezed(words(page))
    for told in ("0 of 400 rows differ (0 %)", "0 % (0 to 0.9512 %) of 400 rows", "unchanged",
                 "no sure difference: 0 % of rows moved to other values"):  # fmt: skip
        assert squeezed(told) in text, told


def test_the_page_of_what_could_not_be_judged(tmp_path: Path) -> None:
    result, page = docs_of(tmp_path, frame(rows=0), every())
    assert result.success is False
    text = squeezed(words(page))
    for told in ("not judged: no rows to compare", "not judged: 0 rows, of 1 that it takes",
                 "not judged: no row has a moment", "not judged: no rows, so no definitions"):  # fmt: skip
        assert squeezed(told) in text, told
    assert "raised an exception" not in words(page)


def test_a_row_condition_is_told(tmp_path: Path) -> None:
    kwargs: dict[str, Any] = {"column_A": A, "column_B": B, "row_condition": Column("__as_of").is_not_null()}
    expectations = [
        skew.ExpectMismatchRateToBeBelow(max_rate=0.5, **kwargs), skew.ExpectOnlineToMatchOffline(**kwargs),
    ]  # fmt: skip
    _, page = docs_of(tmp_path, frame(), expectations)
    text = squeezed(words(page))
    condition = squeezed("If __as_of IS NOT NULL , then")
    assert text.count(condition) == 2


def test_names_that_would_be_something_else(tmp_path: Path) -> None:
    """Quotes, templates, markup, line breaks: in SQL, in GX's templates and in the page they are names."""
    names = ["we\"ird $5 'y'; DROP TABLE x --", "$value ${column_A} %s {0}", "ü\n<script>"]
    features = [FieldDef(name, "DOUBLE") for name in names]
    rows = [Row(key, hours(5), (1.0, 2.0, 3.0)) for key in range(5)]
    stored = [Online(key, hours(5), (1.0, 9.0, 3.0)) for key in range(5)]
    both = sides(view(*features), rows, stored, watermark=hours(3))
    table = comparison_frame(both, Request("s", 1.0, lambda _: Tolerance(), "{}"))
    expectations = skew.expectations_for(table)
    result, page = docs_of(tmp_path, skew.exact_frame(table).assign(shop="x"), expectations)
    (found,) = result.run_results.values()
    assert [(r.success, r.result["unexpected_count"]) for r in found.results] == [(True, 0), (False, 5), (True, 0)]
    for name in names:
        assert squeezed(f"v__{name}__online must match v__{name}__offline , in every row.") in squeezed(words(page))
    assert "<script>__online" not in page  # a pair is told without a heading, which GX would not escape


def test_two_threads_with_data_sources_of_their_own() -> None:
    """GX objects are not to be shared between threads; each of these has its own, and gets its own verdict."""
    good, bad = frame(), frame(100.0)

    def verdict(data: pd.DataFrame) -> list[bool]:
        ours = definition(context(), every()[0])
        return [ours.run(batch_parameters={"dataframe": data}).success for _ in range(10)]

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(verdict, (good, bad))
    assert (set(first), set(second)) == ({True}, {False})
