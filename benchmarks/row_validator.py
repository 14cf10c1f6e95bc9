"""``python -m benchmarks.row_validator``: what a row costs, and what GX takes for the same row in the same run.

Two suites of the usual mix (ranges, sets, nulls, types, lengths, a pattern, a pair): 20 expectations on 16 columns and
50 on 50. ``check`` is asked of a row on which all is well, of one without values and of one with two wrong ones;
``check_columns`` of 100 rows at once, per row; GX's pandas engine, which says no more than whether each expectation
holds, of a table of the one row. Each figure is the median over runs, sides in turn; time is that of the process, so
that a busy machine counts less. Asserted: GX says the same.
"""

from __future__ import annotations

import json
import statistics
import time
import timeit
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from skewguard.dtypes import arrow_type
from skewguard.expectations.rows.compile import compile_rows
from skewguard.expectations.rows.validator import RowValidator
from skewguard.expectations.suites import Suite, parse_suite
from tests.expectations.oracle import judge

RESULTS = Path(__file__).parent / "results" / "row-validator.json"
RUNS, CALLS, ROWS = 15, 20_000, 100
_VALUES: dict[str, Any] = {"DOUBLE": 1.5, "FLOAT": 2.5, "INT64": 3, "STRING": "ab", "BOOL": True}
_ORDER = ("DOUBLE", "DOUBLE", "FLOAT", "INT64", "STRING")


@dataclass(frozen=True)
class Asked:
    """A suite, the dtypes of its columns, and one row on which all of it holds."""

    suite: Suite
    dtypes: dict[str, str]
    row: tuple[Any, ...]


def mix(columns: int, rules: int) -> Asked:
    """``rules`` expectations on ``columns`` columns, each column with one at least."""
    dtypes = {f"f{i}": _ORDER[i % len(_ORDER)] for i in range(columns)}
    entries = [_main(name, dtype, i) for i, (name, dtype) in enumerate(dtypes.items())]
    more = [
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "f0"}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "f3"}},
        {"type": "expect_column_value_lengths_to_be_between", "kwargs": {"column": "f4", "min_value": 1}},
        {"type": "expect_column_pair_values_a_to_be_greater_than_b", "kwargs": {"column_A": "f3", "column_B": "f0"}},
    ]
    document = {"name": "mix", "expectations": [*entries, *more[: rules - columns]]}
    return Asked(parse_suite(document), dtypes, tuple(_VALUES[dtype] for dtype in dtypes.values()))


def _main(name: str, dtype: str, i: int) -> dict[str, Any]:
    if dtype == "STRING" and i % 2:
        return {"type": "expect_column_values_to_match_regex", "kwargs": {"column": name, "regex": "^[a-z]+$"}}
    if dtype == "STRING":
        return {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": name, "value_set": ["ab", "c"]}}
    if i % 10 == 1:
        return {"type": "expect_column_values_to_be_of_type", "kwargs": {"column": name, "type_": "float64"}}
    if i % 10 == 6:
        return {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": name}}
    return {"type": "expect_column_values_to_be_between", "kwargs": {"column": name, "min_value": 0, "max_value": 10}}


def figures(asked: Asked) -> dict[str, float]:
    """Microseconds for one row, of each way to ask; ``gx`` for the same rules on a table of that row."""
    validator = RowValidator(compile_rows(asked.suite, asked.dtypes))
    assert len(validator.rules) == len(asked.suite.rules)
    place = {name: index for index, name in enumerate(asked.dtypes)}
    row = tuple(asked.row[place[name]] for name in validator.columns)
    wrong = tuple(-5.0 if name in ("f0", "f2") else value for name, value in zip(validator.columns, row, strict=True))
    columns = [[value] * ROWS for value in row]
    table = pa.table(
        {n: pa.array([v], arrow_type(asked.dtypes[n])) for n, v in zip(asked.dtypes, asked.row, strict=True)}
    )
    assert validator.check(row) == 0
    assert validator.check(wrong).bit_count() >= 2
    assert all(outcome.success for outcome in judge(table, asked.suite).values())
    sides: dict[str, tuple[Callable[[], Any], int, int]] = {
        "check": (lambda: validator.check(row), CALLS, 1),
        "check, no values": (lambda: validator.check((None,) * len(row)), CALLS, 1),
        "check, two wrong": (lambda: validator.check(wrong), CALLS, 1),
        "tally": (lambda: validator.tally(row), CALLS, 1),
        "check_columns": (lambda: validator.check_columns(columns, ROWS), CALLS // ROWS, ROWS),
        "gx": (lambda: judge(table, asked.suite, "BOOLEAN_ONLY"), 1, 1),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(RUNS):
        for name, (side, calls, rows) in sides.items():
            times[name].append(timeit.timeit(side, number=calls, timer=time.process_time) / calls / rows * 1e6)
    return {name: round(statistics.median(found), 3) for name, found in times.items()}


def main() -> None:
    warnings.simplefilter("ignore")
    results = {f"{rules} expectations, {columns} columns": figures(mix(columns, rules)) for columns, rules in
               ((16, 20), (50, 50))}  # fmt: skip
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    for name, found in results.items():
        print(name)
        for side, microseconds in found.items():
            print(f"  {side:18} {microseconds:12,.2f} us   {found['gx'] / microseconds:12,.0f} x")


if __name__ == "__main__":
    main()
