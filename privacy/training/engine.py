"""What an engine is: from units of rows and weights to a sum of clipped gradients. Child only.

Rules
-----
1. A micro-batch has always the same shape: units x rows per unit. Free places are padding that does not count.
2. Of each unit the gradients of its rows are summed, then shortened to the clip. One row per unit is the plain case.
   What a unit adds depends on its own rows, the weights and its place in the micro-batch: never on other rows.
3. A row whose features, gradient or the gradient's norm is not finite contributes exactly zero, by selection, never by
   multiplying with zero. Likewise a unit whose sum overflows. Where the loss alone is not finite, an engine in closed
   form may go on with its finite gradient: that is clipped like any other.
4. An engine with `per_layer` clips each of L weighted nodes to clip / sqrt(L) by itself; together that is never longer
   than the clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """Units with their rows, padded to one shape.

    Attributes:
        features: float32, shape [units, rows_per_unit, width].
        targets: float32, shape [units, rows_per_unit].
        counts: Which places hold a row that counts, shape [units, rows_per_unit].
    """

    features: NDArray[np.float32]
    targets: NDArray[np.float32]
    counts: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClippedSum:
    """What an engine finds for a micro-batch. Private: both are noised before any use.

    Attributes:
        total: The sum of the clipped gradients of the units, float64, flattened in the graph's order.
        within: How many units count and were not shortened, in any group.
    """

    total: Floats
    within: int


class Engine(Protocol):
    """What a run needs: clipped sums at given weights."""

    @property
    def name(self) -> str:
        """Which engine it is: bookkeeping, vmap or opacus."""
        ...

    @property
    def size(self) -> int:
        """How many weights there are."""
        ...

    def set_weights(self, flat: Floats) -> None:
        """Set the weights, flattened in the graph's order."""
        ...

    def clipped_sum(self, batch: MicroBatch, clip: float, into: Floats | None = None) -> ClippedSum:
        """Sum what each unit's gradient is after it was shortened to `clip`.

        The total is written into the vector that the caller gives, else into a new one.
        """
        ...


def written(total: Floats, into: Floats | None) -> Floats:
    """The total in a place of the caller's: the one it gave, or new memory."""
    if into is None:
        return total.copy()
    np.copyto(into, total)
    return into


def flatten(values: Mapping[str, NDArray[Any]], order: Mapping[str, tuple[int, ...]]) -> Floats:
    """Arrays by name -> one float64 vector in the graph's order."""
    return np.concatenate([np.asarray(values[name], dtype=np.float64).reshape(-1) for name in order])


def unflatten(flat: Floats, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Floats]:
    """The inverse of `flatten`."""
    values: dict[str, Floats] = {}
    offset = 0
    for name, shape in shapes.items():
        size = int(np.prod(shape, dtype=np.int64))
        values[name] = flat[offset : offset + size].reshape(shape)
        offset += size
    return values
