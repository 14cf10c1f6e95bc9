"""The log's upkeep: segments are made of finished journals, and what policy no longer keeps is removed."""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from skewguard.config import Policy, load_policy
from skewguard.serving_log.folder import OPEN, LogFolder
from skewguard.serving_log.journal import finished
from skewguard.serving_log.queue import LOOK_SECONDS
from skewguard.serving_log.segments import Made, make_segments

_PATIENCE = 3.0
"""Seconds that a server has for closing its journal; it looks every fifth of a second."""


def keep_log(repo: Path, *, share: float = 1.0, whole: bool = True, now: datetime | None = None) -> Made:
    """Bring a repository's serving log up to date; ``share`` of the time is worked, see ``make_segments``.

    ``whole``: servers that run are asked for what they have written so far; else their journals are let be.
    Raises PolicyError; OSError where the log cannot be read or written.
    """
    folder = LogFolder.of(repo)
    if whole and folder.spool.is_dir():
        _ask_for_journals(folder)
    made = make_segments(folder, share)
    remove_old(folder, load_policy(repo), now or datetime.now(UTC))
    return made


def _ask_for_journals(folder: LogFolder) -> None:
    """Have every server close the journal that it writes, and wait until it is done."""
    asked, started = time.time_ns(), time.monotonic()
    folder.wish.touch()
    os.utime(folder.wish, ns=(asked, asked))  # the file system's own clock may lag behind
    while time.monotonic() < started + _PATIENCE:
        live = {path for path in folder.spool.glob(f"*{OPEN}") if _begun(path) < asked} - set(finished(folder.spool))
        # an empty journal stays open: what waits in memory is in it after one more look
        if not any(_size(path) for path in live) and (not live or time.monotonic() > started + 2 * LOOK_SECONDS):
            return
        time.sleep(0.05)


def _begun(path: Path) -> int:
    return int(path.name.split("-")[0])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # closed just now
        return 0


def remove_old(folder: LogFolder, policy: Policy, now: datetime) -> int:
    """Remove the hours, and the counts, that ended longer ago than policy keeps them; the number of hours removed."""
    removed = 0
    longest = policy.for_service("").serving_log.keep
    for service in folder.services():
        keep = policy.for_service(service).serving_log.keep
        longest = max(keep, longest)
        for begins, path in list(folder.hours(service)):
            if begins + timedelta(hours=1) + keep <= now:
                shutil.rmtree(path)
                removed += 1
    for path in folder.counts.glob("*.json"):
        ended = json.loads(path.read_text()).get("to")
        if ended is not None and datetime.fromisoformat(ended) + longest < now:
            path.unlink()
    return removed
