"""Roles and kinds of columns, the split by time, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from skewguard.errors import BadInputError, UnknownNameError
from tests.training.builders import FEATURES, START, training_table
from training.dataset import SplitRule, make_dataset, split_by_time


def test_kinds_are_told_from_types() -> None:
    kinds = make_dataset(training_table(), FEATURES, "y").kinds
    assert kinds.numbers == ("whole", "real", "flag")
    assert kinds.categories == ("kind",)
    assert kinds.timestamps == ("seen_at",)
    assert (kinds.number_lists, kinds.other_lists) == (("numbers",), ("words",))
    assert sorted(kinds.columns) == sorted(FEATURES)


def test_the_frame_keeps_values_and_nulls() -> None:
    table = training_table().slice(0, 40)
    frame = make_dataset(table, FEATURES, "y").frame()
    for name in ("whole", "flag"):
        got = [None if np.isnan(v) else v for v in frame[name]]
        assert got == table.column(name).to_pylist()
    assert frame["kind"].tolist() == table.column("kind").to_pylist()
    assert frame["numbers"].tolist() == table.column("numbers").to_pylist()
    seen = [None if np.isnan(v) else v for v in frame["seen_at"]]
    assert seen == [None if v is None else v.timestamp() for v in table.column("seen_at").to_pylist()]
    assert frame["event_timestamp"].iloc[0] == START.timestamp()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"features": ["whole", "reel"]}, UnknownNameError, "Did you mean 'real'"),
        ({"label": "z"}, UnknownNameError, "'z'"),
        ({"label": "real"}, BadInputError, "a column that is not a feature"),
        ({"timestamp": "when"}, UnknownNameError, "'when'"),
        ({"timestamp": "key"}, BadInputError, "a time in every row"),
        ({"timestamp": "seen_at"}, BadInputError, "a time in every row"),
        ({"table": training_table().slice(0, 0)}, BadInputError, "no rows"),
    ],
)
def test_roles_that_do_not_fit(change: dict[str, Any], error: type[Exception], message: str) -> None:
    given: dict[str, Any] = {"table": training_table(), "features": list(FEATURES), "label": "y", "timestamp": None}
    with pytest.raises(error, match=message):
        make_dataset(**(given | change))


def test_the_timestamp_column_is_found_or_asked_for() -> None:
    renamed = training_table().rename_columns({"event_timestamp": "at"})
    assert make_dataset(renamed, FEATURES, "y").timestamp == "at"
    two = renamed.append_column("also", renamed.column("at"))
    with pytest.raises(BadInputError, match="--timestamp-column"):
        make_dataset(two, FEATURES, "y")
    assert make_dataset(two, FEATURES, "y", "also").timestamp == "also"


@pytest.mark.parametrize(
    ("values", "message"),
    [([0, None], "1 nulls"), ([0, 2], "the value 2"), ([0.0, 1.0], "type double"), (["0", "1"], "type string")],
)
def test_labels_that_are_none(values: list[Any], message: str) -> None:
    table = training_table(2).set_column(2, "y", pa.array(values))
    with pytest.raises(BadInputError, match=message):
        make_dataset(table, FEATURES, "y").labels()


def test_boolean_labels_count() -> None:
    table = training_table(2).set_column(2, "y", pa.array([True, False]))
    assert make_dataset(table, FEATURES, "y").labels().tolist() == [1, 0]


@pytest.mark.parametrize("kind", [pa.binary(), pa.struct([("a", pa.int64())])])
def test_a_kind_that_no_model_can_use_is_named(kind: pa.DataType) -> None:
    table = training_table(3).append_column("odd", pa.nulls(3, kind))
    with pytest.raises(BadInputError, match="feature 'odd'"):
        _ = make_dataset(table, ["odd"], "y").kinds


def weeks(rule: SplitRule) -> tuple[set[int], set[int]]:
    dataset = make_dataset(training_table(), FEATURES, "y")
    split = split_by_time(dataset, rule)
    assert not (split.train & split.test).any()
    week = ((dataset.times() / 1e6 - START.timestamp()) / timedelta(weeks=1).total_seconds()).astype(int)
    return set(week[split.train].tolist()), set(week[split.test].tolist())


@pytest.mark.parametrize(
    ("rule", "train", "test"),
    [
        (SplitRule(after=START + timedelta(weeks=7)), range(7), range(7, 10)),
        (SplitRule(after=START + timedelta(weeks=6, seconds=1)), range(7), range(7, 10)),
        (SplitRule(share=0.3), range(7), range(7, 10)),
        (SplitRule(share=0.25), range(7), range(7, 10)),  # rows of one time never part
        (SplitRule(after=START + timedelta(weeks=7), gap=timedelta(weeks=2)), range(6), range(7, 10)),
        (SplitRule(after=START + timedelta(weeks=7), gap=timedelta(weeks=2, seconds=1)), range(5), range(7, 10)),
    ],
)
def test_the_split_is_by_time(rule: SplitRule, train: range, test: range) -> None:
    assert weeks(rule) == (set(train), set(test))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (SplitRule(after=START), "no training rows"),
        (SplitRule(after=START + timedelta(weeks=99)), "no test rows"),
        (SplitRule(share=1.0), "a number between 0 and 1"),
        (SplitRule(share=0.3, gap=timedelta(weeks=50)), "no training rows"),
        (SplitRule(gap=timedelta(days=-1)), "zero or more"),
    ],
)
def test_a_split_that_leaves_nothing(rule: SplitRule, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        split_by_time(make_dataset(training_table(), FEATURES, "y"), rule)
