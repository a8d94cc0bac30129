"""The witness of a run: it holds the canaries, sees each step's noise, and reports figures at the end. Child only.

Rules
-----
1. It sees no row, no gradient and no real unit: canaries, dead coordinates and the noise before it is added.
2. What it keeps has a fixed size, and its cost depends on the model's size alone.
3. Of dead coordinates a step is only copied. Sums, products and scores are taken for a block of steps at once, and at
   the end for the rest. The whole vector's noise is summed piece by piece, as it is drawn.
4. It begins anew with each attempt: a savepoint carries noisy state only, so a resumed run is watched from its
   savepoint on, with fresh coins.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from kernel.events import Parameter
from kernel.ids import Entropy
from privacy.selftest.bound import Guess
from privacy.selftest.canaries import Canaries, Floats, Indices
from privacy.selftest.claims import Claims
from privacy.selftest.noise_sums import HeardSums, NoiseSums
from privacy.selftest.report import COORDINATES, GUESSED, WHOLE_LEVEL, Check, SelfTest
from privacy.selftest.tails import drift_p, variance_p

_LARGEST = 1e30
MOST_STEPS = 64
"""Steps of a block: numpy's calls cost little beside it."""


class Witness:
    """Watches one attempt.

    Args:
        claims: What the plan says.
        coordinates: Dead coordinates; as many canaries.
        entropy: Where the coins come from.
    """

    def __init__(self, claims: Claims, coordinates: int = COORDINATES, entropy: Entropy = os.urandom) -> None:
        self.coordinates = coordinates
        self._claims = claims
        self._canaries = Canaries(coordinates, claims, entropy)
        self._dead = NoiseSums()
        self._whole = HeardSums()
        self._steps = self._drawn = self._again = self._again_of = self._signals = 0
        self._signal = 0.0
        self._last = np.zeros(coordinates, dtype=np.bool_)
        self._heard, self._size = 0, -1
        self._block = _Block(coordinates)

    @property
    def units(self) -> int:
        """How many canary units stand at the end of the population; number i moves dead coordinate i."""
        return self.coordinates

    def moves(self, canaries: Indices) -> Floats:
        """What the drawn canaries add to the dead coordinates, in units of the clip, shape [coordinates]."""
        return self._canaries.moves(canaries)

    def hear(self, noise: Floats, start: int, size: int) -> None:
        """Take in a piece of a step's noise.

        Args:
            noise: Before it is added, over its standard deviation; dead coordinates included.
            start: The piece's first coordinate.
            size: How many coordinates the whole vector has: the same in every step.
        """
        self._whole.add(noise, start, size)
        self._heard, self._size = self._heard + len(noise), size

    def observe(self, *, dead: Floats, canaries: Indices) -> None:
        """End a step whose noise was heard.

        Args:
            dead: The dead coordinates of what the update gets: noisy, averaged; over the clip.
            canaries: The numbers of the canaries that were drawn, from 0.

        Raises:
            ValueError: Its noise was not heard whole.
        """
        if self._heard != self._size:
            raise ValueError("a step ends when all of its noise was heard")
        self._heard = 0
        self._block.take(dead, canaries)
        if self._block.steps == MOST_STEPS:
            self._settle()

    def report(self, rehearsed: Sequence[Check] = ()) -> SelfTest:
        """The figures.

        Args:
            rehearsed: Which checks passed on made-up rows.
        """
        self._settle()
        return SelfTest(
            coordinates=self.coordinates,
            steps=self._steps,
            squares=_figure(self._dead.squares),
            repeats=_figure(self._dead.repeats),
            previous=_figure(self._dead.previous),
            signal=_figure(self._signal),
            signals=self._signals,
            drawn=self._drawn,
            again=self._again,
            again_of=self._again_of,
            guesses=self._guesses(),
            whole_variance=variance_p(self._whole.squares, self._whole.count) >= WHOLE_LEVEL,
            whole_repeats=self._whole_repeats_p() >= WHOLE_LEVEL,
            rehearsed=tuple(rehearsed),
        )

    def _whole_repeats_p(self) -> float:
        pairs = self._whole.count * (self._steps - 1) // max(1, self._steps)
        return drift_p(self._whole.repeats, self._whole.previous, pairs)

    def _guesses(self) -> tuple[Guess, ...]:
        counts = [count for count in GUESSED if count <= self.coordinates]
        return tuple(Guess(guesses=count, correct=self._canaries.correct(count)) for count in counts)

    def _settle(self) -> None:
        """Take in the block's steps and begin another."""
        count = self._block.steps
        if not count:
            return
        sums, drawn = self._block.dead[:count] * self._claims.normaliser, self._block.drawn[:count]
        moved = (drawn & self._canaries.belongs).astype(np.float64)
        rest = np.subtract(sums, moved)
        np.multiply(rest, 1 / self._claims.noise, out=rest)
        self._dead.add(rest)
        self._canaries.score(sums)
        self._signal += float(rest.reshape(-1) @ moved.reshape(-1))
        self._signals += int(np.count_nonzero(moved))
        self._count(drawn)
        self._block.steps = 0

    def _count(self, drawn: NDArray[np.bool_]) -> None:
        before = np.concatenate([self._last[None], drawn[:-1]])
        self._again += int(np.count_nonzero(drawn & before))
        self._again_of += int(np.count_nonzero(before))
        self._last = drawn[-1].copy()
        self._drawn += int(np.count_nonzero(drawn))
        self._steps += len(drawn)


class _Block:
    """Copies of the dead coordinates of a few steps."""

    def __init__(self, coordinates: int) -> None:
        self.steps = 0
        self.dead = np.empty((MOST_STEPS, coordinates))
        self.drawn = np.zeros((MOST_STEPS, coordinates), dtype=np.bool_)

    def take(self, dead: Floats, canaries: Indices) -> None:
        """Copy a step."""
        at = self.steps
        self.dead[at] = dead
        drawn = self.drawn[at]
        drawn.fill(False)
        drawn[canaries] = True
        self.steps = at + 1


def _figure(value: float) -> Parameter:
    """A figure as decimal text; what is not finite becomes so large that it fails."""
    held = min(max(value, -_LARGEST), _LARGEST) if math.isfinite(value) else _LARGEST
    return Parameter(Decimal(f"{held:.12e}").quantize(Decimal("1e-6")) if abs(held) < 1e20 else Decimal(f"{held:.6e}"))
