"""Feature vectors to be profiled: where they come from, which columns they have, and whose rows they are.

Columns are named ``<view>__<feature>`` (full feature names), with join keys and request data under their own names and
the as-of time of each row (microseconds, UTC) as ``__as_of``; statuses, where they are known, as
``<view>__<feature>__status`` (codes of Feast's FieldStatus).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.definitions import OnDemandDef, ServiceDef
from skewguard.offline.sources import connect
from skewguard.profile import TESTED_CATEGORIES, Bins, ColumnProfile, Repeats, make_bins, profile_column
from skewguard.serving_log.columns import AS_OF, value_column
from skewguard.serving_log.record import STATUS_CODES
from skewguard.sql import quote

Array = npt.NDArray[Any]

_NAMES = {code: name for name, code in STATUS_CODES.items()}


@dataclass(frozen=True)
class DriftColumn:
    """One feature of a service, and the entity-row columns that say whose it is (none: every row is another's)."""

    view: str
    feature: str
    dtype: str
    keys: tuple[str, ...] | None

    @property
    def name(self) -> str:
        """The column's full feature name."""
        return value_column(self.view, self.feature)


def columns_of(service: ServiceDef) -> tuple[DriftColumn, ...]:
    """Every output of a service, in its order.

    An output of an on-demand view is its inputs' entity's where they have keys in common, else the entity row's.
    """
    found = [
        DriftColumn(p.name, f.name, f.dtype, tuple(column for _, column in p.keys))
        for p in service.projections
        for f in p.features
    ]
    whole = tuple(key.name for key in service.join_keys)
    found += [
        DriftColumn(od.output_prefix, f.name, f.dtype, _shared_keys(od, whole))
        for od in service.on_demand
        for f in od.features
    ]
    return tuple(found)


def _shared_keys(definition: OnDemandDef, whole: tuple[str, ...]) -> tuple[str, ...] | None:
    if not definition.inputs:
        return None
    keys = [tuple(column for _, column in p.keys) for p in definition.inputs]
    return tuple(column for column in keys[0] if all(column in other for other in keys)) or whole


class Vectors(Protocol):
    """Rows of feature vectors. ``read`` gives columns of all of them, always in the same order."""

    @property
    def rows(self) -> int:
        """How many there are."""

    @property
    def columns(self) -> frozenset[str]:
        """The columns that can be read."""

    def read(self, names: Sequence[str]) -> pa.Table:
        """These columns."""


@dataclass(frozen=True)
class TableVectors:
    """Vectors that are an Arrow table already."""

    table: pa.Table

    @classmethod
    def of_outputs(
        cls, table: pa.Table, service: ServiceDef, timestamp_column: str | None, full_feature_names: bool
    ) -> TableVectors:
        """A training set or the like: features under their output names, beside keys and a timestamp column."""
        outputs = [f.name for f in service.outputs(full_feature_names)]
        names = [column.name for column in columns_of(service)]
        columns = {name: table.column(name) for name in table.column_names if name not in outputs}
        columns |= {
            name: table.column(output)
            for name, output in zip(names, outputs, strict=True)
            if output in table.column_names
        }
        if timestamp_column is not None and timestamp_column in table.column_names:
            columns[AS_OF] = table.column(timestamp_column)
        return cls(pa.table(columns))

    @property
    def rows(self) -> int:
        """How many there are."""
        return int(self.table.num_rows)

    @property
    def columns(self) -> frozenset[str]:
        """The columns that can be read."""
        return frozenset(self.table.column_names)

    def read(self, names: Sequence[str]) -> pa.Table:
        """These columns."""
        return self.table.select(list(names))

    def where(self, kept: pa.Array) -> TableVectors:
        """Only the rows of a boolean mask, or the rows at these places."""
        rows = self.table.filter(kept) if pa.types.is_boolean(kept.type) else self.table.take(kept)
        return TableVectors(rows)


def entity_ids(vectors: Vectors, keys: Sequence[str]) -> Array:
    """A number for the entity of each row, equal for equal keys. Shape (rows,), uint64; without keys all are one."""
    if not keys:
        return np.zeros(vectors.rows, dtype=np.uint64)
    with connect() as con:
        con.register("__keys", vectors.read(keys))
        hashed = con.execute(f"SELECT hash({', '.join(map(quote, keys))}) AS h FROM __keys").to_arrow_table()
    ids: Array = hashed.column("h").to_numpy()
    return ids


def profile_vectors(
    vectors: Vectors, columns: Sequence[DriftColumn], bins: Mapping[str, Bins] | None = None
) -> dict[str, ColumnProfile]:
    """The profile of each column that the vectors have, by full feature name; over its ``bins`` where there are some.

    Timestamps are profiled as ages at the row's as-of time. One column at a time is in memory.
    """
    fixed = bins or {}
    repeats: dict[tuple[str, ...], Repeats] = {}
    moments = vectors.read([AS_OF]).column(0).combine_chunks() if AS_OF in vectors.columns else None
    found: dict[str, ColumnProfile] = {}
    for column in columns:
        if column.name not in vectors.columns:
            continue
        whose = _repeats(vectors, column, repeats)
        status = f"{column.name}__status"
        names = [column.name, *([status] if status in vectors.columns else [])]
        table = vectors.read(names)
        values = _typed(table.column(column.name).combine_chunks(), column.dtype)
        over = fixed.get(column.name) or make_bins(values, moments, TESTED_CATEGORIES)
        profile = profile_column(values, over, as_of=moments, repeats=whose)
        if status in vectors.columns:
            profile = replace(profile, statuses=_statuses(values, table.column(status).combine_chunks()))
        found[column.name] = profile
    return found


def _repeats(vectors: Vectors, column: DriftColumn, known: dict[tuple[str, ...], Repeats]) -> Repeats | None:
    keys = column.keys
    if keys is None or not set(keys) <= vectors.columns:
        return None
    if keys not in known:
        known[keys] = Repeats.of(entity_ids(vectors, keys))
    return known[keys]


def _typed(values: pa.Array, dtype: str) -> pa.Array:
    """A column whose every value is null may come without a type."""
    return values.cast(dtypes.arrow_type(dtype)) if pa.types.is_null(values.type) else values


def _statuses(values: pa.Array, codes: pa.Array) -> dict[str, int]:
    """Of the rows without a value, how many by status."""
    counted = pc.value_counts(codes.filter(values.is_null())).to_pylist()
    return {
        _NAMES.get(item["values"], str(item["values"])): item["counts"]
        for item in sorted(counted, key=lambda item: str(item["values"]))
    }
