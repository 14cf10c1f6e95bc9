"""Where the serving log lies: ``.skewguard/serving_log/`` with journals, Parquet segments by service and hour, counts.

    spool/<journal>.open        being written; its writer holds a lock on it
    spool/<journal>.journal     closed, waits to become segments
    spool/<journal>.broken      could not be understood
    services/<service>/2026-11-23T10/<journal>-<shape>.parquet
    counts/<journal>.json       rows stored and dropped, by service

A feature list has no service; its rows lie under ``features~<digest of the list>``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from skewguard.files import file_name

OPEN, CLOSED, BROKEN, SEGMENT = ".open", ".journal", ".broken", ".parquet"
_HOUR = "%Y-%m-%dT%H"


@dataclass(frozen=True)
class LogFolder:
    """Paths of one repository's serving log."""

    root: Path

    @classmethod
    def of(cls, repo: Path) -> LogFolder:
        """The serving log of a Feast repository."""
        return cls(repo / ".skewguard" / "serving_log")

    @property
    def spool(self) -> Path:
        """The folder of journals."""
        return self.root / "spool"

    @property
    def counts(self) -> Path:
        """The folder of counts, one file for each journal."""
        return self.root / "counts"

    @property
    def wish(self) -> Path:
        """The file whose time says: whoever writes a journal that is older than this, close it now."""
        return self.spool / "wish"

    @property
    def lock(self) -> Path:
        """What a process locks while it makes segments."""
        return self.spool / "segments.lock"

    def service(self, name: str) -> Path:
        """The folder of one service's segments: what Feast can take as the path of a logging destination."""
        return self.root / "services" / file_name(name)

    def hour(self, name: str, moment: datetime) -> Path:
        """The folder of one hour (UTC)."""
        return self.service(name) / moment.astimezone(UTC).strftime(_HOUR)

    def services(self) -> list[str]:
        """The services (and feature lists) that have segments."""
        return sorted(unquote(path.name) for path in (self.root / "services").glob("*"))

    def hours(self, name: str) -> Iterator[tuple[datetime, Path]]:
        """The hours of a service that have a folder, with their beginnings, in order."""
        for folder in sorted(self.service(name).glob("????-??-??T??")):
            yield datetime.strptime(folder.name, _HOUR).replace(tzinfo=UTC), folder
