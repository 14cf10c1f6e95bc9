"""Answers what rules ask: one scan for all the aggregates of a round, a statement for each thing that needs more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from skewguard.expectations.outcome import PARTIAL, Outcome
from skewguard.expectations.sql import whole
from skewguard.expectations.sql.asks import (
    QUICK,
    About,
    Answers,
    Ask,
    Centre,
    Counts,
    Few,
    Filled,
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
        self._read: dict[Column, pa.ChunkedArray] = {}

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

    def _answer(self, ask: Groups | Counts | Few | Filled | Centre | About | Ranked | First) -> Any:
        if isinstance(ask, About):
            return self._about(ask.column)
        if isinstance(ask, Filled):
            nulls = self._source.nulls(ask.column)
            if nulls is None:
                return self._fetch(f"SELECT count({ask.column.sql}) FROM ({self._rows})")[0][0]
            return self._source.rows - nulls
        if isinstance(ask, Groups):
            return self._groups(ask)
        if isinstance(ask, Counts):
            if ask.whole is not None and ask.whole.kind is Kind.TEXT:
                return whole.counts(self._whole(ask.whole))
            return self._fetch(f"SELECT {ask.key}, count(*) FROM ({self._rows}) WHERE {ask.where} GROUP BY 1")
        if isinstance(ask, Few):
            return self._is_few(ask.column)
        if isinstance(ask, Centre):
            return self._centre(ask.column)
        return self._ranked(ask) if isinstance(ask, Ranked) else self._first(ask)

    def _is_few(self, column: Column) -> bool:
        if self._source.in_memory:
            return whole.distinct(self._whole(column).slice(0, _SAMPLE)) <= _FEW
        first = f"SELECT {column.sql} AS v FROM ({self._rows}) LIMIT {_SAMPLE}"
        return bool(self._fetch(f"SELECT count(DISTINCT v) <= {_FEW} FROM ({first})")[0][0])

    def _centre(self, column: Column) -> float:
        if self._source.in_memory:
            return whole.mean(whole.numbers(self._whole(column).slice(0, _SAMPLE), column))
        first = f"SELECT {column.value}::DOUBLE AS v FROM ({self._rows}) LIMIT {_SAMPLE}"
        return self._fetch(f"SELECT avg(v) FROM ({first}) WHERE isfinite(v)")[0][0] or 0.0

    def _about(self, column: Column) -> Facts:
        if column.kind is not Kind.WHOLE:
            return Facts(column)
        known = self._source.facts(column)
        if known is not None:
            return known
        asked = f"count({column.sql}), min({column.sql}), max({column.sql})"
        ((there, low, high),) = self._fetch(f"SELECT {asked} FROM ({self._rows})")
        return Facts(column, self._source.rows, self._source.rows - there, low, high)

    def _groups(self, ask: Groups) -> tuple[int, int]:
        if ask.whole is not None and ask.dense is not None:
            return whole.groups(whole.numbers(self._whole(ask.whole), ask.whole), ask.dense)
        groups = f"SELECT count(*) AS n FROM ({self._rows}) WHERE {ask.where} GROUP BY {', '.join(ask.keys)}"
        ((number, repeated),) = self._fetch(
            f"SELECT count(*), coalesce(sum(n) FILTER (WHERE n > 1), 0)::BIGINT FROM ({groups})"
        )
        return number, repeated

    def _ranked(self, ask: Ranked) -> list[Any]:
        if ask.whole is not None:
            return whole.ranked(whole.numbers(self._whole(ask.whole), ask.whole), ask.ranks)
        sql = f"SELECT {ask.key} AS v FROM ({self._rows}) WHERE {ask.where}"
        values = self._con.execute(sql, self._parameters.of(sql)).fetchnumpy()["v"]
        return whole.ranked(np.asarray(values), ask.ranks)

    def _whole(self, column: Column) -> pa.ChunkedArray:
        if column not in self._read:
            self._read[column] = self._source.values(column)
        return self._read[column]

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
