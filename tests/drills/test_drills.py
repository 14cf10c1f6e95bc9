"""Drills in a scratch copy: every fault is seen as what it is, and nothing of the user's is touched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from benchmarks.drill_repos import NOW, SALES, WIDE, write_sales, write_wide
from skewguard import SkewGuard
from skewguard.config import Policy
from skewguard.drill import FAULTS, NO_FAULT, Drills, on_different_features, on_one_feature, prove
from skewguard.drilling import confusion, drill_once, drill_services, matrix_lines
from skewguard.errors import BadInputError, UnknownNameError
from skewguard.findings import Cause
from skewguard.incident import incident, write_incidents
from skewguard.online.embedded import EmbeddedRedis
from skewguard.scratch import Scratch
from tests.repos import AS_OF, write_repo

UNREACHABLE = "127.0.0.1:1"


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> SkewGuard:
    """A repository whose own Redis is not there: a drill does not need it."""
    guard = SkewGuard(write_repo(tmp_path_factory.mktemp("drills") / "repo", UNREACHABLE))
    guard.feast.apply()
    return guard


@pytest.fixture(scope="module")
def drills(repo: SkewGuard) -> Iterator[Drills]:
    with Scratch(repo, "till_v1", AS_OF) as scratch:
        yield Drills(repo, "till_v1", AS_OF, scratch)


def digest_of(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def content_of(redis: EmbeddedRedis) -> dict[bytes, dict[bytes, bytes]]:
    client = redis.client()
    return {key: client.hgetall(key) for key in client.keys("*")}


def test_every_cause_has_a_drill_or_a_reason_for_none() -> None:
    states = {"expectation_failed", "expectation_broken", "contract_missing", "definition_risk"}
    assert {*FAULTS, *NO_FAULT} == {cause.value for cause in Cause} - states
    assert not {*FAULTS} & {*NO_FAULT}


def test_a_copy_is_clean(drills: Drills) -> None:
    assert drills.findings(["parity", "freshness", "definition"]) == {}


@pytest.mark.parametrize(
    "name", ["late_arrival", "orphan_online", "ahead_of_offline", "unit_scale", "never_materialized", "leakage"]
)
def test_a_drill_is_seen_mended_and_undone(drills: Drills, name: str) -> None:
    outcome = drill_once(drills, [name], 0.2)
    assert outcome.holds, (outcome.proof, outcome.mended)
    assert outcome.mended.says == ("elsewhere" if name in ("ahead_of_offline", "leakage") else "mended")
    assert drills.findings(["parity", "freshness", "definition"]) == {}


@pytest.mark.slow
def test_every_drill_holds_over_the_till_repository(drills: Drills) -> None:
    outcomes = [drill_once(drills, [name], 0.05) for name in FAULTS]
    assert [(o.proof.name, o.proof.new, o.mended.left) for o in outcomes if not o.holds] == []
    matrix = confusion(outcomes)
    assert all(row[cause] == row["rows"] and row["elsewhere"] == 0 for cause, row in matrix.items())


@pytest.mark.slow
@pytest.mark.parametrize(("write", "service"), [(write_sales, SALES), (write_wide, WIDE)])
def test_every_drill_holds_over_other_shapes(tmp_path: Path, write: object, service: str) -> None:
    guard = SkewGuard(write(tmp_path / "repo", 400))  # type: ignore[operator]
    with Scratch(guard, service, NOW) as scratch:
        drills = Drills(guard, service, NOW, scratch)
        fitting = [name for name, fits in drills.places(list(FAULTS)).items() if fits]
        assert {*FAULTS} - {*fitting} <= {"expired_but_served"}
        outcomes = [drill_once(drills, [name], 1.0, mending=False) for name in fitting]
        assert [(o.proof.name, o.proof.new) for o in outcomes if not o.holds] == []


@pytest.mark.parametrize(
    "names",
    [("constant_offset", "type_cast"), ("unit_scale", "corrupt_value", "blocked_correction"),
     ("category_recode", "string_normalization"), ("not_materialized", "late_arrival", "blocked_correction")],
)  # fmt: skip
def test_several_on_one_feature_are_each_named(drills: Drills, names: tuple[str, ...]) -> None:
    fits = on_one_feature(drills.places(names))
    assert fits is not None
    assert len({fit.feature for fit in fits.values()} - {None}) == 1
    assert drills.scratch is not None
    proof = drills.prove(names, 0.3, fits)
    drills.scratch.restore()
    assert proof.holds, proof.new
    assert {seen.injection.cause.value for seen in proof.seen} == {*names}


def test_several_on_different_features_are_each_named(drills: Drills) -> None:
    names = ("unit_scale", "timezone_shift", "category_recode", "not_materialized")
    fits = on_different_features(drills.places(names))
    assert fits is not None
    features = [fit.feature for fit in fits.values() if fit.feature is not None]
    assert len(set(features)) == len(features) == 3
    assert drills.scratch is not None
    proof = drills.prove(names, 0.25, fits)
    drills.scratch.restore()
    assert proof.holds, proof.new


def test_nothing_of_the_users_is_changed(tmp_path: Path, clean_redis: EmbeddedRedis) -> None:
    guard = SkewGuard(write_repo(tmp_path / "repo", clean_redis.connection_string))
    guard.feast.apply()
    guard.materialize(as_of=AS_OF)
    guard.check("till_v1", as_of=AS_OF)
    files, stored = digest_of(tmp_path), content_of(clean_redis)
    assert len(files) > 8
    assert len(stored) > 80
    sets = [["missing_online"], ["late_arrival"], ["orphan_online"], ["source_defect"], ["definition_changed"],
            ["never_materialized"], ["unit_scale", "corrupt_value"]]  # fmt: skip
    report = drill_services(guard, ["till_v1"], sets, [1.0], AS_OF)
    assert report.holds
    assert len(report.outcomes) == len(sets)
    assert digest_of(tmp_path) == files
    assert content_of(clean_redis) == stored


def test_a_big_store_is_copied_in_part(repo: SkewGuard) -> None:
    with Scratch(repo, "till_v1", AS_OF, most_entities=48) as scratch:
        drills = Drills(repo, "till_v1", AS_OF, scratch)
        (note,) = scratch.notes
        assert note.startswith("till_stats: a sample of ")
        assert note.endswith(" of 96 entities, by entity hash")
        assert drills.findings(["parity"]) == {}
        assert 20 < drills.views[0].live.num_rows < 60
        for name in ("orphan_online", "unit_scale", "blocked_correction"):
            assert drill_once(drills, [name], 0.2).holds


@pytest.mark.parametrize("most_entities", [1000, 48])
def test_a_folder_of_files_is_copied_as_one(tmp_path: Path, most_entities: int) -> None:
    folder = write_repo(tmp_path / "repo", UNREACHABLE)
    source = folder / "data" / "till.parquet"
    with duckdb.connect() as con:
        rows = con.execute(f"SELECT * FROM '{source}'").to_arrow_table()
        source.unlink()
        for n, part in enumerate((rows.slice(0, 100), rows.slice(100))):
            place = source / f"day={n}"
            place.mkdir(parents=True)
            con.register("part", part)
            con.execute(f"COPY part TO '{place}/rows.parquet' (FORMAT parquet)")
    guard = SkewGuard(folder)
    guard.feast.apply()
    files = digest_of(folder)
    with Scratch(guard, "till_v1", AS_OF, most_entities=most_entities) as scratch:
        drills = Drills(guard, "till_v1", AS_OF, scratch)
        assert drills.findings(["parity"]) == {}
        assert drill_once(drills, ["late_arrival"], 0.2).holds
    assert digest_of(folder) == files


def test_a_fault_that_does_not_hold_is_told(drills: Drills) -> None:
    """Nulls for a text that a third of the rows have: three of them may be by accident, as the guard says."""
    places = drills.places(["null_default"])["null_default"]
    scratch = drills.scratch
    assert scratch is not None
    label = next(fit for fit in places if fit.feature == "label")
    proof = drills.prove(["null_default"], 0.01, {"null_default": replace(label, minimum=3)})
    scratch.restore()
    assert not proof.holds
    assert [f.cause for f in proof.others] == [Cause.UNEXPLAINED]


def test_the_write_up_has_the_figures_of_the_run(drills: Drills, tmp_path: Path) -> None:
    outcome = drill_once(drills, ["out_of_order_write"], 0.2)
    text = incident(outcome)
    finding = outcome.proof.seen[0].found
    assert finding is not None
    for part in ("## What happened", "## How it was seen", "## Since when", "## What was done", finding.message,
                 "plan: till_stats: write the expected values of 16 rows", "repaired till_stats: 16 rows written",
                 "the guard found nothing of it any more", "watermark is 2026-09-01T12:00:01Z"):  # fmt: skip
        assert part in text
    assert text.count("| shop_id=") == 2
    report = drill_services(drills.guard_of_copy(), ["shop_v1"], [["missing_online"], ["timezone_shift"]], [0.5], AS_OF)
    index, *pages = write_incidents(report, tmp_path / "out")
    assert [page.name for page in pages] == ["001-missing_online.md"]
    assert "shop_v1, `timezone_shift`: it needs a UnixTimestamp feature" in index.read_text()
    assert json.loads((tmp_path / "out" / "drills.json").read_text())["drills"][0]["holds"] is True


def test_the_matrix_shows_what_was_taken_for_what() -> None:
    matrix = {"unit_scale": {"rows": 12, "elsewhere": 1, "unexplained": 12},
              "type_cast": {"rows": 5, "elsewhere": 0, "type_cast": 5}}  # fmt: skip
    lines = matrix_lines(matrix)
    assert lines[0].split() == ["injected", "rows", "1", "2", "3", "elsewhere"]
    assert lines[1].split() == ["1", "unit_scale", "12", ".", ".", "12", "1"]
    assert lines[2].split() == ["2", "type_cast", "5", ".", "5", ".", "."]
    assert lines[3] == "3 = unexplained"


@pytest.mark.parametrize(
    ("names", "error", "says"),
    [
        (["lost_key"], UnknownNameError, "Unknown cause to drill 'lost_key'"),
        (["unexplained"], BadInputError, "what is left when no cause fits"),
        (["leakage", "unit_scale"], BadInputError, "it alone"),
    ],
)
def test_what_cannot_be_drilled_is_refused(drills: Drills, names: list[str], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        drills.prove(names, 0.1)


def test_a_moment_without_live_rows_is_refused(repo: SkewGuard) -> None:
    late = AS_OF.replace(year=2036)
    guard = SkewGuard(repo.path, policy=Policy({}))
    report = drill_services(guard, ["till_v1"], [["missing_online"]], [0.1], late)
    assert report.outcomes[0].proof.seen[0].injection.view == "shop_stats"  # which has no TTL
    with pytest.raises(BadInputError, match="inside their TTL"):
        drill_services(guard, ["till_v1"], [["missing_online"]], [0.1], AS_OF.replace(year=1990))


def test_a_live_store_takes_no_fault_of_the_source(repo: SkewGuard) -> None:
    with pytest.raises(BadInputError, match="late_arrival, which changes offline rows"):
        prove(repo, "till_v1", "unit_scale", "late_arrival", as_of=AS_OF)
