"""Rules that Python judges on the distinct strings of a column, as GX's pandas engine does on all of them.

Source: great_expectations 1.24, expectations/metrics/column_map_metrics.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from dateutil.parser import parse as parse_date

from skewguard.expectations.sql.context import NotCompiled
from skewguard.expectations.suites import Rule

Predicate = Callable[[str], bool]


def _matches(rule: Rule) -> Predicate:
    return _found(rule.resolved.get("regex"))


def _does_not_match(rule: Rule) -> Predicate:
    found = _matches(rule)
    return lambda text: not found(text)


def _matches_list(rule: Rule) -> Predicate:
    found = [_found(pattern) for pattern in rule.resolved["regex_list"]]
    join = {"any": any, "all": all}.get(rule.resolved.get("match_on", "any"))
    if join is None:
        raise NotCompiled(f"match_on is {rule.resolved.get('match_on')!r}")
    return lambda text: join(one(text) for one in found)


def _matches_none(rule: Rule) -> Predicate:
    found = [_found(pattern) for pattern in rule.resolved["regex_list"]]
    return lambda text: not any(one(text) for one in found)


def _found(pattern: Any) -> Predicate:
    if not isinstance(pattern, str):
        raise NotCompiled(f"the pattern is {pattern!r}")
    search = re.compile(pattern).search
    return lambda text: search(text) is not None


def _strftime(rule: Rule) -> Predicate:
    pattern = rule.resolved.get("strftime_format")
    if not isinstance(pattern, str):
        raise NotCompiled(f"the format is {pattern!r}")
    return lambda text: _succeeds(lambda: datetime.strptime(text, pattern), ValueError)  # noqa: DTZ007  (only tried)


def _dateutil(_: Rule) -> Predicate:
    return lambda text: _succeeds(lambda: parse_date(text), ValueError, OverflowError)


def _json(_: Rule) -> Predicate:
    return lambda text: _succeeds(lambda: json.loads(text), ValueError, RecursionError)


def _succeeds(attempt: Callable[[], object], *failures: type[Exception]) -> bool:
    try:
        attempt()
    except failures:
        return False
    return True


PREDICATES: Mapping[str, Callable[[Rule], Predicate]] = {
    "expect_column_values_to_match_regex": _matches,
    "expect_column_values_to_not_match_regex": _does_not_match,
    "expect_column_values_to_match_regex_list": _matches_list,
    "expect_column_values_to_not_match_regex_list": _matches_none,
    "expect_column_values_to_match_strftime_format": _strftime,
    "expect_column_values_to_be_dateutil_parseable": _dateutil,
    "expect_column_values_to_be_json_parseable": _json,
}
