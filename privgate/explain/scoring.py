"""A model as a function of encoded rows, for explaining it. Needs numpy.

Rules
-----
1. The bound on a row's norm is part of the function, not of the encoding: columns are exchanged before it.
2. The score of a binary target is its log-odds, of a class its raw score, of a number the number in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernel.errors import InvalidError
from privacy.graph.forward import forward
from privacy.training.extract import Extraction, shortened
from privgate.encoding import Row, RowEncoder, rows_of
from privgate.models import Model
from privgate.scoring import arrays_of

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Target:
    """Which of a model's scores is explained: one for all rows, or the likeliest class of each."""

    place: int | None
    name: str

    @classmethod
    def of(cls, model: Model, wanted: str | None) -> Target:
        """The score that was named, or what follows from the label."""
        label = model.spec.features.label
        if not model.classes:
            if wanted is not None:
                raise InvalidError("`of` names a class; this model has one score", field="of")
            said = f"log-odds of {label.column}" if label.category or label.above else f"scaled {label.column}"
            return cls(0, said)
        if wanted is None:
            return cls(None, f"score of the likeliest {label.column}")
        if wanted not in model.classes:
            raise InvalidError(f"`of` must be one of {', '.join(model.classes)}", field="of")
        return cls(model.classes.index(wanted), f"score of {label.column} {wanted}")

    def places(self, outputs: Floats) -> NDArray[np.int64]:
        """For each row which output counts."""
        fixed = np.full(len(outputs), self.place or 0, dtype=np.int64)
        return np.asarray(outputs.argmax(axis=1)) if self.place is None else fixed


class Scores:
    """The outputs of encoded rows, [n, width] -> [n, outputs]."""

    def __init__(self, model: Model) -> None:
        features = model.spec.features
        self.model = model
        self.arrays = arrays_of(model.graph, model.weights)
        self.norm = None if features.row_norm is None else float(features.row_norm.number)
        self._extraction = None if features.extractor is None else Extraction(features.extractor)
        self._encoder = RowEncoder(replace(features, row_norm=None), model.schema)

    def encoded(self, rows: Iterable[Row]) -> Floats:
        """The numbers of the raw rows that can be read, before any bound on their norm."""
        found = [numbers for numbers in map(self._encoder.encode, rows_of(rows)) if numbers is not None]
        return np.array(found, dtype=np.float64)

    def __call__(self, encoded: Floats) -> Floats:
        """The outputs."""
        rows: NDArray[Any] = encoded
        if self._extraction is not None:
            rows, _ = self._extraction.apply(encoded.astype(np.float32), np.ones(len(encoded), dtype=np.bool_))
        if self.norm is not None:
            rows = shortened(rows, self.norm)
        return forward(self.model.graph, self.arrays, rows)
