"""Faults of single features: bytes, casts, fills, units, offsets, and one column's values in another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.causes.relation import is_value
from skewguard.definitions import FieldDef
from skewguard.faults.ground import Fit, Ground, ViewGround
from skewguard.faults.writing import changed, differing, distinct
from skewguard.online.key_columns import entity_keys
from skewguard.online.keys import feature_field

SCALE, OFFSET, MINUTES = 100, 1000, 9 * 60
_NO_VALUE = b"\xff\xff\xff\xff"
_ENDS = {"INT64": 2**53, "INT32": 2**31, "DOUBLE": 1e300, "FLOAT": 1e36}
"""Below, a hundredfold is a value of the dtype (and of float64)."""
_MODERATE = {"INT64": 2**52, "INT32": 2**30, "DOUBLE": 1e8, "FLOAT": 1e4}
"""Below, an offset is told from rounding."""
_USUAL = 8
"""So many nulls for a value that half the rows have are told from nulls for any value."""
_FILLS: dict[str, tuple[object, ...]] = {
    **dict.fromkeys(dtypes.NUMBERS, (0, -1, -999, -99999)),
    "STRING": ("unknown", "none", "missing", "(fill)"),
}


def corrupt_value(side: ViewGround, _ground: Ground) -> Iterator[Fit]:
    """Bytes that are no value."""
    for feature in side.features:
        field = feature_field(side.view.name, feature.name)

        def write(ground: Ground, rows: pa.Table, field: bytes = field) -> tuple[str, ...]:
            with ground.client.pipeline(transaction=False) as pipe:
                for key in entity_keys(ground.project, side.view.join_keys, rows).to_pylist():
                    pipe.hset(key, field, _NO_VALUE)
                pipe.execute()
            return ()

        yield Fit(side, feature.name, side.live, write, (side.live.num_rows,))


def type_cast(side: ViewGround, ground: Ground) -> Iterator[Fit]:
    """A float32 in between, a fraction cut off, or a whole number that went through a float."""
    for feature in side.features:
        if feature.dtype not in dtypes.NUMBERS:
            continue
        column = side.column(feature)
        for values in _casts(feature, column):
            new = pa.array(values, column.type, from_pandas=False)
            new = pc.if_else(pa.array(is_value(column)), new, column)
            differs = differing(side, ground, feature, new)
            if distinct(new.filter(differs)) >= 3:
                yield from changed(side, ground, feature, new)


def _casts(feature: FieldDef, column: pa.Array) -> Iterator[np.ndarray[tuple[int], np.dtype[np.generic]]]:
    numbers = np.asarray(column.fill_null(0).to_numpy(zero_copy_only=False))
    with np.errstate(over="ignore", invalid="ignore"):
        if feature.dtype in dtypes.FLOATS:
            if feature.dtype == "DOUBLE":
                yield numbers.astype(np.float32).astype(np.float64)
            yield np.trunc(numbers)
            return
        safe = np.abs(numbers) < 2**62  # beyond, a float is past the last int64
        through = np.float64 if feature.dtype == "INT64" else np.float32
        yield np.where(safe, numbers.astype(through), 0).astype(numbers.dtype)


def null_default(side: ViewGround, ground: Ground) -> Iterator[Fit]:
    """A constant where offline has a null; or, where it has none, nulls where it has its most frequent value."""
    for feature in side.features:
        column = side.column(feature)
        nulls = pa.array(~is_value(column))
        for fill in _FILLS.get(feature.dtype, ()):
            constant = pa.scalar(fill, column.type)
            if not pc.any(pc.equal(column, constant)).as_py():
                yield from changed(side, ground, feature, pc.if_else(nulls, constant, column), score=(1,))
                break
        if feature.dtype not in (*dtypes.NUMBERS, "STRING") or not column.drop_null():
            continue
        modes = pc.mode(column.dictionary_encode().indices)
        if modes and 2 * modes[0]["count"].as_py() <= len(column):
            usual = pc.equal(column, column.dictionary_encode().dictionary[modes[0]["mode"].as_py()])
            none = pa.nulls(len(column), column.type)
            there = pc.and_(usual, pa.array(is_value(column)))
            yield from changed(side, ground, feature, none, where=there, minimum=_USUAL)


def unit_scale(side: ViewGround, ground: Ground) -> Iterator[Fit]:
    """A hundredfold: cents for euros."""
    for feature, column in _numbers(side, _ENDS, 1 / SCALE):
        rows = pc.not_equal(column, pa.scalar(0, column.type)).fill_null(False)
        if distinct(column.filter(rows)) >= 3:
            times = pc.multiply(column.fill_null(0), pa.scalar(SCALE, column.type))
            yield from changed(side, ground, feature, times, where=rows, score=(feature.dtype in dtypes.FLOATS,))


def constant_offset(side: ViewGround, ground: Ground) -> Iterator[Fit]:
    """A thousand more."""
    for feature, column in _numbers(side, _MODERATE, 1):
        if distinct(column) >= 3:
            more = pc.add(column.fill_null(0), pa.scalar(OFFSET, column.type))
            # of every value alike: a thousand more than one value could be any factor, and is not believed
            yield from changed(side, ground, feature, more, where=column.is_valid(), evenly=True)


def _numbers(side: ViewGround, ends: dict[str, float], part: float) -> Iterator[tuple[FieldDef, pa.Array]]:
    """Number features, with null for what is no finite number or too large."""
    for feature in side.features:
        if feature.dtype in dtypes.NUMBERS:
            column = side.column(feature)
            small = pc.less(pc.abs(column.cast(pa.float64(), safe=False)), ends[feature.dtype] * part)
            yield feature, pc.if_else(small, column, pa.scalar(None, column.type))


def column_swap(side: ViewGround, ground: Ground) -> Iterator[Fit]:
    """Another column's values: of those of one dtype, or two floats, the one with the most distinct values."""
    sizes = {f.name: distinct(side.column(f)) for f in side.features if f.dtype in ("STRING", *dtypes.NUMBERS)}
    for feature in side.features:
        others = [
            f for f in side.features
            if f.name in sizes and f != feature
            and (f.dtype == feature.dtype or {f.dtype, feature.dtype} <= dtypes.FLOATS)
        ]  # fmt: skip
        other = max(others, key=lambda f: (f.dtype == feature.dtype, sizes[f.name]), default=None)
        if other is None or sizes[other.name] < 3:
            continue
        column, taken = side.column(feature), side.column(other).cast(side.column(feature).type, safe=False)
        there = pa.array(is_value(column) & is_value(taken))
        yield from changed(side, ground, feature, taken, where=there, score=(sizes[other.name],))
