"""The serving plan: what is compiled, the round trip, the digest, what it refuses, and what loading it imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from skewguard.definitions import FieldDef, OnDemandDef, Projection, ServiceDef, SourceDef, ViewDef
from skewguard.errors import BadInputError, ConfigurationError, UnknownNameError
from skewguard.feast_repo import FeastRepo
from skewguard.plan import ServingPlan, compile_plan, load_plan, save_plan

ROOT = Path(__file__).parent.parent
SOURCE = SourceDef("parquet", "s3://key:secret@bucket/stats.parquet", "ts", field_mapping=(("a", "b"),))

DEFINITIONS = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
shop = Entity(name="shop", join_keys=["shop_code"], value_type=ValueType.STRING)

def source(name):
    return FileSource(name=name, path=f"data/{name}.parquet", timestamp_field="ts")

stats = FeatureView(
    name="stats", entities=[driver], ttl=timedelta(hours=36, microseconds=5), source=source("stats"),
    schema=[Field(name="trips", dtype=Int64), Field(name="score", dtype=Float64)],
)
both = FeatureView(
    name="both", entities=[driver, shop], ttl=timedelta(0), source=source("both"),
    schema=[Field(name="price", dtype=Float64)],
)
world = FeatureView(
    name="world", entities=[], ttl=timedelta(days=1), source=source("world"),
    schema=[Field(name="rate", dtype=Float64)],
)
asked = RequestSource(name="asked", schema=[Field(name="distance", dtype=Float64), Field(name="by", dtype=String)])

@on_demand_feature_view(
    sources=[world, stats[["trips"]], asked], schema=[Field(name="per", dtype=Float64)], mode="python"
)
def ratios(inputs):
    return {"per": inputs["distance"]}

@on_demand_feature_view(
    entities=[driver], sources=[stats], schema=[Field(name="kept", dtype=Float64)], mode="python",
    write_to_online_store=True,
)
def stored(inputs):
    return {"kept": inputs["score"]}

plain = FeatureService(name="plain", features=[both, stats[["score", "trips"]], world])
mapped = FeatureService(
    name="mapped",
    features=[stats[["score"]].with_name("home").with_join_key_map({"driver_id": "home_id"}), ratios],
)
"""


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> FeastRepo:
    folder = tmp_path_factory.mktemp("plan")
    (folder / "feature_store.yaml").write_text(
        "project: shop\nprovider: local\nregistry: data/registry.db\nentity_key_serialization_version: 3\n"
        "online_store:\n  type: redis\n  connection_string: localhost:6379,password=verysecret\n"
    )
    (folder / "data").mkdir()
    (folder / "plan_definitions.py").write_text(DEFINITIONS)
    code = "import sys; sys.path.insert(0, '.'); from skewguard.feast_repo import FeastRepo; FeastRepo('.').apply()"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    return FeastRepo(folder)


@pytest.fixture(scope="module")
def plan(repo: FeastRepo) -> ServingPlan:
    return compile_plan(repo)


def test_plan_holds_services_in_definition_order(plan: ServingPlan) -> None:
    service = plan.service("plain")

    assert plan.project == "shop"
    assert plan.service_names() == ["mapped", "plain"]
    assert [f.name for f in service.outputs()] == ["price", "score", "trips", "rate"]
    assert service.join_keys == (FieldDef("driver_id", "INT64"), FieldDef("shop_code", "STRING"))
    assert [p.view.ttl for p in service.projections] == [None, timedelta(hours=36, microseconds=5), timedelta(days=1)]
    assert service.projections[2].view.join_keys == ()


def test_plan_holds_aliases_key_maps_and_on_demand_views(plan: ServingPlan) -> None:
    service = plan.service("mapped")

    assert [f.name for f in service.outputs(full_feature_names=True)] == ["home__score", "ratios__per"]
    assert [column for _, column in service.projections[0].keys] == ["home_id"]
    view = service.on_demand[0]
    assert [p.name for p in view.inputs] == ["stats", "world"]
    assert view.request_fields == (FieldDef("by", "STRING"), FieldDef("distance", "DOUBLE"))
    assert view.mode == "python"
    assert set(plan.key_columns) == {"driver_id", "shop_code", "home_id"}
    assert set(plan.request_columns) == {"distance", "by"}
    assert set(plan.unsupported) == {"stored"}


def test_round_trip_keeps_everything(plan: ServingPlan, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "plan.json"

    save_plan(plan, path)
    again = load_plan(path)

    assert again == plan
    assert again.digest == plan.digest
    assert [p.name for p in path.parent.iterdir()] == ["plan.json"]


def test_file_holds_no_secret_no_path_and_no_source_text(plan: ServingPlan, repo: FeastRepo, tmp_path: Path) -> None:
    save_plan(plan, tmp_path / "plan.json")
    text = (tmp_path / "plan.json").read_text()

    for secret in ("verysecret", str(repo.path), ".parquet", "def ratios", "localhost"):
        assert secret not in text


def test_fingerprints_are_those_of_the_full_definitions(plan: ServingPlan, repo: FeastRepo) -> None:
    assert repo.service("plain").fingerprints().items() <= plan.fingerprints.items()
    assert repo.service("mapped").fingerprints().items() <= plan.fingerprints.items()


def test_digest_is_the_same_in_every_process(plan: ServingPlan, repo: FeastRepo, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    command = [sys.executable, "-m", "online_api.compile_plan", str(repo.path), str(path)]

    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "2"})

    assert load_plan(path).digest == plan.digest


def test_digest_moves_with_what_serving_depends_on(plan: ServingPlan) -> None:
    assert a_plan(timedelta(seconds=1)).digest != a_plan(timedelta(seconds=2)).digest
    assert a_plan(timedelta(microseconds=1)).digest == a_plan().digest
    assert replace(plan, project="other").digest != plan.digest
    assert replace(plan, fingerprints={**plan.fingerprints, "stats": "0"}).digest != plan.digest


def test_feature_list_groups_by_view_in_the_order_asked(plan: ServingPlan) -> None:
    listed = plan.feature_list(["world:rate", "stats:trips", "ratios:per", "stats:score", "world:rate"])

    assert [f.name for f in listed.outputs(full_feature_names=True)] == [
        "world__rate",
        "stats__trips",
        "stats__score",
        "ratios__per",
    ]
    assert listed.name == ""


@pytest.mark.parametrize(
    ("features", "name", "suggestion"),
    [(["stat:trips"], "stat", "stats"), (["stats:trip"], "trip", "trips"), (["ratios:par"], "par", "per")],
)
def test_feature_list_refuses_unknown_names(plan: ServingPlan, features: list[str], name: str, suggestion: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        plan.feature_list(features)

    assert (caught.value.name, caught.value.suggestion) == (name, suggestion)


@pytest.mark.parametrize("features", [[], ["stats"], [":x"], ["stats:"], ["stats@v1:trips"], [""]])
def test_feature_list_refuses_what_is_no_reference(plan: ServingPlan, features: list[str]) -> None:
    with pytest.raises(BadInputError, match="features"):
        plan.feature_list(features)


def test_service_refuses_unknown_names(plan: ServingPlan) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'plain'"):
        plan.service("plane")


def test_services_sharing_a_feature(plan: ServingPlan) -> None:
    assert plan.services_sharing(plan.feature_list(["stats:score"])) == ("mapped", "plain")
    assert plan.services_sharing(plan.feature_list(["both:price"])) == ("plain",)
    assert plan.services_sharing(plan.feature_list(["stats:trips"])) == ("mapped", "plain"), "input of ratios"


def a_plan(ttl: timedelta = timedelta(microseconds=1)) -> ServingPlan:
    key = FieldDef("id", "INT64")
    view = ViewDef("v", ("e",), (key,), (FieldDef("f", "DOUBLE"),), ttl, SOURCE)
    projection = Projection(view, view.features)
    on_demand = OnDemandDef("o", (FieldDef("x", "INT64"),), (projection,), (), "pandas", "def o(): 'text'")
    return ServingPlan("p", (ServiceDef("s", (projection,), (on_demand,)),), (projection,), (on_demand,))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.update(format=99), "format: got 99"),
        (lambda data: data.pop("views"), "incomplete"),
        (lambda data: data["views"][0].pop("ttl_seconds"), "incomplete"),
        (lambda data: data["views"][0].update(ttl_seconds="long"), "incomplete"),
        (lambda data: data["services"][0]["projections"][0].update(view="gone"), "incomplete"),
        (lambda data: data["views"][0].update(ttl_seconds=5.0), "digest"),
        (lambda data: data.pop("digest"), "digest"),
    ],
)
def test_a_file_that_is_not_what_was_saved_is_refused(tmp_path: Path, change: Any, words: str) -> None:
    path = tmp_path / "plan.json"
    save_plan(a_plan(), path)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))

    with pytest.raises(ConfigurationError, match=words) as caught:
        load_plan(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'"plan"'])
def test_what_is_no_plan_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content)

    with pytest.raises(ConfigurationError):
        load_plan(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        load_plan(tmp_path / "none.json")
    with pytest.raises(ConfigurationError, match="cannot read"):
        load_plan(tmp_path)


def test_a_failed_save_leaves_the_old_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    save_plan(a_plan(), path)
    before = path.read_bytes()

    with pytest.raises(UnicodeEncodeError):
        save_plan(replace(a_plan(), project="\ud800"), path)

    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("registry:\n  path: data/registry.db\n  enable_online_feature_view_versioning: true", "versioning"),
    ],
)
def test_layouts_that_are_not_read_are_refused(repo: FeastRepo, tmp_path: Path, line: str, words: str) -> None:
    text = (repo.path / "feature_store.yaml").read_text().replace("registry: data/registry.db", line)
    (tmp_path / "feature_store.yaml").write_text(text)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "registry.db").write_bytes((repo.path / "data" / "registry.db").read_bytes())

    with pytest.raises(ConfigurationError, match=words):
        compile_plan(FeastRepo(tmp_path))


def test_loading_a_plan_imports_nothing_heavy(tmp_path: Path) -> None:
    save_plan(a_plan(), tmp_path / "plan.json")
    code = (
        "import sys; from skewguard.plan import load_plan; plan = load_plan(sys.argv[1]); plan.service('s'); "
        "plan.feature_list(['v:f']); heavy = {'feast', 'great_expectations', 'pandas', 'duckdb', 'pyarrow', 'numpy', "
        "'redis', 'fastapi', 'pydantic', 'yaml'}; print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "plan.json")], capture_output=True, text=True, cwd=ROOT, check=True
    )

    assert done.stdout.strip() == "[]"
