"""What a check returns: causes, findings, check results and runs. Frozen data; text, JSON and HTML only render it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Cause(StrEnum):
    """Why two values differ, or why a check complains: a closed list (docs/causes.md tells each with its evidence)."""

    NOT_MATERIALIZED = "not_materialized"
    LATE_ARRIVAL = "late_arrival"
    BLOCKED_CORRECTION = "blocked_correction"
    OUT_OF_ORDER_WRITE = "out_of_order_write"
    AHEAD_OF_OFFLINE = "ahead_of_offline"
    EXPIRED_BUT_SERVED = "expired_but_served"
    MISSING_ONLINE = "missing_online"
    FIELD_NEVER_WRITTEN = "field_never_written"
    ORPHAN_ONLINE = "orphan_online"
    ENTITY_KEY_MISMATCH = "entity_key_mismatch"
    UNIT_SCALE = "unit_scale"
    CONSTANT_OFFSET = "constant_offset"
    TIMEZONE_SHIFT = "timezone_shift"
    NULL_DEFAULT = "null_default"
    TYPE_CAST = "type_cast"
    COLUMN_SWAP = "column_swap"
    CATEGORY_RECODE = "category_recode"
    STRING_NORMALIZATION = "string_normalization"
    TRANSFORM_DIVERGENCE = "transform_divergence"
    SERVED_BEFORE_KNOWN = "served_before_known"
    DEFINITION_CHANGED = "definition_changed"
    CORRUPT_VALUE = "corrupt_value"
    UNEXPLAINED = "unexplained"
    # Not a difference of two values, but a state that a check reports:
    NEVER_MATERIALIZED = "never_materialized"
    STALE_WATERMARK = "stale_watermark"
    STALE_SOURCE = "stale_source"
    EXPECTATION_FAILED = "expectation_failed"
    EXPECTATION_BROKEN = "expectation_broken"
    CONTRACT_MISSING = "contract_missing"
    SOURCE_DEFECT = "source_defect"
    DEFINITION_RISK = "definition_risk"
    LEAKAGE = "leakage"
    DISTRIBUTION_DRIFT = "distribution_drift"
    JOINT_DRIFT = "joint_drift"


DRIFTS = frozenset({Cause.DISTRIBUTION_DRIFT, Cause.JOINT_DRIFT})
"""Causes for which no wrong row can be shown: the values are other than they were."""


class Verdict(StrEnum):
    """The gate's answer. INCONCLUSIVE is never treated as PASS."""

    PASS = "pass"  # noqa: S105  (not a password)
    WARN = "warn"
    BLOCK = "block"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Finding:
    """One cause, for one feature (or one view, then ``feature`` is None), with counts, interval, evidence and samples.

    ``count`` of ``compared`` rows are affected; ``ci_low`` and ``ci_high`` are the 95% Wilson interval of the rate.
    ``samples`` are dictionaries with ``entity`` (join keys), ``offline``, ``online`` (values as JSON scalars or
    text), ``offline_event_timestamp``, ``online_event_timestamp`` (ISO 8601, UTC).
    """

    check: str
    cause: Cause
    view: str | None
    feature: str | None
    count: int
    compared: int
    ci_low: float
    ci_high: float
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    samples: tuple[Mapping[str, Any], ...] = ()
    repairable: bool = False
    advice: str = ""
    action: str = ""
    """What policy makes of it: "block", "warn" or "ignore"; filled in by the gate."""
    first_seen: datetime | None = None
    """When the same cause on the same feature was first seen without a break; filled in from history."""

    @property
    def rate(self) -> float:
        """Share of compared rows affected; 0 when nothing was compared."""
        return self.count / self.compared if self.compared else 0.0

    @property
    def key(self) -> str:
        """Identity across runs: check, cause, view, feature."""
        return "/".join((self.check, self.cause.value, self.view or "", self.feature or ""))


@dataclass(frozen=True)
class FeatureStats:
    """One feature in a parity check, for the report: counts, null shares and the two distributions over fixed bins.

    ``labels`` name the bins; ``offline`` and ``online`` are counts of non-null values per bin.
    """

    view: str
    feature: str
    dtype: str
    compared: int
    differing: int
    offline_nulls: int
    online_nulls: int
    labels: tuple[str, ...] = ()
    offline: tuple[int, ...] = ()
    online: tuple[int, ...] = ()
    causes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class DriftStats:
    """One column against a reference: what moved, how surely, and how far. docs/drift.md tells each figure.

    ``against``: "contract" (the contract's training set) or "nights" (the nights before). ``part`` is what moved most:
    "values", "nulls", "unseen" (values that the reference does not have) or "statuses" (why there is none).
    ``status``: "drifted" (surely and far enough: an alarm), "small" (surely, but less far than policy's
    ``min_effect``), "same" (not surely), or "inconclusive" (too little data: ``rows_needed`` rows would do).
    ``p_value`` and ``q_value`` (Benjamini-Hochberg over the night's tests) count as sure up to ``level``. ``effect``
    is a share of rows, see ``part``. ``*_effective`` are rows worth of independent data, after repeated entities.
    ``labels`` name the cells of ``reference`` and ``current``, counts of non-null values over the same bins.
    ``*_missing``: rows without a value by why ("NaN", each status, or "null" where that is not known).
    """

    view: str
    feature: str
    dtype: str
    against: str
    slice: str
    status: str
    part: str
    p_value: float
    q_value: float
    level: float
    effect: float
    min_effect: float
    reference_rows: int
    current_rows: int
    reference_effective: float
    current_effective: float
    rows_needed: int
    reference_nulls: int
    current_nulls: int
    labels: tuple[str, ...] = ()
    reference: tuple[int, ...] = ()
    current: tuple[int, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)
    reference_missing: Mapping[str, int] = field(default_factory=dict)
    current_missing: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckResult:
    """What one check saw. ``status`` is "ok" (it ran), "inconclusive" (too little to say) or "crashed"; never hidden.

    ``population`` rows exist, ``compared`` of them could be compared; ``reason`` says why a check is not "ok".
    """

    check: str
    status: str
    findings: tuple[Finding, ...] = ()
    population: int = 0
    compared: int = 0
    seconds: float = 0.0
    reason: str = ""
    features: tuple[FeatureStats, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    drift: tuple[DriftStats, ...] = ()

    def decides(self, view: str | None, feature: str | None) -> bool:
        """Did it come to an answer about a feature (a view, without one the service)?

        With too little data for one feature it may still have it for another, against the contract or the nights.
        """
        if self.status != "inconclusive" or not self.details.get("too_little"):
            return self.status == "ok"
        if view is None:
            return "joint" in self.details
        return any(
            stats.status != "inconclusive"
            for stats in self.drift
            if stats.view == view and feature in (None, stats.feature) and not stats.slice
        )

    @property
    def coverage(self) -> float:
        """Compared rows as a share of the population; 1 when there is no population."""
        return self.compared / self.population if self.population else 1.0


@dataclass(frozen=True)
class Run:
    """One guard run over one feature service: its checks, findings (worst first), verdict and the reasons for it."""

    run_id: str
    service: str
    as_of: datetime
    started_at: datetime
    finished_at: datetime
    verdict: Verdict
    reasons: tuple[str, ...]
    checks: tuple[CheckResult, ...]
    findings: tuple[Finding, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
