"""Gaussian noise from the operating system's source, on a grid.

Rules
-----
1. Every number comes from `entropy` (in production `os.urandom`). There is no generator with a state, so nothing can be
   seeded, saved or repeated: a resumed run draws fresh noise because nothing else exists.
2. Box-Muller in float64 on 64-bit uniforms: the tails reach 9.4 deviations; what is cut off has mass below 2^-63.
3. Sum and noise are both rounded to one grid, a power of two, before they are added; they are then integers below 2^53
   times the grid, so that the addition is exact. The release of a step depends on the sum's integers only.
4. The grid is so fine that rounding the sums of two neighbours to it moves them apart by at most clip / 2^11, which
   together with the engine's clip (1 - 2^-10) and its summation error stays within the clip that is priced.

What this does not prove: that Box-Muller in float64, on the grid, *is* the ideal Gaussian. A grid cell is usually
between sigma / 2^10 and sigma / 2^25 wide, far above the resolution of float64, and the known attacks on
floating-point noise need the low bits that the grid removes; still, floating-point safety is stated as not proven .

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

Floats: TypeAlias = NDArray[np.float64]
_SPAN = 2.0**-64


def uniforms(count: int, entropy: Entropy = os.urandom) -> Floats:
    """Independent uniform numbers in (0, 1], each from 64 fresh bits; those near 0 have the finest steps."""
    whole(0, 2**40, count=count)
    raw = np.frombuffer(entropy(8 * count), dtype="<u8")
    return (raw.astype(np.float64) + 0.5) * _SPAN


def gaussian_vector(size: int, entropy: Entropy = os.urandom) -> Floats:
    """Independent standard normal numbers.

    Args:
        size: How many.
        entropy: Where random bytes come from; nothing but tests passes another.

    Reference: Box and Muller 1958.
    """
    pairs = (size + 1) // 2
    drawn = uniforms(2 * pairs, entropy)
    radius = np.sqrt(-2 * np.log(drawn[:pairs]))
    angle = 2 * math.pi * drawn[pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:size]


def grid_of(clip: float, size: int) -> float:
    """The largest power of two that is at most clip / (2^11 sqrt(size)).

    Rounding each of `size` coordinates moves a vector by at most sqrt(size) / 2 grid steps, two vectors apart by at
    most
    twice that: clip / 2^11.
    """
    positive(clip=clip)
    whole(1, 2**40, size=size)
    # frexp: x = m 2^e with m in [0.5, 1), so 2^(e-1) <= x, exactly.
    _, exponent = math.frexp(clip / (2048 * math.sqrt(size)))
    return math.ldexp(1.0, exponent - 1)


def noisy_sum(total: Floats, clip: float, sigma: float, entropy: Entropy = os.urandom) -> Floats:
    """Add Gaussian noise of standard deviation `sigma` to a sum of clipped vectors, on the grid.

    Args:
        total: The sum; two neighbours' differ by at most `clip` (1 - 2^-10) in Euclidean norm.
        clip: The bound on one unit's influence that is priced.
        sigma: Standard deviation in every coordinate, in the units of `total`.
        entropy: Where random bytes come from.

    Returns:
        Multiples of the grid, of the shape of `total`.

    Guarantee: The Gaussian mechanism with sensitivity `clip`, up to the float64 approximation named above.
    """
    positive(sigma=sigma)
    grid = grid_of(clip, total.size)
    noise = gaussian_vector(total.size, entropy) * sigma
    return (np.rint(total / grid) + np.rint(noise / grid).reshape(total.shape)) * grid
