"""What a row can be asked, as data: the whole language of compiled row rules.

Each class is one question with its arguments; none holds code, and a document can name no others. ``read_check`` and
``read_condition`` refuse everything else. ``generate.py`` turns them into Python.

"Missing" is null, or NaN in a float column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Annotated, Any, ClassVar, get_type_hints

from skewguard.errors import nearest
from skewguard.expectations.rows import reading
from skewguard.expectations.rows.reading import Bound, Scalar

PAIR_IGNORES = ("both_values_are_missing", "either_value_is_missing", "neither")
MANY_IGNORES = ("all_values_are_missing", "any_value_is_missing", "never")
OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "IN", "NOT_IN")


# A field's type, with what reads it from JSON
Text = Annotated[str, reading.text]
Flag = Annotated[bool, reading.flag]
Limit = Annotated[Bound, reading.bound]
Number = Annotated[float, reading.number]
Names = Annotated[tuple[str, ...], reading.several(reading.text, 1)]
Members = Annotated[tuple[Scalar | datetime, ...], reading.several(reading.member)]
Patterns = Annotated[tuple[str, ...], reading.several(reading.pattern, 1)]
Parser = Annotated[str, reading.one_of("json", "dateutil", "strftime")]
Pairs = Annotated[tuple[tuple[Scalar, Scalar], ...], reading.several(reading.pair)]
PairIgnore = Annotated[str, reading.one_of(*PAIR_IGNORES)]
ManyIgnore = Annotated[str, reading.one_of(*MANY_IGNORES)]
Operator = Annotated[str, reading.one_of(*OPERATORS)]


@dataclass(frozen=True)
class Node:
    """A question or a condition; ``op`` is its name in a document."""

    op: ClassVar[str]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at."""
        found = [getattr(self, name) for name in ("column", "column_a", "column_b") if hasattr(self, name)]
        return tuple(dict.fromkeys([*found, *getattr(self, "column_list", ())]))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data, read back by ``read_check`` or ``read_condition``."""
        return {"op": self.op, **{item.name: reading.plain(getattr(self, item.name)) for item in fields(self)}}


@dataclass(frozen=True)
class Between(Node):
    """The value lies between the bounds; both are numbers, or both are moments, or one is None."""

    op = "between"
    column: Text
    low: Limit
    high: Limit
    strict_low: Flag
    strict_high: Flag


@dataclass(frozen=True)
class InSet(Node):
    """The value is (or with ``inside`` False: is not) one of the values."""

    op = "in_set"
    column: Text
    values: Members
    inside: Flag


@dataclass(frozen=True)
class Missing(Node):
    """The value is missing (``missing`` True), or is there."""

    op = "missing"
    column: Text
    missing: Flag


@dataclass(frozen=True)
class Matches(Node):
    """The value's text matches one of the patterns somewhere (``every``: each); with ``wanted`` False it does not."""

    op = "matches"
    column: Text
    patterns: Patterns
    every: Flag
    wanted: Flag


@dataclass(frozen=True)
class Length(Node):
    """The length of the value's text, in code points, lies between the bounds."""

    op = "length"
    column: Text
    low: Limit
    high: Limit
    strict_low: Flag
    strict_high: Flag


@dataclass(frozen=True)
class OfType(Node):
    """The declared dtype is of the type asked for (``declared``), and so is the value.

    ``nulls``: where the declared dtype is not, a null is wrong, too.
    """

    op = "of_type"
    column: Text
    declared: Flag
    nulls: Flag


@dataclass(frozen=True)
class Parses(Node):
    """The text is JSON, a date that dateutil reads, or a time of a format."""

    op = "parses"
    column: Text
    parser: Parser
    format: Text


@dataclass(frozen=True)
class PairEqual(Node):
    """Both values are there and equal."""

    op = "pair_equal"
    column_a: Text
    column_b: Text
    ignore: PairIgnore


@dataclass(frozen=True)
class PairGreater(Node):
    """Both values are there, and the first is above the second (or equal to it)."""

    op = "pair_greater"
    column_a: Text
    column_b: Text
    or_equal: Flag
    ignore: PairIgnore


@dataclass(frozen=True)
class PairInSet(Node):
    """The pair is one of the pairs; None in a pair stands for a missing value."""

    op = "pair_in_set"
    column_a: Text
    column_b: Text
    pairs: Pairs
    ignore: PairIgnore


@dataclass(frozen=True)
class SumEquals(Node):
    """All values are there and add up to the total."""

    op = "sum_equals"
    column_list: Names
    total: Number
    ignore: ManyIgnore


@dataclass(frozen=True)
class AllEqual(Node):
    """All values are equal, or all are missing."""

    op = "all_equal"
    column_list: Names
    ignore: ManyIgnore


@dataclass(frozen=True)
class AllDifferent(Node):
    """No two values are equal; two missing ones are, where both are numbers, both times, or neither of these."""

    op = "all_different"
    column_list: Names
    ignore: ManyIgnore


@dataclass(frozen=True)
class Compare(Node):
    """A condition: the value against a parameter (for IN and NOT_IN: against several). ``!=`` and NOT_IN keep nulls."""

    op = "compare"
    column: Text
    operator: Operator
    parameters: Members


@dataclass(frozen=True)
class AnyOf(Node):
    """A condition: at least one of these holds."""

    op = "or"
    conditions: tuple[Node, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of its parts."""
        return tuple(dict.fromkeys(column for part in self.conditions for column in part.columns))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data, read back by ``read_condition``."""
        return {"op": self.op, "conditions": [part.to_json() for part in self.conditions]}


@dataclass(frozen=True)
class AllOf(AnyOf):
    """A condition: all of these hold."""

    op = "and"


_CHECKS: Mapping[str, type[Node]] = {
    kind.op: kind
    for kind in (Between, InSet, Missing, Matches, Length, OfType, Parses, PairEqual, PairGreater, PairInSet, SumEquals,
                 AllEqual, AllDifferent)
}  # fmt: skip
_CONDITIONS: Mapping[str, type[Node]] = {kind.op: kind for kind in (Compare, Missing)}
_GROUPS: Mapping[str, type[AnyOf]] = {"or": AnyOf, "and": AllOf}
_DEPTH = 20


def read_check(data: Any, place: str) -> Node:
    """A check from its JSON data. Raises ConfigurationError naming the place."""
    return _read(data, place, _CHECKS)


def read_condition(data: Any, place: str, depth: int = 0) -> Node:
    """A row condition from its JSON data. Raises ConfigurationError naming the place."""
    group = _GROUPS.get(data["op"]) if isinstance(data, Mapping) and isinstance(data.get("op"), str) else None
    if group is None:
        return _read(data, place, _CONDITIONS)
    if depth > _DEPTH:
        raise reading.refuse(place, data, f"conditions at most {_DEPTH} deep")
    parts = reading.mapping(data, place, ("op", "conditions"))["conditions"]
    read = reading.several(lambda part, where: read_condition(part, where, depth + 1), 1)
    return group(read(parts, f"{place}.conditions"))


def _read(data: Any, place: str, known: Mapping[str, type[Node]]) -> Node:
    op = data.get("op") if isinstance(data, Mapping) else None
    kind = known.get(op) if isinstance(op, str) else None
    if kind is None:
        near = nearest(str(op), known)
        hint = f" (did you mean {near!r}?)" if near else ""
        raise reading.refuse(f"{place}.op", op, f"one of {', '.join(sorted(known))}{hint}")
    hints = get_type_hints(kind, include_extras=True)
    readers = {item.name: hints[item.name].__metadata__[0] for item in fields(kind)}
    found = reading.mapping(data, place, ("op", *readers))
    return kind(**{name: read(found[name], f"{place}.{name}") for name, read in readers.items()})
