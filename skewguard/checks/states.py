"""Findings that report a state of one view or service, not a count of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skewguard.causes.catalogue import CATALOGUE
from skewguard.findings import Cause, Finding


def state_finding(
    check: str, cause: Cause, view: str | None, message: str, evidence: Mapping[str, Any] | None = None
) -> Finding:
    """One state, counted as one of one; its advice is the catalogue's."""
    return Finding(
        check=check,
        cause=cause,
        view=view,
        feature=None,
        count=1,
        compared=1,
        ci_low=1.0,
        ci_high=1.0,
        message=message,
        evidence=evidence or {},
        advice=CATALOGUE[cause].advice,
    )
