"""Every verb on a generated repository: what it prints, what it leaves, and its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from skewguard.cli import main
from tests.repos import AS_OF, entity_rows, write_repo

NOW = AS_OF.isoformat()


@pytest.fixture
def repo(tmp_path: Path, clean_redis: Any) -> Path:
    return write_repo(tmp_path / "repo", clean_redis.connection_string)


class Cli:
    """Runs verbs in this process, as the installed command does."""

    def __init__(self, repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.repo, self._patch, self._capsys = repo, monkeypatch, capsys

    def __call__(self, *words: str, repo: bool = True) -> tuple[int, str, str]:
        where = ["--repo", str(self.repo)] if repo else []
        self._patch.setattr(sys, "argv", ["skewguard", *words, *where])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = self._capsys.readouterr()
        code = caught.value.code
        return (0 if code is None else int(code)), out, err


@pytest.fixture
def cli(repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(repo, monkeypatch, capsys)


def test_the_whole_day_by_command_line(cli: Cli, tmp_path: Path) -> None:
    assert cli("apply")[0] == 0
    rows = tmp_path / "rows.parquet"
    entity_rows().to_parquet(rows)
    output = tmp_path / "train.parquet"
    words = ["training-set", "--entity-rows", str(rows), "--service", "till_v1", "--output", str(output), "--json"]
    code, out, _ = cli(*words)
    summary = json.loads(out)
    assert (code, summary["rows"], pq.read_metadata(output).num_rows) == (0, 20, 20)
    assert json.loads(output.with_suffix(".contract.json").read_text())["digest"] == summary["contract"]

    code, out, _ = cli("materialize", "--as-of", NOW, "--dry-run")
    assert code == 0
    assert "would change" in out
    assert cli("check", "--service", "till_v1", "--as-of", NOW)[0] == 1  # a dry run wrote nothing
    code, out, _ = cli("materialize", "--as-of", NOW, "--json")
    assert (code, {r["view"]: r["rows"] for r in json.loads(out)}) == (
        0,
        {"till_stats": 80, "shop_stats": 4, "rates": 1},
    )

    code, out, _ = cli("check", "--service", "till_v1", "--as-of", NOW, "--json")
    assert (code, json.loads(out)[0]["verdict"]) == (0, "pass")
    code, out, _ = cli(
        "drill", "missing_online", "--service", "till_v1", "--as-of", NOW, "--share", "0.2", "--yes-live"
    )
    assert code == 0
    assert "missing_online" in out
    code, out, _ = cli("nightly", "--as-of", NOW)
    assert code == 1
    assert "missing_online" in out
    assert cli("training-set", *words[1:])[0] == 1

    code, out, _ = cli("repair", "--service", "till_v1", "--as-of", NOW)
    assert code == 0
    assert "Nothing was changed" in out
    assert cli("check", "--service", "till_v1", "--as-of", NOW)[0] == 1
    assert cli("repair", "--service", "till_v1", "--as-of", NOW, "--yes")[0] == 0
    assert cli("check", "--service", "till_v1", "--as-of", NOW)[0] == 0

    page = tmp_path / "report.html"
    code, out, _ = cli("report", "--service", "till_v1", "--output", str(page))
    assert code == 0
    assert page.read_text().startswith("<!doctype html>")
    code, out, _ = cli("history", "--service", "till_v1", "--json")
    verdicts = [run["verdict"] for run in json.loads(out)]
    assert (verdicts[0], set(verdicts)) == ("pass", {"pass", "block"})


def test_drills_by_command_line(cli: Cli, tmp_path: Path) -> None:
    cli("apply")
    code, out, _ = cli("drill", "--list", repo=False)
    assert code == 0
    assert "transform_divergence" in out.split("no drill:")[1]
    before = sorted(cli.repo.rglob("*"))
    words = ["drill", "unit_scale", "timezone_shift", "--service", "till_v1", "--as-of", NOW, "--share", "0.2"]
    code, out, _ = cli(*words, "--json")
    assert code == 0
    (found,) = json.loads(out)["drills"]
    assert [item["cause"] for item in found["injected"]] == ["unit_scale", "timezone_shift"]
    assert sorted(cli.repo.rglob("*")) == before
    code, out, _ = cli(*words, "--out", str(tmp_path / "incidents"))
    assert code == 0
    assert "seen: till_stats." in out
    assert "## Since when" in (tmp_path / "incidents" / "001-unit_scale-timezone_shift.md").read_text()


@pytest.mark.slow
def test_all_drills_by_command_line(cli: Cli) -> None:
    cli("apply")
    code, out, _ = cli("drill", "--all", "--service", "shop_v1", "--as-of", NOW, "--share", "1")
    assert code == 0
    assert "not drilled in shop_v1: timezone_shift (needs a UnixTimestamp feature)" in out
    (folder,) = (cli.repo / ".skewguard" / "drills").iterdir()
    assert (folder / "index.md").read_text().count("| yes | ") == len(list(folder.glob("0*.md"))) == 12


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["check", "--service", "nope"], 2, "Unknown feature service 'nope'"),
        (["check", "--as-of", "soon"], 2, "as_of: got 'soon'"),
        (["materialize", "--view", "till_stat"], 2, "Did you mean 'till_stats'?"),
        (["materialize", "--start", "2027-01-01", "--as-of", "2026-01-01"], 2, "start: got"),
        (["training-set", "--entity-rows", "none.csv", "--service", "till_v1", "--output", "o"], 2, "no such file"),
        (["report", "--service", "till_v1"], 2, "run of 'till_v1'"),
        (["drill", "late_arrival", "--service", "till_v1", "--yes-live"], 2, "which changes offline rows"),
        (["drill", "missing_online", "--all"], 2, "causes beside --all"),
        (["drill"], 2, "or --all, or --list"),
        (["drill", "missing_online", "--share", "0"], 2, "--share: got 0"),
        (["drill", "timezone_shift", "--service", "shop_v1", "--as-of", NOW], 2, "needs a UnixTimestamp feature"),
        (["drill", "missing_onlin", "--service", "till_v1", "--yes-live"], 2, "Did you mean 'missing_online'?"),
    ],
)
def test_wrong_use_is_told_in_one_message(cli: Cli, words: list[str], code: int, message: str) -> None:
    cli("apply")
    got, _, err = cli(*words)
    assert got == code
    assert message in err
    assert "Traceback" not in err


def test_broken_repositories_are_named(cli: Cli, repo: Path) -> None:
    cli("apply")
    (repo / "skewguard.yaml").write_text("trainin: block\n")
    code, _, err = cli("check")
    assert (code, "Did you mean 'training'?" in err) == (2, True)
    (repo / "skewguard.yaml").unlink()
    (repo / "data" / "till.parquet").write_bytes(b"PAR1 no")
    code, _, err = cli("materialize", "--as-of", NOW)
    assert (code, "till.parquet" in err, "till_stats" in err) == (2, True, True)
    (repo / "data" / "till.parquet").unlink()
    code, out, _ = cli("check", "--service", "till_v1", "--as-of", NOW)
    assert code in (1, 3)
    assert "till.parquet" in out or "never materialized" in out
    (repo / "registry.db").write_bytes(b"\x00garbage")
    code, _, err = cli("check")
    assert (code, "registry" in err.lower()) == (2, True)
    config = yaml.safe_load((repo / "feature_store.yaml").read_text())
    config["online_store"]["connection_string"] = "127.0.0.1:1"
    (repo / "feature_store.yaml").write_text(yaml.safe_dump(config))
    (repo / "registry.db").unlink()
    write_repo(repo.parent / "again", "127.0.0.1:1")
    cli.repo = repo.parent / "again"
    cli("apply")
    code, _, err = cli("materialize", "--as-of", NOW)
    assert (code, "127.0.0.1:1" in err) == (3, True)
    (cli.repo / "feature_store.yaml").unlink()
    code, _, err = cli("check")
    assert (code, "No feature_store.yaml" in err) == (2, True)


def test_preflight_needs_no_online_store_and_leaves_nothing(cli: Cli, repo: Path) -> None:
    cli("apply")
    text = (repo / "feature_store.yaml").read_text()
    config = yaml.safe_load(text)
    config["online_store"]["connection_string"] = "127.0.0.1:1"
    (repo / "feature_store.yaml").write_text(yaml.safe_dump(config))
    left = sorted((repo / ".skewguard").rglob("*"))
    assert cli("preflight", "--as-of", NOW)[:2] == (0, "PASS  shop_v1: nothing found\nPASS  till_v1: nothing found\n")
    frame = pq.read_table(repo / "data" / "till.parquet")
    pq.write_table(frame.drop_columns(["items"]), repo / "data" / "till.parquet")
    code, out, _ = cli("preflight", "--service", "till_v1", "--as-of", NOW)
    assert (code, "block   missing_column: till_stats: no column 'items'" in out) == (1, True)
    code, out, _ = cli("preflight", "--as-of", NOW, "--json")
    assert (code, {r["service"]: r["verdict"] for r in json.loads(out)}) == (1, {"shop_v1": "pass", "till_v1": "block"})
    (repo / "data" / "till.parquet").unlink()
    code, out, _ = cli("preflight", "--service", "till_v1", "--as-of", NOW)
    assert (code, "could not be read" in out) == (3, True)
    assert sorted((repo / ".skewguard").rglob("*")) == left


def test_two_nights_never_overlap(cli: Cli, repo: Path) -> None:
    from skewguard.nightly import only_one

    cli("apply")
    with only_one(repo / ".skewguard"):
        code, _, err = cli("nightly")
    assert (code, "another nightly run" in err) == (3, True)


def test_a_rule_on_a_column_that_is_not_served_is_told_with_the_nearest_name(cli: Cli, repo: Path) -> None:
    suite = {
        "name": "till_v1",
        "expectations": [
            {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "saless"}},
            {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "till_no"}},
        ],
    }
    (repo / "expectations").mkdir(exist_ok=True)
    (repo / "expectations" / "till_v1.json").write_text(json.dumps(suite))
    code, _, err = cli("apply")
    assert code == 0
    assert err.count("is not asked of answers") == 1
    assert "'saless' (did you mean 'sales'?)" in err


def test_help_needs_no_heavy_import() -> None:
    code = (
        "import sys; from skewguard.cli import app; print(','.join(m for m in ('feast','duckdb') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_one_feature_through_the_runs(cli: Cli) -> None:
    cli("apply")
    cli("materialize", "--as-of", NOW)
    cli("check", "--service", "till_v1", "--as-of", NOW)
    code, out, _ = cli("history", "--service", "till_v1", "--feature", "till_stats:sales", "--json")
    (point,) = json.loads(out)
    assert (code, point["mismatch"], point["drift"]) == (0, 0.0, None)
    code, out, _ = cli("history", "--service", "till_v1", "--feature", "till_stats:sales")
    assert "mismatch 0.00%" in out
    code, _, err = cli("history", "--service", "till_v1", "--feature", "till_stats:sale")
    assert (code, "till_stats:sales" in err) == (2, True)


def test_incidents_silences_and_metrics_by_command_line(cli: Cli, tmp_path: Path) -> None:
    cli("apply")
    cli("check", "--service", "till_v1", "--as-of", NOW)  # nothing is materialized
    code, out, _ = cli("incidents")
    assert (code, "was never materialized" in out) == (0, True)
    code, out, _ = cli("incidents", "--json")
    assert {i["cause"] for i in json.loads(out)} >= {"never_materialized"}
    assert cli("incidents", "--service", "shop_v1")[1].strip() == "No open incident."
    code, out, _ = cli("silence", "till_v1", "--reason", "a move", "--for", "3d", "--cause", "never_*")
    assert (code, out.startswith("Silent until ")) == (0, True)
    assert cli("silence", "till_v1", "--reason", "x", "--for", "soon")[0] == 2
    code, out, _ = cli("override", "till_v1", "--for", "2h", "--reason", "a move", "--gate", "training", "--json")
    assert (code, json.loads(out)["gate"], json.loads(out)["reason"]) == (0, "training", "a move")
    for wrong in (["--for", "2h"], ["--reason", "x"], ["--for", "soon", "--reason", "x"],
                  ["--for", "1h", "--reason", " "],
                  ["--for", "31d", "--reason", "x"], ["--for", "1h", "--reason", "x", "--gate", "door"]):  # fmt: skip
        assert cli("override", "till_v1", *wrong)[0] == 2
    assert cli("override", "till_v2", "--end")[0] == 2
    assert cli("override", "till_v1", "--end")[1] == "Ended: training of till_v1 (a move)\n"
    assert cli("override", "till_v1", "--end")[1] == "No override is in force.\n"
    code, out, _ = cli("metrics")
    assert 'skewguard_run_verdict{service="till_v1",verdict="block"} 1.0' in out
    assert cli("metrics", "--output", str(tmp_path / "m.prom"))[0] == 0
    assert (tmp_path / "m.prom").read_text() == out
