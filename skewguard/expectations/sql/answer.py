"""Answers what rules ask: one scan for all the aggregates of a round, a statement for each thing that needs more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb
import numpy as np

from skewguard.expectations.outcome import PARTIAL, Outcome
from skewguard.expectations.sql.asks import (
    Answers,
    Ask,
    Counts,
    Few,
    First,
    Groups,
    LeftToGx,
    Parameters,
    Ranked,
    Total,
)
from skewguard.expectations.sql.plan import Compiled

_WHOLE = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})
_FEW, _SAMPLE = 200, 10_000
_DENSE = 4
"""So many times as many places as values are a table worth having."""


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

    def _answer(self, ask: Groups | Counts | Few | Ranked | First) -> Any:
        if isinstance(ask, Groups):
            return self._groups(ask)
        if isinstance(ask, Counts):
            return self._fetch(f"SELECT {ask.key}, count(*) FROM ({self._rows}) WHERE {ask.where} GROUP BY 1")
        if isinstance(ask, Few):
            first = f"SELECT {ask.key} AS v FROM ({self._rows}) LIMIT {_SAMPLE}"
            return self._fetch(f"SELECT count(DISTINCT v) <= {_FEW} FROM ({first})")[0][0]
        return self._ranked(ask) if isinstance(ask, Ranked) else self._first(ask)

    def _groups(self, ask: Groups) -> tuple[int, int]:
        if len(ask.keys) == 1:
            dense = self._dense(ask)
            if dense is not None:
                return dense
        keys = ", ".join(ask.keys)
        groups = f"SELECT count(*) AS n FROM ({self._rows}) WHERE {ask.where} GROUP BY {keys}"
        ((number, repeated),) = self._fetch(
            f"SELECT count(*), coalesce(sum(n) FILTER (WHERE n > 1), 0)::BIGINT FROM ({groups})"
        )
        return number, repeated

    def _dense(self, ask: Groups) -> tuple[int, int] | None:
        """The same for whole numbers that lie close together, counted by their place: ten times as fast as by hash."""
        (key,) = ask.keys
        ((low, high, rows, kind),) = self._fetch(
            f"SELECT min({key}), max({key}), count(*), any_value(typeof({key})) FROM ({self._rows}) WHERE {ask.where}"
        )
        if kind not in _WHOLE or high - low > _DENSE * rows:
            return None
        counts = np.bincount(self._column(f"{key} - ({low})", ask.where))
        return int(np.count_nonzero(counts)), int(counts[counts > 1].sum())

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
