"""On-demand views (cases F): one formula in two modes, and views whose outputs are stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest
from feast import Entity, FeatureService, FeatureView, Field, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64

from skewguard.errors import BadInputError
from skewguard.feast_repo import quiet_feast
from skewguard.findings import CheckResult
from skewguard.online.embedded import EmbeddedRedis
from skewguard.replaying import replay
from tests.checks.test_replay import server
from tests.known_skews.repo import NOW, Case, Repo, counts

ROWS = [(1, 4.0, 3.5, 2.0, 0.0), (2, 4.0, 3.5, 3.0, 4.0), (3, 4.0, 3.5, None, 4.0), (4, 4.0, 3.5, 1.0, None)]
KEYS = [1, 2, 3, 4, 99]


def on_demand(views: Mapping[str, FeatureView]) -> list[Any]:
    """The ratio of two features in pandas and in Python, one more that is stored, and their services."""
    view = views["x"]

    @on_demand_feature_view(sources=[view], schema=[Field(name="quick", dtype=Float64)])
    def frames(inputs: pd.DataFrame) -> pd.DataFrame:
        out = pd.DataFrame()
        out["quick"] = inputs["f"] / inputs["g"]
        return out

    @on_demand_feature_view(sources=[view], schema=[Field(name="plain", dtype=Float64)], mode="python")
    def dicts(inputs: dict[str, Any]) -> dict[str, Any]:
        pairs = zip(inputs["f"], inputs["g"], strict=True)
        return {"plain": [None if not a or not b or a != a or b != b else a / b for a, b in pairs]}

    @on_demand_feature_view(
        sources=[view],
        schema=[Field(name="kept", dtype=Float64)],
        entities=[Entity(name="e_INT64", join_keys=["k"], value_type=ValueType.INT64)],
        write_to_online_store=True,
    )
    def stored(inputs: pd.DataFrame) -> pd.DataFrame:
        out = pd.DataFrame()
        out["kept"] = inputs["f"] * 2
        if "k" in inputs:  # Feast gives the join key where it writes, not where it reads
            out["k"] = inputs["k"]
        return out

    return [
        frames,
        dicts,
        stored,
        FeatureService(name="modes", features=[view, frames, dicts]),
        FeatureService(name="written", features=[view, stored]),
    ]


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory, redis_server: EmbeddedRedis) -> Repo:
    case = Case(ROWS, {"f": Float64, "g": Float64})
    made = Repo(tmp_path_factory.mktemp("transforms"), redis_server, {"x": case}, "transforms", more=on_demand).build()
    made.materialize("x")
    return made


def test_two_modes_of_one_formula_are_each_served_as_they_are_trained(repo: Repo) -> None:
    """F2: two over zero is infinite in one and null in the other; each is so on both sides."""
    entity_df = pd.DataFrame({"k": KEYS, "event_timestamp": [NOW] * len(KEYS)})
    offline = repo.guard().historical_features(entity_df, "modes")
    online = repo.guard().online("modes", [{"k": key} for key in KEYS], as_of=NOW)
    for name, first in (("quick", math.inf), ("plain", None)):
        ours = [None if v is None or v != v else v for v in offline.column(name).to_pylist()]  # type: ignore[union-attr]
        assert ours == online.column(name).to_pylist() == [first, 0.75, None, None, None]
    guard = repo.guard()
    with server(repo.folder) as client:
        body = {"feature_service": "modes", "entities": {"k": KEYS}}
        answer = client.post("/get-online-features", json=body).json()
    names = answer["metadata"]["feature_names"]
    assert answer["results"][names.index("quick")]["values"] == ["Infinity", 0.75, None, None, None]
    assert answer["results"][names.index("plain")]["values"] == [None, 0.75, None, None, None]
    result: CheckResult = replay(guard, guard.service("modes"), NOW)
    assert (result.status, result.compared, result.findings) == ("ok", len(KEYS), ())
    assert {n: d["compared"] for n, d in result.details["on_demand"].items()} == {"frames": 5, "dicts": 5}


def test_outputs_that_are_stored_are_no_rows_of_a_source(repo: Repo) -> None:
    """F5: they carry the time of writing, not the source's; no rule of timestamps is asked about them."""
    with quiet_feast():
        repo.store.write_to_online_store("stored", pd.DataFrame({"k": [2], "f": [3.0], "g": [4.0]}))
        theirs = repo.store.get_online_features(["stored:kept"], [{"k": 2}, {"k": 3}]).to_dict()
    assert theirs["kept"] == [6.0, None]
    run = repo.run("written")
    assert counts(run) == {}
    transform = next(check for check in run.checks if check.check == "transform")
    assert "computed on write" in transform.details["not_checked"]["stored"]
    with pytest.raises(BadInputError, match=r"'stored'.*computed on write"):
        repo.guard().online("written", [{"k": 2}], as_of=NOW)
