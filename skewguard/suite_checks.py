"""Runs a service's Great Expectations suite: on a training set, and on sampled online vectors."""

from __future__ import annotations

import time
from collections.abc import Callable
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
from skewguard.expectations.names import strangers, suite_names, uses_full_names
from skewguard.expectations.suites import Suite, load_suite, suite_path
from skewguard.findings import CheckResult
from skewguard.offline.entity_rows import DEFAULT_TIMESTAMP
from skewguard.sampled_entities import sampled_entities
from skewguard.vectors import NOT_FOUND, OUTSIDE_MAX_AGE, online_vectors

if TYPE_CHECKING:
    from skewguard.workspace import Workspace


def check_training(
    workspace: Workspace, service: ServiceDef, table: pa.Table, timestamp_column: str = DEFAULT_TIMESTAMP
) -> CheckResult:
    """The suite on a training set, which has the columns of the entity rows too. Raises SuiteError for a suite that
    cannot be used.

    The suite finds the features under the names that ``suite_names`` gives, and the as-of time as ``event_timestamp``,
    whatever they are called in the table.
    """
    started = time.perf_counter()
    suite = _suite(workspace, service)
    if suite is None:
        return _without(workspace, service)
    values, both = apart(suite)
    outcome = _engine().validate(_as_named(table, service, values, timestamp_column), values)
    skipped = [f"{rule.label}: {NIGHTLY}" for rule in both]
    return check_suite(outcome, skipped, started, {"rows": table.num_rows})


Judged = Callable[[str, pa.Table, Suite], None]
"""Is given what was judged, for another account of it: a name for it, the vectors or the comparison frame, and the
suite as far as it fits."""


def check_online(
    workspace: Workspace,
    service: ServiceDef,
    as_of: datetime,
    con: duckdb.DuckDBPyConnection,
    judged: Judged | None = None,
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
        return _without(workspace, service)
    values, both = apart(suite)
    found = _check_vectors(workspace, service, values, as_of, con, judged)
    return judge_both_sides(workspace, service, suite, as_of, con, judged).added_to(found) if both else found


def _check_vectors(
    workspace: Workspace, service: ServiceDef, suite: Suite, as_of: datetime, con: duckdb.DuckDBPyConnection,
    judged: Judged | None,
) -> CheckResult:  # fmt: skip
    started = time.perf_counter()
    if not suite.rules:
        return CheckResult(CHECK, "ok", details={"not_checked": []})
    stored = ServiceDef(service.name, service.projections)
    vectors, details = _sampled_vectors(workspace, stored, as_of, con, uses_full_names(service))
    fitting, left_out = suite.restrict(vectors.column_names)
    skipped = [": ".join(filter(None, (rule.label, strangers(service, rule)))) for rule in left_out]
    skipped += [rule.label for rule in fitting.rules if not rule.columns]
    fitting = replace(fitting, rules=tuple(rule for rule in fitting.rules if rule.columns))
    if vectors.num_rows == 0:
        reason = "no sampled entity has a row inside its TTL in every view online"
        return CheckResult(CHECK, "inconclusive", reason=reason, seconds=time.perf_counter() - started, details=details)
    if judged is not None:
        judged(service.name, vectors, fitting)
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


def _without(workspace: Workspace, service: ServiceDef) -> CheckResult:
    """No suite: nothing is expected, unless the contract says that there was one."""
    path = suite_path(workspace.path, service.name)
    contract = workspace.state.contract(service.name) if service.name else None
    if contract is None or contract.suite_digest is None:
        return no_suite(path)
    reason = f"the suite {path} is gone, under which the contract in force was written; put it back"
    return CheckResult(CHECK, "inconclusive", reason=reason)


def _as_named(table: pa.Table, service: ServiceDef, suite: Suite, timestamp_column: str) -> pa.Table:
    """The training set with the names that the suite uses. What the user called as a feature is called is not there."""
    names = {full: field.name for full, field in suite_names(service).items() if full in table.column_names}
    if DEFAULT_TIMESTAMP not in table.column_names and timestamp_column not in suite.columns:
        names[timestamp_column] = DEFAULT_TIMESTAMP
    taken = set(names.values())
    kept = [name for name in table.column_names if name in names or name not in taken]
    return table.select(kept).rename_columns([names.get(name, name) for name in kept])


def _sampled_vectors(
    workspace: Workspace, service: ServiceDef, as_of: datetime, con: duckdb.DuckDBPyConnection, full: bool
) -> tuple[pa.Table, dict[str, Any]]:
    rows = workspace.policy_for(service.name).expectation_rows
    entities, combined = sampled_entities(service, as_of, con, rows)
    vectors = online_vectors(workspace.feast, service, entities, as_of, full_feature_names=full)
    names = [f.name for f in service.outputs(full)]
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
