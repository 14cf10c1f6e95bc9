"""The DuckDB file behind the history: one writer at a time, many readers, whole after ``kill -9``.

A writer holds an exclusive lock on ``<path>.lock`` and a reader a shared one, both only for the length of one call. A
file of an older schema is brought up to date by its next writer, in the transaction of what is written; readers see the
tables that it has not yet as empty.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from skewguard.errors import ConfigurationError, StoreUnavailableError

SCHEMA_VERSION = 3
"""Version of the tables; a file with a higher one is refused."""

_FIRST = """
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

_SECOND = """
CREATE TABLE incidents (
    id BIGINT PRIMARY KEY, service VARCHAR NOT NULL, key VARCHAR NOT NULL, opened TIMESTAMP NOT NULL,
    last_seen TIMESTAMP NOT NULL, closed TIMESTAMP, incident VARCHAR NOT NULL);
CREATE TABLE events (
    id BIGINT PRIMARY KEY, incident_id BIGINT NOT NULL, kind VARCHAR NOT NULL, run_id VARCHAR NOT NULL,
    as_of TIMESTAMP NOT NULL, event VARCHAR NOT NULL);
CREATE TABLE deliveries (event_id BIGINT NOT NULL, target VARCHAR NOT NULL, outcome VARCHAR NOT NULL,
    told_at TIMESTAMP NOT NULL);
CREATE TABLE silences (
    service VARCHAR NOT NULL, cause VARCHAR NOT NULL, feature VARCHAR NOT NULL, since TIMESTAMP NOT NULL,
    until TIMESTAMP NOT NULL, reason VARCHAR NOT NULL, set_by VARCHAR NOT NULL, set_at TIMESTAMP NOT NULL);
"""

_THIRD = """
ALTER TABLE overrides ADD COLUMN gate VARCHAR DEFAULT 'both';
ALTER TABLE overrides ADD COLUMN ended_by VARCHAR;
"""

_STEPS = (_FIRST, _SECOND, _THIRD)
"""What each version adds to the one before."""


class HistoryFile:
    """The file at ``path``, which its first writer makes. ``lock_timeout``: seconds to wait for another writer."""

    def __init__(self, path: Path, lock_timeout: float) -> None:
        self.path = path
        self.lock_timeout = lock_timeout

    @contextmanager
    def writer(self) -> Iterator[duckdb.DuckDBPyConnection]:
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
                version = self._check_version(connection)
                connection.execute("BEGIN")
                for step in _STEPS[version:]:
                    connection.execute(step)
                if version < SCHEMA_VERSION:
                    connection.execute("UPDATE meta SET schema_version = ?", [SCHEMA_VERSION])
                yield connection
                connection.execute("COMMIT")
        finally:
            os.close(descriptor)  # closing gives the lock back, as does the end of the process

    def query(self, sql: str, parameters: Mapping[str, Any], *, since: int = 1) -> list[tuple[Any, ...]]:
        """Rows of a read-only query under the shared lock; none where there is no file yet, or its tables came with
        version ``since`` and it is older.
        """
        if not self.path.exists():
            return []
        descriptor = self._open_shared()
        try:
            with self._connection(self.path, read_only=True) as connection:
                if self._check_version(connection) < since:
                    return []
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
            for step in _STEPS:
                connection.execute(step)
            connection.execute("INSERT INTO meta VALUES (?)", [SCHEMA_VERSION])
        fresh.replace(self.path)

    def _check_version(self, connection: duckdb.DuckDBPyConnection) -> int:
        (version,) = one(connection, "SELECT max(schema_version) FROM meta", [])
        if version is None or not 1 <= version <= SCHEMA_VERSION:
            raise ConfigurationError(
                f"{self.path}: schema version {version}; expected 1 to {SCHEMA_VERSION}. Another skewguard wrote it."
            )
        return int(version)

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


def one(connection: duckdb.DuckDBPyConnection, sql: str, parameters: list[Any]) -> tuple[Any, ...]:
    """The first row of a query; a None where there is none."""
    row = connection.execute(sql, parameters).fetchone()
    return row if row is not None else (None,)


def insert(connection: duckdb.DuckDBPyConnection, table: str, row: Sequence[Any]) -> None:
    """Add a row to a table, its values in the order of the columns."""
    connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", list(row))


def naive(value: datetime) -> datetime:
    """UTC without its zone, as the TIMESTAMP columns hold it."""
    return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
