"""A real repository with a real Redis: comparison frames, every fault counted as parity counts it, suites in checks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from skewguard import SkewGuard
from skewguard.checks.parity import check_parity
from skewguard.compare.frame import frame_columns, frame_info
from skewguard.drill import FAULTS, Drills
from skewguard.errors import BadInputError, ConfigurationError, UnknownNameError
from skewguard.findings import CheckResult
from skewguard.nightly import Night
from skewguard.online.embedded import EmbeddedRedis
from skewguard.running import collect, stores
from skewguard.scratch import Scratch
from skewguard.suite_checks import check_training
from tests.expectations.skew.builders import one, skew
from tests.expectations.skew.test_in_gx import squeezed, words
from tests.expectations.skew.test_matching import engine_result
from tests.repos import AS_OF, entity_rows, write_repo

SERVICE = "till_v1"
VIEWS = ("till_stats", "shop_stats", "rates")


@pytest.fixture(scope="module")
def drills(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drills]:
    guard = SkewGuard(write_repo(tmp_path_factory.mktemp("skew") / "repo", "127.0.0.1:1"))
    guard.feast.apply()
    with Scratch(guard, SERVICE, AS_OF) as scratch:
        yield Drills(guard, SERVICE, AS_OF, scratch)


@pytest.fixture
def applied(tmp_path: Path, clean_redis: EmbeddedRedis) -> SkewGuard:
    """A repository of its own, whose clock stands at AS_OF; nothing is materialized."""
    found = SkewGuard(write_repo(tmp_path / "repo", clean_redis.connection_string), clock=lambda: AS_OF)
    found.feast.apply()
    return found


@pytest.fixture
def guard(applied: SkewGuard) -> SkewGuard:
    """The same, materialized."""
    applied.materialize(as_of=AS_OF)
    return applied


def parity(drills: Drills) -> CheckResult:
    guard = drills.guard_of_copy()
    with stores(guard) as (con, client):
        sides = collect(guard, guard.feast.service(SERVICE), drills.as_of, con, client, sample=1.0)
        return check_parity(sides.sides, guard.policy_for(SERVICE), sides.skipped)


def engine_results(table: pa.Table, expectations: list[Any]) -> list[dict[str, Any]]:
    return engine_result(skew.exact_frame(table), expectations, "BASIC")


def test_frames_of_a_clean_store(drills: Drills) -> None:
    guard = drills.guard_of_copy()
    rows = {"till_stats": 96, "shop_stats": 4, "rates": 1}
    for view in VIEWS:
        table = guard.comparison(SERVICE, view, as_of=drills.as_of)
        definition = next(v for v in guard.feast.service(SERVICE).views if v.name == view)
        keys, names = [k.name for k in definition.join_keys], [f.name for f in definition.features]
        assert set(table.column_names) == set(frame_columns(view, keys, names))
        assert table.num_rows == rows[view]
        for feature in names:
            column = f"{view}__{feature}"
            assert table.column(f"{column}__offline").type == table.column(f"{column}__online").type
            assert set(table.column(f"{column}__equal").to_pylist()) == {True}
            assert table.column(f"{column}__cause").null_count == table.num_rows
        results = engine_results(table, skew.expectations_for(table))
        assert [result["unexpected_count"] for result in results] == [0] * len(names)


def test_the_plain_pandas_frame_of_a_clean_store_matches_too(drills: Drills) -> None:
    """Its nullable ids above 2^53 are rounded by pandas, and refused as such under their declared dtype."""
    table = drills.guard_of_copy().comparison(SERVICE, "till_stats", as_of=drills.as_of)
    frame = table.to_pandas()
    for expectation in skew.expectations_for(table):
        if "items" in expectation.column_A:
            assert engine_result(frame, [expectation], "BASIC") == [{}]  # it broke
        else:
            assert engine_result(frame, [expectation], "BASIC")[0]["unexpected_count"] == 0


@pytest.mark.slow
def test_every_fault_counts_as_parity_counts_it(drills: Drills) -> None:
    """Feature by feature; parity tells orphans as rows of the view, a frame has their cells, too."""
    guard, scratch, seen = drills.guard_of_copy(), drills.scratch, set()
    assert scratch is not None
    for name in FAULTS:
        try:
            drills.inject({name: 0.2})
            features = {(f.view, f.feature): f for f in parity(drills).features}
            for view in dict.fromkeys(view for view, _ in features):
                table = guard.comparison(SERVICE, view, as_of=drills.as_of)
                expectations = skew.expectations_for(table)
                for result, expectation in zip(engine_results(table, expectations), expectations, strict=True):
                    stats = features[view, expectation.column_B.removeprefix(f"{view}__").removesuffix("__online")]
                    orphans = result["causes"].pop("orphan_online", 0)
                    assert orphans <= frame_info(table).orphans
                    assert result["causes"] == stats.causes, (name, stats)
                    assert result["unexpected_count"] == stats.differing + orphans, (name, stats)
                    seen |= {name} if result["unexpected_count"] else set()
        finally:
            scratch.restore()
    assert len(FAULTS) - len(seen) <= 8, sorted({*FAULTS} - seen)  # those that are no difference of two values


def test_a_sample_and_some_features(drills: Drills) -> None:
    guard = drills.guard_of_copy()
    table = guard.comparison(SERVICE, "till_stats", as_of=drills.as_of, features=["sales"], sample=0.5)
    assert 20 < table.num_rows < 76
    assert frame_info(table).sample == 0.5
    assert [f.name for f in frame_info(table).features] == ["till_stats__sales"]
    assert "till_stats__items__online" not in table.column_names


def test_a_view_under_an_alias_and_a_renamed_key_is_named_as_itself(drills: Drills) -> None:
    table = drills.guard_of_copy().comparison("shop_v1", as_of=drills.as_of)
    assert table.column("shop_id").to_pylist() != []
    assert "shop_stats__turnover__online" in table.column_names


def test_what_cannot_be_compared_is_refused(drills: Drills) -> None:
    guard, scratch = drills.guard_of_copy(), drills.scratch
    with pytest.raises(BadInputError, match="view: got None; expected the name of one view of 'till_v1': till_stats, "):
        guard.comparison(SERVICE)
    with pytest.raises(UnknownNameError, match="Did you mean 'till_stats'"):
        guard.comparison(SERVICE, "till_stat")
    with pytest.raises(UnknownNameError, match="Did you mean 'sales'"):
        guard.comparison(SERVICE, "till_stats", features=["sale"])
    with pytest.raises(BadInputError, match="sample: got 0; expected a share"):
        guard.comparison(SERVICE, "till_stats", sample=0)
    with pytest.raises(ConfigurationError, match=r"till_stats: the as-of time .* lies before the watermark"):
        guard.comparison(SERVICE, "till_stats", as_of="2020-01-01")
    drills.inject({"never_materialized": 1.0})
    assert scratch is not None
    try:
        with pytest.raises(ConfigurationError, match="till_stats: never materialized"):
            guard.comparison(SERVICE, "till_stats", as_of=drills.as_of)
    finally:
        scratch.restore()


def suite(guard: SkewGuard, *entries: dict[str, Any]) -> None:
    path = guard.path / "expectations" / f"{SERVICE}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"name": SERVICE, "expectations": list(entries)}))


def entry(kind: str, severity: str = "critical", **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "severity": severity, "kwargs": kwargs}


SALES = {"column_A": "till_stats__sales__offline", "column_B": "till_stats__sales__online"}
RULES = (
    entry("expect_column_values_to_be_between", column="sales", min_value=0),
    entry("expect_online_to_match_offline", **SALES),
    entry("expect_mismatch_rate_to_be_below", severity="warning", max_rate=0.01, **SALES),
    entry("expect_null_rate_skew_to_be_below", max_skew=0.01, **SALES),
    entry("expect_freshness_to_be_below", column_A="__watermark", column_B="__as_of", max_lag_seconds=60),
    entry("expect_drift_not_to_be_significant", column="shop_stats__turnover__online", detect=0.99),
    entry("expect_definitions_unchanged", column="__definitions"),
)


def expectations_of(run: Any) -> CheckResult:
    found: CheckResult = next(check for check in run.checks if check.check == "expectations")
    return found


def test_a_suite_with_rules_on_both_sides(guard: SkewGuard) -> None:
    """Training lists them; a check judges them by the contract in force, and finds what was done to the store."""
    suite(guard, *RULES)
    built = guard.training_set(entity_rows(60), SERVICE, as_of=AS_OF)
    trained = check_training(guard, guard.service(SERVICE), built.to_arrow())
    assert (trained.findings, trained.population) == ((), 1)
    listed = trained.details["not_checked"]
    assert [text.split(" (")[0] for text in listed] == [f"expectation {n}" for n in range(2, 8)]
    assert all(text.endswith(": about both sides: judged in every check, on the comparison frame") for text in listed)
    found = expectations_of(guard.check(SERVICE, save=False))
    assert (found.status, found.findings) == ("ok", ()), [f.message for f in found.findings]
    # freshness is judged in each of three views
    assert (found.population, found.compared) == (9, 9)
    assert [frame["view"] for frame in found.details["comparison_frames"]] == ["till_stats", "shop_stats", "rates"]
    assert not any("both sides" in text for text in found.details["not_checked"])

    Drills(guard, SERVICE, AS_OF).inject({"unit_scale": 0.3})
    later = AS_OF.replace(hour=13)
    found = expectations_of(guard.check(SERVICE, as_of=later, save=False))
    told = {(f.evidence["expectation"], f.cause.value, f.view, f.feature) for f in found.findings}
    assert told >= {("expect_freshness_to_be_below", "expectation_failed", view, None) for view in VIEWS}
    skewed = {item for item in told if item[3] is not None}
    for name, cause, view, feature in skewed:
        assert (cause, view) == ("expectation_failed", "till_stats"), name
        assert feature == "sales"


def test_findings_name_view_feature_and_entities(guard: SkewGuard) -> None:
    suite(guard, *RULES[:3])
    (injection,) = Drills(guard, SERVICE, AS_OF).inject({"missing_online": 0.2})
    found = expectations_of(guard.check(SERVICE, save=False))
    assert injection.view == "till_stats"
    failed = {f.evidence["expectation"]: f for f in found.findings}
    assert set(failed) == {"expect_online_to_match_offline", "expect_mismatch_rate_to_be_below"}
    match = failed["expect_online_to_match_offline"]
    assert (match.view, match.feature, match.count, match.compared) == ("till_stats", "sales", injection.count, 96)
    assert f"{injection.count} of 96 rows differ" in match.message
    assert f"{injection.count} missing_online" in match.message
    assert "expected: till_stats__sales__online must match till_stats__sales__offline, in every row." in match.message
    assert {*match.samples[0]["entity"]} == {"shop_id", "till_no"}
    assert match.samples[0]["online"] is None
    assert failed["expect_mismatch_rate_to_be_below"].evidence["severity"] == "warning"


def test_what_cannot_be_judged_is_no_pass(guard: SkewGuard) -> None:
    suite(guard, entry("expect_mismatch_rate_to_be_below", max_rate=1, min_rows=500, **SALES))
    (finding,) = expectations_of(guard.check(SERVICE, save=False)).findings
    assert finding.cause.value == "expectation_broken"
    assert "could not be judged: 96 rows, of 500 that it takes" in finding.message


def test_rules_by_the_contract_wait_for_the_first_one(guard: SkewGuard) -> None:
    """Else no first training set could ever be built."""
    suite(guard, *RULES[5:])
    found = expectations_of(guard.check(SERVICE, save=False))
    assert (found.status, found.findings, found.population) == ("ok", (), 0)
    assert [text.split(": ")[1] for text in found.details["not_checked"]] == [
        "no training set was built yet, so there is no contract"
    ] * 2  # fmt: skip


def test_definitions_that_moved_since_the_contract(guard: SkewGuard) -> None:
    suite(guard, RULES[6])
    guard.training_set(entity_rows(60), SERVICE, as_of=AS_OF)
    definitions = guard.path / "definitions.py"
    definitions.write_text(definitions.read_text().replace("hours=36", "hours=37"))
    guard.feast.apply()
    (finding,) = expectations_of(guard.check(SERVICE, save=False)).findings
    assert (finding.cause.value, finding.view, finding.feature) == ("expectation_failed", None, None)
    assert "1 changed: till_stats.ttl_seconds; expected: The service's definitions" in finding.message


def test_a_view_that_was_never_materialized_leaves_it_open(applied: SkewGuard) -> None:
    guard = applied
    guard.materialize(as_of=AS_OF, views=["shop_stats", "rates"])
    suite(guard, RULES[1], RULES[5])
    found = expectations_of(guard.check(SERVICE, save=False))
    assert found.status == "inconclusive"
    assert found.reason == (
        "no comparison frame of till_stats: never materialized, so there is no expected online value"
    )
    assert (found.findings, found.population, found.compared) == ((), 1, 0)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (entry("expect_online_to_match_offline", column_A="till_stats__sales__offline",
               column_B="till_stats__sale__online"),
         "no column 'till_stats__sale__online' in a comparison frame. Did you mean 'till_stats__sales__online'"),
        (entry("expect_online_to_match_offline", column_A="till_stats__sales__offline",
               column_B="shop_stats__turnover__online"), "its columns are of several views' frames"),
    ],
)  # fmt: skip
def test_a_rule_that_no_frame_has_the_columns_of_is_refused(guard: SkewGuard, rule: dict[str, Any], says: str) -> None:
    suite(guard, rule)
    found = expectations_of(guard.check(SERVICE, save=False))
    assert found.status == "inconclusive"
    assert says in found.reason
    assert "expectation 1 (expect_online_to_match_offline" in found.reason


def test_the_same_frame_in_a_checkpoint_of_gx(guard: SkewGuard) -> None:
    table = guard.comparison(SERVICE, "till_stats", features=["sales"])
    assert isinstance(table, pa.Table)
    assert one(table.to_pandas(), skew.expectations_for(table)[0])["success"] is True


def test_the_nights_data_docs_have_a_page_of_the_frame(guard: SkewGuard) -> None:
    suite(guard, RULES[0], RULES[1])
    Drills(guard, SERVICE, AS_OF).inject({"missing_online": 0.2})
    Night(guard, [SERVICE], AS_OF, data_docs=True).run(lambda *_: nullcontext(None))
    pages = {page.stem: page.read_text() for page in guard.state.data_docs.glob("*/*.html")}
    assert set(pages) == {"till_v1", "till_v1%2C%20both%20sides%20of%20till_stats"}
    text = words(pages["till_v1%2C%20both%20sides%20of%20till_stats"])
    assert "missing_online" in text
    assert squeezed("till_stats__sales__online must match till_stats__sales__offline , in every row.") in squeezed(text)
    assert guard.state.data_docs.joinpath("index.html").read_text().count("both sides of till_stats") == 1


def test_a_report_tells_of_it(guard: SkewGuard, tmp_path: Path) -> None:
    suite(guard, *RULES[:3])
    Drills(guard, SERVICE, AS_OF).inject({"missing_online": 0.2})
    run = guard.check(SERVICE)
    text = words(run.to_html(tmp_path / "report.html").read_text())
    assert "expect_online_to_match_offline on till_stats__sales__online" in text
    assert "comparison_frames" in text
