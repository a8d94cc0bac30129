"""From a target to a noise multiplier, and from what remains to the largest job that fits.

Rules
-----
1. Noise lies on a grid of 1e-6. A calibrated value keeps the target exactly; one grid step less would break it.
2. The target of a request is the epsilon of that job alone (`rdp.job_epsilon`). "Spend what remains" aims at the price
   at the population's order instead; the epsilon of such a job is a result, not a target.
3. `largest_epsilon` has four significant digits. Calibrated again it fits what is available; 1 % more does not.
4. A shape says what the job composes with a given noise multiplier; more noise never costs more. No shape knows rows.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from typing import TypeAlias

from kernel.amounts import Delta, Epsilon, Rdp
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.accounting.mechanisms import LEAST_NOISE, MOST_NOISE, Gaussian, MechanismUse, PoissonSampledGaussian
from privacy.accounting.price import EXACT, price, unlimited_price
from privacy.accounting.rdp import best_order, exact_epsilon, job_epsilon, least_epsilon

Shape: TypeAlias = Callable[[Parameter], Sequence[MechanismUse]]
"""What a job composes, as a function of its noise multiplier and of nothing else."""

NOISE_QUANTUM = Decimal("1e-6")
_FIRST = int(LEAST_NOISE / NOISE_QUANTUM)
_LAST = int(MOST_NOISE / NOISE_QUANTUM)
_START = int(1 / NOISE_QUANTUM)
_SIGNIFICANT = 4


def sampled_gaussian(sampling_rate: Parameter, steps: int) -> Shape:
    """The shape of a training job: `steps` Poisson-sampled Gaussian steps."""
    return lambda noise: (PoissonSampledGaussian(sampling_rate=sampling_rate, noise_multiplier=noise, steps=steps),)


def gaussian(count: int) -> Shape:
    """The shape of `count` noisy sums over all units, continuous or discrete (zCDP)."""
    return lambda noise: (Gaussian(noise_multiplier=noise, count=count),)


def calibrate(shape: Shape, epsilon: Epsilon, delta: Delta) -> Parameter:
    """The least noise multiplier with which the job alone stays within `epsilon` at `delta`.

    Raises:
        InvalidError: No amount of noise reaches `epsilon`.
    """
    order = best_order(epsilon, delta)

    def excess_at_order(step: int) -> Decimal:
        return exact_epsilon(*shape(_noise(step)), order=order, delta=delta) - epsilon.value

    def excess(step: int) -> Decimal:
        nonlocal order
        least, order = least_epsilon(*shape(_noise(step)), delta=delta, near=order)
        return least - epsilon.value

    # The order that suits a budget of `epsilon` nearly suits the job, and one order is quick to search at.
    step = _least_step(excess, start=_least_step(excess_at_order, start=_START))
    if step > _LAST:
        raise InvalidError("no amount of noise gives so small an epsilon: ask for more", field="epsilon")
    return _noise(step)


def calibrate_to_price(shape: Shape, available: Rdp, order: int) -> Parameter | None:
    """The least noise multiplier with which `shape` costs at most `available` at `order`; none if nothing does."""
    step = _least_step(lambda s: unlimited_price(*shape(_noise(s)), order=order) - available.value, start=_START)
    return None if step > _LAST else _noise(step)


def largest_epsilon(shape: Shape, held: Shape, available: Rdp, order: int, delta: Delta) -> Epsilon | None:
    """The largest epsilon, to four significant digits, of a job of this shape whose hold still fits.

    Args:
        shape: What the job composes if it runs once through; its epsilon is what a trainer asks for.
        held: What is held for it, with every replay that a resume may need.
        available: What may be held, at `order`.
        order: The population's order.
        delta: The population's delta.

    Returns:
        An epsilon that, calibrated again, fits `available`, or none. Asking for 1 % more does not fit.
    """
    least = calibrate_to_price(held, available, order)
    if least is None:
        return None
    candidate = _significant(job_epsilon(*shape(least), delta=delta, near=order).epsilon)
    while candidate.value > 0:
        # One pass, unless rounding of epsilon to 1e-9 hides a grid step of noise.
        try:
            noise = calibrate(shape, candidate, delta)
        except InvalidError:
            return None
        if price(*held(noise), order=order) <= available:
            return candidate
        candidate = _significant(candidate - Epsilon(Epsilon.QUANTUM))
    return None


def _noise(step: int) -> Parameter:
    return Parameter(EXACT.multiply(Decimal(step), NOISE_QUANTUM))


def _significant(epsilon: Epsilon) -> Epsilon:
    """Round down to four significant digits, or to the grid of epsilon where that is coarser."""
    if not epsilon.value:
        return epsilon
    unit = max(Decimal(1).scaleb(epsilon.value.adjusted() - _SIGNIFICANT + 1), Epsilon.QUANTUM)
    return Epsilon(epsilon.value.quantize(unit, decimal.ROUND_FLOOR, EXACT))


def _least_step(excess: Callable[[int], Decimal], start: int) -> int:
    """The first grid step from which on `excess`, which never rises, is not above 0; past the grid if there is none."""
    with localcontext(EXACT):
        low = high = min(start, _LAST)
        above = below = excess(low)
        stride = low // 16 + 1
        while above <= 0:
            if low == _FIRST:
                return _FIRST
            high, below, low, stride = low, above, max(low - stride, _FIRST), stride * 2
            above = excess(low)
        while below > 0:
            if high == _LAST:
                return _LAST + 1
            low, above, high, stride = high, below, min(high + stride, _LAST), stride * 2
            below = excess(high)
        return _narrow(excess, low, above, high, below)


def _narrow(excess: Callable[[int], Decimal], low: int, above: Decimal, high: int, below: Decimal) -> int:
    """Close in on the step from which on `excess` is not above 0.

    False position with the Illinois rule: the value of an end that stays put is halved, so that the next guess falls on
    its other side. Every third guess is the middle, for curves that are steep at one end.

    Args:
        excess: As in `_least_step`.
        low: A step that is too low.
        above: The excess there.
        high: A step that is high enough.
        below: The excess there.
    """
    moved = turn = 0
    while high - low > 1:
        turn += 1
        guess = (low + high) // 2 if turn % 3 == 0 else low + int((high - low) * above / (above - below))
        guess = min(max(guess, low + 1), high - 1)
        value = excess(guess)
        if value > 0:
            low, above, below = guess, value, below / 2 if moved > 0 else below
            moved = 1
        else:
            high, below, above = guess, value, above / 2 if moved < 0 else above
            moved = -1
    return high
