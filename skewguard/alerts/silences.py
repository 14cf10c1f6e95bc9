"""Silences that a person set by command, in the history, with who and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from skewguard.alerts.settings import Silence
from skewguard.errors import BadInputError
from skewguard.history_file import HistoryFile, insert, naive


@dataclass(frozen=True)
class SetSilence:
    """A silence from now until a time (UTC); ``service``, ``cause`` and ``feature`` are patterns."""

    service: str
    cause: str
    feature: str
    since: datetime
    until: datetime
    reason: str
    by: str


def add_silence(file: HistoryFile, silence: SetSilence) -> None:
    """Keep it; raises BadInputError without a reason, a person or an end after its beginning."""
    for name in ("reason", "by"):
        if not getattr(silence, name).strip():
            raise BadInputError(name, "an empty text", "who or why, in words: a silence is never anonymous")
    if silence.until <= silence.since:
        raise BadInputError("until", silence.until.isoformat(), f"a time after {silence.since.isoformat()}")
    row = [silence.service, silence.cause, silence.feature, naive(silence.since), naive(silence.until)]
    with file.writer() as connection:
        insert(connection, "silences", [*row, silence.reason, silence.by, naive(silence.since)])


def silences_at(file: HistoryFile, now: datetime) -> list[Silence]:
    """Those that hold at a moment."""
    rows = file.query(
        "SELECT service, cause, feature, since, until, reason FROM silences WHERE since <= $now AND until > $now",
        {"now": naive(now)},
        since=2,
    )
    return [
        Silence(
            service=service, cause=cause, feature=feature, since=since.replace(tzinfo=UTC),
            until=until.replace(tzinfo=UTC), reason=reason,
        )
        for service, cause, feature, since, until, reason in rows
    ]  # fmt: skip
