"""What every module that writes SQL shares: quoting, and the names of the columns that we add to a view's own."""

from __future__ import annotations

EVENT_TS, CREATED_TS, ROW_STATE = "__event_ts", "__created_ts", "__row_state"
ROW_ID = "__id"
"""The number of a source row: the same in every scan of unchanged files."""


def quote(name: str) -> str:
    """A SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A SQL string."""
    return "'" + text.replace("'", "''") + "'"
