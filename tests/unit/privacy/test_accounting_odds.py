"""Odds are never too small: held against the exact best test, by integrals and by another library's figures."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from decimal import Decimal

import pytest
from dp_accounting.pld import privacy_loss_distribution
from scipy.stats import norm

from kernel.amounts import Delta, Epsilon, Rdp
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.accounting import odds as module
from privacy.accounting.calibration import calibrate, sampled_gaussian
from privacy.accounting.mechanisms import (
    Gaussian,
    MechanismUse,
    PoissonSampledGaussian,
    PrivateSelection,
    PureDp,
    ZeroConcentrated,
)
from privacy.accounting.odds import budget_odds, odds, sentence
from privacy.accounting.price import divergence
from privacy.accounting.rdp import best_order, capacity
from privacy.accounting.tries import Tries
from privacy.budget.populations import Budget

DELTA = Delta.parse("0.000001")
FINE = 10_000


def steps(rate: str, noise: str, count: int) -> PoissonSampledGaussian:
    """Steps of the sampled Gaussian."""
    return PoissonSampledGaussian(sampling_rate=Parameter(rate), noise_multiplier=Parameter(noise), steps=count)


def exact(*uses: PoissonSampledGaussian) -> float:
    """The best test's share of right answers, a hair from above: (1 + total variation) / 2 of composed losses."""
    distributions = [
        privacy_loss_distribution.from_gaussian_mechanism(
            float(use.noise_multiplier.number),
            sampling_prob=float(use.sampling_rate.number),
            value_discretization_interval=1e-3 if float(use.noise_multiplier.number) < 30 else 1e-4,
        ).self_compose(use.steps)
        for use in uses
    ]
    composed = distributions[0]
    for more in distributions[1:]:
        composed = composed.compose(more)
    return (1 + composed.get_delta_for_epsilon(0.0)) / 2


JOBS = [
    (rate, count, epsilon)
    for (rate, count), epsilon in itertools.product(
        [("1", 1), ("0.9", 40), ("0.5", 160), ("0.1", 160), ("0.01", 400)], ["0.2", "1", "3", "8"]
    )
]


@pytest.mark.parametrize(("rate", "count", "epsilon"), JOBS)
def test_odds_are_never_below_the_best_test_and_not_far_above(rate: str, count: int, epsilon: str) -> None:
    """For jobs as they are requested: at most half as much again of what the best test is better than a coin."""
    shape = sampled_gaussian(Parameter(rate), count)
    (use,) = shape(calibrate(shape, Epsilon.parse(epsilon), DELTA))
    assert isinstance(use, PoissonSampledGaussian)
    stated, best = odds(use, tries=FINE) / FINE, exact(use)
    assert best <= stated
    assert stated - 0.5 <= 1.5 * (best - 0.5) + 1.5 / FINE


@pytest.mark.parametrize("noise", ["0.3", "0.7", "1", "2.5", "20", "300"])
@pytest.mark.parametrize("count", [1, 7, 100])
def test_without_sampling_odds_are_exact(noise: str, count: int) -> None:
    """At rate 1 the steps are one Gaussian: Phi(mu / 2), rounded up to the next try."""
    best = float(norm.cdf(math.sqrt(count) / float(noise) / 2))
    assert 0 <= odds(steps("1", noise, count), tries=FINE) / FINE - best < 1.001 / FINE


def test_what_is_pure_is_exact() -> None:
    """Randomised response attains e^epsilon / (1 + e^epsilon), and runs of it at best their sum."""
    for epsilon in ("0.01", "0.5", "2"):
        best = 1 / (1 + math.exp(-float(epsilon)))
        stated = odds(PureDp(epsilon=Parameter(epsilon), count=1), tries=FINE) / FINE
        assert 0 <= stated - best < 1.001 / FINE
    many = odds(PureDp(epsilon=Parameter("0.1"), count=100), tries=FINE) / FINE
    assert many < 0.9 < 1 / (1 + math.exp(-10.0))


@pytest.mark.parametrize("epsilon", [0.1, 0.4])
@pytest.mark.parametrize("count", [5, 40])
def test_odds_of_many_randomised_responses_are_not_below_the_majority_vote(epsilon: float, count: int) -> None:
    """Of equal coins the majority is the best test; its share of right answers is a binomial sum."""
    right = 1 / (1 + math.exp(-epsilon))
    ways = [math.comb(count, k) * right**k * (1 - right) ** (count - k) for k in range(count + 1)]
    best = sum(way * (1 if 2 * k > count else 0.5 if 2 * k == count else 0) for k, way in enumerate(ways))
    stated = odds(PureDp(epsilon=Parameter(str(epsilon)), count=count), tries=FINE) / FINE
    assert best <= stated
    assert stated - 0.5 < 1.5 * (best - 0.5)


@pytest.mark.parametrize("noise", ["1", "3", "30"])
def test_odds_of_discrete_noise_are_not_below_the_best_test(noise: str) -> None:
    """A count that one unit moves by one, with discrete Gaussian noise: total variation summed over the integers."""
    sigma = float(noise)
    weights = [math.exp(-(x**2) / (2 * sigma**2)) for x in range(-int(12 * sigma) - 12, int(12 * sigma) + 13)]
    moved = [0.0, *weights[:-1]]
    apart = sum(max(a - b, 0.0) for a, b in zip(weights, moved, strict=True)) / sum(weights)
    stated = odds(Gaussian(noise_multiplier=Parameter(noise), count=1), tries=FINE) / FINE
    assert (1 + apart) / 2 <= stated
    assert stated - 0.5 < 1.35 * apart / 2 + 1 / FINE


@pytest.mark.parametrize(
    ("rate", "noise"), [("0.5", "5"), ("0.01", "0.6"), ("0.2", "0.3"), ("0.0001", "1"), ("0.9", "0.05")]
)
def test_the_divergence_at_order_one_lies_between_the_integral_and_the_price(rate: str, noise: str) -> None:
    """From above, and by little; never above the price at order 2, since divergence grows with the order."""
    q, mu = float(rate), 1 / float(noise)
    width = 0.004 / max(1.0, mu)
    total = 0.0
    for cell in range(int((12 + mu) / width) * 2):
        x = -12 - mu / 2 + (cell + 0.5) * width + mu / 2
        weight = 1 - q + q * math.exp(min(mu * x - mu * mu / 2, 600.0))
        total += (weight * math.log(weight) - weight + 1) * math.exp(-x * x / 2) * width / math.sqrt(2 * math.pi)
    stated = float(module._sampled_gaussian(Decimal(rate), Decimal(noise)))
    assert total <= stated * (1 + 1e-9)
    assert stated <= (1.1 if mu < 5 else 1.25) * total
    if mu < 2:
        assert stated <= 1.05 * float(divergence(steps(rate, noise, 1), order=2))


def test_an_attack_is_right_no_more_often_than_stated() -> None:
    """The likelihood-ratio test on simulated runs of a job: the odds hold, and they are not idle."""
    use = steps("0.3", "2", 30)
    q, mu, draw = 0.3, 0.5, random.Random(7)
    right = []
    for _ in range(4000):
        member = draw.random() < 0.5
        evidence = 0.0
        for _ in range(30):
            x = draw.gauss(0, 1) + (mu if member and draw.random() < q else 0.0)
            evidence += math.log(1 - q + q * math.exp(mu * x - mu * mu / 2))
        right.append(member == (evidence > 0))
    found = statistics.fmean(right)
    assert found - 4 * 0.5 / math.sqrt(4000) < odds(use) / 100
    assert found > 0.6


def test_more_runs_and_less_noise_never_lower_the_odds() -> None:
    """Monotone in every parameter, from the coin to certainty."""
    for line in (
        [odds(steps("0.3", "3", count)) for count in (1, 10, 100, 10**6)],
        [odds(steps("0.3", noise, 20)) for noise in ("500", "20", "2", "0.5")],
        [odds(steps(rate, "1.5", 20)) for rate in ("0.000001", "0.1", "0.99", "1")],
        [odds(Gaussian(noise_multiplier=Parameter("4"), count=count)) for count in (1, 2, 8, 64, 10**6)],
        [odds(PureDp(epsilon=Parameter("0.2"), count=count)) for count in (1, 2, 8, 64, 10**6)],
    ):
        assert line == sorted(line)
        assert line[0] >= 51
        assert line[-1] > line[0]
    assert odds(steps("0.3", "3", 10**6)) == 100


@pytest.mark.parametrize("sigma", ["2", "8", "50"])
def test_zcdp_tells_no_less_than_a_gaussian_of_its_rho(sigma: str) -> None:
    """Which is one of the mechanisms that it may be; the bound is the Gaussian's own."""
    rho = Parameter((1 / (2 * Decimal(sigma) ** 2)).quantize(Decimal("1e-12")))
    gaussian = odds(Gaussian(noise_multiplier=Parameter(sigma), count=1), tries=FINE)
    assert odds(ZeroConcentrated(rho=rho, count=1), tries=FINE) == gaussian


def test_uses_of_several_kinds_add_up() -> None:
    """Together they tell at least what each tells alone; no use at all is no job."""
    parts: list[MechanismUse] = [
        steps("0.2", "2", 20),
        Gaussian(noise_multiplier=Parameter("6"), count=2),
        PureDp(epsilon=Parameter("0.1"), count=2),
    ]
    tries = Tries(most=10, shape=Parameter(0), gamma=Parameter("0.1"))
    parts.append(PrivateSelection(base=steps("0.2", "8", 20), tries=tries, count=1))
    together = odds(*parts, tries=FINE)
    assert together >= max(odds(part, tries=FINE) for part in parts)
    with pytest.raises(InvalidError):
        odds()


@pytest.mark.parametrize("epsilon", ["0.3", "1", "3", "8", "30"])
def test_a_budgets_odds_cover_every_job_that_it_holds(epsilon: str) -> None:
    """They are at most those of (epsilon, delta) alone, and at least those of a job that spends all of it."""
    budget = Epsilon.parse(epsilon)
    order = best_order(budget, DELTA)
    holds = capacity(budget, DELTA, order)
    whole = budget_odds(budget, DELTA, order, holds, tries=FINE)
    assert whole <= math.ceil(FINE / (1 + math.exp(-float(epsilon))) + 0.01) + 1
    for shape in (sampled_gaussian(Parameter("0.5"), 100), sampled_gaussian(Parameter("1"), 1)):
        low, high = Decimal("0.05"), Decimal(10_000)
        while high - low > Decimal("0.0001"):
            middle = ((low + high) / 2).quantize(Decimal("0.00001"))
            fits = Rdp.up(divergence(*shape(Parameter(middle)), order=order)) <= holds
            low, high = (low, middle) if fits else (middle, high)
        assert odds(*shape(Parameter(high)), tries=FINE) <= whole


@pytest.mark.parametrize("epsilon", ["1000", "959739624861"])
def test_a_budget_beyond_all_measure_protects_nobody_and_is_no_error(epsilon: str) -> None:
    """However large an owner makes it: a certain guess."""
    budget = Budget.allot(Epsilon.parse("8"), Delta.parse("0.000001")).resized(Epsilon.parse(epsilon))
    assert budget_odds(budget.epsilon, budget.delta, budget.order, budget.capacity) == 100


def test_the_words_say_what_a_coin_is() -> None:
    """One sentence, for people."""
    assert sentence("patient", 56) == (
        "An attacker who knows everything else tells whether a given patient was in the data at most 56 times in 100; "
        "50 is a coin."
    )
