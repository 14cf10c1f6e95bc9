"""How each rule of a suite is judged, before any data are looked at: in SQL, in GX, or not. No rule is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from skewguard.expectations.outcome import Outcome
from skewguard.expectations.rules import _NO_PANDAS as REFUSED
from skewguard.expectations.sql import aggregates, several, tables, values
from skewguard.expectations.sql.asks import About, Judging, LeftToGx, Parameters
from skewguard.expectations.sql.columns import Column
from skewguard.expectations.sql.conditions import ordered_columns
from skewguard.expectations.sql.context import Compile, Context, NotCompiled
from skewguard.expectations.suites import Rule, Suite

How = Literal["sql", "gx", "refused"]
FAMILIES: Mapping[str, Compile] = {**values.RULES, **several.RULES, **aggregates.RULES, **tables.RULES}
"""What compiles each expectation that SQL can judge."""

BY_GX: Mapping[str, str] = {
    "expect_column_kl_divergence_to_be_less_than": "its binning and its arithmetic are GX's own",
    "expect_column_value_z_scores_to_be_less_than": "it judges values by a mean and a deviation as NumPy rounds them",
    "expect_column_values_to_not_be_outliers": "it judges each value by quartiles that pandas interpolates",
    "expect_column_values_to_be_increasing": "it depends on the order of rows; pandas is quick at it",
    "expect_column_values_to_be_decreasing": "it depends on the order of rows; pandas is quick at it",
    "expect_column_values_to_match_json_schema": "jsonschema judges it, and what it raises is GX's to tell",
    "expect_column_type_to_be": "pandas itself compares the dtypes",
}
"""Expectations that GX always judges, and why."""


@dataclass(frozen=True)
class RulePlan:
    """How a rule is judged; ``reason`` says why it is not in SQL."""

    rule: Rule
    how: How
    reason: str = ""


@dataclass(frozen=True)
class Compiled:
    """A rule that SQL judges: ``start`` begins to ask."""

    position: int
    columns: tuple[Column, ...]
    start: Callable[[], Judging]


@dataclass(frozen=True)
class SuitePlan:
    """The plan of every rule, in the order of the suite."""

    rules: tuple[RulePlan, ...]
    compiled: tuple[Compiled, ...]
    parameters: Parameters

    def by(self, how: How) -> Iterator[RulePlan]:
        """The rules judged in one way."""
        return (plan for plan in self.rules if plan.how == how)


def plan_suite(suite: Suite, columns: Mapping[str, Column]) -> SuitePlan:
    """Plan every rule of a suite on a table of these columns (``columns_of(open_source(...))``)."""
    context = Context(columns)
    plans: list[RulePlan] = []
    compiled: list[Compiled] = []
    for rule in suite.rules:
        try:
            compiled.append(_compile(rule, context))
            plans.append(RulePlan(rule, "sql"))
        except NotCompiled as left:
            plans.append(RulePlan(rule, "refused" if rule.type in REFUSED else "gx", left.reason))
    return SuitePlan(tuple(plans), tuple(compiled), context.parameters)


def _compile(rule: Rule, context: Context) -> Compiled:
    compile_rule = FAMILIES.get(rule.type)
    if compile_rule is None:
        refused = REFUSED.get(rule.type)
        if refused is not None:
            raise NotCompiled(f"GX has no pandas implementation of it; {refused}")
        raise NotCompiled(BY_GX.get(rule.type, "it is not one of GX's own expectations"))
    start = compile_rule(rule, context)
    ordered = ordered_columns(rule, context)
    columns = tuple(context.columns[name] for name in rule.columns)
    return Compiled(rule.position, columns, _guarded(start, ordered) if ordered else start)


def _guarded(start: Callable[[], Judging], columns: Sequence[Column]) -> Callable[[], Judging]:
    """The same judging, left to GX where a column of its row condition cannot be put in order by pandas."""

    def judging() -> Judging:
        inner = start()
        known_asks = [About(column) for column in columns]
        got = yield [*next(inner), *known_asks]
        for column, ask in zip(columns, known_asks, strict=True):
            known = got[ask]
            if known.is_wide and known.nulls:
                raise LeftToGx(f"{column.name} of the row condition holds nulls beside numbers that no double holds")
        outcome: Outcome
        try:
            while True:
                got = yield inner.send(got)
        except StopIteration as finished:
            outcome = finished.value
        return outcome

    return judging
