"""The example's suites hold of its training rows and of what a correct online store holds; and they notice damage."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from skewguard.demo import DemoSettings
from skewguard.expectations.engine import SuiteResult, validate
from skewguard.expectations.suites import Suite, load_suite, suite_path
from skewguard.feast_repo import FeastRepo
from skewguard.offline.asof import point_in_time
from skewguard.offline.entity_rows import normalise_entity_rows
from skewguard.offline.sources import connect
from skewguard.on_demand import add_on_demand

EXAMPLE = Path(__file__).parents[2] / "feature_repo"
SERVICES = sorted(path.stem for path in (EXAMPLE / "expectations").glob("*.json"))


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> FeastRepo:
    folder = tmp_path_factory.mktemp("suites") / "repo"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.db", ".skewguard"))
    build = DemoSettings.load(folder).build
    command = [sys.executable if part == "python" else part for part in build]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKEWGUARD_REDIS", "127.0.0.1:1")
        opened = FeastRepo(folder)
        opened.apply()
    return opened


def vectors(repo: FeastRepo, service: str, rows: pa.Table) -> pa.Table:
    """Entity rows and features, as a training set holds them."""
    definition = repo.service(service)
    normal = normalise_entity_rows(rows, definition)
    with connect() as con:
        projections = (*definition.projections, *definition.hidden)
        table = point_in_time(con, normal.table, projections, timestamp_column=normal.timestamp_column)
    return add_on_demand(table, definition, repo, False)


def complaints(result: SuiteResult) -> list[str]:
    return [r.message for r in result.failed]


@pytest.fixture(scope="module")
def rows(repo: FeastRepo) -> pa.Table:
    return pq.read_table(repo.path / DemoSettings.load(repo.path).entity_rows)


@pytest.mark.slow
def test_every_service_has_a_suite_of_its_name(repo: FeastRepo) -> None:
    assert repo.service_names() == SERVICES
    for service in SERVICES:
        suite = load_suite(suite_path(repo.path, service))
        assert suite.name == service
        assert {rule.notes != "" for rule in suite.rules} == {True}


@pytest.mark.slow
@pytest.mark.parametrize("service", SERVICES)
def test_it_holds_of_the_training_rows(repo: FeastRepo, rows: pa.Table, service: str) -> None:
    suite = load_suite(suite_path(repo.path, service))
    result = validate(vectors(repo, service, rows), suite)
    assert complaints(result) == []
    assert len(result.results) == len(suite.rules) > 20


def online(repo: FeastRepo, service: str, rows: pa.Table) -> tuple[pa.Table, Suite]:
    """What a correct store holds at the demo's as-of time, and the suite as far as it can judge online vectors."""
    settings = DemoSettings.load(repo.path)
    definition = repo.service(service)
    keys = [key.name for key in definition.join_keys]
    entities = rows.select(keys).group_by(keys).aggregate([])
    moment = pa.scalar(datetime.fromisoformat(settings.as_of), pa.timestamp("us", "UTC"))
    for name in ("event_timestamp", *(field.name for field in definition.request_fields)):
        entities = entities.append_column(name, pa.array([moment.as_py()] * entities.num_rows, moment.type))
    table = vectors(repo, service, entities)
    stored = [feature.name for projection in definition.projections for feature in projection.features]
    suite, _ = load_suite(suite_path(repo.path, service)).restrict([*keys, *stored])
    return table.select([*keys, *stored]), suite


@pytest.mark.slow
@pytest.mark.parametrize("service", SERVICES)
def test_it_holds_of_what_a_correct_online_store_holds(repo: FeastRepo, rows: pa.Table, service: str) -> None:
    table, suite = online(repo, service, rows)
    assert complaints(validate(table, suite)) == []
    assert len(suite.rules) > 20
    assert table.num_rows > 5_000


@pytest.mark.slow
def test_it_notices_lost_keys_and_another_unit(repo: FeastRepo, rows: pa.Table) -> None:
    table, suite = online(repo, "churn_v1", rows)
    index = table.column_names.index("spend_90d")
    cents = table.set_column(index, "spend_90d", pc.multiply(table.column("spend_90d"), 100.0))
    assert {r.column for r in validate(cents, suite).failed} == {"spend_90d"}
    gone = pa.array([i % 20 == 0 for i in range(table.num_rows)])
    lost = pa.table(
        {
            name: pc.if_else(gone, pa.scalar(None, column.type), column)
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    )
    failed = validate(lost, suite).failed
    assert {"recency_days", "segment", "first_spend"} <= {r.column for r in failed}
    assert {(r.expectation, r.severity) for r in failed} == {("expect_column_values_to_not_be_null", "critical")}
