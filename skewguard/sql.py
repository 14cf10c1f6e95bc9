"""What every module that writes SQL shares: quoting, and the names of the columns that we add to a view's own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

EVENT_TS, CREATED_TS, ROW_STATE = "__event_ts", "__created_ts", "__row_state"
CELL_STATES = ABSENT, NULL, VALUE, CORRUPT = "absent", "null", "value", "corrupt"
"""The states of a stored field: nil, empty bytes, a value of the declared dtype, anything else."""
KEY_ABSENT, VIEW_ABSENT, PRESENT = "key_absent", "view_absent", "present"
"""The states of a row online: no such key, no row of the view under it, a row."""
STATE_PREFIX = "__state__"
"""Before a feature's name: the column that tells the state of its cells."""
ROW_ID = "__id"
"""The number of a source row: the same in every scan of unchanged files."""


def quote(name: str) -> str:
    """A SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A SQL string."""
    return "'" + text.replace("'", "''") + "'"


FAR_FUTURE = datetime(9999, 1, 1, tzinfo=UTC)
"""Later than any row."""


def moment(at: datetime) -> str:
    """A SQL timestamp with time zone."""
    return f"TIMESTAMPTZ '{at.isoformat()}'"


def first_that_differs(values: Mapping[int, str]) -> str:
    """A SQL expression: the value of the first feature i for which the column ``d_i`` is true."""
    cases = " ".join(f"WHEN d_{i} THEN {value}" for i, value in values.items())
    return f"CASE {cases} END" if cases else "NULL"
