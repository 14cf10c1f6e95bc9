"""A suite's outcome as Great Expectations' own result objects, for its actions, its stores and its Data Docs."""

from __future__ import annotations

from typing import Any

from skewguard.expectations import great_expectations_import
from skewguard.expectations.judge import Judged, judge_suite
from skewguard.expectations.sql.source import Source
from skewguard.expectations.suites import Suite


def validate_gx(source: Source, suite: Suite) -> Any:
    """Run a suite as ``engine.validate`` does; a GX ExpectationSuiteValidationResult in summary format.

    ``source`` as in ``engine.validate``. The ``meta`` of each result has ``judged_by`` ("sql", "gx" or "refused") and,
    where it is not "sql", the ``reason``; a rule that broke has GX's ``exception_info``. Raises as
    ``engine.validate``.
    """
    gx = great_expectations_import.load()
    judged, rows = judge_suite(source, suite)
    results = [_result(gx, one) for one in judged]
    successful = sum(one.outcome.success for one in judged)
    return gx.SuiteResult(
        success=successful == len(judged),
        results=results,
        suite_name=suite.name,
        suite_parameters={},
        statistics={
            "evaluated_expectations": len(judged),
            "successful_expectations": successful,
            "unsuccessful_expectations": len(judged) - successful,
            "success_percent": successful / len(judged) * 100 if judged else None,
        },
        meta={"great_expectations_version": gx.version, "rows": rows, "suite_digest": suite.digest},
    )


def _result(gx: Any, judged: Judged) -> Any:
    rule, trouble = judged.rule, judged.outcome.trouble
    meta = {"judged_by": judged.judged_by} | ({"reason": judged.reason} if judged.reason else {})
    return gx.Result(
        success=judged.outcome.success,
        expectation_config=gx.Configuration(
            type=rule.type, kwargs=dict(rule.kwargs), severity=rule.severity, notes=rule.notes or None
        ),
        result=judged.outcome.result,
        meta=meta,
        exception_info={
            "raised_exception": trouble is not None,
            "exception_traceback": trouble,  # Data Docs want a text
            "exception_message": trouble,
        },
    )
