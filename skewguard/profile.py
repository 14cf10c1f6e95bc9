"""Profiles of a table's columns: counts over fixed bins that are stored once and reused, so that any two compare.

A numeric column gets the distinct order statistics at 0%, 5%, ..., 100% as bin edges (order statistics, not
interpolated ones: the same on every machine), and a bin of its own for every value that two neighbouring ones share
(zeros, fills) and for the largest value; text and booleans get their most frequent values and "other"; timestamps are
profiled as ages in seconds where the as-of time of each row is given, else as seconds since 1970; lists by their
length. Nulls (by status, where it is known) and NaN are counted apart from the bins.

Where rows of one entity repeat, a profile also counts pairs of its rows by their two cells, so that a test can tell how
much less they say than as many independent rows. Everything is a whole number: the same on every machine, and additive.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skewguard.errors import ConfigurationError

PROFILE_VERSION = 2
"""Version of bins and layout; profiles of another version do not compare."""

_QUANTILES = np.linspace(0, 1, 21)
SHOWN_CATEGORIES, TESTED_CATEGORIES = 20, 50
"""Most categories with a count of their own: in a chart, and in the profile of a contract or a night."""
_ENTITIES_AT_ONCE = 20_000
OTHER = "(other)"
UNSEEN = "(unseen)"

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bins:
    """The fixed bins of one column: ``edges`` of a numeric one (ascending, distinct) or ``categories``, never both.

    With n edges there are n + 1 counts: below the first, between neighbours [a, b), and from the last edge on.
    With categories there is one more count, for every other value; ``complete`` says that the column had no other.
    """

    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    complete: bool = False

    @property
    def size(self) -> int:
        """How many counts there are."""
        return len(self.edges or self.categories) + 1

    @property
    def ordered(self) -> bool:
        """Do the bins lie on a line?"""
        return not self.categories

    def labels(self) -> tuple[str, ...]:
        """A short text for each bin, in the order of the counts."""
        if self.categories or not self.edges:
            return (*self.categories, UNSEEN if self.complete else OTHER)
        # the next number after a value with a bin of its own is told as that value
        starts = (self.edges[0], *(a if b == np.nextafter(a, np.inf) else b for a, b in pairwise(self.edges)))
        inner = [_span(a, b, start) for (a, b), start in zip(pairwise(self.edges), starts, strict=False)]
        last = self.edges[-1]
        if len(self.edges) > 1 and last == np.nextafter(self.edges[-2], np.inf):
            return (f"below {self.edges[0]:.4g}", *inner, f"above {self.edges[-2]:.4g}")
        return (f"below {self.edges[0]:.4g}", *inner, f"{last:.4g} and above")


def _span(low: float, high: float, start: float) -> str:
    return f"{low:.4g}" if high == np.nextafter(low, np.inf) else f"{start:.4g} to {high:.4g}"


@dataclass(frozen=True)
class ColumnProfile:
    """One column over its bins.

    ``rows`` are all rows, ``nulls`` and ``nans`` those without a value, ``counts`` the others by bin. ``statuses``:
    of the nulls, how many by why (Feast's status), where that is known. ``squares`` is the sum over entities of their
    rows squared (``rows`` where none repeats), ``repeated`` the number of entities with several rows; ``pairs`` counts
    ordered pairs of two rows of one entity by their two cells (bins, then NaN, then null; the upper triangle row by
    row, empty where nothing repeats).
    """

    bins: Bins
    rows: int
    nulls: int
    nans: int
    counts: tuple[int, ...]
    statuses: Mapping[str, int] = field(default_factory=dict)
    squares: int = -1
    repeated: int = 0
    pairs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.squares < 0:
            object.__setattr__(self, "squares", self.rows)

    @property
    def values(self) -> int:
        """Rows with a value that has a place among the bins."""
        return self.rows - self.nulls - self.nans

    @property
    def missing(self) -> dict[str, int]:
        """The rows without a value by why: "NaN", and of the nulls each status, or "null" where that is not known."""
        known = self.statuses if sum(self.statuses.values()) == self.nulls else {"null": self.nulls}
        return {name: rows for name, rows in {"NaN": self.nans, **known}.items() if rows}

    @cached_property
    def cells(self) -> Integers:
        """The counts of all cells: bins, NaN, null. Shape (bins.size + 2,)."""
        return np.array([*self.counts, self.nans, self.nulls], dtype=np.int64)

    @cached_property
    def pair_matrix(self) -> Integers:
        """Ordered pairs of two rows of one entity by their cells, symmetric. Shape (bins.size + 2, bins.size + 2)."""
        size = self.bins.size + 2
        matrix = np.zeros((size, size), dtype=np.int64)
        if self.pairs:
            matrix[np.triu_indices(size)] = self.pairs
            matrix += np.triu(matrix, 1).T
        return matrix

    def merged(self, other: ColumnProfile) -> ColumnProfile:
        """The profile of both columns' rows together; raises ValueError where the bins differ.

        An entity with rows in both counts as two: pairs across them are not known.
        """
        if self.bins != other.bins:
            raise ValueError("profiles over different bins cannot be merged")
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        names = sorted({*self.statuses, *other.statuses})
        pairs = tuple(a + b for a, b in zip(self.pairs, other.pairs, strict=True)) if self.pairs and other.pairs else ()
        return ColumnProfile(
            self.bins,
            self.rows + other.rows,
            self.nulls + other.nulls,
            self.nans + other.nans,
            counts,
            {name: self.statuses.get(name, 0) + other.statuses.get(name, 0) for name in names},
            self.squares + other.squares,
            self.repeated + other.repeated,
            pairs or self.pairs or other.pairs,
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON data; infinite edges as text."""
        return {
            "version": PROFILE_VERSION,
            "edges": [e if math.isfinite(e) else str(e) for e in self.bins.edges],
            "categories": list(self.bins.categories),
            "complete": self.bins.complete,
            "rows": self.rows,
            "nulls": self.nulls,
            "nans": self.nans,
            "counts": list(self.counts),
            "statuses": dict(self.statuses),
            "squares": self.squares,
            "repeated": self.repeated,
            "pairs": " ".join(map(str, self.pairs)),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ColumnProfile:
        """The inverse of ``to_dict``; raises ConfigurationError for a profile of another version."""
        version = data.get("version", 1)
        if version != PROFILE_VERSION:
            raise ConfigurationError(
                f"a profile of version {version!r}; expected {PROFILE_VERSION}: build a training set to write one."
            )
        bins = Bins(tuple(float(e) for e in data["edges"]), tuple(data["categories"]), bool(data["complete"]))
        return cls(
            bins,
            data["rows"],
            data["nulls"],
            data["nans"],
            tuple(data["counts"]),
            dict(data["statuses"]),
            data["squares"],
            data["repeated"],
            tuple(int(count) for count in data["pairs"].split()),
        )


@dataclass(frozen=True)
class Repeats:
    """Which rows belong to one entity: places of the rows of entities with several, sorted by entity.

    ``entity`` numbers these entities from 0, one number a place; ``squares`` is over all rows.
    """

    places: Integers
    entity: Integers
    squares: int

    @classmethod
    def of(cls, entities: npt.NDArray[Any]) -> Repeats:
        """From one key a row (any sortable dtype; equal keys are one entity)."""
        order = np.argsort(entities, kind="stable")
        ordered = entities[order]
        first = np.r_[True, ordered[1:] != ordered[:-1]] if len(ordered) else np.zeros(0, dtype=bool)
        number = np.cumsum(first) - 1
        sizes = np.bincount(number) if len(number) else np.zeros(0, dtype=np.int64)
        several = sizes > 1
        kept = several[number] if len(number) else np.zeros(0, dtype=bool)
        renumbered = np.cumsum(several) - 1
        return cls(order[kept], renumbered[number[kept]], int((sizes.astype(np.int64) ** 2).sum()))

    @property
    def repeated(self) -> int:
        """How many entities have several rows."""
        return int(self.entity[-1]) + 1 if len(self.entity) else 0


def numbers_of(array: pa.Array, as_of: pa.Array | None = None) -> pa.Array | None:
    """The column as float64 with its nulls where it is profiled by number (ages with ``as_of``), else None."""
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        array = pc.list_value_length(array)
    elif pa.types.is_timestamp(kind):
        micros = _micros(array)
        if as_of is not None:
            micros = pc.subtract(_micros(as_of), micros)
        return pc.divide(micros.cast(pa.float64()), 1e6)
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    return array.cast(pa.float64(), safe=False)


def _micros(array: pa.Array) -> pa.Array:
    return array.cast(pa.timestamp("us", tz=array.type.tz)).cast(pa.int64())


def texts_of(array: pa.Array) -> pa.Array:
    """The column as text with its nulls, bytes as hex digits."""
    if pa.types.is_binary(array.type):
        return pa.array([None if value is None else value.hex() for value in array.to_pylist()], pa.string())
    return array.cast(pa.string())


def make_bins(array: pa.Array, as_of: pa.Array | None = None, categories: int = SHOWN_CATEGORIES) -> Bins:
    """Bins fitted on a reference column; ``as_of`` as in ``profile_column``."""
    numbers = numbers_of(array, as_of)
    if numbers is None:
        counted = pc.value_counts(texts_of(array).drop_null()).to_pylist()
        ranked = sorted(counted, key=lambda item: (-item["counts"], item["values"]))
        kept = tuple(item["values"] for item in ranked[:categories])
        return Bins(categories=kept, complete=0 < len(ranked) <= categories)
    values = numbers.drop_null().to_numpy(zero_copy_only=False)
    return Bins(edges=_edges(np.sort(values[~np.isnan(values)])))


def _edges(ordered: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """Edges for values in ascending order."""
    if not len(ordered):
        return ()
    picks = ordered[np.ceil(_QUANTILES * (len(ordered) - 1)).astype(int)]
    distinct, times = np.unique(picks, return_counts=True)
    alone = [*distinct[times > 1].tolist(), float(distinct[-1])]
    ends = [float(np.nextafter(value, np.inf)) for value in alone if math.isfinite(value)]
    return tuple(np.unique([*distinct.tolist(), *ends]).tolist())


def profile_column(
    array: pa.Array | pa.ChunkedArray,
    bins: Bins | None = None,
    *,
    as_of: pa.Array | pa.ChunkedArray | None = None,
    repeats: Repeats | None = None,
) -> ColumnProfile:
    """A column's profile over ``bins`` (fitted on the column itself when None).

    ``as_of`` (timestamps, one a row) makes a timestamp column one of ages; ``repeats`` says which rows share an entity.
    """
    array, as_of = _whole(array), None if as_of is None else _whole(as_of)
    bins = bins if bins is not None else make_bins(array, as_of)
    if bins.ordered and (repeats is None or not len(repeats.places)):
        numbers = numbers_of(array, as_of)
        if numbers is not None:
            return _of_ordered(array, numbers, bins)
    codes = cell_codes(array, bins, as_of)
    counts = np.bincount(codes, minlength=bins.size + 2)
    kept = tuple(int(c) for c in counts[: bins.size])
    profile = ColumnProfile(bins, len(array), int(counts[-1]), int(counts[-2]), kept)
    if repeats is None or not len(repeats.places):
        return profile
    pairs = _pairs(codes[repeats.places], repeats.entity, bins.size + 2)
    return ColumnProfile(
        bins, profile.rows, profile.nulls, profile.nans, kept, {}, repeats.squares, repeats.repeated, pairs
    )


def _of_ordered(array: pa.Array, numbers: pa.Array, bins: Bins) -> ColumnProfile:
    """Where only the counts are asked for, sorting once is faster than finding each value's bin."""
    ordered = np.sort(numbers.drop_null().to_numpy(zero_copy_only=False))
    present = int(np.searchsorted(ordered, np.inf, side="right"))  # NaN sorts behind everything
    ends = np.searchsorted(ordered[:present], np.array(bins.edges), side="left")
    counts = np.diff(np.r_[0, ends, present])
    return ColumnProfile(
        bins, len(array), array.null_count, len(ordered) - present, tuple(int(count) for count in counts)
    )


def cell_codes(array: pa.Array, bins: Bins, as_of: pa.Array | None = None) -> Integers:
    """The cell of each row: a bin from 0 on, ``bins.size`` for NaN, ``bins.size + 1`` for null."""
    null = np.asarray(array.is_null())
    numbers = numbers_of(array, as_of)
    if numbers is None:
        texts = texts_of(array)
        found = pc.index_in(texts, value_set=pa.array(bins.categories, pa.string()))
        codes: Integers = found.fill_null(len(bins.categories)).to_numpy(zero_copy_only=False).astype(np.int64)
    else:
        values = numbers.fill_null(math.nan).to_numpy(zero_copy_only=False)
        codes = np.searchsorted(np.array(bins.edges), values, side="right").astype(np.int64, copy=False)
        codes[np.isnan(values)] = bins.size
        null = null | np.asarray(numbers.is_null())
    codes[null] = bins.size + 1
    return codes


def _pairs(codes: Integers, entity: Integers, size: int) -> tuple[int, ...]:
    """Ordered pairs of rows of one entity by their cells; ``entity`` is ascending."""
    total = np.zeros((size, size))
    last = int(entity[-1]) + 1
    for start in range(0, last, _ENTITIES_AT_ONCE):
        low, high = np.searchsorted(entity, [start, start + _ENTITIES_AT_ONCE])
        height = min(_ENTITIES_AT_ONCE, last - start)
        flat = (entity[low:high] - start) * size + codes[low:high]
        counts = np.bincount(flat, minlength=height * size).reshape(height, size).astype(np.float64)
        total += counts.T @ counts  # whole numbers far below 2^53: exact
    own = np.bincount(codes, minlength=size)
    total[np.diag_indices(size)] -= own
    return tuple(int(value) for value in total[np.triu_indices(size)])


def _whole(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
