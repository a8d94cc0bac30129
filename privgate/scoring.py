"""Any released model on encoded rows, with numpy: convolutions, attention, extractors. Needs the extra `train`.

Rules
-----
1. The same functions as the gateway's evaluation: extractor, then graph, in the same arithmetic.
2. A row that cannot be scored gives `None` and disturbs no other row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from privacy.graph.check import CheckedGraph
from privacy.graph.forward import forward
from privacy.jobs.features import FeatureSpec
from privacy.training.extract import Extraction, shortened

NUMBERS_AT_ONCE = 2**22


def outputs_of(
    model: CheckedGraph,
    weights: Mapping[str, Sequence[float]],
    features: FeatureSpec,
    encoded: Sequence[Sequence[float] | None],
    width: int,
) -> list[list[float] | None]:
    """Compute the outputs of rows.

    Args:
        model: The graph.
        weights: Its values, flat, by name.
        features: Its extractor, if there is one, stands between the encoded row and the graph.
        encoded: Encoded rows; nothing for a row that could not be encoded.
        width: How many numbers an encoded row has.
    """
    shapes = {weight.name: weight.shape for weight in model.graph.weights}
    arrays = {name: np.asarray(values, dtype=np.float32).reshape(shapes[name]) for name, values in weights.items()}
    run = _Run(model, arrays, features, width)
    at_once = max(1, min(256, NUMBERS_AT_ONCE // (model.activations_per_row + model.scratch_per_row + width)))
    found: list[list[float] | None] = []
    for start in range(0, len(encoded), at_once):
        found += run.block(encoded[start : start + at_once])
    return found


class _Run:
    def __init__(self, model: CheckedGraph, weights: Mapping[str, Any], features: FeatureSpec, width: int) -> None:
        self._model, self._weights, self._width = model, weights, width
        self._extraction = None if features.extractor is None else Extraction(features.extractor)
        self._norm = None if features.row_norm is None else float(features.row_norm.number)

    def block(self, encoded: Sequence[Sequence[float] | None]) -> list[list[float] | None]:
        """The outputs of some rows."""
        alive = np.array([row is not None for row in encoded], dtype=np.bool_)
        rows = np.zeros((len(encoded), self._width), dtype=np.float32)
        for place, row in enumerate(encoded):
            if row is not None:
                rows[place] = row
        if self._extraction is not None:
            rows, alive = self._extraction.apply(rows, alive)
            if self._norm is not None:
                with np.errstate(all="ignore"):
                    rows = shortened(rows, self._norm).astype(np.float32)
        outputs = forward(self._model, self._weights, rows.reshape(len(rows), *self._model.graph.inputs[0].shape))
        alive &= np.asarray(np.isfinite(outputs).all(axis=1))
        return [values.tolist() if counts else None for values, counts in zip(outputs, alive, strict=True)]
