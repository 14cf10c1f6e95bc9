"""Which events a target has not been told yet, and what became of telling them; kept in the history.

An event is done with once it was sent, or dropped because there was nothing left to say. One that failed is sent again
the next night, under the same id; one that is silenced waits, and is told when the silence ends, if its incident
is still open.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from skewguard.alerts.message import Message
from skewguard.alerts.send import DeliveryError, send
from skewguard.alerts.settings import AlertSettings, Silence, Target
from skewguard.errors import ConfigurationError
from skewguard.history_file import HistoryFile, insert, naive
from skewguard.incidents import Event, EventKind
from skewguard.run_json import decode

NEWS = timedelta(days=7)
"""What happened so long before the latest event is no news: a new target is not told of it."""

_PENDING = """
WITH latest AS (
    SELECT event_id, arg_max(outcome, rowid) AS outcome FROM deliveries WHERE target = $target GROUP BY event_id
)
SELECT e.id, e.event, l.outcome, i.closed IS NULL,
       EXISTS (SELECT 1 FROM events o JOIN deliveries d ON d.event_id = o.id
               WHERE o.incident_id = e.incident_id AND d.target = $target AND d.outcome = 'sent')
FROM events e JOIN incidents i ON i.id = e.incident_id LEFT JOIN latest l ON l.event_id = e.id
WHERE coalesce(l.outcome, '') NOT IN ('sent', 'dropped') AND e.as_of >= (SELECT max(as_of) FROM events) - to_days($days)
ORDER BY e.id
"""


@dataclass(frozen=True)
class Delivery:
    """What became of a message: "sent", or "failed" with the reason."""

    target: str
    message: Message
    outcome: str
    reason: str = ""


@dataclass(frozen=True)
class _Pending:
    number: int
    event: Event
    before: str | None
    still_open: bool
    told_before: bool
    """Something of its incident was sent to the target."""


@dataclass(frozen=True)
class Outbox:
    """The events of a history for the targets of a policy. ``now`` decides which silences hold."""

    file: HistoryFile
    settings: AlertSettings
    silences: Sequence[Silence]
    environment: Mapping[str, str]

    def deliver(self, now: datetime, sleep: Callable[[float], None] | None = None) -> list[Delivery]:
        """Tell every target what it has not been told; what failed is kept for the next time."""
        done: list[Delivery] = []
        for name, target in zip(self.settings.names(), self.settings.alerts, strict=True):
            for message, numbers in self._messages(name, target, now):
                done.append(self._send(name, target, message, sleep))
                self._record(name, numbers, done[-1].outcome, now)
        return done

    def _messages(self, name: str, target: Target, now: datetime) -> list[tuple[Message, list[int]]]:
        wanted: list[tuple[int, Event]] = []
        for pending in self._pending(name):
            outcome = self._decided(pending, target, now)
            if outcome == "send":
                wanted.append((pending.number, pending.event))
            elif outcome != pending.before:
                self._record(name, [pending.number], outcome, now)
        found = []
        for _, group in groupby(wanted, key=lambda item: item[1].run_id):
            numbered = list(group)
            found.append((Message.of(name, numbered, self.settings.report_url), [number for number, _ in numbered]))
        return found

    def _decided(self, pending: _Pending, target: Target, now: datetime) -> str:
        """What is to become of an event: "send", "silenced" (for now) or "dropped" (for good)."""
        event = pending.event
        closing = event.kind is EventKind.CLOSED
        if not target.wants(event) and not (closing and pending.told_before):
            return "dropped"
        if closing and not pending.told_before and pending.before == "silenced":
            return "dropped"  # it came and went in silence
        if any(silence.covers(event, now) for silence in self.silences):
            return "silenced"
        if pending.before == "silenced" and not closing and not pending.still_open:
            return "dropped"
        return "send"

    def _pending(self, name: str) -> list[_Pending]:
        rows = self.file.query(_PENDING, {"target": name, "days": NEWS.days}, since=2)
        return [_Pending(row[0], decode(json.loads(row[1]), Event, "event"), *row[2:]) for row in rows]

    def _send(self, name: str, target: Target, message: Message, sleep: Callable[[float], None] | None) -> Delivery:
        try:
            if sleep is None:
                send(target, message, self.environment)
            else:
                send(target, message, self.environment, sleep)
        except (DeliveryError, ConfigurationError) as error:
            return Delivery(name, message, "failed", str(error))
        return Delivery(name, message, "sent")

    def _record(self, name: str, numbers: Sequence[int], outcome: str, now: datetime) -> None:
        with self.file.writer() as connection:
            for number in numbers:
                insert(connection, "deliveries", [number, name, outcome, naive(now)])
