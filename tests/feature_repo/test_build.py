"""The example's feature job: against a slow reference, against the future, and what its files hold."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.feature_repo.conftest import REPO, SOURCE
from tests.feature_repo.reference import DAY, churned, first_day, weekly_row

FILES = ("customer_activity_daily", "customer_rolling_weekly", "customer_first_basket", "churn_entity_rows")
Build = Callable[[pd.DataFrame, Path], Path]
NS, US = pa.timestamp("ns", "UTC"), pa.timestamp("us", "UTC")
KINDS = {"orders": pa.int64(), "spend": pa.float64(), "basket": pa.float32()}
WINDOWED = [(f"{name}_{days}d", kind) for name, kind in KINDS.items() for days in (7, 30, 90)]
SCHEMAS = {
    "customer_activity_daily": [
        ("customer_id", pa.int64()), ("event_timestamp", NS), ("created_timestamp", NS), ("orders", pa.int64()),
        ("quantity", pa.int64()), ("spend", pa.float64()), ("average_basket", pa.float32()), ("last_purchase_at", NS),
    ],
    "customer_rolling_weekly": [
        ("customer_id", pa.int64()), ("event_timestamp", US), ("created_timestamp", US), ("recency_days", pa.int64()),
        ("tenure_days", pa.int64()), *WINDOWED, ("is_repeat_buyer", pa.bool_()), ("segment", pa.string()),
        ("recent_baskets", pa.list_(pa.float64())),
    ],
    "customer_first_basket": [
        ("customer_id", pa.int64()), ("event_timestamp", US), ("created_timestamp", US), ("first_purchase_at", US),
        ("first_orders", pa.int64()), ("first_quantity", pa.int64()), ("first_spend", pa.float64()),
        ("cohort", pa.string()), ("first_was_free", pa.bool_()),
    ],
    "churn_entity_rows": [
        ("customer_id", pa.int64()), ("event_timestamp", US), ("requested_at", US), ("churned", pa.int64()),
    ],
}  # fmt: skip


def read(folder: Path, name: str) -> pd.DataFrame:
    frame: pd.DataFrame = pq.read_table(folder / f"{name}.parquet").to_pandas()
    return frame


def naive(moments: pd.Series) -> pd.Series:
    plain: pd.Series = moments.dt.tz_convert("UTC").dt.tz_localize(None)
    return plain


@pytest.fixture(scope="module")
def sample(purchases: pd.DataFrame) -> list[int]:
    """Customers with every wart, the busiest ones, and some at random."""
    keys = ["customer_id", "purchase_date"]
    chosen: list[int] = []
    for odd in (purchases.duplicated(), purchases.duplicated(keys), purchases["amount"] == 0):
        chosen += purchases.loc[odd, "customer_id"].drop_duplicates().head(5).tolist()
    chosen += purchases["customer_id"].value_counts().head(3).index.tolist()
    chosen += np.random.default_rng(5).integers(1, 23571, size=15).tolist()
    return sorted(set(chosen))


def test_weekly_snapshots_equal_the_reference(built: Path, purchases: pd.DataFrame, sample: list[int]) -> None:
    weekly = read(built, "customer_rolling_weekly").assign(monday=lambda f: naive(f["event_timestamp"]))
    rows = weekly[weekly["customer_id"].isin(sample)].set_index(["customer_id", "monday"])
    few = purchases[purchases["customer_id"].isin(sample)]
    mondays = pd.date_range("1997-01-06", "1998-06-29", freq="7D")
    assert set(weekly["monday"]) == set(mondays)
    compared = 0
    for customer in sample:
        for monday in [*mondays[:16:3], *mondays[16::10]]:
            expected = weekly_row(few, customer, monday)
            assert ((customer, monday) in rows.index) == (expected is not None)
            if expected is None:
                continue
            row = rows.loc[(customer, monday)]
            for name, value in expected.items():
                got = row[name]
                if value is None:
                    assert pd.isna(got), (customer, monday, name)
                elif isinstance(value, list):
                    assert list(got) == value, (customer, monday, name)
                else:
                    assert got == value, (customer, monday, name)
            compared += 1
    assert compared > 200


def test_daily_rows_equal_the_reference(built: Path, purchases: pd.DataFrame) -> None:
    daily = read(built, "customer_activity_daily")
    expected = purchases.groupby(["purchase_date", "customer_id"], as_index=False).agg(
        orders=("amount", "size"), quantity=("quantity", "sum"), spend=("amount", "sum")
    )
    assert daily["customer_id"].tolist() == expected["customer_id"].tolist()
    assert (naive(daily["event_timestamp"]) == expected["purchase_date"] + DAY).all()
    assert (naive(daily["last_purchase_at"]) == expected["purchase_date"]).all()
    assert daily["orders"].tolist() == expected["orders"].tolist()
    assert daily["quantity"].tolist() == expected["quantity"].tolist()
    assert daily["spend"].tolist() == expected["spend"].round(2).tolist()
    basket = (expected["spend"].round(2) / expected["orders"]).astype("float32")
    assert daily["average_basket"].tolist() == basket.tolist()


def test_first_baskets_equal_the_reference(built: Path, purchases: pd.DataFrame, sample: list[int]) -> None:
    table = read(built, "customer_first_basket")
    assert sorted(table["customer_id"]) == sorted(purchases["customer_id"].unique())
    for customer in sample:
        row = table.set_index("customer_id").loc[customer]
        first = first_day(purchases, customer)
        day = first["purchase_date"].iloc[0]
        assert row["first_purchase_at"] == day.tz_localize("UTC")
        assert row["event_timestamp"] == (day + DAY).tz_localize("UTC")
        assert row["first_orders"] == len(first)
        assert row["first_quantity"] == first["quantity"].sum()
        assert row["first_spend"] == round(first["amount"].sum(), 2)
        assert row["first_was_free"] == (first["amount"] == 0).all()
        assert row["cohort"] == f"{day:%Y-%m}"


def test_labels_equal_the_reference(built: Path, purchases: pd.DataFrame) -> None:
    rows = read(built, "churn_entity_rows").sample(300, random_state=3)
    few = purchases[purchases["customer_id"].isin(rows["customer_id"])]
    mondays = naive(rows["event_timestamp"]).dt.normalize()
    expected = [churned(few, customer, monday) for customer, monday in zip(rows["customer_id"], mondays, strict=True)]
    assert rows["churned"].tolist() == expected
    assert 0 < sum(expected) < len(expected)


def test_entity_rows_are_sampled_mondays_of_customers_known_by_then(built: Path, purchases: pd.DataFrame) -> None:
    rows = read(built, "churn_entity_rows")
    assert 20_000 <= len(rows) <= 30_000
    assert not rows.duplicated(["customer_id", "event_timestamp"]).any()
    moments = naive(rows["event_timestamp"])
    assert set(moments.dt.dayofweek) == {0}
    assert set(moments.dt.hour) == {6}
    assert moments.min() >= pd.Timestamp("1997-05-01")
    assert moments.max().normalize() + 90 * DAY <= purchases["purchase_date"].max() + DAY
    assert (rows["requested_at"] == rows["event_timestamp"]).all()
    acquired = purchases.groupby("customer_id")["purchase_date"].min()
    assert (rows["customer_id"].map(acquired) < moments.dt.normalize()).all()


@pytest.fixture(scope="module")
def eighth(purchases: pd.DataFrame) -> pd.DataFrame:
    """The purchases of every eighth customer: enough to show what sees what."""
    return purchases[purchases["customer_id"] % 8 == 0]


@pytest.fixture(scope="module")
def built_eighth(eighth: pd.DataFrame, build_from: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_from(eighth, tmp_path_factory.mktemp("eighth") / "data")


def altered_from(purchases: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    """The same purchases before ``day``; from it on half of them gone, the rest with other customers and amounts."""
    past, future = (purchases[purchases["purchase_date"] < day], purchases[purchases["purchase_date"] >= day])
    random = np.random.default_rng(11)
    future = future[random.random(len(future)) < 0.5].assign(
        customer_id=lambda f: random.permutation(f["customer_id"].to_numpy()),
        quantity=lambda f: f["quantity"] + 3,
        amount=lambda f: (f["amount"] * 2 + 1).round(2),
    )
    return pd.concat([past, future], ignore_index=True)


def up_to(folder: Path, name: str, moment: str) -> pd.DataFrame:
    frame = read(folder, name)
    return frame[frame["event_timestamp"] <= pd.Timestamp(moment, tz="UTC")].reset_index(drop=True)


@pytest.mark.parametrize("day", ["1997-02-10", "1997-09-22"])
def test_no_feature_sees_purchases_of_its_own_time_or_later(
    built_eighth: Path, eighth: pd.DataFrame, build_from: Build, tmp_path: Path, day: str
) -> None:
    changed = build_from(altered_from(eighth, pd.Timestamp(day)), tmp_path / "data")
    for name in FILES[:3]:
        before, after = up_to(built_eighth, name, day), up_to(changed, name, day)
        assert len(before) > 500
        pd.testing.assert_frame_equal(before, after, check_exact=True)
        if name != "customer_first_basket":
            assert not read(built_eighth, name).equals(read(changed, name))


def test_no_label_sees_purchases_after_its_90_days(
    built_eighth: Path, eighth: pd.DataFrame, build_from: Build, tmp_path: Path
) -> None:
    changed = build_from(altered_from(eighth, pd.Timestamp("1997-09-22") + 90 * DAY), tmp_path / "data")
    before, after = (up_to(folder, "churn_entity_rows", "1997-09-22T06") for folder in (built_eighth, changed))
    assert len(before) > 1_000
    pd.testing.assert_frame_equal(before, after, check_exact=True)
    assert not read(built_eighth, "churn_entity_rows").equals(read(changed, "churn_entity_rows"))


def test_the_edges_of_the_label(built_eighth: Path, eighth: pd.DataFrame, build_from: Build, tmp_path: Path) -> None:
    """A purchase of nothing, added on one day around the window: the first and last day end the silence."""
    at = pd.Timestamp("1997-09-22T06", tz="UTC")
    labels = {-1: 1, 0: 0, 89: 0, 90: 1}
    rows = read(built_eighth, "churn_entity_rows")
    silent = rows.loc[(rows["event_timestamp"] == at) & (rows["churned"] == 1), "customer_id"].head(len(labels))
    dates = [pd.Timestamp("1997-09-22") + offset * DAY for offset in labels]
    more = pd.DataFrame({"customer_id": silent.to_numpy(), "purchase_date": dates, "quantity": 1, "amount": 0.0})
    changed = read(build_from(pd.concat([eighth, more]), tmp_path / "data"), "churn_entity_rows")
    now = changed[changed["event_timestamp"] == at].set_index("customer_id")["churned"]
    assert [int(now[customer]) for customer in silent] == list(labels.values())


def test_the_warts_are_there_and_every_one_counts(built: Path, purchases: pd.DataFrame) -> None:
    assert len(purchases) == 69_659
    assert purchases["customer_id"].nunique() == 23_570
    assert purchases.duplicated().sum() == 255
    assert purchases.duplicated(["customer_id", "purchase_date"]).sum() == 2_068
    assert (purchases["amount"] == 0).sum() == 80
    daily = read(built, "customer_activity_daily")
    assert len(daily) == 69_659 - 2_068
    assert daily["orders"].sum() == 69_659
    assert daily["quantity"].sum() == purchases["quantity"].sum()
    assert round(daily["spend"].sum(), 2) == round(purchases["amount"].sum(), 2)
    assert (daily["spend"] == 0).sum() > 0


@pytest.mark.parametrize("name", FILES)
def test_columns_dtypes_and_time_units(built: Path, name: str) -> None:
    schema = pq.read_schema(built / f"{name}.parquet")
    assert [(field.name, field.type) for field in schema] == SCHEMAS[name]


@pytest.mark.parametrize("name", FILES[:3])
def test_rows_are_written_three_hours_later_and_once(built: Path, name: str) -> None:
    frame = read(built, name)
    assert (frame["created_timestamp"] - frame["event_timestamp"] == pd.Timedelta(hours=3)).all()
    assert (frame["event_timestamp"].dt.normalize() == frame["event_timestamp"]).all()
    assert not frame.duplicated(["customer_id", "event_timestamp"]).any()
    empty = [name for name in frame.columns if frame[name].isna().any()]
    assert all(str(name).startswith("basket_") for name in empty)


def test_the_same_purchases_in_another_order_give_the_same_bytes(
    built: Path, purchases: pd.DataFrame, build_from: Build, tmp_path: Path
) -> None:
    shuffled = build_from(purchases.sample(frac=1, random_state=2), tmp_path / "data")
    for name in FILES:
        assert (shuffled / f"{name}.parquet").read_bytes() == (built / f"{name}.parquet").read_bytes(), name
    assert (built / "customer_rolling_weekly.parquet").stat().st_size < 60_000_000


def test_the_command_writes_the_files_and_says_how_many_rows(purchases: pd.DataFrame, tmp_path: Path) -> None:
    purchases[purchases["customer_id"] <= 50].to_parquet(tmp_path / SOURCE)
    command = [sys.executable, str(REPO / "build_features.py"), "--data-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "customer_first_basket: 50 rows" in done.stdout
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted([*FILES, "cdnow_purchases"])


def test_missing_purchases_are_named(tmp_path: Path) -> None:
    command = [sys.executable, str(REPO / "build_features.py"), "--data-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert str(tmp_path / SOURCE) in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_broken_file_leaves_nothing_half_written(build: Callable[[Path], dict[str, int]], tmp_path: Path) -> None:
    (tmp_path / SOURCE).write_bytes(b"PAR1 no more")
    with pytest.raises(duckdb.Error):
        build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [SOURCE]
