"""Chances under no drift: tail probabilities that hold far out, where alarms are decided, and at small samples.

Sizes are effective ones (rows worth of independent data), and need not be whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from scipy.stats import chi2, hypergeom

Floats = npt.NDArray[np.float64]

_STEPS = 60
_SURE = 1e-300
"""The least chance told; nothing is impossible."""
_HIGHEST = 0.99
"""Chances above it count as it in a combination."""


def means_apart(scores: Floats, shares: Floats, sizes: tuple[float, float], distance: float) -> float:
    """Two-sided chance that the mean scores of two samples lie ``distance`` or more apart.

    Both are drawn from cells with these ``shares`` and ``scores`` (shape (cells,)). A saddlepoint approximation:
    Barndorff-Nielsen, "Inference on full or partial parameters", Biometrika 73 (1986), with the cumulants of the
    difference of two means.
    """
    centred = scores - (scores * shares).sum()
    variance = float((centred * centred * shares).sum()) * (1 / sizes[0] + 1 / sizes[1])
    if variance <= 0:
        return 1.0
    upper = _upper_tail(centred, shares, sizes, (abs(distance), variance))
    lower = _upper_tail(-centred, shares, sizes, (abs(distance), variance))
    return min(1.0, max(upper + lower, _SURE))


def _upper_tail(scores: Floats, shares: Floats, sizes: tuple[float, float], at: tuple[float, float]) -> float:
    """The chance of a difference of ``at[0]`` or more; ``at[1]`` is its variance."""
    distance, variance = at
    normal = float(ndtr(-distance / math.sqrt(variance)))
    if distance < 0.5 * math.sqrt(variance):
        return normal  # near the middle the saddlepoint formula is 0 / 0, and the normal one is right
    if distance >= scores.max() - scores.min():
        return 0.0
    point, low, high = distance / variance, 0.0, math.inf
    for _ in range(_STEPS):
        value, slope, curve = _cumulants(scores, shares, sizes, point)
        low, high = (point, high) if slope < distance else (low, point)
        if abs(slope - distance) <= 1e-9 * distance:
            break
        step = point + (distance - slope) / curve if curve > 0 else math.inf
        if not low < step < high:
            step = 2 * point if math.isinf(high) else (low + high) / 2
        if not math.isfinite(step) or step > 1e15:
            return 0.0
        point = step
    signed = math.sqrt(max(2 * (point * distance - value), 0.0))
    scaled = point * math.sqrt(max(curve, 0.0))
    if signed < 1e-6 or scaled <= 0:
        return normal
    return float(ndtr(-(signed + math.log(scaled / signed) / signed)))


def _cumulants(scores: Floats, shares: Floats, sizes: tuple[float, float], t: float) -> tuple[float, float, float]:
    """The cumulant generating function of the difference of two means at ``t``, its slope and its curvature."""
    value = slope = curve = 0.0
    for size, sign in zip(sizes, (1.0, -1.0), strict=True):
        exponent = sign * t * scores / size
        most = float(exponent.max())
        tilted = shares * np.exp(exponent - most)
        total = float(tilted.sum())
        mean = float((tilted * scores).sum()) / total
        value += size * (math.log(total) + most)
        slope += sign * mean
        curve += (float((tilted * scores * scores).sum()) / total - mean * mean) / size
    return value, slope, curve


def rates_apart(counts: tuple[float, float], sizes: tuple[float, float]) -> float:
    """Two-sided chance that two rates of ``counts`` in ``sizes`` differ so much: Fisher's exact test, twice its smaller
    tail. Effective counts are rounded down, and so lean to "no difference"; where both are large the two differ by
    nothing and the saddlepoint formula stands in.
    """
    pooled = (counts[0] + counts[1]) / (sizes[0] + sizes[1])
    if pooled <= 0 or pooled >= 1:
        return 1.0
    if min(sizes) * min(pooled, 1 - pooled) > 200:
        scores, shares = np.array([0.0, 1.0]), np.array([1 - pooled, pooled])
        return means_apart(scores, shares, sizes, counts[0] / sizes[0] - counts[1] / sizes[1])
    hits, others = int(counts[0]), int(counts[1])
    drawn = max(int(sizes[0]), hits)
    total = drawn + max(int(sizes[1]), others)
    more = float(hypergeom.sf(hits - 1, total, hits + others, drawn))
    fewer = float(hypergeom.cdf(hits, total, hits + others, drawn))
    return min(1.0, max(2 * min(more, fewer), _SURE))


def sum_of_squares(value: float, weights: Floats) -> float:
    """The chance that a sum of squares of independent standard normals, times ``weights``, is ``value`` or more.

    Source: Kuonen, "Saddlepoint approximations for distributions of quadratic forms in normal variables",
    Biometrika 86 (1999); in the middle Satterthwaite's scaled chi-square.
    """
    weights = weights[weights > 1e-9 * weights.max(initial=0.0)]
    if not len(weights) or value <= 0:
        return 1.0
    mean = float(weights.sum())
    if value <= 1.2 * mean:
        scale = float((weights**2).sum()) / mean
        return float(chi2.sf(value / scale, mean / scale))
    low, high = 0.0, (1 - 1e-12) / (2 * float(weights.max()))
    for _ in range(_STEPS):
        point = (low + high) / 2
        below = float((weights / (1 - 2 * point * weights)).sum()) < value
        low, high = (point, high) if below else (low, point)
    damped = 1 - 2 * point * weights
    signed = math.sqrt(max(2 * (point * value + 0.5 * float(np.log(damped).sum())), 1e-12))
    scaled = point * math.sqrt(2 * float((weights**2 / damped**2).sum()))
    return max(float(ndtr(-(signed + math.log(scaled / signed) / signed))), _SURE)


def combined(chances: Sequence[float], weights: Sequence[float]) -> float:
    """One chance of several that may depend on each other in any way: the Cauchy combination test.

    Source: Liu and Xie, "Cauchy combination test", JASA 115 (2020), truncated on the left as in Fang et al.,
    "Heavy-tailed distribution for combining dependent p-values", Statistica Sinica 33 (2023): tests of counts often
    have a chance of 1, which must not outvote the others. ``weights`` need not add up to 1.
    """
    total = math.fsum(weights)
    statistic = 0.0
    for chance, weight in zip(chances, weights, strict=True):
        share = weight / total
        if chance < 1e-8:
            statistic += share / (max(chance, _SURE) * math.pi)
        else:
            statistic += share * math.tan((0.5 - min(chance, _HIGHEST)) * math.pi)
    if statistic > 1e8:
        return max(1 / (statistic * math.pi), _SURE)
    return min(1.0, max(0.5 - math.atan(statistic) / math.pi, _SURE))
