"""One expectation: what it needs, what is wrong with it, and its arguments with every default written out.

What GX 1.24 accepts at construction and only trips over in a run, or quietly changes, is refused here: bounds the wrong
way round, broken regular expressions, row conditions as text (they are evaluated as code), whole-number bounds that a
double cannot hold, expectations without a pandas implementation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any

from skewguard.errors import nearest
from skewguard.expectations import great_expectations_import
from skewguard.expectations.argument_values import EXACT_FLOAT, as_moment, value_problems
from skewguard.expectations.patterns import pattern_problems
from skewguard.expectations.row_conditions import condition_problems

TYPE_RULES = frozenset(
    {"expect_column_type_to_be", "expect_column_values_to_be_of_type", "expect_column_values_to_be_in_type_list"}
)
"""Rules that look at the dtype and not at the values."""

TABLE_COLUMN_RULES = frozenset(
    {
        "expect_column_to_exist",
        "expect_table_column_count_to_be_between",
        "expect_table_column_count_to_equal",
        "expect_table_columns_to_match_ordered_list",
        "expect_table_columns_to_match_set",
    }
)
"""Rules on which columns there are: a column that is missing is for them to find."""

SKEW_RULES = frozenset(
    {
        "expect_definitions_unchanged",
        "expect_drift_not_to_be_significant",
        "expect_freshness_to_be_below",
        "expect_mismatch_rate_to_be_below",
        "expect_null_rate_skew_to_be_below",
        "expect_online_to_match_offline",
    }
)
"""Rules on a comparison frame (``skewguard.expectations.skew``): judged every night, on nothing else."""

_NO_PANDAS = {
    "unexpected_rows_expectation": "write the condition as a column or column-pair expectation",
    "expect_query_results_to_match_comparison": "write the condition as a column or column-pair expectation",
    "expect_table_row_count_to_equal_other_table": "use expect_table_row_count_to_be_between",
    "expect_column_values_to_match_like_pattern": "use expect_column_values_to_match_regex",
    "expect_column_values_to_match_like_pattern_list": "use expect_column_values_to_match_regex_list",
    "expect_column_values_to_not_match_like_pattern": "use expect_column_values_to_not_match_regex",
    "expect_column_values_to_not_match_like_pattern_list": "use expect_column_values_to_not_match_regex_list",
}
_COLUMN_KEYS = ("column", "column_A", "column_B", "state_column", "cause_column", "as_of_column")
_COLUMN_LISTS = ("column_list", "entity_columns")
_COMMON = {"id", "meta", "notes", "result_format", "description", "catch_exceptions", "rendered_content", "severity",
           "windows", "batch_id"}  # fmt: skip
_BESIDE = ("id", "meta", "notes", "description", "severity", "rendered_content")


class Problem(Exception):  # noqa: N818  (a report to the caller, which turns it into a SuiteError)
    """What is wrong with one expectation, a line each."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        super().__init__("; ".join(lines))


def columns_of(kind: str, kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that an expectation needs: its own, its pair's or its list's, and those of its row condition."""
    if kind in TABLE_COLUMN_RULES:
        return ()
    names = [kwargs[key] for key in _COLUMN_KEYS if isinstance(kwargs.get(key), str)]
    for key in _COLUMN_LISTS:
        listed = kwargs.get(key)
        names += [name for name in listed if isinstance(name, str)] if isinstance(listed, list | tuple) else []
    names += _condition_columns(kwargs.get("row_condition"))
    return tuple(dict.fromkeys(names))


def _condition_columns(condition: Any) -> Iterator[str]:
    if not isinstance(condition, Mapping):
        return
    column = condition.get("column")
    if isinstance(column, Mapping) and isinstance(column.get("name"), str):
        yield column["name"]
    for part in condition.get("conditions") or ():
        yield from _condition_columns(part)


def resolve(kind: str, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(arguments to run with, arguments with GX's defaults written out, as plain JSON). Raises Problem.

    Times given as text get their zone here: naive means UTC, as everywhere; a bare date is its midnight. Groups in
    regular expressions do not capture.
    """
    gx = great_expectations_import.load()
    known = gx.known()
    if kind not in known:
        near = nearest(kind, known)
        raise Problem([f"unknown expectation.{f' Did you mean {near!r}?' if near else ''}"])
    if kind in _NO_PANDAS:
        raise Problem([f"GX has no pandas implementation of it; {_NO_PANDAS[kind]}."])
    lines = [
        *_run_settings(kwargs),
        *condition_problems(kwargs),
        *_parameters(kwargs),
        *value_problems(kind, kwargs),
        *pattern_problems(kwargs),
    ]
    if lines:
        raise Problem(lines)
    used = {key: _runnable(key, value) for key, value in kwargs.items()}
    try:
        expectation = gx.Configuration(type=kind, kwargs=used).to_domain_obj()
    except Exception as error:
        raise Problem(_gx_lines(error, kind)) from error
    resolved = {key: _plain(value) for key, value in expectation.dict().items() if key not in _COMMON}
    return used, resolved


def _run_settings(kwargs: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(_COMMON & kwargs.keys()):
        where = "beside kwargs" if key in _BESIDE else "to the run, not to the suite; leave it out"
        yield f"{key}: got {kwargs[key]!r} among the arguments; it belongs {where}."


def _parameters(kwargs: Mapping[str, Any]) -> Iterator[str]:
    for key, value in kwargs.items():
        if isinstance(value, Mapping) and "$PARAMETER" in value:
            yield f"{key}: got {dict(value)!r}; suite parameters are not supported, write the value."


def _runnable(key: str, value: Any) -> Any:
    if key in ("min_value", "max_value"):
        return _with_zone(value)
    if key == "regex" and isinstance(value, str):
        return without_groups(value)
    if key == "regex_list" and isinstance(value, list):
        return [without_groups(item) if isinstance(item, str) else item for item in value]
    return value


_GROUP = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?!\?)|\(\?P<\w+>", re.DOTALL)


def without_groups(pattern: str) -> str:
    """The same regular expression with no group that captures: pandas warns about those, on standard error.

    A pattern that refers back to its groups stays as it is.
    """
    # Escapes and character classes are matched only to be stepped over
    plain = _GROUP.sub(lambda found: "(?:" if found[0].startswith("(") else found[0], pattern)
    try:
        return plain if re.compile(plain).groups == 0 else pattern
    except re.error:  # a reference to a group that is gone
        return pattern


def _with_zone(value: Any) -> Any:
    # GX makes a date of "2026-01-01", which pandas then cannot compare with a timestamp
    moment = as_moment(value)
    return value if moment is None else moment.isoformat()


def _gx_lines(error: Exception, kind: str) -> list[str]:
    """What GX complains about, a line each, with the nearest name for an argument that it does not know."""
    details = getattr(error, "errors", None)
    if not callable(details):
        return [str(error)]
    lines: dict[str, str] = {}
    for item in details():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "value_error.extra":
            near = nearest(key, _arguments(kind))
            lines.setdefault(key, f"{key}: unknown argument." + (f" Did you mean {near!r}?" if near else ""))
        else:
            lines.setdefault(key, f"{'' if key == '__root__' else f'{key}: '}{item['msg']}.")
    return list(lines.values())


def _arguments(kind: str) -> list[str]:
    from great_expectations.expectations.registry import get_expectation_impl

    return [name for name in get_expectation_impl(kind).__fields__ if name not in _COMMON]


def _plain(value: Any) -> Any:
    """A value as plain JSON data, the same for the same meaning."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [_plain(item) for item in value]
        return sorted(items, key=repr) if isinstance(value, set | frozenset) else items
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT_FLOAT:
        return int(value)  # GX writes mostly as 1 or as 1.0
    if hasattr(value, "value") and not isinstance(value, str | int | float):
        return value.value
    return value
