"""From divergence at an order to epsilon at a delta, and back: the population's order, its capacity, a job's epsilon.

Rules
-----
1. The conversion is epsilon = R + ln(1 - 1/a) - (ln delta + ln a)/(a - 1). A negative epsilon is stated as 0.
2. A population has one order, chosen before anything is spent: the integer with the largest capacity / order. What is
   composed at an order fixed beforehand may be chosen adaptively (a Renyi filter); at the best order afterwards not.
3. A job alone is stated at its own best order: it is one composition, fixed before it starts.
4. Epsilon is rounded up, capacity down; a capacity that is not above 0 is refused.
5. Both searches are exact and in decimal: same answer on every machine.

Reference: Canonne, Kamath and Steinke 2020 (arXiv 2004.00010v4), proposition 12, for the conversion; for Renyi filters
at a fixed order Feldman and Zrnic 2021 (arXiv 2008.11193) and, with jobs that run side by side, Haney et al. 2023
(arXiv 2309.05901).

Why the searches find the best order
------------------------------------
(a-1) R(a) is convex in a (a cumulant generating function), and so is (a-1) ln(a-1) - a ln a. Hence (a-1) epsilon(a) is
strictly convex, and its quotient by a - 1 falls strictly, then rises strictly. In the same way capacity(a) (a-1) is
concave and rising; divided by a (a-1), which is convex, it rises while negative, then rises and falls strictly.
Either bound on a selection, times a - 1, is convex too; the smaller of the two need not be. So a job with selections is
searched by each bound, and its epsilon is the smaller answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext

from kernel.amounts import Delta, Epsilon, Rdp
from kernel.checks import whole
from kernel.errors import InvalidError
from privacy.accounting.mechanisms import MechanismUse, PrivateSelection
from privacy.accounting.orders import HIGHEST_ORDER, LEAST_ORDER, NEAR, lowest
from privacy.accounting.price import EXACT, SLACK, divergence
from privacy.accounting.selection import Way


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEpsilon:
    """What one job reveals by itself: (epsilon, delta), stated at one order."""

    epsilon: Epsilon
    delta: Delta
    order: int


def best_order(epsilon: Epsilon, delta: Delta) -> int:
    """The integer order from 2 to 4096 with the largest capacity / order; of equals the smallest.

    Raises:
        InvalidError: `delta` is not strictly between 0 and 1, or no order leaves any capacity.
    """
    with localcontext(EXACT):
        order = lowest(lambda a: -_capacity(epsilon, delta, a) / a, NEAR)
    capacity(epsilon, delta, order)
    return order


def capacity(epsilon: Epsilon, delta: Delta, order: int) -> Rdp:
    """The divergence at `order` that an (epsilon, delta) budget holds, rounded down.

    Raises:
        InvalidError: The budget is too small to hold anything at this order.
    """
    with localcontext(EXACT):
        allotted = _capacity(epsilon, delta, order)
    if allotted < Rdp.QUANTUM:
        raise InvalidError("this budget is too small to hold any job: raise epsilon or delta", field="epsilon")
    return Rdp.down(allotted)


def epsilon_from_rdp(rdp: Rdp, order: int, delta: Delta) -> Epsilon:
    """The epsilon at `delta` of whatever cost at most `rdp` at `order`, rounded up."""
    with localcontext(EXACT):
        return _stated(rdp.value + _overhead(order, delta))


def epsilon_at(*uses: MechanismUse, order: int, delta: Delta) -> Epsilon:
    """The epsilon at `delta` of the uses together, by the given order, rounded up: what a verifier recomputes."""
    return _stated(exact_epsilon(*uses, order=order, delta=delta))


def exact_epsilon(*uses: MechanismUse, order: int, delta: Delta, way: Way = Way.CHEAPER) -> Decimal:
    """`epsilon_at` before rounding; may be negative."""
    with localcontext(EXACT):
        return divergence(*uses, order=order, way=way) + _overhead(order, delta)


def job_epsilon(*uses: MechanismUse, delta: Delta, near: int = NEAR) -> JobEpsilon:
    """The smallest epsilon at `delta` that any integer order states for the uses together.

    Args:
        uses: All that the job composes.
        delta: The population's delta.
        near: An order to start the search from; it changes the time, not the answer.
    """
    exact, order = least_epsilon(*uses, delta=delta, near=near)
    return JobEpsilon(epsilon=_stated(exact), delta=delta, order=order)


def least_epsilon(*uses: MechanismUse, delta: Delta, near: int = NEAR) -> tuple[Decimal, int]:
    """`job_epsilon` before rounding, for calibration: the epsilon (which may be negative) and its order."""
    selects = any(isinstance(use, PrivateSelection) for use in uses)
    ways = (Way.COMPOSITION, Way.SELECTION) if selects else (Way.CHEAPER,)
    return min(_least_epsilon(uses, delta, near, way) for way in ways)


def _least_epsilon(uses: tuple[MechanismUse, ...], delta: Delta, near: int, way: Way) -> tuple[Decimal, int]:
    order = lowest(lambda order: exact_epsilon(*uses, order=order, delta=delta, way=way), near)
    return exact_epsilon(*uses, order=order, delta=delta, way=way), order


def _stated(epsilon: Decimal) -> Epsilon:
    return Epsilon.up(max(epsilon, Decimal(0)))


def _capacity(epsilon: Epsilon, delta: Delta, order: int) -> Decimal:
    return epsilon.value - _overhead(order, delta)


def _overhead(order: int, delta: Delta) -> Decimal:
    """What the conversion adds to the divergence, from above by `SLACK`."""
    whole(LEAST_ORDER, HIGHEST_ORDER, order=order)
    if not 0 < delta.value < 1:
        raise InvalidError("`delta` must lie strictly between 0 and 1", field="delta")
    above = Decimal(order - 1)
    return (above / order).ln() - (delta.value.ln() + Decimal(order).ln()) / above + SLACK
