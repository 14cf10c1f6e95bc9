"""Overrides: a person lets a service through a closed gate for a stated time; findings stay what they are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Override:
    """A person's decision to let a service through until a time, with the reason and who took it.

    ``gate``: "serving", "training" or "both". ``ended_by`` is who ended it early; ``until`` is when it ended then.
    """

    service: str
    reason: str
    until: datetime
    by: str
    set_at: datetime
    gate: str = "both"
    ended_by: str | None = None

    def told(self) -> dict[str, str]:
        """As JSON data, for a contract or a report; times in ISO 8601, UTC."""
        times = {name: moment.isoformat().replace("+00:00", "Z") for name, moment in self._times.items()}
        ended = {} if self.ended_by is None else {"ended_by": self.ended_by}
        return {"gate": self.gate, "reason": self.reason, "by": self.by, **times, **ended}

    @property
    def _times(self) -> dict[str, datetime]:
        return {"set_at": self.set_at, "until": self.until}
