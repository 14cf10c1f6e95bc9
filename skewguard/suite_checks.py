"""Runs a service's Great Expectations suite: on a training set, and on sampled online vectors."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skewguard.both_sides import NIGHTLY, apart, judge_both_sides
from skewguard.checks.expectations import CHECK, check_suite, no_suite
from skewguard.contract import iso
from skewguard.definitions import ServiceDef
from skewguard.expectations.suites import Suite, load_suite, suite_path
from skewguard.findings import CheckResult
from skewguard.sampled_entities import sampled_entities
from skewguard.vectors import NOT_FOUND, OUTSIDE_MAX_AGE, online_vectors

if TYPE_CHECKING:
    from skewguard.workspace import Workspace


def check_training(workspace: Workspace, service: ServiceDef, table: pa.Table) -> CheckResult:
    """The suite on a training set. Raises SuiteError for a suite that cannot be used."""
    started = time.perf_counter()
    suite = _suite(workspace, service)
    if suite is None:
        return no_suite(suite_path(workspace.path, service.name))
    values, both = apart(suite)
    outcome = _engine().validate(table, values)
    skipped = [f"{rule.label}: {NIGHTLY}" for rule in both]
    return check_suite(outcome, skipped, started, {"rows": table.num_rows})


def check_online(
    workspace: Workspace, service: ServiceDef, as_of: datetime, con: duckdb.DuckDBPyConnection
) -> CheckResult:
    """The suite on sampled online vectors, as they would be served at ``as_of``; its rules on both sides on comparison
    frames (``both_sides``).

    Entities are chosen by hash among those that offline knows; only vectors count in which every view has a row inside
    its TTL (one that is rightly absent is no fault of the data, and an expired one is freshness's to tell). Left out,
    and listed as not checked: on-demand features (request data are the caller's), expectations on other columns
    (labels), and those on the table as a whole.
    Raises SuiteError, StoreUnavailableError.
    """
    suite = _suite(workspace, service)
    if suite is None:
        return no_suite(suite_path(workspace.path, service.name))
    values, both = apart(suite)
    found = _check_vectors(workspace, service, values, as_of, con)
    return judge_both_sides(workspace, service, suite, as_of, con).added_to(found) if both else found


def _check_vectors(
    workspace: Workspace, service: ServiceDef, suite: Suite, as_of: datetime, con: duckdb.DuckDBPyConnection
) -> CheckResult:
    started = time.perf_counter()
    if not suite.rules:
        return CheckResult(CHECK, "ok", details={"not_checked": []})
    stored = ServiceDef(service.name, service.projections)
    vectors, details = _sampled_vectors(
        workspace, stored, as_of, con, workspace.policy_for(service.name).expectation_rows
    )
    fitting, left_out = suite.restrict(vectors.column_names)
    skipped = [rule.label for rule in left_out]
    skipped += [rule.label for rule in fitting.rules if not rule.columns]
    fitting = replace(fitting, rules=tuple(rule for rule in fitting.rules if rule.columns))
    if vectors.num_rows == 0:
        reason = "no sampled entity has a row inside its TTL in every view online"
        return CheckResult(CHECK, "inconclusive", reason=reason, seconds=time.perf_counter() - started, details=details)
    return check_suite(_engine().validate(vectors, fitting), skipped, started, details)


def suite_digest(workspace: Workspace, service: ServiceDef) -> str | None:
    """The digest of the service's suite, None where it has none. Raises SuiteError."""
    suite = _suite(workspace, service) if service.name else None
    return None if suite is None else suite.digest


def _engine() -> Any:
    from skewguard.expectations import engine  # imports GX, which takes seconds

    return engine


def _suite(workspace: Workspace, service: ServiceDef) -> Suite | None:
    path = suite_path(workspace.path, service.name)
    return load_suite(path) if path.is_file() else None


def _sampled_vectors(
    workspace: Workspace, service: ServiceDef, as_of: datetime, con: duckdb.DuckDBPyConnection, rows: int
) -> tuple[pa.Table, dict[str, Any]]:
    entities, combined = sampled_entities(service, as_of, con, rows)
    vectors = online_vectors(workspace.feast, service, entities, as_of)
    names = [f.name for f in service.outputs()]
    found = np.ones(vectors.num_rows, dtype=bool)
    for name in names:
        status = vectors.column(f"__status__{name}").combine_chunks()
        absent = pc.is_in(status, value_set=pa.array([NOT_FOUND, OUTSIDE_MAX_AGE]))
        found &= ~np.asarray(absent.to_numpy(zero_copy_only=False), dtype=bool)
    details = {
        "as_of": iso(as_of),
        "sampled_entities": entities.num_rows,
        "vectors_with_every_view": int(found.sum()),
        "keys_combined_by_position": combined,
    }
    return vectors.select(names).filter(pa.array(found)), details
