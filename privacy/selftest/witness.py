"""The witness of a run: it holds the canaries, sees each step's noise, and reports figures at the end. Child only.

Rules
-----
1. It sees no row, no gradient and no real unit: canaries, dead coordinates and the noise before it is added.
2. What it keeps has a fixed size, and its cost depends on the model's size alone.
3. It begins anew with each attempt: a savepoint carries noisy state only, so a resumed run is watched from its
   savepoint on, with fresh coins.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from kernel.events import Parameter
from kernel.ids import Entropy
from privacy.selftest.bound import Guess
from privacy.selftest.canaries import Canaries, Floats, Indices
from privacy.selftest.claims import Claims
from privacy.selftest.noise_sums import NoiseSums
from privacy.selftest.report import COORDINATES, GUESSED, WHOLE_LEVEL, Check, SelfTest
from privacy.selftest.tails import drift_p, variance_p

_LARGEST = 1e30


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
        sums = dead * self._claims.normaliser
        moved = self._canaries.moves(canaries)
        rest = (sums - moved) / self._claims.noise
        self._whole.add(noise)
        self._dead.add(rest)
        self._canaries.score(sums)
        self._signal += float(rest @ moved)
        self._signals += int(moved.sum())
        self._count(canaries)

    def report(self, rehearsed: Sequence[Check] = ()) -> SelfTest:
        """The figures.

        Args:
            rehearsed: Which checks passed on made-up rows.
        """
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

    def _count(self, canaries: Indices) -> None:
        present = np.zeros(self.coordinates, dtype=np.bool_)
        present[canaries] = True
        if self._steps:
            self._again += int((present & self._last).sum())
            self._again_of += int(self._last.sum())
        self._last = present
        self._drawn += len(canaries)
        self._steps += 1


def _figure(value: float) -> Parameter:
    """A figure as decimal text; what is not finite becomes so large that it fails."""
    held = min(max(value, -_LARGEST), _LARGEST) if math.isfinite(value) else _LARGEST
    return Parameter(Decimal(f"{held:.12e}").quantize(Decimal("1e-6")) if abs(held) < 1e20 else Decimal(f"{held:.6e}"))
