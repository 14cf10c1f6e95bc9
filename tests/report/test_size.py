"""A page stays under 150 KiB, whatever the night; and what it leaves out it counts."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from skewguard.checks.distribution import Night, check_distribution
from skewguard.config import Drift, Policy
from skewguard.drift.judging import Comparison
from skewguard.findings import Cause, CheckResult, Run
from skewguard.gate import decide
from skewguard.history import Night as Before
from skewguard.history import night_of
from skewguard.profile import TESTED_CATEGORIES, make_bins, profile_column
from skewguard.report.detail import LEVELS, LIMIT
from skewguard.report.html import render_html
from tests.report import samples
from tests.report.test_html import page_of

VIEW = "customer_and_merchant_interaction_statistics_{}"
FEATURE = "customer_lifetime_purchase_behaviour_rolling_window_number_{:03d}"
CAUSES = (Cause.UNIT_SCALE, Cause.NOT_MATERIALIZED, Cause.TYPE_CAST)


def nights_of(run: Run) -> list[Before]:
    return [replace(night_of(run), run_id=f"n{index}") for index in range(14)]


def drifting(features: int) -> CheckResult:
    """As the check has it: every feature drifted against the contract and the nights, for reasons of its own."""
    random = np.random.default_rng(0)
    before, now = pa.array(random.lognormal(3, 1, 5000)), random.lognormal(3.5, 1, 5000)
    bins = make_bins(before, None, TESTED_CATEGORIES)
    moved = profile_column(pa.array(now, mask=random.random(5000) < 0.1), bins)
    comparisons = [
        Comparison(
            VIEW.format(i % 5),
            FEATURE.format(i),
            "DOUBLE",
            against,
            profile_column(before, bins),
            replace(moved, statuses={"NULL_VALUE": moved.nulls - 100 - i, "OUTSIDE_MAX_AGE": 100 + i}),
        )
        for i in range(features)
        for against in ("contract", "nights")
    ]
    return check_distribution(Night(comparisons, services=3, rows=5000, details={"nights": 7}), Drift())


def wrong(features: int) -> CheckResult:
    """Every feature wrong, each with twenty worst rows of long keys."""
    keys = [f"a-rather-long-entity-key-{j:05d}" for j in range(20)]
    findings = tuple(
        samples.finding(
            CAUSES[i % 3],
            VIEW.format(i % 5),
            FEATURE.format(i),
            900 + i,
            samples.ENTITIES,
            message=f"{VIEW.format(i % 5)}.{FEATURE.format(i)}: {900 + i} rows differ, and it is told at length why",
            evidence={"k": 12.5 + i, "residual": 0.25, "share": 0.99, "watermark": "2026-03-11T03:00:00Z"},
            samples=tuple(samples.sample(key, 1.25 * j, 1.5 * j) for j, key in enumerate(keys)),
            first_seen=samples.AS_OF,
        )
        for i in range(features)
    )
    stats = tuple(
        samples.stats(VIEW.format(i % 5), FEATURE.format(i), seed=i, differing=900 + i,
                      causes={CAUSES[i % 3].value: 900 + i})
        for i in range(features)
    )  # fmt: skip
    return CheckResult("parity", "ok", findings, samples.ENTITIES, samples.ENTITIES, 9.1, features=stats)


def bad_night(features: int) -> Run:
    checks = (wrong(features), *samples.clean_checks()[1:], drifting(features))
    decision = decide(checks, Policy().for_service("s"))
    run = samples.run_of(decision.verdict, checks, "19980301-bad", reasons=decision.reasons)
    return replace(run, findings=decision.findings)


@pytest.mark.parametrize("broken", [0, 12, 25, 50])
def test_fifty_features_of_which_some_are_broken(broken: int) -> None:
    run = samples.wide(50, broken, 20)
    assert len(render_html(run, history=nights_of(run)).encode()) < LIMIT


@pytest.mark.parametrize("features", [10, 50, 300])
def test_a_night_on_which_everything_is_wrong_and_drifts(features: int) -> None:
    run = bad_night(features)
    html = render_html(run, history=nights_of(run))
    assert len(html.encode()) < LIMIT == 153_600
    page = page_of(run)
    assert page.text.count("Worst rows") >= LEVELS[-1].panels
    listed = len(re.findall(r'<tr><td class="soft">\d+</td>', html))
    assert listed >= LEVELS[-1].lines
    assert (f"{2 * features - listed} more in run.json." in html) == (listed < 2 * features)
    assert f"and {2 * features - 5} more below" in page.text


def test_what_is_told_of_a_drifted_feature() -> None:
    run = bad_night(1)
    nights = [replace(night, drift={f"{VIEW.format(0)}.{FEATURE.format(0)}": 0.01 * n})
              for n, night in enumerate(nights_of(run))]  # fmt: skip
    html = render_html(run, history=nights)
    assert "<dt>rows that differ (parity)</dt><dd>900 of" in html  # what is known row by row goes first
    section = html[html.index('id="distributions"') :]
    assert section.index("rows that differ (parity)") < section.index("<dt>effect</dt>")
    assert "<dt>without a value now</dt><dd>NULL_VALUE " in html
    assert "OUTSIDE_MAX_AGE 100</dd>" in html
    assert "effect of the last runs, oldest first: 1.0%, 2.0%" in html
