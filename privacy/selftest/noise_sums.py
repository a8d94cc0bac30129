"""Running sums over noise that should be standard normal and new in every step. Child only.

Rules
-----
1. Kept are sums and the step before, no series of values.
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


class HeardSums:
    """Sums over the steps of a long vector that comes piece by piece, each looked at while it is at hand.

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

    def add(self, piece: Floats, start: int, size: int) -> None:
        """Take in a piece of a step: from coordinate `start` on, of `size`; a step begins at 0."""
        if self._last is None:
            self._last = np.zeros(size)
        if start == 0:
            self.previous = self.squares
        before = self._last[start : start + len(piece)]
        # In the first step what was before is zero.
        self.repeats += float(piece @ before)
        self.squares += float(piece @ piece)
        np.copyto(before, piece)
        self.count += len(piece)


class NoiseSums:
    """The same over a short vector of which several steps come at once.

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

    def add(self, steps: Floats) -> None:
        """Take in some steps, shape [steps, size]: at least one. The last stays in use until the next call."""
        first, last, before, after = steps[0], steps[-1], steps[:-1].reshape(-1), steps[1:].reshape(-1)
        if self._last is not None:
            self.repeats += float(first @ self._last)
            self.previous += self._last_squares
        earlier, self._last_squares = float(before @ before), float(last @ last)
        self.repeats += float(after @ before)
        self.previous += earlier
        self.squares += earlier + self._last_squares
        self.count += steps.size
        self._last = last
