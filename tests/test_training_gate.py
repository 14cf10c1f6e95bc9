"""The training gate fails closed: whatever a check could not say, no training set comes of it; nothing is stored."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from skewguard import GateBlocked, SkewGuard, Verdict
from skewguard.cli import main
from skewguard.config import Policy
from skewguard.errors import BadInputError, SuiteError
from skewguard.expectations.suites import suite_path
from skewguard.findings import Cause
from skewguard.online.embedded import EmbeddedRedis
from skewguard.running import crashed_run
from tests.expectations.builders import between, document, entry
from tests.repos import AS_OF, entity_rows, write_repo

HOUR = timedelta(hours=1)


@pytest.fixture
def guard(tmp_path: Path, clean_redis: EmbeddedRedis) -> SkewGuard:
    """A materialized repository that was never checked."""
    opened = SkewGuard(write_repo(tmp_path / "repo", clean_redis.connection_string), clock=lambda: AS_OF)
    opened.feast.apply()
    opened.materialize(as_of=AS_OF)
    return opened


def write_suite(guard: SkewGuard, *entries: Any) -> Path:
    path = suite_path(guard.path, "till_v1")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**document(*entries), "name": "till_v1"}))
    return path


def refused(guard: SkewGuard) -> GateBlocked:
    """The refusal; a contract that was there stays, another is not written."""
    path = guard.state.contract_path("till_v1")
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(GateBlocked) as caught:
        guard.training_set(entity_rows(), "till_v1")
    assert (path.read_bytes() if path.is_file() else None) == before
    assert "--allow REASON" in str(caught.value)
    return caught.value


def test_what_was_never_checked_is_checked_first(guard: SkewGuard) -> None:
    assert guard.state.gate("till_v1") is None
    made = guard.training_set(entity_rows(), "till_v1")
    verdict = guard.state.gate("till_v1")
    assert verdict is not None
    assert made.contract.provenance["skew"]["run_id"] == verdict.run_id


def test_a_store_that_is_down_when_it_should_be_checked(guard: SkewGuard) -> None:
    config = guard.path / "feature_store.yaml"
    config.write_text(config.read_text().replace("connection_string: ", "connection_string: 127.0.0.1:1 # "))
    found = refused(SkewGuard(guard.path, clock=lambda: AS_OF))
    assert found.verdict == "inconclusive"
    assert any(reason.startswith("parity: inconclusive") for reason in found.reasons)


def test_a_verdict_that_is_old(guard: SkewGuard) -> None:
    guard.check("till_v1")
    later = SkewGuard(guard.path, clock=lambda: AS_OF + timedelta(days=2, hours=1))
    found = refused(later)
    assert (
        "the last verdict is 2 days, 1:00:00 old, verdict_max_age is 2 days, 0:00:00; run `skewguard check` first"
        in str(found)
    )
    young = SkewGuard(guard.path, clock=lambda: AS_OF + timedelta(days=2) - HOUR)
    assert young.training_set(entity_rows(), "till_v1").decision.verdict is not Verdict.INCONCLUSIVE


def test_a_check_that_covered_too_little(guard: SkewGuard) -> None:
    source = guard.path / "data" / "shop.parquet"
    hidden = source.with_suffix(".gone")
    source.rename(hidden)
    run = guard.check("till_v1")
    hidden.rename(source)
    assert run.verdict is Verdict.INCONCLUSIVE
    assert refused(guard).verdict == "inconclusive"
    asked = SkewGuard(guard.path, policy=Policy({"min_rows": 1000}), clock=lambda: AS_OF)
    asked.check("till_v1")
    assert "101 rows compared; policy asks for 1,000" in str(refused(asked))


def test_a_run_that_crashed(guard: SkewGuard) -> None:
    crashed_run(guard, "till_v1", AS_OF, "MemoryError: no more")
    found = refused(guard)
    assert found.reasons == ("run: crashed: MemoryError: no more",)
    lenient = SkewGuard(guard.path, policy=Policy({"inconclusive": "warn"}), clock=lambda: AS_OF)
    assert lenient.training_set(entity_rows(), "till_v1").decision.verdict is Verdict.INCONCLUSIVE


def test_a_gate_file_that_is_broken(guard: SkewGuard) -> None:
    guard.check("till_v1")
    guard.state.gate_path("till_v1").write_text("{")
    with pytest.raises(ValueError, match="not a gate state"):
        guard.training_set(entity_rows(), "till_v1")
    assert not guard.state.contract_path("till_v1").exists()


def test_an_expectation_that_does_not_hold_is_carried(guard: SkewGuard) -> None:
    write_suite(guard, between("sales", max_value=0), between("share", max_value=-1))
    found = refused(guard)
    (first, _) = [f for f in found.findings if f.check == "expectations"][:2]
    assert (first.cause, first.evidence["severity"], found.verdict) == (Cause.EXPECTATION_FAILED, "critical", "block")
    assert any("between on sales" in reason for reason in found.reasons)


def test_an_expectation_that_cannot_be_judged_is_none_that_holds(guard: SkewGuard) -> None:
    guard.check("till_v1")
    write_suite(guard, between("label", min_value=1.5))  # a text is no number
    assert {f.cause for f in refused(guard).findings} == {Cause.EXPECTATION_BROKEN}


def test_a_column_that_is_not_there(guard: SkewGuard) -> None:
    guard.check("till_v1")
    path = write_suite(guard, between("sale", min_value=0))
    found = refused(guard)
    assert found.verdict == "inconclusive"
    assert f"{path}" in str(found)
    assert "no column 'sale' in the table. Did you mean 'sales'?" in str(found)
    # online it may be a label, which no vector has: it is told, not refused
    run = guard.check("till_v1")
    (check,) = [c for c in run.checks if c.check == "expectations"]
    assert check.details["not_checked"] == [
        "expectation 1 (expect_column_values_to_be_between on 'sale'): "
        "'sale' is no feature, join key or request data of 'till_v1' (did you mean 'sales'?)"
    ]


def test_a_suite_that_is_refused_is_no_suite_that_passes(guard: SkewGuard) -> None:
    guard.check("till_v1")
    write_suite(guard, between("sales", min_value=2, max_value=1))
    with pytest.raises(SuiteError, match="swap them"):
        guard.training_set(entity_rows(), "till_v1")
    assert not guard.state.contract_path("till_v1").exists()


def test_a_suite_that_is_gone(guard: SkewGuard) -> None:
    path = write_suite(guard, between("sales", min_value=0))
    guard.check("till_v1")
    made = guard.training_set(entity_rows(), "till_v1")
    assert made.contract.suite_digest is not None
    path.unlink()
    found = refused(guard)
    assert "is gone, under which the contract in force was written; put it back" in str(found)
    assert guard.check("till_v1").verdict is Verdict.INCONCLUSIVE
    allowed = guard.training_set(entity_rows(), "till_v1", allow="the suite is retired")
    assert allowed.contract.suite_digest is None
    assert guard.check("till_v1").verdict is not Verdict.INCONCLUSIVE


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_a_reason_says_something(guard: SkewGuard, reason: str) -> None:
    with pytest.raises(BadInputError, match="allow: got"):
        guard.training_set(entity_rows(), "till_v1", allow=reason)
    assert guard.state.gate("till_v1") is None  # not even a check was made


def test_an_override_is_kept_with_what_it_was_over(guard: SkewGuard) -> None:
    write_suite(guard, entry("expect_column_values_to_not_be_null", column="per_sale", severity="critical"))
    found = refused(guard)
    made = guard.training_set(entity_rows(), "till_v1", allow="tills of a closed shop")
    kept = json.loads(guard.state.contract_path("till_v1").read_text())["provenance"]
    assert kept["allowed"] == "tills of a closed shop"
    assert kept["overridden"] == {"at": "2026-09-01T12:00:00Z", "verdict": "block", "reasons": list(found.reasons)}
    assert made.contract.digest == guard.training_set(entity_rows(), "till_v1", allow="again").contract.digest


def test_a_reason_where_nothing_speaks_against_it(guard: SkewGuard) -> None:
    guard.training_set(entity_rows(), "till_v1")  # the first contract
    guard.check("till_v1")
    made = guard.training_set(entity_rows(), "till_v1", allow="to be sure")
    kept = made.contract.provenance
    assert kept["allowed"] == "to be sure"
    assert ("overridden" in kept) is (made.decision.verdict is not Verdict.PASS)


def test_by_command_line(
    guard: SkewGuard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_suite(guard, between("sales", max_value=0))
    guard.check("till_v1", as_of=AS_OF)
    rows, output = tmp_path / "rows.parquet", tmp_path / "out" / "train.parquet"
    entity_rows().to_parquet(rows)
    words = ["training-set", "--repo", str(guard.path), "--entity-rows", str(rows), "--service", "till_v1",
             "--output", str(output), "--as-of", AS_OF.isoformat()]  # fmt: skip

    def run(*more: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["skewguard", *words, *more])
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0), capsys.readouterr().err

    code, told = run()
    assert (code, output.parent.exists()) == (1, False)
    assert "expect_column_values_to_be_between on sales" in told
    assert run("--allow", " ")[0] == 2
    assert not output.parent.exists()
    assert run("--allow", "a drill")[0] == 0
    assert json.loads(output.with_suffix(".contract.json").read_text())["provenance"]["allowed"] == "a drill"
