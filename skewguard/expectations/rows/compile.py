"""From an expectation suite to row rules: every rule gets a status, none is left out.

The meaning is GX's pandas engine on one row (docs/expectations.md, "What it means"); where a row cannot be given GX's
answer, the rule is unsupported, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from skewguard.definitions import digest
from skewguard.errors import nearest
from skewguard.expectations.rows import checks
from skewguard.expectations.rows.checks import Node
from skewguard.expectations.rows.fitting import family, misfit
from skewguard.expectations.rows.suite import RowRule, RowSuite
from skewguard.expectations.rows.types import declared_types
from skewguard.expectations.rules import SKEW_RULES
from skewguard.expectations.single import as_single
from skewguard.expectations.suites import Rule, Suite

NIGHTLY = {
    "expect_column_values_to_be_unique": "a value is unique among the others only",
    "expect_compound_columns_to_be_unique": "a combination is unique among the others only",
    "expect_column_values_to_be_increasing": "it is about the order of the rows",
    "expect_column_values_to_be_decreasing": "it is about the order of the rows",
    "expect_column_value_z_scores_to_be_less_than": "it needs the mean of the batch",
    "expect_column_values_to_not_be_outliers": "it needs the quartiles of the batch",
    "expect_column_type_to_be": "it is about the declared dtype, not about values",
    "expect_column_to_exist": "it is about the table",
    **{
        f"expect_column_{what}_to_be_between": "it is a statistic of the batch"
        for what in ("max", "min", "mean", "median", "sum", "stdev", "quantile_values", "unique_value_count",
                     "proportion_of_unique_values", "proportion_of_non_null_values")
    },
    **{
        f"expect_column_{what}": "it is about all values of the batch"
        for what in ("most_common_value_to_be_in_set", "distinct_values_to_be_in_set",
                     "distinct_values_to_contain_set", "distinct_values_to_equal_set",
                     "kl_divergence_to_be_less_than")
    },
    **{
        f"expect_table_{what}": "it is about the table"
        for what in ("row_count_to_be_between", "row_count_to_equal", "column_count_to_be_between",
                     "column_count_to_equal", "columns_to_match_ordered_list", "columns_to_match_set")
    },
}  # fmt: skip
"""Expectations that are about more than one row, and why."""

_SCHEMA = "expect_column_values_to_match_json_schema"


def _with_nearest(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    return repr(name) + (f" (did you mean {near!r}?)" if near else "")


class _Unsupported(Exception):  # noqa: N818  (an outcome of compiling one rule)
    pass


def compile_rows(suite: Suite, dtypes: Mapping[str, str]) -> RowSuite:
    """What becomes of each rule of a suite on a request.

    ``dtypes``: Feast dtypes of the served columns by name (features, on-demand features, and what else is there when a
    vector is judged: join keys, request data). Imports GX only where a rule is about types, to ask what it takes for
    which dtype.
    """
    of_type = declared_types([rule for rule in suite.rules if set(rule.columns) <= set(dtypes)], dtypes)
    rules = tuple(_compiled(rule, dtypes, of_type.get(rule.position)) for rule in suite.rules)
    used = {
        column for rule in rules for node in (rule.check, rule.condition) if node is not None for column in node.columns
    }
    columns = tuple(column for column in dtypes if column in used)
    return RowSuite(
        name=suite.name,
        suite_digest=suite.digest,
        dtypes_digest=digest(dict(dtypes)),
        columns=columns,
        dtypes=tuple(dtypes[column] for column in columns),
        rules=rules,
    )


def _compiled(rule: Rule, dtypes: Mapping[str, str], of_type: Node | str | None) -> RowRule:
    if rule.type in SKEW_RULES:
        return _row_rule(rule, "nightly", "it compares what is stored online with offline")
    absent = [column for column in rule.columns if column not in dtypes]
    if absent:
        return _row_rule(rule, "absent", f"not served: {', '.join(_with_nearest(name, dtypes) for name in absent)}")
    if rule.type in NIGHTLY:
        return _row_rule(rule, "nightly", NIGHTLY[rule.type])
    try:
        check = _typed(of_type) if of_type is not None else _check(rule, dtypes)
        condition = _condition(rule.resolved.get("row_condition"), dtypes)
    except _Unsupported as why:
        return _row_rule(rule, "unsupported", str(why))
    for node in (check, condition):
        reason = None if node is None else misfit(node, dtypes)
        if reason:
            return _row_rule(rule, "unsupported", reason)
    if isinstance(check, checks.OfType) and check.nulls:
        condition = None  # GX judges the declared type of such a column, whatever the condition says
    return _row_rule(rule, "row", "", check, condition)


def _row_rule(
    rule: Rule, status: str, reason: str, check: Node | None = None, condition: Node | None = None
) -> RowRule:
    return RowRule(
        position=rule.position,
        type=rule.type,
        columns=rule.columns,
        severity=rule.severity,
        mostly=float(rule.resolved.get("mostly", 1)),
        status=status,
        reason=reason,
        notes=rule.notes,
        label=rule.label,
        check=check,
        condition=condition,
    )


def _typed(of_type: Node | str) -> Node:
    if isinstance(of_type, str):
        raise _Unsupported(of_type)
    return of_type


def _check(rule: Rule, dtypes: Mapping[str, str]) -> Node:
    asked = rule.resolved
    if rule.type in _COLUMN_CHECKS:
        return _COLUMN_CHECKS[rule.type](asked["column"], asked, dtypes[asked["column"]])
    ignore = asked.get("ignore_row_if")
    if rule.type in _PAIR_CHECKS:
        if ignore not in checks.PAIR_IGNORES:
            raise _Unsupported(f"ignore_row_if: {ignore!r} is none of {', '.join(checks.PAIR_IGNORES)}")
        return _PAIR_CHECKS[rule.type](asked["column_A"], asked["column_B"], ignore, asked)
    if rule.type in _MANY_CHECKS:
        if ignore not in checks.MANY_IGNORES:
            raise _Unsupported(f"ignore_row_if: {ignore!r} is none of {', '.join(checks.MANY_IGNORES)}")
        return _MANY_CHECKS[rule.type](tuple(asked["column_list"]), ignore, asked)
    if rule.type == _SCHEMA:
        raise _Unsupported("a JSON schema can refer to other documents; it is checked in a batch only")
    raise _Unsupported("no row form of this expectation is known")


# One column


def _between(column: str, asked: Mapping[str, Any], dtype: str) -> Node:
    low, high = _bound(asked["min_value"], dtype), _bound(asked["max_value"], dtype)
    return checks.Between(column, low, high, bool(asked["strict_min"]), bool(asked["strict_max"]))


def _bound(value: Any, dtype: str) -> Any:
    if isinstance(value, str):
        return _time(value)
    return as_single(value) if dtype == "FLOAT" else value


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise _Unsupported(f"{text!r} is no time in ISO 8601") from error
    if moment.tzinfo is None:
        raise _Unsupported(f"time {text!r} has no zone")
    return moment


def _set(inside: bool) -> Callable[[str, Mapping[str, Any], str], Node]:
    def make(column: str, asked: Mapping[str, Any], dtype: str) -> Node:
        values = asked["value_set"]
        if family(dtype) == "time":
            return checks.InSet(column, _times(values), inside)
        kept = [value for value in values if value is not None]  # a missing value is never judged
        if any(not isinstance(value, bool | int | float | str) for value in kept):
            raise _Unsupported("the set holds more than plain values")
        snapped = [as_single(value) for value in kept] if dtype == "FLOAT" else kept
        return checks.InSet(column, tuple(snapped), inside)

    return make


def _times(values: Any) -> tuple[datetime, ...]:
    """Times of one zone: of others pandas finds none, or raises, depending on their order."""
    if not all(isinstance(value, str) for value in values):
        raise _Unsupported("a set for timestamps holds times only")
    moments = tuple(_time(value) for value in values)
    if len({moment.utcoffset() for moment in moments}) > 1:
        raise _Unsupported("the times of a set are of one zone")
    return moments


def _missing(missing: bool) -> Callable[[str, Mapping[str, Any], str], Node]:
    return lambda column, _asked, _dtype: checks.Missing(column, missing)


def _matches(key: str, wanted: bool) -> Callable[[str, Mapping[str, Any], str], Node]:
    def make(column: str, asked: Mapping[str, Any], _dtype: str) -> Node:
        found = asked[key]
        patterns = tuple(found) if isinstance(found, list) else (found,)
        return checks.Matches(column, patterns, asked.get("match_on") == "all", wanted)

    return make


def _length(column: str, asked: Mapping[str, Any], _dtype: str) -> Node:
    return checks.Length(
        column, asked["min_value"], asked["max_value"], bool(asked["strict_min"]), bool(asked["strict_max"])
    )


def _length_equals(column: str, asked: Mapping[str, Any], _dtype: str) -> Node:
    return checks.Length(column, asked["value"], asked["value"], False, False)


def _parses(parser: str) -> Callable[[str, Mapping[str, Any], str], Node]:
    return lambda column, asked, _dtype: checks.Parses(column, parser, asked.get("strftime_format", ""))


_COLUMN_CHECKS: Mapping[str, Callable[[str, Mapping[str, Any], str], Node]] = {
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": _set(True),
    "expect_column_values_to_not_be_in_set": _set(False),
    "expect_column_values_to_be_null": _missing(True),
    "expect_column_values_to_not_be_null": _missing(False),
    "expect_column_values_to_match_regex": _matches("regex", True),
    "expect_column_values_to_not_match_regex": _matches("regex", False),
    "expect_column_values_to_match_regex_list": _matches("regex_list", True),
    "expect_column_values_to_not_match_regex_list": _matches("regex_list", False),
    "expect_column_value_lengths_to_be_between": _length,
    "expect_column_value_lengths_to_equal": _length_equals,
    "expect_column_values_to_be_json_parseable": _parses("json"),
    "expect_column_values_to_be_dateutil_parseable": _parses("dateutil"),
    "expect_column_values_to_match_strftime_format": _parses("strftime"),
}


# Several columns


def _pair_equal(a: str, b: str, ignore: str, _asked: Mapping[str, Any]) -> Node:
    return checks.PairEqual(a, b, ignore)


def _pair_greater(a: str, b: str, ignore: str, asked: Mapping[str, Any]) -> Node:
    return checks.PairGreater(a, b, bool(asked["or_equal"]), ignore)


def _pair_in_set(a: str, b: str, ignore: str, asked: Mapping[str, Any]) -> Node:
    if asked.get("row_condition") is not None:
        raise _Unsupported("GX passes over the row condition of this expectation")
    pairs = [tuple(pair) for pair in asked["value_pairs_set"]]
    if any(not isinstance(value, bool | int | float | str | None) for pair in pairs for value in pair):
        raise _Unsupported("the set holds more than plain values")
    return checks.PairInSet(a, b, tuple(pairs), ignore)


def _sum_equals(columns: tuple[str, ...], ignore: str, asked: Mapping[str, Any]) -> Node:
    return checks.SumEquals(columns, asked["sum_total"], ignore)


_PAIR_CHECKS: Mapping[str, Callable[[str, str, str, Mapping[str, Any]], Node]] = {
    "expect_column_pair_values_to_be_equal": _pair_equal,
    "expect_column_pair_values_a_to_be_greater_than_b": _pair_greater,
    "expect_column_pair_values_to_be_in_set": _pair_in_set,
}
_MANY_CHECKS: Mapping[str, Callable[[tuple[str, ...], str, Mapping[str, Any]], Node]] = {
    "expect_multicolumn_sum_to_equal": _sum_equals,
    "expect_multicolumn_values_to_be_equal": lambda columns, ignore, _asked: checks.AllEqual(columns, ignore),
    "expect_select_column_values_to_be_unique_within_record": (
        lambda columns, ignore, _asked: checks.AllDifferent(columns, ignore)
    ),
}


# Row conditions


def _condition(data: Any, dtypes: Mapping[str, str]) -> Node | None:
    """The condition under which a rule applies, from GX's objects as JSON."""
    if data is None:
        return None
    kind = data.get("type")
    if kind in ("and", "or"):
        parts = tuple(part for item in data["conditions"] if (part := _condition(item, dtypes)) is not None)
        if not parts:
            raise _Unsupported("row condition: a group without conditions")
        return checks.AllOf(parts) if kind == "and" else checks.AnyOf(parts)
    column = data["column"]["name"]
    if kind == "nullity":
        return checks.Missing(column, bool(data["is_null"]))
    found = data["parameter"]
    parameters = tuple(found) if isinstance(found, list) else (found,)
    if family(dtypes[column]) == "time":
        if not all(isinstance(value, str) for value in parameters):
            raise _Unsupported(f"row condition: {column!r} is compared with times only")
        return checks.Compare(column, data["operator"], _times(parameters))
    return checks.Compare(column, data["operator"], parameters)
