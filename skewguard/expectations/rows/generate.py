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
    ranges = [check for _, check in found if not isinstance(check, checks.Missing)]
    if names.is_float(column) and len(inside) == 2 and isinstance(ranges[0], checks.Between):
        yield from _range_lines(names.value(column), inside, outside)
    else:
        yield from _split_lines(names.present(column), names.missing(column), inside, outside)


def _split_lines(present: str, missing: str, inside: Sequence[str], outside: Sequence[str]) -> Iterator[str]:
    if inside:
        yield f"if {present}:"
        yield from _indented(inside)
    if outside:
        yield "else:" if inside else f"if {missing}:"
        yield from _indented(outside)


def _range_lines(value: str, inside: Sequence[str], outside: Sequence[str]) -> Iterator[str]:
    """One range on a float: NaN lies in none, so that it need be looked for only where a value lies outside."""
    wrong = inside[0].removeprefix("if ").removesuffix(":")
    if not outside:
        yield from (f"if {value} is not None and {wrong} and {value} == {value}:", inside[1])
        return
    yield f"if {value} is None:"
    yield from _indented(outside)
    yield f"elif {wrong}:"
    yield from _indented([f"if {value} == {value}:", inside[1], "else:", *_indented(outside)])


# One column: what is wrong with a value that is there; True for every value


def _range(value: str, check: Any, names: Names) -> str:
    low = None if check.low is None else f"{names.constant(check.low)} {'<' if check.strict_low else '<='} "
    high = None if check.high is None else f" {'<' if check.strict_high else '<='} {names.constant(check.high)}"
    return f"not {low or ''}{value}{high or ''}"


def _between(check: Any, names: Names) -> str:
    return _range(names.value(check.column), check, names)


def _in_set(check: Any, names: Names) -> str | bool:
    if not check.values:
        return True if check.inside else "False"
    return f"{names.value(check.column)} {'not in' if check.inside else 'in'} {names.constant(frozenset(check.values))}"


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


def _pair_equal(check: Any, names: Names) -> tuple[str | None, str]:
    a, b = check.column_a, check.column_b
    equal = f"{names.value(a)} == {names.value(b)}"
    return _ignored((a, b), check.ignore, names), f"not ({names.present(a)} and {names.present(b)} and {equal})"


def _pair_greater(check: Any, names: Names) -> tuple[str | None, str]:
    a, b = check.column_a, check.column_b
    sign = ">=" if check.or_equal else ">"
    above = f"{names.value(a)} {sign} {names.value(b)}"
    return _ignored((a, b), check.ignore, names), f"not ({names.present(a)} and {names.present(b)} and {above})"


def _pair_in_set(check: Any, names: Names) -> tuple[str | None, str]:
    a, b = check.column_a, check.column_b
    keys = [f"(None if {names.missing(column)} else {names.value(column)})" for column in (a, b)]
    pairs = names.constant(frozenset(check.pairs))
    return _ignored((a, b), check.ignore, names), f"({keys[0]}, {keys[1]}) not in {pairs}"


def _sum_equals(check: Any, names: Names) -> tuple[str | None, str]:
    columns = check.column_list
    there = " and ".join(names.present(column) for column in columns)
    # in the order of the columns, as NumPy adds a row of a frame up
    total = " + ".join(names.value(column) for column in columns)
    wrong = f"not ({there} and {total} == {names.constant(check.total)})"
    return _ignored(columns, check.ignore, names), wrong


def _all_equal(check: Any, names: Names) -> tuple[str | None, str]:
    first, *rest = check.column_list
    parts = []
    for other in rest:
        equal = f"{names.value(first)} == {names.value(other)}"
        there = f"{names.present(first)} and {names.present(other)} and {equal}"
        parts.append(f"(({there}) or ({names.missing(first)} and {names.missing(other)}))")
    wrong = f"not ({' and '.join(parts)})" if parts else "False"
    return _ignored(check.column_list, check.ignore, names), wrong


def _all_different(check: Any, names: Names) -> tuple[str | None, str]:
    columns = check.column_list
    keys = [
        f"({_KEYS.get(family(names.dtypes[column]), 'None')} if {names.missing(column)} else {names.value(column)})"
        for column in columns
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
    value = names.value(node.column)
    if node.operator in ("IN", "NOT_IN"):
        test = f"{value} {'in' if node.operator == 'IN' else 'not in'} {names.constant(frozenset(node.parameters))}"
    else:
        test = f"{value} {node.operator} {names.constant(node.parameters[0])}"
    if node.operator in ("!=", "NOT_IN"):
        return f"({names.missing(node.column)} or {test})"
    return f"({names.present(node.column)} and {test})"
