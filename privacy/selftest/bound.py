"""Lower bound on epsilon from one run: how often coins were guessed right. Standard library only.

Rules
-----
1. Under (epsilon, delta) differential privacy for adding or removing one unit, with independent fair coins, the number
   of right guesses among r is at most as large as a binomial with success e^eps / (1 + e^eps), up to m times delta.
2. Several numbers of guesses are tried; each gets its part of the error probability (Bonferroni), so that the best one
   may be picked afterwards.
3. The bound says: with this confidence no smaller epsilon is true. It is empirical; the guarantee is the certificate's.

Reference: Steinke, Nasr and Jagielski 2023 (arXiv 2305.08846), theorem 5.2: P(W >= v) <= b + 2 m delta a, where b is
the binomial's tail at v and a the largest of P(v - i <= B < v) / i over i = 1..v.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kernel.checks import whole
from kernel.events import Record

MOST_CANARIES = 1 << 16
_LARGEST_EPSILON = 64.0
_HALVINGS = 40


@dataclass(frozen=True, kw_only=True)
class Guess(Record):
    """How many of so many guesses were right."""

    guesses: int
    correct: int

    def __post_init__(self) -> None:
        whole(1, MOST_CANARIES, guesses=self.guesses)
        whole(0, self.guesses, correct=self.correct)


def guess_p(guess: Guess, canaries: int, epsilon: float, delta: float) -> float:
    """Upper bound on the probability of at least so many right guesses if the mechanism is (epsilon, delta) private."""
    success = 1 / (1 + math.exp(-epsilon))
    tail = math.fsum(_mass(k, guess.guesses, success) for k in range(guess.correct, guess.guesses + 1))
    share, below = 0.0, 0.0
    for i in range(1, guess.correct + 1):
        below += _mass(guess.correct - i, guess.guesses, success)
        share = max(share, below / i)
    return min(1.0, tail + 2 * canaries * delta * share)


def best_p(guesses: Sequence[Guess], canaries: int, epsilon: float, delta: float) -> float:
    """The same for the most telling of several numbers of guesses, paid for."""
    if not guesses:
        return 1.0
    return min(1.0, len(guesses) * min(guess_p(guess, canaries, epsilon, delta) for guess in guesses))


def lower_bound(guesses: Sequence[Guess], canaries: int, delta: float, confidence: float) -> float:
    """The largest epsilon that the guesses refute at this confidence; 0 if they refute none."""
    refuted, open_ = 0.0, _LARGEST_EPSILON
    for _ in range(_HALVINGS):
        middle = (refuted + open_) / 2
        if best_p(guesses, canaries, middle, delta) <= 1 - confidence:
            refuted = middle
        else:
            open_ = middle
    return refuted


def _mass(successes: int, trials: int, success: float) -> float:
    """Of the binomial, by logarithms."""
    failures = trials - successes
    ways = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(failures + 1)
    # log(1 - success) would lose every digit near success = 1.
    miss = -math.inf if success >= 1 else math.log1p(-success)
    log = ways + successes * math.log(success) + (failures * miss if failures else 0.0)
    return math.exp(log)
