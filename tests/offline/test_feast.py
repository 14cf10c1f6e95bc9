"""The plug-in through Feast itself, against the plain reference and against Feast's own offline stores.

Where Feast's stores differ from the definition of a point-in-time join, a named test says how.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

from skewguard.errors import BadInputError, UnsupportedSourceError
from skewguard.feast_repo import FeastRepo
from tests.repos import AS_OF, entity_rows, write_repo

OURS = "skewguard.offline.store.SkewguardOfflineStore"
TILL = ["till_stats:sales", "till_stats:items", "till_stats:share", "till_stats:label", "till_stats:open"]
SHOP = ["shop_stats:turnover"]
RATE = ["rates:euro"]


def configure(folder: Path, offline: str) -> None:
    (folder / "feature_store.yaml").write_text(
        "project: other\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        f"offline_store:\n  type: {offline}\nonline_store:\n  type: sqlite\n  path: online.db\n",
        encoding="utf-8",
    )


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_repo(tmp_path_factory.mktemp("repo"), "unused:1")
    definitions = folder / "definitions.py"
    whole_days = definitions.read_text(encoding="utf-8").replace("hours=36", "days=1")  # see the named test below
    definitions.write_text(whole_days, encoding="utf-8")
    configure(folder, OURS)
    FeastRepo(folder).apply()
    return folder


@pytest.fixture
def stores(repo: Path) -> Iterator[dict[str, FeatureStore]]:
    """The same registry behind our store and Feast's two; Feast's DuckDB store reads paths from the working folder."""
    opened = {}
    for name, kind in (("ours", OURS), ("duckdb", "duckdb"), ("dask", "dask")):
        configure(repo, kind)
        opened[name] = FeatureStore(repo_path=str(repo))
    configure(repo, OURS)
    with contextlib.chdir(repo):
        yield opened


def ask(store: FeatureStore, rows: pd.DataFrame, features: Any, **options: Any) -> pd.DataFrame:
    return store.get_historical_features(rows, features, **options).to_df()


def comparable(table: pa.Table, names: list[str]) -> list[tuple[Any, ...]]:
    """Rows with null and NaN alike and floats as wide as float32, in a stable order."""
    rows = zip(*(table.column(name).to_pylist() for name in names), strict=True)
    return sorted((tuple(_plain(value) for value in row) for row in rows), key=repr)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return "null" if math.isnan(value) else float(np.float32(value))
    return "null" if value is None else value


def generated(seed: int, count: int = 60) -> pd.DataFrame:
    """Distinct entity rows: known and unknown keys, times beside the rows' own and beside their TTL edges."""
    random = np.random.default_rng(seed)
    till = random.integers(0, 9, size=count)
    edges = random.choice([60, 30, 10, 2], size=count) + till / 10 - random.choice([0, 24], size=count)
    times = [
        AS_OF - timedelta(hours=float(h)) + timedelta(microseconds=int(us))
        for h, us in zip(edges, random.integers(-1, 2, size=count), strict=True)
    ]
    rows = pd.DataFrame(
        {
            "shop_id": random.choice(["Äpfel", "b:c", "", "dd", "unknown"], size=count),
            "till_no": till,
            "event_timestamp": pd.to_datetime(times, utc=True),
        }
    ).drop_duplicates(ignore_index=True)
    return rows.assign(row=range(len(rows)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("other", "features"), [("duckdb", TILL + SHOP), ("duckdb", SHOP), ("dask", TILL)])
def test_same_answers_as_feasts_own_stores(
    stores: dict[str, FeatureStore], seed: int, other: str, features: list[str]
) -> None:
    rows = generated(seed)
    names = ["row", "shop_id", "till_no", *(f.split(":")[1] for f in features)]
    ours = stores["ours"].get_historical_features(rows, features).to_arrow()
    theirs = stores[other].get_historical_features(rows, features).to_arrow()
    assert ours.column("row").to_pylist() == rows["row"].tolist()
    last = ours.column(names[-1])
    assert 0 < last.null_count < len(last)
    lacking = set(rows["row"]) - set(theirs.column("row").to_pylist())
    assert not lacking or other == "dask"  # see the named test below; what it lacks has no features anyway
    mine = comparable(ours, names)
    assert all(set(row[3:]) == {"null"} for row in mine if row[0] in lacking)
    assert [row for row in mine if row[0] not in lacking] == comparable(theirs, names)


def test_the_whole_service_with_its_on_demand_view(stores: dict[str, FeatureStore]) -> None:
    rows = entity_rows(40)
    got = ask(stores["ours"], rows, stores["ours"].get_feature_service("till_v1"))
    assert len(got) == len(rows)
    live = got["sales"].notna()
    assert live.any()
    assert got.loc[live, "per_sale"].tolist() == (got["amount"] / got["sales"])[live].tolist()
    assert got["euro"].notna().any()
    last = pd.to_datetime(got.loc[live, "last"], utc=True)
    assert (last < pd.to_datetime(got.loc[live, "event_timestamp"], utc=True)).all()


def test_on_demand_features_alone_bring_no_others_along_wrongly(stores: dict[str, FeatureStore]) -> None:
    rows = entity_rows(10)
    got = ask(stores["ours"], rows, ["derived:per_sale", "till_stats:sales"])
    live = got["sales"].notna()
    assert got.loc[live, "per_sale"].tolist() == (got["amount"] / got["sales"])[live].tolist()


@pytest.mark.parametrize("full", [False, True])
def test_alias_and_renamed_join_key(stores: dict[str, FeatureStore], full: bool) -> None:
    rows = pd.DataFrame({"home_shop": ["dd", "unknown"], "event_timestamp": [AS_OF, AS_OF]})
    service = stores["ours"].get_feature_service("shop_v1")
    got = ask(stores["ours"], rows, service, full_feature_names=full)
    column = "home__turnover" if full else "turnover"
    assert got[column].tolist()[0] == 107.0 + 0.5
    assert got[column].isna().tolist() == [False, True]


def test_declared_types_come_out(stores: dict[str, FeatureStore]) -> None:
    table = (
        stores["ours"]
        .get_historical_features(entity_rows(), [*TILL, "till_stats:last", "till_stats:baskets"])
        .to_arrow()
    )
    types = {name: table.schema.field(name).type for name in ("items", "share", "label", "open", "last", "baskets")}
    assert types == {
        "items": pa.int64(),
        "share": pa.float32(),
        "label": pa.string(),
        "open": pa.bool_(),
        "last": pa.timestamp("us", "UTC"),
        "baskets": pa.list_(pa.float64()),
    }
    big = [v for v in table.column("items").to_pylist() if v is not None]
    assert max(big) > 2**53  # whole numbers never pass through a float


def test_materialize_puts_the_newest_row_of_the_window_online(stores: dict[str, FeatureStore]) -> None:
    store = stores["ours"]
    store.materialize(AS_OF - timedelta(days=20), AS_OF - timedelta(hours=5))
    keys = [{"shop_id": s, "till_no": t} for s in ("Äpfel", "b:c", "", "dd") for t in range(8)]
    online = store.get_online_features(TILL + SHOP + RATE, keys).to_dict()
    source = pd.read_parquet(Path(store.repo_path) / "data" / "till.parquet")
    source = source[source["at"] <= AS_OF - timedelta(hours=5)].sort_values("at")
    newest = source.groupby(["shop_id", "till_no"]).last()
    expected = [float(newest.loc[(k["shop_id"], k["till_no"]), "sales"]) for k in keys]
    # till 7 fell silent beyond the TTL, which Feast's SQLite store does not look at
    assert online["sales"] == expected
    assert online["euro"] == [1.2] * len(keys)
    assert online["turnover"] == [107.5] * len(keys)


def test_window_ends_belong_to_the_window(stores: dict[str, FeatureStore]) -> None:
    from feast.infra.offline_stores.offline_store import OfflineStore

    store = stores["ours"]
    view = store.get_feature_view("rates")
    kind: type[OfflineStore] = store._get_provider().offline_store.__class__
    first, second = AS_OF - timedelta(days=3), AS_OF - timedelta(days=1)
    tick = timedelta(microseconds=1)
    counts = {}
    for name, start, end in (("both", first, second), ("late", first + tick, second), ("early", first, second - tick)):
        job = kind.pull_all_from_table_or_query(
            store.config, view.batch_source, [], ["euro"], "event_timestamp", None, start, end
        )
        counts[name] = job.to_arrow().column("euro").to_pylist()
    assert counts == {"both": [1.1, 1.2], "late": [1.2], "early": [1.1]}


def test_saved_dataset(stores: dict[str, FeatureStore], tmp_path: Path) -> None:
    store = stores["ours"]
    job = store.get_historical_features(entity_rows(), SHOP)
    path = tmp_path / "saved.parquet"
    store.create_saved_dataset(job, "saved", SavedDatasetFileStorage(path=str(path)))
    assert pq.read_table(path).column("turnover").to_pylist() == job.to_arrow().column("turnover").to_pylist()


@pytest.mark.parametrize("entity_df", ["SELECT shop_id FROM shops", None])
def test_sql_text_and_no_entity_rows_are_refused(stores: dict[str, FeatureStore], entity_df: Any) -> None:
    options = {} if entity_df else {"start_date": AS_OF - timedelta(days=1), "end_date": AS_OF}
    with pytest.raises(BadInputError, match=r"entity_df: got .*expected a pandas DataFrame of entity rows"):
        stores["ours"].get_historical_features(entity_df, SHOP, **options)


def test_statement_and_metadata(stores: dict[str, FeatureStore]) -> None:
    job = stores["ours"].get_historical_features(entity_rows(), TILL)
    assert "ASOF LEFT JOIN" in job.to_sql()
    assert job.metadata is not None
    assert job.metadata.features == TILL
    assert job.metadata.max_event_timestamp <= AS_OF
    assert job.metadata.min_event_timestamp.tzinfo is not None


# What Feast's own stores do otherwise


def test_feast_dask_drops_duplicate_entity_rows_and_ours_keeps_them(stores: dict[str, FeatureStore]) -> None:
    rows = pd.concat([entity_rows(6)[["shop_id", "till_no", "event_timestamp"]]] * 2, ignore_index=True)
    distinct = len(rows.drop_duplicates())
    assert len(ask(stores["ours"], rows, SHOP)) == len(rows)
    assert len(ask(stores["dask"], rows, SHOP)) == distinct < len(rows)


def test_feast_dask_drops_entity_rows_without_a_valid_feature_row_and_ours_keeps_them(
    stores: dict[str, FeatureStore],
) -> None:
    early = AS_OF - timedelta(days=300)  # the keys have rows, all of them later
    rows = pd.DataFrame({"shop_id": ["dd", "dd"], "till_no": [1, 1], "event_timestamp": [early, AS_OF]})
    ours = ask(stores["ours"], rows, TILL)
    assert ours["sales"].isna().tolist() == [True, False]
    assert ask(stores["dask"], rows, TILL)["event_timestamp"].tolist() == [pd.Timestamp(AS_OF)]


def test_feast_duckdb_does_not_keep_the_order_and_ours_does(stores: dict[str, FeatureStore]) -> None:
    rows = generated(11, 200)
    assert ask(stores["ours"], rows, TILL)["row"].tolist() == rows["row"].tolist()
    theirs = ask(stores["duckdb"], rows, TILL)["row"].tolist()
    assert sorted(theirs) == rows["row"].tolist()
    assert theirs != rows["row"].tolist()


SMALL = """
from datetime import timedelta
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float32, Int64

card = Entity(name="card", join_keys=["card"], value_type=ValueType.INT64)
one = FeatureView(
    name="one", entities=[card], ttl=timedelta(days=2),
    source=FileSource(path="one.parquet", timestamp_field="event_timestamp", created_timestamp_column="made"),
    schema=[Field(name="card", dtype=Int64), Field(name="amount", dtype=Float32), Field(name="amount_y", dtype=Float32),
            Field(name="whole", dtype=Int64)],
)
mixed = FeatureView(
    name="mixed", entities=[card], ttl=timedelta(hours=36),
    source=FileSource(path="one.parquet", timestamp_field="event_timestamp", name="again"),
    schema=[Field(name="card", dtype=Int64), Field(name="whole", dtype=Int64)],
)
"""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[dict[str, FeatureStore]]:
    """One view: float32 declared over doubles, a feature that ends in _y, tied rows, naive nanosecond times."""
    (tmp_path / "definitions.py").write_text(SMALL, encoding="utf-8")
    at = [datetime(2026, 8, 30), datetime(2026, 8, 30), datetime(2026, 8, 31)]  # noqa: DTZ001 - naive, so UTC
    frame = pd.DataFrame(
        {
            "card": [1, 1, 2],
            "amount": [0.1, 0.2, 0.3],
            "amount_y": [1.1, 2.2, 3.3],
            "whole": [7.0, 8.0, float("nan")],
            "event_timestamp": pd.to_datetime(at).astype("datetime64[ns]"),
            "made": pd.to_datetime(at).astype("datetime64[ns]") + pd.to_timedelta([9, 5, 0], unit="h"),
        }
    )
    frame.to_parquet(tmp_path / "one.parquet")
    opened = {}
    for name, kind in (("ours", OURS), ("duckdb", "duckdb"), ("dask", "dask")):
        configure(tmp_path, kind)
        if not opened:
            FeastRepo(tmp_path).apply()
        opened[name] = FeatureStore(repo_path=str(tmp_path))
    with contextlib.chdir(tmp_path):
        yield opened


CARDS = pd.DataFrame({"card": [1, 2, 1], "event_timestamp": [AS_OF - timedelta(hours=d) for d in (30, 12, 0)]})


def test_feast_duckdb_loses_a_feature_that_ends_in_y_and_ours_has_it(small: dict[str, FeatureStore]) -> None:
    got = ask(small["ours"], CARDS, ["one:amount_y"])
    assert got["amount_y"].tolist()[:2] == [float(np.float32(1.1)), float(np.float32(3.3))]
    assert np.isnan(got["amount_y"].tolist()[2])  # two and a half days old
    with pytest.raises(Exception, match="amount_y"):
        ask(small["duckdb"], CARDS, ["one:amount_y"])


def test_feast_duckdb_leaves_float32_a_double_and_ours_declares_it(small: dict[str, FeatureStore]) -> None:
    ours = small["ours"].get_historical_features(CARDS, ["one:amount", "one:whole"]).to_arrow()
    theirs = small["duckdb"].get_historical_features(CARDS, ["one:amount", "one:whole"]).to_arrow()
    assert ours.schema.field("amount").type == pa.float32()
    assert ours.schema.field("whole").type == pa.int64()
    assert theirs.schema.field("amount").type == pa.float64()
    assert ours.column("whole").to_pylist() == [7, None, None]


def test_feast_duckdb_cannot_take_a_ttl_of_days_and_hours_and_ours_can(small: dict[str, FeatureStore]) -> None:
    assert ask(small["ours"], CARDS, ["mixed:whole"])["whole"].isna().tolist() == [False, True, True]
    late = pd.DataFrame({"card": [1, 1], "event_timestamp": [datetime(2026, 8, 31, 12, n, tzinfo=UTC) for n in (0, 1)]})
    assert ask(small["ours"], late, ["mixed:whole"])["whole"].fillna(-1).tolist() == [8, -1]
    with pytest.raises(ValueError, match="mixed units"):
        ask(small["duckdb"], CARDS, ["mixed:whole"])


def test_feast_duckdb_reads_relative_paths_from_the_working_folder_and_ours_from_the_repository(
    small: dict[str, FeatureStore], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with contextlib.chdir(tmp_path_factory.mktemp("elsewhere")):
        assert ask(small["ours"], CARDS, ["one:whole"])["whole"].tolist()[0] == 7
        with pytest.raises(Exception, match=r"No files found .*elsewhere.*one\.parquet"):
            ask(small["duckdb"], CARDS, ["one:whole"])


def test_a_tie_goes_to_the_row_created_last(small: dict[str, FeatureStore]) -> None:
    assert ask(small["ours"], CARDS, ["one:whole"])["whole"].tolist()[0] == 7
    assert ask(small["dask"], CARDS, ["one:whole"]).query("card == 1")["whole"].max() == 7


def test_materialized_and_historical_values_are_one(small: dict[str, FeatureStore]) -> None:
    store = small["ours"]
    store.materialize(AS_OF - timedelta(days=9), AS_OF)
    online = store.get_online_features(["one:amount", "one:whole"], [{"card": 1}, {"card": 2}]).to_dict()
    assert online["amount"] == [float(np.float32(0.1)), float(np.float32(0.3))]
    assert online["whole"] == [7, None]


def test_rows_written_through_feast_are_read_back(small: dict[str, FeatureStore]) -> None:
    store = small["ours"]
    path = Path(store.repo_path) / "one.parquet"
    more = pd.read_parquet(path).iloc[:1].assign(card=3, amount=0.5)
    store.write_to_offline_store("one", more)
    got = ask(store, pd.DataFrame({"card": [3], "event_timestamp": [AS_OF - timedelta(days=1)]}), ["one:amount"])
    assert got["amount"].tolist() == [0.5]
    assert pq.read_metadata(path).num_rows == 4
    assert [p.name for p in path.parent.glob("*.tmp")] == []


def test_created_timestamp_filter(small: dict[str, FeatureStore]) -> None:
    rows = pd.DataFrame({"card": [1] * 3, "event_timestamp": [datetime(2026, 8, 30, h, tzinfo=UTC) for h in (4, 5, 9)]})
    got = small["ours"].get_historical_features(rows, ["one:whole"], filter_by_created_timestamp=True).to_arrow()
    assert got.column("whole").to_pylist() == [None, 8, 7]


def test_other_kinds_of_storage_are_refused(small: dict[str, FeatureStore]) -> None:
    from feast.infra.offline_stores.bigquery_source import SavedDatasetBigQueryStorage

    job = small["ours"].get_historical_features(CARDS, ["one:amount"])
    with pytest.raises(UnsupportedSourceError, match="SavedDatasetFileStorage"):
        job.persist(SavedDatasetBigQueryStorage(table="a.b.c"))


ZONE_PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
from datetime import datetime
from feast import FeatureStore
from tests.repos import AS_OF, entity_rows
rows = entity_rows(30)
rows["event_timestamp"] = rows["event_timestamp"].dt.tz_localize(None)  # naive means UTC, wherever this runs
store = FeatureStore(repo_path=sys.argv[1])
features = ["till_stats:sales", "till_stats:last", "shop_stats:turnover", "rates:euro"]
table = store.get_historical_features(rows, features).to_arrow()
print(json.dumps(table.to_pylist(), default=datetime.isoformat))
"""


@pytest.mark.slow
def test_the_machines_time_zone_plays_no_part(repo: Path) -> None:
    answers = []
    for zone in ("UTC", "America/New_York"):
        done = subprocess.run(
            [sys.executable, "-c", ZONE_PROGRAM, str(repo)],
            env=os.environ | {"TZ": zone},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout.splitlines()[-1]))
    assert answers[0] == answers[1]
    assert any(row["sales"] is not None for row in answers[0])
