"""Freshness: how far each view's watermark, and its newest offline row, lie behind the as-of time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from skewguard.causes.catalogue import CATALOGUE
from skewguard.checks.states import state_finding
from skewguard.config import ServicePolicy
from skewguard.contract import iso
from skewguard.findings import Cause, CheckResult, Finding

CHECK = "freshness"


@dataclass(frozen=True)
class ViewFreshness:
    """One view's moments (UTC): ``watermark`` None if never materialized, ``newest`` None if it has no offline row."""

    view: str
    watermark: datetime | None
    newest: datetime | None


def check_freshness(views: Sequence[ViewFreshness], as_of: datetime, policy: ServicePolicy) -> CheckResult:
    """Findings ``never_materialized``, ``stale_watermark`` and ``stale_source``, one a view; limits are inclusive."""
    started = time.perf_counter()
    findings: list[Finding] = []
    details: dict[str, Any] = {}
    for view in views:
        limits = policy.freshness_for(view.view)
        if view.watermark is None:
            says = f"{view.view} {CATALOGUE[Cause.NEVER_MATERIALIZED].says}"
            findings.append(state_finding(CHECK, Cause.NEVER_MATERIALIZED, view.view, says))
        elif limits.max_watermark_lag is not None and as_of - view.watermark > limits.max_watermark_lag:
            findings.append(_late(Cause.STALE_WATERMARK, view.view, as_of - view.watermark, limits.max_watermark_lag))
        if limits.max_source_lag is not None and (view.newest is None or as_of - view.newest > limits.max_source_lag):
            lag = None if view.newest is None else as_of - view.newest
            findings.append(_late(Cause.STALE_SOURCE, view.view, lag, limits.max_source_lag))
        details[view.view] = {
            "watermark": None if view.watermark is None else iso(view.watermark),
            "newest_offline_row": None if view.newest is None else iso(view.newest),
        }
    return CheckResult(
        check=CHECK,
        status="ok",
        findings=tuple(findings),
        population=len(views),
        compared=len(views),
        seconds=time.perf_counter() - started,
        details={"views": details},
    )


def _late(cause: Cause, view: str, lag: timedelta | None, limit: timedelta) -> Finding:
    evidence = {"lag_seconds": None if lag is None else lag.total_seconds(), "limit_seconds": limit.total_seconds()}
    text = "no offline row at all" if lag is None else f"{_span(lag)} behind; policy allows {_span(limit)}"
    return state_finding(CHECK, cause, view, f"{view} {CATALOGUE[cause].says} ({text})", evidence)


def _span(length: timedelta) -> str:
    hours = length.total_seconds() / 3600
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours"
