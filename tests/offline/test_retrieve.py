"""Features into memory and into a file, with progress, under a memory limit; the plan; ties by hand and in numbers."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from skewguard import SkewGuard
from skewguard.cli import app
from skewguard.definitions import Projection
from skewguard.errors import ConfigurationError
from skewguard.offline.asof import latest_rows, point_in_time, point_in_time_batches
from skewguard.offline.sources import connect
from skewguard.offline.statement import JoinOptions
from skewguard.offline.watched import watched
from tests.offline.cases import BASE, FEATURES, KEYS, view
from tests.repos import AS_OF, entity_rows, write_repo


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> SkewGuard:
    opened = SkewGuard(write_repo(tmp_path_factory.mktemp("features") / "repo", "localhost:1"), clock=lambda: AS_OF)
    opened.feast.apply()
    return opened


def test_a_file_holds_what_the_table_holds(guard: SkewGuard, tmp_path: Path) -> None:
    table = guard.historical_features(entity_rows(), "till_v1")
    assert isinstance(table, pa.Table)
    steps: list[int] = []
    rows = guard.historical_features(
        entity_rows(), "till_v1", output=tmp_path / "out" / "f.parquet", progress=lambda _, n: steps.append(n)
    )
    assert (rows, sum(steps)) == (table.num_rows, table.num_rows)
    assert pq.read_table(tmp_path / "out" / "f.parquet").equals(table)
    assert [f.name for f in (tmp_path / "out").iterdir()] == ["f.parquet"]
    trained = guard.training_set(entity_rows(), "till_v1", allow="only the values count here")
    assert trained.table.equals(table)


def test_an_error_in_the_middle_leaves_the_old_file(guard: SkewGuard, tmp_path: Path) -> None:
    output = tmp_path / "f.parquet"
    output.write_bytes(b"the old one")

    def stop(_step: str, _rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guard.historical_features(entity_rows(), "till_v1", output=output, progress=stop)
    assert output.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [output]


def test_the_plan_can_be_looked_at(guard: SkewGuard) -> None:
    plan = guard.explain(entity_rows(), "till_v1")
    assert plan.count("ASOF_JOIN") == len(guard.service("till_v1").projections)


def test_the_plan_reads_nothing_and_shows_every_step(guard: SkewGuard) -> None:
    plan = guard.explain(entity_rows(), "till_v1", filter_by_created_timestamp=True)
    views = len(guard.service("till_v1").projections)
    headings = [line for line in plan.splitlines() if line.startswith("-- ")]
    assert headings == ["-- table __found", *(f"-- table __best_v{n}" for n in range(views)), "-- result"]
    assert "CROSS_PRODUCT" not in plan
    assert "NESTED_LOOP" not in plan


def test_features_on_the_command_line(guard: SkewGuard, tmp_path: Path) -> None:
    rows, output = tmp_path / "rows.parquet", tmp_path / "features.parquet"
    pq.write_table(pa.Table.from_pandas(entity_rows(), preserve_index=False), rows)
    asked = ["features", "--repo", str(guard.path), "--entity-rows", str(rows), "--service", "till_v1"]
    plan = CliRunner().invoke(app, [*asked, "--explain"])
    assert (plan.exit_code, plan.stdout.count("ASOF_JOIN")) == (0, len(guard.service("till_v1").projections))
    assert not output.exists()
    done = CliRunner().invoke(app, [*asked, "--output", str(output), "--memory-limit", "500MB"])
    assert done.exit_code == 0, done.output
    assert pq.read_table(output).equals(guard.historical_features(rows, "till_v1"))


def test_a_join_leaves_the_connection_as_it_was(tmp_path: Path) -> None:
    projection = thousand(tmp_path / "v.parquet", 1000)
    with connect() as con:
        first = point_in_time(con, asked(50), [projection])
        some = next(iter(point_in_time_batches(con, asked(5000), [projection], JoinOptions(), rows=2048)))
        assert some.num_rows == 2048
        assert point_in_time(con, asked(50), [projection]).equals(first)
        assert con.execute("SELECT count(*) FROM duckdb_tables()").fetchone() == (0,)
        assert con.execute("SELECT current_setting('disabled_optimizers')").fetchone() == ("",)


def test_a_source_that_is_replaced_meanwhile_is_refused(tmp_path: Path) -> None:
    projection = thousand(tmp_path / "v.parquet", 1000)
    with connect() as con:
        parts = point_in_time_batches(con, asked(10_000), [projection], JoinOptions(), rows=2048)
        next(parts)
        thousand(tmp_path / "other.parquet", 900)
        (tmp_path / "other.parquet").replace(tmp_path / "v.parquet")
        with pytest.raises(ConfigurationError, match="changed while it was read"):
            list(parts)
        assert point_in_time(con, asked(10), [projection]).num_rows == 10


def thousand(path: Path, rows: int) -> Projection:
    stamps = [BASE - timedelta(hours=n) for n in range(rows)]
    table = pa.table(
        {
            "till": pa.array([n % 7 for n in range(rows)], pa.int64()),
            "event": pa.array(stamps, pa.timestamp("us", "UTC")),
            "created": pa.array(stamps, pa.timestamp("us", "UTC")),
            "sales": pa.array([float(n) for n in range(rows)]),
            "items": pa.array(range(rows), pa.int64()),
            "label": pa.array([str(n) for n in range(rows)]),
        }
    )
    pq.write_table(table, path)
    definition = view(path, keys=KEYS[1:])
    return Projection(definition, definition.features)


def asked(rows: int) -> pa.Table:
    at = [BASE - timedelta(minutes=n) for n in range(rows)]
    return pa.table(
        {
            "till": pa.array([n % 9 for n in range(rows)], pa.int64()),
            "event_timestamp": pa.array(at, pa.timestamp("us", "UTC")),
        }
    )


def test_batches_are_the_table_in_pieces(tmp_path: Path) -> None:
    projection = thousand(tmp_path / "v.parquet", 1000)
    with connect() as con:
        whole = point_in_time(con, asked(10_000), [projection])
        pieces = list(point_in_time_batches(con, asked(10_000), [projection], JoinOptions(), rows=2048))
    assert len(pieces) > 1
    assert pa.concat_tables(pieces).equals(whole)


def test_a_memory_limit_that_is_too_small_says_so(tmp_path: Path) -> None:
    projection = thousand(tmp_path / "v.parquet", 200_000)
    with connect("4MB", threads=1) as con, pytest.raises(ConfigurationError, match="memory_limit"):
        point_in_time(con, asked(200_000), [projection])


def test_progress_adds_up_and_ends_with_the_query(tmp_path: Path) -> None:
    told: list[int] = []
    with connect() as con:
        with watched(con, 1000, 1, lambda _, rows: told.append(rows)):
            con.execute("SELECT count(*) FROM range(30000000) a WHERE hash(range) % 3 = 1").fetchall()
        assert sum(told) == 1000
        assert con.execute("SELECT current_setting('enable_progress_bar')").fetchone() == (False,)


@pytest.mark.parametrize("files", [1, 3])
@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
def test_ties_few_many_and_across_files(tmp_path: Path, files: int, share: float) -> None:
    """The latest created wins, then the larger value; alike for a join and for materialization."""
    dice = random.Random(f"{files} {share}")
    rows: list[dict[str, Any]] = []
    for key in range(20):
        for hour in range(30):
            for _ in range(dice.randint(2, 4) if dice.random() < share else 1):
                created = dice.choice([None, BASE, BASE + timedelta(hours=1)])
                amount = dice.choice([None, float("nan"), 1.0, 2.0])
                stamp = BASE - timedelta(hours=hour)
                rows.append({"till": key, "event": stamp, "created": created, "sales": amount, "label": "x"})
    dice.shuffle(rows)
    folder = tmp_path / "v"
    folder.mkdir()
    schema = pa.schema(
        [
            ("till", pa.int64()),
            ("event", pa.timestamp("us", "UTC")),
            ("created", pa.timestamp("us", "UTC")),
            ("sales", pa.float64()),
            ("label", pa.string()),
        ]
    )
    for number in range(files):
        pq.write_table(pa.Table.from_pylist(rows[number::files], schema), folder / f"{number}.parquet")
    definition = view(folder, keys=KEYS[1:], features=[FEATURES[0], FEATURES[2]])

    def rank(row: dict[str, Any]) -> tuple[Any, ...]:
        amount = row["sales"]
        value = (-2, 0.0) if amount is None else (-1, 0.0) if amount != amount else (0, amount)
        return (row["event"], row["created"] is not None, row["created"] or BASE, value)

    def best(key: int, at: Any) -> Any:
        known = [row for row in rows if row["till"] == key and row["event"] <= at]
        return max(known, key=rank)["sales"] if known else None

    wanted = [(key, BASE - timedelta(hours=hour)) for key in range(22) for hour in range(0, 32, 3)]
    entity = pa.table(
        {
            "till": pa.array([k for k, _ in wanted]),
            "event_timestamp": pa.array([t for _, t in wanted], pa.timestamp("us", "UTC")),
        }
    )
    with connect() as con:
        joined = point_in_time(con, entity, [Projection(definition, definition.features[:1])])
        newest = latest_rows(con, definition, BASE)
    assert str(joined.column("sales").to_pylist()) == str([best(*pair) for pair in wanted])
    assert str(newest.column("sales").to_pylist()) == str([best(key, BASE) for key in range(20)])
