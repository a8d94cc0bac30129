"""Rows to exact sums: what each measure of a plan adds up. Child only: exact sums never leave it.

Rules
-----
1. A row adds to each vector once, or, if it is dead or its score is not finite, nowhere; to subgroups also nowhere if
   it has none of their categories. What it adds has at most the norm that the measure declares, so that a unit with at
   most m rows moves each vector by at most m times that, in Euclidean norm.
2. Cells are fixed beforehand: `bins` equal parts of [0, 1]. Of a binary target they hold the probability of the
   positive class, and a row is predicted positive from one half on; of several classes the probability of the
   predicted one, which is the first of the largest.
3. What a row adds depends on that row alone, bit for bit: sums over classes run class by class, and every number that
   is added is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from privacy.graph.check import CheckedGraph
from privacy.graph.forward import forward, sigmoid
from privacy.jobs.evaluation_measures import ERROR_SCALES, GROUP_CELLS, GROUP_SCALES, Measure, Part
from privacy.jobs.labels import Target
from privacy.training.rows import Rows

ROWS_AT_ONCE, NUMBERS_AT_ONCE = 4096, 2**24
NO_GROUP = -1
Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be counted.

    Attributes:
        measures: The vectors of the plan, in order.
        target: What the model predicts.
        error_bound: Of a number: the part of the label's range that an error counts at most.
    """

    measures: tuple[Measure, ...]
    target: Target
    error_bound: float = 1.0


def count_rows(
    model: CheckedGraph,
    weights: Mapping[str, NDArray[Any]],
    rows: Rows,
    wanted: Wanted,
    groups: Integers | None = None,
) -> list[Integers]:
    """Score rows and add up each measure.

    Args:
        model: A graph whose output is the log-odds of the positive class, a score for each class, or a number.
        weights: Its values.
        rows: Encoded rows; dead ones count nowhere.
        wanted: What to count.
        groups: For each row, and each measure of subgroups in order, the place of its category, or `NO_GROUP`.
    """
    if groups is None:
        groups = np.zeros((len(rows.alive), 0), dtype=np.int64)
    at_once = max(1, min(ROWS_AT_ONCE, NUMBERS_AT_ONCE // max(1, model.activations_per_row + model.scratch_per_row)))
    sums = [np.zeros(measure.cells, dtype=np.int64) for measure in wanted.measures]
    shape, judge = model.graph.inputs[0].shape, _JUDGES[wanted.target]
    for start in range(0, len(rows.alive), at_once):
        part = slice(start, start + at_once)
        features = np.ascontiguousarray(rows.features[part])
        outputs = forward(model, weights, features.reshape(len(features), *shape))
        seen = judge(outputs, rows.targets[part], wanted.error_bound)
        counted = rows.alive[part] & seen.scored
        grouped = iter(groups[part][counted].T)
        for total, measure in zip(sums, wanted.measures, strict=True):
            total += _added(measure, seen.of(counted), wanted.target, grouped)
    return sums


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """Rows after scoring.

    Attributes:
        score: The probability of the positive or of the predicted class; of a number, its error over the error's bound.
        actual, predicted: The classes; of a number, `actual` is its label on `LABEL_GRID`.
        second: Whether the row belongs to the second half of the scores.
        scored: Whether it could be scored.
    """

    score: Floats
    actual: Integers
    predicted: Integers
    second: NDArray[np.bool_]
    scored: NDArray[np.bool_]

    def of(self, counted: NDArray[np.bool_]) -> _Judged:
        """Some of the rows."""
        return _Judged(
            score=self.score[counted],
            actual=self.actual[counted],
            predicted=self.predicted[counted],
            second=self.second[counted],
            scored=self.scored[counted],
        )


LABEL_GRID: Final = 2**24
"""Labels lie between -1 and 1 in float32; on this grid nothing of them is lost that the sums would show."""


def _judged_binary(outputs: Floats, targets: NDArray[np.float32], _: float) -> _Judged:
    score, positive = sigmoid(outputs[:, 0]), targets > 0.5
    return _Judged(
        score=score,
        actual=positive.astype(np.int64),
        predicted=(score >= 0.5).astype(np.int64),
        second=positive,
        scored=np.asarray(np.isfinite(score)),
    )


def _judged_classes(outputs: Floats, targets: NDArray[np.float32], _: float) -> _Judged:
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(outputs).all(axis=1))
    scores = np.where(finite[:, None], outputs, 0.0)
    predicted = scores.argmax(axis=1)
    total = np.zeros(len(scores))
    for column in (scores - scores.max(axis=1, keepdims=True)).T:
        total += np.exp(column)
    actual = targets.astype(np.int64)
    return _Judged(score=1 / total, actual=actual, predicted=predicted, second=predicted == actual, scored=finite)


def _judged_number(outputs: Floats, targets: NDArray[np.float32], error_bound: float) -> _Judged:
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(outputs[:, 0]))
    predicted = np.where(finite, outputs[:, 0], 0.0)
    label = np.clip(targets.astype(np.float64), -1.0, 1.0)
    # Half of both first: the difference of two very large numbers must not overflow.
    error = np.abs(predicted / 2 - label / 2) / error_bound
    nothing = np.zeros(len(label), dtype=np.int64)
    return _Judged(
        score=np.minimum(error, 1.0),
        actual=np.rint(label * LABEL_GRID).astype(np.int64),
        predicted=nothing,
        second=nothing.astype(np.bool_),
        scored=finite,
    )


_JUDGES: Final = {
    Target.BINARY: _judged_binary,
    Target.CLASSES: _judged_classes,
    Target.REAL: _judged_number,
}


def _added(measure: Measure, rows: _Judged, target: Target, grouped: Iterator[Integers]) -> Integers:
    """What rows add to one vector."""
    match measure.part:
        case Part.OUTCOMES:
            return _counted((rows.actual != rows.predicted).astype(np.int64), measure.cells)
        case Part.CONFUSION:
            classes = round(measure.cells**0.5)
            return _counted(rows.actual * classes + rows.predicted, measure.cells)
        case Part.SCORES:
            bins = measure.cells // 2
            cells = np.minimum((rows.score * bins).astype(np.int64), bins - 1)
            return _counted(cells + bins * rows.second, measure.cells)
        case Part.ERRORS:
            return np.array([column.sum() for column in _powers(rows)], dtype=np.int64)
        case Part.SUBGROUPS:
            return _by_group(measure, rows, target, next(grouped))


def _counted(cells: Integers, length: int) -> Integers:
    return np.bincount(cells, minlength=length).astype(np.int64)


def _powers(rows: _Judged) -> Sequence[Integers]:
    """What each row adds to the sums of errors: each at most its scale."""
    error, label = rows.score, rows.actual / LABEL_GRID
    values = (np.ones(len(error)), error, error * error, (error * error) ** 2, label, label * label)
    return [np.rint(value * scale).astype(np.int64) for value, scale in zip(values, ERROR_SCALES, strict=True)]


def _by_group(measure: Measure, rows: _Judged, target: Target, places: Integers) -> Integers:
    known, width = places != NO_GROUP, GROUP_CELLS[target]
    if target is Target.REAL:
        sums = np.zeros((measure.cells // width, width), dtype=np.int64)
        error = np.rint(rows.score * GROUP_SCALES[1]).astype(np.int64)
        added = np.stack([np.full(len(error), GROUP_SCALES[0], dtype=np.int64), error], axis=1)
        np.add.at(sums, places[known], added[known])
        return sums.reshape(-1)
    within = rows.actual * 2 + rows.predicted if target is Target.BINARY else rows.second.astype(np.int64)
    return _counted((places * width + within)[known], measure.cells)
