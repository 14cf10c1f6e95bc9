"""Faults written into a real Redis by Feast's own writer: the right cause on the right feature, and no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from skewguard import SkewGuard, Verdict, running
from skewguard.checks.parity import check_parity
from skewguard.drill import prove
from skewguard.findings import Finding
from skewguard.online.embedded import EmbeddedRedis

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
ROWS = 3000
LIVE_FAULTS = ("unit_scale", "missing_online", "entity_key_mismatch", "column_swap", "category_recode",
               "string_normalization")  # fmt: skip
DEFINITIONS = """
from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Bool, Float32, Float64, Int64, String, UnixTimestamp

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
code = Entity(name="code", join_keys=["code"], value_type=ValueType.STRING)

orders = FeatureView(
    name="orders", entities=[user], ttl=timedelta(days=30),
    source=FileSource(path="data/orders.parquet", timestamp_field="ts", created_timestamp_column="made"),
    schema=[Field(name="spend", dtype=Float64), Field(name="refund", dtype=Float64), Field(name="items", dtype=Int64),
            Field(name="score", dtype=Float32), Field(name="region", dtype=String), Field(name="name", dtype=String),
            Field(name="active", dtype=Bool), Field(name="last", dtype=UnixTimestamp), Field(name="tier", dtype=Int64),
            Field(name="rate", dtype=Float64)],
)
visits = FeatureView(
    name="visits", entities=[user], ttl=timedelta(days=30),
    source=FileSource(path="data/visits.parquet", timestamp_field="ts"), schema=[Field(name="pages", dtype=Int64)],
)
codes = FeatureView(
    name="codes", entities=[code], ttl=timedelta(days=30),
    source=FileSource(path="data/codes.parquet", timestamp_field="ts"), schema=[Field(name="value", dtype=Float64)],
)
all_v1 = FeatureService(name="all_v1", features=[orders, visits, codes])
"""


@dataclass(frozen=True)
class Store:
    """A materialized repository: its guard, its Redis, its rows of ``orders`` and ``codes`` as materialized."""

    guard: SkewGuard
    redis: EmbeddedRedis
    orders: pd.DataFrame
    codes: pd.DataFrame

    def findings(self) -> dict[tuple[str, str | None, str | None], Finding]:
        service, policy = self.guard.service("all_v1"), self.guard.policy_for("all_v1")
        with running.stores(self.guard) as (con, client):
            collected = running.collect(self.guard, service, NOW, con, client)
            found = check_parity(collected.sides, policy, collected.skipped)
        assert found.status == "ok"
        return {(f.cause.value, f.view, f.feature): f for f in found.findings}

    def counts(self) -> dict[tuple[str, str | None, str | None], int]:
        return {key: finding.count for key, finding in self.findings().items()}

    def write(self, changed: pd.DataFrame) -> None:
        """Rows of ``orders`` through Feast's writer, which refuses equal timestamps: so the view's rows go first."""
        client = self.redis.client()
        for user in changed["user_id"]:
            client.hdel(redis_key("user_id", Value(int64_val=user)), b"_ts:orders")
        self.guard.feast.store.write_to_online_store("orders", changed)


def redis_key(name: str, value: Value) -> bytes:
    """The Redis key as Feast writes it."""
    key: bytes = serialize_entity_key(EntityKey(join_keys=[name], entity_values=[value]), 3)
    return key + b"causes"


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory, redis_server: EmbeddedRedis) -> SkewGuard:
    folder = tmp_path_factory.mktemp("causes")
    data = folder / "data"
    data.mkdir()
    random = np.random.default_rng(11)
    stamps = [NOW - timedelta(hours=2, seconds=int(n)) for n in random.integers(0, 86400, ROWS)]
    frame = pd.DataFrame({"user_id": np.arange(1, ROWS + 1), "ts": stamps})
    frame["made"] = frame["ts"] + timedelta(minutes=1)
    frame["spend"] = random.integers(100, 1_000_000, ROWS) / 100
    frame["refund"] = np.where(random.random(ROWS) < 0.3, 0.0, random.integers(1, 100_000, ROWS) / 100)
    frame["items"] = pd.array(np.minimum(random.zipf(2, ROWS), 99), dtype="Int64")
    frame["score"] = random.random(ROWS).astype("float32")
    frame["region"] = random.choice(["North", "South", "East", "West", "Mid"], ROWS)
    frame["name"] = [f"User No {n}" for n in random.permutation(ROWS)]
    frame["active"] = random.random(ROWS) < 0.8
    frame["last"] = frame["ts"] - pd.to_timedelta(random.integers(0, 10**7, ROWS), unit="s")
    frame["tier"] = random.integers(0, 6, ROWS)
    frame["rate"] = np.where(random.random(ROWS) < 0.4, np.nan, random.random(ROWS))
    frame.to_parquet(data / "orders.parquet")
    pd.DataFrame({"user_id": frame["user_id"], "ts": frame["ts"], "pages": frame["items"]}).to_parquet(
        data / "visits.parquet"
    )
    codes = pd.DataFrame({"code": [f"{n:05d}" for n in range(300)], "ts": stamps[:300], "value": random.random(300)})
    codes.to_parquet(data / "codes.parquet")
    (folder / "definitions.py").write_text(DEFINITIONS)
    (folder / "feature_store.yaml").write_text(
        "project: causes\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        "offline_store:\n  type: skewguard.offline.store.SkewguardOfflineStore\n"
        f"online_store:\n  type: redis\n  connection_string: {redis_server.connection_string}\n"
    )
    guard = SkewGuard(folder, clock=lambda: NOW)
    guard.feast.apply()
    return guard


@pytest.fixture(scope="module")
def materialized(repo: SkewGuard, redis_server: EmbeddedRedis) -> dict[bytes, dict[bytes, bytes]]:
    """What the online store holds after a materialization."""
    client = redis_server.client()
    client.flushall()
    repo.materialize(as_of=NOW)
    return {key: client.hgetall(key) for key in client.scan_iter()}


@pytest.fixture
def store(
    repo: SkewGuard, materialized: dict[bytes, dict[bytes, bytes]], clean_redis: EmbeddedRedis
) -> Iterator[Store]:
    with clean_redis.client().pipeline(transaction=False) as pipe:
        for key, row in materialized.items():
            pipe.hset(key, mapping=row)
        pipe.execute()
    data = Path(repo.path) / "data"
    before = (data / "orders.parquet").read_bytes()
    yield Store(repo, clean_redis, pd.read_parquet(data / "orders.parquet"), pd.read_parquet(data / "codes.parquet"))
    assert (data / "orders.parquet").read_bytes() == before


REFITTED = {0: 3, 1: 0, 2: 5, 3: 4, 4: 1, 5: 2}
CODES = {"North": "r1", "South": "r2", "East": "r3", "West": "r4", "Mid": "r5"}
CHANGES: dict[str, tuple[str, str, Callable[[pd.DataFrame], Any]]] = {
    "a factor": ("spend", "unit_scale", lambda f: f["spend"] * 100),
    "a factor of float32": ("score", "unit_scale", lambda f: f["score"] * np.float32(60)),
    "an offset": ("spend", "constant_offset", lambda f: f["spend"] + 5.5),
    "an offset of integers": ("items", "constant_offset", lambda f: f["items"] + 1000),
    "cut to whole numbers": ("spend", "type_cast", lambda f: np.trunc(f["spend"] + 0.001)),
    "Tokyo": ("last", "timezone_shift", lambda f: f["last"] + timedelta(hours=9)),
    "filled": ("rate", "null_default", lambda f: f["rate"].fillna(-1.0)),
    "another column": ("spend", "column_swap", lambda f: f["refund"]),
    "the join key": ("tier", "column_swap", lambda f: f["user_id"]),
    "recoded": ("region", "category_recode", lambda f: f["region"].map(CODES)),
    "an encoder refitted": ("tier", "category_recode", lambda f: f["tier"].map(REFITTED)),
    "upper case": ("name", "string_normalization", lambda f: f["name"].str.upper()),
    "upper case of categories": ("region", "string_normalization", lambda f: f["region"].str.upper()),
    "cut off": ("name", "string_normalization", lambda f: f["name"].str[:9]),
    "blanks": ("region", "string_normalization", lambda f: f["region"] + " "),
    "dealt at random": ("region", "unexplained", lambda f: f["region"].sample(frac=1, random_state=3).to_numpy()),
    "flags turned round": ("active", "unexplained", lambda f: ~f["active"]),
}


def hit(
    store: Store, share: float, changes: Mapping[str, Callable[[pd.DataFrame], Any]], start: int = 0
) -> dict[str, int]:
    """Change ``share`` of the rows; gives the number of changed cells by feature."""
    part = store.orders.iloc[start : start + max(3, int(share * ROWS))]
    changed = part.assign(**{feature: change(part) for feature, change in changes.items()})
    store.write(changed)
    same = {f: (changed[f] == part[f]) | (changed[f].isna() & part[f].isna()) for f in changes}
    return {feature: int((~equal).sum()) for feature, equal in same.items()}


@pytest.mark.parametrize("share", [1.0, 0.01])
@pytest.mark.parametrize("name", CHANGES)
def test_one_fault_is_named_on_its_feature_and_nothing_else_is(store: Store, name: str, share: float) -> None:
    feature, cause, change = CHANGES[name]
    expected = {(cause, "orders", feature): hit(store, share, {feature: change})[feature]}
    if (name, share) == ("flags turned round", 1.0):
        expected = {("category_recode", "orders", feature): ROWS}  # on every row it is a renaming
    assert store.counts() == expected


@pytest.mark.parametrize("name", ["a factor", "an offset", "Tokyo", "another column", "upper case", "the join key"])
def test_three_rows_of_three_thousand_are_enough_where_values_are_telling(store: Store, name: str) -> None:
    feature, cause, change = CHANGES[name]
    cells = hit(store, 0.001, {feature: change})[feature]
    assert cells == 3
    assert store.counts() == {(cause, "orders", feature): cells}


def test_two_columns_that_hold_each_others_values(store: Store) -> None:
    counts = hit(store, 0.02, {"spend": lambda f: f["refund"], "refund": lambda f: f["spend"]})
    found = store.findings()
    assert {key: f.count for key, f in found.items()} == {("column_swap", "orders", n): counts[n] for n in counts}
    assert found["column_swap", "orders", "spend"].evidence["column"] == "refund"
    assert found["column_swap", "orders", "refund"].evidence["and_back"] == 1.0
    assert "swapped with refund" in found["column_swap", "orders", "spend"].message


def test_three_causes_on_one_feature_and_three_on_others_at_once(store: Store) -> None:
    expected: dict[tuple[str, str, str], int] = {}
    for n, name in enumerate(("a factor", "an offset", "another column")):
        feature, cause, change = CHANGES[name]
        expected[cause, "orders", feature] = hit(store, 0.02, {feature: change}, start=100 * n)[feature]
    rest = {CHANGES[n][0]: CHANGES[n] for n in ("Tokyo", "recoded", "cut off")}
    counts = hit(store, 0.1, {feature: change for feature, (_, _, change) in rest.items()}, start=1000)
    expected |= {(cause, "orders", feature): counts[feature] for feature, (_, cause, _) in rest.items()}
    assert store.counts() == expected


def test_the_evidence_says_what_was_done(store: Store) -> None:
    names = ("a factor", "recoded", "upper case", "Tokyo")
    hit(store, 0.1, {CHANGES[name][0]: CHANGES[name][2] for name in names})
    found = {feature: f.evidence for (_, _, feature), f in store.findings().items()}
    assert found["spend"]["k"] == 100.0
    assert found["region"]["mapping"] == CODES
    assert found["name"]["form"] == "online is upper case"
    assert found["last"]["minutes"] == 540


def moved(store: Store, name: str, pairs: Mapping[Value, Value] | list[tuple[Value, Value]]) -> int:
    """Rename keys of entities; gives their number."""
    pairs = list(pairs)
    for own, other in pairs:
        store.redis.client().rename(redis_key(name, own), redis_key(name, other))
    return len(pairs)


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (lambda n: Value(string_val=str(n)), "INT64 stored as STRING"),
        (lambda n: Value(string_val=f"{n}.0"), "INT64 stored as STRING"),
        (lambda n: Value(int32_val=n), "INT64 stored as INT32"),
    ],
)
def test_integer_keys_under_another_dtype(store: Store, other: Callable[[int], Value], difference: str) -> None:
    moved(store, "user_id", [(Value(int64_val=n), other(n)) for n in range(1, 31)])
    store.redis.client().delete(redis_key("user_id", Value(int64_val=50)))  # one is simply gone
    found = store.findings()
    assert {key: f.count for key, f in found.items()} == {
        (cause, view, None): n
        for view in ("orders", "visits")
        for cause, n in (("entity_key_mismatch", 30), ("missing_online", 1))
    }
    evidence = found["entity_key_mismatch", "orders", None].evidence
    assert evidence["differences"] == {difference: 30}
    assert evidence["twins"][0]["stored_as"].split("'")[0].strip() == difference.rsplit(" ", 1)[1]


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (lambda code: Value(int64_val=int(code)), "STRING stored as INT64"),
        (lambda code: Value(string_val=str(int(code))), "padding"),
        (lambda code: Value(string_val=f"{code} "), "blanks"),
        (lambda code: Value(bytes_val=code.encode()), "STRING stored as BYTES"),
    ],
)
def test_text_keys_under_another_text_or_dtype(store: Store, other: Callable[[str], Value], difference: str) -> None:
    codes = store.codes["code"].iloc[40:60]
    moved(store, "code", [(Value(string_val=c), other(c)) for c in codes])
    found = store.findings()
    assert {key: f.count for key, f in found.items()} == {("entity_key_mismatch", "codes", None): 20}
    assert found["entity_key_mismatch", "codes", None].evidence["differences"] == {difference: 20}


def test_keys_of_another_dtype_beside_the_right_ones_are_no_finding(store: Store) -> None:
    client = store.redis.client()
    for n in range(1, 20):
        row = client.hgetall(redis_key("user_id", Value(int64_val=n)))
        client.hset(redis_key("user_id", Value(string_val=str(n))), mapping=row)
    assert store.counts() == {}


def test_a_mismatch_is_repaired_by_writing_the_rows_under_their_own_keys(store: Store) -> None:
    moved(store, "user_id", [(Value(int64_val=n), Value(string_val=str(n))) for n in range(1, 31)])
    store.guard.repair(store.guard.plan_repair("all_v1", as_of=NOW))
    assert store.counts() == {}


def test_a_clean_store_has_no_finding_after_feasts_own_materialize(repo: SkewGuard, clean_redis: EmbeddedRedis) -> None:
    repo.feast.store.materialize(NOW - timedelta(days=3), NOW)
    repo.feast.store.refresh_registry()
    run = repo.check("all_v1", as_of=NOW)
    assert [f for f in run.findings if f.check == "parity"] == []
    assert run.verdict is Verdict.WARN  # there is no contract


@pytest.mark.parametrize("share", [0.001, 1.0])
@pytest.mark.parametrize("fault", LIVE_FAULTS)
def test_every_drill_proves_detection(store: Store, fault: str, share: float) -> None:
    proof = prove(store.guard, "all_v1", fault, share=share, as_of=NOW)
    assert proof.holds, (proof.seen, proof.others)
    assert proof.seen[0].injection.rows >= 3
    if share == 1.0 and fault in ("missing_online", "entity_key_mismatch"):
        assert proof.seen[0].injection.rows == ROWS


@pytest.mark.slow
def test_all_drills_at_once_are_proven_to_the_row(store: Store) -> None:
    faults = ("entity_key_mismatch", "column_swap", "category_recode", "string_normalization", "unit_scale")
    for fault in faults:
        proof = prove(store.guard, "all_v1", fault, share=0.02, as_of=NOW)
        assert proof.holds, (fault, proof.seen, proof.others)
    assert {key[0] for key in store.counts()} == set(faults)
