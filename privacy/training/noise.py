"""Gaussian noise on a grid, and what is done with it: three small steps, in the order in which a run takes them.

Rules
-----
1. Every number comes from a `NoiseStream` or, in small amounts, from `entropy` directly; nothing can be seeded, saved
   or repeated.
2. Sum and noise are both rounded to one grid, a power of two, before they are added; they are then integers below 2^53
   times the grid, so that the addition is exact. The release of a step depends on the sum's integers only.
3. The grid is so fine that rounding the sums of two neighbours to it moves them apart by at most clip / 2^11, which
   together with the engine's clip and its summation error stays within the clip that is priced
   (`privacy.jobs.plan.CLIP_MARGIN`).
4. Noise is drawn for the whole vector, dead coordinates included, whoever was sampled.

What this does not prove: that float64 noise on the grid *is* the ideal Gaussian (`privacy.training.stream` says how far
it is off). A grid cell is usually between sigma / 2^10 and sigma / 2^25 wide, far above the resolution of float64, and
the known attacks on floating-point noise need the low bits that the grid removes; still, floating-point safety is
stated as not proven.

Reference: Mironov 2012 (on the significance of the least significant bits), section 5.2, for rounding to a grid;
Holohan and Braghin 2021 (arXiv 2107.10138) for the attack on plain Gaussian samplers.
"""

from __future__ import annotations

import math
import os
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kernel.checks import positive, whole
from kernel.ids import Entropy
from privacy.training.stream import Gaussians

Floats: TypeAlias = NDArray[np.float64]
_SPAN = 2.0**-64


def uniforms(count: int, entropy: Entropy = os.urandom) -> Floats:
    """Independent uniform numbers in (0, 1], each from 64 fresh bits; those near 0 have the finest steps."""
    whole(0, 2**40, count=count)
    raw = np.frombuffer(entropy(8 * count), dtype="<u8")
    return (raw.astype(np.float64) + 0.5) * _SPAN


def grid_of(clip: float, size: int) -> float:
    """The largest power of two that is at most clip / (2^11 sqrt(size)).

    Rounding each of `size` coordinates moves a vector by at most sqrt(size) / 2 grid steps, two vectors apart by at
    most twice that: clip / 2^11.
    """
    positive(clip=clip)
    whole(1, 2**40, size=size)
    # frexp: x = m 2^e with m in [0.5, 1), so 2^(e-1) <= x, exactly.
    _, exponent = math.frexp(clip / (2048 * math.sqrt(size)))
    return math.ldexp(1.0, exponent - 1)


def noise_vector(source: Gaussians, size: int, sigma: float, grid: float) -> Floats:
    """Gaussian noise of standard deviation `sigma` in each coordinate, as whole multiples of the grid.

    Args:
        source: Where normal numbers come from.
        size: How many coordinates.
        sigma: Standard deviation, in the units of the sum.
        grid: As `grid_of` says.
    """
    positive(sigma=sigma)
    noise = source.gaussians(size, sigma / grid)
    return np.rint(noise, out=noise)


def add_noise(total: Floats, noise: Floats, grid: float) -> Floats:
    """A sum of clipped vectors with noise: whole multiples of the grid. The sum is used up.

    Args:
        total: The sum; two neighbours' differ by at most the engine's clip and its summation error.
        noise: From `noise_vector`, for the whole of it.
        grid: The same grid.

    Guarantee: The Gaussian mechanism with the clip as sensitivity, up to the float64 approximation named above.
    """
    np.multiply(total, 1 / grid, out=total)
    np.rint(total, out=total)
    return np.add(total, noise, out=total)


def average(noisy: Floats, grid: float, normaliser: float) -> Floats:
    """The noisy sum, back in its own units, over the declared batch: the only thing that an update may see."""
    return np.multiply(noisy, grid / normaliser, out=noisy)
