"""Judges a suite: in SQL what SQL is sure of, in Great Expectations the rest. Every rule has an outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from skewguard.errors import SuiteError, nearest
from skewguard.expectations.in_gx import run_in_gx
from skewguard.expectations.outcome import Outcome
from skewguard.expectations.sql.answer import Table, judge_compiled
from skewguard.expectations.sql.asks import LeftToGx
from skewguard.expectations.sql.plan import How, SuitePlan, plan_suite
from skewguard.expectations.sql.source import ParquetSource, Source, TableSource, columns_of, open_source
from skewguard.expectations.suites import Rule, Suite
from skewguard.offline.sources import connect


@dataclass(frozen=True)
class Judged:
    """A rule's outcome; ``judged_by`` "sql", "gx" or "refused"; ``reason``: why not in SQL."""

    rule: Rule
    outcome: Outcome
    judged_by: How
    reason: str = ""


def judge_suite(source: Source, suite: Suite) -> tuple[tuple[Judged, ...], int]:
    """(what became of every rule, in the order of the suite; the number of rows).

    Raises SuiteError naming file and expectation where a column of the suite is not there, BadInputError for two
    columns of one name or a source of another kind, StoreUnavailableError for a file that cannot be read.
    """
    opened = open_source(source)
    require_columns(opened.schema.names, suite)
    columns = columns_of(opened, suite.columns)
    plan = plan_suite(suite, columns)
    in_sql = _in_sql(opened, plan)
    left = {plan.rule.position: plan.reason for plan in plan.by("gx")}
    left |= {position: found.reason for position, found in in_sql.items() if isinstance(found, LeftToGx)}
    in_gx = run_in_gx(opened, [rule for rule in suite.rules if rule.position in left]) if left else {}
    judged = []
    for one in plan.rules:
        position = one.rule.position
        found = in_sql.get(position)
        if isinstance(found, Outcome):
            judged.append(Judged(one.rule, found, "sql"))
        elif position in in_gx:
            judged.append(Judged(one.rule, in_gx[position], "gx", left[position]))
        else:
            judged.append(Judged(one.rule, Outcome(False, trouble=one.reason), "refused", one.reason))
    return tuple(judged), opened.rows()


def _in_sql(source: TableSource | ParquetSource, plan: SuitePlan) -> Mapping[int, Outcome | LeftToGx]:
    if not plan.compiled:
        return {}
    used = sorted({column for one in plan.compiled for column in one.columns}, key=lambda column: column.position)
    with connect() as con:
        # files do not count NaN in the ends of a column, and DuckDB would spare itself what these seem to settle
        con.execute("SET disabled_optimizers = 'statistics_propagation'")
        try:
            rows = source.attach(con, used)
            return judge_compiled(Table(con, rows, plan.parameters), plan.compiled)
        except (duckdb.Error, pa.ArrowException) as error:
            # what DuckDB or Arrow cannot do, GX may: the reason is in every result
            said_by = "DuckDB" if isinstance(error, duckdb.Error) else "Arrow"
            return {one.position: LeftToGx(f"{said_by} says: {error}") for one in plan.compiled}


def require_columns(names: Sequence[str], suite: Suite) -> None:
    """Raises SuiteError with each rule of which a column is not there, and the nearest name."""
    lines = []
    for rule in suite.rules:
        for column in rule.columns:
            if column not in names:
                near = nearest(column, names)
                hint = f" Did you mean {near!r}?" if near else " Remove the expectation, or add the column."
                lines.append(f"{rule.label}: no column {column!r} in the table.{hint}")
    if lines:
        raise SuiteError(f"{suite.origin}:\n" + "\n".join(f"  - {line}" for line in lines))
