"""docs/skew-expectations.md: its example runs, its suite loads, and it tells every expectation, argument and column."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from great_expectations.expectations.expectation import BatchExpectation, ColumnPairMapExpectation

from skewguard import SkewGuard
from skewguard.compare.frame import columns_of_feature, frame_columns
from skewguard.expectations.suites import parse_suite
from skewguard.online.embedded import EmbeddedRedis
from tests.expectations.skew.builders import skew
from tests.repos import AS_OF, entity_rows, write_repo

TEXT = (Path(__file__).parents[3] / "docs" / "skew-expectations.md").read_text()
CLASSES = [getattr(skew, name) for name in skew.__all__ if name.startswith("Expect")]


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return str(found)


@pytest.fixture
def repository(tmp_path: Path, clean_redis: EmbeddedRedis) -> SkewGuard:
    guard = SkewGuard(write_repo(tmp_path / "feature_repo", clean_redis.connection_string))
    guard.feast.apply()
    guard.materialize(as_of=AS_OF)
    guard.training_set(entity_rows(80), "till_v1", as_of=AS_OF)
    return guard


@pytest.mark.slow
def test_the_example_runs(repository: SkewGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository.path.parent)
    code = block("python").replace('"till_v1", "till_stats")', f'"till_v1", "till_stats", as_of="{AS_OF.isoformat()}")')
    names: dict[str, Any] = {}
    exec(compile(code, "docs/skew-expectations.md", "exec"), names)
    (found,) = names["result"].run_results.values()
    by_type = {r.expectation_config.type: r for r in found.results}
    assert {type(e).expectation_type for e in names["expectations"]} == set(by_type)
    for name in ("expect_online_to_match_offline", "expect_mismatch_rate_to_be_below", "expect_definitions_unchanged"):
        assert by_type[name].success is True, by_type[name]
    assert by_type["expect_freshness_to_be_below"].success is True
    pages = list(
        (repository.path.parent / "checks" / "gx" / "uncommitted" / "data_docs").glob("**/validations/**/*.html")
    )
    assert len(pages) == 1


def test_the_suite_is_one() -> None:
    suite = parse_suite(json.loads(block("json")))
    assert len(suite.rules) == 4


@pytest.mark.parametrize("kind", CLASSES)
def test_every_expectation_and_argument_is_told(kind: Any) -> None:
    assert f"| `{kind.__name__}` |" in TEXT
    section = TEXT.split(f"\n### {kind.__name__}\n", 1)[1].split("\n### ", 1)[0]
    base = ColumnPairMapExpectation if issubclass(kind, ColumnPairMapExpectation) else BatchExpectation
    own = set(kind.__fields__) - set(base.__fields__) - {"row_condition", "condition_parser"}
    assert own, kind
    assert [name for name in own if f"`{name}`" not in section] == []


def test_every_column_of_the_frame_is_told() -> None:
    section = TEXT.split("\n## The comparison frame\n", 1)[1].split("\n## ", 1)[0]
    table = "".join(line for line in section.splitlines(keepends=True) if line.startswith("|"))
    for column in (*frame_columns("v", (), ()), *columns_of_feature("<view>__<feature>")):
        assert f"`{column}`" in table, column
