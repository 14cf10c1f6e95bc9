"""A training table as scikit-learn sees it: the kind of each column, the label, the as-of times, the split by time.

Kinds are told from Arrow types, never from names: numbers and booleans, categories (strings), timestamps, lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skewguard.errors import BadInputError, UnknownNameError

if TYPE_CHECKING:
    import pandas as pd

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FeatureKinds:
    """Feature columns by kind, each in the order of the table."""

    numbers: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    timestamps: tuple[str, ...] = ()
    number_lists: tuple[str, ...] = ()
    other_lists: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.numbers, *self.categories, *self.timestamps, *self.number_lists, *self.other_lists)


@dataclass(frozen=True)
class Dataset:
    """A training table with its roles. ``label`` holds 0 and 1 (or false and true), ``timestamp`` the as-of times."""

    table: pa.Table
    features: tuple[str, ...]
    label: str
    timestamp: str

    @property
    def kinds(self) -> FeatureKinds:
        """The features by kind; raises BadInputError for a column that no model here can use."""
        return kinds_of(self.table.schema, self.features)

    def labels(self) -> npt.NDArray[np.int64]:
        """The label as int64 zeros and ones. Raises BadInputError for nulls or other values."""
        column = self.table.column(self.label)
        if column.null_count:
            raise BadInputError(f"label {self.label!r}", f"{column.null_count} nulls", "a value in every row")
        if not (pa.types.is_boolean(column.type) or pa.types.is_integer(column.type)):
            raise BadInputError(f"label {self.label!r}", f"a column of type {column.type}", "int64 or bool")
        values: npt.NDArray[np.int64] = column.cast(pa.int64()).to_numpy()
        other = sorted(set(np.unique(values).tolist()) - {0, 1})
        if other:
            raise BadInputError(f"label {self.label!r}", f"the value {other[0]}", "0 and 1, or false and true")
        return values

    def times(self) -> npt.NDArray[np.int64]:
        """The as-of times as microseconds since 1970, UTC."""
        return _microseconds(self.table.column(self.timestamp))

    def frame(self) -> pd.DataFrame:
        """The features, and the as-of time as ``timestamp``, as pandas columns that the pipeline understands.

        Numbers and booleans are float64 (null is NaN), categories objects (null is None), times float64 seconds since
        1970 (null is NaN), lists objects.
        """
        import pandas as pd

        kinds = self.kinds
        data: dict[str, npt.NDArray[np.generic]] = {self.timestamp: self.times() / 1e6}
        for name in self.features:
            column = self.table.column(name)
            if name in kinds.numbers:
                data[name] = column.cast(pa.float64(), safe=False).to_numpy()
            elif name in kinds.timestamps:
                data[name] = _seconds(column)
            else:
                data[name] = _objects(column)
        return pd.DataFrame(data)

    def rows(self, mask: Mask) -> Dataset:
        """The same dataset with only the rows of ``mask``."""
        return Dataset(self.table.filter(pa.array(mask)), self.features, self.label, self.timestamp)


def make_dataset(table: pa.Table, features: Sequence[str], label: str, timestamp: str | None = None) -> Dataset:
    """Give the columns of a table their roles.

    ``timestamp`` defaults to ``event_timestamp``, else to the only timestamp column that is no feature. Raises
    UnknownNameError for a column that is not there, BadInputError for a table without rows or without as-of times.
    """
    for name in (label, *features):
        if name not in table.column_names:
            raise UnknownNameError("column of the training set", name, table.column_names)
    if label in features:
        raise BadInputError("label", repr(label), "a column that is not a feature of the service")
    if table.num_rows == 0:
        raise BadInputError("entity rows", "no rows", "at least one")
    chosen: str = timestamp or _timestamp_column(table, features)
    if chosen not in table.column_names:
        raise UnknownNameError("column of the training set", chosen, table.column_names)
    if not pa.types.is_timestamp(table.schema.field(chosen).type) or table.column(chosen).null_count:
        raise BadInputError(f"timestamp column {chosen!r}", str(table.schema.field(chosen)), "a time in every row")
    return Dataset(table, tuple(features), label, chosen)


def _timestamp_column(table: pa.Table, features: Sequence[str]) -> str:
    if "event_timestamp" in table.column_names:
        return "event_timestamp"
    found: list[str] = [f.name for f in table.schema if pa.types.is_timestamp(f.type) and f.name not in features]
    if len(found) != 1:
        raise BadInputError("timestamp column", f"{len(found)} candidates {found}", "its name with --timestamp-column")
    return found[0]


def kinds_of(schema: pa.Schema, features: Sequence[str]) -> FeatureKinds:
    """The features by kind, told from their Arrow types. Raises BadInputError for bytes and nested values."""
    found: dict[str, list[str]] = {"numbers": [], "categories": [], "timestamps": [], "number_lists": [],
                                   "other_lists": []}  # fmt: skip
    for name in features:
        kind = schema.field(name).type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            found["number_lists" if _is_number(kind.value_type) else "other_lists"].append(name)
        elif _is_number(kind):
            found["numbers"].append(name)
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            found["categories"].append(name)
        elif pa.types.is_timestamp(kind):
            found["timestamps"].append(name)
        else:
            raise BadInputError(f"feature {name!r}", f"type {kind}", "a number, bool, string, timestamp or list")
    return FeatureKinds(**{key: tuple(names) for key, names in found.items()})


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _microseconds(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    unit = pa.timestamp("us", tz=column.type.tz)
    values: npt.NDArray[np.int64] = column.cast(unit, safe=False).cast(pa.int64()).to_numpy()
    return values


def _seconds(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    unit = pa.timestamp("us", tz=column.type.tz)
    whole = column.cast(unit, safe=False).cast(pa.int64()).cast(pa.float64(), safe=False)
    values: npt.NDArray[np.float64] = pc.divide(whole, 1e6).to_numpy()
    return values


def _objects(column: pa.ChunkedArray) -> npt.NDArray[np.object_]:
    values = column.to_pylist()
    out = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        out[index] = value
    return out


@dataclass(frozen=True)
class SplitRule:
    """How to split by time: test rows are those at or after ``after``, else the latest ``share`` of the rows.

    Rows of one time never part. Training rows less than ``gap`` before the first test row are dropped: their labels
    look into the test period.
    """

    after: datetime | None = None
    share: float = 0.25
    gap: timedelta = timedelta(0)


@dataclass(frozen=True)
class Split:
    """Row masks of a split, and the first test time (microseconds since 1970, UTC)."""

    train: Mask
    test: Mask
    test_from: int


def split_by_time(dataset: Dataset, rule: SplitRule) -> Split:
    """Split a dataset by its as-of times; raises BadInputError where either side would be empty."""
    if rule.gap < timedelta(0):
        raise BadInputError("test gap", str(rule.gap), "zero or more")
    times = dataset.times()
    if rule.after is not None:
        cut = int(rule.after.timestamp() * 1e6)
    else:
        if not 0 < rule.share < 1:
            raise BadInputError("test share", str(rule.share), "a number between 0 and 1")
        ordered = np.sort(times)
        cut = int(ordered[min(len(ordered) - 1, int(np.ceil(len(ordered) * (1 - rule.share))))])
    test = times >= cut
    first = int(times[test].min()) if test.any() else cut
    train = ~test & (times <= first - int(rule.gap.total_seconds() * 1e6))
    for name, mask in (("test", test), ("training", train)):
        if not mask.any():
            raise BadInputError(
                "split",
                f"no {name} rows (times {_text(int(times.min()))} to {_text(int(times.max()))}, test from {_text(cut)}"
                f", gap {rule.gap})",
                "a time inside the range with --test-after, or another --test-share or --test-gap-days",
            )
    return Split(train, test, first)


def _text(microseconds: int) -> str:
    return str(np.datetime64(microseconds, "us"))[:19] + "Z"
