"""Expectations: the service's Great Expectations suite, on a training set or on sampled online vectors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard.causes.catalogue import CATALOGUE
from skewguard.config import ServicePolicy
from skewguard.contract import iso
from skewguard.definitions import ServiceDef
from skewguard.digest import row_hashes
from skewguard.findings import Cause, CheckResult, Finding
from skewguard.stats import wilson_interval

if TYPE_CHECKING:
    from skewguard.expectations.engine import ExpectationResult, SuiteResult
    from skewguard.expectations.suites import Suite
    from skewguard.guard import SkewGuard

CHECK = "expectations"


def to_findings(results: Sequence[ExpectationResult]) -> tuple[Finding, ...]:
    """A finding for each expectation that does not hold ("the data broke") or could not run ("the rule broke")."""
    findings = []
    for result in results:
        if result.success:
            continue
        cause = Cause.EXPECTATION_BROKEN if result.broke else Cause.EXPECTATION_FAILED
        compared = max(result.element_count or 0, 1)
        count = min(result.unexpected_count or 0, compared) or (0 if result.element_count else 1)
        low, high = wilson_interval(count, compared)
        findings.append(
            Finding(
                check=CHECK,
                cause=cause,
                view=None,
                feature=result.column,
                count=count,
                compared=compared,
                ci_low=low,
                ci_high=high,
                message=result.message,
                evidence={
                    "expectation": result.expectation,
                    "severity": result.severity,
                    "observed": result.observed,
                    "unexpected_sample": list(result.sample)[:10],
                },
                advice=CATALOGUE[cause].advice,
            )
        )
    return tuple(findings)


def check_training(guard: SkewGuard, service: ServiceDef, table: pa.Table) -> CheckResult:
    """The suite on a training set. Raises SuiteError for a suite that cannot be used."""
    started = time.perf_counter()
    suite = _suite(guard, service)
    if suite is None:
        return _no_suite(guard, service)
    outcome = _engine().validate(table, suite)
    return _result(outcome, (), started, {"rows": table.num_rows})


def check_online(
    guard: SkewGuard, service: ServiceDef, as_of: datetime, con: duckdb.DuckDBPyConnection, policy: ServicePolicy
) -> CheckResult:
    """The suite on sampled online vectors, as they would be served at ``as_of``.

    Entities are chosen by hash among those that offline knows; only vectors count in which every view has a row (one
    that is rightly absent is no fault of the data). Left out, and listed as not checked: on-demand features (request
    data are the caller's), expectations on other columns (labels), and those on the table as a whole.
    Raises SuiteError, StoreUnavailableError.
    """
    started = time.perf_counter()
    suite = _suite(guard, service)
    if suite is None:
        return _no_suite(guard, service)
    stored = ServiceDef(service.name, service.projections)
    vectors, details = _sampled_vectors(guard, stored, as_of, con, policy.expectation_rows)
    fitting, left_out = suite.restrict(vectors.column_names)
    skipped = [rule.label for rule in left_out]
    skipped += [rule.label for rule in fitting.rules if not rule.columns]
    fitting = replace(fitting, rules=tuple(rule for rule in fitting.rules if rule.columns))
    if vectors.num_rows == 0:
        reason = "no sampled entity has a row in every view online"
        return CheckResult(CHECK, "inconclusive", reason=reason, seconds=time.perf_counter() - started, details=details)
    return _result(_engine().validate(vectors, fitting), skipped, started, details)


def suite_digest(guard: SkewGuard, service: ServiceDef) -> str | None:
    """The digest of the service's suite, None where it has none. Raises SuiteError."""
    suite = _suite(guard, service) if service.name else None
    return None if suite is None else suite.digest


def _engine() -> Any:
    from skewguard.expectations import engine  # imports GX, which takes seconds

    return engine


def _suite(guard: SkewGuard, service: ServiceDef) -> Suite | None:
    from skewguard.expectations.suites import load_suite, suite_path

    path = suite_path(guard.path, service.name)
    return load_suite(path) if path.is_file() else None


def _no_suite(guard: SkewGuard, service: ServiceDef) -> CheckResult:
    """Nothing was expected, and the report says so."""
    from skewguard.expectations.suites import suite_path

    missing = f"no suite at {suite_path(guard.path, service.name)}"
    return CheckResult(CHECK, "ok", details={"suite": None, "not_checked": [missing]})


def _result(outcome: SuiteResult, skipped: Sequence[str], started: float, details: dict[str, Any]) -> CheckResult:
    """The check's result; its population and compared are expectations."""
    return CheckResult(
        check=CHECK,
        status="ok",
        findings=to_findings(outcome.results),
        population=len(outcome.results),
        compared=sum(not r.broke for r in outcome.results),
        seconds=time.perf_counter() - started,
        details={**details, "suite": outcome.suite_digest, "not_checked": list(skipped)},
    )


def _sampled_vectors(
    guard: SkewGuard, service: ServiceDef, as_of: datetime, con: duckdb.DuckDBPyConnection, rows: int
) -> tuple[pa.Table, dict[str, Any]]:
    from skewguard.vectors import NOT_FOUND, online_vectors

    entities, combined = _entities(service, as_of, con, rows)
    vectors = online_vectors(guard.feast, service, entities, as_of)
    names = [f.name for f in service.outputs()]
    found = np.ones(vectors.num_rows, dtype=bool)
    for name in names:
        status = vectors.column(f"__status__{name}").combine_chunks()
        found &= np.asarray(pc.not_equal(status, NOT_FOUND).to_numpy(zero_copy_only=False), dtype=bool)
    details = {
        "as_of": iso(as_of),
        "sampled_entities": entities.num_rows,
        "vectors_with_every_view": int(found.sum()),
        "keys_combined_by_position": combined,
    }
    return vectors.select(names).filter(pa.array(found)), details


def _entities(service: ServiceDef, as_of: datetime, con: duckdb.DuckDBPyConnection, rows: int) -> tuple[pa.Table, bool]:
    """At most ``rows`` entity rows, by entity hash; True where no view holds all keys and they were combined."""
    from skewguard.offline.asof import latest_rows

    wanted = [key.name for key in service.join_keys]
    sampled: dict[str, pa.Array] = {}
    for projection in sorted(service.projections, key=lambda p: -len(p.keys)):
        names = [key.name for key, _ in projection.keys]
        if not names or all(column in sampled for _, column in projection.keys):
            continue
        keys = latest_rows(con, projection.view, as_of, features=[]).select(names)
        for name in names:
            keys = keys.filter(keys.column(name).is_valid())
        keys = keys.take(np.argsort(row_hashes(keys, names), kind="stable")[:rows])
        for key, column in projection.keys:
            sampled.setdefault(column, keys.column(key.name).combine_chunks())
        if set(wanted) <= set(sampled) and len(names) == len(wanted):
            return pa.table({column: sampled[column] for column in wanted}), False
    if not wanted:
        return pa.table({"__entityless": pa.array([True])}), False
    count = 0 if any(not len(column) for column in sampled.values()) else max(len(c) for c in sampled.values())
    return pa.table({c: sampled[c].take(np.arange(count) % max(len(sampled[c]), 1)) for c in wanted}), True
