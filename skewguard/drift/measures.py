"""The measures of a difference that are told beside an alarm, each declared with its formula.

None of them decides: fixed thresholds on distances fire on small samples and sleep on large ones. Base and root are
part of a name, because "JS 0.1" is three different numbers in three tools. All are of values (nulls and NaN apart) but
for the null rate. p and q are the shares of the reference's and the current values by bin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skewguard.profile import Bins, ColumnProfile

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """One measure: its name, the columns it is for ("numbers", "categories" or "all"), its formula in words, its code.

    ``compute`` takes the reference's and the current profile over the same bins, both with values.
    """

    name: str
    kind: str
    formula: str
    compute: Callable[[ColumnProfile, ColumnProfile], float]


def _shares(profile: ColumnProfile) -> Floats:
    counts = np.array(profile.counts, dtype=np.float64)
    shares: Floats = counts / counts.sum()
    return shares


def _padded(profile: ColumnProfile) -> Floats:
    counts = np.array(profile.counts, dtype=np.float64) + 0.5
    shares: Floats = counts / counts.sum()
    return shares


def psi(reference: ColumnProfile, current: ColumnProfile) -> float:
    """Population stability index, natural logarithm, half a row added to every bin of both sides."""
    p, q = _padded(reference), _padded(current)
    return float(((q - p) * np.log(q / p)).sum())


def _js(reference: ColumnProfile, current: ColumnProfile) -> float:
    p, q = _shares(reference), _shares(current)
    middle = (p + q) / 2
    total = 0.0
    for side in (p, q):
        held = side > 0
        total += 0.5 * float((side[held] * np.log(side[held] / middle[held])).sum())
    return max(total, 0.0)


def js_divergence_base2(reference: ColumnProfile, current: ColumnProfile) -> float:
    """Jensen and Shannon's divergence in bits, from 0 to 1, without a root."""
    return _js(reference, current) / float(np.log(2))


def js_distance_natural(reference: ColumnProfile, current: ColumnProfile) -> float:
    """The root of the divergence in nats, from 0 to 0.833."""
    return float(np.sqrt(_js(reference, current)))


def js_distance_base2(reference: ColumnProfile, current: ColumnProfile) -> float:
    """The root of the divergence in bits, from 0 to 1."""
    return float(np.sqrt(js_divergence_base2(reference, current)))


def l_infinity(reference: ColumnProfile, current: ColumnProfile) -> float:
    """The largest difference of a bin's share."""
    return float(np.abs(_shares(current) - _shares(reference)).max())


def kolmogorov_smirnov(reference: ColumnProfile, current: ColumnProfile) -> float:
    """The largest difference of cumulative shares at a bin's edge; at most the exact statistic of the values."""
    return float(np.abs(np.cumsum(_shares(current) - _shares(reference))).max())


def places(bins: Bins) -> Floats:
    """Where a bin's values are taken to lie: its middle; the first edge for what is below it, the last for above."""
    edges = np.array(bins.edges)
    finite = edges[np.isfinite(edges)]
    edges = np.clip(edges, finite.min(initial=0.0), finite.max(initial=0.0)) if len(finite) < len(edges) else edges
    middle: Floats = np.r_[edges[:1], edges[:-1] / 2 + edges[1:] / 2, edges[-1:]]
    return middle


def wasserstein_over_sd(reference: ColumnProfile, current: ColumnProfile) -> float:
    """Wasserstein's first distance by the reference's standard deviation, all values of a bin at its middle.

    0 where the reference has one value only, and the current values lie there too; infinite where they do not.
    """
    at, p, q = places(reference.bins), _shares(reference), _shares(current)
    at = at / max(float(np.abs(at).max()), 1e-300)  # so that no square overflows
    distance = float((np.abs(np.cumsum(q - p))[:-1] * np.diff(at)).sum())
    deviation = float(np.sqrt(max((p * at**2).sum() - (p * at).sum() ** 2, 0.0)))
    if deviation > 1e-12:
        return distance / deviation
    return 0.0 if distance == 0 else float("inf")


def chi_square(reference: ColumnProfile, current: ColumnProfile) -> float:
    """Pearson's statistic of the table of two rows of counts, bins that both leave empty left out."""
    table = np.array([reference.counts, current.counts], dtype=np.float64)
    table = table[:, table.sum(axis=0) > 0]
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(((table - expected) ** 2 / expected).sum())


def null_rate_change(reference: ColumnProfile, current: ColumnProfile) -> float:
    """The current share of rows without a value (null or NaN) less the reference's."""
    return (current.nulls + current.nans) / current.rows - (reference.nulls + reference.nans) / reference.rows


def unseen_share(_: ColumnProfile, current: ColumnProfile) -> float:
    """The share of the current values that the reference has none of: other categories, or beyond its range."""
    outside = current.counts[-1] + (current.counts[0] if current.bins.edges else 0)
    return outside / sum(current.counts)


MEASURES = (
    Measure("psi", "all", "sum of (q - p) ln(q / p), with half a row added to every bin", psi),
    Measure("js_divergence_base2", "all", "half sum of p log2(p / m) and q log2(q / m); m = (p + q) / 2",
            js_divergence_base2),
    Measure("js_distance_base2", "all", "root of js_divergence_base2", js_distance_base2),
    Measure("js_distance_natural", "all", "root of the divergence with natural logarithms", js_distance_natural),
    Measure("l_infinity", "all", "largest |q - p|", l_infinity),
    Measure("kolmogorov_smirnov", "numbers", "largest |sum of q - p up to an edge|", kolmogorov_smirnov),
    Measure("wasserstein_over_sd", "numbers",
            "sum of |cumulative q - p| times the way to the next bin's middle, by the reference's sd",
            wasserstein_over_sd),
    Measure("chi_square", "all", "sum of (counted - expected)^2 / expected over both sides' bins", chi_square),
    Measure("null_rate_change", "all", "share without a value now - in the reference", null_rate_change),
    Measure("unseen_share", "all", "share of values in no bin of the reference", unseen_share),
)  # fmt: skip
"""Every measure that a report tells, in its order."""


def measured(reference: ColumnProfile, current: ColumnProfile) -> dict[str, float]:
    """The measures that fit the column, by name; only the null rate where a side has no values."""
    if not reference.rows or not current.rows:
        return {}
    if not sum(reference.counts) or not sum(current.counts):
        return {"null_rate_change": null_rate_change(reference, current)}
    kinds = {"all", "numbers"} if reference.bins.edges else {"all", "categories"}
    # where other categories were known but not kept, what is none of them is not unseen
    left_out = {"unseen_share"} if reference.bins.categories and not reference.bins.complete else set()
    return {
        measure.name: measure.compute(reference, current)
        for measure in MEASURES
        if measure.kind in kinds and measure.name not in left_out
    }
