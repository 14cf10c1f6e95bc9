"""Incidents and their events in the history's tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import duckdb

from skewguard.findings import Run
from skewguard.history_file import HistoryFile, insert, naive, one
from skewguard.incidents import Event, Incident, advance
from skewguard.run_json import canonical_text, decode, encode


def record_incidents(connection: duckdb.DuckDBPyConnection, run: Run) -> list[Event]:
    """Bring a service's incidents up to a run, within the caller's transaction; what happened to them.

    A run about an earlier moment than one that is known changes nothing: incidents go forward only.
    """
    (latest,) = one(
        connection,
        "SELECT max(as_of) FROM runs WHERE service = ? AND run_id <> ?",
        [run.service, run.run_id],
    )
    if latest is not None and naive(run.as_of) < latest:
        return []
    rows = connection.execute(
        "SELECT id, incident FROM incidents WHERE service = ? AND closed IS NULL ORDER BY id", [run.service]
    ).fetchall()
    known = {incident.key: (number, incident) for number, text in rows for incident in (_load(text),)}
    changed, events = advance({key: incident for key, (_, incident) in known.items()}, run)
    numbers = {key: number for key, (number, _) in known.items()}
    for incident in changed:
        text = canonical_text(encode(incident, Incident, "incident"))
        closed = None if incident.closed is None else naive(incident.closed)
        if incident.key in numbers:
            connection.execute(
                "UPDATE incidents SET last_seen = ?, closed = ?, incident = ? WHERE id = ?",
                [naive(incident.last_seen), closed, text, numbers[incident.key]],
            )
            continue
        number = _next(connection, "incidents")
        numbers[incident.key] = number
        row = [number, incident.service, incident.key, naive(incident.opened), naive(incident.last_seen), closed, text]
        insert(connection, "incidents", row)
    for event in events:
        number = _next(connection, "events")
        text = canonical_text(encode(event, Event, "event"))
        row = [number, numbers[event.incident.key], event.kind.value, event.run_id, naive(event.as_of), text]
        insert(connection, "events", row)
    return events


def read_incidents(file: HistoryFile, service: str | None, closed: bool) -> list[Incident]:
    """Open incidents (and closed ones), the oldest first."""
    rows = file.query(
        "SELECT incident FROM incidents WHERE ($service IS NULL OR service = $service) AND ($closed OR closed IS NULL) "
        "ORDER BY opened, id",
        {"service": service, "closed": closed},
        since=2,
    )
    return [_load(text) for (text,) in rows]


def read_events(file: HistoryFile, run_ids: Sequence[str]) -> list[Event]:
    """The events of these runs, as they happened."""
    rows = file.query(
        "SELECT event FROM events WHERE list_contains($runs::VARCHAR[], run_id) ORDER BY id",
        {"runs": list(run_ids)},
        since=2,
    )
    return [decode(json.loads(text), Event, "event") for (text,) in rows]


def _next(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    (number,) = one(connection, f"SELECT coalesce(max(id), 0) + 1 FROM {table}", [])
    return int(number)


def _load(text: str) -> Incident:
    data: Any = json.loads(text)
    incident: Incident = decode(data, Incident, "incident")
    return incident
