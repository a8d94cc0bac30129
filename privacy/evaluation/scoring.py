"""Rows to exact counts: correct and wrong, and scores per class in cells. Child only: exact counts never leave it.

Rules
-----
1. A row falls into exactly one cell of each vector, or, if it is dead or its score is not finite, into none. So a
   unit with at most m rows changes each vector by at most m in Euclidean norm, and that much only if all fall into
   one cell.
2. Cells are fixed beforehand: `bins` equal parts of [0, 1]; a row is predicted positive from one half on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from privacy.graph.check import CheckedGraph
from privacy.graph.forward import forward, sigmoid
from privacy.training.rows import Rows

ROWS_AT_ONCE = 4096
Integers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactCounts:
    """What is noised before anything leaves.

    Attributes:
        outcomes: Correct and wrong.
        histogram: Negatives by score cell, then positives by score cell.
    """

    outcomes: Integers
    histogram: Integers


def count_rows(model: CheckedGraph, weights: Mapping[str, NDArray[Any]], rows: Rows, bins: int) -> ExactCounts:
    """Score rows and count them.

    Args:
        model: A graph whose output is the log-odds of the positive class.
        weights: Its values.
        rows: Encoded rows; dead ones count nowhere.
        bins: Cells per class.
    """
    outcomes, histogram = np.zeros(2, dtype=np.int64), np.zeros(2 * bins, dtype=np.int64)
    for start in range(0, len(rows.alive), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        scores = sigmoid(forward(model, weights, rows.features[part])[:, 0])
        counted = rows.alive[part] & np.isfinite(scores)
        scores, positive = scores[counted], rows.targets[part][counted] > 0.5
        wrong = (scores >= 0.5) != positive
        cells = np.minimum((scores * bins).astype(np.int64), bins - 1) + bins * positive
        outcomes += np.bincount(wrong.astype(np.int64), minlength=2)
        histogram += np.bincount(cells, minlength=2 * bins)
    return ExactCounts(outcomes=outcomes, histogram=histogram)
