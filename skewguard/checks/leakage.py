"""Leakage: training values that were created after their as-of time, and the difference that they make.

A point-in-time join goes by event timestamps. A row that was corrected, or loaded late, lies before the as-of time and
did not exist yet; the model is trained on what nobody could have served. Where the join gave such a row, the join is
done again for these entity rows alone, as known at their as-of times, and the two are compared value by value.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard import dtypes
from skewguard.causes.catalogue import CATALOGUE
from skewguard.causes.equality import equal_sql
from skewguard.config import ServicePolicy
from skewguard.definitions import FieldDef, Projection
from skewguard.findings import Cause, CheckResult, Finding
from skewguard.offline.statement import created_column, event_column
from skewguard.plain import plain
from skewguard.stats import wilson_interval

CHECK = "leakage"
SAMPLES = 10
_AT, _MADE = "__leak_at", "__leak_made"


class AsKnown(Protocol):
    """The join as known at the as-of times."""

    def __call__(self, rows: pa.Table, asked: Sequence[Projection]) -> pa.Table:
        """The features of ``asked`` and their event timestamps, for some entity rows in their order."""
        ...


@dataclass(frozen=True)
class JoinedRows:
    """What a plain join gave: entity rows, features, and of each projection its event and created timestamps.

    ``as_known``: the join counted only what was created by the as-of time, so that there is nothing to find.
    """

    table: pa.Table
    timestamp_column: str
    full_feature_names: bool = False
    as_known: bool = False


@dataclass(frozen=True)
class _Difference:
    """Of a projection's rows in question: how many had no row at all when known; by feature, evidence and samples."""

    nothing: int = 0
    features: Mapping[str, tuple[dict[str, Any], tuple[Mapping[str, Any], ...]]] = field(default_factory=dict)

    def evidence(self) -> dict[str, dict[str, Any]]:
        """By feature."""
        return {name: evidence for name, (evidence, _) in self.features.items()}


@dataclass(frozen=True)
class _Leak:
    """One projection: entity rows with a row (``have``), created later (``rows``, their numbers), without a created."""

    projection: Projection
    have: int
    rows: pa.Array
    unknown: int


def check_leakage(
    joined: JoinedRows, projections: Sequence[Projection], as_known: AsKnown, policy: ServicePolicy
) -> CheckResult:
    """A finding ``leakage`` for each feature of which some values were created later and were not so before.

    Where more than half of a view's rows were created later, and nothing was known before of nine tenths of them, a
    load has probably stamped its own time: then there is one finding for the view. Population: entity rows.
    """
    started = time.perf_counter()
    total = joined.table.num_rows
    checked = [p for p in projections if p.view.source.created_timestamp_column and p.features]
    leaks = [] if joined.as_known else [_leak(joined, projection) for projection in checked]
    differences = _differences(joined, [leak for leak in leaks if len(leak.rows)], as_known, policy)
    findings: list[Finding] = []
    details: dict[str, Any] = {}
    for leak in leaks:
        found = differences.get(leak.projection.name, _Difference())
        findings += _findings(leak, found, total)
        details[leak.projection.name] = {
            "rows": leak.have,
            "created_later": len(leak.rows),
            "created_unknown": leak.unknown,
            "nothing_known_then": found.nothing,
            "features": found.evidence(),
        }
    return CheckResult(
        check=CHECK,
        status="ok",
        findings=tuple(findings),
        population=total,
        compared=total,
        seconds=time.perf_counter() - started,
        details={
            "as_known": joined.as_known,
            "views": details,
            "without_created_timestamp": [p.name for p in projections if not p.view.source.created_timestamp_column],
        },
    )


def _leak(joined: JoinedRows, projection: Projection) -> _Leak:
    event, made = (joined.table.column(name(projection)) for name in (event_column, created_column))
    later = pc.fill_null(pc.greater(made, joined.table.column(joined.timestamp_column)), False)
    unknown = pc.sum(pc.and_(event.is_valid(), made.is_null())).as_py() or 0
    rows = pa.array(np.flatnonzero(later.combine_chunks().to_numpy(zero_copy_only=False)), pa.int64())
    return _Leak(projection, len(event) - event.null_count, rows, unknown)


def _differences(
    joined: JoinedRows, leaks: Sequence[_Leak], as_known: AsKnown, policy: ServicePolicy
) -> dict[str, _Difference]:
    """By projection. The sources are joined once more, for the rows in question."""
    if not leaks:
        return {}
    rows = np.unique(np.concatenate([leak.rows.to_numpy() for leak in leaks]))
    columns = {column for leak in leaks for _, column in leak.projection.keys} | {joined.timestamp_column}
    asked = joined.table.select([name for name in joined.table.column_names if name in columns]).take(pa.array(rows))
    known = as_known(asked, [leak.projection for leak in leaks])
    found = {}
    for leak in leaks:
        places = pa.array(np.searchsorted(rows, leak.rows.to_numpy()))
        found[leak.projection.name] = _compared(joined, leak, known.take(places), policy)
    return found


def _compared(joined: JoinedRows, leak: _Leak, known: pa.Table, policy: ServicePolicy) -> _Difference:
    projection, full = leak.projection, joined.full_feature_names
    trained = joined.table.take(leak.rows)
    columns: dict[str, Any] = {
        "n": pa.array(np.arange(len(leak.rows))),
        _AT: trained.column(joined.timestamp_column),
        _MADE: trained.column(created_column(projection)),
    }
    keys = [column for _, column in projection.keys]
    columns |= {f"k{i}": trained.column(name) for i, name in enumerate(keys)}
    for i, item in enumerate(projection.features):
        name = projection.output_name(item.name, full)
        columns |= {f"t{i}": trained.column(name), f"o{i}": known.column(name)}
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.register("pairs", pa.table(columns))
        selected = [_difference_sql(i, item, projection, policy) for i, item in enumerate(projection.features)]
        row = con.execute(f"SELECT {', '.join(selected)} FROM pairs").fetchall()[0]
        found = {}
        for i, item in enumerate(projection.features):
            evidence = _evidence(item, len(leak.rows), row[5 * i : 5 * i + 5])
            samples = _samples(con, i, item, projection, policy) if evidence["differ"] else ()
            found[item.name] = (evidence, samples)
    return _Difference(known.column(event_column(projection)).null_count, found)


def _different(index: int, item: FieldDef, projection: Projection, policy: ServicePolicy) -> str:
    tolerance = policy.tolerance_for(projection.view.name, item)
    return f"NOT {equal_sql(item.dtype, f't{index}', f'o{index}', tolerance)}"


def _difference_sql(index: int, item: FieldDef, projection: Projection, policy: ServicePolicy) -> str:
    """Five aggregates: rows that differ, known as null, and mean, largest and mean relative difference of numbers."""
    different = _different(index, item, projection, policy)
    counts = f"count(*) FILTER ({different}), count(*) FILTER ({different} AND o{index} IS NULL)"
    if item.dtype not in dtypes.NUMBERS:
        return f"{counts}, NULL, NULL, NULL"
    a, b = f"t{index}::DOUBLE", f"o{index}::DOUBLE"
    finite = f"{different} AND isfinite({a}) AND isfinite({b})"
    relative = f"abs({a} - {b}) / greatest(abs({a}), abs({b}))"
    return (
        f"{counts}, avg(abs({a} - {b})) FILTER ({finite}), max(abs({a} - {b})) FILTER ({finite}), "
        f"avg({relative}) FILTER ({finite} AND {a} <> {b})"
    )


def _evidence(item: FieldDef, rows: int, row: Sequence[Any]) -> dict[str, Any]:
    evidence: dict[str, Any] = {"created_later": rows, "differ": int(row[0]), "null_when_known": int(row[1])}
    if item.dtype in dtypes.NUMBERS:
        names = ("mean_difference", "largest_difference", "mean_relative_difference")
        evidence |= dict(zip(names, row[2:], strict=True))
    return evidence


def _samples(
    con: duckdb.DuckDBPyConnection, index: int, item: FieldDef, projection: Projection, policy: ServicePolicy
) -> tuple[Mapping[str, Any], ...]:
    keys = "".join(f"k{i}, " for i in range(len(projection.keys)))
    rows = con.execute(
        f"SELECT {keys}t{index}, o{index}, {_AT}, {_MADE} FROM pairs "
        f"WHERE {_different(index, item, projection, policy)} ORDER BY n LIMIT {SAMPLES}"
    ).fetchall()
    return tuple(
        {
            "entity": {column: plain(value) for (_, column), value in zip(projection.keys, row, strict=False)},
            "offline": plain(row[-4]),
            "online": None,
            "known_then": plain(row[-3]),
            "as_of": plain(row[-2]),
            "created_timestamp": plain(row[-1]),
            "offline_event_timestamp": None,
            "online_event_timestamp": None,
        }
        for row in rows
    )


def _findings(leak: _Leak, found: _Difference, total: int) -> list[Finding]:
    later, name = len(leak.rows), leak.projection.name
    if 2 * later > leak.have - leak.unknown and 10 * found.nothing > 9 * later:
        message = (
            f"{name}: {later:,} of {total:,} rows hold values created after their as-of time, and of {found.nothing:,} "
            "nothing was known before; a load has probably stamped its own time, which tells nothing"
        )
        whole = {"created_later": later, "nothing_known_then": found.nothing, "features": found.evidence()}
        return [_finding(leak, None, later, total, message, whole)]
    findings = []
    for feature, (evidence, samples) in found.features.items():
        if evidence["differ"]:
            findings.append(
                _finding(leak, feature, evidence["differ"], total, _message(name, feature, evidence, total), evidence,
                         samples)
            )  # fmt: skip
    return findings


def _message(view: str, feature: str, evidence: Mapping[str, Any], total: int) -> str:
    says = CATALOGUE[Cause.LEAKAGE].says
    much = ""
    if evidence.get("mean_difference") is not None:
        much = (
            f" (in the mean {evidence['mean_difference']:.6g} apart, at most {evidence['largest_difference']:.6g}; "
            f"{evidence['null_when_known']:,} were null then)"
        )
    elif evidence["null_when_known"]:
        much = f" ({evidence['null_when_known']:,} were null then)"
    return f"{view}.{feature}: {evidence['differ']:,} of {total:,} rows {says}{much}"


def _finding(
    leak: _Leak, feature: str | None, count: int, total: int, message: str, evidence: Mapping[str, Any],
    samples: tuple[Mapping[str, Any], ...] = (),
) -> Finding:  # fmt: skip
    low, high = wilson_interval(count, total)
    return Finding(
        check=CHECK,
        cause=Cause.LEAKAGE,
        view=leak.projection.view.name,
        feature=feature,
        count=count,
        compared=total,
        ci_low=low,
        ci_high=high,
        message=message,
        evidence=evidence,
        samples=samples,
        advice=CATALOGUE[Cause.LEAKAGE].advice,
    )
