"""The proven bounds: squared norms in float32, clip factors, and how long a score's slope may be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from privacy.training.bookkeeping.bounds import SHORT, clip_factors, longest_slopes, squares, wide_squares


@pytest.mark.parametrize("length", [1, 2, 33, SHORT, SHORT + 1, 3 * SHORT + 7, 2**15])
@pytest.mark.parametrize("size", [1e-25, 1e-3, 1.0, 1e15, 1e30])
def test_squares_are_within_the_proven_bound_or_infinite(length: int, size: float) -> None:
    """Against exact sums; numbers of one size, where a sum in order would be worst, and of many sizes."""
    draw = np.random.default_rng(length)
    values = np.stack([np.full(length, size), size * draw.normal(size=length)]).astype(np.float32)
    exact = np.array([math.fsum(float(value) ** 2 for value in row) for row in values])
    assert np.allclose(wide_squares(torch.from_numpy(values)).numpy(), exact, rtol=2**-32, atol=0)
    found = squares(torch.from_numpy(values)).numpy()
    held = np.isfinite(found)
    assert held.all() or size == 1e30
    assert (found[held] >= exact[held] * (1 - 2**-14.9)).all()
    assert (found[held] <= exact[held] * (1 + 2**-14.9) + length * 2.0**-126).all()


def test_factors_of_norms_that_are_nothing_or_everything() -> None:
    """0 and tiny are passed as they are, huge is shortened, infinite and not a number are broken and get 0."""
    norms = np.array([[0.0, 1e-300, 0.5, 2.0, 1e30, 1e60, np.inf, np.nan]])
    counts = torch.ones(8, dtype=torch.bool)
    factors, within, broken = clip_factors(torch.from_numpy(norms**2), counts, 1.0)
    assert factors.dtype == torch.float32
    assert np.allclose(factors.numpy()[0], [1, 1, 1, 0.5, 1e-30, 0, 0, 0], rtol=2**-21, atol=0)
    assert (factors.numpy()[0] * norms[0])[:5].max() <= 1
    assert within == 3
    assert broken.tolist() == [5, 6, 7]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-3, 1.0, 1e6, 1e15])
@pytest.mark.parametrize("clip", [1e-6, 1.0, 1e3])
def test_a_slope_that_is_held_is_not_longer_than_the_clip(bias: bool, size: float, clip: float) -> None:
    """Bound times the norm of the row: at most the clip, rounding of sums included, and nearly it."""
    rows = (size * np.random.default_rng(4).normal(size=(50, 100))).astype(np.float32)
    most, usable = longest_slopes(torch.from_numpy(rows), bias, clip)
    norms = np.array([math.hypot(*row, float(bias)) for row in rows.astype(np.float64)])
    assert most.dtype == np.float32
    assert usable.all()
    if not norms.any():
        assert np.isinf(most).all()
        return
    held = most.astype(np.float64) * norms
    assert (held <= clip * (1 + 2**-14.9)).all()
    assert (held >= clip * (1 - 2**-14)).all()


def test_rows_beyond_any_bound_are_not_usable() -> None:
    """Not a number, infinite, or so long that its square overflows: named, so that the row is emptied."""
    rows = np.ones((4, 40), dtype=np.float32)
    rows[1, 3], rows[2, 0], rows[3] = np.nan, np.inf, 3e38
    for bias in (False, True):
        _, usable = longest_slopes(torch.from_numpy(rows), bias, 1e-6)
        assert usable.tolist() == [True, False, False, False]
