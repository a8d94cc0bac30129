"""What a candidate is scored by: its right predictions on people held out. Child only: the exact number stays there.

Rules
-----
1. A row counts once or not at all: not if it is dead or its score is not finite. So a unit with at most m rows moves
   the number by at most m.
2. Of two classes a row is predicted positive where the log-odds are not below 0; of several it is the first of those
   with the largest score.
3. Whether a row counts depends on that row alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.graph.check import CheckedGraph
from privacy.graph.forward import forward
from privacy.jobs.labels import Target
from privacy.training.rows import Rows

ROWS_AT_ONCE, NUMBERS_AT_ONCE = 4096, 2**24


def right_predictions(model: CheckedGraph, weights: Mapping[str, NDArray[Any]], rows: Rows, target: Target) -> int:
    """How many rows the model predicts right.

    Args:
        model: A graph whose output is the log-odds of the positive class, or a score for each class.
        weights: Its values.
        rows: Encoded rows.
        target: Whether there are two classes or several.
    """
    at_once = max(1, min(ROWS_AT_ONCE, NUMBERS_AT_ONCE // max(1, model.activations_per_row + model.scratch_per_row)))
    shape, right = model.graph.inputs[0].shape, 0
    for start in range(0, len(rows.alive), at_once):
        part = slice(start, start + at_once)
        features = np.ascontiguousarray(rows.features[part])
        outputs = forward(model, weights, features.reshape(len(features), *shape))
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(outputs).all(axis=1))
        known = np.where(finite[:, None], outputs, 0.0)
        predicted = known.argmax(axis=1) if target is Target.CLASSES else known[:, 0] >= 0
        right += int(np.count_nonzero(rows.alive[part] & finite & np.equal(predicted, rows.targets[part])))
    return right
