"""Suites of an existing GX context, which GX itself wrote, and of GX's own objects."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from skewguard.errors import SuiteError, UnknownNameError
from skewguard.expectations.gx_context import from_context, from_gx, read_context
from skewguard.expectations.suites import parse_suite

gx = pytest.importorskip("great_expectations")
import great_expectations.expectations as gxe  # noqa: E402
from great_expectations.expectations.row_conditions import Column  # noqa: E402


def suite(name: str, *more: Any) -> Any:
    return gx.ExpectationSuite(
        name,
        expectations=[
            gxe.ExpectColumnValuesToBeBetween(
                column="x", min_value=0, severity="warning", notes="why", row_condition=Column("y") == "a"
            ),
            gxe.ExpectColumnValuesToBeInSet(column="k", value_set=["a", "b"]),
            *more,
        ],
    )


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with a file context, its suites, and what using it leaves behind."""
    root = tmp_path_factory.mktemp("project")
    made = gx.get_context(mode="file", project_root_dir=root)
    made.suites.add(suite("one"))
    made.suites.add(suite("two.b", gxe.ExpectTableRowCountToBeBetween(min_value=1)))
    made.checkpoints.all()
    return root


@pytest.mark.parametrize("below", [".", "gx", "gx/expectations", "gx/expectations/one.json"])
def test_a_suite_is_read_from_anywhere_in_a_context(context: Path, below: str) -> None:
    found = from_context(context / below, "one")
    assert [(r.type, r.severity, r.notes) for r in found.rules] == [
        ("expect_column_values_to_be_between", "warning", "why"),
        ("expect_column_values_to_be_in_set", "critical", ""),
    ]
    assert found.digest == from_gx(suite("another name")).digest
    assert found.origin.endswith("one.json")


def test_its_defaults_are_written_out_and_it_stays_gxs(context: Path) -> None:
    document, _ = read_context(context, "two.b")
    stored = json.loads((context / "gx" / "expectations" / "two" / "b.json").read_text()) if (
        context / "gx" / "expectations" / "two" / "b.json"
    ).exists() else json.loads((context / "gx" / "expectations" / "two.b.json").read_text())  # fmt: skip
    assert "mostly" not in stored["expectations"][0]["kwargs"]
    assert document["expectations"][0]["kwargs"]["mostly"] == 1
    assert document["expectations"][0]["id"] == stored["expectations"][0]["id"]
    assert parse_suite(document).digest == parse_suite(stored).digest
    again = gx.ExpectationSuite(**document)
    assert from_gx(again).digest == parse_suite(stored).digest


def test_reading_opens_no_context(context: Path) -> None:
    """Files only: nothing of the context's configuration is run, no module of GX's contexts makes files."""
    before = sorted(p.relative_to(context) for p in context.rglob("*"))
    config = context / "gx" / "great_expectations.yml"
    text = config.read_text()
    config.write_text(text + "\nplugins_directory: ${NOT_SET}\ndata_docs_sites: {x: {class_name: No.Such}}\n")
    try:
        assert len(from_context(context, "one").rules) == 2
    finally:
        config.write_text(text)
    assert sorted(p.relative_to(context) for p in context.rglob("*")) == before


def test_which_suite_is_asked(context: Path) -> None:
    with pytest.raises(SuiteError, match=r"2 suites; name one with --suite: one, two\.b"):
        from_context(context)
    with pytest.raises(UnknownNameError, match="Did you mean 'one'"):
        from_context(context, "ones")


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


OLD = {"expectation_suite_name": "s", "expectations": [{"expectation_type": "expect_column_to_exist", "kwargs": {}}]}


@pytest.mark.parametrize(
    ("file", "value", "message"),
    [
        ("s.json", OLD, "a suite of GX 0.x"),
        ("s.json", "[]", "expected a suite with name and expectations"),
        ("s.json", "{", "not JSON"),
        ("s.json", {"name": "s", "expectations": [{"type": "expect_nothing", "kwargs": {}}]}, "unknown expectation"),
        (
            "s.json",
            {"name": "s", "expectations": [{"type": "expect_column_values_to_be_null",
                                            "kwargs": {"column": "x", "row_condition": "y > 1",
                                                       "condition_parser": "pandas"}}]},
            "text is evaluated as code",
        ),
        ("notes.txt", "x", "no suite there"),
        ("great_expectations.yml", "stores: [", "where its suites are cannot be read"),
        ("great_expectations.yml", "stores: {a: {store_backend: {class_name: DatabaseStoreBackend}}}\n"
                                   "expectations_store_name: a\n", "are in a DatabaseStoreBackend, not in files"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, file: str, value: Any, message: str) -> None:
    write(tmp_path / file, value)
    with pytest.raises(SuiteError) as caught:
        from_context(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_configuration_is_data(tmp_path: Path) -> None:
    write(tmp_path / "great_expectations.yml", "stores: !!python/object/apply:os.system ['touch /tmp/x']\n")
    with pytest.raises(SuiteError, match="could not determine a constructor"):
        from_context(tmp_path)


def test_taken_over_it_is_peoples_own(context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    from skewguard import SkewGuard
    from skewguard.cli import main
    from tests.repos import AS_OF, write_repo

    guard = SkewGuard(write_repo(tmp_path / "repo", "127.0.0.1:1"), clock=lambda: AS_OF)
    guard.feast.apply()
    words = ["init", "--repo", str(guard.path), "--service", "shop_v1", "--from-gx", str(context), "--suite", "one"]
    monkeypatch.setattr(sys, "argv", ["skewguard", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    told = capsys.readouterr().out
    assert caught.value.code in (0, None)
    assert "one.json, every argument written out" in told
    assert "'k' is no feature, join key or request data of 'shop_v1'; it is judged on training sets" in told
    path = guard.path / "expectations" / "shop_v1.json"
    taken = path.read_bytes()
    assert json.loads(taken)["name"] == "shop_v1"
    again = guard.take_over_suite("shop_v1", context, "one")
    assert again.changes == ()
    more = guard.propose_suite("shop_v1", rows=20)
    assert {c.kind for c in more.changes} == {"new"}  # what came from there is never changed by a profile
    after = json.loads(more.save(apply=True).path.read_text())
    assert [e for e in after["expectations"] if e in json.loads(taken)["expectations"]] == json.loads(taken)[
        "expectations"
    ]
    assert not any(c.applicable for c in guard.propose_suite("shop_v1", rows=20).changes)
