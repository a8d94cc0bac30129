"""The witness of a run: it holds the canaries, sees each step's noise, and reports figures at the end. Child only.

Rules
-----
1. It sees no row, no gradient and no real unit: canaries, dead coordinates and the noise before it is added.
2. What it keeps has a fixed size, and its cost depends on the model's size alone.
3. A step is only copied. Sums, products and scores are taken for a block of steps at once, and at the end for the rest:
   how many steps a block has follows from the declared size of the vector.
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
from privacy.selftest.noise_sums import NoiseSums
from privacy.selftest.report import COORDINATES, GUESSED, WHOLE_LEVEL, Check, SelfTest
from privacy.selftest.tails import drift_p, variance_p

_LARGEST = 1e30
MOST_STEPS = 64
BLOCK = 65_536
"""Numbers of a block: it stays in a core's own cache, and numpy's calls cost little beside it."""


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
        self._whole = NoiseSums()
        self._steps = self._drawn = self._again = self._again_of = self._signals = 0
        self._signal = 0.0
        self._last = np.zeros(coordinates, dtype=np.bool_)
        self._blocks: tuple[_Block, _Block] | None = None

    @property
    def units(self) -> int:
        """How many canary units stand at the end of the population; number i moves dead coordinate i."""
        return self.coordinates

    def moves(self, canaries: Indices) -> Floats:
        """What the drawn canaries add to the dead coordinates, in units of the clip, shape [coordinates]."""
        return self._canaries.moves(canaries)

    def observe(self, *, noise: Floats, dead: Floats, canaries: Indices) -> None:
        """Take in one step.

        Args:
            noise: The whole noise vector before it is added, over its standard deviation; dead coordinates included.
            dead: The dead coordinates of what the update gets: noisy, averaged; over the clip.
            canaries: The numbers of the canaries that were drawn, from 0.
        """
        if self._blocks is None:
            self._blocks = _Block(len(noise), self.coordinates), _Block(len(noise), self.coordinates)
        block = self._blocks[0]
        block.take(noise, dead, canaries)
        if block.full:
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
        """Take in the block's steps and begin another, elsewhere: the last step is needed beside the next."""
        if self._blocks is None or not self._blocks[0].steps:
            return
        block, other = self._blocks
        count = block.steps
        sums, drawn = block.dead[:count] * self._claims.normaliser, block.drawn[:count]
        moved = (drawn & self._canaries.belongs).astype(np.float64)
        rest = np.subtract(sums, moved)
        np.multiply(rest, 1 / self._claims.noise, out=rest)
        self._whole.add(block.noise[:count])
        self._dead.add(rest)
        self._canaries.score(sums)
        self._signal += float(rest.reshape(-1) @ moved.reshape(-1))
        self._signals += int(np.count_nonzero(moved))
        self._count(drawn)
        other.steps = 0
        self._blocks = other, block

    def _count(self, drawn: NDArray[np.bool_]) -> None:
        before = np.concatenate([self._last[None], drawn[:-1]])
        self._again += int(np.count_nonzero(drawn & before))
        self._again_of += int(np.count_nonzero(before))
        self._last = drawn[-1].copy()
        self._drawn += int(np.count_nonzero(drawn))
        self._steps += len(drawn)


class _Block:
    """Copies of a few steps.

    Args:
        size: Of the whole noise vector.
        coordinates: Dead ones.
    """

    def __init__(self, size: int, coordinates: int) -> None:
        self.steps, self._room = 0, max(1, min(MOST_STEPS, BLOCK // max(1, size)))
        self.noise, self.dead = np.empty((self._room, size)), np.empty((self._room, coordinates))
        self.drawn = np.zeros((self._room, coordinates), dtype=np.bool_)

    @property
    def full(self) -> bool:
        """Whether there is no room for another step."""
        return self.steps == self._room

    def take(self, noise: Floats, dead: Floats, canaries: Indices) -> None:
        """Copy a step."""
        at = self.steps
        self.noise[at], self.dead[at] = noise, dead
        drawn = self.drawn[at]
        drawn.fill(False)
        drawn[canaries] = True
        self.steps = at + 1


def _figure(value: float) -> Parameter:
    """A figure as decimal text; what is not finite becomes so large that it fails."""
    held = min(max(value, -_LARGEST), _LARGEST) if math.isfinite(value) else _LARGEST
    return Parameter(Decimal(f"{held:.12e}").quantize(Decimal("1e-6")) if abs(held) < 1e20 else Decimal(f"{held:.6e}"))
