from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from skewguard.checks.definition import check_definition
from skewguard.config import Policy
from skewguard.contract import FeatureContract, definition_parts
from skewguard.contracts_in_use import LATEST, contracts_in_use
from skewguard.definitions import FieldDef, OnDemandDef, Projection, ServiceDef, SourceDef, ViewDef
from skewguard.errors import ConfigurationError
from skewguard.findings import Cause
from skewguard.workspace import Workspace, wall_clock
from tests.test_contract import CONTRACT

VIEW = ViewDef(
    "v",
    ("e",),
    (FieldDef("k", "INT64"),),
    (FieldDef("f", "DOUBLE"), FieldDef("g", "INT64")),
    timedelta(hours=1),
    SourceDef("parquet", "/here/v.parquet", "t", "c", (("a", "f"),)),
)
READS = Projection(VIEW, (FieldDef("f", "DOUBLE"),), "alias", (("k", "other_k"),))
DERIVED = OnDemandDef("od", (FieldDef("h", "DOUBLE"),), (READS,), (FieldDef("r", "INT64"),), "pandas", "return x")
SERVICE = ServiceDef("s", (READS,), (DERIVED,))


def contract(service: ServiceDef) -> FeatureContract:
    promised = replace(
        CONTRACT,
        features=tuple((f.name, f.dtype) for f in service.outputs()),
        projections=service.read_parts(),
        definitions=definition_parts(service),
    )
    return FeatureContract.from_json(promised.to_json())


def with_view(**changes: Any) -> ServiceDef:
    return ServiceDef("s", (replace(READS, view=replace(VIEW, **changes)),), (DERIVED,))


def test_no_contract_is_a_finding_and_no_pass_by_silence() -> None:
    (finding,) = check_definition(SERVICE, {}).findings
    assert finding.cause is Cause.CONTRACT_MISSING


@pytest.mark.parametrize(
    ("now", "paths"),
    [
        (SERVICE, {}),
        (with_view(source=replace(VIEW.source, path="/elsewhere/v.parquet")), {}),
        (with_view(features=(*VIEW.features, FieldDef("new", "STRING"))), {}),
        (with_view(ttl=timedelta(hours=2)), {"v": {"ttl_seconds"}}),
        (with_view(ttl=None), {"v": {"ttl_seconds"}}),
        (with_view(join_keys=(FieldDef("k", "STRING"),)), {"v": {"join_keys.k"}}),
        (with_view(source=replace(VIEW.source, field_mapping=(("b", "f"),))),
         {"v": {"field_mapping.a", "field_mapping.b"}}),
        (with_view(source=replace(VIEW.source, timestamp_field="u")), {"v": {"source.timestamp_field"}}),
        (ServiceDef("s", (READS,), (replace(DERIVED, source_text="return y"),)), {"od": {"source_text"}}),
        (ServiceDef("s", (READS,), (replace(DERIVED, mode="python"),)), {"od": {"mode"}}),
        (ServiceDef("s", (replace(READS, join_key_map=(("k", "third"),)),), (DERIVED,)),
         {None: {"alias.join_key_map.k"}}),
        (ServiceDef("s", (replace(READS, features=(FieldDef("f", "FLOAT"),)),), (DERIVED,)),
         {None: {"alias.features.f"}}),
        (ServiceDef("s", (READS,)), {"od": {"view"}, None: {"h"}}),
    ],
)  # fmt: skip
def test_each_change_is_named(now: ServiceDef, paths: dict[str | None, set[str]]) -> None:
    result = check_definition(now, {"latest": contract(SERVICE)})
    assert {f.view: set(f.evidence) for f in result.findings} == paths
    assert {f.cause for f in result.findings} <= {Cause.DEFINITION_CHANGED}


def test_every_contract_in_use_counts_and_a_change_is_told_once() -> None:
    old, new = contract(SERVICE), contract(with_view(ttl=timedelta(hours=2)))
    promises = {"latest": new, "models/a.json": old, "models/b.json": contract(with_view(ttl=timedelta(hours=3)))}
    (finding,) = check_definition(with_view(ttl=timedelta(hours=2)), promises).findings
    assert finding.evidence == {
        "ttl_seconds": {"contract": 3600.0, "now": 7200.0},
        "contracts": {"models/a.json": ["ttl_seconds"], "models/b.json": ["ttl_seconds"]},
    }
    assert finding.message == (
        "v changed since the contract: ttl_seconds (2 of 3 contracts in use: models/a.json, models/b.json)"
    )


def test_contracts_in_use_are_those_that_policy_names(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text("project: p\nregistry: r.db\nprovider: local\n")
    models = tmp_path / "models"
    models.mkdir()
    for name, service in (("old", "s"), ("same", "s"), ("other", "t")):
        replace(contract(SERVICE), service=service).save(models / f"{name}.json")
    space = Workspace(tmp_path, Policy({"contracts": ["models/*.json"]}), wall_clock)
    assert list(contracts_in_use(space, "s")) == ["models/old.json"]
    space.state.contract_path("s").parent.mkdir(parents=True)
    replace(contract(SERVICE), service="s", row_count=7).save(space.state.contract_path("s"))
    assert list(contracts_in_use(space, "s")) == [LATEST, "models/old.json"]
    nothing = Workspace(tmp_path, Policy({"contracts": [str(models / "none*.json")]}), wall_clock)
    with pytest.raises(ConfigurationError, match=r"contracts: no file fits '.*none\*\.json'"):
        contracts_in_use(nothing, "s")
    (models / "broken.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"broken\.json: not a feature contract"):
        contracts_in_use(space, "s")
