"""Honest runs are not blocked: a sample of what `benchmarks.selftest` measures on 10,000."""

from __future__ import annotations

import pytest

from benchmarks.selftest import SHAPES, honest


@pytest.mark.slow
def test_honest_runs_raise_no_alarm() -> None:
    """Production's noise and samples, every shape, judged at 1e-9; the 95 % bound lies below epsilon nearly always."""
    found = {line.quantity: line.value for line in honest(100 * len(SHAPES))}
    assert found["selftest_blocks"] == 0
    assert found["selftest_least_p"] > 1e-6
    assert found["selftest_bound_above_claim"] <= 0.05
