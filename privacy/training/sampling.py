"""Poisson sampling from the operating system's source.

Rules
-----
1. Each unit enters each step independently with the plan's rate; never a shuffle, never a fixed batch.
2. Indices live for one step. They are never stored, logged, sent or derived from anything that could repeat.
3. The cost grows with the sample, not with the population: gaps between members are geometric.
4. Nobody is sampled with a probability above the rate, which is what is priced. Random numbers and logarithms are
   rounded, by some 2^-50 of probability in all; the sampler stays below the rate by more than that.
"""

from __future__ import annotations

import math
import os
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kernel.checks import probability, whole
from kernel.ids import Entropy
from privacy.training.noise import uniforms

Indices: TypeAlias = NDArray[np.int64]
_RELATIVE_MARGIN, _MARGIN = 2.0**-40, 2.0**-46
"""How far below the rate the sampler stays: more than all its roundings, and nothing that anybody could notice."""


def poisson_sample(population: int, rate: float, entropy: Entropy = os.urandom) -> Indices:
    """Choose each of `population` units with probability `rate`, independently.

    Args:
        population: How many units there are; they are numbered from 0.
        rate: In (0, 1].
        entropy: Where random bytes come from.

    Returns:
        The chosen numbers, rising.

    Reference: the gap to the next success of Bernoulli trials is geometric; floor(ln U / ln(1 - rate)) by inversion
    (Devroye 1986, chapter X.2).
    """
    whole(0, 2**40, population=population)
    probability(rate=rate)
    if rate == 1.0:
        return np.arange(population, dtype=np.int64)
    below = rate * (1 - _RELATIVE_MARGIN) - _MARGIN
    if below <= 0:
        return np.empty(0, dtype=np.int64)
    chosen: list[Indices] = []
    last = -1
    while last < population - 1:
        count = int(rate * (population - last) + 4 * math.sqrt(rate * population) + 16)
        gaps = np.floor(np.log(uniforms(count, entropy)) / math.log1p(-below))
        # A gap is cut at the population's size, so that sums stay exact.
        steps = np.minimum(gaps, float(population)).astype(np.int64) + 1
        places = last + np.cumsum(steps)
        chosen.append(places[places < population])
        last = int(places[-1])
    return np.concatenate(chosen) if chosen else np.empty(0, dtype=np.int64)
