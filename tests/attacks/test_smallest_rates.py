"""A trainer who asks for a rate so small that it is priced at nothing, and hopes that the sampler rounds it up."""

from __future__ import annotations

import pytest

from privacy.training.sampling import poisson_sample


@pytest.mark.parametrize("rate", [1e-300, 1e-30, 1e-17, 1e-16])
def test_a_rate_below_what_random_numbers_resolve_samples_nobody(rate: float) -> None:
    """The largest random number stands for about 2^-54 of all draws: that is more than such a rate may have."""
    assert len(poisson_sample(1000, rate, lambda size: b"\xff" * size)) == 0


@pytest.mark.parametrize("rate", [1e-12, 1e-6, 0.01, 0.5, 0.999999])
def test_other_rates_still_sample(rate: float) -> None:
    """The margin is far below any rate that is of use: the largest number still chooses everybody."""
    assert len(poisson_sample(1000, rate, lambda size: b"\xff" * size)) == 1000
