"""The command line: each verb is a method of the library; exit codes are a contract.

0 pass (or warn), 1 the guard blocked, 2 wrong use or configuration, 3 could not decide (a store is down, too little
data). Imports of the library stay inside the commands, so that ``skewguard --help`` answers at once.
"""

from __future__ import annotations

import typer

from skewguard.cli import checking, data, mending, setup, suites, telling  # noqa: F401
from skewguard.cli.options import app

__all__ = ["app", "main"]


def main() -> None:
    """Entry point: the one place that turns our errors into a message and an exit code; bugs keep their traceback."""
    from skewguard.errors import SkewguardError

    try:
        app()
    except SkewguardError as error:
        typer.echo(f"skewguard: {error}", err=True)
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except RuntimeError as error:
        if "query interrupted" in str(error).lower():  # DuckDB's word for Ctrl-C during a query
            raise SystemExit(130) from None
        raise
