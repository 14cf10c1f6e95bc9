"""Random suites on random tables: what SQL judges is what GX judges, and what it leaves to GX says why."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings

from skewguard.expectations.judge import judge_suite
from skewguard.expectations.suites import parse_suite
from tests.expectations import oracle
from tests.expectations.generated import Case, case, cases
from tests.expectations.sql.cases import assert_same


def check(generated: Case) -> int:
    """How many of the rules were judged in SQL, each as GX judges it."""
    suite = parse_suite(generated.document)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy about infinities, of pandas about dates
        found, rows = judge_suite(generated.table, suite)
        outcomes = oracle.judge(generated.table, suite)
    assert rows == generated.table.num_rows
    assert [one.rule.position for one in found] == list(range(len(suite.rules)))
    for one in found:
        if one.judged_by == "sql":
            assert_same(one, outcomes[one.rule.position])
        else:
            assert one.reason
            assert one.outcome.success == outcomes[one.rule.position].success
    return sum(one.judged_by == "sql" for one in found)


@pytest.mark.parametrize("seed", range(7000, 7020))
def test_a_seed(seed: int) -> None:
    check(case(seed))


def test_most_rules_are_compiled() -> None:
    assert sum(check(case(seed)) for seed in range(8)) >= 40


@settings(max_examples=15, deadline=None)
@given(cases(rules=4))
def test_cases(generated: Case) -> None:
    check(generated)
