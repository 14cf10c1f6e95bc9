"""How one feature came through the runs: against the contract, else the nights; nothing for what was not compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skewguard.errors import UnknownNameError
from skewguard.feature_trend import feature_trend
from skewguard.findings import DriftStats, Run
from tests.checks.test_definition import READS, SERVICE
from tests.report import samples

VIEW, FEATURE = READS.name, READS.features[0].name


def run_with(*drift: DriftStats) -> Run:
    check = samples.distribution_check(*drift)
    return replace(samples.passing(), checks=(check,))


def told(status: str, against: str, slice_: str = "") -> DriftStats:
    return samples.drift_stats(VIEW, FEATURE, status=status, against=against, slice=slice_)


@pytest.mark.parametrize(
    ("drift", "status"),
    [
        ([told("same", "nights"), told("drifted", "contract")], "drifted"),
        ([told("same", "contract"), told("drifted", "nights")], "same"),
        ([told("small", "nights")], "small"),
        ([told("drifted", "contract", "region = N")], None),
        ([samples.drift_stats("another", FEATURE)], None),
        ([], None),
    ],
    ids=["both", "contract first", "nights alone", "a slice", "another view", "nothing"],
)
def test_drift_is_against_the_contract_else_the_nights(drift: list[DriftStats], status: str | None) -> None:
    (point,) = feature_trend(SERVICE, f"{VIEW}:{FEATURE}", [run_with(*drift)])
    assert (point.drift, point.mismatch) == (status, None)
    assert (f"drift {status}, effect" in point.line()) == (status is not None)


def test_a_feature_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownNameError, match=f"Did you mean '{VIEW}:{FEATURE}'"):
        feature_trend(SERVICE, f"{VIEW}:{FEATURE}x", [])
