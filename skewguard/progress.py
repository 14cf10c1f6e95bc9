"""Progress of long work on standard error: a live line at a terminal, nothing where nobody looks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[str, int], None]]:
    """Gives a function ``report(step, rows)`` that adds rows to a step; silent where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield lambda _step, _rows: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed:,.0f} rows"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}
        bar.add_task(title, total=None)

        def report(step: str, rows: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(f"  {step}", total=None)
            bar.advance(tasks[step], rows)

        yield report


@contextlib.contextmanager
def counted(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """Gives a function ``report(step)`` that says what is done now, the next of ``total`` steps; silent as above."""
    if not sys.stderr.isatty():
        yield lambda _step: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        begun = 0

        def report(step: str) -> None:
            nonlocal begun
            bar.update(task, description=f"{title}: {step}", completed=begun)
            begun += 1

        yield report
