"""Clip factors that hold in float32, and how far a float32 sum can move when one unit comes or goes. Child only.

Rules
-----
1. What a row contributes is *defined* as the real-number vector that float32 products and sums then approximate: the
   outer product of fl(c b) and a, or c times a gradient that was formed and kept. Its norm is bounded, not the norm of
   an ideal gradient that nobody computed.
2. Squares are summed in float32 over at most `SHORT` = 512 numbers, then in float64. All terms are non-negative, so in
   any order the sum is off by a relative (512 + 2) 2^-24 < 2^-14.9, root and square included; a norm, or the root of a
   product of two such sums, by as much. What underflows is at most 2^-126 for each square and is added to the bound. A
   sum that overflows is infinite: its row, longer than 2^63, is broken and contributes zero. `wide_squares` does all of
   it in float64, where neither happens: for gradients that are a product without a bias, of which one factor may be
   tiny and the other huge, and for short rows, where it costs nothing.
3. Factors are rounded down by 2^-22: more than the rounding of the factor itself to float32 (2^-24) and of the product
   fl(c b) (2^-24). So a contribution is at most the clip times 1 + 2^-14.9: the rest of a norm's rounding is paid by
   the margin below, since factors rounded down by it would shorten every gradient for a worst case that does not occur.
4. At most `ROWS` rows are summed in one float32 sum and at most `BLOCKS` such sums in float32 after it; beyond, sums
   are float64.
5. A row whose norm is beyond 2^125 bounds is broken like one that is not finite: its factor would be a denormal
   float32, and those are rounded by up to half of themselves where they are not flushed.

Units of several rows. The gradients of a unit's rows are summed in float32, formed, before any norm is taken: what was
said of a row holds for the unit, whose contribution is *defined* as its factor times the sum that was formed. However
much cancels within a unit, and however its own sums are rounded, its norm is that of the very numbers that are summed.
`ROWS` then counts units.

The margin. Neighbours differ in one unit. Slots are drawn so that everybody else may be taken to lie in the very same
slots (`privacy.training.slots`), and then contributes the very same numbers, under whatever model: a row's numbers
depend on its content, the weights and its slot. With u = 2^-24, R = ROWS, B = BLOCKS and C the engine's clip:

* the unit itself moves the sum by at most C (1 + 2^-14.9);
* the one block that holds it is rounded differently: a float32 sum of R terms, in any order, fused or not, is off by
  at most R u / (1 - R u) times the sum of the terms' magnitudes, so in norm by at most R u R C; both neighbours:
  2 R^2 u C;
* the sum over blocks is rounded differently: at most (B - 1) u B R C for each neighbour;
* float64 sums and the grid's two roundings: below 2^-30 and 2^-11 (`privacy.training.noise`).

With R = 128 and B = 8: 2^-14.9 + 2^-9 + 14336 2^-24 + 2^-11 + 2^-30 < 0.0034, the factors 1 + 2^-14.9 of the later
terms included, and the plan's margin is 2^-8 = 0.0039.

Flushed denormals: a float32 product or partial sum below 2^-126 may become 0. That is at most 2^-126 for each of R + B
operations and 2^20 coordinates, below 2^-100 in norm: nothing beside a clip of at least 10^-6.

Reference: Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1, for sums in any order.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

ROWS: Final = 128
BLOCKS: Final = 8
SHORT: Final = 512
_DOWN: Final = 1 - 2.0**-22
_LONGEST: Final = 2.0**125
_FEW: Final = 32
_UNDERFLOW: Final = 2.0**-126


def squares(values: torch.Tensor) -> torch.Tensor:
    """Sum of the squares of each row's numbers, within 2^-14.9 or infinite: float32 [n, ...] -> float64 [n]."""
    rows = values.flatten(1)
    length = rows.shape[1]
    if length <= _FEW:
        return wide_squares(rows)
    if length <= SHORT:
        return _float32_squares(rows).add_(length * _UNDERFLOW)
    whole = length // SHORT * SHORT
    result = _float32_squares(rows[:, :whole].view(rows.shape[0], -1, SHORT)).sum(dim=1)
    if whole < length:
        result += _float32_squares(rows[:, whole:])
    return result.add_(length * _UNDERFLOW)


def wide_squares(values: torch.Tensor) -> torch.Tensor:
    """The same in float64: nothing over- or underflows, and the relative error is below 2^-32 for 2^20 numbers."""
    rows = values.flatten(1)
    if rows.shape[1] <= _FEW:
        # Reductions of very short rows are slow: a product with ones does the same.
        squared = rows.to(torch.float64).square_()
        return squared[:, 0] if squared.shape[1] == 1 else torch.mv(squared, squared.new_ones(squared.shape[1]))
    norms: torch.Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    return norms.square_()


def outer_squares(value: torch.Tensor, slope: torch.Tensor, bias: bool) -> torch.Tensor:
    """Squared norms of the outer products of each row's slope and value, with a bias of the slope beside them."""
    if bias:
        return squares(slope).mul_(squares(value).add_(1.0))
    return wide_squares(value).mul_(wide_squares(slope))


def longest_slopes(rows: torch.Tensor, bias: bool, clip: float) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """How long the slope of one score may be for each row, so that its gradient is not longer than the clip.

    Args:
        rows: float32 [n, width].
        bias: Whether the gradient has the slope itself beside slope times row.
        clip: The bound on the norm.

    Returns:
        clip / (norm of the row, with a 1 beside it for a bias), rounded down as a factor is, float32 [n]; and which
        rows are finite and not beyond any factor.
    """
    norms = (squares(rows) if bias else wide_squares(rows)).numpy()
    if bias:
        np.add(norms, 1.0, out=norms)
    np.sqrt(norms, out=norms)
    usable: NDArray[np.bool_] = norms <= clip * _LONGEST
    with np.errstate(divide="ignore", over="ignore"):
        # An empty row moves nothing: any slope will do.
        most = np.divide(clip * _DOWN, norms, out=norms).astype(np.float32)
    return most, usable


def _float32_squares(values: torch.Tensor) -> torch.Tensor:
    norms: torch.Tensor = torch.linalg.vector_norm(values, dim=-1)
    return norms.to(torch.float64).square_()


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
    bound = clip / math.sqrt(squared.shape[0])
    # numpy is quicker than torch on so few numbers; `squared` is ours to overwrite.
    norms = squared.numpy()
    np.sqrt(norms, out=norms)
    finite, short = _in_all_groups(norms <= bound * _LONGEST), _in_all_groups(norms <= bound)
    keep = counts.numpy() & finite
    lowered = bound * _DOWN
    # At most 1, also where a norm is 0; what is not a number becomes 1 here and 0 below.
    np.fmax(norms, lowered, out=norms)
    np.divide(lowered, norms, out=norms)
    factors = np.multiply(norms, keep, dtype=np.float32, casting="same_kind")
    broken = np.flatnonzero(~finite)
    return torch.from_numpy(factors), int(np.count_nonzero(short & keep)), torch.from_numpy(broken)


def _in_all_groups(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    every: NDArray[np.bool_] = np.logical_and.reduce(found, axis=0)
    return every
