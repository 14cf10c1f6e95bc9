"""A contract that the serving plan does not keep blocks; one that cannot be read is inconclusive."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from online_api.passage import RequestGate
from online_api.promises import check_promise
from online_api.settings import Settings
from online_api.verdicts import Verdicts
from skewguard.definitions import FieldDef, Projection, ServiceDef, SourceDef, ViewDef
from skewguard.errors import GateBlocked
from skewguard.findings import Verdict
from skewguard.online.connection import RedisSettings
from skewguard.state import State
from tests.test_contract import CONTRACT

_FEATURE = FieldDef("f", "INT64")
_VIEW = ViewDef("v", ("e",), (FieldDef("k", "INT64"),), (_FEATURE,), None, SourceDef("", "", ""))
SERVICE = ServiceDef("s", (Projection(_VIEW, (_FEATURE,)),))


@pytest.mark.parametrize(
    ("fingerprints", "verdict"),
    [
        ({"v": "0"}, Verdict.PASS),
        ({"v": "0", "other": "1"}, Verdict.PASS),
        ({"v": "1"}, Verdict.BLOCK),
        ({}, Verdict.BLOCK),
    ],
)
def test_fingerprints_decide(tmp_path: Path, fingerprints: dict[str, str], verdict: Verdict) -> None:
    path = tmp_path / "c.json"
    assert check_promise(path, fingerprints).verdict is Verdict.PASS
    CONTRACT.save(path)
    found = check_promise(path, fingerprints)
    assert found.verdict is verdict
    assert ("v" in " ".join(found.reasons)) is (verdict is Verdict.BLOCK)


def test_a_broken_contract_is_inconclusive(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text("{}")
    assert check_promise(path, {}).verdict is Verdict.INCONCLUSIVE


def test_the_gate_closes_and_opens_with_the_contract(tmp_path: Path) -> None:
    settings = Settings(tmp_path, tmp_path / "plan.json", RedisSettings(nodes=(("127.0.0.1", 1),)))
    moments = iter(range(0, 1000, 10))
    verdicts = Verdicts(settings, {"v": "1"}, lambda: float(next(moments)))
    path = State(tmp_path).contract_path("s")
    assert verdicts.current("s").verdict is Verdict.INCONCLUSIVE
    CONTRACT.save(path)
    assert verdicts.current("s").verdict is Verdict.BLOCK
    gate = RequestGate(settings, verdicts, SERVICE, (SERVICE,))
    with pytest.raises(GateBlocked, match="definitions of v"):
        gate.enter()
    replace(CONTRACT, fingerprints={"v": "1"}).save(path)
    assert verdicts.current("s").verdict is Verdict.INCONCLUSIVE
