"""The log's upkeep: segments are made of finished journals, and what policy no longer keeps is removed."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from skewguard.config import Policy, load_policy
from skewguard.serving_log.folder import LogFolder
from skewguard.serving_log.segments import Made, make_segments


def keep_log(repo: Path, *, share: float = 1.0, now: datetime | None = None) -> Made:
    """Bring a repository's serving log up to date; ``share`` of the time is worked, see ``make_segments``.

    Raises PolicyError; OSError where the log cannot be read or written.
    """
    folder = LogFolder.of(repo)
    made = make_segments(folder, share)
    remove_old(folder, load_policy(repo), now or datetime.now(UTC))
    return made


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
