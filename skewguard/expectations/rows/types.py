"""Rules about types: what GX makes of each for a declared dtype is asked of GX itself when a suite is compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from skewguard import dtypes as feast_dtypes
from skewguard.expectations.rows.checks import Node, OfType
from skewguard.expectations.suites import Rule, Suite

VALUE_TYPE_RULES = frozenset({"expect_column_values_to_be_of_type", "expect_column_values_to_be_in_type_list"})
_SAMPLES: Mapping[str, Any] = {
    "INT32": 1, "INT64": 1, "DOUBLE": 0.5, "FLOAT": 0.5, "BOOL": True, "BYTES": b"", "UNIX_TIMESTAMP": datetime(
        2026, 1, 1, tzinfo=UTC)}  # fmt: skip
_NATIVE = frozenset({"INT32", "INT64", "DOUBLE", "FLOAT", "BOOL", "UNIX_TIMESTAMP"})
"""Dtypes whose declared type is all that GX looks at; of the others it looks at each value."""


def declared_types(rules: Sequence[Rule], dtypes: Mapping[str, str]) -> dict[int, Node | str]:
    """By position of a rule about types: its check, or why it has none. Columns of all rules are in ``dtypes``."""
    asked = [rule for rule in rules if rule.type in VALUE_TYPE_RULES]
    if not asked:
        return {}
    import pyarrow as pa

    from skewguard.expectations.engine import validate  # imports GX

    bare = [replace(rule, kwargs=_without_condition(rule)) for rule in asked]
    columns = dict.fromkeys(rule.kwargs["column"] for rule in bare)
    table = pa.table(
        {name: pa.array([_sample(dtypes[name])], feast_dtypes.arrow_type(dtypes[name])) for name in columns}
    )
    found: dict[int, Node | str] = {}
    for rule, result in zip(bare, validate(table, Suite("types", tuple(bare))).results, strict=True):
        column = rule.kwargs["column"]
        native = dtypes[column] in _NATIVE
        found[rule.position] = (
            f"GX cannot judge it: {result.message}" if result.broke else OfType(column, result.success, nulls=native)
        )
    return found


def _without_condition(rule: Rule) -> dict[str, Any]:
    return {**{key: value for key, value in rule.kwargs.items() if key != "row_condition"}, "mostly": 1}


def _sample(dtype: str) -> Any:
    if feast_dtypes.is_list(dtype):
        return []
    return _SAMPLES.get(dtype, "{}")
