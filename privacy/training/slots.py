"""Which place of which micro-batch a sampled unit lies in: a uniformly random injection. Child only.

Rules
-----
1. Places are drawn anew in each step from the run's own stream, whatever the units' numbers, rows or order.
2. Micro-batches have one shape, and a step has the declared number of them, or a whole multiple where a sample is
   larger than they have room for.
3. Removing a unit leaves the distribution of everybody else's places as it is, at the same number of micro-batches.
   The two neighbouring runs can therefore be coupled so that everybody else lies in the very same places: kernels
   round differently at different places, and so what everybody else adds is bit for bit the same, even under a model
   that is made to amplify rounding.

What remains: a sample that fills a multiple of the declared places exactly takes more micro-batches with one unit more,
and then everybody's places are drawn from more. At true declared sizes that takes a sample of 6 deviations above the
declared batch (`privacy.jobs.plan.performance_of`).

Why it is exactly uniform: given that no two of the random keys are equal, each order of them is equally likely, and
keys of which two are equal are drawn again. How often that happens follows from the number of places alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privacy.jobs.plan import Performance
from privacy.training.sampling import Indices
from privacy.training.stream import NoiseStream

EMPTY = -1
_PACKED = 2**20
"""Up to so many places a key of 64 bits has room for the place's number beside 44 random bits or more."""


def placed(chosen: Indices, performance: Performance, stream: NoiseStream) -> Indices:
    """Put each sampled unit into a place of its own, at random.

    Args:
        chosen: Numbers of units, each at most once.
        performance: How a step is cut.
        stream: Where the places come from.

    Returns:
        Shape [micro-batches, units at once]; `EMPTY` where nobody lies.
    """
    places = np.full(performance.units_at_once * micro_batches(len(chosen), performance), EMPTY, dtype=np.int64)
    # The places with the smallest of independent keys, in the order of the keys: a uniform injection.
    places[_shuffled(len(places), stream)[: len(chosen)]] = chosen
    return places.reshape(-1, performance.units_at_once)


def _shuffled(count: int, stream: NoiseStream) -> Indices:
    """The numbers below `count` in an order of which each is equally likely."""
    while True:
        order, random = _by_keys(count, stream)
        if not np.equal(random[1:], random[:-1]).any():
            return order


def _by_keys(count: int, stream: NoiseStream) -> tuple[Indices, NDArray[np.uint64]]:
    """The numbers in the order of their random keys, and the keys in order."""
    words = stream.words(count)
    if count > _PACKED:
        order = np.argsort(words)
        return order, words[order]
    # The number lies in the lowest bits: sorting values is far quicker than sorting their indices.
    bits = (count - 1).bit_length()
    keys = np.left_shift(np.right_shift(words, bits), bits)
    np.bitwise_or(keys, np.arange(count, dtype=np.uint64), out=keys)
    keys.sort()
    return np.bitwise_and(keys, (1 << bits) - 1).astype(np.int64), np.right_shift(keys, bits)


def micro_batches(sampled: int, performance: Performance) -> int:
    """How many micro-batches a step takes: the declared number, or the least multiple of it that has room."""
    room = performance.units_at_once * performance.least_micro_batches
    return performance.least_micro_batches * max(1, -(-sampled // room))
