"""Denormals as zero, without torch: a setting of one thread that can be taken back."""

from __future__ import annotations

import numpy as np
import pytest

from privacy.sandbox.denormals import flush_denormals


def _product() -> float:
    return float((np.array([1e-200] * 9) * 1e-120).max())


def _halved() -> float:
    return float((np.array([5e-324] * 9) * 4).max())


def test_denormals_are_zero_in_this_thread_until_it_is_taken_back() -> None:
    """Results that would be denormal, and denormal operands."""
    if not flush_denormals():
        pytest.skip("this machine has no such setting here")
    try:
        assert (_product(), _halved()) == (0.0, 0.0)
    finally:
        flush_denormals(False)
    assert _product() > 0
    assert _halved() > 0


def test_normal_numbers_are_computed_as_before() -> None:
    """The rounding of what is normal does not change."""
    numbers = np.random.default_rng(3).normal(size=10_000)
    before = (numbers * numbers[::-1] / 3.0).tobytes()
    flush_denormals()
    try:
        after = (numbers * numbers[::-1] / 3.0).tobytes()
    finally:
        flush_denormals(False)
    assert before == after
