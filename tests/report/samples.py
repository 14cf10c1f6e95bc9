"""Realistic runs and nights for the report's tests, and pages of them to look at.

``python -m tests.report.samples DIR`` writes one report a sample into DIR, and an index.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from skewguard.findings import Cause, CheckResult, DriftStats, FeatureStats, Finding, Run, Verdict
from skewguard.history import Night, night_of
from skewguard.report import render_index, write_report

AS_OF = datetime(1998, 3, 1, tzinfo=UTC)
STARTED = datetime(2026, 11, 24, 2, 0, 3, tzinfo=UTC)
ENTITIES = 21_480
PROVENANCE: Mapping[str, Any] = {
    "repository": "feature_repo",
    "skewguard": "0.1.0",
    "feast": "0.67.0",
    "duckdb": "1.5.6",
    "python": "3.11.7",
    "online_store": "redis localhost:6379 db 0",
    "contract": "sha256:5f1c0d6e9f5a4c2b8d7e6f5a4c3b2a190817263544536271",
    "sample": {"share": 1.0, "seed": 17, "by": "entity hash"},
}


def wilson(count: int, n: int) -> tuple[float, float]:
    """The 95% Wilson interval."""
    if n == 0:
        return 0.0, 1.0
    z, p = 1.959964, count / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max((middle - half) / (1 + z * z / n), 0.0), min((middle + half) / (1 + z * z / n), 1.0)


def finding(cause: Cause, view: str | None, feature: str | None, count: int, compared: int, **more: Any) -> Finding:
    """A finding of the parity check unless told otherwise, with its interval."""
    low, high = wilson(count, compared)
    defaults: dict[str, Any] = {"check": "parity", "message": "", "action": "block"}
    return Finding(
        cause=cause,
        view=view,
        feature=feature,
        count=count,
        compared=compared,
        ci_low=round(low, 6),
        ci_high=round(high, 6),
        **{**defaults, **more},
    )


def sample(key: Any, offline: Any, online: Any, days: tuple[float, float | None] = (2, 2)) -> dict[str, Any]:
    """One of the worst rows; ``days`` are the ages of both event timestamps."""
    stamps = [None if day is None else (AS_OF - timedelta(days=day)).isoformat() for day in days]
    return {
        "entity": {"customer_id": key},
        "offline": offline,
        "online": online,
        "offline_event_timestamp": stamps[0],
        "online_event_timestamp": stamps[1],
    }


def histogram(seed: int, bins: int, total: int, centre: float, spread: float) -> tuple[int, ...]:
    """Counts over bins, one hump."""
    rng = random.Random(seed)
    weights = [math.exp(-(((i + 0.5) / bins - centre) ** 2) / (2 * spread**2)) + 0.004 for i in range(bins)]
    noisy = [weight * (1 + rng.uniform(-0.06, 0.06)) for weight in weights]
    scale = total / sum(noisy)
    return tuple(round(weight * scale) for weight in noisy)


def number_labels(low: float, high: float, bins: int) -> tuple[str, ...]:
    step = (high - low) / bins
    return tuple(f"{low + i * step:g} to {low + (i + 1) * step:g}" for i in range(bins))


def stats(view: str, feature: str, dtype: str = "FLOAT32", *, seed: int = 1, **more: Any) -> FeatureStats:
    """A feature whose two distributions agree, unless told otherwise."""
    shape = histogram(seed, 24, ENTITIES - 240, 0.18 + 0.05 * (seed % 9), 0.12 + 0.02 * (seed % 5))
    base = FeatureStats(view, feature, dtype, ENTITIES, 0, 240, 240, number_labels(0, 480, 24), shape, shape)
    return replace(base, **more)


AGREEING = (
    stats("customer_activity", "orders_7d", "INT64", seed=2),
    stats("customer_activity", "orders_30d", "INT64", seed=3),
    stats("customer_activity", "orders_90d", "INT64", seed=4),
    stats("customer_activity", "tenure_days", "INT32", seed=5),
    stats(
        "customer_profile",
        "channel",
        "STRING",
        labels=("web", "shop", "phone", "(other)"),
        offline=(12010, 6100, 2400, 730),
        online=(12010, 6100, 2400, 730),
    ),
    stats("customer_profile", "first_basket_items", "INT64", seed=6),
)


def details() -> dict[str, Any]:
    return {
        "watermark": {"customer_spend": "1998-03-01T00:00:00Z", "customer_activity": "1998-02-24T00:00:00Z"},
        "tolerance": {"relative": 1e-6, "absolute": 1e-9},
    }


def clean_checks() -> tuple[CheckResult, ...]:
    spend = (stats("customer_spend", "spend_30d", seed=7), stats("customer_spend", "spend_90d", seed=8))
    return (
        CheckResult("parity", "ok", (), ENTITIES, ENTITIES, 3.418, features=(*spend, *AGREEING), details=details()),
        CheckResult("freshness", "ok", (), 3, 3, 0.031),
        CheckResult("definition", "ok", (), 3, 3, 0.012),
        CheckResult("expectations", "ok", (), 2000, 2000, 1.94),
    )


def run_of(verdict: Verdict, checks: tuple[CheckResult, ...], run_id: str, **more: Any) -> Run:
    defaults: dict[str, Any] = {
        "service": "churn_v1",
        "as_of": AS_OF,
        "started_at": STARTED,
        "finished_at": STARTED + timedelta(seconds=6.2),
        "reasons": (),
        "findings": tuple(found for check in checks for found in check.findings),
        "provenance": PROVENANCE,
    }
    return Run(run_id=run_id, verdict=verdict, checks=checks, **{**defaults, **more})


def passing() -> Run:
    """Every check ran, nothing found."""
    return run_of(Verdict.PASS, clean_checks(), "19980301-churn_v1-a1b2c3")


def block_findings() -> tuple[Finding, ...]:
    """Seven findings of six causes, worst first."""
    cents = [sample(1000 + i, v, v * 100) for i, v in enumerate((149.5, 88.0, 74.25, 61.125, 55.9, 52.3, 51.0))]
    stale = [sample(4000 + i, 0, 3 + i, (2, 9)) for i in range(5)]
    gone = [sample(7000 + i, round(12.5 + i, 2), None, (3, None)) for i in range(3)]
    return (
        finding(
            Cause.UNIT_SCALE,
            "customer_spend",
            "spend_30d",
            ENTITIES - 1204,
            ENTITIES,
            message="online is 100 × offline in 20,276 of 20,276 rows that differ",
            evidence={"k": 100.0, "residual": 0.0, "share": 1.0, "inverse": 0.01},
            samples=tuple(cents),
            repairable=True,
            advice="Fix the pipeline that writes the online value (its unit changed), then run `skewguard repair`.",
            first_seen=AS_OF,
        ),
        finding(
            Cause.NOT_MATERIALIZED,
            "customer_activity",
            "orders_7d",
            8_114,
            ENTITIES,
            message="8,114 customers have newer rows than the watermark 1998-02-24 00:00 UTC",
            evidence={"watermark": datetime(1998, 2, 24, tzinfo=UTC), "newest_offline": "1998-02-28T00:00:00Z"},
            samples=tuple(stale),
            advice="Run `skewguard materialize`, and more often if this returns.",
            first_seen=datetime(1998, 2, 25, tzinfo=UTC),
        ),
        finding(
            Cause.STALE_WATERMARK,
            "customer_activity",
            None,
            1,
            1,
            check="freshness",
            message="last materialized to 1998-02-24 00:00 UTC, 5 days before the as-of time; policy allows 1 day",
            evidence={"watermark": "1998-02-24T00:00:00Z", "allowed": timedelta(days=1)},
            first_seen=datetime(1998, 2, 26, tzinfo=UTC),
        ),
        finding(
            Cause.MISSING_ONLINE,
            "customer_spend",
            None,
            37,
            ENTITIES,
            message="37 customers have no key in Redis",
            advice="Run `skewguard repair`: it shows its plan, then writes the expected values.",
            samples=tuple(gone),
            repairable=True,
            action="warn",
            first_seen=AS_OF,
        ),
        finding(
            Cause.EXPIRED_BUT_SERVED,
            "customer_profile",
            "channel",
            3,
            ENTITIES,
            message="3 customers are answered with rows older than the TTL of 365 days",
            samples=(sample(9001, None, "web", (401, 401)), sample(9002, None, "shop ", (388.25, 388.25))),
            action="warn",
            first_seen=AS_OF,
        ),
        finding(
            Cause.BLOCKED_CORRECTION,
            "customer_spend",
            "spend_90d",
            212,
            ENTITIES,
            message="212 rows were corrected offline with an unchanged event timestamp",
            evidence={"newest_created": "1998-02-28T07:30:00Z"},
            samples=(sample(5120, 310.25, 301.25), sample(5121, 42.0, 24.0), sample(5133, 0.1, 0.10000000149011612)),
            repairable=True,
            action="warn",
            first_seen=datetime(1998, 2, 19, tzinfo=UTC),
        ),
        finding(
            Cause.EXPECTATION_FAILED,
            "customer_profile",
            "first_basket_items",
            14,
            2000,
            check="expectations",
            message="14 values are over 50 (expect_column_values_to_be_between, mostly 1.0)",
            action="ignore",
            first_seen=datetime(1998, 2, 19, tzinfo=UTC),
        ),
    )


def blocking() -> Run:
    """The typical bad night: a unit change, a stale view, lost keys, refused corrections."""
    found = block_findings()
    flat = histogram(7, 24, ENTITIES - 240, 0.12, 0.1)
    moved = (0, 0, *(0 for _ in range(20)), 1200, ENTITIES - 1440)
    features = (
        stats(
            "customer_spend",
            "spend_30d",
            differing=found[0].count,
            offline=flat,
            online=moved,
            causes={"unit_scale": found[0].count, "missing_online": 37},
        ),
        stats(
            "customer_spend",
            "spend_90d",
            seed=8,
            differing=249,
            causes={"blocked_correction": 212, "missing_online": 37},
        ),
        replace(
            AGREEING[0],
            differing=8114,
            online=histogram(2, 24, ENTITIES - 240, 0.5, 0.2),
            causes={"not_materialized": 7600, "late_arrival": 390, "unexplained": 124},
        ),
        *AGREEING[1:4],
        replace(AGREEING[4], differing=3, causes={"expired_but_served": 3}),
        AGREEING[5],
    )
    parity = CheckResult(
        "parity",
        "ok",
        tuple(item for item in found if item.check == "parity"),
        ENTITIES + 20,
        ENTITIES,
        4.207,
        reason="20 entity rows have a null join key",
        features=features,
        details=details(),
    )
    checks = (
        parity,
        CheckResult("freshness", "ok", (found[2],), 3, 3, 0.044),
        CheckResult("definition", "ok", (), 3, 3, 0.013),
        CheckResult("expectations", "ok", (found[6],), 2000, 2000, 2.31),
        CheckResult("replay", "inconclusive", (), 0, 0, 0.004, reason="the serving log holds no request of this day"),
    )
    return run_of(
        Verdict.BLOCK,
        checks,
        "19980301-churn_v1-d4e5f6",
        findings=found,
        reasons=(
            "unit_scale on customer_spend.spend_30d: 94.4% of rows, policy blocks over 0.1%",
            "not_materialized on customer_activity.orders_7d: 37.8% of rows, policy blocks over 5%",
            "stale_watermark on customer_activity: 5 days, policy blocks over 1 day",
        ),
    )


def undecided() -> Run:
    """Redis broke off and one check crashed: nothing is known."""
    checks = (
        CheckResult(
            "parity", "inconclusive", (), ENTITIES, 412, 30.02, reason="Redis localhost:6379 broke off after 412 rows"
        ),
        CheckResult("freshness", "ok", (), 3, 3, 0.04),
        CheckResult("definition", "ok", (), 3, 3, 0.01),
        CheckResult(
            "expectations", "crashed", (), 2000, 0, 0.2, reason="KeyError: 'first_basket_items' in suite churn_v1"
        ),
    )
    reasons = ("parity compared 1.9% of rows, policy asks for 90%", "the check expectations crashed")
    return run_of(Verdict.INCONCLUSIVE, checks, "19980301-churn_v1-0a0b0c", reasons=reasons)


def warning() -> Run:
    """One finding that policy warns about."""
    found = block_findings()[5]
    checks = (replace(clean_checks()[0], findings=(found,)), *clean_checks()[1:])
    reasons = ("blocked_correction on customer_spend.spend_90d: 1.0% of rows, policy warns over 0%",)
    return run_of(Verdict.WARN, checks, "19980301-churn_v1-77aa88", reasons=reasons)


def drift_stats(view: str, feature: str, *, seed: int = 1, shift: float = 0.0, **more: Any) -> DriftStats:
    """A column of a distribution check; drifted where ``shift`` (in standard deviations of its bins) is not zero."""
    defaults: dict[str, Any] = {
        "dtype": "DOUBLE", "against": "contract", "slice": "", "status": "drifted" if shift else "same",
        "part": "values", "p_value": 3.1e-21 if shift else 0.41, "q_value": 1.2e-19 if shift else 0.86, "level": 0.005,
        "effect": round(abs(shift) * 0.11, 4) or 0.007, "min_effect": 0.02, "reference_rows": 25_967,
        "current_rows": 21_480, "reference_effective": 23_102.5, "current_effective": 9_310.0, "rows_needed": 1_210,
        "reference_nulls": 312, "current_nulls": 260,
    }  # fmt: skip
    bins = {
        "labels": number_labels(0, 100, 20),
        "reference": histogram(seed, 20, 25_655, 9, 4),
        "current": histogram(seed, 20, 21_220, 9 + 2 * shift, 4),
        "measures": {
            "psi": 0.1371, "js_divergence_base2": 0.0241, "js_distance_base2": 0.1552, "js_distance_natural": 0.1292,
            "l_infinity": 0.0413, "kolmogorov_smirnov": 0.1124, "wasserstein_over_sd": 0.2961, "chi_square": 812.4,
            "null_rate_change": 0.0001, "unseen_share": 0.0004,
        },
    }  # fmt: skip
    return DriftStats(view=view, feature=feature, **{**defaults, **bins, **more})


def distribution_check(*drift: DriftStats, findings: tuple[Finding, ...] = ()) -> CheckResult:
    told = {"budget": 0.01, "level": 0.005, "services": 2, "tests": len(drift) + 1, "nights": 7, "too_little": False}
    return CheckResult("distribution", "ok", findings, 21_480, 21_480, 2.31, details=told, drift=drift)


def drifting() -> Run:
    """A night whose served values moved: one column against both references, one in a slice, one with too little."""
    moved = drift_stats("customer_spend", "spend_30d", seed=3, shift=1.2)
    drift = (
        moved,
        replace(moved, against="nights", effect=0.094),
        replace(moved, slice="customer_profile:region = EU", effect=0.31, current_rows=4_211),
        drift_stats("customer_spend", "spend_90d", seed=4, status="small", q_value=0.0009, effect=0.012),
        drift_stats("customer_profile", "first_basket_items", seed=5, dtype="INT64"),
        drift_stats("customer_activity", "is_repeat_buyer", seed=6, status="inconclusive", current_rows=31,
                    current_effective=12.0, current_nulls=0, effect=0.08),
    )  # fmt: skip
    found = finding(
        Cause.DISTRIBUTION_DRIFT, "customer_spend", "spend_30d", 2835, 21_480, check="distribution",
        message="customer_spend.spend_30d: against the contract's training set, 13.2% of rows moved to other values",
        evidence={"against": "contract", "part": "values", "comparisons": {"contract": "drifted", "nights": "drifted"}},
        action="warn", advice="See whether the world changed (train again on new data) or a pipeline did (mend it).",
        first_seen=AS_OF,
    )  # fmt: skip
    joint = finding(
        Cause.JOINT_DRIFT, None, None, 2191, 21_480, check="distribution", action="warn", first_seen=AS_OF,
        message="a classifier tells served rows from the contract's training set (AUC 0.551, q = 2.1e-07), most by "
        "customer_spend.spend_30d, customer_spend.spend_90d",
        evidence={"auc": 0.551, "min_auc": 0.53, "features": ["customer_spend.spend_30d", "customer_spend.spend_90d"]},
    )  # fmt: skip
    checks = (*clean_checks(), distribution_check(*drift, findings=(found, joint)))
    reasons = (found.message, joint.message)
    return run_of(Verdict.WARN, checks, "19980301-churn_v1-d41f70", reasons=reasons)


def nights(run: Run, n: int = 13) -> list[Night]:
    """The nights before a run: mostly clean, a warning, one that could not be decided, then trouble building up."""
    verdicts = [Verdict.PASS] * 6 + [Verdict.INCONCLUSIVE, Verdict.PASS, Verdict.PASS] + [Verdict.WARN] * 2
    verdicts += [Verdict.BLOCK] * 2
    this = night_of(run)
    found = []
    for index, verdict in enumerate(verdicts[:n]):
        as_of = AS_OF - timedelta(days=n - index)
        seen = {item.key: item.rate for item in run.findings if item.first_seen and item.first_seen <= as_of}
        features = {} if verdict is Verdict.INCONCLUSIVE else dict.fromkeys(this.features, 0.0)
        if verdict in (Verdict.WARN, Verdict.BLOCK):
            features |= {key: rate * (index - 7) / 9 for key, rate in this.features.items() if "orders_7d" in key}
        finished = STARTED - timedelta(days=n - index)
        found.append(
            Night(
                f"night-{index}",
                run.service,
                as_of,
                finished,
                verdict,
                seen,
                features,
                ("parity",) if verdict is Verdict.INCONCLUSIVE else (),
            )
        )
    return found


def wide(features: int = 50, findings: int = 12, samples: int = 8) -> Run:
    """A service of many features, several of them broken: for the size of the page."""
    found = [
        finding(
            Cause.UNEXPLAINED,
            f"customer_view_{i % 5}",
            f"feature_number_{i:03d}",
            900 + i,
            ENTITIES,
            message=f"{900 + i} rows differ and no rule explains why",
            evidence={"largest": 12.5 + i, "median": 0.25},
            samples=tuple(sample(10_000 + j, 1.25 * j, 1.5 * j) for j in range(samples)),
            first_seen=AS_OF,
        )
        for i in range(findings)
    ]
    all_stats = tuple(
        stats(
            f"customer_view_{i % 5}",
            f"feature_number_{i:03d}",
            seed=i,
            differing=900 + i if i < findings else 0,
            causes={"unexplained": 900 + i} if i < findings else {},
        )
        for i in range(features)
    )
    parity = CheckResult("parity", "ok", tuple(found), ENTITIES, ENTITIES, 9.1, features=all_stats, details=details())
    drift = distribution_check(
        *(
            drift_stats(f"customer_view_{i % 5}", f"feature_number_{i:03d}", seed=i, against=against,
                        shift=1.0 if i < findings else 0.0)
            for i in range(features)
            for against in ("contract", "nights")
        )
    )  # fmt: skip
    checks = (parity, *clean_checks()[1:], drift)
    return run_of(Verdict.BLOCK, checks, "19980301-wide", reasons=("12 findings block",))


HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    "\"><svg onload='alert(3)'>",
    "{{ 7 * 7 }}{% raw %}",
    "<!--",
    "naïve 🦜 日本語 \u202egnirts desrever\u2028next\x00\x1b[31m",
    "long_" * 400,
    "`rm -rf ~`; $(reboot) ' \" \\",
)


def hostile() -> Run:
    """Every name and value is an attack or a nuisance."""
    found = []
    for index, text in enumerate(HOSTILE):
        row = {
            "entity": {text: text},
            "offline": text,
            "online": [text, math.nan, b"\xff<\x00"],
            "offline_event_timestamp": text,
            "online_event_timestamp": None,
        }
        found.append(
            finding(
                Cause.UNEXPLAINED,
                text,
                HOSTILE[-1 - index],
                index,
                8,
                check=text,
                message=text,
                advice=text,
                evidence={text: {text: text}, "nan": math.nan},
                samples=(row,),
                repairable=True,
            )
        )
    features = tuple(
        FeatureStats(text, text, text, 10, 1, 0, 0, HOSTILE, (1,) * 8, (2,) * 8, {text: 1, "unexplained": 2})
        for text in HOSTILE
    )
    checks = tuple(
        CheckResult(
            text, "crashed" if index % 2 else "ok", (), 10, 8, 0.1, text, features[index : index + 1], {text: text}
        )
        for index, text in enumerate(HOSTILE)
    )
    return run_of(
        Verdict.BLOCK,
        checks,
        "../" + HOSTILE[1],
        findings=tuple(found),
        reasons=HOSTILE,
        service=HOSTILE[0],
        provenance={
            "repository": HOSTILE[7],
            "not_checked": {text: text for text in HOSTILE},
            HOSTILE[1]: list(HOSTILE),
        },
    )


def everything() -> dict[str, Run]:
    """Each sample by name."""
    return {
        "pass": passing(),
        "warn": warning(),
        "block": blocking(),
        "inconclusive": undecided(),
        "drift": drifting(),
        "wide": wide(),
        "hostile": hostile(),
    }


def main(directory: str) -> None:
    runs = everything()
    for name, run in runs.items():
        path = write_report(run, Path(directory) / name, nights(run))
        sys.stdout.write(f"{path} {path.stat().st_size}\n")
    listed = [replace(run, run_id=name) for name, run in runs.items()]
    (Path(directory) / "index.html").write_text(render_index(listed), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
