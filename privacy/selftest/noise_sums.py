"""Running sums over noise that should be standard normal and new in every step. Child only.

Rules
-----
1. Kept are sums and one copy of the step before, no series of values.
2. Of dead coordinates the sums may be told: they are independent of everything that leaves. **Of live noise nothing
   is told but pass or fail.** The update shows sum + noise to whoever watches; the noise's squared length, say, then
   tells how far the sum points along it, and two runs that differ by one unit could be told apart by it. Pass or fail
   at p < 1e-15 does not: noise is independent of rows, so an honest run passes with probability 1 - 1e-15 whatever the
   rows are, and to see it pass tells nothing that differs between neighbours by more: with two such tests it adds at
   most 2e-15 x e^epsilon to delta.
3. Products are taken with the step before: noise that is stored, seeded or drawn from a repeated key lines up with
   itself.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]


class NoiseSums:
    """Sums over the steps of one vector.

    Attributes:
        count: Numbers seen.
        squares: Sum of their squares.
        repeats: Sum of the products with the same coordinate a step before.
        previous: Sum of squares of those that have a step after them.
    """

    def __init__(self) -> None:
        self.count = 0
        self.squares = 0.0
        self.repeats = 0.0
        self.previous = 0.0
        self._last: Floats | None = None
        self._last_squares = 0.0

    def add(self, values: Floats) -> None:
        """Take in one step's vector; it is copied, so that the caller may reuse its memory."""
        squares = float(values @ values)
        if self._last is None:
            self._last = values.copy()
        else:
            self.repeats += float(values @ self._last)
            self.previous += self._last_squares
            np.copyto(self._last, values)
        self.count += len(values)
        self.squares += squares
        self._last_squares = squares
