"""The generated cases are what the parity tests take them for: valid, the same for a seed, and of every kind."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings

from skewguard.expectations import great_expectations_import
from skewguard.expectations.rules import _NO_PANDAS, SKEW_RULES
from skewguard.expectations.suites import parse_suite
from tests.expectations.generated import RULES, Case, case, cases
from tests.expectations.oracle import judge


def test_every_expectation_of_gx_is_generated() -> None:
    assert set(RULES) == set(great_expectations_import.load().known()) - set(_NO_PANDAS) - SKEW_RULES


def test_a_seed_is_a_case() -> None:
    assert repr(case(7)) == repr(case(7))
    assert repr(case(7)) != repr(case(8))


def test_cases_hold_and_fail_and_break() -> None:
    seen: Counter[str] = Counter()
    for seed in range(20):
        generated = case(seed)
        suite = parse_suite(generated.document)
        for outcome in judge(generated.table, suite).values():
            seen["broke" if outcome.broke else "holds" if outcome.success else "fails"] += 1
    assert sum(seen.values()) == 200
    assert min(seen[kind] for kind in ("holds", "fails", "broke")) >= 5, seen


@settings(max_examples=50, deadline=None)
@given(cases())
def test_every_case_is_a_valid_suite_on_its_table(generated: Case) -> None:
    suite = parse_suite(generated.document)
    assert set(suite.columns) <= set(generated.table.column_names)
