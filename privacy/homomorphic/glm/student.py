"""Student's t distribution in plain Python: what a linear model's table needs.

Reference: Abramowitz and Stegun 1964, 26.7.1 and 26.5.8 (the continued fraction of the incomplete beta function).
"""

from __future__ import annotations

import math

_STEPS, _TINY, _CLOSE = 400, 1e-300, 1e-15
_BISECTIONS = 200


def tail(value: float, freedom: int) -> float:
    """The probability that t with so many degrees of freedom is at least |value| in size."""
    return _beta(freedom / 2, 0.5, freedom / (freedom + value * value))


def quantile(confidence: float, freedom: int) -> float:
    """The size that t exceeds with probability 1 - confidence, both sides together."""
    low, high = 0.0, 2.0
    while tail(high, freedom) > 1 - confidence:
        high *= 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle, freedom) > 1 - confidence else (low, middle)
    return (low + high) / 2


def _beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """Lentz's evaluation of the continued fraction."""
    upper, lower = 1.0, 1 - (a + b) * x / (a + 1)
    lower = 1 / (lower if abs(lower) > _TINY else _TINY)
    value = lower
    for step in range(1, _STEPS):
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        for part in (even, odd):
            lower = 1 + part * lower
            lower = 1 / (lower if abs(lower) > _TINY else _TINY)
            upper = 1 + part / upper
            upper = upper if abs(upper) > _TINY else _TINY
            change = lower * upper
            value *= change
        if abs(change - 1) < _CLOSE:
            break
    return value
