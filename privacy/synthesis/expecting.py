"""What each pair of columns would count if they were independent, and how far the rows are from that. Child only.

Rules
-----
1. What is expected follows from the noisy histograms of single columns alone, and is rounded to whole numbers before it
   meets a row: how its floating-point numbers were rounded says nothing of anybody.
2. A pair's score is a sum of whole numbers: one row changes one count by one, so it moves the score by at most one.
3. What is taken off a score for the noise that counting the pair would have depends on the plan alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from privacy.evaluation.counts import without_negatives
from privacy.synthesis.choosing import Pair
from privacy.synthesis.inference import expected_noise

Whole: TypeAlias = NDArray[np.int64]
_LARGEST = 2.0**46
"""Of one expected count: a pair's 2^16 counts of so much still add up in 64 bits, so that no score wraps around."""


def expected_counts(first: Sequence[int], second: Sequence[int], slices: int) -> Whole:
    """Whole counts of a pair of columns that are independent within each slice.

    Args:
        first: A noisy histogram of one column, a slice behind the other.
        second: Of the other column.
        slices: How many.
    """
    left, right = (_sliced(noisy, slices) for noisy in (first, second))
    totals = (left.sum(axis=1) + right.sum(axis=1)) / 2
    products = left[:, :, None] * right[:, None, :]
    scale = totals / np.maximum(left.sum(axis=1) * right.sum(axis=1), 1.0)
    counts = np.clip(products * scale[:, None, None], 0.0, _LARGEST)
    return np.asarray(np.rint(counts), dtype=np.int64).reshape(-1)


def scores(
    noisy: Sequence[Sequence[int]], pairs: Mapping[Pair, Whole], slices: int, deviation: float
) -> dict[Pair, int]:
    """For every pair how far its rows are from independent columns, less what noise would hide of it.

    Guarantee: One row more or less moves each score by at most one.

    Args:
        noisy: A histogram of each column.
        pairs: The exact counts of each pair.
        slices: How many each histogram has.
        deviation: Of the noise that a chosen pair will get.
    """
    found = {}
    for (first, second), exact in pairs.items():
        apart = int(np.abs(exact - expected_counts(noisy[first], noisy[second], slices)).sum())
        found[first, second] = apart - int(expected_noise(deviation, len(exact)))
    return found


def _sliced(noisy: Sequence[int], slices: int) -> NDArray[np.float64]:
    width = len(noisy) // slices
    parts = [without_negatives(noisy[start : start + width]) for start in range(0, len(noisy), width)]
    return np.array(parts, dtype=np.float64)
