"""Absence (cases C): an unseen entity, a stored null, a field never written; and keys that are gone or unreachable."""

from __future__ import annotations

import pytest
from feast.types import Float64

from skewguard.feast_repo import quiet_feast
from skewguard.online.embedded import EmbeddedRedis
from tests.known_skews.repo import HEALTHY, NOW, Case, Repo

CASES = {
    "c1": Case([(1, 4.0, 3.5, None, 2.0), (2, 4.0, 3.5, 1.5, None)], {"f": Float64, "g": Float64}),
    "f9": Case(HEALTHY),
}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory, redis_server: EmbeddedRedis) -> Repo:
    made = Repo(tmp_path_factory.mktemp("absence"), redis_server, dict(CASES), "absence").build()
    made.materialize()
    return made


def test_what_feast_calls_present_is_told_apart(repo: Repo) -> None:
    """C1, C2: unseen, stored null and value are one status to Feast."""
    with quiet_feast():
        theirs = repo.store.get_online_features(["c1:f"], [{"k": 1}, {"k": 2}, {"k": 999}]).proto.results[1]
    assert set(theirs.statuses) == {1}  # PRESENT
    ours = repo.guard().online("c1", [{"k": 1}, {"k": 2}, {"k": 999}], as_of=NOW)
    assert ours.column("__status__f").to_pylist() == ["NULL_VALUE", "PRESENT", "NOT_FOUND"]
    assert repo.found("c1") == {}


def test_an_entity_whose_value_type_changed(repo: Repo) -> None:
    """F9: key bytes hold the type, so rows under the old one are out of reach, and Feast answers nulls."""
    repo.cases["f9"] = Case([(str(k), *row) for k, *row in HEALTHY], key="STRING")
    repo.write("f9", repo.cases["f9"].rows)
    repo.apply()
    assert repo.feast_online("f9", "11")["f"] == [None]
    assert repo.found("f9", of={"11", "12", "13"}) == {("entity_key_mismatch", None): 3}
    repo.materialize("f9")
    assert repo.feast_online("f9", "11")["f"] == [11.25]
    assert repo.found("f9") == {}


def test_a_teardown_that_takes_another_projects_keys(repo: Repo, redis_server: EmbeddedRedis) -> None:
    """E11: Feast deletes by a pattern that ends with the project's name."""
    mine = Repo(repo.folder / "nonprod", redis_server, {"e11": Case(HEALTHY)}, "nonprod").build()
    theirs = Repo(repo.folder / "prod", redis_server, {"e11": Case(HEALTHY)}, "prod").build()
    for project in (mine, theirs):
        project.materialize()
    assert mine.found("e11") == {}
    with quiet_feast():
        theirs.store.teardown()
    assert mine.feast_online("e11", 11)["f"] == [None]
    assert mine.found("e11", of={11, 12, 13}) == {("missing_online", None): 3}
