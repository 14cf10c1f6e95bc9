"""The rows that were served for moments in a span, as a query: read in batches, or a few columns at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
import pyarrow as pa

from skewguard.definitions import ServiceDef
from skewguard.serving_log.columns import AS_OF
from skewguard.serving_log.read import LogSpan
from skewguard.sql import quote

ROWS_AT_ONCE = 200_000


@dataclass(frozen=True)
class ServedRows:
    """The logged rows of one service in a span, and the columns that they have. ``rows`` are all; see ``sampled``."""

    con: duckdb.DuckDBPyConnection
    sql: str
    columns: frozenset[str]
    keys: tuple[str, ...]
    rows: int

    @classmethod
    def open(
        cls, con: duckdb.DuckDBPyConnection, span: LogSpan, between: tuple[datetime, datetime], service: ServiceDef
    ) -> ServedRows:
        """The rows whose as-of time lies after the first and not after the second moment; ``span`` must have segments.

        By the moment that a vector was for, which is the time of its request unless a server's clock was stopped.
        """
        since, until = (f"TIMESTAMPTZ '{moment.isoformat()}'" for moment in between)
        sql = f"SELECT * FROM ({span.sql()}) WHERE {AS_OF} > {since} AND {AS_OF} <= {until}"
        columns = frozenset(row[0] for row in con.execute(f"DESCRIBE {sql}").fetchall())
        keys = tuple(key.name for key in service.join_keys)
        return cls(con, sql, columns, keys, _count(con, sql))

    def sampled(self, share: float) -> ServedRows:
        """Only the rows of a share of the entities, by their hash; all of them where there are no keys."""
        if share >= 1 or not self.keys:
            return self
        return self.where(f"hash({', '.join(map(quote, self.keys))}) < {round(share * 2**64)}::UBIGINT")

    def where(self, condition: str) -> ServedRows:
        """Only the rows of which an SQL condition is true."""
        sql = f"SELECT * FROM ({self.sql}) WHERE {condition}"
        return ServedRows(self.con, sql, self.columns, self.keys, _count(self.con, sql))

    def batches(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """These columns, a part of the rows after the other."""
        for batch in self.con.execute(self._select(names)).to_arrow_reader(ROWS_AT_ONCE):
            if batch.num_rows:
                yield pa.Table.from_batches([batch])

    def read(self, names: Sequence[str]) -> pa.Table:
        """These columns of all rows; DuckDB keeps the order of files and rows, so that two reads fit each other."""
        return self.con.execute(self._select(names)).to_arrow_table()

    def _select(self, names: Sequence[str]) -> str:
        return f"SELECT {', '.join(map(quote, names))} FROM ({self.sql})"


def _count(con: duckdb.DuckDBPyConnection, sql: str) -> int:
    return int(con.execute(f"SELECT count(*) FROM ({sql})").fetchall()[0][0])
