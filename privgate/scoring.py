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
from privacy.jobs.extractors import Extractor
from privacy.training.extract import Extraction

NUMBERS_AT_ONCE = 2**22


def outputs_of(
    model: CheckedGraph,
    weights: Mapping[str, Sequence[float]],
    extractor: Extractor | None,
    encoded: Sequence[Sequence[float] | None],
    width: int,
) -> list[list[float] | None]:
    """Compute the outputs of rows.

    Args:
        model: The graph.
        weights: Its values, flat, by name.
        extractor: What stands between the encoded row and the graph, if anything does.
        encoded: Encoded rows; nothing for a row that could not be encoded.
        width: How many numbers an encoded row has.
    """
    shapes = {weight.name: weight.shape for weight in model.graph.weights}
    arrays = {name: np.asarray(values, dtype=np.float32).reshape(shapes[name]) for name, values in weights.items()}
    ready = None if extractor is None else Extraction(extractor)
    at_once = max(1, min(256, NUMBERS_AT_ONCE // (model.activations_per_row + model.scratch_per_row + width)))
    found: list[list[float] | None] = []
    for start in range(0, len(encoded), at_once):
        found += _block(model, arrays, ready, encoded[start : start + at_once], width)
    return found


def _block(
    model: CheckedGraph,
    weights: Mapping[str, Any],
    extraction: Extraction | None,
    encoded: Sequence[Sequence[float] | None],
    width: int,
) -> list[list[float] | None]:
    alive = np.array([row is not None for row in encoded], dtype=np.bool_)
    features = np.zeros((len(encoded), width), dtype=np.float32)
    for place, row in enumerate(encoded):
        if row is not None:
            features[place] = row
    if extraction is not None:
        features, alive = extraction.apply(features, alive)
    outputs = forward(model, weights, features.reshape(len(features), *model.graph.inputs[0].shape))
    alive &= np.isfinite(outputs).all(axis=1)
    return [row.tolist() if counts else None for row, counts in zip(outputs, alive, strict=True)]
