"""Joins (cases E): values of the future, rows that nothing decides between, names that break a join."""

from __future__ import annotations

import pandas as pd
import pytest
from feast.types import Float64

from skewguard import Verdict
from skewguard.feast_repo import quiet_feast
from skewguard.online.embedded import EmbeddedRedis
from tests.known_skews.repo import HEALTHY, Case, Repo, hours

TIED = [(k, 4.0, None, float(n * 7 % 100)) for k in range(1, 41) for n in range(50)]
CASES = {
    "e1": Case([(1, 5.0, 5.0, 1.0), (1, 4.0, 1.0, 2.0), *HEALTHY]),
    "e2": Case([*TIED, *[(k, 4.0, None, v) for k, _, _, v in HEALTHY]], created=False),
    "e5": Case([(1, 4.0, 3.5, 1.0), (2, 4.0, 3.5, 2.0)], {"pos_y": Float64}),
}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory, redis_server: EmbeddedRedis) -> Repo:
    made = Repo(tmp_path_factory.mktemp("joins"), redis_server, dict(CASES), "joins").build()
    made.materialize()
    return made


def test_training_sees_a_correction_made_later(repo: Repo) -> None:
    """E1: the created timestamp only breaks ties."""
    entity_df = pd.DataFrame({"k": [1, 11], "event_timestamp": [hours(3), hours(3)]})
    for known, expected in ((False, 2.0), (True, 1.0)):
        with quiet_feast():
            job = repo.store.get_historical_features(entity_df, ["e1:f"], filter_by_created_timestamp=known)
            theirs = {row["k"]: row["f"] for row in job.to_arrow().to_pylist()}
        ours = repo.guard().historical_features(entity_df, "e1", filter_by_created_timestamp=known)
        assert theirs[1] == ours.column("f").to_pylist()[0] == expected  # type: ignore[union-attr]
    (leak,) = repo.guard().leakage(entity_df, "e1").findings
    assert (leak.cause.value, leak.feature, leak.count, leak.compared) == ("leakage", "f", 1, 2)
    assert repo.found("e1") == {}


def test_rows_that_nothing_decides_between(repo: Repo) -> None:
    """E2: the source is at fault, and Redis refuses the winner of another day: no value differs without a cause."""
    online = repo.feast_online("e2", *range(1, 41))["f"]
    run = repo.run("e2")
    found = {(f.evidence.get("rule", f.cause.value), f.feature): f.count for f in run.findings}
    assert found.keys() - {("contract_missing", None)} == {("ambiguous_rows", None), ("blocked_correction", "f")}
    ours = repo.guard().historical_features(pd.DataFrame({"k": range(1, 41), "event_timestamp": hours(0)}), "e2")
    differing = sum(a != b for a, b in zip(online, ours.column("f").to_pylist(), strict=True))  # type: ignore[union-attr]
    assert found["blocked_correction", "f"] == differing > 20
    assert run.verdict is Verdict.WARN
    again = [repo.run("e2").findings for _ in range(2)]
    assert again[0] == again[1]


def test_a_name_that_feasts_join_drops(repo: Repo) -> None:
    """E5: loud offline, silent online; said before either."""
    with pytest.raises(Exception, match="pos_y"):
        repo.feast_offline("e5", 1)
    assert repo.feast_online("e5", 1)["pos_y"] == [1.0]
    assert repo.found("e5") == {("ends_in_y", "pos_y"): 1}
    entity_df = pd.DataFrame({"k": [1], "event_timestamp": [hours(0)]})
    assert repo.guard().historical_features(entity_df, "e5").column("pos_y").to_pylist() == [1.0]  # type: ignore[union-attr]
