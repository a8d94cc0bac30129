"""Prices: an upper bound, a hair above the exact divergence, and the same everywhere."""

from __future__ import annotations

import decimal
import json
import re
import subprocess
import sys
from decimal import Decimal, localcontext
from pathlib import Path

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.amounts import Rdp
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.accounting.mechanisms import Gaussian, MechanismUse, PoissonSampledGaussian, PureDp, ZeroConcentrated
from privacy.accounting.price import HIGHEST_ORDER, SLACK, divergence, price

FORMAT = Path(__file__).parents[3] / "docs" / "formats" / "mechanism-use.md"
ERROR = Decimal("1e-48")

orders = st.integers(2, 64)
noises = st.decimals(min_value=Decimal("0.3"), max_value=10_000, places=4)
rates = st.decimals(min_value=Decimal("0.000001"), max_value=1, places=6).filter(bool)


def steps(rate: object, noise: object, count: int = 1) -> PoissonSampledGaussian:
    """Steps of the sampled Gaussian."""
    return PoissonSampledGaussian(
        sampling_rate=Parameter(str(rate)), noise_multiplier=Parameter(str(noise)), steps=count
    )


def exactly(use: MechanismUse, order: int) -> mpmath.mpf:
    """The divergence by its defining formula at 200 digits, written down anew."""
    a = mpmath.mpf(order)
    if isinstance(use, PoissonSampledGaussian):
        q, s = mpmath.mpf(str(use.sampling_rate)), mpmath.mpf(str(use.noise_multiplier))
        moment = mpmath.fsum(
            mpmath.binomial(order, k) * (1 - q) ** (order - k) * q**k * mpmath.exp((k * k - k) / (2 * s * s))
            for k in range(order + 1)
        )
        return use.times * mpmath.log(moment) / (a - 1)
    if isinstance(use, Gaussian):
        return use.times * a / (2 * mpmath.mpf(str(use.noise_multiplier)) ** 2)
    if isinstance(use, ZeroConcentrated):
        return use.times * a * mpmath.mpf(str(use.rho))
    assert isinstance(use, PureDp)
    e = mpmath.mpf(str(use.epsilon))
    # Randomised response: it says the truth with probability e^eps / (1 + e^eps).
    true, false = mpmath.exp(e) / (1 + mpmath.exp(e)), 1 / (1 + mpmath.exp(e))
    return use.times * mpmath.log(true**a * false ** (1 - a) + false**a * true ** (1 - a)) / (a - 1)


def assert_a_hair_above(use: MechanismUse, order: int) -> None:
    """Hold the divergence against 200 digits: above by `SLACK`, give or take the stated error."""
    with mpmath.workdps(200), localcontext(prec=220):
        exact = Decimal(mpmath.nstr(exactly(use, order), 150, strip_zeros=False))
        off = divergence(use, order=order) - exact
        assert abs(off - use.times * SLACK) <= use.times * ERROR < use.times * SLACK


EXTREMES = [
    steps("0.000000000001", "0.3", 10**6),
    steps("0.000000000001", "10000", 10**6),
    steps("0.999999999999", "0.3"),
    steps("0.5", "0.05"),
    steps("0.000001", "1000000", 10**9),
    steps("1", "0.3", 10**6),
    steps("0.02", "1.1", 10**6),
    Gaussian(noise_multiplier=Parameter("0.05"), count=10**9),
    Gaussian(noise_multiplier=Parameter("1000000"), count=1),
    PureDp(epsilon=Parameter("0.000000001"), count=10**6),
    PureDp(epsilon=Parameter("1000"), count=3),
    ZeroConcentrated(rho=Parameter("0.000000000000001"), count=10**9),
    ZeroConcentrated(rho=Parameter("200"), count=3),
]


@pytest.mark.parametrize("order", [2, 3, 8, 64, 512])
@pytest.mark.parametrize("use", EXTREMES, ids=lambda use: json.dumps(use.to_fields()))
def test_extremes_lie_within_the_stated_error(use: MechanismUse, order: int) -> None:
    """The error bound of `price` holds against 200 digits, and `SLACK` covers it."""
    assert_a_hair_above(use, order)


@pytest.mark.parametrize("use", [steps("0.01", "0.3"), steps("0.9", "1.5", 10**6), steps("0.000000001", "10000")])
def test_the_highest_order_lies_within_the_stated_error(use: MechanismUse) -> None:
    """The error grows with the order; the bound holds at the highest."""
    assert_a_hair_above(use, HIGHEST_ORDER)


@settings(max_examples=60, deadline=None)
@given(rate=rates, noise=noises, order=orders, count=st.integers(1, 10**6))
def test_sampled_gaussians_lie_within_the_stated_error(rate: Decimal, noise: Decimal, order: int, count: int) -> None:
    """The same for arbitrary sampled Gaussians."""
    assert_a_hair_above(steps(rate, noise, count), order)


@settings(max_examples=40, deadline=None)
@given(epsilon=st.decimals(min_value=Decimal("0.0001"), max_value=50, places=4).filter(bool), order=orders)
def test_pure_dp_costs_what_randomised_response_does(epsilon: Decimal, order: int) -> None:
    """The closed form is tight: randomised response attains it."""
    assert_a_hair_above(PureDp(epsilon=Parameter(epsilon), count=1), order)


@settings(max_examples=60, deadline=None)
@given(
    epsilon=st.decimals(min_value=Decimal("0.01"), max_value=5, places=3).filter(bool),
    order=orders,
    mix=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6),
)
def test_no_pure_dp_mechanism_costs_more(epsilon: Decimal, order: int, mix: list[tuple[float, float]]) -> None:
    """Any pair of distributions with likelihood ratios in [e^-eps, e^eps] diverges by at most the price."""
    with mpmath.workdps(60):
        bound = mpmath.exp(mpmath.mpf(str(epsilon)))
        # Points with ratio above and below 1, weighted so that both distributions sum to 1.
        moment = total = mpmath.mpf(0)
        for position, weight in mix:
            high = 1 + (bound - 1) * mpmath.mpf(position)
            low = 1 - (1 - 1 / bound) * mpmath.mpf(position)
            if high == low:
                continue
            part = (1 - low) / (high - low)
            weight = mpmath.mpf(weight) + mpmath.mpf("1e-6")
            moment += weight * (part * high**order + (1 - part) * low**order)
            total += weight
        if not total:
            return
        reached = mpmath.log(moment / total) / (order - 1)
        assert Decimal(mpmath.nstr(reached, 50)) <= divergence(PureDp(epsilon=Parameter(epsilon), count=1), order=order)


def test_pure_dp_is_below_the_usual_bounds() -> None:
    """It never exceeds epsilon, nor the zCDP bound order epsilon^2 / 2."""
    for epsilon in ("0.01", "0.5", "2", "10"):
        for order in (2, 8, 100):
            cost = divergence(PureDp(epsilon=Parameter(epsilon), count=1), order=order) - SLACK
            assert cost <= Decimal(epsilon)
            assert cost <= order * Decimal(epsilon) ** 2 / 2


@given(noise=noises, order=orders, count=st.integers(1, 10**6))
def test_sampling_everybody_is_the_plain_gaussian(noise: Decimal, order: int, count: int) -> None:
    """At rate 1 nothing is amplified, and just below it nothing jumps."""
    whole = Gaussian(noise_multiplier=Parameter(str(noise)), count=count)
    assert price(steps(1, noise, count), order=order) == price(whole, order=order)
    assert divergence(steps("0.999999999999999999", noise, count), order=order) <= divergence(whole, order=order)


@settings(deadline=None)
@given(rate=rates, noise=noises, order=orders, count=st.integers(1, 10**5))
def test_more_of_anything_costs_no_less(rate: Decimal, noise: Decimal, order: int, count: int) -> None:
    """A price rises with steps, rate and order, and falls with noise."""
    cost = price(steps(rate, noise, count), order=order)
    assert price(steps(rate, noise, count + 1), order=order) >= cost
    assert price(steps(min(rate * 2, Decimal(1)), noise, count), order=order) >= cost
    assert price(steps(rate, noise, count), order=order + 1) >= cost
    assert price(steps(rate, noise + Decimal("0.0001"), count), order=order) <= cost


@given(rate=rates, noise=noises, order=orders, count=st.integers(1, 1000), parts=st.integers(2, 9))
def test_parts_cost_no_less_than_the_whole(rate: Decimal, noise: Decimal, order: int, count: int, parts: int) -> None:
    """Prices add up exactly: cutting a job into parts saves nothing, and costs a billionth for each part at most."""
    whole = price(steps(rate, noise, count * parts), order=order)
    cut = price(steps(rate, noise, count), order=order) * parts
    assert whole <= cut <= whole + Rdp(Rdp.QUANTUM) * parts
    assert price(*[steps(rate, noise, count)] * parts, order=order) == cut


def test_a_price_is_rounded_up_to_the_grid() -> None:
    """What costs less than 1e-9 is charged 1e-9, never nothing."""
    tiny = steps("0.000000001", "1000000")
    assert price(tiny, order=2) == Rdp(Rdp.QUANTUM)


def test_prices_ignore_the_callers_context() -> None:
    """A caller with three digits, other rounding and no traps gets the same digits."""
    uses = [steps("0.013", "0.77", 321), PureDp(epsilon=Parameter("0.3"), count=7)]
    usual = divergence(*uses, order=9)
    with localcontext(prec=3, rounding=decimal.ROUND_DOWN, traps=[]):
        assert divergence(*uses, order=9) == usual


@pytest.mark.parametrize("order", [-1, 0, 1, HIGHEST_ORDER + 1, 2.5, True, "8"])
def test_orders_out_of_range_are_refused(order: object) -> None:
    """RULES 4: the order is an integer, at least 2."""
    with pytest.raises(InvalidError):
        price(steps("0.1", "1"), order=order)  # type: ignore[arg-type]


def test_what_cannot_be_computed_is_refused() -> None:
    """Overflow and prices beyond every budget are refusals, not infinities."""
    with pytest.raises(InvalidError):
        price(steps("0.5", "0.05"), order=HIGHEST_ORDER)
    with pytest.raises(InvalidError):
        price(Gaussian(noise_multiplier=Parameter("0.05"), count=10**9), order=512)


def test_the_formats_example_is_true() -> None:
    """The price in the format's example is what the code computes."""
    text = FORMAT.read_text(encoding="utf-8")
    use = re.search(r"```json\n(.*)\n```", text)
    stated = re.search(r"At order (\d+) its price is `([0-9.]+)`", text)
    assert use is not None
    assert stated is not None
    read = MechanismUse.from_fields(json.loads(use[1]))
    assert str(price(read, order=int(stated[1]))) == stated[2]


PURE_PYTHON = """
import sys
sys.modules["_decimal"] = None  # the standard library falls back to its own Python implementation
import decimal
from privacy.accounting.mechanisms import PoissonSampledGaussian, PureDp
from privacy.accounting.price import divergence
from kernel.events import Parameter as P
assert hasattr(decimal.Decimal, "_fix")  # a method of the Python implementation alone
print(divergence(PoissonSampledGaussian(sampling_rate=P("0.0123"), noise_multiplier=P("0.77"), steps=321), order=9))
print(divergence(PureDp(epsilon=P("0.3"), count=7), order=9))
"""


def test_another_implementation_of_decimal_gives_the_same_digits() -> None:
    """Python's own decimal, without libmpdec, prices to the last of 60 digits alike."""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", PURE_PYTHON], cwd=root, capture_output=True, text=True, check=True, timeout=300
    )
    expected = [
        divergence(steps("0.0123", "0.77", 321), order=9),
        divergence(PureDp(epsilon=Parameter("0.3"), count=7), order=9),
    ]
    assert done.stdout.split() == [str(value) for value in expected]
