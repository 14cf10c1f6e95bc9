from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from skewguard.checks.definition import check_definition
from skewguard.contract import FeatureContract, definition_parts
from skewguard.definitions import FieldDef, OnDemandDef, Projection, ServiceDef, SourceDef, ViewDef
from skewguard.findings import Cause
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
    (finding,) = check_definition(SERVICE, None).findings
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
    result = check_definition(now, contract(SERVICE))
    assert {f.view: set(f.evidence) for f in result.findings} == paths
    assert {f.cause for f in result.findings} <= {Cause.DEFINITION_CHANGED}
