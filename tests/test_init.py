"""`skewguard init` on repositories of several shapes: what it writes, and what it never touches."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from benchmarks.drill_repos import NOW, SALES, WIDE, write_sales, write_wide
from skewguard import SkewGuard
from skewguard.cli import main
from skewguard.config import Policy, load_policy
from skewguard.definitions import ServiceDef
from skewguard.errors import BadInputError, SuiteError
from skewguard.expectations.engine import validate
from skewguard.expectations.suites import load_suite, parse_suite, suite_path
from skewguard.first_policy import FIRST_POLICY
from skewguard.suite_checks import check_training
from tests.repos import AS_OF, entity_rows, write_repo

NOWHERE = "127.0.0.1:1"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> SkewGuard:
    repo = write_repo(tmp_path_factory.mktemp("init") / "repo", NOWHERE)
    guard = SkewGuard(repo, clock=lambda: AS_OF)
    guard.feast.apply()
    return guard


@pytest.fixture
def guard(shared: SkewGuard) -> Iterator[SkewGuard]:
    """The repository without suites, policy or state; none is left after."""
    yield shared
    for path in (*shared.path.glob("expectations/*"), shared.path / "skewguard.yaml"):
        path.unlink(missing_ok=True)


def kinds(document: Any, column: str) -> set[str]:
    rows = [e for e in document["expectations"] if column in (e["kwargs"].get("column"), e["kwargs"].get("column_B"))]
    return {e["type"].removeprefix("expect_column_") for e in rows}


def test_rows_are_made_from_the_sources_and_told(guard: SkewGuard) -> None:
    found = guard.propose_suite("till_v1")
    assert found.told.startswith("4,992 rows made from the sources: 96 entities, as-of times from 2026-08-29")
    assert found.remarks == ("left out: per_sale: its request data (amount) are not in the sources; give rows with it",)
    suite = parse_suite(found.document)
    assert set(suite.columns) == {
        "shop_id", "till_no", "event_timestamp", "sales", "items", "share", "label", "open", "last", "baskets",
        "turnover", "euro",
    }  # fmt: skip
    assert kinds(found.document, "label") >= {"values_to_be_in_set", "values_to_not_be_null"}
    assert "pair_values_a_to_be_greater_than_b" in kinds(found.document, "last")
    assert not suite_path(guard.path, "till_v1").exists()
    assert guard.propose_suite("till_v1").document == found.document  # the same again


def test_the_proposal_holds_of_a_training_set_and_of_what_is_served(
    guard: SkewGuard, clean_redis: Any, tmp_path: Path
) -> None:
    repo = write_repo(tmp_path / "live", clean_redis.connection_string)
    live = SkewGuard(repo, clock=lambda: AS_OF)
    live.feast.apply()
    live.propose_suite("till_v1").save()
    live.materialize(as_of=AS_OF)
    run = live.check("till_v1")
    (check,) = [c for c in run.checks if c.check == "expectations"]
    assert (check.status, check.findings) == ("ok", ())
    assert check.compared > 20
    # the rows of a test go back before the first one, which real ones do not: those are empty
    rows = entity_rows(200).query("shop_id != 'unknown' and till_no < 20")
    result = check_training(live, live.service("till_v1"), live.training_set(rows, "till_v1", allow="test").table)
    assert {f.evidence["severity"] for f in result.findings} <= {"warning"}
    assert {f.evidence["expectation"] for f in result.findings} <= {"expect_compound_columns_to_be_unique"}


def test_own_rows_bring_request_data_and_keep_labels_out(guard: SkewGuard) -> None:
    found = guard.propose_suite("till_v1", entity_df=entity_rows(300))
    assert found.told == "the features of 300 entity rows, point in time"
    assert found.remarks == ()
    columns = set(parse_suite(found.document).columns)
    assert "per_sale" in columns
    assert not {"target", "amount"} & columns
    (rows,) = [e["kwargs"] for e in found.document["expectations"] if "row_count" in e["type"]]
    assert rows["min_value"] == 150
    # 300 rows of few keys and hours repeat, so nothing says that they must not
    assert "expect_compound_columns_to_be_unique" not in {e["type"] for e in found.document["expectations"]}


def test_a_training_set_is_profiled_whatever_its_names(guard: SkewGuard, tmp_path: Path) -> None:
    rows = entity_rows(60).rename(columns={"event_timestamp": "when"})
    made = guard.training_set(rows, "till_v1", full_feature_names=True)
    path = tmp_path / "train.parquet"
    made.save(path)
    found = guard.propose_suite("till_v1", training_set=path)
    short = guard.propose_suite("till_v1", training_set=guard.training_set(rows, "till_v1").table)
    assert found.document == short.document
    assert {"shop_id", "till_no", "event_timestamp", "per_sale"} <= set(parse_suite(found.document).columns)
    # and held to it under either name, with the as-of time called otherwise
    found.save()
    for table in (made.table, guard.training_set(rows, "till_v1").table):
        assert check_training(guard, guard.service("till_v1"), table, "when").findings == ()


def test_a_label_called_as_a_feature_is_not_taken_for_it(guard: SkewGuard) -> None:
    rows = pa.table({"home_shop": ["dd"], "event_timestamp": [AS_OF], "turnover": [-1.0]})
    made = guard.training_set(rows, "shop_v1", full_feature_names=True)
    entry = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "turnover", "min_value": 0}}
    path = suite_path(guard.path, "shop_v1")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"name": "shop_v1", "expectations": [entry]}))
    assert check_training(guard, guard.service("shop_v1"), made.table).findings == ()
    assert len(check_training(guard, guard.service("shop_v1"), made.table.rename_columns(
        ["home_shop", "event_timestamp", "home__turnover", "turnover"])).findings) == 1  # fmt: skip


def test_a_training_set_without_a_feature_says_so(guard: SkewGuard) -> None:
    table = pa.table({"sale": [1.0], "euro": [1.1]})
    found = guard.propose_suite("till_v1", training_set=table)
    assert "left out: sales: no such column in the training set; did you mean 'sale'?" in found.remarks
    assert parse_suite(found.document).columns == ("euro",)
    with pytest.raises(BadInputError, match="features of 'till_v1', such as sales"):
        guard.propose_suite("till_v1", training_set=pa.table({"x": [1]}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": 0}, "rows: got 0"),
        ({"entity_df": entity_rows(2), "training_set": entity_rows(2)}, "one of the two"),
        ({"entity_df": entity_rows(1)[:0]}, "no rows"),
        ({"as_of": AS_OF - timedelta(days=999)}, "no rows of an entity at 2023"),
        ({"training_set": "none.parquet"}, "no such file"),
    ],
)
def test_bad_input_is_named(guard: SkewGuard, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        guard.propose_suite("till_v1", **arguments)


def test_a_renamed_key_is_called_as_the_service_calls_it(guard: SkewGuard) -> None:
    found = guard.propose_suite("shop_v1", rows=20)
    assert found.told.startswith("20 rows made from the sources: 4 entities")
    assert "home_shop" in parse_suite(found.document).columns


@pytest.mark.parametrize(("write", "service", "least"), [(write_sales, SALES, 40), (write_wide, WIDE, 140)])
def test_other_shapes(tmp_path: Path, write: Any, service: str, least: int) -> None:
    """Composite and text keys, views of other keys, no TTL, lists; fifty features, a view without entities."""
    guard = SkewGuard(write(tmp_path / "repo", 120), clock=lambda: NOW)
    found = guard.propose_suite(service, rows=600).save()
    assert len(load_suite(found.path).rules) > least
    assert all(e["notes"] for e in found.document["expectations"])
    again = guard.propose_suite(service, rows=600)
    assert (again.exists, again.changes) == (True, ())


def test_a_service_of_a_view_without_entities_alone(guard: SkewGuard) -> None:
    whole = guard.service("till_v1")
    rates = ServiceDef("rates_v1", tuple(p for p in whole.projections if p.name == "rates"))
    from skewguard.profiled_rows import from_sources

    found = from_sources(guard, rates, AS_OF, 50)
    assert (found.keys, found.table.column_names) == ((), ["event_timestamp", "euro"])
    assert found.table.column("euro").null_count == 0


def test_two_features_of_one_name_are_told_by_their_views(guard: SkewGuard) -> None:
    service = guard.service("shop_v1")
    twice = ServiceDef("s", (*service.projections, guard.service("till_v1").projections[1]))
    from skewguard.profiled_rows import from_sources

    found = from_sources(guard, twice, AS_OF, 20)
    assert set(found.table.column_names) == {
        "home_shop", "shop_id", "event_timestamp", "home__turnover", "shop_stats__turnover",
    }  # fmt: skip


def test_a_file_that_changed_meanwhile_stays(guard: SkewGuard) -> None:
    found = guard.propose_suite("shop_v1", rows=20)
    found.path.parent.mkdir(exist_ok=True)
    found.path.write_text("mine")
    with pytest.raises(SuiteError, match="changed while it was compared"):
        found.save()
    assert found.path.read_text() == "mine"
    with pytest.raises(SuiteError, match="not JSON"):
        guard.propose_suite("shop_v1", rows=20)
    assert [p.name for p in found.path.parent.iterdir()] == ["shop_v1.json"]


def test_a_proposal_from_fewer_rows_says_so(guard: SkewGuard) -> None:
    def told(rows: int, *, apply: bool = False) -> bool:
        found = guard.propose_suite("till_v1", rows=rows).save(apply=apply)
        return any("fewer rows show less" in remark for remark in found.remarks)

    assert not told(400)
    assert told(20)
    assert not told(400)
    assert told(20, apply=True)
    assert not told(20)  # as many as the last time
    suite_path(guard.path, "till_v1").unlink()


def test_a_service_named_like_a_path_stays_in_its_folder(tmp_path: Path) -> None:
    assert suite_path(tmp_path, "../x").parent == tmp_path / "expectations"


def test_the_first_policy_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "skewguard.yaml").write_text(FIRST_POLICY)
    assert load_policy(tmp_path).for_service("x") == Policy().for_service("x")
    # every key in the comments is one that is read, and what is said to be a default is one
    lines = [line.removeprefix("# ") for line in FIRST_POLICY.splitlines()]
    keys = yaml.safe_load("\n".join(line for line in lines if re.match(r" *[a-z_]+:( |$)", line)))
    assert len(keys) == 11, sorted(keys)
    plain = Policy().for_service("x")
    for key in ("training", "serving", "inconclusive", "verdict_max_age", "severities", "min_coverage"):
        assert Policy({key: keys[key]}).for_service("x") == plain
    Policy({key: value for key, value in keys.items() if key != "version"})


class Cli:
    """Runs verbs in this process, as the installed command does."""

    def __init__(self, repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.repo, self._patch, self._capsys = repo, monkeypatch, capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self._patch.setattr(sys, "argv", ["skewguard", "init", "--repo", str(self.repo), *words])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = self._capsys.readouterr()
        return int(caught.value.code or 0), out, err


@pytest.fixture
def cli(guard: SkewGuard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(guard.path, monkeypatch, capsys)


WHEN = ("--as-of", AS_OF.isoformat(), "--rows", "300")


def test_the_life_of_a_suite_by_command_line(cli: Cli) -> None:
    code, out, err = cli(*WHEN)
    assert (code, err) == (0, "")
    assert "skewguard.yaml: written" in out
    assert "till_v1.json: written, 31 expectations" in out
    assert {p.name for p in (cli.repo / "expectations").iterdir()} == {"till_v1.json", "shop_v1.json"}

    path = cli.repo / "expectations" / "till_v1.json"
    policy = cli.repo / "skewguard.yaml"
    policy.write_text("version: 1  # mine\n")
    code, out, _ = cli(*WHEN)
    assert code == 0
    assert out.count("nothing new") == 2
    assert policy.read_text() == "version: 1  # mine\n"

    suite = json.loads(path.read_text())
    edited = next(e for e in suite["expectations"] if e["type"].endswith("be_in_set"))
    edited["kwargs"]["value_set"] = ["A"]
    removed = suite["expectations"].pop(0)
    path.write_text(json.dumps(suite))
    before = path.read_bytes()
    earlier = ("--as-of", (AS_OF - timedelta(hours=40)).isoformat(), "--rows", "300", "--service", "till_v1")
    code, out, _ = cli(*earlier)
    assert code == 0
    assert "--apply takes them" in out
    assert path.read_bytes() == before
    code, out, _ = cli(*earlier, "--apply", "--json")
    (told,) = json.loads(out)["services"]
    assert (code, told["written"]) == (0, True)
    assert {c["kind"] for c in told["changes"]} >= {"changed", "edited", "removed"}
    after = json.loads(path.read_text())
    assert edited in after["expectations"]
    assert removed["type"] not in {e["type"] for e in after["expectations"]}
    assert path.read_bytes() != before
    code, out, _ = cli(*earlier, "--apply")
    assert "0 proposals, 2 differences that are yours and stay" in out
    assert "yours, value_set=['A'], stays" in out


def test_one_service_that_cannot_be_profiled_keeps_no_other_from_it(cli: Cli) -> None:
    source = cli.repo / "data" / "till.parquet"
    hidden = source.with_suffix(".gone")
    source.rename(hidden)
    try:
        code, out, err = cli(*WHEN)
    finally:
        hidden.rename(source)
    assert code == 2
    assert "shop_v1.json: written" in out
    assert "till_v1: no proposal: " in err
    assert "till.parquet" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--training-set", "t.parquet"], "name one with --service"),
        (["--service", "till_v2"], "Did you mean 'till_v1'?"),
        (["--as-of", "soon"], "as_of: got 'soon'"),
        (["--service", "till_v1", "--from-gx", "/none"], "no such file or folder"),
    ],
)
def test_wrong_use(cli: Cli, words: list[str], message: str) -> None:
    code, _, err = cli(*words)
    assert code == 2
    assert message in err
    assert not list((cli.repo / "expectations").glob("*"))


def test_a_proposal_holds_of_the_rows_that_it_is_from(guard: SkewGuard) -> None:
    table = pq.read_table(guard.path / "data" / "shop.parquet").rename_columns(
        ["home_shop", "turnover", "event_timestamp"]
    )
    found = guard.propose_suite("shop_v1", training_set=table)
    assert validate(table, parse_suite(found.document)).success
