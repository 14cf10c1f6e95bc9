"""ExpectDriftNotToBeSignificant: a column against the profile that a contract holds of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
from great_expectations.compatibility.pydantic import Field

from skewguard.checks.distribution import DRIFT_STATUSES, Night, check_distribution
from skewguard.contract import FeatureContract
from skewguard.drift.alarms import Correction
from skewguard.drift.judging import Comparison
from skewguard.errors import BadInputError, UnknownNameError
from skewguard.expectations.skew import arguments
from skewguard.expectations.skew.base import SkewBatchExpectation, judge
from skewguard.expectations.skew.series import to_arrow
from skewguard.profile import Bins, ColumnProfile, numbers_of, profile_column

_PARTS = {"values": "moved to other values", "nulls": "gained or lost their value", "unseen": "hold values never seen"}


@dataclass(frozen=True)
class _Limits:
    """What the distribution check takes from policy."""

    budget: float
    min_effect: float
    min_rate_change: float
    detect: float
    correction: Correction = "bonferroni"
    min_auc: float = 0.53


class ExpectDriftNotToBeSignificant(SkewBatchExpectation):
    """Expect a column not to have drifted from a profile: the distribution check's own test (docs/drift.md).

    It drifted where the difference is sure (p <= budget / tests) and far enough: ``min_effect`` of the rows moved to
    other values, or ``min_rate_change`` of them gained or lost their value or hold one never seen. Where the data are
    too few for a change of ``detect`` to be seen four times in five, it does not hold, and says so in
    ``inconclusive``.

    ``profile``: a column's, as a contract holds it; it stays in the suite, so that nothing else is needed to run it
    (``of_contract`` takes it from one). Left out, only skewguard's nightly check can judge, by the contract in force.
    ``tests``: how many such expectations share the budget of false alarms. ``as_of_column``: for columns of moments,
    which are profiled as ages.
    """

    column: str = Field(min_length=1)
    profile: dict[str, Any] | None = None
    budget: arguments.Number = 0.01
    tests: int = 1
    min_effect: arguments.Number = 0.02
    min_rate_change: arguments.Number = 0.01
    detect: arguments.Number = 0.1
    as_of_column: str | None = None

    _profile = arguments.checked("profile", by=arguments.profile)
    _chances = arguments.checked("budget", "detect", by=arguments.above_zero_below_one)
    _shares = arguments.checked("min_effect", "min_rate_change", by=arguments.share)
    _tests = arguments.checked("tests", by=arguments.count)

    success_keys: ClassVar[tuple[str, ...]] = (
        "column", "profile", "budget", "tests", "min_effect", "min_rate_change", "detect", "as_of_column",
    )  # fmt: skip
    args_keys: ClassVar[tuple[str, ...]] = ("column",)

    class Config:  # noqa: D106
        title = "Expect drift not to be significant"

    @classmethod
    def of_contract(cls, contract: FeatureContract, feature: str, column: str, **kwargs: Any) -> Any:
        """The expectation on ``column`` against a contract's profile of a feature (``<view>__<feature>``).

        Raises UnknownNameError.
        """
        profiles = contract.view_profiles
        if feature not in profiles:
            raise UnknownNameError(f"feature in the contract of {contract.service!r}", feature, profiles)
        return cls(column=column, profile=dict(profiles[feature]), **kwargs)

    def columns_needed(self) -> list[str]:
        """The column and its as-of times."""
        return [self.column, *([self.as_of_column] if self.as_of_column else [])]

    def judged(self, frame: Any) -> tuple[bool, dict[str, Any]]:
        """The distribution check of this one comparison."""
        if self.profile is None:
            raise BadInputError("profile", "none", "a column's profile; ExpectDriftNotToBeSignificant.of_contract")
        reference = ColumnProfile.from_dict(self.profile)
        array = _fitting(to_arrow(frame[self.column], self.column), reference.bins, self.column)
        moments = None if self.as_of_column is None else to_arrow(frame[self.as_of_column], self.as_of_column)
        current = profile_column(array, reference.bins, as_of=moments)
        if not current.rows or not reference.rows:
            lacking = "no rows to compare" if not current.rows else "the profile is of no rows"
            return False, {"observed_value": None, "element_count": current.rows, "inconclusive": lacking}
        limits = _Limits(
            arguments.number(self.budget) / self.tests,
            arguments.number(self.min_effect),
            arguments.number(self.min_rate_change),
            arguments.number(self.detect),
        )
        comparison = Comparison("", self.column, "", "contract", reference, current)
        found = check_distribution(Night([comparison], rows=current.rows), limits)
        (stats,) = found.drift
        result: dict[str, Any] = {
            "observed_value": stats.effect,
            "element_count": stats.current_rows,
            "status": stats.status,
            "part": stats.part,
            "p_value": stats.p_value,
            "level": stats.level,
            "min_effect": stats.min_effect,
            "reference_rows": stats.reference_rows,
            "rows_needed": stats.rows_needed,
            "labels": list(stats.labels),
            "reference": list(stats.reference),
            "current": list(stats.current),
            "measures": {name: value for name, value in stats.measures.items() if value != float("inf")},
        }
        if stats.status == "inconclusive":
            result["inconclusive"] = found.reason
        return stats.status in ("same", "small"), result

    def _validate(self, metrics: Any, runtime_configuration: Any = None, execution_engine: Any = None) -> Any:
        del runtime_configuration, execution_engine
        return judge(self, metrics)

    @classmethod
    def sentence(cls, arguments: Mapping[str, Any]) -> str:
        """What is expected."""
        shared = "" if arguments["tests"] == 1 else ", shared by $tests tests"
        return (
            "$column must not have drifted from the contract's profile: no sure difference "
            f"(false alarms: $budget_percent %{shared}) of $min_effect_percent % of the rows or more."
        )

    @classmethod
    def observed(cls, result: Mapping[str, Any]) -> str:
        """What was seen."""
        status, part = DRIFT_STATUSES[result["status"]], _PARTS[result["part"]]
        rows, reference = result["element_count"], result["reference_rows"]
        return (
            f"{status}: {100 * result['observed_value']:.4g} % of rows {part} (p = {result['p_value']:.2g} against "
            f"{result['level']:.2g}; {rows:,} rows against {reference:,})"
        )


def _fitting(array: pa.Array, bins: Bins, name: str) -> pa.Array:
    """The column, if it is of the kind that the bins are of; one that is all null is of any."""
    if pa.types.is_null(array.type):
        return array.cast(pa.float64() if bins.ordered else pa.string())
    by_number = numbers_of(array.slice(0, 0), array.slice(0, 0) if pa.types.is_timestamp(array.type) else None)
    if (bins.edges and by_number is None) or (bins.categories and by_number is not None):
        kind = "numbers" if bins.edges else "categories"
        raise BadInputError(f"column {name!r}", str(array.type), f"{kind}, of which the profile is")
    return array
