"""On-demand views on both engines, from a real Feast repository with views of every mode."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skewguard import SkewGuard
from skewguard.checks.transform import differ
from skewguard.config import Policy, ServicePolicy
from skewguard.findings import CheckResult, Finding
from skewguard.gate import decide
from skewguard.offline.sources import connect
from skewguard.online.embedded import EmbeddedRedis
from skewguard.transform_engines import Engines, Patience, differing, kept
from skewguard.transforming import transform
from tests.checks.test_replay import server
from tests.checks.transform_repo import DEFINITIONS

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory, redis_server: EmbeddedRedis) -> SkewGuard:
    folder = tmp_path_factory.mktemp("transform")
    (folder / "data").mkdir()
    count = 60
    frame = pd.DataFrame(
        {
            "user_id": np.arange(count),
            "spend": np.linspace(1, 90, count),
            "orders": np.arange(1, count + 1),
            "region": [f"r{n % 5}" for n in range(count)],
            "score": np.linspace(0, 1, count, dtype=np.float32),
            "seen": pd.array([2**53 + 1 if n % 3 else n for n in range(count)], dtype="Int64"),
            "ts": pd.Timestamp(NOW - timedelta(days=1)),
        }
    )
    frame.loc[7, "seen"] = pd.NA
    frame.to_parquet(folder / "data" / "stats.parquet")
    (folder / "definitions.py").write_text(DEFINITIONS)
    (folder / "feature_store.yaml").write_text(
        "project: transform\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        f"online_store: {{type: redis, connection_string: '{redis_server.connection_string}'}}\n"
        "offline_store: {type: skewguard.offline.store.SkewguardOfflineStore}\n"
    )
    opened = SkewGuard(folder, clock=lambda: NOW)
    opened.feast.apply()
    opened.materialize(as_of=NOW)
    return opened


def run(guard: SkewGuard, service: str, patience: Patience = Patience()) -> CheckResult:  # noqa: B008
    with connect() as con:
        return transform(guard, guard.service(service), NOW, con, patience)


def found(guard: SkewGuard, service: str, policy: ServicePolicy | None = None) -> list[Finding]:
    result = run(guard, service)
    assert result.status == "ok"
    assert result.compared == result.population > 0
    return list(decide([result], policy or ServicePolicy()).findings)


def test_a_view_that_answers_alike_has_no_finding(guard: SkewGuard) -> None:
    assert found(guard, "plain") == []


def test_nan_is_null_online_and_python_answers_null_for_either(guard: SkewGuard) -> None:
    assert found(guard, "in_python") == []


def test_a_null_alone_in_a_request_is_no_number_to_pandas(guard: SkewGuard) -> None:
    """No row of the data has one, so it only warns: training would see NaN, a request fails."""
    (finding,) = found(guard, "absolute")
    assert (finding.cause.value, finding.view, finding.feature) == ("transform_divergence", "absolute", "size")
    assert (finding.evidence["rows_differ"], finding.evidence["edges_differ"][0]) == (0, "spend is null")
    assert "TypeError" in finding.evidence["raises"]["online"]
    assert (finding.evidence["severity"], finding.action) == ("warning", "warn")
    assert "edge cases" in finding.message
    assert "(when spend is null" in finding.message
    assert finding.samples[0]["online"].startswith("(raises TypeError")


def test_a_null_somewhere_in_training_makes_whole_numbers_doubles(guard: SkewGuard) -> None:
    (finding,) = found(guard, "by_bits")
    assert finding.evidence["rows_differ"] == finding.count == 39
    assert (finding.action, finding.evidence["severity"]) == ("block", "critical")
    sample = finding.samples[0]
    assert (sample["entity"]["stats__seen"], sample["offline"], sample["online"]) == (2**53 + 1, 0, 1)


def test_views_of_one_row_answer_in_training_too_and_raising_on_either_side_is_alike(guard: SkewGuard) -> None:
    """``None.upper()`` fails wherever it is called."""
    assert found(guard, "singly") == []
    frame = pd.DataFrame({"user_id": [3, 4], "event_timestamp": [NOW, NOW]})
    table = guard.historical_features(frame, "singly")
    assert isinstance(table, pa.Table)
    assert table.column("shout").to_pylist() == ["R3", "R4"]


def test_request_data_take_part(guard: SkewGuard) -> None:
    findings = found(guard, "with_request")
    assert all(f.evidence["rows_differ"] == 0 for f in findings)
    with connect() as con:
        details = transform(guard, guard.service("with_request"), NOW, con).details["views"]["with_request"]
    assert details["rows"] == 60
    assert details["edges"] > 10


def test_what_is_not_deterministic_is_named_so(guard: SkewGuard) -> None:
    (finding,) = found(guard, "thrown")
    assert finding.evidence["not_deterministic"] is True
    assert (finding.action, "asked again" in finding.message) == ("warn", True)


def test_it_is_part_of_a_check_where_there_are_on_demand_views(guard: SkewGuard) -> None:
    by_service = {
        name: [c.check for c in guard.check(name, as_of=NOW, save=False).checks] for name in ("plain", "stored")
    }
    assert "transform" in by_service["plain"]
    assert "transform" not in by_service["stored"]


def test_rows_are_as_many_as_policy_says(guard: SkewGuard) -> None:
    few = SkewGuard(guard.path, policy=Policy({"transform_rows": 5}), clock=lambda: NOW)
    none = SkewGuard(guard.path, policy=Policy({"transform_rows": 0}), clock=lambda: NOW)
    rows: dict[str, Any] = {}
    for name, opened in (("few", few), ("none", none)):
        with connect() as con:
            rows[name] = transform(opened, opened.service("plain"), NOW, con).details["views"]["plain"]["rows"]
    assert rows == {"few": 5, "none": 0}


@pytest.mark.parametrize("service", ["plain", "in_python", "ratio", "initial", "changes", "leaves"])
def test_engines_that_agree_give_no_finding(guard: SkewGuard, service: str) -> None:
    """Ratios with zero, texts, inputs changed in place, SystemExit on either side; so does Feast's own server."""
    result = run(guard, service)
    assert result.findings == ()
    (told,) = result.details["views"].values()
    assert (told["rows"], told["training_raises"]) == (60, None)
    assert told["feast_server"]["differ"] == {}
    assert told["feast_server"]["compared"] == 20 + 12  # rows of the data, and the common edges of five inputs


NUMBER = st.one_of(st.none(), st.floats(width=32, allow_infinity=False), st.just(0.0))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(NUMBER, st.one_of(st.none(), st.integers(-(2**40), 2**40))), min_size=1, max_size=8))
def test_engines_that_agree_do_so_on_any_rows(guard: SkewGuard, rows: list[tuple[Any, Any]]) -> None:
    columns = {"stats__spend": pa.array([a for a, _ in rows], pa.float64()),
               "stats__orders": pa.array([b for _, b in rows], pa.int64())}  # fmt: skip
    for service in ("ratio", "in_python"):
        engines = Engines(guard.feast, guard.service(service).on_demand[0])
        table = engines.inputs.table(pa.table(columns), len(rows))
        served = engines.serving(table)
        trained, _ = engines.training(table)
        (feature,) = engines.definition.features
        tolerance = ServicePolicy().tolerance_for(service, feature)
        assert not differ(trained, engines.outcome(served), feature, tolerance).any()
        assert differing(engines.definition, served, engines.serving(table)) == frozenset()


def test_edges_of_two_inputs_are_told_where_neither_alone_is_enough(guard: SkewGuard) -> None:
    (finding,) = found(guard, "in_pairs")
    assert finding.evidence["edges_differ"] == ["orders is null and region is ''"]
    assert (finding.evidence["severity"], finding.action) == ("warning", "warn")


def test_an_edge_is_told_by_the_smallest_conditions(guard: SkewGuard) -> None:
    """A null spend is enough, and NaN is stored as null: no pair with either is named, though each differs."""
    (finding,) = found(guard, "absolute")
    assert finding.evidence["edges_differ"] == ["spend is null", "spend is nan"]
    assert finding.count > 10


def test_a_view_of_its_whole_batch_is_trained_on_other_values(guard: SkewGuard) -> None:
    (finding,) = found(guard, "batchwise")
    assert (finding.evidence["rows_differ"], finding.action) == (59, "block")


def test_what_training_raises_on_the_batch_is_told_though_no_row_differs(guard: SkewGuard) -> None:
    told = run(guard, "drops").details["views"]["drops"]
    assert "length 59" in told["training_raises"]


def test_an_endless_edge_is_left_out_and_the_rest_is_judged(guard: SkewGuard) -> None:
    result = run(guard, "endless", Patience(call=0.3, run=2.0))
    assert (result.status, result.findings) == ("ok", ())
    told = result.details["views"]["endless"]
    assert told["rows"] == 60
    assert told["left_out"]["edges"] > 0
    assert told["left_out"]["rows"] == 0


def test_a_slow_view_is_judged_on_fewer_rows(guard: SkewGuard) -> None:
    result = run(guard, "slow", Patience(call=2.0, run=0.4))
    told = result.details["views"]["slow"]
    assert result.status == "ok"
    assert 1 <= told["rows"] < 20
    assert told["rows"] + told["left_out"]["rows"] == 60
    assert result.seconds < 10


def test_a_view_that_no_row_is_in_time_for_is_not_passed(guard: SkewGuard) -> None:
    result = run(guard, "slow", Patience(call=0.02, run=0.4))
    assert result.status == "inconclusive"
    assert "'slow': it took too long on rows of the data" in result.reason


def test_edges_that_training_has_no_time_for_are_left_out(guard: SkewGuard) -> None:
    """Rows and what came of them stay together."""
    engines = Engines(guard.feast, guard.service("ratio").on_demand[0])
    table = engines.inputs.table(pa.table({"stats__spend": [1.0, 2.0, 3.0]}), 3)
    rows, outcome = kept(table, engines.training(table)[0], [True, False, True])
    assert rows.column("stats__spend").to_pylist() == [1.0, 3.0]
    assert outcome.columns["ratio"].to_pylist() == [1 / 3, 1.0]
    assert outcome.raised == [None, None]


@pytest.mark.slow
def test_request_data_are_those_that_were_asked_with(guard: SkewGuard) -> None:
    """Of the log: 0.1 is the same number in training as in a request, also where it is declared Float32."""
    with server(guard.path) as client:
        for value in (0.1, 7.0, 0.1):
            body = {"feature_service": "rated", "entities": {"user_id": [1], "rate": [value]}}
            answer = client.post("/get-online-features", json=body)
            assert answer.status_code == 200, answer.text
            names = answer.json()["metadata"]["feature_names"]
            served = answer.json()["results"][names.index("rated")]["values"][0]
            frame = pd.DataFrame({"user_id": [1], "rate": [value], "event_timestamp": [NOW]})
            table = guard.historical_features(frame, "rated")
            assert isinstance(table, pa.Table)
            assert [served] == table.column("rated").to_pylist() == [float(np.float32(value))]
    result = run(guard, "rated")
    assert result.findings == ()
    assert result.details["views"]["rated"]["request_data_logged"] == 2


def test_a_check_is_blocked_by_rows_of_the_data_and_not_by_edges(guard: SkewGuard) -> None:
    blocked = guard.check("batchwise", as_of=NOW, save=False)
    assert blocked.verdict.value == "block"
    assert any("batchwise.of_all" in reason for reason in blocked.reasons)
    warned = guard.check("in_pairs", as_of=NOW)
    assert [f.action for f in warned.findings if f.cause.value == "transform_divergence"] == ["warn"]
    assert warned.verdict.value == "warn"
    assert "in_pairs.pair" in (guard.path / ".skewguard" / "runs" / warned.run_id / "report.html").read_text()
