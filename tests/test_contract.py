import json
from dataclasses import replace
from pathlib import Path

import pytest

from skewguard.contract import FeatureContract, changed_parts
from skewguard.errors import ConfigurationError

CONTRACT = FeatureContract(
    service="s",
    features=(("b", "INT64"), ("a", "DOUBLE")),
    join_keys=(("k", "INT64"),),
    request_fields=(),
    projections={"v": {"view": "v", "features": {"a": "DOUBLE", "b": "INT64"}, "join_key_map": {}}},
    fingerprints={"v": "0"},
    definitions={"v": {"ttl_seconds": 3600.0}},
    entity_frame_digest="e",
    training_set_digest="t",
    row_count=3,
    time_range=("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
    created_cutoff=False,
    seeds={"model": 1},
    profile={"a": {"edges": [1.0]}},
    suite_digest=None,
)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    stamped = CONTRACT.with_provenance(run_id="r")
    stamped.save(path)
    assert FeatureContract.load(path) == stamped
    assert FeatureContract.load(path).digest == CONTRACT.digest


def test_provenance_is_outside_the_digest_and_everything_else_inside() -> None:
    assert CONTRACT.with_provenance(anything=1).digest == CONTRACT.digest
    changes = {
        "features": CONTRACT.features[::-1],
        "definitions": {"v": {"ttl_seconds": 60.0}},
        "training_set_digest": "x",
        "created_cutoff": True,
        "seeds": {},
        "row_count": 4,
    }
    for name, value in changes.items():
        assert replace(CONTRACT, **{name: value}).digest != CONTRACT.digest, name  # type: ignore[arg-type]


def test_a_contract_from_before_there_were_defaults_has_the_digest_that_it_had(tmp_path: Path) -> None:
    data = json.loads(CONTRACT.to_json())
    assert data.pop("defaults") == {}
    path = tmp_path / "c.json"
    path.write_text(json.dumps(data))
    assert FeatureContract.load(path) == CONTRACT
    assert CONTRACT.digest == "a3e8d6a219536d87b1579b11f94ebd417e016abdd8e3979b73b34147c5695d65"
    other = replace(CONTRACT, defaults={"v__a": 1.5})
    assert other.digest != CONTRACT.digest
    other.save(path)
    assert FeatureContract.load(path) == other


def test_a_file_that_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    data = json.loads(CONTRACT.to_json())
    data["row_count"] = 5
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigurationError, match="states"):
        FeatureContract.load(path)
    for text in ("{", "[]", "{}", '{"digest": "a"}', '{"digest": "a", "version": 9}'):
        path.write_text(text)
        with pytest.raises(ConfigurationError):
            FeatureContract.load(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        FeatureContract.load(tmp_path / "none.json")


def test_changed_parts_names_the_path() -> None:
    before = {"ttl": 1, "source": {"path": "a", "field": "t"}, "gone": 1}
    after = {"ttl": 1, "source": {"path": "b", "field": "t"}, "new": None}
    assert changed_parts(before, after) == [("gone", 1, None), ("new", None, None), ("source.path", "a", "b")]
