"""History: every run in one DuckDB file, so that a report can say since when, and how the nights before went.

One writer at a time, many readers (``history_file``), so that a nightly job and a server can share the file. A run is
one transaction: after ``kill -9`` it is there whole or not at all (DuckDB replays its write-ahead log at the next
opening). All timestamps are UTC. "Before" and "after" mean the order in which runs were appended.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from skewguard.errors import BadInputError, UnknownNameError
from skewguard.findings import CheckResult, Run, Verdict
from skewguard.history_file import HistoryFile, insert, naive, one
from skewguard.incident_store import read_events, read_incidents, record_incidents
from skewguard.incidents import Event, Incident
from skewguard.override import Override
from skewguard.run_json import canonical_text, decode, dump_run, encode, load_run

# A finding's streak starts after the last run in which its check ran ("ok") and did not find it. Runs in which the
# check was inconclusive, crashed or was not asked for say nothing, and so neither break the streak nor start it. Where
# a check came to an answer about some features only, each of these stands among the checks as <check>/<view>/<feature>.
_FIRST_SEEN = """
WITH wanted AS (
    SELECT DISTINCT f.key, f.check_name, concat_ws('/', f.check_name, coalesce(f.view, ''), coalesce(f.feature, ''))
        AS subject FROM findings f JOIN runs r USING (seq)
    WHERE r.service = $service AND list_contains($keys::VARCHAR[], f.key)
), gap AS (
    SELECT w.key, max(c.seq) AS seq
    FROM wanted w
    JOIN checks c ON c.check_name IN (w.check_name, w.subject) AND c.status = 'ok'
    JOIN runs r ON r.seq = c.seq AND r.service = $service
    LEFT JOIN findings f ON f.seq = c.seq AND f.key = w.key
    WHERE f.key IS NULL GROUP BY w.key
)
SELECT w.key, arg_min(r.as_of, r.seq)
FROM wanted w
JOIN findings f ON f.key = w.key
JOIN runs r ON r.seq = f.seq AND r.service = $service
LEFT JOIN gap g ON g.key = w.key
WHERE f.seq > coalesce(g.seq, -1) GROUP BY w.key ORDER BY w.key
"""


@dataclass(frozen=True)
class Night:
    """One run as the 14-night strip shows it.

    ``rates`` maps a finding's key to its rate, ``features`` maps ``view.feature`` to differing / compared rows of the
    checks that compare values, ``undecided`` names the checks that did not run to the end. ``drift`` maps it to how far
    its distribution moved, as a share of rows, against the contract (else the nights).
    """

    run_id: str
    service: str
    as_of: datetime
    finished_at: datetime
    verdict: Verdict
    rates: Mapping[str, float]
    features: Mapping[str, float]
    undecided: tuple[str, ...] = ()
    drift: Mapping[str, float] = field(default_factory=dict)


def night_of(run: Run) -> Night:
    """The run as one cell of the strip."""
    return Night(
        run_id=run.run_id,
        service=run.service,
        as_of=run.as_of,
        finished_at=run.finished_at,
        verdict=run.verdict,
        rates={finding.key: finding.rate for finding in run.findings},
        features={
            f"{stats.view}.{stats.feature}": stats.differing / stats.compared if stats.compared else 0.0
            for check in run.checks
            for stats in check.features
        },
        undecided=tuple(check.check for check in run.checks if check.status != "ok"),
        drift={
            f"{stats.view}.{stats.feature}": stats.effect
            for against in ("nights", "contract")  # the latter one stays
            for check in run.checks
            for stats in check.drift
            if stats.against == against and not stats.slice
        },
    )


def _answered(check: CheckResult) -> Iterator[str]:
    """What a check that lacked data came to an answer about all the same."""
    if check.status == "ok":
        return
    features = dict.fromkeys((stats.view, stats.feature) for stats in check.drift)
    views = dict.fromkeys(view for view, _ in features)
    for view, feature in [*features, *((view, None) for view in views), (None, None)]:
        if check.decides(view, feature):
            yield f"{check.check}/{view or ''}/{feature or ''}"


class History:
    """The runs of a repository in a DuckDB file, which the first ``append`` creates.

    Args:
        path: The file, by convention ``<repo>/.skewguard/history.duckdb``.
        lock_timeout: Seconds to wait for another writer before StoreUnavailableError.
    """

    def __init__(self, path: str | Path, *, lock_timeout: float = 10.0) -> None:
        self.path = Path(path)
        self.file = HistoryFile(self.path, lock_timeout)

    def append(self, run: Run) -> list[Event]:
        """Add a run, in one transaction that is on disk when this returns; what it makes of the service's incidents.

        Raises:
            BadInputError: a run of that id is there already, or it holds a value that JSON cannot carry.
            StoreUnavailableError: another process is writing, or the file is damaged or cannot be written.
        """
        text = dump_run(run)
        night = canonical_text(encode(night_of(run), Night, "night"))
        with self.file.writer() as connection:
            (known,) = one(connection, "SELECT count(*) FROM runs WHERE run_id = ?", [run.run_id])
            if known:
                raise BadInputError("run_id", repr(run.run_id), f"an id that {self.path} does not hold yet")
            (seq,) = one(connection, "SELECT coalesce(max(seq), 0) + 1 FROM runs", [])
            times = [naive(run.as_of), naive(run.started_at), naive(run.finished_at)]
            row = [seq, run.run_id, run.service, *times, run.verdict.value, night, text]
            insert(connection, "runs", row)
            for check in run.checks:
                row = [seq, check.check, check.status, check.population, check.compared, check.reason]
                insert(connection, "checks", row)
                for name in _answered(check):
                    insert(connection, "checks", [seq, name, "ok", 0, 0, ""])
            for item in run.findings:
                row = [seq, item.key, item.check, item.cause.value, item.view, item.feature]
                row += [item.count, item.compared, item.ci_low, item.ci_high, item.action]
                insert(connection, "findings", row)
            return record_incidents(connection, run)

    def runs(self, service: str | None = None, limit: int | None = 30) -> list[Run]:
        """The latest runs, newest first: of one service or of all; ``limit`` None means every one."""
        rows = self.file.query(
            "SELECT run FROM runs WHERE $service IS NULL OR service = $service ORDER BY seq DESC LIMIT $limit",
            {"service": service, "limit": 2**62 if limit is None else limit},
        )
        return [load_run(text) for (text,) in rows]

    def run(self, run_id: str) -> Run:
        """The run of that id; raises UnknownNameError with the nearest one."""
        rows = self.file.query("SELECT run FROM runs WHERE run_id = $run_id", {"run_id": run_id})
        if not rows:
            known = self.file.query("SELECT run_id FROM runs ORDER BY seq DESC LIMIT 200", {})
            raise UnknownNameError("run", run_id, [name for (name,) in known])
        return load_run(rows[0][0])

    def last_run(self, service: str) -> Run | None:
        """The run of a service that was appended last, or None."""
        found = self.runs(service, limit=1)
        return found[0] if found else None

    def services(self) -> list[str]:
        """The services that have runs, by name."""
        return [name for (name,) in self.file.query("SELECT DISTINCT service FROM runs ORDER BY service", {})]

    def first_seen(self, service: str, keys: Iterable[str]) -> dict[str, datetime]:
        """When each finding key was first seen without a break: the as-of time of the run that began its streak.

        A run breaks the streak of a key when its check ran to the end ("ok") without that finding; a run in which the
        check was inconclusive (about its feature), crashed or absent says nothing either way. Keys that the latest
        deciding run does not have, or that were never seen, are left out.

        Args:
            service: The feature service.
            keys: Values of ``Finding.key``.
        """
        rows = self.file.query(_FIRST_SEEN, {"service": service, "keys": list(keys)})
        return {key: as_of.replace(tzinfo=UTC) for key, as_of in rows}

    def trend(self, service: str, n: int = 14) -> list[Night]:
        """The last ``n`` runs of a service, oldest first: verdicts, and mismatch rates by finding and by feature."""
        rows = self.file.query(
            "SELECT night FROM runs WHERE service = $service ORDER BY seq DESC LIMIT $n", {"service": service, "n": n}
        )
        return [load_night(text) for (text,) in reversed(rows)]

    def incidents(self, service: str | None = None, *, closed: bool = False) -> list[Incident]:
        """The open incidents, the oldest first, of one service or of all; with ``closed`` those that are over, too."""
        return read_incidents(self.file, service, closed)

    def events(self, run_ids: Sequence[str]) -> list[Event]:
        """What these runs made of incidents, in the order in which it happened."""
        return read_events(self.file, run_ids)

    def add_override(self, override: Override) -> None:
        """Record that a person lets a service through until a time; ``reason`` and ``by`` may not be empty."""
        for name in ("service", "reason", "by"):
            if not getattr(override, name).strip():
                raise BadInputError(name, "an empty text", "who or what, in words: an override is never anonymous")
        if override.until <= override.set_at:
            raise BadInputError("until", override.until.isoformat(), f"a time after {override.set_at.isoformat()}")
        row = [override.service, override.reason, naive(override.until), override.by, naive(override.set_at)]
        with self.file.writer() as connection:
            insert(connection, "overrides", [*row, override.gate, override.ended_by])

    def end_overrides(self, service: str, now: datetime, by: str) -> list[Override]:
        """End every override of a service that is in force at ``now``; gives them as they are then."""
        ended = [one for one in self.overrides(service, now) if one.set_at <= now]
        if ended:
            with self.file.writer() as connection:
                connection.execute(
                    "UPDATE overrides SET until = $now, ended_by = $by "
                    "WHERE service = $service AND set_at <= $now AND until > $now",
                    {"now": naive(now), "by": by, "service": service},
                )
        return [replace(one, until=now, ended_by=by) for one in ended]

    def override(self, service: str, now: datetime) -> Override | None:
        """The override in force for a service at ``now`` (the one set last), or None."""
        found = [one for one in self.overrides(service, now) if one.set_at <= now < one.until]
        return found[0] if found else None

    def overrides(self, service: str, since: datetime) -> list[Override]:
        """The overrides of a service that were in force at or after ``since``, the one set last first."""
        rows = self.file.query(
            "SELECT service, reason, until, set_by, set_at, gate, ended_by FROM overrides "
            "WHERE service = $service AND until > $since ORDER BY set_at DESC, rowid DESC",
            {"service": service, "since": naive(since)},
            since=3,
        )
        return [
            Override(name, reason, until.replace(tzinfo=UTC), by, set_at.replace(tzinfo=UTC), gate, ended_by)
            for name, reason, until, by, set_at, gate, ended_by in rows
        ]


def dump_nights(nights: Sequence[Night]) -> str:
    """Nights as canonical JSON: a list, in the order given."""
    return canonical_text([encode(night, Night, "night") for night in nights])


def load_night(text: str) -> Night:
    """One night from its JSON; raises ConfigurationError as ``run_json.load_run`` does."""
    night: Night = decode(json.loads(text), Night, "night")
    return night
