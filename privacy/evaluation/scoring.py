"""Rows to exact counts: correct and wrong, and scores per class in cells. Child only: exact counts never leave it.

Rules
-----
1. A row falls into exactly one cell of each vector, or, if it is dead or its score is not finite, into none. So a
   unit with at most m rows changes each vector by at most m in Euclidean norm, and that much only if all fall into
   one cell.
2. Cells are fixed beforehand: `bins` equal parts of [0, 1]. Of a binary target they hold the probability of the
   positive class, and a row is predicted positive from one half on; of several classes the probability of the
   predicted one, which is the first of the largest.
3. What a row counts as depends on that row alone, bit for bit: sums over classes run class by class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from privacy.graph.check import CheckedGraph
from privacy.graph.forward import forward, sigmoid
from privacy.jobs.labels import Target
from privacy.training.rows import Rows

ROWS_AT_ONCE, NUMBERS_AT_ONCE = 4096, 2**24
Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactCounts:
    """What is noised before anything leaves.

    Attributes:
        outcomes: Correct and wrong.
        histogram: Negatives by cell, then positives by cell; of several classes, wrong ones by cell, then right ones.
    """

    outcomes: Integers
    histogram: Integers


def count_rows(
    model: CheckedGraph, weights: Mapping[str, NDArray[Any]], rows: Rows, bins: int, target: Target = Target.BINARY
) -> ExactCounts:
    """Score rows and count them.

    Args:
        model: A graph whose output is the log-odds of the positive class, or a score for each class.
        weights: Its values.
        rows: Encoded rows; dead ones count nowhere.
        bins: Cells per class.
        target: Whether there are two classes or several.
    """
    judge = _judged_classes if target is Target.CLASSES else _judged_binary
    at_once = max(1, min(ROWS_AT_ONCE, NUMBERS_AT_ONCE // max(1, model.activations_per_row + model.scratch_per_row)))
    outcomes, histogram = np.zeros(2, dtype=np.int64), np.zeros(2 * bins, dtype=np.int64)
    shape = model.graph.inputs[0].shape
    for start in range(0, len(rows.alive), at_once):
        part = slice(start, start + at_once)
        features = rows.features[part]
        outputs = forward(model, weights, features.reshape(len(features), *shape))
        seen = judge(outputs, rows.targets[part])
        counted = rows.alive[part] & np.isfinite(seen.score)
        cells = np.minimum((seen.score[counted] * bins).astype(np.int64), bins - 1) + bins * seen.second[counted]
        outcomes += np.bincount(seen.wrong[counted].astype(np.int64), minlength=2)
        histogram += np.bincount(cells, minlength=2 * bins)
    return ExactCounts(outcomes=outcomes, histogram=histogram)


@dataclass(frozen=True, slots=True)
class _Judged:
    """Of each row: its score, whether it was predicted wrongly, and whether it belongs to the second half of cells."""

    score: Floats
    wrong: NDArray[np.bool_]
    second: NDArray[np.bool_]


def _judged_binary(outputs: Floats, targets: NDArray[np.float32]) -> _Judged:
    score, positive = sigmoid(outputs[:, 0]), targets > 0.5
    return _Judged(score, (score >= 0.5) != positive, positive)


def _judged_classes(outputs: Floats, targets: NDArray[np.float32]) -> _Judged:
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(outputs).all(axis=1))
    scores = np.where(finite[:, None], outputs, 0.0)
    predicted = scores.argmax(axis=1)
    total = np.zeros(len(scores))
    for column in (scores - scores.max(axis=1, keepdims=True)).T:
        total += np.exp(column)
    right: NDArray[np.bool_] = np.equal(predicted, targets)
    return _Judged(np.where(finite, 1 / total, np.nan), ~right, right)
