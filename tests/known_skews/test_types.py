"""Types and precision (cases D), and nulls and infinities (C2, C6): what Feast does to values on their way online."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp

from skewguard import Verdict
from skewguard.online.embedded import EmbeddedRedis
from tests.known_skews.repo import NOW, Case, Repo, hours

BIG = 2**53 + 1
MOMENT = hours(100) + timedelta(microseconds=987_654)


def rows(*values: object) -> list[tuple[object, ...]]:
    return [(k, 4.0, 3.5, value) for k, value in enumerate(values, start=1)]


DTYPES: dict[str, tuple[Any, pa.DataType, list[Any]]] = {
    "int32": (Int32, pa.int32(), [1, None, -7]),
    "int64": (Int64, pa.int64(), [1, None, -7]),
    "bool": (Bool, pa.bool_(), [True, None, False]),
    "string": (String, pa.string(), ["", None, "ä"]),
    "bytes": (Bytes, pa.binary(), [b"\x00\xff", None, b""]),
    "float32": (Float32, pa.float32(), [0.1, None, math.inf]),
    "time": (UnixTimestamp, pa.timestamp("us", "UTC"), [hours(100), None, hours(5)]),
    "int64s": (Array(Int64), pa.list_(pa.int64()), [[BIG], None, []]),
    "float32s": (Array(Float32), pa.list_(pa.float64()), [[0.1, math.nan], None, []]),
    "strings": (Array(String), pa.list_(pa.string()), [["a", None], None, []]),
    "bools": (Array(Bool), pa.list_(pa.bool_()), [[True, False], None, []]),
    "times": (Array(UnixTimestamp), pa.list_(pa.timestamp("us", "UTC")), [[hours(100)], None, []]),
}
CASES = {
    "dtypes": Case(
        [(k, 4.0, 3.5, *(DTYPES[name][2][k - 1] for name in DTYPES)) for k in (1, 2, 3)],
        {name: dtype for name, (dtype, _, _) in DTYPES.items()},
        {name: kind for name, (_, kind, _) in DTYPES.items()},
    ),
    "c6": Case(rows(math.nan, None, math.inf, -math.inf, 1.5)),
    "d1": Case(rows(0.2, 0.1, 0.7), {"f": Float32}, {"f": pa.float64()}),
    "d2": Case(rows(*(BIG + 2 * n for n in range(6)), None, 7), {"f": Int64}),
    "d2_one": Case(rows(BIG, None, 7), {"f": Int64}),
    "d2_full": Case(rows(*(BIG + 2 * n for n in range(6)), 7), {"f": Int64}),
    "d4": Case(rows(MOMENT, hours(99), None), {"f": UnixTimestamp}, {"f": pa.timestamp("us", "UTC")}),
    "d6": Case(rows(79.9, 80.0), {"f": Int64}, {"f": pa.float64()}),
    "d7": Case(rows([], [1.0, None], [2.0], None), {"f": Array(Float64)}, {"f": pa.list_(pa.float64())}),
}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory, redis_server: EmbeddedRedis) -> Repo:
    made = Repo(tmp_path_factory.mktemp("types"), redis_server, CASES, "types").build()
    made.materialize()
    return made


def test_nan_null_and_infinities(repo: Repo) -> None:
    """C2, C6: Feast writes NaN as null; nothing differs, and nulls are counted on both sides."""
    assert repo.feast_online("c6", 1, 2, 3, 4)["f"] == [None, None, math.inf, -math.inf]
    assert repo.found("c6") == {}
    (stats,) = [s for check in repo.run("c6").checks for s in check.features]
    assert (stats.offline_nulls, stats.online_nulls) == (2, 2)
    ours = repo.guard().online("c6", [{"k": 1}, {"k": 2}, {"k": 99}], as_of=NOW)
    assert ours.column("__status__f").to_pylist() == ["NULL_VALUE", "NULL_VALUE", "NOT_FOUND"]


def test_a_double_under_float32(repo: Repo) -> None:
    """D1: said once of the feature, and no value of it differs."""
    assert repo.feast_offline("d1", 1)[1]["f"] == 0.2
    assert repo.feast_online("d1", 1)["f"] == [0.20000000298023224]
    assert repo.found("d1") == {("float32", "f"): 1}
    assert repo.run("d1").verdict is Verdict.WARN
    assert repo.run("d1", ignore=["definition_risk"]).verdict is Verdict.PASS


def test_large_integers_beside_a_null(repo: Repo) -> None:
    """D2: they go through float64; without a null in the window they do not."""
    assert repo.feast_online("d2", 1)["f"] == [BIG - 1]
    assert repo.feast_offline("d2_full", 1)[1]["f"] == BIG
    found = repo.run("d2")
    (cast,) = [f for f in found.findings if f.check == "parity"]
    assert (cast.cause.value, cast.feature, cast.count, cast.evidence["cast"]) == ("type_cast", "f", 6, "float64")
    assert repo.found("d2_full") == {}


def test_one_large_integer_beside_a_null(repo: Repo) -> None:
    assert repo.found("d2_one") == {("type_cast", "f"): 1}


def test_integers_of_history_stay_whole_beside_an_unknown_entity(repo: Repo) -> None:
    """D3: Feast's frame makes them doubles; ours are read as Arrow."""
    entity_df = pd.DataFrame({"k": [1, 99], "event_timestamp": [NOW, NOW]})
    ours = repo.guard().historical_features(entity_df, "d2_full")
    assert isinstance(ours, pa.Table)
    assert ours.column("f").to_pylist() == [BIG, None]


def test_fractions_of_a_second(repo: Repo) -> None:
    """D4: Feast stores whole seconds."""
    assert repo.found("d4") == {}


def test_fractions_under_a_whole_number(repo: Repo) -> None:
    """D6: a push cuts them without a word, and so does materialization; preflight says it of the source."""
    repo.push("d6", [(1, 3.0, 2.9, 79.9)])
    repo.write("d6", [*CASES["d6"].rows, (1, 3.0, 2.9, 79.9)])
    assert repo.feast_online("d6", 1)["f"] == [79]
    assert repo.found("d6") == {("fractions_cut", "f"): 2, ("dtype", "f"): 1}


def test_nulls_of_every_dtype(repo: Repo) -> None:
    """What goes online unharmed, beside a null, is no finding."""
    assert repo.feast_online("dtypes", 1, 2, 3)["bytes"] == [b"\x00\xff", None, b""]
    assert repo.found("dtypes") == {}


def test_lists_with_nulls_and_none(repo: Repo) -> None:
    """D7."""
    assert repo.found("d7") == {}
