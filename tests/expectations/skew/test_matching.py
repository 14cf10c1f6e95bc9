"""Online matches offline: degenerate frames, pairs worked by hand, and the library's own equality over random pairs."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skewguard import dtypes
from skewguard.causes.equality import equal_sql
from skewguard.config import Tolerance
from skewguard.expectations import great_expectations_import
from skewguard.offline.sources import connect
from tests.expectations.skew.builders import one, run, skew, trouble

TODAY = datetime(2026, 1, 1, tzinfo=UTC)
NAN = math.nan


def match(**kwargs: Any) -> Any:
    return skew.ExpectOnlineToMatchOffline(column_A="a", column_B="b", **kwargs)


def exact(offline: Any, online: Any, kind: pa.DataType | None = None) -> pd.DataFrame:
    return skew.exact_frame(pa.table({"a": pa.array(offline, kind), "b": pa.array(online, kind)}))


PAIRS: list[tuple[Any, Any, pa.DataType, dict[str, Any], list[bool]]] = [
    # all null, NaN, infinite
    ([None], [None], pa.float64(), {}, [True]),
    ([None], [None], pa.null(), {}, [True]),
    ([NAN], [NAN], pa.float64(), {}, [True]),
    ([NAN], [None], pa.float64(), {}, [True]),  # Feast stores NaN as null
    ([None], [NAN], pa.float64(), {}, [False]),
    ([math.inf, math.inf], [math.inf, -math.inf], pa.float64(), {}, [True, False]),
    # numbers
    ([1.0, 1.0], [1.0 + 1e-10, 1.0 + 1e-8], pa.float64(), {}, [True, False]),
    ([0.1, 0.1], [0.1 + 1e-8, 0.1001], pa.float32(), {}, [True, False]),
    ([10.0, 10.0], [10.5, 10.6], pa.float64(), {"absolute": 0.5}, [True, False]),
    ([100.0, 100.0], [99.0, 98.0], pa.float64(), {"relative": 0.01}, [True, False]),
    ([2**53 + 1, None], [2**53, None], pa.int64(), {}, [False, True]),  # exact beside a null
    ([1, 5], [2, 9], pa.int32(), {"absolute": 1}, [True, False]),
    ([True, None], [True, False], pa.bool_(), {}, [True, False]),
    # text, bytes, moments, lists
    (["a", "é", ""], ["a", "e\u0301", None], pa.string(), {}, [True, False, False]),
    ([b"a", b"\xff"], [b"a", b"\xfe"], pa.binary(), {}, [True, False]),
    ([TODAY, TODAY], [TODAY + timedelta(microseconds=999_999), TODAY + timedelta(seconds=1)],
     pa.timestamp("us", "UTC"), {}, [True, False]),
    ([[1.0, None], [1.0], []], [[1.0, NAN], [2.0], None], pa.list_(pa.float64()), {}, [True, False, False]),
    ([["b", "a"], ["a"]], [["a", "b"], ["a", "a"]], pa.list_(pa.string()), {"dtype": "STRING_SET"}, [True, False]),
]  # fmt: skip


@pytest.mark.parametrize(("offline", "online", "kind", "kwargs", "equal"), PAIRS)
def test_pairs_worked_by_hand(
    offline: Any, online: Any, kind: pa.DataType, kwargs: dict[str, Any], equal: list[bool]
) -> None:
    result = one(exact(offline, online, kind), match(**kwargs))
    assert result["result"]["element_count"] == len(equal)
    assert result["result"]["unexpected_count"] == equal.count(False)
    assert result["success"] is all(equal)
    assert len(result["result"]["samples"]) == equal.count(False)


@pytest.mark.parametrize(("offline", "online", "kind", "kwargs", "equal"), PAIRS)
def test_the_same_in_numpy_frames(
    offline: Any, online: Any, kind: pa.DataType, kwargs: dict[str, Any], equal: list[bool]
) -> None:
    """Where ``to_pandas`` keeps what there is: it rounds whole numbers beside nulls, and NaN and null are one."""
    frame = pa.table({"a": pa.array(offline, kind), "b": pa.array(online, kind)}).to_pandas()
    if (offline, online) in (([None], [NAN]), ([2**53 + 1, None], [2**53, None])):
        assert one(frame, match(**kwargs))["success"] is True
        return
    assert one(frame, match(**kwargs))["result"]["unexpected_count"] == equal.count(False)


def test_rounded_whole_numbers_of_a_declared_dtype_are_refused() -> None:
    frame = pa.table({"a": pa.array([2**53 + 3, None]), "b": pa.array([2**53 + 3, 1])}).to_pandas()
    (result,) = run(frame, match(dtype="INT64"))
    assert "column 'a': got whole numbers above 2^53 as doubles" in trouble(result)
    assert result["success"] is False


def test_columns_of_types_that_never_hold_the_same() -> None:
    frame = pd.DataFrame({"a": ["1", None], "b": [1, 2]}).astype({"b": object})
    frame.loc[1, "b"] = None
    assert one(frame, match())["result"]["unexpected_count"] == 1


def test_pandas_own_ways_to_hold_a_column() -> None:
    """NaN for a missing text, categories, nullable integers, moments without a zone."""
    frame = pd.DataFrame({"a": pd.Categorical(["x", None, "y"]), "b": pd.Series(["x", NAN, "z"], dtype=object)})
    assert one(frame, match())["result"]["unexpected_count"] == 1
    frame = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": pd.Series([1.0, NAN])})
    assert one(frame, match(dtype="INT64"))["success"] is True
    naive = pd.DataFrame({"a": [TODAY.replace(tzinfo=None)], "b": [TODAY]})
    assert one(naive, match())["success"] is True


def test_no_rows_are_no_success() -> None:
    empty = pd.DataFrame({"a": pd.Series([], dtype="float64"), "b": pd.Series([], dtype="float64")})
    for frame, condition in ((empty, None), (exact([1.0], [1.0]), gx_column("a") > 5)):
        result = one(frame, match(row_condition=condition))
        assert result["success"] is False
        assert result["result"]["inconclusive"] == "no rows to compare"


def gx_column(name: str) -> Any:
    from great_expectations.expectations.row_conditions import Column

    return Column(name)


def test_mostly_and_row_condition() -> None:
    frame = exact([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0, 9.0])
    assert [r["success"] for r in run(frame, match(mostly=0.8), match(mostly=0.81))] == [True, False]
    assert one(frame, match(row_condition=gx_column("a") < 5))["success"] is True


def test_corrupt_is_never_equal_and_causes_are_counted() -> None:
    frame = exact([None, None, 1.0, 2.0], [None, None, 3.0, 2.0], pa.float64())
    frame["state"] = ["corrupt", "null", "value", "value"]
    frame["cause"] = ["corrupt_value", None, "unexplained", None]
    frame["k"], frame["name"] = [7, 8, 9, 10], ["<b>", "x", "y", "z"]
    result = one(frame, match(state_column="state", cause_column="cause", entity_columns=["k", "name"]))["result"]
    assert result["unexpected_count"] == 2
    assert result["causes"] == {"corrupt_value": 1, "unexplained": 1}
    assert result["samples"] == [
        {"entity": {"k": 7, "name": "<b>"}, "offline": None, "online": "(corrupt)", "cause": "corrupt_value"},
        {"entity": {"k": 9, "name": "y"}, "offline": 1.0, "online": 3.0, "cause": "unexplained"},
    ]


@pytest.mark.parametrize("form", ["BOOLEAN_ONLY", "BASIC", "SUMMARY", "COMPLETE"])
def test_every_result_format_is_json(form: str) -> None:
    for kind, values in ((pa.binary(), b"\xff"), (pa.timestamp("us", "UTC"), TODAY), (pa.list_(pa.float64()), [NAN])):
        table = pa.table({"a": pa.array([values, None], kind), "b": pa.array([None, None], kind), "k": [1, 2]})
        for frame in (table.to_pandas(), skew.exact_frame(table)):
            wanted = {"result_format": form, "unexpected_index_column_names": ["k"]}
            result = one(frame, match(), result_format=wanted)
            assert result["success"] is False
            if form == "COMPLETE":
                assert [index["k"] for index in result["result"]["unexpected_index_list"]] == [1]


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"dtype": "DOUBEL"}, r"got 'DOUBEL'; expected a Feast dtype such as DOUBLE.*Did you mean 'DOUBLE'"),
        ({"relative": -1}, "relative\n  got -1; expected a share from 0 to 1"),
        ({"relative": True}, "got True; expected a share"),
        ({"absolute": math.inf}, "absolute\n  got inf; expected a number of 0 or more"),
        ({"mostly": 2}, "mostly"),
        ({"absolut": 1}, "extra fields not permitted"),
        ({"ignore_row_if": "never"}, "unexpected value; permitted"),
    ],
)
def test_a_wrong_argument_is_refused_when_it_is_made(kwargs: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        match(**kwargs)


def test_a_missing_column_is_named() -> None:
    frame = exact([1.0], [1.0])
    (result,) = run(frame, match(state_column="stat"))
    assert "Unknown column of the batch 'stat'" in trouble(result)


def test_a_suite_parameter_in_place_of_a_number() -> None:
    frame = exact([10.0], [10.4])
    relaxed = match(absolute={"$PARAMETER": "slack"})
    for slack, success in ((0.5, True), (0.1, False)):
        (result,) = run(frame, relaxed, expectation_parameters={"slack": slack})
        assert result["success"] is success, trouble(result)


SCALARS: dict[str, Any] = {
    "DOUBLE": st.one_of(st.floats(width=64), st.sampled_from([0.1, 0.1 + 1e-10, 1.0, 1.0 + 1e-9, -0.0, 0.0])),
    "FLOAT": st.one_of(
        st.floats(width=32), st.sampled_from([0.1, 0.10000001, 1.0]).map(lambda x: float(np.float32(x)))
    ),
    "INT64": st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([2**53, 2**53 + 1, 0])),
    "INT32": st.integers(-(2**31), 2**31 - 1),
    "BOOL": st.booleans(),
    "STRING": st.sampled_from(["", "a", "A", "é", "e\u0301", "x'y\"z", "\x00"]),
    "BYTES": st.sampled_from([b"", b"a", b"\xff\x00"]),
    "UNIX_TIMESTAMP": st.sampled_from([0, 1, 999_999, 1_000_000, 10**15]).map(
        lambda micros: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    ),
}


@st.composite
def pairs(draw: Any) -> tuple[str, list[Any], list[Any], dict[str, float]]:
    dtype = draw(st.sampled_from([*SCALARS, *(f"{name}_LIST" for name in SCALARS), "DOUBLE_SET"]))
    inner = SCALARS[dtypes.element(dtype) or dtype]
    value = st.lists(inner, max_size=3) if dtypes.element(dtype) else inner
    rows = draw(st.lists(st.tuples(st.none() | value, st.none() | value, st.booleans()), min_size=1, max_size=8))
    offline = [a for a, _, _ in rows]
    online = [a if same else b for a, b, same in rows]
    tolerance = draw(
        st.sampled_from([{}, {}, {"absolute": 0.5}, {"relative": 1e-9}, {"absolute": 1e-8, "relative": 0.1}])
    )
    return dtype, offline, online, tolerance


@settings(max_examples=200, deadline=None)
@given(pairs())
def test_equality_is_the_parity_checks_own(case: tuple[str, list[Any], list[Any], dict[str, float]]) -> None:
    """Through GX and pandas and back, against the expression that a comparison runs, on the very same Arrow values."""
    dtype, offline, online, tolerance = case
    kind = dtypes.arrow_type(dtype)
    table = pa.table({"a": pa.array(offline, kind), "b": pa.array(online, kind)})
    with connect() as con:
        con.register("pairs", table)
        expected = con.execute(f"SELECT {equal_sql(dtype, 'a', 'b', Tolerance(**tolerance))} FROM pairs").fetchall()
    wanted = {"result_format": "COMPLETE"}
    (result,) = engine_result(skew.exact_frame(table), [match(dtype=dtype, **tolerance)], wanted)
    assert result["unexpected_index_list"] == [row for row, (equal,) in enumerate(expected) if not equal]


def engine_result(frame: pd.DataFrame, expectations: list[Any], result_format: Any) -> list[dict[str, Any]]:
    """GX's own validator without a context, which is quick enough for many cases; results in their order."""
    from great_expectations.execution_engine import PandasExecutionEngine

    engine = PandasExecutionEngine()
    engine.load_batch_data("frame", frame)
    validator = great_expectations_import.load().Validator(execution_engine=engine)
    numbered = [e.copy(update={"meta": {"place": i}}).configuration for i, e in enumerate(expectations)]
    found = validator.graph_validate(numbered, {"result_format": result_format})
    ordered = sorted((one.to_json_dict() for one in found), key=lambda r: r["expectation_config"]["meta"]["place"])
    return [result["result"] for result in ordered]
