import subprocess
import sys
from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skewguard.digest import cell_hashes, sample_mask, table_digest

CELLS = st.tuples(
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(),
    st.none() | st.text(),
    st.none() | st.lists(st.none() | st.floats(allow_nan=False), max_size=3),
)
SCHEMA = pa.schema([("i", pa.int64()), ("f", pa.float64()), ("s", pa.string()), ("l", pa.list_(pa.float64()))])


def table(rows: list[tuple[object, ...]]) -> pa.Table:
    return pa.table({f.name: pa.array([r[i] for r in rows], f.type) for i, f in enumerate(SCHEMA)})


@settings(deadline=None, max_examples=60)
@given(st.lists(CELLS, max_size=8), st.randoms())
def test_order_and_layout_do_not_matter(rows: list[tuple[object, ...]], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    whole = table(rows)
    other = table(shuffled).select(["s", "l", "i", "f"])
    chunked = pa.concat_tables([other.slice(0, len(rows) // 2), other.slice(len(rows) // 2)])
    assert table_digest(whole) == table_digest(chunked)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([(1, 1.0, "a", [])], [(1, 1.0, "a", None)]),
        ([(1, 1.0, "", [])], [(1, 1.0, None, [])]),
        ([(None, 1.0, "a", [])], [(0, 1.0, "a", [])]),
        ([(1, None, "a", [])], [(1, float("nan"), "a", [])]),
        ([(1, 1.0, "a", [1.0, 2.0])], [(1, 1.0, "a", [2.0, 1.0])]),
        ([(1, 1.0, "a", [None])], [(1, 1.0, "a", [])]),
        ([(1, 1.0, "a", [])], [(1, 1.0, "a", [])] * 2),
        ([(2, 1.0, "a", [])] * 2, [(2, 1.0, "a", [])] * 4),
        ([(1, 1.0, "a", []), (2, 2.0, "b", [])], [(1, 2.0, "a", []), (2, 1.0, "b", [])]),
    ],
)
def test_any_difference_matters(left: list[tuple[object, ...]], right: list[tuple[object, ...]]) -> None:
    assert table_digest(table(left)) != table_digest(table(right))


def test_types_that_mean_the_same_agree() -> None:
    assert (cell_hashes(pa.array([1, None], pa.int32())) == cell_hashes(pa.array([1, None], pa.int64()))).all()
    assert (cell_hashes(pa.array([0.0])) == cell_hashes(pa.array([-0.0]))).all()
    assert (cell_hashes(pa.array([0.5], pa.float32())) == cell_hashes(pa.array([0.5], pa.float64()))).all()
    microseconds, nanoseconds = pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC")
    stamp = pa.array([10**15], microseconds)
    assert (cell_hashes(stamp) == cell_hashes(stamp.cast(nanoseconds))).all()


def test_every_column_type_has_a_digest() -> None:
    moments = pa.array([1, 2, None], pa.timestamp("ns", "UTC"))
    columns = {
        "category": pa.array(["a", "b", None]).dictionary_encode(),
        "date": pa.array([date(2026, 1, 1), None, date(2026, 1, 2)]),
        "decimal": pa.array([Decimal("1.10"), None, Decimal("2.20")]),
        "struct": pa.array([{"a": 1}, None, {"a": 2}]),
        "uint64": pa.array([2**64 - 1, 0, None], pa.uint64()),
        "nanoseconds": moments,
    }
    whole = pa.table(columns)
    assert table_digest(whole) == table_digest(whole.take([2, 0, 1]))
    assert (cell_hashes(columns["category"]) == cell_hashes(pa.array(["a", "b", None]))).all()


def test_the_digest_is_the_same_in_another_process_with_another_hash_seed() -> None:
    code = (
        "import pyarrow as pa; from skewguard.digest import table_digest;"
        "print(table_digest(pa.table({'a': [1, 2, None], 'b': ['x', 'y', 'ü']})))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    here = table_digest(pa.table({"a": [1, 2, None], "b": ["x", "y", "ü"]}))
    assert runs == {here + "\n"}


def test_a_sample_is_by_entity_and_near_its_share() -> None:
    entities = pa.table({"k": np.arange(20_000), "v": np.zeros(20_000)})
    mask = sample_mask(entities, ["k"], 0.1)
    assert 0.09 < mask.mean() < 0.11
    again = sample_mask(entities.slice(5000), ["k"], 0.1)
    assert (mask[5000:] == again).all()
    assert sample_mask(entities, ["k"], 1.0).all()
