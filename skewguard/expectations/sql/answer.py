"""Answers what rules ask: one scan for all the aggregates of a round, a statement for each thing that needs more.

Beside them, in a thread, whole columns that need no statement: NumPy, Arrow and DuckDB all let go of Python's lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from skewguard.expectations.outcome import PARTIAL, Outcome
from skewguard.expectations.sql.asks import (
    QUICK,
    About,
    Answers,
    Ask,
    Centre,
    Counts,
    Ends,
    Few,
    Filled,
    First,
    Groups,
    Held,
    LeftToGx,
    Parameters,
    Ranked,
    Total,
)
from skewguard.expectations.sql.columns import Column, Facts, Kind
from skewguard.expectations.sql.plan import Compiled
from skewguard.expectations.sql.source import Attached, Span
from skewguard.expectations.sql.whole import FEW, SAMPLE, column_of, ranked, read_answers

_BESIDE = 2
"""Whole columns that are read at once: so many are in memory, however many there are."""


class Table:
    """The rows of a suite in a connection."""

    def __init__(self, con: duckdb.DuckDBPyConnection, source: Attached, parameters: Parameters) -> None:
        self._con = con
        self._source = source
        self._rows = source.sql
        self._parameters = parameters
        self._spans: dict[Column, Span | None] = {}

    def answers(self, asks: Iterable[Ask]) -> Answers:
        """The answers to the questions of one round, each asked once."""
        wanted = list(dict.fromkeys(asks))
        totals = [ask for ask in wanted if isinstance(ask, Total)]
        found: Answers = {}
        by_column: dict[Column, list[Ask]] = {}
        for ask in wanted:
            column = column_of(ask, self._source)
            if column is not None:
                by_column.setdefault(column, []).append(ask)
        with ThreadPoolExecutor(_BESIDE) as beside:
            read = [beside.submit(read_answers, asked, column, self._source) for column, asked in by_column.items()]
            if totals:
                (values,) = self._fetch(f"SELECT {', '.join(ask.sql for ask in totals)} FROM ({self._rows})")
                found = dict(zip(totals, values, strict=True))
            for ask in wanted:
                if not isinstance(ask, Total) and column_of(ask, self._source) is None:
                    found[ask] = self._answer(ask)
            for one in read:
                found |= one.result()
        return found

    def _answer(self, ask: Ask) -> Any:
        match ask:
            case About(column):
                return self._about(column)
            case Ends(column):
                return self._span(column)
            case Held(column):
                return self._source.in_memory and not pa.types.is_dictionary(column.type)
            case Filled(column):
                nulls = self._source.nulls(column)
                if nulls is None:
                    return self._fetch(f"SELECT count({column.sql}) FROM ({self._rows})")[0][0]
                return self._source.rows - nulls
            case Few(column):
                return self._is_few(column)
            case Centre(column):
                return self._centre(column)
            case Groups():
                return self._groups(ask)
            case Counts(key, where):
                return self._fetch(f"SELECT {key}, count(*) FROM ({self._rows}) WHERE {where} GROUP BY 1")
            case Ranked():
                return self._ranked(ask)
            case First():
                return self._first(ask)
        raise TypeError(f"no statement answers {ask!r}")

    def _is_few(self, column: Column) -> bool:
        first = f"SELECT {column.sql} AS v FROM ({self._rows}) LIMIT {SAMPLE}"
        return bool(self._fetch(f"SELECT count(DISTINCT v) <= {FEW} FROM ({first})")[0][0])

    def _centre(self, column: Column) -> float:
        first = f"SELECT {column.value}::DOUBLE AS v FROM ({self._rows}) LIMIT {SAMPLE}"
        return self._fetch(f"SELECT avg(v) FROM ({first}) WHERE isfinite(v)")[0][0] or 0.0

    def _about(self, column: Column) -> Facts:
        if column.kind is not Kind.WHOLE:
            return Facts(column)
        nulls, span = self._source.nulls(column), self._span(column)
        if nulls is not None and span is not None:
            return Facts(column, self._source.rows, nulls, *span)
        asked = f"count({column.sql}), min({column.sql}), max({column.sql})"
        ((there, low, high),) = self._fetch(f"SELECT {asked} FROM ({self._rows})")
        return Facts(column, self._source.rows, self._source.rows - there, low, high)

    def _span(self, column: Column) -> Span | None:
        if column not in self._spans:
            self._spans[column] = self._source.span(column)
        return self._spans[column]

    def _groups(self, ask: Groups) -> tuple[int, int]:
        groups = f"SELECT count(*) AS n FROM ({self._rows}) WHERE {ask.where} GROUP BY {', '.join(ask.keys)}"
        ((number, repeated),) = self._fetch(
            f"SELECT count(*), coalesce(sum(n) FILTER (WHERE n > 1), 0)::BIGINT FROM ({groups})"
        )
        return number, repeated

    def _ranked(self, ask: Ranked) -> list[Any]:
        sql = f"SELECT {ask.key} AS v FROM ({self._rows}) WHERE {ask.where}"
        values = self._con.execute(sql, self._parameters.of(sql)).fetchnumpy()["v"]
        return ranked(np.asarray(values), ask.ranks)

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
