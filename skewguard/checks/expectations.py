"""Expectations: the service's Great Expectations suite, on a training set or on sampled online vectors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from skewguard.causes.catalogue import CATALOGUE
from skewguard.contract import iso
from skewguard.definitions import ServiceDef
from skewguard.findings import Cause, CheckResult, Finding
from skewguard.stats import wilson_interval

if TYPE_CHECKING:
    from skewguard.expectations.engine import ExpectationResult

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


def result_of(
    results: Sequence[ExpectationResult], skipped: Sequence[str], started: float, details: dict[str, Any]
) -> CheckResult:
    """The check's result; its population and compared are expectations."""
    return CheckResult(
        check=CHECK,
        status="ok",
        findings=to_findings(results),
        population=len(results),
        compared=sum(not r.broke for r in results),
        seconds=time.perf_counter() - started,
        details={**details, "not_checked": list(skipped)},
    )


def no_suite(path: str) -> CheckResult:
    """The result where the service has no suite: nothing was expected, and the report says so."""
    return CheckResult(CHECK, "ok", details={"suite": None, "not_checked": [f"no suite at {path}"]})


def online_details(table: pa.Table, as_of: datetime, service: ServiceDef) -> dict[str, Any]:
    """What the report tells of the sampled vectors."""
    return {"rows": table.num_rows, "as_of": iso(as_of), "service": service.name}
