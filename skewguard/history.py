"""History: every run in one DuckDB file, so that a report can say since when, and how the nights before went.

One writer at a time, many readers. A writer holds an exclusive lock on ``<path>.lock`` and a reader a shared one, both
only for the length of one call, so that a nightly job and a server can share the file. A run is one transaction: after
``kill -9`` it is there whole or not at all (DuckDB replays its write-ahead log at the next opening). All timestamps are
UTC. "Before" and "after" mean the order in which runs were appended.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from skewguard.errors import BadInputError, ConfigurationError, StoreUnavailableError, UnknownNameError
from skewguard.findings import Run, Verdict
from skewguard.run_json import canonical_text, decode, dump_run, encode, load_run

SCHEMA_VERSION = 1
"""Version of the tables; a file with another one is refused."""

_TABLES = """
CREATE TABLE meta (schema_version INTEGER NOT NULL);
CREATE TABLE runs (
    seq BIGINT PRIMARY KEY, run_id VARCHAR NOT NULL UNIQUE, service VARCHAR NOT NULL, as_of TIMESTAMP NOT NULL,
    started_at TIMESTAMP NOT NULL, finished_at TIMESTAMP NOT NULL, verdict VARCHAR NOT NULL,
    night VARCHAR NOT NULL, run VARCHAR NOT NULL);
CREATE TABLE checks (
    seq BIGINT NOT NULL, check_name VARCHAR NOT NULL, status VARCHAR NOT NULL, population BIGINT NOT NULL,
    compared BIGINT NOT NULL, reason VARCHAR NOT NULL);
CREATE TABLE findings (
    seq BIGINT NOT NULL, key VARCHAR NOT NULL, check_name VARCHAR NOT NULL, cause VARCHAR NOT NULL, view VARCHAR,
    feature VARCHAR, count BIGINT NOT NULL, compared BIGINT NOT NULL, ci_low DOUBLE NOT NULL, ci_high DOUBLE NOT NULL,
    action VARCHAR NOT NULL);
CREATE TABLE overrides (
    service VARCHAR NOT NULL, reason VARCHAR NOT NULL, until TIMESTAMP NOT NULL, set_by VARCHAR NOT NULL,
    set_at TIMESTAMP NOT NULL);
"""

# A finding's streak starts after the last run in which its check ran ("ok") and did not find it. Runs in which the
# check was inconclusive, crashed or was not asked for say nothing, and so neither break the streak nor start it.
_FIRST_SEEN = """
WITH wanted AS (
    SELECT DISTINCT f.key, f.check_name FROM findings f JOIN runs r USING (seq)
    WHERE r.service = $service AND list_contains($keys::VARCHAR[], f.key)
), gap AS (
    SELECT w.key, max(c.seq) AS seq
    FROM wanted w
    JOIN checks c ON c.check_name = w.check_name AND c.status = 'ok'
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
    checks that compare values, ``undecided`` names the checks that did not run to the end.
    """

    run_id: str
    service: str
    as_of: datetime
    finished_at: datetime
    verdict: Verdict
    rates: Mapping[str, float]
    features: Mapping[str, float]
    undecided: tuple[str, ...] = ()


@dataclass(frozen=True)
class Override:
    """A person's decision to let a service through until a time, with the reason and who took it."""

    service: str
    reason: str
    until: datetime
    by: str
    set_at: datetime


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
    )


class History:
    """The runs of a repository in a DuckDB file, which the first ``append`` creates.

    Args:
        path: The file, by convention ``<repo>/.skewguard/history.duckdb``.
        lock_timeout: Seconds to wait for another writer before StoreUnavailableError.
    """

    def __init__(self, path: str | Path, *, lock_timeout: float = 10.0) -> None:
        self.path = Path(path)
        self.lock_timeout = lock_timeout

    def append(self, run: Run) -> None:
        """Add a run, in one transaction that is on disk when this returns.

        Raises:
            BadInputError: a run of that id is there already, or it holds a value that JSON cannot carry.
            StoreUnavailableError: another process is writing, or the file is damaged or cannot be written.
        """
        text = dump_run(run)
        night = canonical_text(encode(night_of(run), Night, "night"))
        with self._writer() as connection:
            (known,) = _one(connection, "SELECT count(*) FROM runs WHERE run_id = ?", [run.run_id])
            if known:
                raise BadInputError("run_id", repr(run.run_id), f"an id that {self.path} does not hold yet")
            (seq,) = _one(connection, "SELECT coalesce(max(seq), 0) + 1 FROM runs", [])
            times = [_naive(run.as_of), _naive(run.started_at), _naive(run.finished_at)]
            row = [seq, run.run_id, run.service, *times, run.verdict.value, night, text]
            connection.execute(f"INSERT INTO runs VALUES ({_marks(row)})", row)
            for check in run.checks:
                row = [seq, check.check, check.status, check.population, check.compared, check.reason]
                connection.execute(f"INSERT INTO checks VALUES ({_marks(row)})", row)
            for item in run.findings:
                row = [seq, item.key, item.check, item.cause.value, item.view, item.feature]
                row += [item.count, item.compared, item.ci_low, item.ci_high, item.action]
                connection.execute(f"INSERT INTO findings VALUES ({_marks(row)})", row)

    def runs(self, service: str | None = None, limit: int | None = 30) -> list[Run]:
        """The latest runs, newest first: of one service or of all; ``limit`` None means every one."""
        rows = self._query(
            "SELECT run FROM runs WHERE $service IS NULL OR service = $service ORDER BY seq DESC LIMIT $limit",
            {"service": service, "limit": 2**62 if limit is None else limit},
        )
        return [load_run(text) for (text,) in rows]

    def run(self, run_id: str) -> Run:
        """The run of that id; raises UnknownNameError with the nearest one."""
        rows = self._query("SELECT run FROM runs WHERE run_id = $run_id", {"run_id": run_id})
        if not rows:
            known = self._query("SELECT run_id FROM runs ORDER BY seq DESC LIMIT 200", {})
            raise UnknownNameError("run", run_id, [name for (name,) in known])
        return load_run(rows[0][0])

    def last_run(self, service: str) -> Run | None:
        """The run of a service that was appended last, or None."""
        found = self.runs(service, limit=1)
        return found[0] if found else None

    def services(self) -> list[str]:
        """The services that have runs, by name."""
        return [name for (name,) in self._query("SELECT DISTINCT service FROM runs ORDER BY service", {})]

    def first_seen(self, service: str, keys: Iterable[str]) -> dict[str, datetime]:
        """When each finding key was first seen without a break: the as-of time of the run that began its streak.

        A run breaks the streak of a key when its check ran to the end ("ok") without that finding; a run in which the
        check was inconclusive, crashed or absent says nothing either way. Keys that the latest deciding run does not
        have, or that were never seen, are left out.

        Args:
            service: The feature service.
            keys: Values of ``Finding.key``.
        """
        rows = self._query(_FIRST_SEEN, {"service": service, "keys": list(keys)})
        return {key: as_of.replace(tzinfo=UTC) for key, as_of in rows}

    def trend(self, service: str, n: int = 14) -> list[Night]:
        """The last ``n`` runs of a service, oldest first: verdicts, and mismatch rates by finding and by feature."""
        rows = self._query(
            "SELECT night FROM runs WHERE service = $service ORDER BY seq DESC LIMIT $n", {"service": service, "n": n}
        )
        return [load_night(text) for (text,) in reversed(rows)]

    def add_override(self, override: Override) -> None:
        """Record that a person lets a service through until a time; ``reason`` and ``by`` may not be empty."""
        for name in ("service", "reason", "by"):
            if not getattr(override, name).strip():
                raise BadInputError(name, "an empty text", "who or what, in words: an override is never anonymous")
        if override.until <= override.set_at:
            raise BadInputError("until", override.until.isoformat(), f"a time after {override.set_at.isoformat()}")
        row = [override.service, override.reason, _naive(override.until), override.by, _naive(override.set_at)]
        with self._writer() as connection:
            connection.execute(f"INSERT INTO overrides VALUES ({_marks(row)})", row)

    def override(self, service: str, now: datetime) -> Override | None:
        """The override in force for a service at ``now`` (the one set last), or None."""
        rows = self._query(
            "SELECT service, reason, until, set_by, set_at FROM overrides "
            "WHERE service = $service AND set_at <= $now AND until > $now ORDER BY set_at DESC, rowid DESC LIMIT 1",
            {"service": service, "now": _naive(now)},
        )
        if not rows:
            return None
        name, reason, until, by, set_at = rows[0]
        return Override(name, reason, until.replace(tzinfo=UTC), by, set_at.replace(tzinfo=UTC))

    # -- opening ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _writer(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection inside a transaction, under the exclusive lock; committed at the end, else rolled back."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._down(f"cannot be written ({error.strerror})") from error
        try:
            self._lock(descriptor, fcntl.LOCK_EX)
            os.truncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
            if not self.path.exists():
                self._create()
            with self._connection(self.path, read_only=False) as connection:
                self._check_version(connection)
                connection.execute("BEGIN")
                yield connection
                connection.execute("COMMIT")
        finally:
            os.close(descriptor)  # closing gives the lock back, as does the end of the process

    def _query(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Rows of a read-only query under the shared lock; none where there is no file yet."""
        if not self.path.exists():
            return []
        descriptor = self._open_shared()
        try:
            with self._connection(self.path, read_only=True) as connection:
                self._check_version(connection)
                return connection.execute(sql, dict(parameters)).fetchall()
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _open_shared(self) -> int | None:
        try:
            descriptor = os.open(self._lock_path, os.O_RDONLY)
        except FileNotFoundError:  # a copy of the file, in a folder where nobody writes
            return None
        try:
            self._lock(descriptor, fcntl.LOCK_SH)
        except StoreUnavailableError:
            os.close(descriptor)
            raise
        return descriptor

    @contextmanager
    def _connection(self, path: Path, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = None
        try:
            # no extension is ever fetched: nothing leaves the machine
            config: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
            connection = duckdb.connect(str(path), read_only=read_only, config={**config, "threads": 1})
            yield connection
        except duckdb.Error as error:
            lines = str(error).splitlines() or [type(error).__name__]
            raise self._down(
                f"cannot be used as a history ({lines[0].rstrip('.')})",
                f"If it is damaged, move it aside (mv {self.path} {self.path}.damaged): the next run begins a new one.",
            ) from error
        finally:
            if connection is not None:
                connection.close()

    def _create(self) -> None:
        """Make the file beside its place and move it there whole: a kill in between leaves no half-made history."""
        fresh = self.path.with_name(self.path.name + ".new")
        log = self.path.with_name(self.path.name + ".wal")
        for left_over in (fresh, fresh.with_name(fresh.name + ".wal")):
            left_over.unlink(missing_ok=True)
        if log.exists():  # the log of a file that was moved aside must not be played into the new one
            log.replace(log.with_name(log.name + ".damaged"))
        with self._connection(fresh, read_only=False) as connection:
            connection.execute(_TABLES)
            connection.execute("INSERT INTO meta VALUES (?)", [SCHEMA_VERSION])
        fresh.replace(self.path)

    def _check_version(self, connection: duckdb.DuckDBPyConnection) -> None:
        (version,) = _one(connection, "SELECT max(schema_version) FROM meta", [])
        if version != SCHEMA_VERSION:
            raise ConfigurationError(
                f"{self.path}: schema version {version}; expected {SCHEMA_VERSION}. Another skewguard wrote it."
            )

    def _lock(self, descriptor: int, kind: int) -> None:
        deadline = time.monotonic() + self.lock_timeout
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    holder = self._lock_path.read_text(errors="replace") or "unknown"
                    raise self._down(
                        f"is being written by another process (pid {holder}); waited {self.lock_timeout:g} s",
                        "One run at a time writes history: wait for it to end, then try again.",
                    ) from error
                time.sleep(0.02)
            else:
                return

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    def _down(self, reason: str, advice: str = "") -> StoreUnavailableError:
        return StoreUnavailableError(f"history {self.path}", reason, advice)


def dump_nights(nights: Sequence[Night]) -> str:
    """Nights as canonical JSON: a list, in the order given."""
    return canonical_text([encode(night, Night, "night") for night in nights])


def load_night(text: str) -> Night:
    """One night from its JSON; raises ConfigurationError as ``run_json.load_run`` does."""
    night: Night = decode(json.loads(text), Night, "night")
    return night


def _one(connection: duckdb.DuckDBPyConnection, sql: str, parameters: list[Any]) -> tuple[Any, ...]:
    row = connection.execute(sql, parameters).fetchone()
    return row if row is not None else (None,)


def _marks(row: Sequence[Any]) -> str:
    return ", ".join("?" * len(row))


def _naive(value: datetime) -> datetime:
    """UTC without its zone, as the TIMESTAMP columns hold it."""
    return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
