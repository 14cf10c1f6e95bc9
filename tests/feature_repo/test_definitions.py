"""The example's definitions: applied by Feast, joined point in time, the on-demand view with every kind of input."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from skewguard import dtypes
from skewguard.config import load_policy
from skewguard.demo import DemoSettings
from skewguard.feast_repo import FeastRepo
from skewguard.offline.asof import latest_rows, point_in_time
from skewguard.offline.entity_rows import normalise_entity_rows
from skewguard.offline.sources import connect
from skewguard.on_demand import add_on_demand
from tests.feature_repo.conftest import REPO

AS_OF = datetime(1998, 3, 30, 6, tzinfo=UTC)
TTLS = {"customer_activity_daily": 90, "customer_rolling_weekly": 14, "customer_first_basket": 730}


@pytest.fixture(scope="module")
def repo(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The example, copied, with its definitions applied."""
    folder = tmp_path_factory.mktemp("applied") / "feature_repo"
    folder.mkdir()
    for name in ("definitions.py", "feature_store.yaml", "skewguard.yaml", "demo.yaml"):
        shutil.copy(REPO / name, folder / name)
    shutil.copytree(built, folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKEWGUARD_REDIS", "127.0.0.1:1")
        opened = FeastRepo(folder)
        opened.apply()
        yield opened


def test_views_services_and_times_to_live(repo: FeastRepo) -> None:
    assert {view.name: view.ttl for view in repo.views()} == {n: timedelta(days=d) for n, d in TTLS.items()}
    assert repo.service_names() == ["churn_v1", "spend_v1"]
    service = repo.service("churn_v1")
    names = [field.name for field in service.outputs()]
    assert len(names) == len(set(names))
    assert {"days_since_last_purchase", "spend_per_order", "recent_baskets", "segment", "cohort"} <= set(names)
    assert [field.name for field in service.join_keys] == ["customer_id"]
    assert [field.name for field in service.request_fields] == ["requested_at"]
    assert [projection.view.name for projection in repo.service("spend_v1").projections] == ["customer_rolling_weekly"]


def test_every_feature_is_a_column_of_its_file_in_the_declared_dtype(repo: FeastRepo) -> None:
    for view in repo.views():
        schema = pq.read_schema(view.source.path)
        for field in (*view.join_keys, *view.features):
            found, declared = schema.field(field.name).type, dtypes.arrow_type(field.dtype)
            if field.dtype == "UNIX_TIMESTAMP":
                assert found.tz == declared.tz == "UTC"
            else:
                assert found == declared, f"{view.name}:{field.name}"


def test_policy_and_demo_settings_name_what_is_there(repo: FeastRepo) -> None:
    policy = load_policy(repo.path)
    services = {
        name: {p.view.name: [f.name for f in p.view.features] for p in repo.service(name).projections}
        for name in repo.service_names()
    }
    policy.check_names(services)
    assert policy.for_service("spend_v1").serving == "annotate"
    assert policy.for_service("churn_v1").serving == "reject"
    settings = DemoSettings.load(repo.path)
    assert settings.service in services
    assert datetime.fromisoformat(settings.as_of) == AS_OF
    rows = pq.read_schema(repo.path / settings.entity_rows)
    assert settings.train[settings.train.index("--label") + 1] in rows.names


def test_at_the_as_of_time_of_the_demo_many_rows_are_past_their_time_to_live(repo: FeastRepo) -> None:
    expired = {}
    with connect() as con:
        for view in repo.views():
            moments = latest_rows(con, view, AS_OF, features=[]).column("__event_ts")
            assert len(moments) == 23_570
            assert view.ttl is not None
            expired[view.name] = pc.sum(pc.less(moments, AS_OF - view.ttl)).as_py()
    assert expired["customer_rolling_weekly"] == expired["customer_first_basket"] == 0
    assert 15_000 < expired["customer_activity_daily"] < 23_000


def test_a_training_set_of_the_example(repo: FeastRepo) -> None:
    rows = pq.read_table(repo.path / "data" / "churn_entity_rows.parquet")
    rows = rows.take(np.random.default_rng(1).choice(rows.num_rows, 2_000, replace=False))
    service = repo.service("churn_v1")
    normal = normalise_entity_rows(rows, service)
    with connect() as con:
        table = point_in_time(
            con, normal.table, (*service.projections, *service.hidden), timestamp_column=normal.timestamp_column
        )
    frame = add_on_demand(table, service, repo, False).to_pandas()
    assert frame["customer_id"].tolist() == rows.column("customer_id").to_pylist()
    assert frame["churned"].tolist() == rows.column("churned").to_pylist()
    assert frame[["recency_days", "segment", "first_spend"]].notna().all().all()
    # The snapshot and the activity tell the same days, the one from midnight, the other from the request at 06:00.
    active = frame["last_purchase_at"].notna()
    assert (active == (frame["recency_days"] < 91)).all()
    assert 0 < active.sum() < len(frame)
    days = frame.loc[active, "days_since_last_purchase"]
    assert (days == frame.loc[active, "recency_days"] + 0.25).all()
    assert frame.loc[~active, "days_since_last_purchase"].isna().all()
    bought = frame["orders_90d"] > 0
    np.testing.assert_allclose(frame.loc[bought, "spend_per_order"], frame.loc[bought, "basket_90d"], rtol=1e-6)
    assert frame.loc[~bought, "spend_per_order"].isna().all()


REQUESTED, BOUGHT = pd.Timestamp("1998-03-30T06", tz="UTC"), pd.Timestamp("1998-03-20", tz="UTC")
NAT = pd.NaT


def moments(kind: str, values: list[Any]) -> pd.Series:
    """The same moments as each side hands them over."""
    if kind == "aware":
        return pd.Series(values, dtype="datetime64[us, UTC]")
    if kind == "naive":
        return pd.Series(values, dtype="datetime64[ns, UTC]").dt.tz_localize(None)
    if kind == "objects":
        return pd.Series([None if v is NAT else v.to_pydatetime() for v in values], dtype="object")
    seconds = [None if v is NAT else int(v.timestamp()) for v in values]
    if kind == "float seconds":
        return pd.Series(seconds, dtype="float64")
    return pd.Series(seconds, dtype="Int64" if kind == "nullable seconds" else "object")


KINDS = ["aware", "naive", "objects", "seconds", "float seconds", "nullable seconds"]


@pytest.mark.parametrize("bought", KINDS)
@pytest.mark.parametrize("requested", KINDS)
def test_moments_of_every_kind_mean_the_same(repo: FeastRepo, requested: str, bought: str) -> None:
    inputs = pd.DataFrame(
        {
            "requested_at": moments(requested, [REQUESTED, REQUESTED, NAT]),
            "last_purchase_at": moments(bought, [BOUGHT, NAT, BOUGHT]),
            "orders_90d": [2, 0, 1],
            "spend_90d": [30.0, 0.0, 5.0],
        }
    )
    output = transform(repo, inputs)
    np.testing.assert_array_equal(output["days_since_last_purchase"], [10.25, np.nan, np.nan])
    np.testing.assert_array_equal(output["spend_per_order"], [15.0, np.nan, 5.0])


@pytest.mark.parametrize("dtype", ["object", "float64"])
def test_null_and_nan_are_alike_and_a_column_may_hold_nothing_else(repo: FeastRepo, dtype: str) -> None:
    missing = [None, None] if dtype == "object" else [np.nan, np.nan]
    inputs = pd.DataFrame(
        {
            "requested_at": [REQUESTED, REQUESTED],
            **{n: pd.Series(missing, dtype=dtype) for n in ("last_purchase_at", "orders_90d", "spend_90d")},
        }
    )
    output = transform(repo, inputs)
    assert output.isna().all().all()
    assert set(output.dtypes) == {np.dtype("float64")}


def transform(repo: FeastRepo, inputs: pd.DataFrame) -> pd.DataFrame:
    """What Feast would run, as it comes back from the registry."""
    frame: pd.DataFrame = repo.feast_on_demand("purchase_recency").feature_transformation.udf(inputs)
    return frame
