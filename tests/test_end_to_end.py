"""The whole guard on a generated repository of another shape, with a real Redis, real Parquet and Feast beside it."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from skewguard import GateBlocked, SkewGuard, Verdict
from skewguard.definitions import FieldDef, OnDemandDef
from skewguard.drill import inject
from skewguard.errors import BadInputError, StoreUnavailableError, UnknownNameError
from skewguard.findings import Cause, Run
from skewguard.run_json import load_run
from skewguard.vectors import _entity_table
from tests.repos import AS_OF, entity_rows, write_repo

LIVE_FAULTS = ("out_of_order_write", "unit_scale", "missing_online", "expired_but_served", "entity_key_mismatch",
               "column_swap", "category_recode", "string_normalization")  # fmt: skip
REQUEST_TIME = OnDemandDef("od", (), (), (FieldDef("asked_at", "UNIX_TIMESTAMP"),), "pandas", "")


@pytest.fixture
def guard(tmp_path: Path, clean_redis: Any) -> SkewGuard:
    repo = write_repo(tmp_path / "repo", clean_redis.connection_string)
    opened = SkewGuard(repo, clock=lambda: AS_OF)
    opened.feast.apply()
    return opened


@pytest.fixture
def live(guard: SkewGuard) -> SkewGuard:
    guard.training_set(entity_rows(), "till_v1")
    guard.materialize(as_of=AS_OF)
    return guard


def causes(run: Run) -> set[tuple[str, str | None, str | None]]:
    return {(f.cause.value, f.view, f.feature) for f in run.findings}


def test_a_clean_store_passes(live: SkewGuard) -> None:
    run = live.check("till_v1", as_of=AS_OF)
    assert (run.verdict, causes(run)) == (Verdict.PASS, set())
    parity = next(check for check in run.checks if check.check == "parity")
    assert parity.compared == 96 + 4 + 1
    assert {f.name for f in live.service("till_v1").outputs()} - {s.feature for s in parity.features} == {"per_sale"}
    assert live.check("shop_v1", as_of=AS_OF).verdict is Verdict.WARN  # no contract yet


def test_a_check_reads_no_faster_than_policy_lets_it(live: SkewGuard) -> None:
    (live.path / "skewguard.yaml").write_text("keys_per_second: 200\n")
    calm = SkewGuard(live.path, clock=lambda: AS_OF)
    steps: list[tuple[str, int]] = []
    started = time.monotonic()
    run = calm.check("till_v1", as_of=AS_OF, progress=lambda step, rows: steps.append((step, rows)))
    assert time.monotonic() - started > 0.5  # a hundred entities are read, and looked for among the keys
    assert run.verdict is Verdict.PASS
    assert any(step in {view.name for view in calm.feast.views()} for step, _ in steps)


def test_feast_materializes_and_the_guard_finds_only_its_normal_behaviour(guard: SkewGuard) -> None:
    guard.training_set(entity_rows(), "till_v1")
    guard.feast.store.materialize(AS_OF - timedelta(days=90), AS_OF)
    guard.feast.store.refresh_registry()
    run = guard.check("till_v1", as_of=AS_OF)
    # Feast writes rows that are past their TTL, and whole numbers go through float64 where the window holds a null
    assert causes(run) <= {
        ("expired_but_served", "till_stats", None),
        ("type_cast", "till_stats", "items"),
    }
    assert ("expired_but_served", "till_stats", None) in causes(run)


def test_online_vectors_equal_feasts_own(live: SkewGuard) -> None:
    rows = [{"shop_id": s, "till_no": t, "amount": 3.0} for s in ("Äpfel", "b:c", "", "zz") for t in (0, 3, 23)]
    ours = live.online("till_v1", rows, as_of=AS_OF)
    store = live.feast.store
    theirs = store.get_online_features(store.get_feature_service("till_v1"), entity_rows=rows).to_dict()
    for name in ("sales", "items", "label", "open", "baskets", "turnover", "euro", "per_sale"):
        assert ours.column(name).to_pylist() == theirs[name], name
    statuses = ours.column("__status__sales").to_pylist()
    assert statuses == ["PRESENT", "PRESENT", "NOT_FOUND"] * 3 + ["NOT_FOUND"] * 3


@pytest.mark.parametrize("fault", LIVE_FAULTS)
def test_every_drill_is_seen_named_and_repaired(live: SkewGuard, fault: str) -> None:
    injected = inject(live, "till_v1", fault, share=0.2, as_of=AS_OF)
    assert injected.rows > 0
    run = live.check("till_v1", as_of=AS_OF)
    found = next(f for f in run.findings if f.cause is injected.cause and f.view == injected.view)
    assert found.count == injected.rows
    assert found.feature == injected.feature
    expected = Verdict.WARN if injected.cause is Cause.EXPIRED_BUT_SERVED else Verdict.BLOCK
    assert run.verdict is expected
    assert {f.cause for f in run.findings} == {injected.cause}
    plan = live.plan_repair("till_v1", as_of=AS_OF)
    assert not plan.is_empty
    live.repair(plan)
    assert live.check("till_v1", as_of=AS_OF).verdict is Verdict.PASS
    assert live.plan_repair("till_v1", as_of=AS_OF).is_empty


def test_all_faults_at_once_are_told_apart(live: SkewGuard) -> None:
    injected = [inject(live, "till_v1", fault, share=0.2, as_of=AS_OF) for fault in LIVE_FAULTS]
    run = live.check("till_v1", as_of=AS_OF)
    assert {(i.cause, i.view) for i in injected} <= {(f.cause, f.view) for f in run.findings}


def test_the_training_gate_refuses_after_a_blocked_run_and_can_be_overridden(live: SkewGuard) -> None:
    inject(live, "till_v1", "missing_online", share=0.3, as_of=AS_OF)
    assert live.check("till_v1", as_of=AS_OF).verdict is Verdict.BLOCK
    with pytest.raises(GateBlocked) as caught:
        live.training_set(entity_rows(), "till_v1")
    assert {f.cause for f in caught.value.findings} == {Cause.MISSING_ONLINE}
    allowed = live.training_set(entity_rows(), "till_v1", allow="backfill is on its way")
    assert allowed.contract.provenance["allowed"] == "backfill is on its way"


def test_the_same_training_set_twice_has_one_digest_and_a_changed_one_another(guard: SkewGuard) -> None:
    first = guard.training_set(entity_rows(), "till_v1")
    again = guard.training_set(entity_rows().sample(frac=1, random_state=1), "till_v1")
    other = guard.training_set(entity_rows(19), "till_v1")
    assert first.contract.digest == again.contract.digest != other.contract.digest
    assert first.to_arrow().column("target").to_pylist() == entity_rows()["target"].tolist()
    assert first.contract.row_count == 20


def test_a_changed_definition_is_named(live: SkewGuard) -> None:
    definitions = live.path / "definitions.py"
    text = definitions.read_text(encoding="utf-8")
    text = text.replace("timedelta(hours=36)", "timedelta(hours=35)")
    text = text.replace('inputs["amount"] / inputs["sales"]', 'inputs["amount"] / (inputs["sales"] + 0)')
    definitions.write_text(text, encoding="utf-8")
    live.feast.apply()
    run = live.check("till_v1", as_of=AS_OF)
    changed = {f.view: set(f.evidence) for f in run.findings if f.cause is Cause.DEFINITION_CHANGED}
    assert changed == {"till_stats": {"ttl_seconds"}, "derived": {"source_text"}}
    assert run.verdict is Verdict.BLOCK


def test_new_rows_past_the_watermark_and_late_ones_are_told_apart(live: SkewGuard) -> None:
    path = live.path / "data" / "till.parquet"
    frame = pd.read_parquet(path)
    later = frame[frame.till_no == 0].copy()
    later["at"], later["made"] = AS_OF + timedelta(hours=1), AS_OF + timedelta(hours=1, minutes=5)
    late = frame[frame.till_no == 1].copy()
    late["at"], late["made"] = AS_OF - timedelta(minutes=30), AS_OF + timedelta(hours=1)
    for extra in (later, late):
        extra["sales"] = extra["sales"] + 1
    extra = pd.concat([later, late]).drop_duplicates(["shop_id", "till_no"])
    pd.concat([frame, extra]).to_parquet(path)
    run = live.check("till_v1", as_of=AS_OF + timedelta(hours=2))
    counts = {(f.cause, f.view): f.count for f in run.findings if f.check == "parity"}
    assert counts[(Cause.LATE_ARRIVAL, "till_stats")] == 4
    assert counts[(Cause.NOT_MATERIALIZED, "till_stats")] == 4
    live.materialize(as_of=AS_OF + timedelta(hours=2))
    assert live.check("till_v1", as_of=AS_OF + timedelta(hours=2)).verdict is Verdict.PASS


def test_never_materialized_blocks_and_is_not_a_pass(guard: SkewGuard) -> None:
    run = guard.check("till_v1", as_of=AS_OF)
    assert run.verdict is Verdict.BLOCK
    assert {f.cause for f in run.findings} >= {Cause.NEVER_MATERIALIZED}
    assert next(c for c in run.checks if c.check == "parity").status == "inconclusive"


def test_an_as_of_time_before_the_watermark_is_inconclusive(live: SkewGuard) -> None:
    run = live.check("till_v1", as_of=AS_OF - timedelta(hours=1))
    assert run.verdict is Verdict.INCONCLUSIVE
    assert any("lies before the watermark" in reason for reason in run.reasons)
    assert live.state.gate("till_v1") is None  # it is not about the present, so it opens and closes nothing


def test_a_down_redis_is_inconclusive_and_other_checks_are_still_heard(live: SkewGuard) -> None:
    config = live.path / "feature_store.yaml"
    config.write_text(config.read_text().replace("connection_string: ", "connection_string: 127.0.0.1:1,x=y #"))
    config.write_text(config.read_text().replace("127.0.0.1:1,x=y", "127.0.0.1:1"))
    broken = SkewGuard(live.path, clock=lambda: AS_OF)
    run = broken.check("till_v1", as_of=AS_OF)
    assert run.verdict is Verdict.INCONCLUSIVE
    assert {c.check: c.status for c in run.checks}["definition"] == "ok"
    with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:1"):
        broken.materialize(as_of=AS_OF)
    with pytest.raises(GateBlocked, match="inconclusive"):
        broken.training_set(entity_rows(), "till_v1")


def test_state_is_published_for_serving(live: SkewGuard) -> None:
    run = live.check("till_v1", as_of=AS_OF)
    state = json.loads(live.state.gate_path("till_v1").read_text())
    assert (state["verdict"], state["run_id"]) == ("pass", run.run_id)
    assert (live.state.run_directory(run.run_id) / "report.html").is_file()
    stored = live.state.run_directory(run.run_id) / "run.json"
    assert load_run(stored.read_text()).findings == run.findings
    page = run.to_html(live.path / "report.html")
    assert "till_v1" in page.read_text()


def test_findings_remember_when_they_were_first_seen(live: SkewGuard) -> None:
    inject(live, "till_v1", "missing_online", share=0.3, as_of=AS_OF)
    first = live.check("till_v1", as_of=AS_OF)
    second = live.check("till_v1", as_of=AS_OF)
    assert second.findings[0].first_seen == first.findings[0].first_seen


def test_wrong_names_are_refused_with_the_nearest(live: SkewGuard) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'till_v1'"):
        live.check("til_v1")
    with pytest.raises(UnknownNameError, match="Did you mean 'till_stats'"):
        live.materialize(views=["till_stat"])
    with pytest.raises(UnknownNameError, match="Did you mean 'sales'"):
        live.online(["till_stats:sale"], [{"shop_id": "dd", "till_no": 1}])
    with pytest.raises(BadInputError, match="ISO 8601"):
        live.check("till_v1", as_of="yesterday")
    with pytest.raises(BadInputError, match="till_no"):
        live.online("till_v1", [{"shop_id": "dd", "amount": 1.0}])
    with pytest.raises(BadInputError, match="amount"):
        live.training_set(entity_rows().drop(columns="amount"), "till_v1")
    with pytest.raises(BadInputError, match="no rows"):
        live.training_set(entity_rows().head(0), "till_v1")


@pytest.mark.parametrize("moment", [1788264000, "2026-09-01T12:00:00Z", AS_OF])
def test_request_times_are_seconds_text_or_datetimes_alike(guard: SkewGuard, moment: Any) -> None:
    service = replace(guard.service("shop_v1"), on_demand=(REQUEST_TIME,))
    rows = _entity_table([{"home_shop": "dd", "asked_at": moment}], service)
    assert rows.column("asked_at").to_pylist() == [AS_OF]


@pytest.mark.parametrize("key", [1.5, None, "x", 2**70])
def test_a_key_that_would_be_changed_is_refused(live: SkewGuard, key: Any) -> None:
    with pytest.raises(BadInputError, match="till_no"):
        live.online("till_v1", [{"shop_id": "dd", "till_no": key, "amount": 1.0}])


def test_an_undecided_run_does_not_open_a_closed_gate(live: SkewGuard) -> None:
    inject(live, "till_v1", "missing_online", share=0.3, as_of=AS_OF)
    assert live.check("till_v1", as_of=AS_OF).verdict is Verdict.BLOCK
    config = live.path / "feature_store.yaml"
    config.write_text(re.sub("connection_string: .*", "connection_string: 127.0.0.1:1", config.read_text()))
    assert SkewGuard(live.path, clock=lambda: AS_OF).check("till_v1", as_of=AS_OF).verdict is Verdict.INCONCLUSIVE
    state = live.state.gate("till_v1")
    assert state is not None
    assert state.verdict is Verdict.BLOCK


def test_a_plan_changes_nothing(live: SkewGuard, clean_redis: Any) -> None:
    inject(live, "till_v1", "unit_scale", share=0.3, as_of=AS_OF)
    client = clean_redis.client()
    before = {key: client.hgetall(key) for key in client.scan_iter()}
    live.plan_repair("till_v1", as_of=AS_OF)
    live.check("till_v1", as_of=AS_OF)
    assert {key: client.hgetall(key) for key in client.scan_iter()} == before


def test_an_aliased_service_with_a_renamed_key(live: SkewGuard) -> None:
    frame = pd.DataFrame({"home_shop": ["dd", "nope"], "event_timestamp": [AS_OF, AS_OF]})
    table = live.training_set(frame, "shop_v1", full_feature_names=True).to_arrow()
    assert table.column("home__turnover").to_pylist() == [107.5, None]
    online = live.online("shop_v1", [{"home_shop": "dd"}], as_of=AS_OF)
    assert online.column("turnover").to_pylist() == [107.5]


def test_late_rows_are_late_after_the_next_window_too(guard: SkewGuard) -> None:
    guard.training_set(entity_rows(), "till_v1")
    store, path = guard.feast.store, guard.path / "data" / "till.parquet"
    first = AS_OF - timedelta(hours=6)
    store.materialize(AS_OF - timedelta(days=90), first)
    frame = pd.read_parquet(path)
    late = frame[(frame.till_no == 3)].drop_duplicates("shop_id").copy()
    late["at"], late["made"], late["sales"] = first - timedelta(hours=1), first + timedelta(hours=1), 123.0
    frame = frame[~((frame.till_no == 3) & (frame["at"] > first))]
    pd.concat([frame, late]).to_parquet(path)
    store.materialize_incremental(AS_OF)
    run = guard.check("till_v1", as_of=AS_OF)
    found = {f.cause: f.count for f in run.findings if f.view == "till_stats" and f.feature is None}
    assert found[Cause.LATE_ARRIVAL] == 4
    assert Cause.OUT_OF_ORDER_WRITE not in found


def test_a_repair_mends_all_entities_whatever_the_sample(live: SkewGuard) -> None:
    (live.path / "skewguard.yaml").write_text("sample: 0.3\n")
    sampled = SkewGuard(live.path, clock=lambda: AS_OF)
    lost = inject(sampled, "till_v1", "missing_online", share=0.25, as_of=AS_OF)
    sampled.repair(sampled.plan_repair("till_v1", as_of=AS_OF))
    (live.path / "skewguard.yaml").unlink()
    assert lost.rows > 10
    assert SkewGuard(live.path, clock=lambda: AS_OF).check("till_v1", as_of=AS_OF).verdict is Verdict.PASS


def test_orphans_are_removed_only_when_asked(live: SkewGuard) -> None:
    path = live.path / "data" / "till.parquet"
    frame = pd.read_parquet(path)
    frame[frame.till_no != 0].to_parquet(path)
    run = live.check("till_v1", as_of=AS_OF)
    assert causes(run) == {("orphan_online", "till_stats", None)}
    plan = live.plan_repair("till_v1", as_of=AS_OF)
    assert plan.is_empty
    assert "leave 4 rows (orphan_online)" in "\n".join(plan.lines())
    live.repair(live.plan_repair("till_v1", as_of=AS_OF, remove_orphans=True))
    assert live.check("till_v1", as_of=AS_OF).verdict is Verdict.PASS


def test_a_renamed_join_key_is_a_changed_definition_and_an_unread_feature_is_none(live: SkewGuard) -> None:
    frame = pd.DataFrame({"home_shop": ["dd"], "event_timestamp": [AS_OF]})
    live.training_set(frame, "shop_v1")
    definitions = live.path / "definitions.py"
    text = definitions.read_text(encoding="utf-8")
    wider = text.replace('Field(name="turnover", dtype=Float64),', 'Field(name="turnover", dtype=Float64),\n    ' * 1)
    definitions.write_text(wider.replace('{"shop_id": "home_shop"}', '{"shop_id": "work_shop"}'), encoding="utf-8")
    live.feast.apply()
    run = live.check("shop_v1", as_of=AS_OF)
    (changed,) = [f for f in run.findings if f.cause is Cause.DEFINITION_CHANGED]
    assert changed.evidence == {"home.join_key_map.shop_id": {"contract": "home_shop", "now": "work_shop"}}


def test_pushed_rows_with_a_wrong_unit_are_repaired_at_their_own_moment(live: SkewGuard) -> None:
    path = live.path / "data" / "till.parquet"
    frame = pd.read_parquet(path)
    pushed = frame[frame.till_no < 6].drop_duplicates(["shop_id", "till_no"]).copy()
    later = AS_OF + timedelta(minutes=30)
    pushed["at"], pushed["made"] = later, later
    pd.concat([frame, pushed]).to_parquet(path)
    wrong = pushed.assign(sales=pushed["sales"] * 100)
    live.feast.store.write_to_online_store("till_stats", wrong, allow_registry_cache=False)
    now = AS_OF + timedelta(hours=1)
    found = {(f.cause, f.feature): f.count for f in live.check("till_v1", as_of=now).findings}
    assert found[(Cause.UNIT_SCALE, "sales")] == 24
    live.repair(live.plan_repair("till_v1", as_of=now))
    assert live.check("till_v1", as_of=now).verdict is Verdict.PASS


def test_a_lost_history_closes_the_training_gate(live: SkewGuard) -> None:
    live.check("till_v1", as_of=AS_OF)
    live.state.history.unlink()
    with pytest.raises(GateBlocked, match="cannot be read"):
        live.training_set(entity_rows(), "till_v1")
