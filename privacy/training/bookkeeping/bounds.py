"""Clip factors that hold in float32, and how far a float32 sum can move when one unit comes or goes. Child only.

Rules
-----
1. What a row contributes is *defined* as the real-number vector that float32 products and sums then approximate: the
   outer product of fl(c b) and a, or c times a gradient that was formed and kept. Its norm is bounded, not the norm of
   an ideal gradient that nobody computed.
2. Every norm is a float64 sum of squares of float32 numbers: no square over- or underflows there, and its relative
   error is below (m + 2) 2^-53 <= 2^-32 for the at most 2^20 numbers of a row.
3. Factors are rounded down by 2^-22: more than the rounding of the factor itself to float32 (2^-24), of the product
   fl(c b) (2^-24) and of the norm (2^-32) together. So a contribution is never longer than the clip, and never shorter
   than (1 - 2^-21) of what exact arithmetic on the same gradient gives.
4. At most `ROWS` rows are summed in one float32 sum and at most `BLOCKS` such sums in float32 after it; beyond, sums
   are float64.
5. A row whose norm is beyond 2^125 bounds is broken like one that is not finite: its factor would be a denormal
   float32, and those are rounded by up to half of themselves where they are not flushed.

The margin. Neighbours differ in one unit. Slots are drawn so that everybody else may be taken to lie in the very same
slots (`privacy.training.slots`), and then contributes the very same numbers, under whatever model: a row's numbers
depend on its content, the weights and its slot. With u = 2^-24, R = ROWS, B = BLOCKS and C the engine's clip:

* the unit itself moves the sum by at most C;
* the one block that holds it is rounded differently: a float32 sum of R terms, in any order, fused or not, is off by
  at most R u / (1 - R u) times the sum of the terms' magnitudes, so in norm by at most R u R C; both neighbours:
  2 R^2 u C;
* the sum over blocks is rounded differently: at most (B - 1) u B R C for each neighbour;
* float64 sums and the grid's two roundings: below 2^-30 and 2^-11 (`privacy.training.noise`).

With R = 128 and B = 8: 2^-9 + 14336 2^-24 + 2^-11 + 2^-30 < 0.0033, and the plan's margin is 2^-8 = 0.0039.

Flushed denormals: a float32 product or partial sum below 2^-126 may become 0. That is at most 2^-126 for each of R + B
operations and 2^20 coordinates, below 2^-100 in norm: nothing beside a clip of at least 10^-6.

Reference: Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1, for sums in any order.
"""

from __future__ import annotations

import math
from typing import Final

import torch

ROWS: Final = 128
BLOCKS: Final = 8
_DOWN: Final = 1 - 2.0**-22
_LONGEST: Final = 2.0**125


def squares(values: torch.Tensor) -> torch.Tensor:
    """Sum of the squares of each row's numbers: float32 [n, ...] -> float64 [n]."""
    norms: torch.Tensor = torch.linalg.vector_norm(values.flatten(1), dim=1, dtype=torch.float64)
    return norms.square_()


def clip_factors(squared: torch.Tensor, counts: torch.Tensor, clip: float) -> tuple[torch.Tensor, int, torch.Tensor]:
    """What each row is multiplied with.

    Args:
        squared: Squared norms by group and row, float64 [groups, n].
        counts: Which rows count, [n].
        clip: The bound on the norm over all groups; each group gets clip / sqrt(groups).

    Returns:
        Factors, float32 [groups, n], at most 1, and 0 for rows that do not count; how many rows count and are not
        shortened; and the rows that are not finite or beyond any factor: their numbers must go before anything is
        multiplied with them.
    """
    bound = clip / math.sqrt(len(squared))
    norms = squared.sqrt()
    finite, short = (norms <= bound * _LONGEST).all(dim=0), (norms <= bound).all(dim=0)
    keep = counts & finite
    lowered = bound * _DOWN
    # At most 1, also where a norm is 0; `norms` is ours to overwrite.
    factors = norms.clamp_(min=lowered).reciprocal_().mul_(lowered).to(torch.float32)
    return factors.masked_fill_(~keep, 0.0), int((keep & short).sum()), finite.logical_not().nonzero()[:, 0]
