"""What an attacker can tell of one unit, in odds: how often, of 100 tries, the best guess is right.

The attacker knows everything else: all other units, all rows of this one, the model and every declared number. A coin
decided whether the unit was in the data; from what left he says which. 50 of 100 is what the coin gives anyway.

Rules
-----
1. Never too small. The figure is an upper bound for every attacker and is rounded up to a whole try.
2. Exact decimals, and sums that only err upwards: the same answer on every machine, a verifier recomputes it.
3. The odds are about one unit that is guessed at with even chances beforehand. Who was 90 % sure stays so.

Why it is an upper bound
------------------------
A guess is a test between P (with the unit) and Q (without). Let it be right with probability p under P and 1 - q under
Q; it is right (1 + p - q)/2 of the time. By data processing, the divergence of Bernoulli(p) from Bernoulli(q) is at
most that of P from Q, at every order and both ways round. Pairs (p, q) that satisfy this form a convex set (Renyi
divergence is jointly quasi-convex), and (1-q, 1-p) is in it with (p, q), so p - q is largest where q = 1 - p. What
remains is one line: an attacker who is right with probability p needs, at every order, the divergence of Bernoulli(p)
from Bernoulli(1 - p). The odds are the least p for which some order does not afford it. (Van Erven and Harremoes 2014,
theorems 9 and 13; Balle et al. 2020, arXiv 1905.09982, for the use.) Orders that are looked at: 1, which is
Kullback-Leibler's, a few whole ones, and infinity where all is pure.

Another bound holds where all is sampled Gaussian steps: tell the attacker, beside everything else, in which steps the
unit was drawn. Given that, the steps are one Gaussian mechanism with mu^2 = the sum of sigma^-2 over those steps, whose
best test is right with probability Phi(mu / 2) (Dong, Roth and Su 2022, arXiv 1905.02383, theorem 2.7 and corollary
3.3). That is concave in mu^2, so the mean of mu^2 bounds it (Jensen). At rate 1 it is exact.

An (epsilon, delta) statement alone gives (e^epsilon + delta) / (1 + e^epsilon): Kairouz, Oh and Viswanath 2017 (arXiv
1311.0776), theorem 2.1 at equal errors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, localcontext
from typing import Final, TypeAlias

from kernel.amounts import Delta, Epsilon, Rdp
from kernel.errors import InvalidError
from privacy.accounting.mechanisms import (
    Gaussian,
    MechanismUse,
    PoissonSampledGaussian,
    PrivateSelection,
    PureDp,
    ZeroConcentrated,
)
from privacy.accounting.price import EXACT, LEAST_ORDER, divergence

TRIES = 100
ORDERS: Final = (2, 3, 4, 6, 8, 16, 32, 64)
_Refutes: TypeAlias = Callable[[Decimal], bool]
"""Whether nobody can be right with so high a probability."""

_DIGITS = 40
_ROOM = Decimal("1e-30")
"""Far above every rounding error here, far below one try."""
_REACH = Decimal(14)
_CELLS, _MOST_CELLS = 32, 128
_LARGEST_QUANTILE = Decimal(8)
_PI = Decimal("3.14159265358979323846264338327950288419")
_HALF = Decimal("0.5")
_LARGEST = Decimal(1000)


def sentence(noun: str, times: int) -> str:
    """The odds in words."""
    return (
        f"An attacker who knows everything else tells whether a given {noun} was in the data at most {times} times in "
        f"{TRIES}; {TRIES // 2} is a coin."
    )


def odds(*uses: MechanismUse, tries: int = TRIES) -> int:
    """How often, of `tries` (a power of ten), the best guess about one unit is right once the uses have run.

    Guarantee: For neighbours that add or remove one unit, under adaptive composition of the uses; at least half of the
    tries, and rounded up.
    """
    with localcontext(EXACT):
        return _least(tries, list(_bounds(uses)))


def budget_odds(epsilon: Epsilon, delta: Delta, order: int, capacity: Rdp, *, tries: int = TRIES) -> int:
    """The same for everything together that a budget ever lets out, spent to its end.

    Both statements of a budget hold, its capacity at its order and (epsilon, delta); the better one counts.
    """
    with localcontext(EXACT):
        # Beyond that it is 1, to far more digits than `_ROOM` has; the exponential would be too large to write.
        grown = min(epsilon.value, _LARGEST).exp()
        stated = (grown + delta.value) / (1 + grown)
        return _least(tries, [_at_order(order, capacity.value), lambda right: right >= stated + _ROOM])


def _least(tries: int, bounds: Sequence[_Refutes]) -> int:
    """The least number of right guesses that some bound refutes to exceed; all of them if none does."""
    low, high = tries // 2 - 1, tries
    while high - low > 1:
        middle = (low + high) // 2
        right = Decimal(middle) / tries
        low, high = (low, middle) if any(refutes(right) for refutes in bounds) else (middle, high)
    return high


def _bounds(uses: Sequence[MechanismUse]) -> Iterator[_Refutes]:
    if not uses:
        raise InvalidError("odds need at least one mechanism", field="mechanism")
    yield _at_order_one(sum((use.times * (_kullback_leibler(use) + _ROOM) for use in uses), Decimal(0)))
    for order in ORDERS:
        yield _at_order(order, divergence(*uses, order=order))
    pure = [use for use in uses if isinstance(use, PureDp)]
    if len(pure) == len(uses):
        yield _at_infinity(sum((use.times * use.epsilon.number for use in pure), Decimal(0)))
    steps = [use for use in uses if isinstance(use, PoissonSampledGaussian)]
    if len(steps) == len(uses):
        yield _with_the_sample_known(steps)


def _at_order(order: int, afforded: Decimal) -> _Refutes:
    """Bernoulli(p) from Bernoulli(1 - p) at an order: ln(p^a (1-p)^(1-a) + (1-p)^a p^(1-a)) / (a-1)."""

    def refutes(right: Decimal) -> bool:
        ratio = right / (1 - right)
        power = ratio ** (order - 1)
        return (right * power + (1 - right) / power).ln() >= (order - 1) * (afforded + _ROOM)

    return refutes


def _at_order_one(afforded: Decimal) -> _Refutes:
    return lambda right: (2 * right - 1) * (right / (1 - right)).ln() >= afforded + _ROOM


def _at_infinity(afforded: Decimal) -> _Refutes:
    return lambda right: (right / (1 - right)).ln() >= afforded + _ROOM


def _with_the_sample_known(steps: Sequence[PoissonSampledGaussian]) -> _Refutes:
    square = sum((u.steps * u.sampling_rate.number / (u.noise_multiplier.number**2) for u in steps), Decimal(0))
    best = _normal_distribution(square.sqrt() / 2)
    return lambda right: right >= best


def _kullback_leibler(use: MechanismUse) -> Decimal:
    """The divergence at order 1 of one time, from above."""
    match use:
        case PoissonSampledGaussian():
            return _sampled_gaussian(use.sampling_rate.number, use.noise_multiplier.number)
        case Gaussian():
            # zCDP: at most rho a at every order a > 1, and divergence falls with the order.
            return 1 / (2 * use.noise_multiplier.number**2)
        case ZeroConcentrated():
            return use.rho.number
        case PureDp():
            grown = use.epsilon.number.exp()
            return use.epsilon.number * (grown - 1) / (grown + 1)
        case PrivateSelection():
            # Divergence never falls with the order.
            return divergence(use.repeated(1), order=2)
        case _:
            # Divergence grows with the order.
            return divergence(use.repeated(1), order=LEAST_ORDER)


@functools.lru_cache(maxsize=1024)
def _sampled_gaussian(rate: Decimal, sigma: Decimal) -> Decimal:
    """One step of the Poisson-sampled Gaussian at order 1, from above: an upper sum over cells, and the tails.

    It is E[W ln W - W + 1] for W = 1 - q + q exp(x/sigma - 1/(2 sigma^2)) and x standard normal, the limit of what
    `price` sums (Mironov, Talwar and Zhang 2019, theorems 4 and 5). The integrand is 0 at x = 1/(2 sigma) and grows on
    both sides, so that each cell's outer end and its largest density bound it. Beyond 14 deviations of either Gaussian
    lies at most (1 + 1/sigma + 1/sigma^2) exp(-98).
    """
    if rate == 1:
        return 1 / (2 * sigma * sigma)
    with localcontext(EXACT) as context:
        context.prec = _DIGITS
        mu = 1 / sigma
        width = 1 / Decimal(min(_MOST_CELLS, _CELLS * max(1, int(mu) + 1)))
        cells = int((_REACH + mu / 2) / width) + 1
        total = Decimal(0)
        for side in (width, -width):
            for cell in range(cells):
                near, far = mu / 2 + cell * side, mu / 2 + (cell + 1) * side
                closest = Decimal(0) if (near > 0) != (far > 0) else min(abs(near), abs(far))
                weight = 1 - rate + rate * (mu * (far - mu / 2)).exp()
                total += (weight * weight.ln() - weight + 1) * (-closest * closest / 2).exp()
        tails = (1 + mu + mu * mu) * (-_REACH * _REACH / 2).exp()
        return total * width / (2 * _PI).sqrt() + tails + _ROOM


def _normal_distribution(x: Decimal) -> Decimal:
    """Phi(x) for x >= 0, from above: 1/2 + phi(x) (x + x^3/3 + x^5/15 + ...), a sum without a negative term."""
    if x > _LARGEST_QUANTILE:
        return Decimal(1)
    term = total = x
    odd = 1
    while term > _ROOM or odd < 2 * x * x:
        odd += 2
        term = term * x * x / odd
        total += term
    # The terms left halve from one to the next.
    return _HALF + (total + 2 * term) * (-x * x / 2).exp() / (2 * _PI).sqrt() + _ROOM
