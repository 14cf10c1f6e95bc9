"""Expectations: what a Great Expectations suite found, as findings of the guard."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skewguard.causes.catalogue import CATALOGUE
from skewguard.findings import Cause, CheckResult, Finding
from skewguard.stats import wilson_interval

if TYPE_CHECKING:
    from skewguard.expectations.engine import ExpectationResult, SuiteResult

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


def check_suite(
    outcome: SuiteResult, skipped: Sequence[str], started: float, details: Mapping[str, Any]
) -> CheckResult:
    """The check's result from a suite's outcome; its population and compared are expectations.

    ``skipped`` names the expectations that were left out; ``started`` is a time.perf_counter() moment. ``details`` tell
    of the others who judged them ("sql", "gx", "refused"), and why not SQL.
    """
    return CheckResult(
        check=CHECK,
        status="ok",
        findings=to_findings(outcome.results),
        population=len(outcome.results),
        compared=sum(not r.broke for r in outcome.results),
        seconds=time.perf_counter() - started,
        details={
            **details,
            "suite": outcome.suite_digest,
            "judged": _judges(outcome.results),
            "not_checked": list(skipped),
        },
    )


def _judges(results: Sequence[ExpectationResult]) -> dict[str, Any]:
    """How many expectations were judged in which way, and why those that SQL did not judge were left to another."""
    told: dict[str, Any] = dict(Counter(result.judged_by for result in results))
    left = [f"{r.expectation} on {r.column or 'the table'}: {r.reason}" for r in results if r.judged_by != "sql"]
    return {**told, "not_in_sql": left} if left else told


def no_suite(path: Path) -> CheckResult:
    """Nothing was expected, and the report says so."""
    return CheckResult(CHECK, "ok", details={"suite": None, "not_checked": [f"no suite at {path}"]})
