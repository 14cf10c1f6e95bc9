"""How far a query of DuckDB is, told while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import duckdb

_LOOK_SECONDS = 0.2
_STEP = "point-in-time join"

Report = Callable[[str, int], None]


@contextmanager
def watched(con: duckdb.DuckDBPyConnection, rows: int, progress: Report | None) -> Iterator[None]:
    """Call ``progress(step, rows)`` with the rows done since the last call, as DuckDB estimates them.

    At the end the calls add up to ``rows``, whatever the estimates were.
    """
    if progress is None:
        yield
        return
    con.execute("SET enable_progress_bar = true")
    con.execute("SET enable_progress_bar_print = false")
    done = 0
    finished = threading.Event()

    def look() -> None:
        nonlocal done
        while not finished.wait(_LOOK_SECONDS):
            now = int(rows * min(100.0, con.query_progress()) / 100)
            if now > done:
                progress(_STEP, now - done)
                done = now

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()
        con.execute("SET enable_progress_bar = false")
    progress(_STEP, rows - done)
