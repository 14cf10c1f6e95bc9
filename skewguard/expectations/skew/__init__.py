"""Skew as expectations: subclasses of Great Expectations' own, for any checkpoint. Importing this registers them.

They judge a comparison frame (``SkewGuard.comparison``), or any pandas frame with both sides in it; docs/
skew-expectations.md tells each. Importing takes seconds, because it imports GX.
"""

from skewguard.expectations.great_expectations_import import quieten

quieten()

from skewguard.expectations.frames import exact_frame  # noqa: E402
from skewguard.expectations.skew.definitions import ExpectDefinitionsUnchanged  # noqa: E402
from skewguard.expectations.skew.drift import ExpectDriftNotToBeSignificant  # noqa: E402
from skewguard.expectations.skew.for_frame import expectations_for  # noqa: E402
from skewguard.expectations.skew.freshness import ExpectFreshnessToBeBelow  # noqa: E402
from skewguard.expectations.skew.matching import ExpectOnlineToMatchOffline  # noqa: E402
from skewguard.expectations.skew.mismatch_rate import ExpectMismatchRateToBeBelow  # noqa: E402
from skewguard.expectations.skew.null_rate import ExpectNullRateSkewToBeBelow  # noqa: E402

__all__ = [
    "ExpectDefinitionsUnchanged",
    "ExpectDriftNotToBeSignificant",
    "ExpectFreshnessToBeBelow",
    "ExpectMismatchRateToBeBelow",
    "ExpectNullRateSkewToBeBelow",
    "ExpectOnlineToMatchOffline",
    "exact_frame",
    "expectations_for",
]
