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
def watched(
    con: duckdb.DuckDBPyConnection, rows: int, steps: int, progress: Report | None
) -> Iterator[Callable[[], None]]:
    """Call ``progress(step, rows)`` with the rows done since the last call, as DuckDB estimates them.

    The work is ``steps`` statements; the function that this gives is to be called between two of them.
    At the end the calls add up to ``rows``, whatever the estimates were.
    """
    if progress is None:
        yield lambda: None
        return
    con.execute("SET enable_progress_bar = true")
    con.execute("SET enable_progress_bar_print = false")
    done = step = 0
    finished = threading.Event()

    def next_step() -> None:
        nonlocal step
        step += 1

    def look() -> None:
        nonlocal done
        while not finished.wait(_LOOK_SECONDS):
            share = (step + max(0.0, min(100.0, con.query_progress())) / 100) / steps
            now = min(rows, int(rows * share))
            if now > done:
                progress(_STEP, now - done)
                done = now

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield next_step
    finally:
        finished.set()
        watcher.join()
        con.execute("SET enable_progress_bar = false")
    progress(_STEP, rows - done)
