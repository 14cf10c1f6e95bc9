"""What a rule is compiled with: the table's columns, the parameters, the facts about columns that rules share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from skewguard.expectations.single import as_single
from skewguard.expectations.sql.asks import Ask, Filled, Judging, Parameters, both, count
from skewguard.expectations.sql.columns import Column, Kind
from skewguard.expectations.suites import Rule


class NotCompiled(Exception):  # noqa: N818  (no error: GX runs the rule)
    """Why a rule is left to GX, before any data are looked at."""

    @property
    def reason(self) -> str:
        """Why, in words."""
        return str(self)


@dataclass(frozen=True)
class Context:
    """The columns by name, in the table's order, and where the values of the suite are bound."""

    columns: Mapping[str, Column]
    parameters: Parameters = field(default_factory=Parameters)

    def column(self, rule: Rule, key: str = "column") -> Column:
        """The column that an argument names."""
        return self.named(rule.kwargs[key])

    def named(self, name: str) -> Column:
        """The column of a name; raises NotCompiled where DuckDB cannot read it as it is."""
        column = self.columns[name]
        if column.opaque:
            raise NotCompiled(f"DuckDB does not read {name} ({column.type}) as it is")
        return column

    def of_kind(self, rule: Rule, *kinds: Kind) -> Column:
        """The rule's column; raises NotCompiled where it is not of one of these kinds."""
        column = self.column(rule)
        require(column, *kinds)
        return column

    def bind(self, value: Any) -> str:
        """SQL for a value."""
        return self.parameters.bind(value)


Compile = Callable[[Rule, Context], Callable[[], Judging]]
"""Looks at the rule and the schema, raises NotCompiled, or gives what will ask and judge."""


def require(column: Column, *kinds: Kind) -> None:
    """Raises NotCompiled where a column is not of one of these kinds."""
    if column.kind not in kinds:
        raise NotCompiled(f"{column.name} ({column.type}) holds {column.kind.value}")


def present(column: Column, where: str | None) -> Ask:
    """The number of rows in a row condition that have a value."""
    return count(both(where, column.present)) if column.nan else not_null(column, where)


def not_null(column: Column, where: str | None) -> Ask:
    """The number of rows in a row condition that are not null, NaN with them."""
    return Filled(column) if where is None else count(both(where, f"{column.sql} IS NOT NULL"))


def bounds(rule: Rule, column: Column | None = None) -> tuple[Any, Any]:
    """(lowest, highest) of the rule's arguments as GX takes them, as float32 on a column of such; None for no bound."""
    low, high = rule.resolved.get("min_value"), rule.resolved.get("max_value")
    return (as_single(low), as_single(high)) if column is not None and column.is_single else (low, high)


def members(rule: Rule, column: Column) -> list[Any]:
    """The rule's value set, as float32 on a column of such. Raises NotCompiled where it is no list of scalars."""
    values = rule.kwargs.get("value_set")
    if not isinstance(values, list | tuple):
        raise NotCompiled("the set is not a list")
    if not all(value is None or isinstance(value, bool | int | float | str) for value in values):
        raise NotCompiled("the set has members that are no booleans, numbers or strings")
    return [as_single(value) for value in values] if column.is_single else list(values)


def mostly(rule: Rule) -> float:
    """The share of values that must be as expected."""
    share = rule.resolved.get("mostly", 1)
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise NotCompiled(f"mostly is {share!r}")
    return float(share)
