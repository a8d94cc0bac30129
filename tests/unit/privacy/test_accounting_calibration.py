"""Calibration: the least noise that keeps a target, and the largest job that still fits."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.amounts import Delta, Epsilon, Rdp
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.accounting.calibration import (
    NOISE_QUANTUM,
    Shape,
    calibrate,
    calibrate_to_price,
    gaussian,
    largest_epsilon,
    sampled_gaussian,
)
from privacy.accounting.mechanisms import LEAST_NOISE, Gaussian
from privacy.accounting.price import price
from privacy.accounting.rdp import best_order, capacity, job_epsilon

DELTA = Delta.parse("0.000001")

shapes = st.one_of(
    st.builds(
        sampled_gaussian,
        st.sampled_from(["0.0001", "0.004", "0.03", "0.2", "1"]).map(Parameter),
        st.sampled_from([1, 30, 500, 20_000]),
    ),
    st.builds(gaussian, st.sampled_from([1, 12, 200])),
)


def less(noise: Parameter) -> Parameter:
    """One grid step less noise."""
    return Parameter(noise.number - NOISE_QUANTUM)


@settings(max_examples=40, deadline=None)
@given(shape=shapes, epsilon=st.sampled_from(["0.03", "0.1", "0.5", "1", "3", "8", "20"]).map(Epsilon.parse))
def test_calibrated_noise_is_the_least_that_keeps_the_target(shape: Shape, epsilon: Epsilon) -> None:
    """RULES 6: the job alone stays within the requested epsilon, and one grid step less would not."""
    noise = calibrate(shape, epsilon, DELTA)
    assert job_epsilon(*shape(noise), delta=DELTA).epsilon <= epsilon
    if noise.number > LEAST_NOISE:
        assert job_epsilon(*shape(less(noise)), delta=DELTA).epsilon > epsilon


def test_a_target_that_no_noise_reaches_is_refused() -> None:
    """Below what the highest order can state there is nothing to calibrate."""
    with pytest.raises(InvalidError):
        calibrate(sampled_gaussian(Parameter("0.1"), 100), Epsilon.parse("0.0005"), DELTA)
    with pytest.raises(InvalidError):
        calibrate(gaussian(10**9), Epsilon.parse("0.01"), DELTA)


def test_a_target_that_the_least_noise_keeps_gets_the_least_noise() -> None:
    """Noise never goes below what a mechanism use allows."""
    assert calibrate(gaussian(1), Epsilon.parse("100000"), DELTA).number == LEAST_NOISE


@settings(max_examples=40, deadline=None)
@given(
    shape=shapes,
    available=st.sampled_from(["0.000001", "0.01", "0.4", "2.5"]).map(Rdp.parse),
    order=st.sampled_from([2, 5, 8, 18, 90]),
)
def test_spending_what_remains_leaves_less_than_a_grid_step(shape: Shape, available: Rdp, order: int) -> None:
    """RULES 6: calibrated at the population's order the job fits, and with one grid step less noise it does not."""
    noise = calibrate_to_price(shape, available, order)
    assert noise is not None
    assert price(*shape(noise), order=order) <= available
    assert price(*shape(less(noise)), order=order) > available


def test_nothing_fits_where_nothing_is_left() -> None:
    """An empty budget fits no job at all."""
    shape = sampled_gaussian(Parameter("0.1"), 100)
    assert calibrate_to_price(shape, Rdp.zero(), 8) is None
    assert largest_epsilon(shape, shape, Rdp.zero(), 8, DELTA) is None


@settings(max_examples=30, deadline=None)
@given(
    rate=st.sampled_from(["0.0005", "0.01", "0.1", "0.5"]).map(Parameter),
    steps=st.sampled_from([20, 300, 5000]),
    replays=st.sampled_from([0, 10, 200]),
    budget=st.sampled_from(["0.5", "1", "3", "8"]).map(Epsilon.parse),
    part=st.sampled_from(["0.0004", "0.03", "0.5", "1"]),
)
def test_the_largest_job_that_fits_fits_and_one_percent_more_does_not(
    rate: Parameter, steps: int, replays: int, budget: Epsilon, part: str
) -> None:
    """The number that a refusal offers is accepted when it is asked for; 1 % more is refused."""
    order = best_order(budget, DELTA)
    left = Rdp.down(capacity(budget, DELTA, order).value * Decimal(part))
    shape, held = sampled_gaussian(rate, steps), sampled_gaussian(rate, steps + replays)
    largest = largest_epsilon(shape, held, left, order, DELTA)
    assert largest is not None
    assert len(largest.value.normalize().as_tuple().digits) <= 4
    assert price(*held(calibrate(shape, largest, DELTA)), order=order) <= left
    more = Epsilon.down(largest.value * Decimal("1.01"))
    assert price(*held(calibrate(shape, more, DELTA)), order=order) > left


@settings(max_examples=60, deadline=None)
@given(available=st.integers(20, 10**7).map(lambda n: Rdp(n * Rdp.QUANTUM)), order=st.sampled_from([2, 8, 40]))
def test_several_uses_fit_as_the_ledger_adds_them_up(available: Rdp, order: int) -> None:
    """What is offered for a job of several uses fits when each one's price is rounded up by itself."""

    def shape(noise: Parameter) -> tuple[Gaussian, ...]:
        return tuple(Gaussian(noise_multiplier=Parameter(noise.number * k), count=1) for k in (1, 2, 3))

    noise = calibrate_to_price(shape, available, order)
    assert noise is not None
    held = sum((price(use, order=order) for use in shape(noise)), Rdp.zero())
    assert held <= available
    largest = largest_epsilon(shape, shape, available, order, DELTA)
    if largest is not None:
        assert (
            sum((price(use, order=order) for use in shape(calibrate(shape, largest, DELTA))), Rdp.zero()) <= available
        )


def test_what_rounding_of_epsilon_hides_is_not_offered() -> None:
    """Where several noises state one epsilon, the offer is for the one that calibration finds, and still fits."""
    shape, order, epsilon = gaussian(1), 4096, Epsilon.parse("0.008")
    least = calibrate(shape, epsilon, DELTA)
    most = least
    while job_epsilon(*shape(more := Parameter(most.number + NOISE_QUANTUM)), delta=DELTA).epsilon == epsilon:
        most = more
    left = price(*shape(most), order=order)
    assert price(*shape(least), order=order) > left
    offered = largest_epsilon(shape, shape, left, order, DELTA)
    assert offered == Epsilon.parse("0.007999")
    assert price(*shape(calibrate(shape, offered, DELTA)), order=order) <= left


def test_calibration_is_the_same_in_any_decimal_context() -> None:
    """A caller's precision changes neither the noise nor the offer."""
    shape = sampled_gaussian(Parameter("0.02"), 300)
    usual = calibrate(shape, Epsilon.parse("2"), DELTA), largest_epsilon(shape, shape, Rdp.parse("0.3"), 10, DELTA)
    with localcontext(prec=4):
        again = calibrate(shape, Epsilon.parse("2"), DELTA), largest_epsilon(shape, shape, Rdp.parse("0.3"), 10, DELTA)
    assert again == usual
