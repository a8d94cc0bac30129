"""A tighter lower bound from one run, if the whole run is thought of as one Gaussian mechanism. Standard library only.

Rules
-----
1. A mechanism is mu-Gaussian if one unit is as hard to tell as N(0, 1) from N(mu, 1). The guesses refute every mu below
   the bound, at this confidence.
2. It is stated as the epsilon that a mu-Gaussian mechanism has at the population's delta. A sampled, composed run is
   not exactly Gaussian; the figure is therefore information beside `bound`, and gates nothing.

Reference: Mahloujifar, Melis and Chaudhuri 2024 (arXiv 2410.22235), the recursion for guesses with
abstention; Dong, Roth and Su 2022 (arXiv 1905.02383), corollary 2.13, from mu to epsilon.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from privacy.selftest.bound import Guess

_LARGEST = 16.0
_HALVINGS = 15
_NORMAL = NormalDist()
_LEAST = 1e-300


def refutes(guess: Guess, canaries: int, mu: float, error: float) -> bool:
    """Whether so many right guesses are too many for a mu-Gaussian mechanism, but for this probability.

    Walks down from the guesses that were right. `right` and `wrong` bound, from below and in units of the canaries, how
    often that many guesses would have to be right and wrong if no fewer than these were right with probability `error`.
    """
    right = error * guess.correct / canaries
    wrong = error * (guess.guesses - guess.correct) / canaries
    for i in range(guess.correct - 1, -1, -1):
        more = max(wrong, _shifted(right, mu))
        right += i / (guess.guesses - i) * (more - wrong)
        wrong = more
    return right + wrong > guess.guesses / canaries


def gaussian_mu(guesses: Sequence[Guess], canaries: int, confidence: float) -> float:
    """The largest mu that the guesses refute, whichever number of guesses says most (Bonferroni)."""
    return max((_refuted(guess, canaries, (1 - confidence) / len(guesses)) for guess in guesses), default=0.0)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The epsilon of a mu-Gaussian mechanism at delta; 0 if it needs none."""
    if mu <= 0 or _delta(0.0, mu) <= delta:
        return 0.0
    low, high = 0.0, mu * mu / 2 + mu * 40
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _delta(middle, mu) > delta else (low, middle)
    return low


def _refuted(guess: Guess, canaries: int, error: float) -> float:
    low, high = 0.0, _LARGEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if refutes(guess, canaries, middle, error) else (low, middle)
    return low


def _shifted(share: float, mu: float) -> float:
    """How little of N(0, 1) a set can have that has this share of N(mu, 1)."""
    if share >= 1:
        return 1.0
    return _NORMAL.cdf(_NORMAL.inv_cdf(max(share, _LEAST)) - mu)


def _delta(epsilon: float, mu: float) -> float:
    far = _NORMAL.cdf(-epsilon / mu - mu / 2)
    return _NORMAL.cdf(-epsilon / mu + mu / 2) - (math.exp(epsilon) * far if far else 0.0)
