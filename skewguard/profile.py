"""Profiles of a table's columns: counts over fixed bins that are stored once and reused, so that any two compare.

A numeric column gets the distinct order statistics at 0%, 5%, ..., 100% as bin edges (order statistics, not
interpolated ones: the same on every machine); text and booleans get their most frequent values and "other"; timestamps
are profiled as seconds; lists by their length. Nulls and NaN are counted apart from the bins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

PROFILE_VERSION = 1
_QUANTILES = np.linspace(0, 1, 21)
_CATEGORIES = 20
OTHER = "(other)"


@dataclass(frozen=True)
class Bins:
    """The fixed bins of one column: ``edges`` of a numeric one (ascending, distinct) or ``categories``, never both.

    With n edges there are n + 1 counts: below the first, between neighbours [a, b), and from the last edge on.
    With categories there is one more count, for every other value.
    """

    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()

    def labels(self) -> tuple[str, ...]:
        """A short text for each bin, in the order of the counts."""
        if self.categories or not self.edges:
            return (*self.categories, OTHER)
        inner = [f"{a:.4g} to {b:.4g}" for a, b in zip(self.edges, self.edges[1:], strict=False)]
        return (f"below {self.edges[0]:.4g}", *inner, f"{self.edges[-1]:.4g} and above")


@dataclass(frozen=True)
class ColumnProfile:
    """One column over its bins: rows, nulls, NaNs, and a count per bin."""

    bins: Bins
    rows: int
    nulls: int
    nans: int
    counts: tuple[int, ...]

    def merged(self, other: ColumnProfile) -> ColumnProfile:
        """The profile of both columns' rows together; raises ValueError where the bins differ."""
        if self.bins != other.bins:
            raise ValueError("profiles over different bins cannot be merged")
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return ColumnProfile(
            self.bins, self.rows + other.rows, self.nulls + other.nulls, self.nans + other.nans, counts
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON data; infinite edges as text."""
        return {
            "edges": [e if math.isfinite(e) else str(e) for e in self.bins.edges],
            "categories": list(self.bins.categories),
            "rows": self.rows,
            "nulls": self.nulls,
            "nans": self.nans,
            "counts": list(self.counts),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ColumnProfile:
        """The inverse of ``to_dict``."""
        bins = Bins(tuple(float(e) for e in data["edges"]), tuple(data["categories"]))
        return cls(bins, data["rows"], data["nulls"], data["nans"], tuple(data["counts"]))


def _numbers(array: pa.Array) -> npt.NDArray[np.float64] | None:
    """The non-null values as float64 when the column is profiled by number, else None."""
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        array = pc.list_value_length(array)
    elif pa.types.is_timestamp(kind):
        seconds: npt.NDArray[np.float64] = (
            array.drop_null().cast(pa.timestamp("us", tz=kind.tz)).cast(pa.int64()).to_numpy() / 1e6
        )
        return seconds
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    return np.asarray(array.drop_null().to_numpy(zero_copy_only=False), dtype=np.float64)


def _texts(array: pa.Array) -> pa.Array:
    array = array.drop_null()
    if pa.types.is_binary(array.type):
        return pa.array([value.hex() for value in array.to_pylist()], pa.string())
    return array.cast(pa.string())


def make_bins(array: pa.Array) -> Bins:
    """Bins fitted on a reference column."""
    numbers = _numbers(array)
    if numbers is None:
        counted = pc.value_counts(_texts(array)).to_pylist()
        ranked = sorted(counted, key=lambda item: (-item["counts"], item["values"]))
        return Bins(categories=tuple(item["values"] for item in ranked[:_CATEGORIES]))
    numbers = np.sort(numbers[~np.isnan(numbers)])
    if not len(numbers):
        return Bins()
    picks = np.ceil(_QUANTILES * (len(numbers) - 1)).astype(int)
    return Bins(edges=tuple(float(e) for e in np.unique(numbers[picks])))


def profile_column(array: pa.Array | pa.ChunkedArray, bins: Bins | None = None) -> ColumnProfile:
    """A column's profile over ``bins`` (fitted on the column itself when None)."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    bins = bins if bins is not None else make_bins(array)
    numbers = _numbers(array)
    if numbers is None:
        counted = {item["values"]: item["counts"] for item in pc.value_counts(_texts(array)).to_pylist()}
        counts = [counted.pop(category, 0) for category in bins.categories]
        return ColumnProfile(bins, len(array), array.null_count, 0, (*counts, sum(counted.values())))
    nans = int(np.isnan(numbers).sum())
    numbers = numbers[~np.isnan(numbers)]
    slots = np.searchsorted(np.array(bins.edges), numbers, side="right")
    counts_array = np.bincount(slots, minlength=len(bins.edges) + 1)
    return ColumnProfile(bins, len(array), array.null_count, nans, tuple(int(c) for c in counts_array))


def profile_table(table: pa.Table, columns: Sequence[str]) -> dict[str, ColumnProfile]:
    """The profile of each named column."""
    return {name: profile_column(table.column(name)) for name in columns}
