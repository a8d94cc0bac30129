"""Upper bounds on p-values, each by an exponential inequality. Standard library only.

Rules
-----
1. Every function returns at least the probability that an honest mechanism gives so extreme a value: under the
   hypothesis P(p <= a) <= a for every a, exactly and for every number of samples.
2. No samples prove nothing: p = 1. What is not finite is no honest value: p = 0.

Derivations
-----------
`variance_p`: for X chi-square with n degrees, Markov on exp(tX) at the best t gives P(X/n >= r) <= exp(-n/2 (r - 1 -
ln r)) for r > 1, and the same for <= with r < 1 (Chernoff). Doubled for both sides.
`drift_p`: let x_t be standard normal given the past, weighted by w_t that the past fixes, S = sum w_t x_t and V = sum
w_t^2. Then exp(a S - a^2 V / 2) is a martingale with mean 1 for every a, and so is its mean over a ~ N(0, s^2): exp(s^2
S^2 / (2 (1 + s^2 V))) / sqrt(1 + s^2 V). Markov on that (de la Pena, Lai and Shao 2009, chapter 11).
`rate_p`: let each of V trials succeed with probability q given the past, whatever fixes V. The likelihood ratio of a
Beta(1/2, 1/2) mixture against q is a martingale with mean 1. Markov on that (Robbins 1970; Krichevsky and Trofimov
1981).
"""

from __future__ import annotations

import math

_SHARPNESS = 40.0
"""s^2 times the expected V: the bound is sharpest where S / sqrt(V) is about the root of this, near p = 1e-9."""


def variance_p(squares: float, count: int) -> float:
    """Of the sum of squares of `count` numbers that should be independent standard normal."""
    if count == 0:
        return 1.0
    ratio = squares / count
    if not math.isfinite(ratio) or ratio <= 0:
        return 0.0
    return min(1.0, 2 * math.exp(-count / 2 * (ratio - 1 - math.log(ratio))))


def drift_p(total: float, weight: float, expected: float) -> float:
    """Of a weighted sum of numbers that should each be standard normal given what came before.

    Args:
        total: The sum.
        weight: The sum of the squares of the weights.
        expected: About what `weight` should be, fixed beforehand.
    """
    if expected <= 0:
        return 1.0
    if not (math.isfinite(total) and math.isfinite(weight)) or weight < 0:
        return 0.0
    scale = _SHARPNESS / expected
    spread = 1 + scale * weight
    return min(1.0, math.sqrt(spread) * math.exp(-scale * total * total / (2 * spread)))


def rate_p(successes: int, trials: int, rate: float) -> float:
    """Of successes among trials that should each succeed with probability `rate`, given what came before."""
    if not 0 <= successes <= trials:
        return 0.0
    if rate >= 1:
        return 1.0 if successes == trials else 0.0
    failures = trials - successes
    honest = successes * math.log(rate) + failures * math.log1p(-rate)
    half = 0.5
    mixed = math.lgamma(successes + half) + math.lgamma(failures + half) - math.lgamma(trials + 1) - math.log(math.pi)
    return math.exp(min(0.0, honest - mixed))
