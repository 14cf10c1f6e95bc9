"""Which of a night's differences are alarms: sure enough over all of its tests, and far enough to matter.

The budget is the share of nights without any drift that may bring a false alarm, over all feature services of a
repository. Each service has an equal part of what is spent of it (its level), whichever of them are checked tonight.
Within a service the tests of all columns, comparisons and slices are corrected together (Benjamini and Hochberg,
"Controlling the false discovery rate", JRSS B 57, 1995): where nothing drifted, any alarm comes in at
most that share of nights; where something did, at most that share of alarms is false.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.special import ndtri

Correction = Literal["benjamini_hochberg", "benjamini_yekutieli", "bonferroni"]

POWER = 0.8
"""Too little data is what would miss a change of the size to be seen more often than one time in five."""


def q_values(chances: Sequence[float], method: Correction = "benjamini_hochberg") -> list[float]:
    """Chances after the correction, in the order given: the least level at which each is an alarm.

    ``benjamini_yekutieli`` (Annals of Statistics 29, 2001) holds however the tests depend on each other; ``bonferroni``
    bounds the chance of any false alarm on nights with true ones, too.
    """
    total = len(chances)
    if not total:
        return []
    if method == "bonferroni":
        return [min(1.0, float(chance) * total) for chance in chances]
    if method == "benjamini_yekutieli":
        dependent = math.fsum(1 / rank for rank in range(1, total + 1))
        return [min(1.0, value * dependent) for value in q_values(chances)]
    order = np.argsort(chances, kind="stable")
    ranked = np.asarray(chances, dtype=np.float64)[order] * total / np.arange(1, total + 1)
    least = np.minimum.accumulate(ranked[::-1])[::-1]
    result = np.empty(total)
    result[order] = np.minimum(least, 1.0)
    return [float(value) for value in result]


SPENT = 0.8
"""Of the budget. The tests of one column depend on one another, and what combines them then lets through a little more
than its level: some 1.25 times, measured (docs/drift.md)."""


def level_of(budget: float, services: int) -> float:
    """A service's part of what is spent of the night's budget."""
    return SPENT * budget / max(services, 1)


def rows_to_see(effect: float, spread: float, chance: float) -> int:
    """Independent rows of a sample in which a change of ``effect`` would be sure, ``POWER`` of the time.

    ``effect`` is a share of rows, ``spread`` the variance of that share in one row (p (1 - p)), ``chance`` the
    two-sided chance that counts as sure. The usual formula of a test of a mean against a much larger reference.
    """
    needed = (ndtri(1 - chance / 2) + ndtri(POWER)) ** 2 * spread / effect**2
    return math.ceil(float(needed))
