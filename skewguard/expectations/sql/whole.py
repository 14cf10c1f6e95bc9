"""Whole columns outside of SQL: what NumPy and Arrow count several times as fast as a statement of DuckDB would.

Sorted places, strings by value, whole numbers by their place: of a column without a row condition, read once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard.expectations.sql.asks import Answers, Apart, Ask, Centre, Counts, Few, Groups, Ranked, Within
from skewguard.expectations.sql.columns import Column, Kind
from skewguard.expectations.sql.outcomes import Limits
from skewguard.expectations.sql.source import Attached

FEW, SAMPLE = 200, 10_000


def column_of(ask: Ask, source: Attached) -> Column | None:
    """The whole column that ``read_answers`` reads for a question; None where a statement has to answer it."""
    match ask:
        case Few(column) | Centre(column):
            return column if source.in_memory else None
        case Within(column) | Apart(column):
            return column
        case Groups(whole=column) if ask.dense is not None:
            return column
        case Counts(whole=Column(kind=Kind.TEXT) as column) | Ranked(whole=column):
            return column
    return None


def read_answers(asks: Iterable[Ask], column: Column, source: Attached) -> Answers:
    """The answers to questions about one column, as ``asks`` says."""
    values = source.values(column)
    return {ask: _answer(ask, column, values) for ask in asks}


def _answer(ask: Ask, column: Column, values: pa.ChunkedArray) -> Any:
    match ask:
        case Few():
            return distinct(values.slice(0, SAMPLE)) <= FEW
        case Centre():
            return mean(numbers(values.slice(0, SAMPLE), column))
        case Within(limits=limits):
            return within(values, limits)
        case Apart(centre=centre):
            return apart(numbers(values, column), centre)
        case Groups(dense=int(least)):
            return groups(numbers(values, column), least)
        case Counts():
            return counts(values)
        case Ranked(ranks=ranks):
            return ranked(numbers(values, column), ranks)
    raise TypeError(f"no whole column answers {ask!r}")


def ranked(values: Any, ranks: Callable[[int], list[int]]) -> list[Any]:
    """The values at the places that ``ranks`` gives for their number; none where there are none."""
    if not len(values):
        return []
    places = ranks(len(values))
    if values.dtype.kind == "i":
        least, most = int(values.min()), int(values.max())
        if most - least <= len(values):  # sorted by counting
            below = np.cumsum(np.bincount(values - least))
            return [int(place) + least for place in np.searchsorted(below, places, side="right")]
    if len(values) > 10 * SAMPLE:
        return _selected(values, places)
    return list(np.partition(values, sorted(set(places)))[places].tolist())


def _selected(values: Any, places: list[int]) -> list[Any]:
    """As ``ranked``, of many values: a sorted sample tells between which two a place lies, and only these are sorted.

    After the selection of Floyd and Rivest (1975), with one look at the values in place of their recursion.
    """
    sample = np.sort(values[:: len(values) // SAMPLE])
    below, near, found = 0, sample[:0], {}
    for place in sorted(set(places)):
        if not below <= place < below + len(near):
            below, near = _around(values, sample, place)
        found[place] = near[place - below].item()
    return [found[place] for place in places]


def _around(values: Any, sample: Any, place: int) -> tuple[int, Any]:
    """(How many values are less than those, sorted values): the place is among them, whatever the sample told."""
    centre, margin = place * len(sample) // len(values), 2 * math.isqrt(len(sample))  # four standard errors and more
    inside = values >= sample[max(centre - margin, 0)]
    if centre < margin:  # the least values may be in no sample
        inside[:] = True
    below = len(values) - int(np.count_nonzero(inside))
    if centre + margin < len(sample):
        inside &= values <= sample[centre + margin]
    near = np.sort(values[inside])
    return (below, near) if below <= place < below + len(near) else (0, np.sort(values))


def within(values: pa.ChunkedArray, limits: Limits) -> int:
    """How many floats are within limits; missing ones never are."""
    above, below = (
        np.greater if limits.strict_low else np.greater_equal,
        np.less if limits.strict_high else np.less_equal,
    )
    found = 0
    for chunk in values.chunks:
        array = chunk.to_numpy(zero_copy_only=False)  # nulls are NaN, which compares with nothing
        inside = ~np.isnan(array) if limits.low is None else above(array, np.float64(limits.low))
        if limits.high is not None:
            inside &= below(array, np.float64(limits.high))
        found += int(np.count_nonzero(inside))
    return found


def apart(values: Any, centre: float) -> tuple[int, float, float]:
    """(How many floats, the sum of what lies between each and the centre, the sum of its squares)."""
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of infinities is no number, and judged as such
        differences = values - centre
        return len(values), float(differences.sum()), float(np.square(differences).sum())


def groups(values: Any, least: int) -> tuple[int, int]:
    """(Different values, values that are there more than once) of whole numbers that lie close together."""
    counts = np.bincount(values - least if least else values)
    return int(np.count_nonzero(counts)), int(counts[counts > 1].sum())


def numbers(values: pa.ChunkedArray, column: Column) -> Any:
    """The values that are not missing, as NumPy has them: floats as float64."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        values = values.cast(kind)
    found = values.drop_null().to_numpy()
    if column.kind is Kind.REAL:
        found = found.astype(np.float64, copy=False)
        return found[~np.isnan(found)] if column.nan else found
    return found.astype(np.int64, copy=False) if kind.bit_width < 64 else found


def counts(values: pa.ChunkedArray) -> list[tuple[str, int]]:
    """The different strings, each with its rows."""
    found: Counter[str | None] = Counter()
    for chunk in values.chunks if pa.types.is_dictionary(values.type) else [values]:
        counted = pc.value_counts(chunk)
        for text, rows in zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True):
            found[text] += rows  # a dictionary may have a text twice
    return [(text, rows) for text, rows in found.items() if text is not None]


def distinct(values: pa.ChunkedArray) -> int:
    """The number of different values."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return int(pc.count_distinct(values).as_py())


def mean(values: Any) -> float:
    """The mean of those that are finite; 0 for none."""
    found = values[np.isfinite(values)]
    return float(found.mean()) if len(found) else 0.0
