"""Drift and definitions against a contract: the distribution check's own verdicts, and parts named one by one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from skewguard.checks.distribution import Comparison, Night, check_distribution
from skewguard.config import Drift
from skewguard.contract import FeatureContract
from skewguard.definitions import canonical_json
from skewguard.errors import UnknownNameError
from skewguard.profile import profile_column
from tests.expectations.skew.builders import one, run, skew, trouble

RANDOM = np.random.default_rng(11)
NUMBERS = pa.array(RANDOM.normal(size=5000))
TEXTS = pa.array(RANDOM.choice(["a", "b", "c"], size=5000, p=[0.6, 0.3, 0.1]))
NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)


def frame(values: Any, kind: pa.DataType | None = None) -> pd.DataFrame:
    return skew.exact_frame(pa.table({"x": pa.array(values, kind)}))


def drift(reference: pa.Array, **kwargs: Any) -> Any:
    return skew.ExpectDriftNotToBeSignificant(column="x", profile=profile_column(reference).to_dict(), **kwargs)


@pytest.mark.parametrize(
    ("reference", "current", "status", "success"),
    [
        (NUMBERS, [], None, False),
        (pa.array([], pa.float64()), [1.0], None, False),
        (NUMBERS, [0.0], "inconclusive", False),
        (NUMBERS, NUMBERS, "same", True),
        (NUMBERS, RANDOM.normal(size=5000), "same", True),
        (NUMBERS, RANDOM.normal(size=5000) + 0.5, "drifted", False),
        (NUMBERS, [None] * 2500 + [0.0] * 2500, "drifted", False),
        (NUMBERS, pa.nulls(5000), "drifted", False),
        (TEXTS, RANDOM.choice(["a", "b", "c"], size=5000, p=[0.6, 0.3, 0.1]), "same", True),
        (TEXTS, ["c"] * 5000, "drifted", False),
        (TEXTS, TEXTS.to_pylist()[:4700] + ["new"] * 300, "drifted", False),
        (pa.array([True, False] * 2000), [True] * 4000, "drifted", False),
        (pa.array([[1], [1, 2]] * 2000), [[1, 2, 3]] * 4000, "drifted", False),
    ],
)
def test_verdicts(reference: Any, current: Any, status: str | None, success: bool) -> None:
    values = current if isinstance(current, pa.Array) else pa.array(current, reference.type)
    result = one(frame(values), drift(reference))
    assert result["success"] is success
    assert result["result"].get("status") == status
    assert ("inconclusive" in result["result"]) is (status in (None, "inconclusive"))


def test_the_figures_are_the_distribution_checks_own() -> None:
    current = RANDOM.normal(size=3000) + 0.08
    found = one(frame(current), drift(NUMBERS, budget=0.05, tests=5, min_effect=0.01))["result"]
    reference = profile_column(NUMBERS)
    comparison = Comparison(
        "v", "x", "DOUBLE", "contract", reference, profile_column(pa.array(current), reference.bins)
    )
    limits = Drift(budget=0.01, min_effect=0.01)
    (stats,) = check_distribution(Night([comparison], rows=3000), limits).drift
    for name in ("status", "part", "p_value", "level", "min_effect", "reference_rows", "rows_needed"):
        assert found[name] == getattr(stats, name), name
    assert found["observed_value"] == stats.effect
    assert found["current"] == list(stats.current)


def test_a_small_but_sure_difference_is_no_drift() -> None:
    found = one(frame(RANDOM.normal(size=5000) + 0.5), drift(NUMBERS, min_effect=0.5))
    assert (found["success"], found["result"]["status"]) == (True, "small")


def test_moments_are_compared_as_ages() -> None:
    ages = RANDOM.exponential(86400, size=4000)
    stamps = pa.array([NOW - timedelta(seconds=float(age)) for age in ages], pa.timestamp("us", "UTC"))
    now = pa.array([NOW] * 4000, stamps.type)
    profile = profile_column(stamps, as_of=now).to_dict()
    expectation = skew.ExpectDriftNotToBeSignificant(column="x", profile=profile, as_of_column="now")
    later = [moment + timedelta(days=300) for moment in stamps.to_pylist()]
    as_of = [NOW + timedelta(days=300)] * 4000
    for kept in (pa.table({"x": stamps, "now": now}), pa.table({"x": pa.array(later), "now": pa.array(as_of)})):
        assert one(skew.exact_frame(kept), expectation)["result"]["status"] == "same"
    stale = pa.table({"x": stamps, "now": pa.array(as_of, stamps.type)})
    assert one(skew.exact_frame(stale), expectation)["result"]["status"] == "drifted"


@pytest.mark.parametrize(("reference", "current"), [(NUMBERS, ["a", "b"]), (TEXTS, [1.0, 2.0])])
def test_a_column_of_another_kind_than_its_profile_is_refused(reference: pa.Array, current: Any) -> None:
    (result,) = run(frame(current), drift(reference))
    assert "of which the profile is" in trouble(result)


def test_without_a_profile_it_does_not_hold_and_says_what_to_do() -> None:
    (result,) = run(frame([1.0]), skew.ExpectDriftNotToBeSignificant(column="x"))
    assert "profile: got none; expected a column's profile; ExpectDriftNotToBeSignificant.of_contract" in trouble(
        result
    )


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"profile": {"edges": [1]}}, "a profile of version 1; expected"),
        ({"profile": [1]}, "got list; expected a column's profile"),
        ({"profile": {"version": 2, "edges": "abc"}}, "got no profile of a column"),
        ({"budget": 0}, "got 0; expected a share above 0 and below 1"),
        ({"tests": 0}, "got 0; expected a whole number of 1 or more"),
    ],
)
def test_a_wrong_argument_is_refused_when_it_is_made(kwargs: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        skew.ExpectDriftNotToBeSignificant(column="x", **kwargs)


PROMISE: dict[str, Any] = {
    "definitions": {"v": {"ttl_seconds": 3600.0, "features": {"f": "DOUBLE"}}},
    "projections": {"v": {"view": "v", "features": {"f": "DOUBLE"}, "join_key_map": {}}},
    "features": [["f", "DOUBLE"]],
}


def contract(**changes: Any) -> FeatureContract:
    return FeatureContract(
        service="s", features=(("f", "DOUBLE"),), join_keys=(("k", "INT64"),), request_fields=(),
        projections=PROMISE["projections"], fingerprints={}, definitions=PROMISE["definitions"],
        entity_frame_digest="", training_set_digest="", row_count=1, time_range=None, created_cutoff=False, seeds={},
        profile={"v__f": profile_column(NUMBERS).to_dict()}, suite_digest=None, **changes,
    )  # fmt: skip


def carrying(parts: Any, rows: int = 2) -> pd.DataFrame:
    text = parts if isinstance(parts, str) else canonical_json(parts)
    return pd.DataFrame({"__definitions": pd.Categorical([text] * rows, categories=[text])})


def test_definitions_of_the_contract_are_unchanged() -> None:
    expectation = skew.ExpectDefinitionsUnchanged.of_contract(contract())
    result = one(carrying(PROMISE), expectation)
    assert (result["success"], result["result"]) == (True, {"observed_value": 0, "changed": []})


def test_what_changed_is_named_with_both_values() -> None:
    now = json.loads(json.dumps(PROMISE))
    now["definitions"]["v"]["ttl_seconds"] = 3601.0
    now["definitions"]["w"] = {"ttl_seconds": None}
    now["features"].append(["g", "INT64"])
    result = one(carrying(now), skew.ExpectDefinitionsUnchanged.of_contract(contract()))
    assert result["success"] is False
    assert result["result"]["observed_value"] == 3
    assert result["result"]["changed"][:2] == [
        {"path": "definitions.v.ttl_seconds", "contract": 3600.0, "now": 3601.0},
        {"path": "definitions.w", "contract": None, "now": {"ttl_seconds": None}},
    ]


def test_no_rows_carry_no_definitions() -> None:
    result = one(carrying(PROMISE, rows=0), skew.ExpectDefinitionsUnchanged.of_contract(contract()))
    assert result["success"] is False
    assert result["result"]["inconclusive"] == "no rows, so no definitions"


@pytest.mark.parametrize("text", ["not json", "[1]"])
def test_what_is_no_definition_is_refused(text: str) -> None:
    (result,) = run(carrying(text), skew.ExpectDefinitionsUnchanged.of_contract(contract()))
    assert "column '__definitions'" in trouble(result)


def test_of_a_contract_that_lacks_the_feature() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'v__f'"):
        skew.ExpectDriftNotToBeSignificant.of_contract(contract(), "v__ff", "x")
    expectation = skew.ExpectDriftNotToBeSignificant.of_contract(contract(), "v__f", "x")
    assert one(frame(NUMBERS), expectation)["success"] is True


def test_a_promise_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got \['definitions'\]; expected a contract's promise"):
        skew.ExpectDefinitionsUnchanged(column="__definitions", promise={"definitions": {}})
    (result,) = run(carrying(PROMISE), skew.ExpectDefinitionsUnchanged(column="__definitions"))
    assert "promise: got none" in trouble(result)
