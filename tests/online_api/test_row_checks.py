"""Expectations on every answer: refused, replaced, told, counted as policy says; suites swapped whole or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from online_api.plan_files import PlanSources, stamp
from online_api.plan_watch import tell_suites
from skewguard.definitions import digest
from skewguard.feast_repo import FeastRepo, quiet_feast
from skewguard.online.connection import connect, settings_from_repo
from skewguard.online.encoding import encode_value
from skewguard.online.keys import KeyEncoder, feature_field
from skewguard.override import Override
from skewguard.plan import ServingPlan, load_plan, save_plan
from skewguard.planning import write_plan
from skewguard.row_rules import ServiceRules, compile_row_rules
from skewguard.state import State
from tests.online_api.conftest import AS_OF, HOUR, Row, Served, columns, copy_repo, feast_write, served
from tests.online_api.test_bad_requests import problem
from tests.online_api.test_fallbacks import eventually, metric, promise, told

Rule = dict[str, Any]


def rule(kind: str, severity: str = "critical", /, **kwargs: Any) -> Rule:
    return {"type": f"expect_column_{kind}", "kwargs": kwargs, "severity": severity}


def write_suite(folder: Path, service: str, rules: Sequence[Rule]) -> Path:
    path = folder / "expectations" / f"{service}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"name": service, "expectations": list(rules)}))
    return path


def put_in_force(folder: Path) -> None:
    """Compile the suites of a copied repository into its plan, as ``skewguard plan`` does."""
    path = folder / ".skewguard" / "plan.json"
    plan = load_plan(path)
    save_plan(replace(plan, row_rules=compile_row_rules(folder, plan, plan.row_rules)), path)


def failed(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["metadata"].get("skewguard", {}).get("failed", [])
    return found


POLICY = """
services:
  drivers:
    serving: fallback
    fallback: contract_default
    features:
      stats:score: {serving: reject}
      stats:rating: {serving: "off"}
  shops: {serving: annotate}
  typed: {serving: annotate}
  numbered: {serving: reject}
"""
SUITES: dict[str, list[Rule]] = {
    "drivers": [
        rule("values_to_be_between", column="trips", min_value=0, max_value=45),
        rule("values_to_not_be_null", column="trips"),
        rule("values_to_be_between", column="score", min_value=-1e300, max_value=3),
        rule("values_to_be_between", column="rating", max_value=-1),  # its feature is off
        rule("values_to_be_between", "info", column="price", max_value=-1),
        rule("pair_values_a_to_be_greater_than_b", column_A="driver_id", column_B="trips",
             ignore_row_if="either_value_is_missing", row_condition={
                 "type": "comparison", "column": {"name": "shop_code"}, "operator": "==", "parameter": "pair"}),
        rule("mean_to_be_between", column="trips", max_value=-1),  # not row by row: a night's
        rule("values_to_be_in_set", column="churned", value_set=[0, 1]),  # a label
    ],
    "shops": [
        rule("values_to_be_in_set", "warning", column="city", value_set=["Zürich", "one"]),
        rule("value_lengths_to_be_between", column="shop_code", min_value=1, max_value=3),
    ],
    "typed": [
        rule("values_to_be_between", column="k_time", min_value="2026-08-30", max_value="2026-08-31T00:00:00Z"),
        rule("values_to_be_in_set", column="k_float32", value_set=[0.2]),
        rule("values_to_be_between", column="k_int64", min_value=0),
        rule("values_to_be_in_set", column="k_bool", value_set=[False]),
        rule("values_to_match_regex", column="k_string", regex="^näïve"),
        rule("values_to_be_null", column="k_uuid"),
    ],
    "numbered": [rule("values_to_be_between", column="capacity", min_value=10)],
}  # fmt: skip


@pytest.fixture(scope="module")
def guarded(repo: FeastRepo, bare_plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = copy_repo(repo, tmp_path_factory.mktemp("rules") / "repo", bare_plan)
    (folder / "skewguard.yaml").write_text(POLICY)
    for service, rules in SUITES.items():
        write_suite(folder, service, rules)
    put_in_force(folder)
    promise(folder, "drivers", {"stats__trips": 15, "stats__score": 2.25})
    with served(folder) as made:
        for service in SUITES:
            made.verdict(service, "pass")
        yield made


def drivers(server: Served, ids: list[int], shop: str = "x") -> httpx.Response:
    return server.look(feature_service="drivers", entities={"driver_id": ids, "shop_code": [shop] * len(ids)})


def test_what_holds_is_answered_as_ever(guarded: Served) -> None:
    response = drivers(guarded, [1, 2])
    assert "skewguard" not in response.json()["metadata"]
    assert "X-Skewguard-Expectations" not in response.headers
    assert columns(response.json())["trips"] == [10, 20]


def test_a_value_that_fails_is_replaced_and_told(guarded: Served) -> None:
    rows = metric(guarded, 'skewguard_expectation_rows_total{service="drivers"}')

    response = drivers(guarded, [1, 6, 99, 2])  # 60 trips; nobody knows 99

    assert columns(response.json())["trips"] == [10, 15, 15, 20]
    assert columns(response.json(), "statuses")["trips"] == ["PRESENT"] * 4
    assert columns(response.json())["score"] == [1.5, -0.0, None, 2.5]
    assert told(response) == {
        "trips": {"feature": "trips", "reference": "stats:trips", "service": "drivers", "because": "expectations",
                  "used": {"contract_default": [1, 2]}}
    }  # fmt: skip
    assert failed(response) == [
        {"service": "drivers", "rule": "expectation 1 (expect_column_values_to_be_between on 'trips')",
         "severity": "critical", "features": ["trips"], "count": 1, "rows": [1], "done": "fallback"},
        {"service": "drivers", "rule": "expectation 2 (expect_column_values_to_not_be_null on 'trips')",
         "severity": "critical", "features": ["trips"], "count": 1, "rows": [2], "done": "fallback"},
    ]  # fmt: skip
    assert response.headers["X-Skewguard-Expectations"] == "failed=2"
    assert response.headers["X-Skewguard-Fallbacks"] == "2"
    counted = 'skewguard_expectation_failures_total{done="fallback",feature="trips",rule="1 '
    assert metric(guarded, counted + 'expect_column_values_to_be_between",service="drivers"}') == 1
    info = 'skewguard_expectation_failures_total{done="count",feature="price",rule="5 '
    assert metric(guarded, info + 'expect_column_values_to_be_between",service="drivers"}') >= 1
    assert metric(guarded, 'skewguard_expectation_rows_total{service="drivers"}') == rows + 4


def test_one_feature_refuses_the_request(guarded: Served) -> None:
    found = problem(drivers(guarded, [1, 7]), 503, "expectations-failed")  # a score of 7

    assert found["service"] == "drivers"
    (told_,) = found["failed"]
    assert (told_["rows"], told_["features"], told_["done"]) == ([1], ["score"], "reject")
    assert "expectation 3" in found["detail"]
    assert drivers(guarded, [1]).status_code == 200


def test_a_rule_on_several_columns_is_about_each_that_can_be_replaced(guarded: Served) -> None:
    response = drivers(guarded, [1], "pair")  # driver 1 has 10 trips
    (found,) = failed(response)
    assert (found["features"], found["done"]) == (["driver_id", "trips"], "fallback")
    assert told(response)["trips"]["used"] == {"contract_default": "all"}
    assert columns(response.json())["driver_id"] == [1]


def test_the_plan_tells_which_suite_is_in_force(guarded: Served) -> None:
    suites = guarded.client.get("/v1/plan").json()["suites"]
    assert set(suites) == set(SUITES)
    assert (suites["drivers"]["asked"], suites["drivers"]["problem"], len(suites["drivers"]["suite"])) == (6, None, 64)
    (label,) = suites["drivers"]["not_served"]
    assert "'churned'" in label


def test_a_feature_list_is_asked_what_it_has_the_columns_for(guarded: Served) -> None:
    response = guarded.look(features=["stats:trips", "stats:rating"], entities={"driver_id": [6]})
    assert [one["service"] for one in failed(response)] == ["drivers"]
    assert columns(response.json())["trips"] == [15]
    alone = guarded.look(features=["stats:rating"], entities={"driver_id": [6]})
    assert "skewguard" not in alone.json()["metadata"]
    assert problem(guarded.look(features=["stats:score"], entities={"driver_id": [7]}), 503, "expectations-failed")


def test_annotate_tells_and_changes_nothing(guarded: Served) -> None:
    response = guarded.look(feature_service="shops", entities={"shop_code": ["late", "1", "x", "1234"]})
    by_rule = {one["features"][0]: one for one in failed(response)}
    assert by_rule["shop_code"]["rows"] == [0, 3]
    assert by_rule["shop_code"]["done"] == "annotate"
    assert "city" not in by_rule  # Rom is past its TTL, so there is no value to judge
    assert columns(response.json())["shop_code"] == ["late", "1", "x", "1234"]


def test_values_are_judged_as_what_they_are(guarded: Served) -> None:
    response = guarded.look(feature_service="typed", entities={"driver_id": [1]})
    assert [one["features"] for one in failed(response)] == [["k_uuid"]]
    nothing = guarded.look(feature_service="typed", entities={"driver_id": [2]})
    assert failed(nothing) == []


def test_an_override_of_the_gate_lets_values_through(guarded: Served) -> None:
    look = {"feature_service": "numbered", "entities": {"slot_no": [5]}}
    assert guarded.look(**look).status_code == 503
    state, now = State(guarded.folder), datetime.now(UTC)
    state.write_override(Override("numbered", "the rule is wrong", now + HOUR, "ana", now - HOUR, "serving"))
    response = eventually(lambda: found if (found := guarded.look(**look)).status_code == 200 else None)
    assert [one["done"] for one in failed(response)] == ["annotate"]
    state.end_overrides("numbered")
    eventually(lambda: guarded.look(**look).status_code == 503)


# -- suites that change while the server runs -------------------------------------------------------------------------


@pytest.fixture
def folder(repo: FeastRepo, bare_plan: Path, tmp_path: Path) -> Path:
    folder = copy_repo(repo, tmp_path / "repo", bare_plan)
    (folder / "skewguard.yaml").write_text("serving: annotate\n")
    return folder


SLOT = {"feature_service": "numbered", "entities": {"slot_no": [5]}}
"""A capacity of 9."""


def test_a_suite_that_is_swapped_under_load_is_there_whole(folder: Path) -> None:
    """Two suites of two rules each, of which slot 5 breaks all: no answer tells of one of each."""
    suites = [
        [
            rule("values_to_be_between", column="capacity", min_value=low),
            rule("values_to_be_in_set", column="capacity", value_set=[low]),
        ]
        for low in (100, 200)
    ]
    write_suite(folder, "numbered", suites[0])
    put_in_force(folder)
    path = folder / ".skewguard" / "plan.json"
    first = load_plan(path)
    write_suite(folder, "numbered", suites[1])
    second = replace(first, row_rules=compile_row_rules(folder, first))
    assert first.digest == second.digest
    assert first.rules_digest != second.rules_digest
    answers: list[int] = []
    done = threading.Event()
    with served(folder) as server:

        def ask() -> None:
            with httpx.Client(base_url=server.client.base_url, timeout=10) as client:
                while not done.is_set():
                    answers.append(len(failed(client.post("/get-online-features", json=SLOT))))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for count, plan in enumerate((second, first, second), start=1):
                save_plan(plan, path)
                eventually(lambda count=count: metric(server, SWAPPED) == count, 20)
        finally:
            done.set()
            for thread in threads:
                thread.join(10)
    assert set(answers) == {2}
    assert len(answers) > 30


def test_a_rate_alarms_below_its_share_and_recovers(folder: Path) -> None:
    (folder / "skewguard.yaml").write_text("row_policy: rate\nrow_window: 60s\nrow_min_rows: 3\n")
    write_suite(folder, "pairs", [rule("values_to_be_between", column="score", mostly=0.5, max_value=2.0)])
    put_in_force(folder)
    line = 'skewguard_expectation_alarm{feature="score",rule="1 expect_column_values_to_be_between",service="pairs"}'
    with served(folder) as server:

        def look(ids: list[int]) -> httpx.Response:
            entities = {"origin_id": ids, "target_id": [1] * len(ids)}
            return server.look(feature_service="pairs", entities=entities, full_feature_names=True)

        assert "skewguard" not in look([2]).json()["metadata"]  # too few rows to say anything
        assert "skewguard" not in look([1, 2, 1]).json()["metadata"]  # half of them, which is as many as may be
        response = look([2, 7])
        (alarm,) = response.json()["metadata"]["skewguard"]["alarms"]
        assert (alarm["judged"], alarm["mostly"], alarm["features"]) == (6, 0.5, ["score"])
        assert alarm["share"] == pytest.approx(2 / 6)
        assert response.headers["X-Skewguard-Expectations"] == "alarms=1"
        assert metric(server, line) == 1
        assert "skewguard" not in look([1, 1, 1, 1]).json()["metadata"]
        assert metric(server, line) == 0


SWAPPED = 'skewguard_plan_changes_total{result="swapped"}'


def test_a_suite_is_picked_up_and_one_that_is_refused_leaves_it_in_force(repo: FeastRepo, tmp_path: Path) -> None:
    """The whole way: the server itself compiles a suite that changes, in a process of its own."""
    folder = copy_repo(repo, tmp_path / "repo", _plan_without_functions(repo, tmp_path))
    (folder / "skewguard.yaml").write_text("serving: annotate\n")
    with served(folder) as server:
        assert failed(server.look(**SLOT)) == []
        write_suite(folder, "numbered", [rule("values_to_be_between", column="capacity", min_value=10)])
        eventually(lambda: failed(server.look(**SLOT)), 180)

        path = write_suite(folder, "numbered", [rule("values_to_be_betwen", column="capacity", min_value=10)])
        problems = eventually(lambda: server.client.get("/ready").json()["suite_problems"], 180)

        assert str(path) in problems["numbered"]
        assert "Did you mean 'expect_column_values_to_be_between'" in problems["numbered"]
        assert [one["rows"] for one in failed(server.look(**SLOT))] == [[0]]
        assert metric(server, 'skewguard_suite_problem{service="numbered"}') == 1

        path.unlink()  # withdrawn
        eventually(lambda: failed(server.look(**SLOT)) == [], 180)
        assert metric(server, 'skewguard_suite_problem{service="numbered"}') == 0


def _plan_without_functions(repo: FeastRepo, folder: Path) -> Path:
    path = folder / "whole.json"
    write_plan(repo, path)
    return path


def test_a_refused_suite_keeps_the_one_before_it_even_over_new_features(folder: Path) -> None:
    plan = load_plan(folder / ".skewguard" / "plan.json")
    path = write_suite(folder, "numbered", [rule("values_to_be_between", column="capacity", min_value=10)])
    good = compile_row_rules(folder, plan)
    path.write_text("{")
    kept = compile_row_rules(folder, plan, good)["numbered"]
    assert (kept.rules, kept.suite) == (good["numbered"].rules, good["numbered"].suite)
    assert "not JSON" in str(kept.problem)
    assert compile_row_rules(folder, plan, {"numbered": kept})["numbered"] is kept  # not compiled again
    other = replace(kept, columns="of another plan")
    assert compile_row_rules(folder, plan, {"numbered": other})["numbered"] == kept
    assert compile_row_rules(folder, plan)["numbered"] == ServiceRules(
        None, None, kept.columns, kept.file, kept.problem
    )
    path.unlink()
    assert compile_row_rules(folder, plan, good) == {}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"name": "\\ud800", "expectations": [RULE]}', "\x00", "[]"])
def test_a_hostile_suite_is_refused_and_the_plan_is_written_all_the_same(folder: Path, text: str) -> None:
    path = write_suite(folder, "shops", [rule("values_to_be_in_set", column="city", value_set=["x"])])
    one = json.dumps(rule("values_to_be_between", column="capacity", min_value=10))
    write_suite(folder, "numbered", []).write_text(text.replace("RULE", one))
    put_in_force(folder)
    plan = load_plan(folder / ".skewguard" / "plan.json")
    assert plan.row_rules["shops"].problem is None
    assert plan.row_rules["numbered"].rules is None
    assert "numbered.json" in str(plan.row_rules["numbered"].problem)
    assert path.exists()


def test_a_plan_whose_rules_were_changed_by_hand_is_refused(folder: Path) -> None:
    write_suite(folder, "numbered", [rule("values_to_be_between", column="capacity", min_value=10)])
    put_in_force(folder)
    path = folder / ".skewguard" / "plan.json"
    data = json.loads(path.read_text())
    data["row_rules"]["numbered"]["rules"]["rules"][0]["check"]["op"] = "__import__('os').system('true')"
    path.write_text(json.dumps(data))
    with pytest.raises(RuntimeError, match="rules_digest"), served(folder):
        raise AssertionError("it started")
    plan = replace(load_plan_without_digest(path), row_rules={})
    rules = ServiceRules.from_data(data["row_rules"]["numbered"])
    save_plan(replace(plan, row_rules={"numbered": rules}), path)  # even with digests that fit
    with pytest.raises(RuntimeError, match=r"row_rules\.numbered"), served(folder):
        raise AssertionError("it started")


def load_plan_without_digest(path: Path) -> Any:
    data = json.loads(path.read_text())
    data["row_rules"] = {}
    other = path.with_name("other.json")
    other.write_text(json.dumps({**data, "rules_digest": digest({})}))
    return load_plan(other)


def test_a_kill_while_rules_are_written_leaves_the_old_plan(folder: Path) -> None:
    write_suite(folder, "numbered", [rule("values_to_be_between", column="capacity", min_value=10)])
    put_in_force(folder)
    path = folder / ".skewguard" / "plan.json"
    before = path.read_bytes()
    script = """
        import os, signal, sys
        from dataclasses import replace
        import skewguard.files as files
        from skewguard.plan import ServingPlan, load_plan, save_plan
        plan = load_plan(sys.argv[1])
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # what was written is in the file, not yet in place
        save_plan(replace(plan, row_rules={}), sys.argv[1])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    with served(folder) as server:
        assert len(failed(server.look(**SLOT))) == 1


def test_misspelt_columns_and_suites_that_are_gone_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_suite(folder, "numbered", [rule("values_to_be_between", column="capacty", min_value=1)])
    put_in_force(folder)
    plan = load_plan(folder / ".skewguard" / "plan.json")
    tell_suites(plan)
    assert "did you mean 'capacity'" in caplog.text
    tell_suites(replace(plan, row_rules={}), plan)
    assert "numbered has no suite any more" in caplog.text


def test_the_time_of_a_suite_is_when_it_was_put_there(folder: Path) -> None:
    sources = PlanSources(folder)
    plan = folder / ".skewguard" / "plan.json"
    before = sources.look()
    assert before is not None
    assert before.suites == ()
    path = write_suite(folder, "numbered", [])
    os.utime(path, ns=(1, 1))  # a copy that keeps the time of its original
    after = sources.look()
    assert after is not None
    assert after.is_newer_than(stamp(plan))
    assert [name for name, _ in after.suites] == ["", "numbered.json"]


def test_the_server_judges_without_great_expectations_or_pandas(folder: Path) -> None:
    write_suite(folder, "numbered", [rule("values_to_be_between", column="capacity", min_value=10)])
    put_in_force(folder)
    script = """
        import sys
        from online_api.app import create_app
        from online_api.settings import Settings
        app = create_app(Settings.from_repo(sys.argv[1]))
        assert app.state.api.features._preparing._rules["numbered"].row_rules
        print(sorted(name for name in sys.modules if name.split(".")[0] in
              ("great_expectations", "pandas", "feast", "numpy", "pyarrow")))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_feasts_own_client_reads_answers_with_fallbacks_and_annotations(guarded: Served, repo: FeastRepo) -> None:
    from feast import FeatureStore, RepoConfig
    from feast.protos.feast.serving.ServingService_pb2 import FieldStatus

    config = RepoConfig(
        project="rides",
        provider="local",
        registry=str(guarded.folder / "data" / "registry.db"),
        online_store={"type": "remote", "path": str(guarded.client.base_url).rstrip("/")},
        offline_store={"type": "dask"},
        entity_key_serialization_version=3,
    )
    with quiet_feast():
        store = FeatureStore(config=config)
        rows = [{"driver_id": 1, "shop_code": "x"}, {"driver_id": 6, "shop_code": "x"}]
        found = store.get_online_features(features=store.get_feature_service("drivers"), entity_rows=rows)
        listed = store.get_online_features(features=["stats:trips", "stats:rating"], entity_rows=rows[1:])
    assert found.to_dict()["trips"] == [10, 15]
    assert found.to_dict()["rating"] == [pytest.approx(0.2), 0.0]
    trips = list(found.proto.metadata.feature_names.val).index("trips")
    assert list(found.proto.results[trips].statuses) == [FieldStatus.PRESENT] * 2
    assert listed.to_dict()["trips"] == [15]


def test_a_rule_that_breaks_is_told_as_broken_and_nothing_is_held_against_the_data(
    folder: Path, repo: FeastRepo
) -> None:
    """A time that Python cannot hold: the rule cannot compare it. Its neighbour is judged all the same."""
    write_suite(
        folder,
        "drivers",
        [
            rule("values_to_be_between", column="seen", min_value="2000-01-01T00:00:00Z"),
            rule("values_to_be_between", column="trips", max_value=0),
        ],
    )
    put_in_force(folder)
    row = Row("stats", {"driver_id": 77}, AS_OF - HOUR, {"trips": 1, "rating": 1.0, "score": 1.0, "seen": AS_OF})
    with quiet_feast():
        feast_write(repo, [row])
    plan = load_plan(folder / ".skewguard" / "plan.json")
    (key,) = KeyEncoder("rides", [plan.key_columns["driver_id"]]).encode([[77]], 1)
    assert key is not None
    with connect(settings_from_repo(folder)) as client:
        client.hset(key, feature_field("stats", "seen"), encode_value("INT64", 10**17))
    with served(folder) as server:
        response = drivers(server, [77])
        (broken,) = response.json()["metadata"]["skewguard"]["broken"]
        assert (broken["features"], broken["rows"]) == (["seen"], [0])
        assert "TypeError" in broken["error"]
        assert [one["features"] for one in failed(response)] == [["trips"]]
        assert response.headers["X-Skewguard-Expectations"] == "failed=1, broken=1"
        line = (
            'skewguard_expectation_broken_total{feature="seen",'
            'rule="1 expect_column_values_to_be_between",service="drivers"}'
        )
        assert metric(server, line) == 1


def test_what_is_computed_from_a_bad_value_is_bad_even_where_the_value_is_not_asked_for(
    repo: FeastRepo, plan: ServingPlan, tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    save_plan(plan, path)
    folder = copy_repo(repo, tmp_path / "repo", path)
    (folder / "skewguard.yaml").write_text("services: {live: {serving: fallback, fallback: null}}\n")
    write_suite(folder, "live", [rule("values_to_be_between", column="trips", max_value=45)])
    put_in_force(folder)
    trips = {"driver_id": [1, 6], "distance": [2.0, 3.0], "at": [AS_OF.isoformat()] * 2}
    entities = {**trips, "shop_code": ["x", "x"]}
    with served(folder) as server:
        server.verdict("live", "pass")
        whole = server.look(feature_service="live", entities=entities)
        found = told(whole)
        assert sorted(found) == ["per_trip", "rounded", "trips"]  # and not days, place or score
        assert [one["used"] for one in found.values()] == [{"null": [1]}] * 3
        values = columns(whole.json())
        assert [values[name][0] is None for name in found] == [False] * 3
        assert [values[name][1] for name in found] == [None] * 3
        alone = server.look(features=["ratios:per_trip"], entities=trips)
        assert told(alone)["per_trip"]["used"] == {"null": [1]}
        assert columns(alone.json())["per_trip"] == [0.2, None]
        other = server.look(features=["moments:days"], entities=entities)
        assert other.status_code == 200
        assert "skewguard" not in other.json()["metadata"]
