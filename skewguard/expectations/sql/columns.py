"""The columns that a suite is judged on: of what kind each is, and how SQL reads it as GX's NumPy frame has it.

In statements a column is ``c<position>``: what a user calls it never gets near SQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import pyarrow as pa

from skewguard.expectations.frames import EXACT_FLOAT

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DENSE = 4
"""So many times as many places as values."""


class Kind(Enum):
    """What the values are to a rule; ``OTHER`` are those that only GX itself judges (lists, bytes, decimals, ...)."""

    WHOLE = "whole numbers"
    REAL = "floats"
    BOOL = "booleans"
    TEXT = "strings"
    TIME = "timestamps"
    OTHER = "values of another kind"


NUMBERS = frozenset({Kind.WHOLE, Kind.REAL})


@dataclass(frozen=True)
class Column:
    """A column of the table; ``position`` from 0.

    ``opaque``: DuckDB cannot read it as it is; ``nan``: it is of floats and may hold NaN.
    """

    name: str
    position: int
    type: pa.DataType
    opaque: bool = False
    nan: bool = False

    @property
    def kind(self) -> Kind:
        """The kind of its values."""
        return Kind.OTHER if self.opaque else kind_of(self.type)

    @property
    def sql(self) -> str:
        """The column itself."""
        return f"c{self.position}"

    @property
    def missing(self) -> str:
        """SQL: whether GX takes a value for missing: null, and NaN in a column of floats."""
        null = f"{self.sql} IS NULL"
        return f"({null} OR isnan({self.sql}))" if self.nan else null

    @property
    def present(self) -> str:
        """SQL that is true where there is a value, false or NULL elsewhere."""
        return f"NOT isnan({self.sql})" if self.nan else f"{self.sql} IS NOT NULL"

    @property
    def value(self) -> str:
        """SQL: the value as rules compare it: floats as doubles, times as whole microseconds (or nanoseconds)."""
        if self.kind is Kind.REAL:
            return self.sql if pa.types.is_float64(self.type) else f"{self.sql}::DOUBLE"
        if self.kind is Kind.TIME:
            return f"{'epoch_ns' if self.in_nanoseconds else 'epoch_us'}({self.sql})"
        return self.sql

    @property
    def value_or_null(self) -> str:
        """SQL: as ``value``, and NULL where it is missing."""
        return f"CASE WHEN {self.present} THEN {self.value} END" if self.nan else self.value

    @property
    def in_nanoseconds(self) -> bool:
        """Whether a timestamp is counted in nanoseconds rather than microseconds."""
        return bool(pa.types.is_timestamp(self.type) and self.type.unit == "ns")

    @property
    def is_single(self) -> bool:
        """Whether its bounds count as float32 (or float16)."""
        return bool(self.type in (pa.float32(), pa.float16()))


def kind_of(kind: pa.DataType) -> Kind:
    """The kind of an Arrow type."""
    if pa.types.is_dictionary(kind):
        return kind_of(kind.value_type)
    tests = (
        (pa.types.is_integer, Kind.WHOLE),
        (pa.types.is_floating, Kind.REAL),
        (pa.types.is_boolean, Kind.BOOL),
        (pa.types.is_string, Kind.TEXT),
        (pa.types.is_large_string, Kind.TEXT),
        (pa.types.is_timestamp, Kind.TIME),
        (pa.types.is_date, Kind.TIME),
    )
    return next((found for test, found in tests if test(kind)), Kind.OTHER)


@dataclass(frozen=True)
class Facts:
    """What is true of a whole column and decides the dtype that GX sees; of whole numbers only: nulls and span."""

    column: Column
    rows: int = 0
    nulls: int = 0
    low: int | None = None
    high: int | None = None

    @property
    def is_wide(self) -> bool:
        """Whether it holds whole numbers that no double holds: its frame then has Python's integers."""
        return (
            self.low is not None and self.high is not None and not (-EXACT_FLOAT < self.low <= self.high < EXACT_FLOAT)
        )

    @property
    def is_dense(self) -> bool:
        """Whether its whole numbers lie so close together that a table of them by their place is worth having."""
        if self.low is None or self.high is None or self.is_wide:
            return False
        return self.high - self.low <= _DENSE * self.rows

    @property
    def as_float(self) -> bool:
        """Whether whole numbers are floats in the frame, because of nulls beside them."""
        return self.column.kind is Kind.WHOLE and self.nulls > 0 and not self.is_wide

    def told(self, raw: Any) -> Any:
        """A value that DuckDB gave, as GX's frame has it; times as aware datetimes."""
        if raw is None or raw != raw:
            # a NaN of its own, as NumPy gives them: GX counts them one by one
            return float("nan") if self.as_float or self.column.kind is Kind.REAL else None
        if self.as_float:
            return float(raw)
        return self._moment(raw) if self.column.kind is Kind.TIME else raw

    def _moment(self, raw: int) -> Any:
        if not self.column.in_nanoseconds:
            return EPOCH + timedelta(microseconds=raw)
        if raw % 1000 == 0:
            return EPOCH + timedelta(microseconds=raw // 1000)
        import pandas as pd  # Python's own datetime has no nanoseconds

        return pd.Timestamp(raw, unit="ns", tz="UTC")
