"""Canary units: members of the same sampler, each with a dead coordinate of its own. Child only.

Rules
-----
1. A canary is the last unit of the population but so many: it is drawn by the same call, from the same stream, at the
   same rate as everybody else, and independently of them.
2. A fair coin from the operating system decides once whether a canary belongs to the data set. One that does adds
   clip x e_i whenever it is drawn: the largest move that a unit may make. One that does not is a control: it is drawn
   like the others and adds nothing.
3. Dead coordinates are cut off before the update. Neither the model nor anybody's clip changes.
4. A canary's score is the logarithm of the likelihood ratio of "belongs" against "does not" over all steps, by the
   claimed noise and rate (Neyman and Pearson): the best guess there is when the claims are true.

Reference: Steinke, Nasr and Jagielski 2023 (arXiv 2305.08846): one run, many canaries, coins.
"""

from __future__ import annotations

import os
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kernel.ids import Entropy
from privacy.selftest.claims import Claims

Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]


class Canaries:
    """Coins and scores of some canaries.

    Args:
        count: How many.
        claims: What the plan says.
        entropy: Where the coins come from.
    """

    def __init__(self, count: int, claims: Claims, entropy: Entropy = os.urandom) -> None:
        self.belongs: NDArray[np.bool_] = np.frombuffer(entropy(count), dtype=np.uint8) < 128
        self._scores = np.zeros(count)
        self._rate = claims.rate
        self._slope, self._offset = 1 / claims.noise**2, 1 / (2 * claims.noise**2)

    def moves(self, drawn: Indices) -> Floats:
        """What the drawn canaries add to the dead coordinates, in units of the clip: 1 where one belongs."""
        added = np.zeros(len(self.belongs))
        added[drawn] = self.belongs[drawn]
        return added

    def score(self, sums: Floats) -> None:
        """Take in the noisy dead coordinates of some steps, shape [steps, count], in units of the clip."""
        gain = sums * self._slope
        np.subtract(gain, self._offset, out=gain)
        np.maximum(gain, -_LARGEST, out=gain)
        np.minimum(gain, _LARGEST, out=gain)
        if self._rate < 1:
            np.exp(gain, out=gain)
            np.multiply(gain, self._rate, out=gain)
            np.add(gain, 1 - self._rate, out=gain)
            np.log(gain, out=gain)
        self._scores += gain.sum(axis=0)

    def correct(self, guesses: int) -> int:
        """How many of so many guesses are right: the highest half is said to belong, the lowest half not to."""
        order = np.argsort(self._scores, kind="stable")
        half = guesses // 2
        return int(self.belongs[order[-half:]].sum() + (~self.belongs[order[:half]]).sum())


_LARGEST = 700.0
"""More evidence than this from one coordinate in one step decides whatever the others say: it has to stay finite."""
