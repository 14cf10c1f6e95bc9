"""``python -m skewguard.serving_log FOLDER``: makes segments of what a server has logged, out of the way of requests.

The server starts it when a journal is full. Exit codes: 0 done, 3 the folder cannot be read or written.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_NICE = 19


def main() -> int:
    """Do it once; the exit code."""
    os.nice(_NICE)  # before anything is imported: requests come first
    from skewguard.serving_log.folder import LogFolder
    from skewguard.serving_log.segments import make_segments

    try:
        make_segments(LogFolder(Path(sys.argv[1])))
    except OSError as error:
        print(f"error: the serving log's segments cannot be written: {error}", file=sys.stderr)  # noqa: T201
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
