"""What the skew expectations share: how they fetch columns of the batch, count, and tell what they saw."""

from __future__ import annotations

import math
from abc import ABC
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.model_field_types import ConditionParser
from great_expectations.expectations.row_conditions import RowConditionType

from skewguard import dtypes
from skewguard.compare.pairs import equal_pairs
from skewguard.compare.same import Mask, mask
from skewguard.config import Tolerance
from skewguard.expectations.skew.columns import NAME, add_columns
from skewguard.expectations.skew.rendering import RendersSkew
from skewguard.expectations.skew.series import common_dtype, declared, dtype_of, to_arrow
from skewguard.plain import plain
from skewguard.sql import CORRUPT

SAMPLES = 20
"""Most entities that a result names."""


class SkewBatchExpectation(RendersSkew, BatchExpectation, ABC):  # type: ignore[misc]
    """An expectation on several columns of the batch together; a subclass says which, and judges them."""

    row_condition: RowConditionType = None
    condition_parser: ConditionParser | None = None

    domain_keys: ClassVar[tuple[str, ...]] = ("batch_id", "row_condition", "condition_parser")

    def columns_needed(self) -> list[str]:
        """The columns that it judges."""
        raise NotImplementedError

    def judged(self, frame: Any) -> tuple[bool, dict[str, Any]]:
        """Does it hold of these columns, and the result's content, as JSON data."""
        raise NotImplementedError

    def get_validation_dependencies(self, execution_engine: Any = None, runtime_configuration: Any = None) -> Any:
        """GX's, with the columns."""
        found = super().get_validation_dependencies(execution_engine, runtime_configuration)
        return add_columns(found, self, self.columns_needed(), runtime_configuration)


def judge(expectation: Any, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What GX takes from ``_validate``."""
    success, result = expectation.judged(metrics[NAME])
    return {"success": bool(success), "result": result}


class Pair:
    """Both sides of a feature, row by row, as Arrow of one type; ``corrupt``: online bytes that do not decode."""

    def __init__(self, frame: Any, names: tuple[str, str], state_column: str | None, dtype: str | None) -> None:
        self.frame = frame
        offline, online = (to_arrow(frame[name], name) for name in names)
        self.dtype = dtype or common_dtype(offline, online)
        if self.dtype is not None:
            offline, online = (
                declared(array, self.dtype, name) for array, name in zip((offline, online), names, strict=True)
            )
        self.offline, self.online = offline, online
        self.corrupt: Mask = np.zeros(len(frame), dtype=bool)
        if state_column is not None:
            self.corrupt = mask(pa.chunked_array([pc.equal(to_arrow(frame[state_column], state_column), CORRUPT)]))

    def equal(self, tolerance: Tolerance) -> Mask:
        """Where online holds what offline asks for."""
        if self.dtype is None:  # of two types that never hold the same
            same = np.asarray(self.offline.is_null()) & np.asarray(self.online.is_null())
        else:
            same = equal_pairs(self.dtype, self.offline, self.online, tolerance)
        found: Mask = same & ~self.corrupt
        return found

    def missing(self) -> tuple[Mask, Mask]:
        """Where there is no value offline, and online: null or NaN."""
        return missing(self.offline), missing(self.online)

    def samples(self, places: Mask, entities: Sequence[str], causes: pa.Array | None = None) -> list[dict[str, Any]]:
        """Some of the rows at these places, with their entity."""
        found = []
        for row in np.flatnonzero(places)[:SAMPLES].tolist():
            entity = {name: json_scalar(self.frame[name].iloc[row]) for name in entities}
            online = "(corrupt)" if self.corrupt[row] else json_scalar(self.online[row].as_py())
            sample = {"entity": entity, "offline": json_scalar(self.offline[row].as_py()), "online": online}
            found.append(sample if causes is None else {**sample, "cause": causes[row].as_py()})
        return found


def missing(array: pa.Array) -> Mask:
    """Null or NaN."""
    if pa.types.is_null(array.type):
        return np.ones(len(array), dtype=bool)
    known = dtype_of(array) in dtypes.FLOATS
    return np.asarray(array.is_null(nan_is_null=known).to_numpy(zero_copy_only=False), dtype=bool)


def causes_of(frame: Any, column: str | None, places: Mask) -> tuple[pa.Array | None, dict[str, int]]:
    """The causes in a column of the frame, by row, and how many of each there are at these places, most first."""
    if column is None:
        return None, {}
    causes = to_arrow(frame[column], column)
    counted = Counter(causes.filter(pa.array(places)).drop_null().cast(pa.string()).to_pylist())
    return causes, dict(counted.most_common())


def json_scalar(value: Any) -> Any:
    """A value as JSON data: numbers that JSON does not have as text, lists element by element."""
    if isinstance(value, list | tuple | np.ndarray):
        return [json_scalar(item) for item in value]
    if isinstance(value, np.datetime64):
        moment = pa.scalar(value).cast(pa.timestamp("us"), safe=False).as_py()
        return None if moment is None else plain(moment.replace(tzinfo=UTC))
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return None if type(value).__name__ in ("NAType", "NaTType") else plain(value)


_LISTS = ("partial_unexpected_list", "unexpected_list", "partial_unexpected_index_list", "unexpected_index_list",
          "partial_unexpected_counts")  # fmt: skip


def plain_lists(result: dict[str, Any]) -> dict[str, Any]:
    """GX's result of a map expectation with its values as JSON data, whatever pandas keeps them in."""
    return {name: _plain(value) if name in _LISTS else value for name, value in result.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else json_scalar(value)
