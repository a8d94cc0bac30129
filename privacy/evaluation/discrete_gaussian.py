"""Exact samples of the discrete Gaussian on the integers.

Rules
-----
1. Integers and fractions only: the distribution is exact, so no floating-point effect can leak.
2. Randomness comes from `entropy` (in production `os.urandom`), drawn bit for bit as needed; there is no state to seed.
3. Running time varies with the sample. Nobody sees it: results leave together, at a quantised time.

Reference: Canonne, Kamath and Steinke 2020 (arXiv 2004.00010): algorithm 1 (Bernoulli(exp(-gamma))), algorithm 2
(discrete Laplace), algorithm 3 (discrete Gaussian); theorem 4 for its concentrated differential privacy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from math import isqrt

from kernel.errors import InvalidError
from kernel.ids import Entropy


class ExactSource:
    """Exact draws from bytes.

    Args:
        entropy: Where random bytes come from.
    """

    def __init__(self, entropy: Entropy = os.urandom) -> None:
        self._entropy = entropy

    def below(self, bound: int) -> int:
        """A uniform integer in [0, bound), by rejection."""
        if bound < 1:
            raise InvalidError("`bound` must be 1 or more", field="bound")
        bits = (bound - 1).bit_length()
        length = (bits + 7) // 8
        while True:
            drawn = int.from_bytes(self._entropy(length), "big") >> (8 * length - bits)
            if drawn < bound:
                return drawn

    def bernoulli(self, chance: Fraction) -> bool:
        """True with probability `chance`, a fraction in [0, 1]."""
        return self.below(chance.denominator) < chance.numerator

    def bernoulli_exp(self, gamma: Fraction) -> bool:
        """True with probability exp(-gamma), for gamma of 0 or more (algorithm 1)."""
        while gamma > 1:
            if not self._bernoulli_exp_small(Fraction(1)):
                return False
            gamma -= 1
        return self._bernoulli_exp_small(gamma)

    def _bernoulli_exp_small(self, gamma: Fraction) -> bool:
        k = 1
        while self.bernoulli(gamma / k):
            k += 1
        return k % 2 == 1

    def laplace(self, scale: int) -> int:
        """A discrete Laplace integer: probability proportional to exp(-|x| / scale) (algorithm 2)."""
        while True:
            offset = self.below(scale)
            if not self.bernoulli_exp(Fraction(offset, scale)):
                continue
            laps = 0
            while self.bernoulli_exp(Fraction(1)):
                laps += 1
            negative = self.bernoulli(Fraction(1, 2))
            magnitude = offset + scale * laps
            if not (negative and magnitude == 0):
                return -magnitude if negative else magnitude

    def gaussian(self, variance: Fraction) -> int:
        """A discrete Gaussian integer: probability proportional to exp(-x^2 / (2 variance)) (algorithm 3)."""
        if variance <= 0:
            raise InvalidError("`variance` must be above 0", field="variance")
        scale = isqrt(variance.numerator // variance.denominator) + 1
        while True:
            candidate = self.laplace(scale)
            excess = abs(candidate) - variance / scale
            if self.bernoulli_exp(excess * excess / (2 * variance)):
                return candidate

    def gaussians(self, count: int, variance: Fraction) -> Iterator[int]:
        """`count` independent draws."""
        return (self.gaussian(variance) for _ in range(count))
