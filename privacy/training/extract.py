"""Applying a public feature extractor to encoded rows. Child only, and wherever a trainer scores own rows.

Rules
-----
1. A row's result depends on that row and the extractor alone, bit for bit; rows are computed in blocks that bound
   memory.
2. A dead row stays dead: all zeros. A row whose result is not finite in float32 becomes dead. Nothing is ever raised
   because of a value.
3. Weights are read once, before any row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kernel.errors import InvalidError
from privacy.graph.check import check
from privacy.graph.forward import forward
from privacy.graph.spec import elements
from privacy.graph.weights import NamedArrays
from privacy.jobs.extractors import Extractor, FrozenGraph, Scattering
from privacy.training.scattering import ScatteringTransform

Compute: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]

_BYTES_AT_ONCE: Final = 2**26
_DOUBLE: Final = 8


class Extraction:
    """One extractor, ready to be applied.

    Args:
        extractor: Which.

    Raises:
        InvalidError, TooLargeError, CorruptError: A frozen graph or its weights are not what they must be.
    """

    def __init__(self, extractor: Extractor) -> None:
        self.inputs = extractor.inputs
        self.width = extractor.width
        self._compute, self._rows_at_once = _prepared(extractor)

    def apply(
        self, features: NDArray[np.float32], alive: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Compute the rows that a model reads.

        Args:
            features: Encoded rows, shape [n, inputs].
            alive: Which of them count, shape [n].

        Returns:
            The results, shape [n, width], and which rows count now.
        """
        if features.ndim != 2 or features.shape[1] != self.inputs:
            raise InvalidError(f"the extractor reads rows of {self.inputs} numbers", field="extractor")
        result = np.zeros((len(features), self.width), dtype=np.float32)
        left = np.flatnonzero(alive)
        with np.errstate(all="ignore"):
            for start in range(0, len(left), self._rows_at_once):
                block = left[start : start + self._rows_at_once]
                result[block] = self._compute(features[block])
        finite = np.isfinite(result).all(axis=1)
        result[~finite] = 0
        return result, alive & finite


def shortened(features: NDArray[Any], bound: float) -> NDArray[Any]:
    """Scale each row whose Euclidean norm exceeds `bound` down to it."""
    # Contiguous, so that a row is summed in one order whatever rows stand beside it.
    norms = np.linalg.norm(np.ascontiguousarray(features, dtype=np.float64), axis=1, keepdims=True)
    return features * np.where(norms > bound, bound / norms, 1.0)


def _prepared(extractor: Extractor) -> tuple[Compute, int]:
    if isinstance(extractor, Scattering):
        return ScatteringTransform(extractor), max(1, _BYTES_AT_ONCE // (_DOUBLE * extractor.width))
    return _frozen(extractor)


def _frozen(extractor: FrozenGraph) -> tuple[Compute, int]:
    model = check(extractor.graph)
    weights = dict(NamedArrays.from_bytes(extractor.weights).arrays)
    shape = extractor.graph.inputs[0].shape
    largest = sum(elements(sides) for sides in model.shapes.values())

    def compute(rows: NDArray[Any]) -> NDArray[Any]:
        return forward(model, weights, rows.reshape(len(rows), *shape))

    return compute, max(1, _BYTES_AT_ONCE // (_DOUBLE * largest))
