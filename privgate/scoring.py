"""Any released model on encoded rows, with numpy: convolutions, attention, extractors. Needs the extra `train`.

Rules
-----
1. The same functions as the gateway's evaluation: extractor, then graph, in the same arithmetic.
2. A row that cannot be scored gives `None` and disturbs no other row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.graph.check import CheckedGraph
from privacy.graph.forward import forward
from privacy.jobs.features import FeatureSpec
from privacy.schema import TableSchema
from privacy.training.extract import Extraction, shortened
from privgate.encoding import Row, RowEncoder, rows_of

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
    prepare, arrays = Preparation(features, width), arrays_of(model, weights)
    at_once = max(1, min(256, NUMBERS_AT_ONCE // (model.activations_per_row + model.scratch_per_row + width)))
    found: list[list[float] | None] = []
    for start in range(0, len(encoded), at_once):
        rows, alive = prepare(encoded[start : start + at_once])
        outputs = forward(model, arrays, rows.reshape(len(rows), *model.graph.inputs[0].shape))
        alive &= np.asarray(np.isfinite(outputs).all(axis=1))
        found += [values.tolist() if counts else None for values, counts in zip(outputs, alive, strict=True)]
    return found


def arrays_of(model: CheckedGraph, weights: Mapping[str, Sequence[float]]) -> dict[str, NDArray[np.float32]]:
    """Flat values as arrays of the graph's shapes."""
    shapes = {weight.name: weight.shape for weight in model.graph.weights}
    return {name: np.asarray(values, dtype=np.float32).reshape(shapes[name]) for name, values in weights.items()}


class Preparation:
    """From encoded rows to the numbers that a graph reads: extractor, and the bound on a row behind it.

    Args:
        features: What says so.
        width: How many numbers an encoded row has.
    """

    def __init__(self, features: FeatureSpec, width: int) -> None:
        self._width = width
        self._extraction = None if features.extractor is None else Extraction(features.extractor)
        self._norm = None if features.row_norm is None else float(features.row_norm.number)

    def __call__(self, encoded: Sequence[Sequence[float] | None]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The numbers that the graph reads, and which rows count."""
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
        return rows, alive


def model_rows(features: FeatureSpec, schema: TableSchema, rows: Iterable[Row]) -> NDArray[Any]:
    """The numbers that a graph reads, of the raw rows that can be scored: [rows, width]."""
    encoded = [numbers for numbers in map(RowEncoder(features, schema).encode, rows_of(rows)) if numbers is not None]
    prepared, alive = Preparation(features, features.encoded_width(schema))(encoded)
    return prepared[alive]
