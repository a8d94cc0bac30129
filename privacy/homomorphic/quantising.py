"""Real numbers to whole ones and back: clip, then round on a declared grid.

Rules
-----
1. Grid and bound are declared, never derived from data: they are parameters of privacy as much as of precision.
2. Clipping comes first. What is not a number counts as 0, what is infinite as the bound.
3. Without noise, the nearest grid point. With noise, towards zero: no norm of a vector grows by it, so that a vector of
   L2 norm C becomes one of at most C / quantum whole steps, and the sensitivity that is priced stays true. (Rounding to
   nearest, or at random, adds up to half a step, or one, in every coordinate: with many of them more than the clip.
   Rounding at random under the condition that the norm stays would be unbiased; it is not offered yet.)
   To protect persons, each person's vector is rounded by itself and whole numbers are summed (RULES 37).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernel.checks import finite, positive, whole
from kernel.errors import InvalidError
from privacy.homomorphic.layout import QUANTA_PER_DEVIATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Where numbers may lie: at most `bound` steps of `quantum` away from zero."""

    quantum: float
    bound: int
    noised: bool = False

    def __post_init__(self) -> None:
        positive(quantum=self.quantum)
        whole(1, 2**52, bound=self.bound)

    @classmethod
    def of_bits(cls, clip: float, bits: int = 16) -> Grid:
        """For values up to `clip` in size, of so many bits, sign included; without noise."""
        bound = 2 ** (whole(12, 24, bits=bits) - 1) - 1
        return cls(quantum=positive(clip=clip) / bound, bound=bound)

    @classmethod
    def for_noise(cls, clip: float, deviation: float) -> Grid:
        """For values up to `clip` in size whose sum has noise of this standard deviation: 32 steps to a deviation."""
        quantum = positive(deviation=deviation) / QUANTA_PER_DEVIATION
        bound = finite(bound=positive(clip=clip) / quantum)
        if bound >= 2**52:
            raise InvalidError("the noise is too small beside the clip for a grid", field="deviation")
        return cls(quantum=quantum, bound=max(1, int(bound)), noised=True)

    def quantise(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Clip each value and round it."""
        steps = (
            np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0, posinf=np.inf, neginf=-np.inf) / self.quantum
        )
        clipped = np.clip(steps, -self.bound, self.bound)
        rounded: NDArray[np.float64] = np.trunc(clipped) if self.noised else np.rint(clipped)
        return rounded.astype(np.int64)

    def restore(self, sums: Sequence[int]) -> NDArray[np.float64]:
        """What whole numbers stand for."""
        return np.asarray(sums, dtype=np.float64) * self.quantum
