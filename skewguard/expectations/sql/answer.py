"""Answers what rules ask: one scan for all the aggregates of a round, a statement for each thing that needs more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb
import numpy as np

from skewguard.expectations.outcome import PARTIAL, Outcome
from skewguard.expectations.sql.asks import (
    QUICK,
    About,
    Answers,
    Ask,
    Centre,
    Counts,
    Few,
    First,
    Groups,
    LeftToGx,
    Parameters,
    Ranked,
    Total,
)
from skewguard.expectations.sql.columns import Column, Facts, Kind
from skewguard.expectations.sql.plan import Compiled
from skewguard.expectations.sql.source import Attached

_FEW, _SAMPLE = 200, 10_000


class Table:
    """The rows of a suite in a connection."""

    def __init__(self, con: duckdb.DuckDBPyConnection, source: Attached, parameters: Parameters) -> None:
        self._con = con
        self._source = source
        self._rows = source.sql
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

    def _answer(self, ask: Groups | Counts | Few | Centre | About | Ranked | First) -> Any:
        if isinstance(ask, About):
            return self._source.facts(ask.column) or self._facts(ask.column)
        if isinstance(ask, Groups):
            return self._groups(ask)
        if isinstance(ask, Counts):
            return self._fetch(f"SELECT {ask.key}, count(*) FROM ({self._rows}) WHERE {ask.where} GROUP BY 1")
        if isinstance(ask, Few):
            first = f"SELECT {ask.key} AS v FROM ({self._rows}) LIMIT {_SAMPLE}"
            return self._fetch(f"SELECT count(DISTINCT v) <= {_FEW} FROM ({first})")[0][0]
        if isinstance(ask, Centre):
            first = f"SELECT {ask.key}::DOUBLE AS v FROM ({self._rows}) LIMIT {_SAMPLE}"
            return self._fetch(f"SELECT avg(v) FROM ({first}) WHERE isfinite(v)")[0][0] or 0.0
        return self._ranked(ask) if isinstance(ask, Ranked) else self._first(ask)

    def _facts(self, column: Column) -> Facts:
        span = f"min({column.sql}), max({column.sql})" if column.kind is Kind.WHOLE else "NULL, NULL"
        ((rows, there, low, high),) = self._fetch(f"SELECT count(*), count({column.sql}), {span} FROM ({self._rows})")
        return Facts(column, rows, rows - there, low, high)

    def _groups(self, ask: Groups) -> tuple[int, int]:
        if ask.dense is not None:  # counted by their place: ten times as fast as by hash
            counts = np.bincount(self._column(f"{ask.keys[0]} - ({ask.dense})", ask.where))
            return int(np.count_nonzero(counts)), int(counts[counts > 1].sum())
        groups = f"SELECT count(*) AS n FROM ({self._rows}) WHERE {ask.where} GROUP BY {', '.join(ask.keys)}"
        ((number, repeated),) = self._fetch(
            f"SELECT count(*), coalesce(sum(n) FILTER (WHERE n > 1), 0)::BIGINT FROM ({groups})"
        )
        return number, repeated

    def _ranked(self, ask: Ranked) -> list[Any]:
        values = self._column(ask.key, ask.where)
        if not len(values):
            return []
        ranks = ask.ranks(len(values))
        return np.partition(values, sorted(set(ranks)))[ranks].tolist()  # type: ignore[no-any-return]

    def _column(self, key: str, where: str) -> Any:
        sql = f"SELECT {key} AS v FROM ({self._rows}) WHERE {where}"
        return np.asarray(self._con.execute(sql, self._parameters.of(sql)).fetchnumpy()["v"])

    def _first(self, ask: First) -> list[tuple[Any, ...]]:
        columns = ", ".join(f"{column} AS v{number}" for number, column in enumerate(ask.columns))
        numbered = f"SELECT *, row_number() OVER () - 1 AS row_number FROM ({self._rows})"
        found = f"SELECT row_number, {columns} FROM ({numbered}) WHERE {ask.where}"
        if ask.repeated:
            among = f"count(*) OVER (PARTITION BY {', '.join(ask.repeated)}) AS alike"
            found = f"SELECT row_number, {columns}, {among} FROM ({numbered}) WHERE {ask.where}"
            found = f"SELECT * EXCLUDE (alike) FROM ({found}) WHERE alike > 1"
        # a scan keeps the order of rows and ends with the last row that is wanted
        order = " ORDER BY row_number" if ask.repeated or ask.joined else ""
        return self._fetch(f"{found}{order} LIMIT {PARTIAL}")

    def _fetch(self, sql: str) -> list[tuple[Any, ...]]:
        return self._con.execute(sql, self._parameters.of(sql)).fetchall()


def judge_compiled(table: Table, compiled: Sequence[Compiled]) -> Mapping[int, Outcome | LeftToGx]:
    """What became of each rule, by position. Rules ask in rounds, all of them at once."""
    done: dict[int, Outcome | LeftToGx] = {}
    judging = {rule.position: rule.start() for rule in compiled}
    asked: dict[int, Sequence[Ask]] = {}
    got: Answers = {}
    turn: Iterable[int] = list(judging)
    while judging:
        for position in turn:
            try:
                one = judging[position]
                asked[position] = one.send(got) if position in asked else next(one)
                continue
            except StopIteration as finished:
                done[position] = finished.value
            except LeftToGx as left:
                done[position] = left
            except OverflowError as error:  # a time outside of Python's calendar
                done[position] = LeftToGx(f"a value has no place in Python: {error}")
            del judging[position]
            asked.pop(position, None)
        quick = [position for position, asks in asked.items() if all(isinstance(ask, QUICK) for ask in asks)]
        turn = quick or list(asked)
        got = table.answers(ask for position in turn for ask in asked[position])
    return done
