"""Answers what rules ask: one scan for all the aggregates of a round, a statement for each thing that needs more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb

from skewguard.expectations.outcome import PARTIAL, Outcome
from skewguard.expectations.sql.asks import (
    Answers,
    Ask,
    Counts,
    First,
    Groups,
    LeftToGx,
    Parameters,
    Ranked,
    Total,
)
from skewguard.expectations.sql.plan import Compiled


class Table:
    """The rows of a suite in a connection; ``rows`` is SQL that selects their columns."""

    def __init__(self, con: duckdb.DuckDBPyConnection, rows: str, parameters: Parameters) -> None:
        self._con = con
        self._rows = rows
        self._parameters = parameters

    def answers(self, asks: Iterable[Ask]) -> Answers:
        """The answers to the questions of one round, each asked once."""
        wanted = list(dict.fromkeys(asks))
        totals = [ask for ask in wanted if isinstance(ask, Total)]
        found: Answers = {}
        if totals:
            (values,) = self._fetch(f"SELECT {', '.join(ask.sql for ask in totals)} FROM ({self._rows})")
            found = dict(zip(totals, values, strict=True))
        for ask in wanted:
            if not isinstance(ask, Total):
                found[ask] = self._answer(ask)
        return found

    def _answer(self, ask: Groups | Counts | Ranked | First) -> Any:
        if isinstance(ask, Groups):
            return self._groups(ask)
        if isinstance(ask, Counts):
            return self._fetch(f"SELECT {ask.key}, count(*) FROM ({self._rows}) WHERE {ask.where} GROUP BY 1")
        return self._ranked(ask) if isinstance(ask, Ranked) else self._first(ask)

    def _groups(self, ask: Groups) -> tuple[int, int]:
        keys = ", ".join(ask.keys)
        groups = f"SELECT count(*) AS n FROM ({self._rows}) WHERE {ask.where} GROUP BY {keys}"
        ((number, repeated),) = self._fetch(
            f"SELECT count(*), coalesce(sum(n) FILTER (WHERE n > 1), 0)::BIGINT FROM ({groups})"
        )
        return number, repeated

    def _ranked(self, ask: Ranked) -> list[Any]:
        # quantile_disc(q) is the value of rank ceil(q * rows) - 1: the middle of a step is that rank for certain
        shares = ", ".join(repr((rank + 0.5) / ask.rows) for rank in ask.ranks)
        sql = f"SELECT quantile_disc({ask.key}, [{shares}]) FROM ({self._rows}) WHERE {ask.where}"
        ((values,),) = self._fetch(sql)
        return list(values)

    def _first(self, ask: First) -> list[tuple[Any, ...]]:
        columns = ", ".join(f"{column} AS v{number}" for number, column in enumerate(ask.columns))
        numbered = f"SELECT *, row_number() OVER () - 1 AS row_number FROM ({self._rows})"
        found = f"SELECT row_number, {columns} FROM ({numbered}) WHERE {ask.where}"
        if ask.repeated:
            among = f"count(*) OVER (PARTITION BY {', '.join(ask.repeated)}) AS alike"
            found = f"SELECT row_number, {columns}, {among} FROM ({numbered}) WHERE {ask.where}"
            found = f"SELECT * EXCLUDE (alike) FROM ({found}) WHERE alike > 1"
        return self._fetch(f"{found} ORDER BY row_number LIMIT {PARTIAL}")

    def _fetch(self, sql: str) -> list[tuple[Any, ...]]:
        return self._con.execute(sql, self._parameters.of(sql)).fetchall()


def judge_compiled(table: Table, compiled: Sequence[Compiled]) -> Mapping[int, Outcome | LeftToGx]:
    """What became of each rule, by position. Rules ask in rounds, all of them at once."""
    done: dict[int, Outcome | LeftToGx] = {}
    judging = {rule.position: rule.start() for rule in compiled}
    got: Answers | None = None
    while judging:
        asked: dict[int, Sequence[Ask]] = {}
        for position, one in judging.items():
            try:
                asked[position] = next(one) if got is None else one.send(got)
            except StopIteration as finished:
                done[position] = finished.value
            except LeftToGx as left:
                done[position] = left
            except OverflowError as error:  # a time outside of Python's calendar
                done[position] = LeftToGx(f"a value has no place in Python: {error}")
        judging = {position: judging[position] for position in asked}
        got = table.answers(ask for asks in asked.values() for ask in asks)
    return done
