"""``python -m skewguard.serving_log REPO``: makes segments of what a server has logged, and removes what is too old.

The server starts it when a journal is full. Exit codes: 0 done, 2 broken policy, 3 the log cannot be read or written.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_SHARE = 0.5  # of a core, at most


def main() -> int:
    """Do it once; the exit code."""
    _step_back()  # before anything is imported
    from skewguard.errors import SkewguardError
    from skewguard.serving_log.keeping import keep_log

    try:
        keep_log(Path(sys.argv[1]), share=_SHARE, whole=False)
    except SkewguardError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except OSError as error:
        print(f"error: the serving log's segments cannot be written: {error}", file=sys.stderr)  # noqa: T201
        return 3
    return 0


def _step_back() -> None:
    """Requests come first: run when nothing else wants the processor, on one core."""
    os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    os.environ["OMP_NUM_THREADS"] = "1"


if __name__ == "__main__":
    sys.exit(main())
