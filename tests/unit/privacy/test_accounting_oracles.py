"""Two libraries that know nothing of ours come to the same figures."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest

from kernel.amounts import Delta
from kernel.errors import ConflictError
from kernel.events import Parameter
from privacy.accounting import google
from privacy.accounting.mechanisms import Gaussian, MechanismUse, PoissonSampledGaussian, PureDp, ZeroConcentrated
from privacy.accounting.price import divergence
from privacy.accounting.rdp import job_epsilon

DELTA = Delta.parse("0.000001")
RATES = ("1", "0.3", "0.05", "0.001", "0.00001")
NOISES = ("0.3", "0.8", "1.5", "6", "80", "10000")
STEPS = (1, 100, 1_000_000)
ORDERS = (2, 3, 8, 32, 256, 512)


def steps(rate: str, noise: str, count: int) -> PoissonSampledGaussian:
    """Steps of the sampled Gaussian."""
    return PoissonSampledGaussian(sampling_rate=Parameter(rate), noise_multiplier=Parameter(noise), steps=count)


@pytest.mark.parametrize("rate", RATES)
def test_dp_accounting_gives_the_same_divergence(rate: str) -> None:
    """RULES 25: its divergence agrees to 1e-9, or to what doubles can carry, over a wide grid."""
    for noise, count, order in itertools.product(NOISES, STEPS, ORDERS):
        use = steps(rate, noise, count)
        theirs = google._rdp(use, order)
        assert google._close(theirs, [use], order), (noise, count, order)
        # The allowance for doubles is no loophole: where nine digits fit, nine digits are demanded.
        ours = divergence(use, order=order)
        if ours * (order - 1) / count > Decimal("0.001"):
            assert not google._close(theirs * (1 + 1e-8), [use], order)
            assert not google._close(theirs * (1 - 1e-8), [use], order)


@pytest.mark.parametrize("rate", RATES)
def test_opacus_gives_the_same_divergence(rate: str) -> None:
    """The accountant of Opacus agrees where its doubles carry the figure."""
    from opacus.accountants.analysis import rdp as opacus

    for noise, count in itertools.product(NOISES, STEPS):
        theirs = opacus.compute_rdp(
            q=float(rate), noise_multiplier=float(noise), steps=count, orders=[float(order) for order in ORDERS]
        )
        for order, figure in zip(ORDERS, theirs, strict=True):
            ours = divergence(steps(rate, noise, count), order=order)
            if ours * (order - 1) / count > Decimal("0.001"):
                assert float(ours) == pytest.approx(float(figure), rel=1e-9), (noise, count, order)


JOBS: list[tuple[MechanismUse, ...]] = [
    (steps("0.1", "2.56", 200),),
    (steps("1", "2.5", 2),),
    (steps("0.00512", "1.313984372701234", 5859),),
    (steps("0.001", "10", 1_000_000),),
    (steps("0.00001", "10", 1_000_000),),
    (Gaussian(noise_multiplier=Parameter("5"), count=3), PureDp(epsilon=Parameter("0.1"), count=10)),
    (PureDp(epsilon=Parameter("3"), count=1),),
    (PureDp(epsilon=Parameter("0.001"), count=1000),),
]


@pytest.mark.parametrize("uses", JOBS, ids=range(len(JOBS)))
def test_the_second_accountant_agrees_before_a_certificate(uses: tuple[MechanismUse, ...]) -> None:
    """RULES 25: it agrees on the divergence, and its tighter epsilon is not above ours."""
    agreement = google.agree(uses, order=8, delta=DELTA)
    ours = job_epsilon(*uses, delta=DELTA).epsilon
    assert 0 < agreement.pld_epsilon.number <= ours.value
    assert agreement.rdp.number == pytest.approx(divergence(*uses, order=8), rel=Decimal("1e-8"))
    assert (agreement.library, agreement.order, agreement.delta) == ("dp-accounting", 8, DELTA)
    assert google.Agreement.from_fields(agreement.to_fields()) == agreement


def test_of_zcdp_the_second_accountant_confirms_the_divergence_alone() -> None:
    """It has no distribution of losses that a library could bound, so that no epsilon by one is stated."""
    uses = (ZeroConcentrated(rho=Parameter("0.0173"), count=1), Gaussian(noise_multiplier=Parameter("7"), count=2))
    agreement = google.agree(uses, order=8, delta=DELTA)
    assert agreement.rdp.number == pytest.approx(Decimal(8) * Decimal("0.0173") + Decimal(8) / 49, rel=Decimal("1e-12"))
    assert agreement.pld_epsilon is None


def test_without_agreement_nothing_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    """RULES 25: an epsilon of ours that is too small, or a divergence that is too small, stops the certificate."""
    job = (steps("0.01", "10", 200),)
    with monkeypatch.context() as seeded:
        # A fault seeded in our own accountant: it prices a quarter of the steps.
        seeded.setattr(google, "job_epsilon", lambda *uses, delta: job_epsilon(uses[0].repeated(50), delta=delta))
        with pytest.raises(ConflictError):
            google.agree(job, order=8, delta=DELTA)
    with monkeypatch.context() as seeded:
        seeded.setattr(google, "divergence", lambda *uses, order: divergence(uses[0].repeated(199), order=order))
        with pytest.raises(ConflictError):
            google.agree(job, order=8, delta=DELTA)
