"""How many tries a private selection makes: a number that is drawn once from a declared distribution and never told.

Rules
-----
1. The distribution is finite and every probability of it an exact fraction. Whoever draws from `weights` draws from
   what is priced; nothing is cut off that was not declared.
2. `most`, `shape` and `gamma` are all of it: it depends on nothing that was measured or counted.

Reference: Papernot and Steinke 2022 (arXiv 2110.03620), definition 1: the negative binomial without 0; here without
everything above `most` either.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

from kernel.checks import whole, within
from kernel.errors import InvalidError
from kernel.events import Parameter, Record

MOST_TRIES = 100
MOST_SHAPE = Decimal(10)
LEAST_GAMMA, MOST_GAMMA = Decimal("0.000001"), Decimal("0.999999")
_DIGITS = 6
_ROUNDED = Context(prec=60, rounding=ROUND_HALF_EVEN)
_FAR = Decimal(1000)
"""e^-1000 stands for whatever is smaller: too much, by less than any price can show, and it never underflows."""


@dataclass(frozen=True, kw_only=True)
class Tries(Record):
    """The distribution of K, the number of tries.

    P(K = 1) : P(K = 2) : ... : P(K = most), where the number k + 1 is (1 - gamma) (k + shape) / (k + 1) times as likely
    as the number k.

    Attributes:
        most: The largest K.
        shape: 0 gives the logarithmic distribution, 1 the geometric one.
        gamma: The smaller, the more tries.
    """

    most: int
    shape: Parameter
    gamma: Parameter

    def __post_init__(self) -> None:
        whole(1, MOST_TRIES, most=self.most)
        within(Decimal(0), MOST_SHAPE, shape=_short(self.shape, "shape"))
        within(LEAST_GAMMA, MOST_GAMMA, gamma=_short(self.gamma, "gamma"))

    @property
    def weights(self) -> tuple[int, ...]:
        """Whole numbers in proportion to P(K = 1), P(K = 2), ..., P(K = most)."""
        return _weights(self)

    @property
    def mean(self) -> Fraction:
        """The expected number of tries."""
        weights = self.weights
        return Fraction(sum(k * weight for k, weight in enumerate(weights, start=1)), sum(weights))

    def log_moment(self, exponent: Decimal) -> Decimal:
        """The logarithm of E[e^(exponent K)], for an exponent of 0 or more, in the caller's decimal context."""
        total = Decimal(0)
        for k, chance in enumerate(_chances(self), start=1):
            total += chance * (-min((self.most - k) * exponent, _FAR)).exp()
        return self.most * exponent + total.ln()


@functools.lru_cache(maxsize=256)
def _weights(tries: Tries) -> tuple[int, ...]:
    more, shape = 1 - Fraction(tries.gamma), Fraction(tries.shape)
    weight, found = Fraction(1), []
    for k in range(1, tries.most + 1):
        found.append(weight)
        weight *= more * (k + shape) / (k + 1)
    common = 1
    for one in found:
        # The least common multiple so far: the rest of a denominator that does not divide it yet.
        common *= Fraction(one.denominator, common).numerator
    return tuple(int(one * common) for one in found)


@functools.lru_cache(maxsize=256)
def _chances(tries: Tries) -> tuple[Decimal, ...]:
    whole = Decimal(sum(tries.weights))
    return tuple(_ROUNDED.divide(Decimal(weight), whole) for weight in tries.weights)


def _short(value: Parameter, field: str) -> Decimal:
    if not isinstance(value, Parameter):
        raise InvalidError(f"`{field}` must be an exact parameter", field=field)
    exponent = value.number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -_DIGITS:
        raise InvalidError(f"`{field}` may have at most {_DIGITS} decimals", field=field)
    return value.number
