"""One case judged by GX itself (``oracle.py``), in SQL (from memory and from a file), row by row; and where they part.

Every difference must have a name: ``DEVIATIONS`` says which there are, each with the reason, and
docs/row-validator.md lists the same names (a test compares). A difference without a name is a mistake.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from skewguard.expectations.judge import Judged, judge_suite
from skewguard.expectations.rows.compile import compile_rows
from skewguard.expectations.rows.suite import RowRule
from skewguard.expectations.rows.validator import RowValidator
from skewguard.expectations.sql.plan import plan_suite
from skewguard.expectations.sql.source import Source, columns_of, open_source
from skewguard.expectations.suites import Rule, Suite, parse_suite
from tests.expectations import feast_like
from tests.expectations.generated import Case
from tests.expectations.oracle import Outcome, judge

_WIDE = 2**53


@dataclass(frozen=True)
class Difference:
    """An engine (sql, file or rows) parts from GX on a rule: in what, and by which deviation, None for none."""

    engine: str
    what: str
    rule: Rule
    gx: Any
    other: Any
    deviation: str | None = None

    def __str__(self) -> str:
        named = f" [{self.deviation}]" if self.deviation else ""
        return (
            f"{self.engine}: {self.what} of {self.rule.label} {self.rule.kwargs}: GX {self.gx!r}, {self.other!r}{named}"
        )


@dataclass
class Compared:
    """What was compared: rules by who judged them, and the differences."""

    judged: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    @property
    def unexplained(self) -> list[Difference]:
        """The differences without a name."""
        return [found for found in self.differences if found.deviation is None]


def compare(case: Case) -> Compared:
    """Judge a case in all three ways."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy about infinities, of pandas about dates
        return _compare(case)


def _compare(case: Case) -> Compared:
    suite = parse_suite(case.document)
    gx = judge(case.table, suite)
    compared = Compared(Counter({"gx": len(gx)}))
    _in_sql("sql", case.table, suite, gx, compared)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "case.parquet"
        rows = case.table.num_rows
        pq.write_table(case.table, path, row_group_size=max(1, rows // (1 + len(case.document["expectations"]) % 3)))
        there = pq.read_table(path)  # files have no seconds, for one
        _in_sql("file", path, suite, gx if there.equals(case.table) else judge(there, suite), compared)
    compared.differences += _rows(case.table, suite, gx, compared.judged)
    return compared


# SQL


def _in_sql(engine: str, source: Source, suite: Suite, gx: Mapping[int, Outcome], compared: Compared) -> None:
    plan = plan_suite(suite, columns_of(open_source(source)))
    compared.judged.update(f"{engine}: planned for {planned.how}" for planned in plan.rules)
    in_sql = tuple(planned.rule for planned in plan.by("sql"))  # what is GX's in any case would be GX against itself
    for judged in judge_suite(source, replace(suite, rules=in_sql))[0]:
        compared.judged[f"{engine}: judged by {judged.judged_by}"] += 1
        compared.differences += _sql(engine, judged, gx[judged.rule.position])


def _sql(engine: str, judged: Judged, gx: Outcome) -> Iterator[Difference]:
    found = judged.outcome
    if (found.trouble is None) != (gx.broke is None):
        yield Difference(engine, "broke", judged.rule, gx.broke, found.trouble)
        return
    result = found.result
    pairs = [("success", gx.success, found.success)]
    if gx.elements is not None:
        pairs += [
            ("elements", gx.elements, result.get("element_count")),
            ("unexpected", gx.unexpected, result.get("unexpected_count")),
            ("values", plain(gx.values), plain(result.get("partial_unexpected_list"))),
        ]
        if gx.judged is not None and result.get("missing_count") is not None:
            pairs.append(("judged", gx.judged, gx.elements - result["missing_count"]))
    elif gx.broke is None:
        pairs.append(("observed", plain(gx.observed), plain(result.get("observed_value"))))
    for what, wanted, got in pairs:
        if wanted != got and not (what == "observed" and _close(wanted, got)):
            yield Difference(engine, what, judged.rule, wanted, got)


def _close(one: Any, other: Any) -> bool:
    """Two sums that differ by rounding alone; whether a rule holds is compared exactly all the same."""
    floats = isinstance(one, float) and isinstance(other, float)
    return floats and math.isclose(one, other, rel_tol=1e-12)


def plain(value: Any) -> Any:
    """A value so that what GX, pandas, NumPy and DuckDB give for one thing is equal; missing ones are None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.datetime64):
        return plain(value.astype("datetime64[us]").item())
    if hasattr(value, "tolist") and not isinstance(value, datetime):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or value != value:
        return None
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return value.isoformat() if isinstance(value, date) else value


# Row by row


def _rows(table: pa.Table, suite: Suite, gx: Mapping[int, Outcome], judged: Counter[str]) -> Iterator[Difference]:
    compiled = compile_rows(suite, feast_like.dtypes(table))
    judged.update(f"rows: {rule.status}" for rule in compiled.rules)
    validator = RowValidator(compiled)
    columns = feast_like.values(table, compiled.columns)
    rows = table.num_rows if columns else 0
    bad, skipped = validator.tally_columns(columns, rows)
    strict = validator.check_columns(columns, rows)
    for bit, row_rule in enumerate(validator.rules):
        rule = suite.rules[row_rule.position]
        tally = _Tally(
            tuple(row for row, mask in sorted(bad.items()) if mask >> bit & 1),
            rows - sum(mask >> bit & 1 for mask in skipped.values()),
            any(mask >> len(validator.rules) + bit & 1 for mask in bad.values()),
            any(mask >> bit & 1 for mask in strict.values()),
        )
        for what, wanted, got in _row_pairs(row_rule, tally, gx[rule.position], rows):
            if wanted != got:
                yield Difference("rows", what, rule, wanted, got, _deviation(rule, table))


@dataclass(frozen=True)
class _Tally:
    wrong: tuple[int, ...]
    judged: int
    broke: bool
    strict: bool


def _row_pairs(rule: RowRule, tally: _Tally, gx: Outcome, rows: int) -> Iterator[tuple[str, Any, Any]]:
    yield "broke", gx.broke is not None, tally.broke
    if gx.broke is not None or tally.broke:
        return
    if rows == 1:
        yield "success of one row", gx.success, not tally.strict
    if gx.elements is None:  # of the declared type: no rows are counted
        if rows:
            yield "success", gx.success, not tally.wrong
        return
    yield "rows", gx.rows, tally.wrong
    yield "unexpected", gx.unexpected, len(tally.wrong)
    if gx.judged is not None:
        yield "judged", gx.judged, tally.judged
    share = (float(tally.judged) - float(len(tally.wrong))) / float(tally.judged) if tally.judged else 1.0
    yield "success", gx.success, share >= rule.mostly


# Deviations of rows from a batch, by name


def _deviation(rule: Rule, table: pa.Table) -> str | None:
    columns = [table.column(name) for name in rule.columns]
    return next((name for name, (_, applies) in DEVIATIONS.items() if applies(rule, columns)), None)


def _text_of_whole_numbers(rule: Rule, columns: Sequence[Any]) -> bool:
    textual = "regex" in rule.type or "length" in rule.type
    return textual and any(pa.types.is_integer(c.type) and c.null_count for c in columns)


def _wide_beside_nulls(rule: Rule, columns: Sequence[Any]) -> bool:
    together = len(columns) > 1 or rule.kwargs.get("row_condition") is not None
    return together and any(map(_is_wide, columns)) and any(c.null_count or _has_nan(c) for c in columns)


def _is_wide(column: Any) -> bool:
    if column.type != pa.int64() or column.null_count == len(column):
        return False
    span = pc.min_max(column).as_py()
    return bool(span["min"] <= -_WIDE or span["max"] >= _WIDE)


def _has_nan(column: Any) -> bool:
    return pa.types.is_floating(column.type) and bool(pc.any(pc.is_nan(column)).as_py())


def _finer_than_the_unit(rule: Rule, columns: Sequence[Any]) -> bool:
    return any(pa.types.is_timestamp(c.type) and c.type.unit == "s" for c in columns) and "." in repr(rule.kwargs)


def _type_never(rule: Rule, columns: Sequence[Any]) -> bool:
    return "type" in rule.type and rule.resolved.get("mostly") == 0


DEVIATIONS: Mapping[str, tuple[str, Callable[[Rule, Sequence[Any]], bool]]] = {
    "text of whole numbers beside nulls": ("pandas makes them doubles, so that 1 reads 1.0", _text_of_whole_numbers),
    "beyond 2^53 beside nulls": (
        "pandas makes them Python integers, which compare exactly, or raise",
        _wide_beside_nulls,
    ),
    "times finer than the column": ("pandas cuts them to whole seconds first", _finer_than_the_unit),
    "a type, mostly never": ("GX passes over mostly where it looks at the declared type", _type_never),
}
"""Where a row is judged otherwise than among its neighbours: name, reason, and which rules on which columns."""
