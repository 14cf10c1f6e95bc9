"""Row rules as the text of Python functions.

The text holds operators, numbered names (``v3`` for the fourth value, ``c7`` for the eighth constant) and bits that are
made here, and nothing of a suite: column names never occur, and every bound, set, pattern and format is a constant that
the text refers to by its number. So no name and no value can become code.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from skewguard import dtypes
from skewguard.expectations.rows import checks, helpers
from skewguard.expectations.rows.checks import Node
from skewguard.expectations.rows.fitting import family
from skewguard.expectations.rows.suite import RowRule, RowSuite

_EXACT_FLOAT = 2**53
_KEYS = {"number": "NAN", "time": "NAT"}


@dataclass
class Names:
    """The names of values, and the constants that the text refers to."""

    places: Mapping[str, int]
    dtypes: Mapping[str, str]
    constants: dict[str, Any] = field(default_factory=dict)

    def value(self, column: str) -> str:
        """The name of a column's value."""
        return f"v{self.places[column]}"

    def constant(self, value: Any) -> str:
        """A new name for a constant."""
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def is_float(self, column: str) -> bool:
        """Whether NaN stands for a missing value in the column."""
        return self.dtypes[column] in dtypes.FLOATS

    def present(self, column: str) -> str:
        """The value is not missing."""
        name = self.value(column)
        return f"{name} is not None and {name} == {name}" if self.is_float(column) else f"{name} is not None"

    def missing(self, column: str) -> str:
        """The value is missing."""
        name = self.value(column)
        return f"({name} is None or {name} != {name})" if self.is_float(column) else f"{name} is None"

    def wide(self, column: str, others: Sequence[Any]) -> str:
        """The value, as a float where NumPy would make it one: a whole number beside a float beyond 2^53."""
        name = self.value(column)
        floats = any(isinstance(other, float) and abs(other) >= _EXACT_FLOAT for other in others)
        return f"float({name})" if floats and self.dtypes[column] == "INT64" else name


def row_function(
    suite: RowSuite, rules: Sequence[tuple[int, RowRule]], tally: bool, guarded: bool
) -> tuple[str, dict[str, Any]]:
    """The text of ``check(values)``, and its constants; ``rules`` are pairs of bit and rule.

    It gives the mask of the rules that the values violate; with ``tally`` a pair of it and the mask of those that have
    nothing to judge in them. With ``guarded`` it gives what ``slow(values)`` gives where a rule raises.
    """
    names = _names(suite)
    lines = [f"{_unpacked(suite)} = values", "bad = skip = 0" if tally else "bad = 0"]
    lines += [*_rule_lines(rules, names, tally), "return bad, skip" if tally else "return bad"]
    if guarded:
        lines = ["try:", *_indented(lines), "except Exception:", "    return slow(values)"]
    return "\n".join(["def check(values):", *_indented(lines)]) + "\n", names.constants


def _names(suite: RowSuite) -> Names:
    places = {column: place for place, column in enumerate(suite.columns)}
    return Names(places, dict(zip(suite.columns, suite.dtypes, strict=True)))


def _unpacked(suite: RowSuite) -> str:
    return "[" + ", ".join(f"v{place}" for place in range(len(suite.columns))) + "]"


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _rule_lines(rules: Sequence[tuple[int, RowRule]], names: Names, tally: bool) -> Iterator[str]:
    """Rules on one column without a condition share the question whether its value is there."""
    by_column: dict[str, list[tuple[int, Node]]] = defaultdict(list)
    for bit, rule in rules:
        check = rule.check
        if check is None:
            raise ValueError(f"{rule.label}: status {rule.status} has no check")
        if rule.condition is None and hasattr(check, "column"):
            by_column[check.column].append((bit, check))
            continue
        lines = list(_rule_alone(check, bit, names, tally))
        if rule.condition is None:
            yield from lines
            continue
        yield f"if {condition_text(rule.condition, names)}:"
        yield from _indented(lines)
        if tally:
            yield from ("else:", f"    skip |= {1 << bit}")
    for column, found in by_column.items():
        yield from _column_lines(column, found, names, tally)


def _rule_alone(check: Node, bit: int, names: Names, tally: bool) -> Iterator[str]:
    if hasattr(check, "column"):
        yield from _column_lines(check.column, [(bit, check)], names, tally)
        return
    skipped, violated = _SEVERAL[type(check)](check, names)
    mask = 1 << bit
    if skipped is None:
        yield from (f"if {violated}:", f"    bad |= {mask}")
    elif tally:
        yield from (f"if {skipped}:", f"    skip |= {mask}", f"elif {violated}:", f"    bad |= {mask}")
    else:
        yield from (f"if not ({skipped}) and ({violated}):", f"    bad |= {mask}")


def _column_lines(column: str, found: Sequence[tuple[int, Node]], names: Names, tally: bool) -> Iterator[str]:
    inside: list[str] = []
    always = skip = absent = 0  # masks: wrong where a value is there, not judged where none is, wrong where none is
    for bit, check in found:
        mask = 1 << bit
        if isinstance(check, checks.Missing):
            always, absent = (always | mask, absent) if check.missing else (always, absent | mask)
            continue
        violated = _ONE[type(check)](check, names)
        if violated is True:
            always |= mask
        else:
            inside += [f"if {violated}:", f"    bad |= {mask}"]
        if isinstance(check, checks.OfType) and check.nulls:
            absent |= 0 if check.declared else mask
        else:
            skip |= mask
    if always:
        inside.append(f"bad |= {always}")
    outside = [f"bad |= {absent}"] if absent else []
    if tally and skip:
        outside.append(f"skip |= {skip}")
    if inside:
        yield f"if {names.present(column)}:"
        yield from _indented(inside)
        if outside:
            yield "else:"
            yield from _indented(outside)
    elif outside:
        yield f"if {names.missing(column)}:"
        yield from _indented(outside)


# One column: what is wrong with a value that is there; True for every value


def _range(value: str, check: Any, names: Names) -> str:
    low = None if check.low is None else f"{names.constant(check.low)} {'<' if check.strict_low else '<='} "
    high = None if check.high is None else f" {'<' if check.strict_high else '<='} {names.constant(check.high)}"
    return f"not {low or ''}{value}{high or ''}"


def _between(check: Any, names: Names) -> str:
    return _range(names.wide(check.column, (check.low, check.high)), check, names)


def _in_set(check: Any, names: Names) -> str | bool:
    if not check.values:
        return True if check.inside else "False"
    # pandas compares with floats as soon as there is one, but only beside numbers
    numbers = all(isinstance(value, int | float) for value in check.values)
    value = names.wide(check.column, check.values if numbers else ())
    members = _floats(check.values) if value.startswith("float(") else check.values
    return f"{value} {'not in' if check.inside else 'in'} {names.constant(frozenset(members))}"


def _floats(values: Sequence[Any]) -> list[float]:
    return [float(value) for value in values]


def _text(column: str, names: Names) -> str:
    kind = family(names.dtypes[column])
    value = names.value(column)
    if kind == "text":
        return value
    return f"{value}.decode()" if kind == "bytes" else f"text({value})"


def _matches(check: Any, names: Names) -> str:
    text = _text(check.column, names)
    found = [f"{names.constant(helpers.searcher(pattern))}({text})" for pattern in check.patterns]
    wrong = (" or " if check.every else " and ").join(f"{one} is None" for one in found)
    return wrong if check.wanted else f"not ({wrong})"


def _length(check: Any, names: Names) -> str:
    return _range(f"length({_text(check.column, names)})", check, names)


def _of_type(check: Any, names: Names) -> str | bool:
    if not check.declared:
        return True
    return (
        f"type({names.value(check.column)}) not in {names.constant(helpers.python_types(names.dtypes[check.column]))}"
    )


def _parses(check: Any, names: Names) -> str:
    parses = names.constant(helpers.parser(check.parser, check.format))
    return f"not {parses}({names.value(check.column)})"


_ONE: Mapping[type[Node], Callable[[Any, Names], str | bool]] = {
    checks.Between: _between,
    checks.InSet: _in_set,
    checks.Matches: _matches,
    checks.Length: _length,
    checks.OfType: _of_type,
    checks.Parses: _parses,
}


# Several columns: (when the row is passed over, what is wrong with another)


def _ignored(columns: Sequence[str], ignore: str, names: Names) -> str | None:
    missing = [names.missing(column) for column in columns]
    if ignore in ("both_values_are_missing", "all_values_are_missing"):
        return " and ".join(missing)
    return " or ".join(missing) if ignore in ("either_value_is_missing", "any_value_is_missing") else None


def _comparable(column: str, others: Sequence[str], names: Names) -> str:
    """A value; a whole number as a float where it meets one, because NumPy compares them so."""
    mixed = names.dtypes[column] == "INT64" and any(names.is_float(other) for other in others)
    return f"float({names.value(column)})" if mixed else names.value(column)


def _pair_equal(check: Any, names: Names) -> tuple[str | None, str]:
    a, b = check.column_a, check.column_b
    equal = f"{_comparable(a, (b,), names)} == {_comparable(b, (a,), names)}"
    return _ignored((a, b), check.ignore, names), f"not ({names.present(a)} and {names.present(b)} and {equal})"


def _pair_greater(check: Any, names: Names) -> tuple[str | None, str]:
    a, b = check.column_a, check.column_b
    sign = ">=" if check.or_equal else ">"
    above = f"{_comparable(a, (b,), names)} {sign} {_comparable(b, (a,), names)}"
    return _ignored((a, b), check.ignore, names), f"not ({names.present(a)} and {names.present(b)} and {above})"


def _pair_in_set(check: Any, names: Names) -> tuple[str | None, str]:
    a, b = check.column_a, check.column_b
    keys = [
        f"(None if {names.missing(one)} else {_comparable(one, (other,), names)})" for one, other in ((a, b), (b, a))
    ]
    pairs = names.constant(frozenset(check.pairs))
    return _ignored((a, b), check.ignore, names), f"({keys[0]}, {keys[1]}) not in {pairs}"


def _sum_equals(check: Any, names: Names) -> tuple[str | None, str]:
    columns = check.column_list
    there = " and ".join(names.present(column) for column in columns)
    total = " + ".join(_comparable(column, columns, names) for column in columns)
    # in the order of the columns, as NumPy adds a row of a frame up
    wrong = f"not ({there} and float({total}) == {names.constant(float(check.total))})"
    return _ignored(columns, check.ignore, names), wrong


def _all_equal(check: Any, names: Names) -> tuple[str | None, str]:
    first, *rest = check.column_list
    parts = []
    for other in rest:
        equal = f"{_comparable(first, (other,), names)} == {_comparable(other, (first,), names)}"
        there = f"{names.present(first)} and {names.present(other)} and {equal}"
        parts.append(f"(({there}) or ({names.missing(first)} and {names.missing(other)}))")
    wrong = f"not ({' and '.join(parts)})" if parts else "False"
    return _ignored(check.column_list, check.ignore, names), wrong


def _all_different(check: Any, names: Names) -> tuple[str | None, str]:
    columns = check.column_list
    families = {family(names.dtypes[column]) for column in columns}
    others = columns if families == {"number"} else ()
    keys = [
        f"({_KEYS.get(family(names.dtypes[one]), 'None')} if {names.missing(one)} "
        f"else {_comparable(one, others, names)})"
        for one in columns
    ]
    wrong = f"length({{{', '.join(keys)}}}) < {len(columns)}"
    return _ignored(columns, check.ignore, names), wrong


_SEVERAL: Mapping[type[Node], Callable[[Any, Names], tuple[str | None, str]]] = {
    checks.PairEqual: _pair_equal,
    checks.PairGreater: _pair_greater,
    checks.PairInSet: _pair_in_set,
    checks.SumEquals: _sum_equals,
    checks.AllEqual: _all_equal,
    checks.AllDifferent: _all_different,
}


# Row conditions


def condition_text(node: Any, names: Names) -> str:
    """Whether a rule applies to the row."""
    if isinstance(node, checks.AnyOf):
        word = " and " if isinstance(node, checks.AllOf) else " or "
        return "(" + word.join(condition_text(part, names) for part in node.conditions) + ")"
    if isinstance(node, checks.Missing):
        return f"({names.missing(node.column) if node.missing else names.present(node.column)})"
    return _compare(node, names)


def _compare(node: checks.Compare, names: Names) -> str:
    value = names.wide(node.column, node.parameters)
    if node.operator in ("IN", "NOT_IN"):
        members = _floats(node.parameters) if value.startswith("float(") else node.parameters
        test = f"{value} {'in' if node.operator == 'IN' else 'not in'} {names.constant(frozenset(members))}"
    else:
        test = f"{value} {node.operator} {names.constant(node.parameters[0])}"
    if node.operator in ("!=", "NOT_IN"):
        return f"({names.missing(node.column)} or {test})"
    return f"({names.present(node.column)} and {test})"
