"""Gives the serving log back: what was served in a span of time, and how much of it is missing."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from skewguard.errors import BadInputError
from skewguard.offline.sources import connect
from skewguard.serving_log.columns import LOG_TIMESTAMP, REQUEST_ID, ROW
from skewguard.serving_log.folder import SEGMENT, LogFolder
from skewguard.sql import literal, quote

_ORDER = ", ".join(quote(column) for column in (LOG_TIMESTAMP, REQUEST_ID, ROW))


@dataclass(frozen=True)
class LogSpan:
    """A service's log between two moments (UTC; the first belongs to it, the last does not).

    Attributes:
        segments: the Parquet files that may hold rows of it.
        stored, dropped: rows of the journals that touch it: exact where the span ends between journals.
        whole: no journal was cut off by a crash.
    """

    service: str
    start: datetime
    end: datetime
    segments: tuple[Path, ...]
    stored: int
    dropped: int
    whole: bool

    def sql(self, columns: Sequence[str] | None = None) -> str:
        """The rows of the span as a DuckDB query: ``columns``, or all of them. There must be segments."""
        files = ", ".join(literal(str(path)) for path in self.segments)
        wanted = "*" if columns is None else ", ".join(quote(column) for column in columns)
        between = " AND ".join(
            f"{quote(LOG_TIMESTAMP)} {sign} TIMESTAMPTZ '{moment.isoformat()}'"
            for sign, moment in ((">=", self.start), ("<", self.end))
        )
        return f"SELECT {wanted} FROM read_parquet([{files}], union_by_name = true) WHERE {between}"

    def table(self, con: duckdb.DuckDBPyConnection) -> pa.Table:
        """The rows, in the order in which they were served; without columns where nothing was logged.

        See ``skewguard.serving_log.columns`` for the columns.
        """
        if not self.segments:
            return pa.table({})
        return con.execute(f"{self.sql()} ORDER BY {_ORDER}").to_arrow_table()

    def to_parquet(self, output: Path) -> int:
        """Write the rows into a Parquet file, whole or not at all; their number. Raises BadInputError without rows."""
        if not self.segments:
            raise BadInputError(
                f"the serving log of {self.service!r}", f"no rows from {self.start} to {self.end}", "a time with rows"
            )
        temporary = output.with_name(f".{output.name}.{os.getpid()}")
        try:
            with connect() as con:
                written = con.execute(
                    f"COPY ({self.sql()} ORDER BY {_ORDER}) TO {literal(str(temporary))} (FORMAT parquet)"
                ).fetchone()
            temporary.replace(output)
        finally:
            temporary.unlink(missing_ok=True)
        return int(written[0]) if written else 0


def log_span(folder: LogFolder, service: str, start: datetime, end: datetime) -> LogSpan:
    """The log of a service from ``start`` to ``end``. Make segments first: what is in journals is not in it."""
    segments: list[Path] = []
    for begins, path in folder.hours(service):
        if begins < end and begins + timedelta(hours=1) > start:
            segments += sorted(path.glob(f"*{SEGMENT}"))
    segments = [path for path in segments if not path.name.startswith(".")]
    stored = dropped = 0
    whole = True
    for path in sorted(folder.counts.glob("*.json")):
        counts = json.loads(path.read_text())
        began, ended = (_moment(counts[key]) for key in ("from", "to"))
        # rows that were all dropped have no times; the journal's name begins with that of its start
        began = began or datetime.fromtimestamp(int(path.name.split("-")[0]) / 1e9, UTC)
        if began >= end or (ended or began) < start:
            continue
        found = counts["services"].get(service, {"stored": 0, "dropped": 0})
        stored += found["stored"]
        dropped += found["dropped"]
        whole = whole and counts["whole"]
    return LogSpan(service, start, end, tuple(segments), stored, dropped, whole)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
