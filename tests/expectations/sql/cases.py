"""What the tests of the compiler share: one rule on one column, in SQL and in GX."""

from __future__ import annotations

import json
import math
from typing import Any

import pyarrow as pa

from skewguard.expectations.judge import Judged, judge_suite
from skewguard.expectations.sql.source import Source
from skewguard.expectations.suites import parse_suite
from tests.expectations import oracle
from tests.expectations.builders import document


def judged(source: Source, *rules: dict[str, Any]) -> list[Judged]:
    """What became of rules on a source."""
    found, _ = judge_suite(source, parse_suite(document(*rules)))
    return list(found)


def in_sql(values: Any, rule: dict[str, Any], kind: pa.DataType | None = None) -> Judged:
    """A rule on the column x; it must be judged in SQL, and as GX judges it."""
    return agreed(pa.table({"x": pa.array(values, kind)}), rule)


def agreed(table: pa.Table, rule: dict[str, Any]) -> Judged:
    """A rule that must be judged in SQL, with the outcome that GX gives it."""
    (one,) = judged(table, rule)
    assert one.judged_by == "sql", one.reason
    assert one.outcome.trouble is None
    assert_same(one, oracle.judge(table, parse_suite(document(rule)))[0])
    return one


def assert_same(one: Judged, theirs: oracle.Outcome) -> None:
    """The outcome in SQL is GX's: success, counts, unexpected values and rows, or the statistic."""
    told = (one.rule.type, dict(one.rule.kwargs))
    assert theirs.broke is None, told
    assert one.outcome.success == theirs.success, told
    result = one.outcome.result
    if theirs.elements is None:
        assert alike(plain(result.get("observed_value")), plain(theirs.observed)), told
        return
    assert (result["element_count"], result["unexpected_count"]) == (theirs.elements, theirs.unexpected), told
    if theirs.judged is not None:
        assert result.get("missing_count") == theirs.elements - theirs.judged, told
    assert alike(plain(result["partial_unexpected_list"]), plain(theirs.values or ())[:20]), told
    assert result["partial_unexpected_index_list"] == list(theirs.rows or ())[:20], told


def plain(value: Any) -> Any:
    """A value of either side as JSON data; what is missing is None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if type(value).__name__ == "datetime64":  # GX shows times in pairs without their zone
        import pandas as pd

        return None if str(value) == "NaT" else pd.Timestamp(value).tz_localize("UTC").isoformat()
    if hasattr(value, "isoformat"):
        return None if str(value) == "NaT" else value.isoformat()
    value = value.tolist() if hasattr(value, "tolist") else value
    return None if isinstance(value, float) and math.isnan(value) else value


def alike(one: Any, other: Any) -> bool:
    """Equal in value and type; floats to a relative 1e-9."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == other or math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return type(one) is type(other) and bool(one == other)


def json_of(result: Any) -> Any:
    """A GX result as JSON data."""
    return json.loads(json.dumps(result.to_json_dict()["result"], default=float))
