"""Repair from a run's findings: what is touched, what is kept of before and after, and where to mend it instead."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from skewguard import SkewGuard
from skewguard.drill import inject, inject_all
from skewguard.errors import BadInputError, UnknownNameError
from skewguard.findings import Cause
from skewguard.offline.asof import latest_rows
from skewguard.offline.sources import connect as connect_offline
from skewguard.online.connection import connect, settings_from_repo
from skewguard.online.embedded import EmbeddedRedis
from skewguard.online.key_columns import entity_keys
from skewguard.online.materializer import delete_view_rows, write_rows
from skewguard.online.reader import read_view
from skewguard.read_back import unlike
from skewguard.repair import RepairPlan
from tests.online.views import dump
from tests.repos import AS_OF, write_repo


@pytest.fixture
def live(tmp_path: Path, clean_redis: EmbeddedRedis) -> SkewGuard:
    repo = write_repo(tmp_path / "repo", clean_redis.connection_string)
    guard = SkewGuard(repo, clock=lambda: AS_OF)
    guard.feast.apply()
    guard.materialize(as_of=AS_OF)
    return guard


def stored(guard: SkewGuard) -> dict[bytes, dict[bytes, bytes]]:
    client = connect(settings_from_repo(guard.path))
    try:
        return dump(client)
    finally:
        client.close()


def logs(guard: SkewGuard) -> list[Path]:
    return sorted((guard.state.root / "repairs").glob("*"))


def test_only_the_wrong_keys_are_touched_and_kept_before_and_after(live: SkewGuard) -> None:
    clean = stored(live)
    injected = inject(live, "till_v1", "unit_scale", share=0.1, as_of=AS_OF)
    wrong = stored(live)
    touched = {key for key in clean if clean[key] != wrong[key]}
    plan = live.plan_repair("till_v1", as_of=AS_OF)
    assert stored(live) == wrong
    (outcome,) = live.repair(plan)
    assert (outcome.written, outcome.removed, outcome.refused, outcome.unlike) == (injected.rows, 0, 0, 0)
    assert len(touched) == injected.rows
    assert stored(live) == clean
    (log,) = logs(live)
    told = json.loads((log / "repair.json").read_text())
    assert (told["done"], told["service"], told["outcomes"][0]["written"]) == (True, "till_v1", injected.rows)
    before, after = (pq.read_table(log / f"{injected.view}.{when}.parquet") for when in ("before", "after"))
    assert before.num_rows == after.num_rows == injected.rows
    assert injected.feature is not None
    pairs = zip(before.column(injected.feature).to_pylist(), after.column(injected.feature).to_pylist(), strict=True)
    assert all(wrong == pytest.approx(right * 100) for wrong, right in pairs)
    assert live.repair(live.plan_repair("till_v1", as_of=AS_OF)) == []
    assert logs(live) == [log]


def test_what_comes_back_says_where_to_mend_it(live: SkewGuard) -> None:
    injected = inject(live, "till_v1", "unit_scale", share=0.2, as_of=AS_OF)
    lines = live.plan_repair("till_v1", as_of=AS_OF).lines()
    where = f"{injected.view}.{injected.feature}: {injected.rows:,} rows (unit_scale) go wrong again"
    assert any(line.startswith(where) and "Fix the pipeline" in line for line in lines)
    lost = live.plan_repair("shop_v1", as_of=AS_OF).lines()
    assert lost == ["nothing to repair"]


def test_a_run_names_what_is_repaired_and_nothing_else(live: SkewGuard) -> None:
    inject(live, "till_v1", "unit_scale", share=0.1, as_of=AS_OF)
    first = live.check("till_v1", as_of=AS_OF)
    lost = inject(live, "till_v1", "missing_online", share=0.1, as_of=AS_OF)
    live.repair(live.plan_repair("till_v1", as_of=AS_OF, run=first.run_id))
    left = live.check("till_v1", as_of=AS_OF)
    assert {(f.cause, f.view): f.count for f in left.findings}[(Cause.MISSING_ONLINE, lost.view)] == lost.rows
    assert {f.cause for f in left.findings} == {Cause.MISSING_ONLINE, Cause.CONTRACT_MISSING}
    (log,) = logs(live)
    assert json.loads((log / "repair.json").read_text())["run"] == first.run_id
    live.repair(live.plan_repair("till_v1", as_of=AS_OF, run=left))
    assert {f.cause for f in live.check("till_v1", as_of=AS_OF).findings} == {Cause.CONTRACT_MISSING}


def test_runs_that_do_not_fit_are_refused(live: SkewGuard) -> None:
    run = live.check("shop_v1", as_of=AS_OF)
    with pytest.raises(BadInputError, match=r"run: got .*of 'shop_v1'.*a run of 'till_v1'"):
        live.plan_repair("till_v1", as_of=AS_OF, run=run)
    with pytest.raises(UnknownNameError):
        live.plan_repair("till_v1", as_of=AS_OF, run="none-such")


def test_what_is_newer_by_then_stays_and_counts_as_refused(live: SkewGuard) -> None:
    inject_all(live, "till_v1", {"unit_scale": 0.2, "missing_online": 0.1}, as_of=AS_OF)
    plan = live.plan_repair("till_v1", as_of=AS_OF)
    part = next(p for p in plan.views if p.write.num_rows)
    newer = part.write.slice(0, 2).drop_columns(["__created_ts"])
    index = newer.column_names.index("__event_ts")
    later = pd.Series(newer.column("__event_ts").to_pandas()) + timedelta(minutes=1)
    newer = newer.set_column(index, "__event_ts", [later.to_list()])
    client = connect(settings_from_repo(live.path))
    write_rows(client, live.feast.project, part.view, newer)
    outcome = next(o for o in live.repair(plan) if o.view == part.view.name)
    client.close()
    assert (outcome.refused, outcome.unlike, outcome.written) == (2, 0, part.write.num_rows - 2)


def test_rows_that_do_not_read_back_are_counted(live: SkewGuard) -> None:
    """A plan that is not followed: the rows after it are those of a store that nothing was written to."""
    inject(live, "till_v1", "unit_scale", share=0.1, as_of=AS_OF)
    plan: RepairPlan = live.plan_repair("till_v1", as_of=AS_OF)
    part = next(p for p in plan.views if p.write.num_rows)
    client = connect(settings_from_repo(live.path))
    assert unlike(part, read_view(client, live.feast.project, part.view, part.keys)) == part.write.num_rows
    live.repair(plan)
    assert unlike(part, read_view(client, live.feast.project, part.view, part.keys)) == 0
    client.close()


def test_a_view_without_entities_is_repaired(live: SkewGuard) -> None:
    view = live.feast.view("rates")
    client = connect(settings_from_repo(live.path))

    (key,) = entity_keys(live.feast.project, view.join_keys, pa.table({"one": [1]})).to_pylist()
    client.unlink(key)
    client.close()
    service = next(s for s in live.feast.service_names() if view in live.feast.service(s).views)
    (outcome,) = live.repair(live.plan_repair(service, as_of=AS_OF))
    assert (outcome.view, outcome.written, outcome.unlike) == ("rates", 1, 0)
    assert live.plan_repair(service, as_of=AS_OF).is_empty


@pytest.mark.parametrize("hours", [-2, 3])
def test_shifted_event_timestamps_are_put_right_where_they_are_not_ahead(live: SkewGuard, hours: int) -> None:
    view = live.feast.view("till_stats")
    client = connect(settings_from_repo(live.path))
    with connect_offline() as con:
        rows = latest_rows(con, view, AS_OF).drop_columns(["__created_ts"])
    rows = rows.filter(pc.greater(rows.column("__event_ts"), pa.scalar(AS_OF - timedelta(hours=10))))
    delete_view_rows(client, live.feast.project, view, rows.select(["shop_id", "till_no"]))
    index = rows.column_names.index("__event_ts")
    moved = pc.add(rows.column("__event_ts"), pa.scalar(timedelta(hours=hours)))
    write_rows(client, live.feast.project, view, rows.set_column(index, "__event_ts", moved))
    client.close()
    plan = live.plan_repair("till_v1", as_of=AS_OF)
    if hours > 0:
        assert plan.is_empty
        assert any(f"leave {rows.num_rows:,} rows (timezone_shift)" in line for line in plan.lines())
    else:
        (outcome,) = live.repair(plan)
        assert (outcome.written, outcome.unlike) == (rows.num_rows, 0)
        assert live.plan_repair("till_v1", as_of=AS_OF).is_empty
