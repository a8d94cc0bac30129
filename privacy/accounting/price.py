"""The price of a mechanism use: its Renyi divergence at one integer order, in decimal, rounded up.

Rules
-----
1. Nothing but `+ - * /`, `exp` and `ln` of the decimal module at 60 digits, each correctly rounded (half even), in a
   context of our own: the same digits on every machine, whatever the caller's context.
2. Every summand is positive, so nothing cancels before the logarithm.
3. `divergence` is an upper bound: the computed value plus `SLACK` for each time the mechanism ran.
4. `price` rounds that up to 1e-9, once for each use, however often it ran. Prices of several uses add up exactly.
5. Not finite, not below 1e12, or an order outside 2 .. 4096: a refusal.

Why `SLACK` is enough
---------------------
Let u = 5e-60 be the relative error of one operation, a <= 4096 the order and sigma >= 0.05. The exponent 1/sigma^2 is
at most 400 and off by at most 2u of itself, so h = exp(1/sigma^2) is off by at most 802u of itself and h^j by 803u j.
Summand k is a product of h^0 .. h^(k-1) and of k factors with five roundings each: 5u k + 402u k(k+1), at most 6.8e9 u.
Its first factor (1-q)^a adds less than 1e4 u and the summation at most a u. So A is off by less than 1e-49 of itself,
ln A by less than that plus u ln A <= 3.4e9 u, and the product with times / (a-1) by three more roundings: less than
times * 1e-48 in all. `SLACK` is 1e-40. The formulas of the Gaussian, of pure DP and of zCDP are shorter and
err less.

A selection starts from an upper bound R on one try. Its own formulas take a few operations for each of at most 100
tries, so that they err by less than 1e4 u of their size. By composition that size is at most 100 (a-1) R before the
division by a - 1; by selection it is at most 24 R and some hundred more. A price is below 1e12, else it is refused: so
each errs by less than 1e12 * 1e7 * u < 5e-41.
"""

from __future__ import annotations

import decimal
import functools
from decimal import Context, Decimal, localcontext

from kernel.amounts import Rdp
from kernel.checks import whole
from kernel.errors import InvalidError
from privacy.accounting.mechanisms import (
    Gaussian,
    MechanismUse,
    PoissonSampledGaussian,
    PrivateSelection,
    PureDp,
    ZeroConcentrated,
)
from privacy.accounting.orders import HIGHEST_ORDER, LEAST_ORDER
from privacy.accounting.selection import Way, selection_price

__all__ = ["EXACT", "HIGHEST_ORDER", "LEAST_ORDER", "SLACK", "Way", "divergence", "price", "unlimited_price"]

SLACK = Decimal("1e-40")

EXACT = Context(
    prec=60,
    rounding=decimal.ROUND_HALF_EVEN,
    # Within reach of 32-bit builds too. Underflow is a trap: a summand that vanishes would make the price too small.
    Emin=-400_000_000,
    Emax=400_000_000,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow, decimal.Underflow],
)
"""The context of all accounting. Enter it with `localcontext(EXACT)`, which copies it."""


def price(*uses: MechanismUse, order: int, way: Way = Way.CHEAPER) -> Rdp:
    """What the uses cost together at `order`: the sum of each one's divergence, rounded up.

    Args:
        uses: What is composed.
        order: At which order.
        way: How selections are priced; whatever is held or charged costs the cheaper of both bounds.

    Raises:
        InvalidError: An order outside 2 .. 4096, a mechanism without a price, or a price that is not below 1e12.
    """
    return Rdp.up(unlimited_price(*uses, order=order, way=way))


def unlimited_price(*uses: MechanismUse, order: int, way: Way = Way.CHEAPER) -> Decimal:
    """`price` without its upper limit, for searches that pass through what nobody could pay."""
    exact = (divergence(use, order=order, way=way) for use in uses)
    with localcontext(EXACT):
        return sum((one.quantize(Rdp.QUANTUM, decimal.ROUND_CEILING) for one in exact), Decimal(0))


def divergence(*uses: MechanismUse, order: int, way: Way = Way.CHEAPER) -> Decimal:
    """An upper bound on the Renyi divergence of the uses together at `order`, above it by a hair (`SLACK`).

    Guarantee: For neighbours that add or remove one unit, both ways round, under adaptive composition of the uses.

    Raises:
        InvalidError: As `price`.
    """
    whole(LEAST_ORDER, HIGHEST_ORDER, order=order)
    try:
        with localcontext(EXACT):
            return sum((use.times * (_once(use, order, way) + SLACK) for use in uses), Decimal(0))
    except decimal.DecimalException:
        raise InvalidError("this mechanism costs too much to be computed", field="mechanism") from None


def _once(use: MechanismUse, order: int, way: Way = Way.CHEAPER) -> Decimal:
    match use:
        case PoissonSampledGaussian():
            return _sampled_gaussian(use.sampling_rate.number, use.noise_multiplier.number, order)
        case Gaussian():
            return _gaussian(use.noise_multiplier.number, order)
        case PureDp():
            return _pure(use.epsilon.number, order)
        case ZeroConcentrated():
            return order * use.rho.number
        case PrivateSelection():
            return _selection(use.repeated(1), order, way)
        case _:
            raise InvalidError("this mechanism has no price here", field="mechanism")


def _gaussian(sigma: Decimal, order: int) -> Decimal:
    """Concentrated differential privacy (zCDP) with rho = 1/(2 sigma^2).

    Reference: Bun and Steinke 2016, proposition 1.6; discrete noise: Canonne, Kamath and Steinke 2020, theorem 4.
    """
    return order / (2 * sigma * sigma)


@functools.lru_cache(maxsize=4096)  # quote, reserve and charge ask for the same step within one job's life
def _sampled_gaussian(rate: Decimal, sigma: Decimal, order: int) -> Decimal:
    """One step of the Poisson-sampled Gaussian.

    Conditions: each unit is sampled independently with probability `rate`; its contribution has Euclidean norm at most
    the bound, whatever other units hold; the sum (never a mean over the sampled number) gets the noise.

    Reference: Mironov, Talwar and Zhang 2019 (arXiv 1908.10530): theorem 4 (reduction to one dimension), theorem 5 (the
    divergence of the mixture from the Gaussian is the larger of the two), section 3.3 (the sum for integer orders).
    """
    if rate == 1:
        return _gaussian(sigma, order)
    growth = (1 / (sigma * sigma)).exp()
    factor = rate / (1 - rate)
    summand = _power(1 - rate, order)
    total = summand
    # Summand k is C(a,k) (1-q)^(a-k) q^k h^(k(k-1)/2), and k(k-1)/2 = 0 + 1 + ... + (k-1).
    for k in range(1, order + 1):
        summand *= factor * (order - k + 1) / k
        total += summand
        factor *= growth
    return total.ln() / (order - 1)


def _pure(epsilon: Decimal, order: int) -> Decimal:
    """The largest divergence of any epsilon-DP mechanism; randomised response attains it.

    The likelihood ratio L of neighbours lies in [e^-eps, e^eps] and has mean 1. L^a lies below the chord of x^a over
    that interval, which is linear, so E[L^a] is at most the chord at 1: (e^(a eps) + e^(-(a-1) eps)) / (1 + e^eps).

    Reference: Bun and Steinke 2016, proof of proposition 3.3 (before its last inequality).
    """
    ratio = (1 + (-epsilon).exp()) / (1 + (-(2 * order - 1) * epsilon).exp())
    return epsilon - ratio.ln() / (order - 1)


@functools.lru_cache(maxsize=1024)  # as above; a selection asks for its try at many orders
def _selection(use: PrivateSelection, order: int, way: Way) -> Decimal:
    """One selection; `privacy.accounting.selection` has the bounds and their proof."""

    def one(at: int) -> Decimal:
        return use.base.times * (_once(use.base, at) + SLACK)

    return selection_price(use.tries, one, order, way)


def _power(base: Decimal, exponent: int) -> Decimal:
    """`base ** exponent` by squaring: `Decimal.__pow__` is not correctly rounded in every build."""
    result = Decimal(1)
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result
