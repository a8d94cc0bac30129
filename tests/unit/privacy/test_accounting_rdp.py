"""Orders, capacities and epsilons: exact, best, and the counts that a sound ledger admits."""

from __future__ import annotations

import json
from decimal import Decimal, localcontext
from itertools import cycle
from pathlib import Path
from typing import Any

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.amounts import Delta, Epsilon, Rdp
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.accounting.mechanisms import Gaussian, MechanismUse, PoissonSampledGaussian, PureDp, ZeroConcentrated
from privacy.accounting.price import HIGHEST_ORDER, LEAST_ORDER, price
from privacy.accounting.rdp import best_order, capacity, epsilon_at, epsilon_from_rdp, exact_epsilon, job_epsilon

MIX = json.loads((Path(__file__).parents[2] / "vectors" / "ledger-mix" / "jobs.json").read_text(encoding="utf-8"))
DELTA = Delta.parse("0.000001")

epsilons = st.decimals(min_value=Decimal("0.05"), max_value=50, places=3).map(Epsilon)
deltas = st.sampled_from(["0.01", "0.00001", "0.000001", "0.000000001", "0.000000000000001"]).map(Delta.parse)


def as_use(job: dict[str, Any]) -> MechanismUse:
    """A job of the mix as a mechanism use; its doubles are taken to the digit that they print."""
    return PoissonSampledGaussian(
        sampling_rate=Parameter(repr(job["sampling_rate"])),
        noise_multiplier=Parameter(repr(job["noise_multiplier"])),
        steps=job["steps"],
    )


@pytest.mark.parametrize("reference", MIX["reference"], ids=lambda r: f"epsilon {r['epsilon']}")
def test_the_job_mix_is_admitted_exactly(reference: dict[str, Any]) -> None:
    """RULES 4: order, capacity and the number of admitted jobs of five budgets, from the project's own reference."""
    epsilon, delta = Epsilon.up(reference["epsilon"]), Delta.up(repr(reference["delta"]))
    order = best_order(epsilon, delta)
    allotted = capacity(epsilon, delta, order)
    assert order == reference["alpha"]
    assert allotted == Rdp.down(repr(reference["capacity"]))
    prices = cycle([price(as_use(job), order=order) for job in MIX["jobs"]])
    spent, admitted = Rdp.zero(), 0
    while spent + (cost := next(prices)) <= allotted:
        spent, admitted = spent + cost, admitted + 1
    assert admitted == reference["jobs_admitted"]


@settings(max_examples=15, deadline=None)
@given(epsilon=epsilons, delta=deltas)
def test_the_best_order_is_the_best(epsilon: Epsilon, delta: Delta) -> None:
    """No other order from 2 to 4096 gives more capacity for its price, by plain search in doubles."""

    def worth(order: int) -> float:
        above = order - 1
        overhead = mpmath.fp.log(above / order) - (mpmath.fp.log(float(delta.value)) + mpmath.fp.log(order)) / above
        return (float(epsilon.value) - overhead) / order

    best = max(range(LEAST_ORDER, HIGHEST_ORDER + 1), key=worth)
    try:
        found = best_order(epsilon, delta)
    except InvalidError:
        assert worth(best) <= 1e-9
        return
    # Doubles may tie where decimals do not.
    assert found == best or worth(found) == pytest.approx(worth(best), rel=1e-12)


def test_a_budget_that_holds_nothing_is_refused() -> None:
    """RULES 4: a capacity that is not above 0 is no budget."""
    with pytest.raises(InvalidError):
        best_order(Epsilon.parse("0.001"), DELTA)
    with pytest.raises(InvalidError):
        capacity(Epsilon.parse("1"), DELTA, 2)


@pytest.mark.parametrize("delta", ["0", "1", "2"])
def test_delta_lies_strictly_between_0_and_1(delta: str) -> None:
    """A statement at delta 0 or 1 is none of ours."""
    with pytest.raises(InvalidError):
        best_order(Epsilon.parse("1"), Delta.parse(delta))
    with pytest.raises(InvalidError):
        epsilon_from_rdp(Rdp.parse("1"), 8, Delta.parse(delta))


@given(rdp=st.decimals(min_value=0, max_value=30, places=9).map(Rdp), order=st.integers(2, 600), delta=deltas)
def test_epsilon_is_the_conversion_rounded_up(rdp: Rdp, order: int, delta: Delta) -> None:
    """RULES 4: R + ln(1 - 1/a) - (ln delta + ln a)/(a - 1), at most one grid step above it, never negative."""
    with mpmath.workdps(60), localcontext(prec=80):
        a, d = mpmath.mpf(order), mpmath.mpf(str(delta))
        exact = mpmath.mpf(str(rdp)) + mpmath.log(1 - 1 / a) - (mpmath.log(d) + mpmath.log(a)) / (a - 1)
        exact_text = Decimal(mpmath.nstr(exact, 50))
        stated = epsilon_from_rdp(rdp, order, delta).value
        assert max(exact_text, Decimal(0)) <= stated <= max(exact_text, Decimal(0)) + Decimal("1.0000001e-9")


@given(epsilon=epsilons, delta=deltas, order=st.integers(2, 600))
def test_a_full_capacity_is_worth_no_more_than_its_epsilon(epsilon: Epsilon, delta: Delta, order: int) -> None:
    """Spending a whole capacity keeps the budget's own epsilon, in spite of both roundings."""
    try:
        allotted = capacity(epsilon, delta, order)
    except InvalidError:
        return
    assert epsilon_from_rdp(allotted, order, delta) <= epsilon
    more = epsilon_from_rdp(allotted + Rdp.parse("0.00000001"), order, delta)
    assert more >= epsilon


JOBS: list[tuple[MechanismUse, ...]] = [
    (PoissonSampledGaussian(sampling_rate=Parameter("0.01"), noise_multiplier=Parameter("1.1"), steps=1000),),
    (PoissonSampledGaussian(sampling_rate=Parameter("0.001"), noise_multiplier=Parameter("0.7"), steps=100_000),),
    (PoissonSampledGaussian(sampling_rate=Parameter("0.00001"), noise_multiplier=Parameter("1"), steps=10),),
    (PoissonSampledGaussian(sampling_rate=Parameter("0.5"), noise_multiplier=Parameter("0.3"), steps=10),),
    (Gaussian(noise_multiplier=Parameter("100"), count=1), PureDp(epsilon=Parameter("0.05"), count=3)),
    (PureDp(epsilon=Parameter("2"), count=1),),
    (ZeroConcentrated(rho=Parameter("0.0173"), count=1),),
]


@pytest.mark.parametrize("uses", JOBS, ids=range(len(JOBS)))
def test_a_job_is_stated_at_its_own_best_order(uses: tuple[MechanismUse, ...]) -> None:
    """No order states less; where the search starts changes nothing; a verifier recomputes it at that order."""
    stated = job_epsilon(*uses, delta=DELTA)
    assert stated.epsilon == epsilon_at(*uses, order=stated.order, delta=DELTA)
    neighbourhood = {2, 3, 5, 9, 17, 33, 65, 129, 257, 513, stated.order - 1, stated.order + 1}
    for order in neighbourhood & set(range(LEAST_ORDER, 600)):
        exact = exact_epsilon(*uses, order=order, delta=DELTA)
        assert exact >= exact_epsilon(*uses, order=stated.order, delta=DELTA)
    for near in (2, 3, stated.order, stated.order + 40, 400):
        assert job_epsilon(*uses, delta=DELTA, near=near) == stated


@settings(max_examples=25, deadline=None)
@given(
    rate=st.decimals(min_value=Decimal("0.0001"), max_value=1, places=4).filter(bool),
    noise=st.decimals(min_value=Decimal("0.4"), max_value=40, places=3),
    steps=st.integers(1, 10_000),
)
def test_more_noise_never_states_more(rate: Decimal, noise: Decimal, steps: int) -> None:
    """A job's epsilon falls with noise and rises with steps."""

    def stated(noise: Decimal, steps: int) -> Epsilon:
        use = PoissonSampledGaussian(sampling_rate=Parameter(rate), noise_multiplier=Parameter(noise), steps=steps)
        return job_epsilon(use, delta=DELTA).epsilon

    base = stated(noise, steps)
    assert stated(noise + Decimal("0.001"), steps) <= base <= stated(noise, steps + 1)


def test_a_job_of_epsilon_e_seldom_fits_a_budget_of_e() -> None:
    """RULES 6: the job alone is stated at its own best order, the budget is spent at one fixed before."""
    epsilon = Epsilon.parse("1")
    order = best_order(epsilon, DELTA)
    job = PoissonSampledGaussian(sampling_rate=Parameter("0.05"), noise_multiplier=Parameter("2.61"), steps=100)
    alone = job_epsilon(job, delta=DELTA)
    assert alone.epsilon <= epsilon
    assert alone.order != order
    assert price(job, order=order) > Rdp.down(capacity(epsilon, DELTA, order).value * Decimal("0.97"))
