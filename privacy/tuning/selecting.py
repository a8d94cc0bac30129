"""The selection itself: draw how many tries count, run as many as there may be, keep the best. Child only.

Rules
-----
1. The drawn number and each candidate come from exact draws of the operating system's source; nothing can be seeded.
2. Every try is run whole, whether it counts or not: what comes before the comparison does not know.
3. Of equal scores the first is kept. Tries are alike and independent, so that this is as good as a coin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from privacy.accounting.tries import Tries
from privacy.evaluation.discrete_gaussian import ExactSource
from privacy.jobs.search import Search

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tried(Generic[T]):
    """One try: its candidate, its noisy score, and what would leave."""

    places: tuple[int, ...]
    score: int
    result: T


def drawn_number(tries: Tries, source: ExactSource) -> int:
    """How many tries count, drawn exactly from the declared distribution."""
    place, upto = source.below(sum(tries.weights)), 0
    for k, weight in enumerate(tries.weights, start=1):
        upto += weight
        if place < upto:
            return k
    raise AssertionError("a number below the sum lies below some partial sum")


def drawn_candidate(search: Search, source: ExactSource) -> tuple[int, ...]:
    """The places of a candidate, each value of each figure alike."""
    return tuple(source.below(len(searched.values)) for searched in search.figures)


def select(
    tries: Tries, search: Search, attempt: Callable[[tuple[int, ...]], tuple[int, T]], source: ExactSource
) -> Tried[T]:
    """Run the tries and return the best of those that count.

    Args:
        tries: From what their number is drawn.
        search: The candidates.
        attempt: Trains and scores one candidate: its noisy score and what would leave.
        source: Exact draws.

    Guarantee: What `PrivateSelection` prices, if `attempt` is what its `base` says, whatever the candidate.
    """
    count = drawn_number(tries, source)
    best: Tried[T] | None = None
    for number in range(tries.most):
        places = drawn_candidate(search, source)
        score, result = attempt(places)
        counts = number < count
        if counts and (best is None or score > best.score):
            best = Tried(places, score, result)
    assert best is not None  # at least one try counts
    return best
