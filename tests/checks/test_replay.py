"""The replay check on a real server's log: what was served, and every way in which it can be wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skewguard import SkewGuard
from skewguard.checks.replay import Replayed, ViewReplay, edit_distance
from skewguard.config import Tolerance
from skewguard.definitions import FieldDef, Projection
from skewguard.errors import BadInputError
from skewguard.findings import CheckResult
from skewguard.online.encoding import encode_value
from skewguard.online.keys import KeyEncoder, feature_field, timestamp_field
from skewguard.online.timestamps import encode_timestamp
from skewguard.replaying import replay
from tests.checks.builders import STAMP, hours, view
from tests.repos import AS_OF, write_repo

SHOPS = ("Äpfel", "b:c", "", "dd")
HOUR = timedelta(hours=1)
Row = tuple[str, int]
ALL: list[Row] = [(shop, till) for shop in (*SHOPS, "nowhere") for till in range(24)]


@pytest.fixture
def guard(tmp_path: Path, clean_redis: Any) -> SkewGuard:
    repo = write_repo(tmp_path / "repo", clean_redis.connection_string)
    opened = SkewGuard(repo, clock=lambda: AS_OF)
    opened.feast.apply()
    opened.materialize(as_of=AS_OF - 3 * HOUR)
    opened.materialize(as_of=AS_OF)
    return opened


@contextmanager
def server(repo: Path, *arguments: str) -> Iterator[httpx.Client]:
    command = [sys.executable, "-m", "online_api", "--repo", str(repo), "--port", "0", "--json"]
    options = arguments or ("--as-of", AS_OF.isoformat())
    process = subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, text=True, env={**os.environ}, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    try:
        with httpx.Client(base_url=json.loads(process.stdout.readline())["url"], timeout=30) as client:
            yield client
    finally:
        process.terminate()
        process.communicate(timeout=30)


def ask(client: httpx.Client, rows: list[Row], amount: Any = 3.0) -> dict[str, Any]:
    entities = {
        "shop_id": [shop for shop, _ in rows],
        "till_no": [till for _, till in rows],
        "amount": [amount] * len(rows),
    }
    response = client.post("/get-online-features", json={"feature_service": "till_v1", "entities": entities})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def serve(guard: SkewGuard, rows: list[Row] | None = None) -> None:
    with server(guard.path) as client:
        ask(client, rows or ALL)


def checked(guard: SkewGuard) -> CheckResult:
    return replay(guard, guard.service("till_v1"), AS_OF)


def causes(result: CheckResult) -> dict[tuple[str, str | None, str | None], int]:
    return {(f.cause.value, f.view, f.feature): f.count for f in result.findings}


def write(guard: SkewGuard, client: Any, row: Row, values: Mapping[str, Any], **at: Any) -> None:
    """Change what Redis holds of till_stats for one entity."""
    view = next(view for view in guard.feast.views() if view.name == "till_stats")
    columns = [[dict(zip(("shop_id", "till_no"), row, strict=True))[key.name]] for key in view.join_keys]
    (key,) = KeyEncoder(guard.feast.project, view.join_keys).encode(columns, 1)
    assert key is not None
    fields: dict[bytes, bytes] = {
        feature_field("till_stats", name): b"" if value is None else encode_value(view.feature(name).dtype, value)
        for name, value in values.items()
    }
    if "stamp" in at:
        fields[timestamp_field("till_stats")] = encode_timestamp(int(at["stamp"].timestamp()) * 10**9)
    client.hset(key, mapping=fields)


def offline(guard: SkewGuard) -> pd.DataFrame:
    frame = pd.read_parquet(guard.path / "data" / "till.parquet")
    return frame.sort_values("at").groupby(["shop_id", "till_no"]).last()


def test_what_a_healthy_store_served_is_what_offline_says(guard: SkewGuard) -> None:
    assert checked(guard).reason == "nothing was logged"
    serve(guard)
    result = checked(guard)
    assert (result.status, causes(result)) == ("ok", {})
    assert (result.population, result.compared) == (120, 120)
    sales = result.details["views"]["till_stats"]["features"]["sales"]
    assert sales == {"nulls": {"both": 40, "offline_only": 0, "served_only": 0}, "smape": 0.0}
    assert result.details["views"]["till_stats"]["features"]["baskets"]["edit_distance"] == 0.0
    assert result.details["on_demand"]["derived"]["diverging"] == {"per_sale": 0}
    assert result.details["on_demand"]["derived"]["compared"] == 120
    run = guard.check("till_v1", as_of=AS_OF)
    assert next(check for check in run.checks if check.check == "replay").compared == 120
    later = replay(guard, guard.service("till_v1"), AS_OF + timedelta(days=3))
    assert later.compared == 0
    assert "nothing was served" in later.reason


def test_a_wrong_unit_a_null_and_a_cut_list_are_named(guard: SkewGuard, clean_redis: Any) -> None:
    latest = offline(guard)
    tills = [(shop, till) for shop in SHOPS for till in range(20)]
    with clean_redis.client() as client:
        for row in tills:
            write(guard, client, row, {"sales": float(latest.loc[row, "sales"]) * 100})
        write(guard, client, ("dd", 3), {"label": None, "baskets": [*latest.loc[("dd", 3), "baskets"], 1.0, 2.0]})
    serve(guard)
    found = causes(checked(guard))
    assert found["unit_scale", "till_stats", "sales"] == 80
    assert found["unexplained", "till_stats", "label"] == 1
    assert found["unexplained", "till_stats", "baskets"] == 1
    assert {feature for _, _, feature in found} == {"sales", "label", "baskets"}
    details = checked(guard).details
    assert details["views"]["till_stats"]["features"]["baskets"]["edit_distance"] == pytest.approx(2 / 120)
    assert details["views"]["till_stats"]["features"]["sales"]["smape"] == pytest.approx(2 * 99 / 101)
    assert details["views"]["till_stats"]["features"]["label"]["nulls"]["served_only"] == 1
    # per_sale follows from sales, and is no finding of its own
    assert details["on_demand"]["derived"]["different_because_an_input_is"] == {"per_sale": 80}


def test_what_was_sent_instead_of_a_wrong_value_is_no_skew_and_is_counted(guard: SkewGuard, clean_redis: Any) -> None:
    """Redis holds wrong sales and a wrong label; other values are sent for sales, and for what is computed of them."""
    with clean_redis.client() as client:
        for row in [("dd", 1), ("b:c", 2)]:
            write(guard, client, row, {"sales": -1e9, "label": "wrong"})
    (guard.path / "skewguard.yaml").write_text("serving: fallback\nfallback: null\n")
    block = {
        "service": "till_v1",
        "verdict": "block",
        "reasons": ["wrong"],
        "run_id": "r",
        "as_of": "now",
        "blocked": [{"view": "till_stats", "feature": "sales"}],
        "finished_at": datetime.now(UTC).isoformat(),
    }
    path = guard.state.gate_path("till_v1")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(block))
    with server(guard.path) as http:
        body = ask(http, ALL)
    told = {one["reference"]: one["used"] for one in body["metadata"]["skewguard"]["fallbacks"]}
    assert told == {"till_stats:sales": {"null": "all"}, "derived:per_sale": {"null": "all"}}
    result = checked(guard)
    assert causes(result) == {("unexplained", "till_stats", "label"): 2}
    assert result.compared == 120
    assert result.details["sent_instead"] == {"till_stats__sales": 120, "derived__per_sale": 120}
    assert result.details["on_demand"]["derived"]["diverging"] == {"per_sale": 0}
    sales = result.details["views"]["till_stats"]["features"]["sales"]
    assert sales["nulls"] == {"both": 0, "offline_only": 0, "served_only": 0}


def test_row_causes_from_timestamps_and_windows(guard: SkewGuard, clean_redis: Any) -> None:
    view = next(view for view in guard.feast.views() if view.name == "till_stats")
    with clean_redis.client() as client:
        old = AS_OF - 11 * HOUR
        write(guard, client, ("dd", 0), {"sales": 1.0}, stamp=old)  # an older row, written over the newer
        write(guard, client, ("dd", 1), {"sales": 2.0}, stamp=AS_OF - timedelta(minutes=30))  # pushed
        write(guard, client, ("dd", 2), {"sales": 3.0}, stamp=AS_OF + HOUR)  # from the future
        columns = [["dd"], [3]] if view.join_keys[0].name == "shop_id" else [[3], ["dd"]]
        (key,) = KeyEncoder(guard.feast.project, view.join_keys).encode(columns, 1)
        assert key is not None
        client.delete(key)
    path = guard.path / "data" / "till.parquet"
    frame = pd.read_parquet(path)
    new = frame.loc[[frame.index[0]] * 2].copy()
    new["shop_id"], new["till_no"] = "b:c", [5, 6]
    new["at"] = AS_OF - HOUR
    new["made"] = [AS_OF - timedelta(minutes=59), AS_OF + HOUR]  # the second one arrived after the run
    pd.concat([frame, new]).to_parquet(path)
    serve(guard)
    found = causes(checked(guard))
    assert found.pop(("out_of_order_write", "till_stats", None)) == 2
    assert found.pop(("ahead_of_offline", "till_stats", None)) == 1
    assert found.pop(("served_before_known", "till_stats", None)) == 1
    assert found.pop(("missing_online", "till_stats", None)) == 1
    assert found.pop(("late_arrival", "till_stats", None)) == 1
    assert found == {}


def test_rows_that_were_not_yet_materialized_at_their_moment(tmp_path: Path, clean_redis: Any) -> None:
    repo = write_repo(tmp_path / "repo", clean_redis.connection_string)
    guard = SkewGuard(repo, clock=lambda: AS_OF)
    guard.feast.apply()
    guard.materialize(as_of=AS_OF - 9 * HOUR)
    serve(guard)
    guard.materialize(as_of=AS_OF + HOUR)  # what was done since does not make the past look better, nor worse
    found = causes(checked(guard))
    assert found == {("not_materialized", "till_stats", None): 80}


def test_values_that_were_created_after_their_moment(guard: SkewGuard) -> None:
    path = guard.path / "data" / "till.parquet"
    frame = pd.read_parquet(path)
    served = (frame["shop_id"] == "dd") & (frame["at"] > AS_OF - 3 * HOUR)
    assert served.sum() == 20
    frame.loc[served, "made"] = AS_OF + HOUR
    frame.to_parquet(path)
    serve(guard)
    assert causes(checked(guard)) == {("served_before_known", "till_stats", None): 20}

    frame["made"] = AS_OF + 2 * HOUR  # a load stamped all of them
    frame.to_parquet(path)
    result = checked(guard)
    assert causes(result) == {}
    assert result.details["views"]["till_stats"]["created_timestamps_tell"] is False


def test_an_on_demand_view_that_changed_after_serving_diverges(guard: SkewGuard) -> None:
    serve(guard)
    definitions = guard.path / "definitions.py"
    text = definitions.read_text(encoding="utf-8")
    definitions.write_text(
        text.replace('inputs["amount"] / inputs["sales"]', '(inputs["amount"] + 1) / inputs["sales"]'),
        encoding="utf-8",
    )
    fresh = SkewGuard(guard.path, clock=lambda: AS_OF)
    fresh.feast.apply()
    result = checked(fresh)
    assert causes(result) == {("transform_divergence", "derived", "per_sale"): 80}
    (finding,) = result.findings
    assert finding.samples[0]["entity"] == {"amount": 3.0}


def test_an_on_demand_view_that_fails_offline_is_said(guard: SkewGuard) -> None:
    serve(guard)
    definitions = guard.path / "definitions.py"
    text = definitions.read_text(encoding="utf-8")
    definitions.write_text(text.replace('inputs["amount"] / inputs["sales"]', 'inputs["no such"]'), encoding="utf-8")
    # Feast tries the function when it is applied: the registry keeps the old one, so it is put in by hand
    fresh = SkewGuard(guard.path, clock=lambda: AS_OF)
    view = fresh.feast.feast_on_demand("derived")
    view.feature_transformation.udf = lambda inputs: inputs[["no such"]]
    fresh.feast.feast_on_demand = lambda name: view  # type: ignore[method-assign]
    result = checked(fresh)
    assert result.status == "inconclusive"
    assert "'derived' fails on offline values" in result.reason


def test_a_sample_takes_entities_and_moves_no_rate(guard: SkewGuard, clean_redis: Any) -> None:
    latest = offline(guard)
    with clean_redis.client() as client:
        for row in [(shop, till) for shop in SHOPS for till in range(0, 20, 2)]:
            write(guard, client, row, {"sales": float(latest.loc[row, "sales"]) * 100})
    with server(guard.path) as client_:
        for _ in range(5):
            ask(client_, ALL)
    (guard.path / "skewguard.yaml").write_text("replay_rows: 300\n")
    sampled = SkewGuard(guard.path, clock=lambda: AS_OF)
    result = replay(sampled, sampled.service("till_v1"), AS_OF)
    assert (result.population, result.compared) == (600, 600)
    (finding,) = result.findings
    assert 150 < finding.compared < 450
    assert finding.compared % 5 == 0
    assert 0.2 < finding.rate < 0.5  # a third of all rows


@pytest.mark.parametrize(("made", "earlier"), [(2, 3), (2, 2), (None, None), (2, None)])
def test_a_row_that_lost_its_tie_is_a_blocked_correction(made: float | None, earlier: float | None) -> None:
    """Whichever was created last, or none: the served value is that of another row of the same event timestamp."""
    definition = view(FieldDef("f", "DOUBLE"))
    stamp, key = pa.array([hours(5)], STAMP), pa.array([1], pa.int64())
    rows = pa.table(
        {"n": key, "as_of": pa.array([hours(0)], STAMP), "request_id": pa.array(["r"]), "s_ts": stamp, "t_ts": stamp,
         "k_0": key, "s_0": pa.array([1.0]), "t_0": pa.array([2.0]), "c_0": pa.array([1], pa.int32())}
    )  # fmt: skip
    created = pa.array([None if age is None else hours(age) for age in (made, earlier)], STAMP)
    source = pa.table(
        {"key": pa.array([1, 1], pa.int64()), "__event_ts": pa.array([hours(5)] * 2, STAMP), "__created_ts": created,
         "f": [2.0, 1.0]}
    )  # fmt: skip
    check = ViewReplay(Projection(definition, definition.features), lambda _: Tolerance(), ())
    check.add(Replayed(rows, lambda asked: source))
    assert [(f.cause.value, f.feature, f.count) for f in check.findings()] == [("blocked_correction", "f", 1)]


@given(st.lists(st.integers(0, 3), max_size=7), st.lists(st.integers(0, 3), max_size=7))
def test_edit_distance_is_what_is_outside_a_longest_common_subsequence(left: list[int], right: list[int]) -> None:
    def longest(a: list[int], b: list[int]) -> int:
        if not a or not b:
            return 0
        if a[0] == b[0]:
            return 1 + longest(a[1:], b[1:])
        return max(longest(a[1:], b), longest(a, b[1:]))

    assert edit_distance(left, right) == len(left) + len(right) - 2 * longest(left, right)


def test_training_from_the_log_is_what_was_served(guard: SkewGuard, clean_redis: Any) -> None:
    """To a request, or by keys and time; a value that was wrong when it was served stays wrong."""
    rows: list[Row] = [("dd", 1), ("b:c", 2), ("nowhere", 0)]
    with clean_redis.client() as client:
        write(guard, client, ("dd", 1), {"sales": -7.5})
    with server(guard.path) as http:
        first = ask(http, rows, 2.0)
        with clean_redis.client() as client:
            write(guard, client, ("dd", 1), {"sales": -8.5})
        request_id = http.post(
            "/get-online-features",
            json={
                "feature_service": "till_v1",
                "entities": {"shop_id": ["dd"], "till_no": [1], "amount": [17.0]},
            },
        ).headers["x-request-id"]
    labels = pd.DataFrame(
        {
            "shop_id": ["b:c", "dd", "dd", "nowhere"],
            "till_no": [2, 1, 22, 0],
            "amount": 1.0,
            "event_timestamp": AS_OF + HOUR,
            "target": [0, 1, 2, 3],
        }
    )
    made = guard.training_set(labels, "till_v1", from_log=("2000-01-01", "2100-01-01"), allow="a test")
    assert made.to_arrow().column("target").to_pylist() == [0, 1, 3]  # 22 was never asked for
    assert made.contract.provenance["from_log"]["rows_not_served"] == 1
    table = made.to_arrow()
    assert table.column("sales").to_pylist()[1:] == [-8.5, None]
    assert table.column("per_sale").to_pylist()[1] == 17.0 / -8.5
    names = first["metadata"]["feature_names"]
    served = {name: first["results"][names.index(name)]["values"][1] for name in names}
    assert table.column("turnover").to_pylist()[0] == served["turnover"]
    assert table.column("baskets").to_pylist()[0] == served["baskets"]

    labels["__request_id"] = ["x", request_id, request_id, "y"]
    by_request = guard.training_set(labels, "till_v1", from_log=("2000-01-01", "2100-01-01"), allow="a test")
    assert by_request.to_arrow().column("per_sale").to_pylist() == [17.0 / -8.5]
    with pytest.raises(BadInputError, match="none of the entity rows was served"):
        guard.training_set(labels[:1], "till_v1", from_log=("2000-01-01", "2100-01-01"), allow="a test")
