"""What a view's Parquet source holds: its schema as written, one scan of counts, and the ties of its rows."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from skewguard.contract import iso
from skewguard.definitions import FieldDef, ViewDef
from skewguard.offline.sources import declared_sql, reading, scan_sql
from skewguard.risks.conversion import fraction_sql, gap_sql, moment_sql, refused_sql
from skewguard.sql import quote

SAMPLES = 10


@dataclass(frozen=True)
class Ties:
    """Rows of one entity at one event timestamp: how many, and how the winner among them is found.

    ``groups`` (entity, event timestamp) hold ``rows`` rows. Of the groups, ``resolved`` have one latest created
    timestamp; of the others, ``equal`` hold the same features in every row that could win, ``ambiguous`` do not.
    """

    groups: int = 0
    rows: int = 0
    resolved: int = 0
    equal: int = 0
    ambiguous: int = 0
    samples: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class SourceFacts:
    """What was seen of one view's source.

    Attributes:
        columns: DuckDB's types by column; empty where nothing was read.
        written: columns as the (first) file has them, whose names may differ in case only; empty where unknown.
        types: Arrow types of ``written``.
        missing: Feast names without a column.
        counts: by name, over all rows: ``rows``, ``null_times``, ``bad_times``, ``future``, ``created_null``,
            ``created_bad``, ``created_first`` (created before the event).
        null_keys, refused, fractions, gaps, unreadable: by Feast name; ``unreadable`` is DuckDB's reason.
        oldest, newest: event timestamps.
        not_read: why, where nothing was read.
    """

    view: ViewDef
    columns: Mapping[str, str] = field(default_factory=dict)
    written: tuple[str, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    null_keys: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    fractions: Mapping[str, int] = field(default_factory=dict)
    gaps: Mapping[str, int] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    oldest: datetime | None = None
    newest: datetime | None = None
    ties: Ties = Ties()
    not_read: str = ""

    def duck_type(self, name: str) -> str | None:
        """The DuckDB type of a Feast name's column, None where there is none."""
        return self.columns.get(self.view.source.column(name))

    def arrow_type(self, name: str) -> str:
        """The Arrow type of a Feast name's column as the file has it, empty where unknown."""
        return self.types.get(self.view.source.column(name), "")


def read_source(
    con: duckdb.DuckDBPyConnection, view: ViewDef, features: Sequence[FieldDef], now: datetime
) -> SourceFacts:
    """Read a view's schema, count over its rows, and look for ties. Raises ConfigurationError: it cannot be read."""
    if view.source.kind != "parquet":
        return SourceFacts(
            view, not_read=f"{view.name}: a {view.source.kind} source, not Parquet; its rows were not read"
        )
    source = view.source
    scan = scan_sql(view)
    with reading(f"{source.path} (feature view {view.name!r})"):
        described = con.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()
        columns = {str(row[0]): str(row[1]) for row in described}
        written, types = _schema(source.path)
        fields = [*view.join_keys, *features]
        names = [f.name for f in fields] + [source.timestamp_field]
        names += [source.created_timestamp_column] if source.created_timestamp_column else []
        missing = tuple(dict.fromkeys(name for name in names if source.column(name) not in columns))
        facts = SourceFacts(view, columns, written, types, missing)
        if {k.name for k in view.join_keys} & set(missing) or source.timestamp_field in missing:
            return facts
        return _counted(con, scan, facts, [f for f in fields if f.name not in missing], now)


def _schema(path: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Names and Arrow types in the first local file of a source; nothing for one that is elsewhere."""
    if "://" in path:
        return (), {}
    local = Path(path)
    files = sorted(map(str, local.rglob("*.parquet"))) if local.is_dir() else sorted(glob.glob(path, recursive=True))
    first = path if local.is_file() else next(iter(files), None)
    if first is None:
        return (), {}
    try:
        schema = pq.read_schema(first)
    except (pa.ArrowException, OSError):
        return (), {}  # DuckDB, which is asked first, has said what is wrong with it, or can read it
    return tuple(schema.names), {item.name: str(item.type) for item in schema}


@dataclass(frozen=True)
class _Times:
    """The source's timestamp columns as SQL: ``event``, ``created`` as they are; ``at``, ``made`` as moments."""

    event: str
    at: str
    created: str | None
    made: str

    @classmethod
    def of(cls, facts: SourceFacts) -> _Times:
        source = facts.view.source
        column = source.column(source.timestamp_field)
        event, at = quote(column), moment_sql(quote(column), facts.columns[column])
        name = source.created_timestamp_column
        if not name or name in facts.missing:
            return cls(event, at, None, "NULL::TIMESTAMPTZ")
        column = source.column(name)
        return cls(event, at, quote(column), moment_sql(quote(column), facts.columns[column]))

    def counts(self, now: datetime) -> dict[str, str]:
        """What is counted over all rows, by name."""
        counts = {
            "rows": "count(*)",
            "null_times": f"count(*) FILTER ({self.event} IS NULL)",
            "bad_times": f"count(*) FILTER ({self.event} IS NOT NULL AND {self.at} IS NULL)",
            "future": f"count(*) FILTER ({self.at} > TIMESTAMPTZ '{now.isoformat()}')",
        }
        if self.created is not None:
            counts |= {
                "created_null": f"count(*) FILTER ({self.created} IS NULL)",
                "created_bad": f"count(*) FILTER ({self.created} IS NOT NULL AND {self.made} IS NULL)",
                "created_first": f"count(*) FILTER ({self.made} < {self.at})",
            }
        return counts


def _column_counts(facts: SourceFacts, fields: Sequence[FieldDef]) -> dict[tuple[str, str], str]:
    """What is counted of single columns, by (what, Feast name)."""
    counts = {}
    for item in fields:
        name = facts.view.source.column(item.name)
        if item in facts.view.join_keys:
            counts["null_keys", item.name] = f"count(*) FILTER ({quote(name)} IS NULL)"
        for what, sql in (("refused", refused_sql), ("fractions", fraction_sql), ("gaps", gap_sql)):
            condition = sql(quote(name), facts.columns[name], item.dtype)
            if condition is not None:
                counts[what, item.name] = f"count(*) FILTER ({condition})"
    return counts


def _counted(
    con: duckdb.DuckDBPyConnection, scan: str, facts: SourceFacts, fields: Sequence[FieldDef], now: datetime
) -> SourceFacts:
    times = _Times.of(facts)
    sums, single = times.counts(now), _column_counts(facts, fields)
    asked = [*sums.values(), *single.values(), f"min({times.at})", f"max({times.at})"]
    row = con.execute(f"SELECT {', '.join(asked)} FROM {scan}").fetchall()[0]
    found: dict[str, dict[str, int]] = {"null_keys": {}, "refused": {}, "fractions": {}, "gaps": {}}
    for (what, name), count in zip(single, row[len(sums) : -2], strict=True):
        if count:
            found[what][name] = count
    oldest, newest = (None if moment is None else moment.astimezone(UTC) for moment in row[-2:])
    return replace(
        facts,
        counts=dict(zip(sums, row, strict=False)),
        unreadable=_unreadable(con, scan, facts, [f for f in fields if ("refused", f.name) not in single]),
        oldest=oldest,
        newest=newest,
        ties=_ties(con, scan, facts, times, [f for f in fields if f not in facts.view.join_keys]),
        null_keys=found["null_keys"],
        refused=found["refused"],
        fractions=found["fractions"],
        gaps=found["gaps"],
    )


def _unreadable(
    con: duckdb.DuckDBPyConnection, scan: str, facts: SourceFacts, fields: Sequence[FieldDef]
) -> dict[str, str]:
    """The columns whose first value cannot be read as declared, and why."""
    found = {}
    for item in fields:
        name = facts.view.source.column(item.name)
        value = declared_sql(quote(name), facts.columns[name], item.dtype)
        try:
            con.execute(f"SELECT {value} FROM {scan} WHERE {quote(name)} IS NOT NULL LIMIT 1").fetchall()
        except (duckdb.ConversionException, duckdb.BinderException, duckdb.InvalidInputException) as error:
            found[item.name] = str(error).splitlines()[0]
    return found


def _ties(
    con: duckdb.DuckDBPyConnection, scan: str, facts: SourceFacts, times: _Times, features: Sequence[FieldDef]
) -> Ties:
    """Rows of one key and time; found by a hash of both, so that memory is a few bytes a row whatever the keys are."""
    source = facts.view.source
    keys = {f"k{i}": quote(source.column(key.name)) for i, key in enumerate(facts.view.join_keys)}
    at, made = times.at, times.made
    whole = " AND ".join([f"{at} IS NOT NULL", *(f"{column} IS NOT NULL" for column in keys.values())])
    tag = f"hash({', '.join([*keys.values(), at])})"
    value = f"hash({', '.join(quote(source.column(f.name)) for f in features)})" if features else "0"
    picked = "".join(f"{column} AS {name}, " for name, column in keys.items())
    group = ", ".join([*keys, "t"])
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE __tied AS WITH d AS (SELECT {tag} AS h FROM {scan} WHERE {whole} "
        f"GROUP BY h HAVING count(*) > 1), "
        f"c AS (SELECT {picked}{at} AS t, {made} AS m, {value} AS v FROM {scan} WHERE {whole} "
        f"AND {tag} IN (SELECT h FROM d)), "
        f"w AS (SELECT *, max(m) OVER (PARTITION BY {group}) AS top FROM c) "
        f"SELECT {group}, count(*) AS n, count(*) FILTER (m IS NOT DISTINCT FROM top) AS tops, "
        f"count(DISTINCT v) FILTER (m IS NOT DISTINCT FROM top) AS differing, any_value(top) AS top "
        f"FROM w GROUP BY {group} HAVING count(*) > 1"
    )
    try:
        row = con.execute(
            "SELECT count(*), coalesce(sum(n), 0), count(*) FILTER (tops = 1), "
            "count(*) FILTER (tops > 1 AND differing = 1), count(*) FILTER (tops > 1 AND differing > 1) FROM __tied"
        ).fetchall()[0]
        shown = con.execute(
            f"SELECT {', '.join([*keys, 't', 'n', 'top', 'tops > 1 AND differing > 1'])} FROM __tied WHERE tops > 1 "
            f"ORDER BY differing > 1 DESC, {group} LIMIT {SAMPLES}"
        ).fetchall()
    finally:
        con.execute("DROP TABLE __tied")
    samples = tuple(_sample(facts.view, values) for values in shown)
    groups, rows, resolved, equal, ambiguous = (int(count) for count in row)
    return Ties(groups, rows, resolved, equal, ambiguous, samples)


def _sample(view: ViewDef, values: Sequence[Any]) -> dict[str, Any]:
    *keys, at, rows, created, ambiguous = values
    return {
        "entity": {
            key.name: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in zip(view.join_keys, keys, strict=True)
        },
        "offline": f"{rows} rows" + (", of different values" if ambiguous else ", of equal values"),
        "online": None,
        "offline_event_timestamp": iso(at.astimezone(UTC)),
        "online_event_timestamp": None,
        "created_timestamp": None if created is None else iso(created.astimezone(UTC)),
    }
